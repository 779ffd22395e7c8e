//! Calls of clients, in the audit log of the configuration.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use envelope_audit::{Entry, LazyLog, Outcome, Unwritable};
use envelope_mcp::{Event, Failure};
use envelope_policy::PolicyFile;
use envelope_sdk::secret::{NoSecrets, Prompt, SecretError, Secrets};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::failure;
use crate::{
    cli::Global,
    error::{CliError, Result},
    passphrase::Passphrases,
    providers::builder,
    recorder::{Recorder, request_id, word},
};

/// Records calls, each before it is answered.
pub(super) struct Calls {
    recorder: Recorder,
    log: LazyLog,
    policy: Option<PolicyFile>,
    /// Why the log could not be opened, and when that was.
    unopened: Mutex<Option<(Instant, Failure)>>,
}

impl Calls {
    /// Into the log that `global` chooses, if it does. The log's secret is opened for the first record, by key stores of its own,
    /// which nothing else here can ask.
    pub(super) fn new(global: &Global, secrets: &Arc<Passphrases>) -> Result<Option<Self>> {
        let opened = builder(global)?.secrets(Arc::new(Given(Arc::clone(secrets)))).build()?;
        let Some(log) = opened.audit() else { return Ok(None) };
        let policy = opened.policy().cloned();
        let (recorder, log) = (Recorder::new(Some(log)), log.clone());
        Ok(Some(Self { recorder, log, policy, unopened: Mutex::default() }))
    }

    pub(super) fn path(&self) -> &Path {
        self.log.path()
    }

    /// Opens the log, unless that failed a moment ago. To open one may take an Argon2id or a call of a key store: an agent that goes on
    /// asking does not make one of each of its calls.
    async fn open(&self) -> std::result::Result<(), Failure> {
        if self.log.opened().is_some() {
            return Ok(());
        }
        // Held meanwhile: of calls at once, one opens it.
        let mut unopened = self.unopened.lock().await;
        if let Some(failure) = still(&unopened, Instant::now()) {
            return Err(failure);
        }
        let opened = self.log.get().await.map(drop);
        *unopened = opened.err().map(|error| (Instant::now(), failure(&CliError::not_recorded(&error))));
        match &*unopened {
            Some((_, failure)) => Err(failure.clone()),
            None => Ok(()),
        }
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
        match self.open().await {
            Err(failure) if self.log.if_unwritable() == Unwritable::BestEffort => {
                tracing::error!(%failure, operation = %event.operation, "a call was not recorded in the audit log");
                return Ok(());
            }
            opened => opened?,
        }
        self.note_policy();
        let mut entry = entry(event);
        // Of each call its own: the process may serve for years.
        entry.request = Some(request_id().map_err(|error| failure(&error))?);
        self.recorder.recorded(entry).await.map_err(|error| failure(&error))
    }
}

/// Why the log was not opened, while that is not tried again.
fn still(unopened: &Option<(Instant, Failure)>, now: Instant) -> Option<Failure> {
    let (at, failure) = unopened.as_ref()?;
    (now.saturating_duration_since(*at) < TRIES_AGAIN_AFTER).then(|| failure.clone())
}

/// As long as an Argon2id of all cores is seldom enough, and a person who has mended the log may wait.
const TRIES_AGAIN_AFTER: Duration = Duration::from_secs(10);

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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that goes wrong shall stop")]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use envelope_audit::{Log, LogOptions};
    use envelope_mcp::Recorder as _;
    use envelope_sdk::{Envelope, Keyring};
    use envelope_testkit::MemoryProvider;

    use super::*;
    use crate::runtime::block_on;

    /// Over a log whose keys are never to be had, and how often they were asked for.
    fn calls(unwritable: Unwritable) -> (Calls, Arc<AtomicUsize>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let path = folder.path().join("log");
        let provider = Arc::new(MemoryProvider::new());
        let key = MemoryProvider::key("audit");
        let with_key = MemoryProvider::new().with_key(&key);
        let keys = Keyring::new().both(Arc::new(with_key), key.clone());
        let keys = Envelope::new(keys);
        drop(block_on(Log::create(&path, &keys, LogOptions::new("test"))).unwrap());
        let options = LogOptions::new("test").if_unwritable(unwritable);
        let counts = Arc::clone(&asked);
        let log = LazyLog::new(path, options, move |_| {
            counts.fetch_add(1, Ordering::Relaxed);
            let none = Keyring::new().both(provider.clone(), key.clone());
            Ok(Envelope::new(none))
        });
        let recorder = Recorder::new(Some(&log));
        (Calls { recorder, log, policy: None, unopened: Mutex::default() }, asked, folder)
    }

    #[test]
    fn a_log_that_cannot_be_opened_is_not_tried_again_for_each_call() {
        for (unwritable, is_answered) in [(Unwritable::Refuse, false), (Unwritable::BestEffort, true)] {
            let (calls, asked, _folder) = calls(unwritable);
            let event = Event::new("mcp:local", "mcp-doctor", None);
            let recorded = block_on(async {
                let all = (0..20).map(|_| calls.record(&event));
                futures_util::future::join_all(all).await
            });
            assert!(recorded.iter().all(|recorded| recorded.is_ok() == is_answered), "{recorded:?}");
            assert!(recorded.windows(2).all(|two| two[0] == two[1]), "each is told why: {recorded:?}");
            assert_eq!(asked.load(Ordering::Relaxed), 1, "{unwritable:?}");
        }
    }

    #[test]
    fn it_is_tried_again_once_that_is_some_time_ago() {
        let failure = Failure::usage("no log");
        let at = Instant::now();
        let unopened = Some((at, failure.clone()));
        assert_eq!(still(&unopened, at + Duration::from_secs(9)), Some(failure));
        assert_eq!(still(&unopened, at + TRIES_AGAIN_AFTER), None);
        assert_eq!(still(&None, at), None);
    }
}
