//! What is done with envelopes and keystores, for the audit log. What asks a key store is recorded by the key store's own decorator
//! (`envelope-providers`); this is what only envctl knows: which envelope it was for, and how that ended.

use std::sync::{Mutex, PoisonError};

use envelope_audit::{AppendError, Entry, LazyLog, LogError, Outcome};
use envelope_providers::ProvidersError;
use envelope_sdk::{
    DecryptError, Header, Kind,
    crypto::{DefaultEngine, Engine as _},
};

use crate::{
    error::{CliError, ErrorKind, Result},
    report,
    runtime::block_on,
};

/// Records, if there is a log.
#[derive(Clone)]
pub(crate) struct Recorder(Option<LazyLog>);

/// Something that is done with one envelope. It has begun when keys are asked for it; what fails before is no use of a key.
pub(crate) struct Act {
    operation: &'static str,
    entry: Option<Entry>,
}

impl Recorder {
    /// The log of this call. It is brought to its end by [`finish`].
    pub(crate) fn new(log: Option<&LazyLog>) -> Self {
        if let Some(log) = log {
            KEPT.lock().unwrap_or_else(PoisonError::into_inner).push(log.clone());
        }
        Self(log.cloned())
    }

    /// Records that it is done: the output gets its name after this.
    pub(crate) fn done(&self, act: &Act) -> Result<()> {
        match &act.entry {
            Some(entry) => self.record(with_outcome(entry, Outcome::Ok)),
            None => Ok(()),
        }
    }

    /// Records that it failed, if keys were asked for it, and returns the error.
    pub(crate) fn failed(&self, act: &Act, error: CliError) -> CliError {
        let Some(entry) = &act.entry else { return error };
        let mut entry = with_outcome(entry, Outcome::Failed);
        entry.error = Some(word(error.kind()).into());
        match self.record(entry) {
            Ok(()) => error,
            // Why it cannot be is said already where that was the reason.
            Err(unrecorded) if error.message().contains(unrecorded.message()) => error,
            Err(unrecorded) => error.noted(&format!("and that was not recorded: {}", unrecorded.message())),
        }
    }

    /// Records it, and waits until it is on disk.
    pub(crate) fn record(&self, entry: Entry) -> Result<()> {
        match &self.0 {
            Some(log) => block_on(log.record(entry)).map_err(|error| CliError::not_recorded(&error)),
            None => Ok(()),
        }
    }
}

fn with_outcome(entry: &Entry, outcome: Outcome) -> Entry {
    let mut entry = entry.clone();
    entry.outcome = outcome;
    entry
}

impl Act {
    /// Nothing was asked for it yet. `operation`: `encrypt`, `decrypt`, `rewrap`.
    pub(crate) fn new(operation: &'static str) -> Self {
        Self { operation, entry: None }
    }

    /// Keys are about to be asked, for an envelope that has no header yet.
    pub(crate) fn begins(&mut self) {
        self.entry = Some(Entry::new(self.operation, Outcome::Failed));
    }

    /// It is about this envelope. What an unopened header says of itself, whoever wrote it says.
    pub(crate) fn is_about(&mut self, header: &Header) {
        self.entry = Some(about(self.operation, header));
    }
}

/// An entry about an envelope. Of its context, the log takes what its configuration lists.
pub(crate) fn about(operation: &'static str, header: &Header) -> Entry {
    let mut entry = Entry::new(operation, Outcome::Failed);
    entry.envelope = Some(*header.envelope_id());
    entry.generation = Some(header.generation());
    entry.context = header.stored_context().clone();
    if let [recipient] = header.recipients() {
        entry.key = Some(recipient.key_uri().to_string());
        let version = recipient.key_version();
        entry.key_version = (!version.is_empty()).then(|| version.to_owned());
    }
    let entry = entry.with_detail("recipients", header.recipients().len().to_string());
    if header.kind() == Kind::Attached { entry } else { entry.with_detail("kind", header.kind().name()) }
}

/// The kind of an error, as records of key stores have it.
pub(crate) fn word(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Usage => "invalid",
        ErrorKind::InputOutput => "input_output",
        ErrorKind::NotAuthentic => "unauthentic",
        ErrorKind::KeyRefused => "refused",
        ErrorKind::Unreachable => "unavailable",
        ErrorKind::Other | ErrorKind::LogInvalid => "other",
    }
}

impl CliError {
    /// An operation that was not recorded, and was not done for that.
    pub(crate) fn not_recorded(error: &AppendError) -> Self {
        let text = format!("nothing was done, since it cannot be recorded: {error}");
        let new = Self::new(kind_of(error.reason()), text);
        match hint(error.reason()) {
            Some(hint) => new.hint(hint),
            None => new,
        }
    }
}

/// Of a log that cannot be written. Only `audit verify` says that one was damaged.
pub(crate) fn kind_of(error: &LogError) -> ErrorKind {
    let LogError::Key(error) = error else { return ErrorKind::InputOutput };
    match error.downcast_ref::<DecryptError>() {
        Some(DecryptError::Keys { attempts }) => crate::error::kind_of_attempts(attempts),
        Some(_) => ErrorKind::NotAuthentic,
        None if error.is::<ProvidersError>() => ErrorKind::Usage,
        None => ErrorKind::Other,
    }
}

/// What to do about it.
pub(crate) fn hint(error: &LogError) -> Option<&'static str> {
    match error {
        LogError::NoLog { .. } => Some(
            "`envctl audit create FILE` creates it; if there was one, find out who removed it. The log is chosen by --audit-log, \
             $ENVCTL_AUDIT or `file` under [audit]",
        ),
        LogError::Damaged(_) | LogError::Older { .. } => Some(
            "`envctl audit verify FILE` says what was done to it: keep it with its files as it is, and create another one",
        ),
        LogError::Trust(_) => {
            Some("the log's files are yours, mode 0600, in folders that nobody else may write")
        }
        _ => None,
    }
}

/// What all records of this call have in common: 8 random bytes in hexadecimal.
pub(crate) fn request_id() -> Result<String> {
    let mut id = [0; 8];
    DefaultEngine::fill_random(&mut id).map_err(|error| CliError::other(error.to_string()))?;
    Ok(report::hex(&id))
}

/// Brings what was recorded to its end. Each record is on disk already; that the log says so too is left to its next writer
/// where it fails.
pub(crate) fn finish() {
    let kept = std::mem::take(&mut *KEPT.lock().unwrap_or_else(PoisonError::into_inner));
    for log in kept {
        if let Some(log) = log.opened() {
            let _ = block_on(log.flush());
        }
    }
}

/// To the end of the process.
static KEPT: Mutex<Vec<LazyLog>> = Mutex::new(Vec::new());
