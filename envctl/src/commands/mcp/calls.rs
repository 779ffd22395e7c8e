//! Calls of clients, in the audit log of the configuration.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use envelope_audit::{Entry, LazyLog, Outcome};
use envelope_mcp::{Event, Failure};
use envelope_policy::PolicyFile;
use envelope_sdk::secret::{NoSecrets, Prompt, SecretError, Secrets};
use zeroize::Zeroizing;

use super::failure;
use crate::{
    cli::Global,
    error::Result,
    passphrase::Passphrases,
    providers::builder,
    recorder::{Recorder, word},
};

/// Records calls, each before it is answered.
pub(super) struct Calls {
    recorder: Recorder,
    log: LazyLog,
    policy: Option<PolicyFile>,
}

impl Calls {
    /// Into the log that `global` chooses, if it does. The log's secret is opened for the first record, by key stores of its own,
    /// which nothing else here can ask.
    pub(super) fn new(global: &Global, secrets: &Arc<Passphrases>) -> Result<Option<Self>> {
        let opened = builder(global)?.secrets(Arc::new(Given(Arc::clone(secrets)))).build()?;
        let Some(log) = opened.audit() else { return Ok(None) };
        let policy = opened.policy().cloned();
        Ok(Some(Self { recorder: Recorder::new(Some(log)), log: log.clone(), policy }))
    }

    pub(super) fn path(&self) -> &Path {
        self.log.path()
    }

    /// Key stores that are recorded say under which policy they were asked; those of clients are not, and the policy may change
    /// while the server runs.
    fn note_policy(&self) {
        let (Some(log), Some(policy)) = (self.log.opened(), &self.policy) else { return };
        match policy.look() {
            Ok(policy) => log.works_under("policy", &policy.id().to_string()),
            Err(_) => log.works_under("policy", "unusable"),
        }
    }
}

#[async_trait]
impl envelope_mcp::Recorder for Calls {
    async fn record(&self, event: &Event) -> std::result::Result<(), Failure> {
        self.note_policy();
        self.recorder.recorded(entry(event)).await.map_err(|error| failure(&error))
    }
}

fn entry(event: &Event) -> Entry {
    let outcome = match (&event.denial, event.failure) {
        (Some(_), _) => Outcome::Denied,
        (None, Some(_)) => Outcome::Failed,
        (None, None) => Outcome::Ok,
    };
    let mut entry = Entry::new(event.operation.clone(), outcome);
    entry.actor = Some(event.actor.clone());
    let details = event.details.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    entry.detail.extend(details);
    match &event.denial {
        Some(denial) => {
            entry.rule.clone_from(&denial.rule);
            entry.error = denial.why.map(Into::into);
            entry.detail.extend(denial.policy.clone().map(|policy| ("policy".to_owned(), policy)));
        }
        None => entry.error = event.failure.map(|kind| word(kind).into()),
    }
    entry
}

/// Secrets that were given. There is nobody to be asked for others.
struct Given(Arc<Passphrases>);

impl Secrets for Given {
    fn given(&self, name: &str) -> std::result::Result<Option<Zeroizing<String>>, SecretError> {
        self.0.given(name)
    }

    fn ask(&self, name: &str, prompt: &Prompt<'_>) -> std::result::Result<Zeroizing<String>, SecretError> {
        NoSecrets.ask(name, prompt)
    }
}
