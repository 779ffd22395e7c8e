//! `audit_search` and `audit_verify`.

use std::{collections::VecDeque, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Tool;
use crate::{
    AuditFilter, AuditMetadata, AuditRecord, AuditVerified, Failure, Kind, Look, answer::Page, call::Call,
    cursor, times, words,
};

pub(super) struct AuditSearch;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// The key URI; `*` for any characters.
    #[serde(default)]
    key: Option<String>,
    /// The actor, such as `cli:alice`; `*` for any characters.
    #[serde(default)]
    actor: Option<String>,
    /// The operation, such as `unwrap`; `*` for any characters.
    #[serde(default)]
    operation: Option<String>,
    /// `ok`, `failed`, `denied`, `begun`, `not_offered` or `dropped`.
    #[serde(default)]
    outcome: Option<String>,
    /// The id of a request.
    #[serde(default)]
    request: Option<String>,
    /// The id of an envelope, 32 hexadecimal digits.
    #[serde(default)]
    envelope: Option<String>,
    /// Not before: a day, or a time such as 2026-11-29T10:00:00Z.
    #[serde(default)]
    since: Option<String>,
    /// Before.
    #[serde(default)]
    until: Option<String>,
    /// Most records of this answer, 1 to 200. 50, unless it is said.
    #[serde(default)]
    limit: Option<u32>,
    /// `next_cursor` of the answer before.
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Output {
    /// The newest first.
    records: Vec<AuditRecord>,
    next_cursor: Option<String>,
    /// Nothing is verified here: `audit_verify` does that.
    unverified: String,
}

impl Tool for AuditSearch {
    const NAME: &'static str = "audit_search";
    const TITLE: &'static str = "Search the audit log";
    const DESCRIPTION: &'static str = "Finds records of the audit log by key, actor, operation, outcome, request, envelope and time, the newest first. The log holds no \
        secret, and values of the context only where its configuration lists them.";
    const ASKS: Option<Look> = Some(Look::Survey);
    type Input = Input;
    type Output = Output;

    async fn call(call: Call, input: Input) -> Result<Output, Failure> {
        let log = configured(&call)?;
        super::find::check_pattern("key", input.key.as_deref())?;
        super::find::check_pattern("actor", input.actor.as_deref())?;
        super::find::check_pattern("operation", input.operation.as_deref())?;
        let time = |name: &str, text: &Option<String>| {
            text.as_deref()
                .map(|text| times::parse(name, text).map(|seconds| seconds.saturating_mul(1000)))
                .transpose()
        };
        let filter = AuditFilter {
            since: time("since", &input.since)?,
            until: time("until", &input.until)?,
            key: input.key,
            actor: input.actor,
            operation: input.operation,
            outcome: input.outcome,
            request: input.request,
            envelope: input.envelope,
        };
        let before = cursor::read(&call.asked, input.cursor.as_deref())?.unwrap_or(u64::MAX);
        let mut found = call.blocking(move || newest(&*log, &filter, before)).await??;
        let mut page = Page::new(input.limit);
        let mut next = None;
        while let Some(record) = found.pop_back() {
            if let Err(record) = page.add(cut(record)) {
                // The next page begins with it.
                next = Some(record.seq.saturating_add(1));
                break;
            }
        }
        Ok(Output {
            records: page.items,
            next_cursor: next.map(|before| cursor::write(&call.asked, &before)).transpose()?,
            unverified: format!("No record is verified: audit_verify does that. {}", words::UNVERIFIED),
        })
    }
}

/// The last records before `before`, one more than a page may have: that shows whether there is another.
fn newest(
    log: &dyn AuditMetadata,
    filter: &AuditFilter,
    before: u64,
) -> Result<VecDeque<AuditRecord>, Failure> {
    let mut found = VecDeque::with_capacity(MOST);
    log.search(filter, &mut |record| {
        if record.seq >= before {
            return false;
        }
        if found.len() == MOST {
            found.pop_front();
        }
        found.push_back(record);
        true
    })?;
    Ok(found)
}

/// A record may have 64 KiB.
fn cut(record: AuditRecord) -> AuditRecord {
    let short = |text: Option<String>| text.map(|text| words::shown(&text, words::MAX_NAME));
    let details = record.details.iter().take(12).map(|detail| words::shown(detail, 128)).collect();
    AuditRecord {
        actor: short(record.actor),
        operation: words::shown(&record.operation, 64),
        key: record.key.map(|key| words::shown(&key, super::keys::MAX_KEY)),
        key_version: short(record.key_version),
        error: short(record.error),
        rule: short(record.rule),
        request: short(record.request),
        details,
        ..record
    }
}

pub(super) struct AuditVerify;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

#[derive(Serialize, JsonSchema)]
pub(super) struct VerifyOutput {
    /// Whether each record follows the one before, up to the head, and each signature holds.
    valid: bool,
    /// What is there, if it is valid.
    log: Option<AuditVerified>,
    /// The first bad line, if it is not.
    damage: Option<String>,
    /// What this does not show.
    limits: String,
}

impl Tool for AuditVerify {
    const NAME: &'static str = "audit_verify";
    const TITLE: &'static str = "Verify the audit log";
    const DESCRIPTION: &'static str = "Verifies the chain and the signatures of the audit log, without its secret. A log that was changed, cut or reordered up to its \
        last signature is found out.";
    const ASKS: Option<Look> = Some(Look::Survey);
    type Input = Nothing;
    type Output = VerifyOutput;

    async fn call(call: Call, _: Nothing) -> Result<VerifyOutput, Failure> {
        let log = configured(&call)?;
        let verified = call.blocking(move || log.verify()).await?;
        let (log, damage) = match verified {
            Ok(verified) => (Some(verified), None),
            Err(failure) if failure.kind == Kind::LogInvalid => {
                (None, Some(words::shown(&failure.message, words::MAX_STRING)))
            }
            Err(failure) => return Err(failure),
        };
        let limits = "Without the secret of the log, records behind the last signature only agree with themselves, and without a public key in the \
            configuration so do all: a person runs `envctl audit verify` with the key of the log to know.";
        Ok(VerifyOutput { valid: damage.is_none(), log, damage, limits: limits.into() })
    }
}

fn configured(call: &Call) -> Result<Arc<dyn AuditMetadata>, Failure> {
    call.facade.audit.clone().ok_or_else(|| {
        Failure::usage("no audit log is configured")
            .hint("`audit-log` under [mcp] names one; `envctl audit create` makes one")
    })
}

/// Records that are held: more than a page has.
const MOST: usize = 201;
