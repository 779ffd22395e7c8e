//! `doctor`.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Tool;
use crate::{Check, CheckResult, Failure, Look, call::Call, words};

pub(super) struct Doctor;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {}

#[derive(Serialize, JsonSchema)]
pub(super) struct Output {
    /// The worst of the checks.
    result: CheckResult,
    checks: Vec<Check>,
    /// Folders that are served.
    roots: Vec<String>,
    /// Buckets that are served.
    buckets: Vec<String>,
    version: String,
}

impl Tool for Doctor {
    const NAME: &'static str = "doctor";
    const TITLE: &'static str = "Check the installation";
    const DESCRIPTION: &'static str = "Looks whether configuration, keystore, policy and audit log are there and as they should be, and what is served. Asks no key store \
        and changes nothing.";
    const ASKS: Option<Look> = Some(Look::Survey);
    type Input = Input;
    type Output = Output;

    async fn call(call: Call, _: Input) -> Result<Output, Failure> {
        let facade = &call.facade;
        let installation = Arc::clone(&facade.installation);
        let mut checks = call.to_its_end(async move { installation.doctor().await }).await?;
        if facade.roots.folders().next().is_none() && facade.buckets.urls().is_empty() {
            checks.push(Check {
                name: "served".into(),
                result: CheckResult::Warning,
                detail: "no folder and no bucket is served: no envelope can be looked at".into(),
                what_to_do: Some("name folders as `roots`, and buckets as `buckets`, under [mcp]".into()),
            });
        }
        let rank = |check: &Check| match check.result {
            CheckResult::Problem => 2,
            CheckResult::Warning => 1,
            CheckResult::Ok | CheckResult::NotConfigured => 0,
        };
        let result = match checks.iter().map(rank).max() {
            Some(2) => CheckResult::Problem,
            Some(1) => CheckResult::Warning,
            _ => CheckResult::Ok,
        };
        checks.truncate(MOST);
        for check in &mut checks {
            check.detail = words::shown(&check.detail, words::MAX_NAME);
        }
        let roots = facade
            .roots
            .folders()
            .take(MOST)
            .map(|folder| words::shown(&words::path(folder), words::MAX_NAME));
        let buckets =
            facade.buckets.urls().into_iter().take(MOST).map(|url| words::shown(&url, words::MAX_NAME));
        Ok(Output {
            result,
            checks,
            roots: roots.collect(),
            buckets: buckets.collect(),
            version: env!("CARGO_PKG_VERSION").into(),
        })
    }
}

const MOST: usize = 16;
