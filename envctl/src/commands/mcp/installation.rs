//! Whether the installation is as it should be. No key store is asked.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use envelope_local::{Keystore, KeystoreError};
use envelope_mcp::{AuditMetadata, Check, CheckResult, Failure, Installation, Kind};
use envelope_sdk::printable;

use super::{audit::Log, keys::Keys, settings::Settings, shown};

pub(super) struct Installed {
    settings: Settings,
    keys: Arc<Keys>,
    audit: Option<Arc<Log>>,
}

impl Installed {
    pub(super) fn new(settings: Settings, keys: Arc<Keys>, audit: Option<Arc<Log>>) -> Self {
        Self { settings, keys, audit }
    }

    fn configuration_file(&self) -> Check {
        match &self.settings.file {
            Some((path, _)) => check("configuration", CheckResult::Ok, printable::path(path)),
            None => check("configuration", CheckResult::NotConfigured, "there is none".into())
                .with("write $XDG_CONFIG_HOME/envctl/config.toml, or name one with --config"),
        }
    }

    fn keystore(&self) -> Check {
        let named = self.keys.configuration().keystore().map(Path::to_owned);
        let Some(path) = named.or_else(envelope_local::default_keystore) else {
            return check("keystore", CheckResult::NotConfigured, "no place for one is known".into());
        };
        let at = printable::path(&path);
        match Keystore::read_keys(&path) {
            Ok(keys) => {
                check("keystore", CheckResult::Ok, format!("{at}: {} keys (not authenticated)", keys.len()))
            }
            Err(KeystoreError::NotFound { .. }) => {
                check("keystore", CheckResult::NotConfigured, format!("{at}: there is none"))
                    .with("`envctl keystore init` makes one")
            }
            Err(error) => check("keystore", CheckResult::Problem, error.to_string()),
        }
    }

    fn policy(&self) -> Check {
        let Some(file) = self.keys.configuration().policy() else {
            return check("policy", CheckResult::Warning, "there is none: clients see all that is served".into())
                .with("name one as `file` under [policy]; a policy denies clients of this server unless a rule allows them");
        };
        let at = printable::path(file.path());
        match file.look() {
            Ok(policy) if policy.unreachable().next().is_none() => {
                check("policy", CheckResult::Ok, format!("{at}: {} rules", policy.rules().count()))
            }
            Ok(policy) => {
                let behind = policy.unreachable().count();
                check("policy", CheckResult::Warning, format!("{at}: {behind} rules are never reached"))
                    .with("`envctl policy check FILE` names them")
            }
            Err(what) => check("policy", CheckResult::Problem, format!("{at}: {what}"))
                .with("until it is right, everything is denied"),
        }
    }

    fn keys(&self) -> Check {
        match self.keys.configuration().configured_keys() {
            Ok((encrypt, decrypt)) if encrypt.is_empty() && decrypt.is_empty() => check(
                "keys",
                CheckResult::NotConfigured,
                "the configuration names none: a passphrase is asked for".into(),
            ),
            Ok((encrypt, decrypt)) => check(
                "keys",
                CheckResult::Ok,
                format!("{} encrypt, {} may decrypt", encrypt.len(), decrypt.len()),
            ),
            Err(error) => check("keys", CheckResult::Problem, error.to_string()),
        }
    }

    async fn audit(&self) -> Check {
        let Some(log) = self.audit.clone() else {
            return check("audit-log", CheckResult::NotConfigured, "none is named".into())
                .with("name one as `file` under [audit], or as `audit-log` under [mcp] to be read alone");
        };
        match tokio::task::spawn_blocking(move || log.verify()).await {
            Ok(Ok(found)) => check(
                "audit-log",
                CheckResult::Ok,
                format!("{} records agree with each other", found.records),
            ),
            Ok(Err(error)) => check("audit-log", CheckResult::Problem, error.message)
                .with("keep it as it is; a person runs `envctl audit verify`"),
            Err(_) => check("audit-log", CheckResult::Problem, "it could not be looked at".into()),
        }
    }
}

fn check(name: &str, result: CheckResult, detail: String) -> Check {
    Check { name: name.into(), result, detail, what_to_do: None }
}

trait With {
    fn with(self, what_to_do: &str) -> Self;
}

impl With for Check {
    fn with(self, what_to_do: &str) -> Self {
        Self { what_to_do: Some(what_to_do.into()), ..self }
    }
}

#[async_trait]
impl Installation for Installed {
    async fn doctor(&self) -> Vec<Check> {
        vec![self.configuration_file(), self.keystore(), self.keys(), self.policy(), self.audit().await]
    }

    fn configuration(&self) -> Result<String, Failure> {
        let Some((_, document)) = &self.settings.file else {
            return Err(Failure::usage("there is no configuration file"));
        };
        serde_json::to_string_pretty(&shown::masked(document))
            .map_err(|error| Failure::new(Kind::Other, error.to_string()))
    }
}
