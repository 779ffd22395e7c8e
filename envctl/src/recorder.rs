//! What is done with envelopes and keystores, for the audit log. What asks a key store is recorded by the key store's own decorator
//! (`envelope-providers`); this is what only envctl knows: which envelope it was for, and how that ended.

use std::sync::{Mutex, PoisonError};

use envelope_audit::{AppendError, Appended, Entry, LazyLog, LogError, Outcome, Unwritable, Unwritten};
use envelope_providers::ErrorClass;
use envelope_sdk::{
    Header,
    crypto::{DefaultEngine, Engine as _},
};
use futures_util::future::{BoxFuture, join_all};

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
    /// Nothing is changed.
    is_dry: bool,
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

    /// Waits until the calls of key stores are recorded that were to be [recorded later](envelope_audit::recorded_later).
    pub(crate) fn wait(&self, calls: Unwritten) -> Result<()> {
        block_on(calls.wait()).map_err(|error| CliError::not_recorded(&error))
    }

    /// Records that it failed, if keys were asked for it, and returns the error.
    pub(crate) fn failed(&self, act: &Act, error: CliError) -> CliError {
        match &act.entry {
            Some(entry) => self.ended(entry, Outcome::Failed, error),
            None => error,
        }
    }

    /// Records how it ended although there is this error, and returns the error.
    fn ended(&self, entry: &Entry, outcome: Outcome, error: CliError) -> CliError {
        let mut entry = with_outcome(entry, outcome);
        if outcome != Outcome::Ok {
            entry.error = Some(word(error.kind()).into());
        }
        match self.record(entry) {
            Ok(()) => error,
            // Why it cannot be is said already where that was the reason.
            Err(unrecorded) if error.message().contains(unrecorded.message()) => error,
            Err(unrecorded) => error.noted(&format!("and that was not recorded: {}", unrecorded.message())),
        }
    }

    /// Records a change that came to nothing before it began, such as one whose passphrase was wrong, and returns the error.
    pub(crate) fn refused(&self, entry: &Entry, error: CliError) -> CliError {
        self.ended(entry, Outcome::Failed, error)
    }

    /// What is recorded while a job goes on: many records share a flush.
    pub(crate) fn of_job(&self) -> JobRecorder {
        JobRecorder { recorder: self.clone(), pending: Vec::new(), failed: None }
    }

    /// Records a change that cannot be taken back, before it is made and after. `came_of` finds out what was done although there is an
    /// error: its answer may be lost.
    pub(crate) fn change_or<T>(
        &self,
        entry: &Entry,
        change: impl FnOnce() -> Result<T>,
        came_of: impl FnOnce(&CliError) -> Outcome,
    ) -> Result<T> {
        self.record(with_outcome(entry, Outcome::Begun))?;
        match change() {
            Ok(done) => self.record_done(with_outcome(entry, Outcome::Ok)).map(|()| done),
            Err(error) => {
                let outcome = came_of(&error);
                Err(self.ended(entry, outcome, error))
            }
        }
    }

    /// Records what is about to be done, or to be told of, and waits until that is on disk.
    pub(crate) fn record(&self, entry: Entry) -> Result<()> {
        block_on(self.recorded(entry))
    }

    /// The same from within the runtime.
    pub(crate) async fn recorded(&self, entry: Entry) -> Result<()> {
        self.append(entry).await.map_err(|error| CliError::not_recorded(&error))
    }

    /// Records what is done already.
    pub(crate) fn record_done(&self, entry: Entry) -> Result<()> {
        let unrecorded =
            |error| CliError::by_log(&error, format!("it was done, but that is not recorded: {error}"));
        block_on(self.append(entry)).map_err(unrecorded)
    }

    async fn append(&self, entry: Entry) -> std::result::Result<(), AppendError> {
        match &self.0 {
            Some(log) => log.record(entry).await,
            None => Ok(()),
        }
    }
}

/// Records what a job does, without waiting each time. What asks a key store waits for its own records.
pub(crate) struct JobRecorder {
    recorder: Recorder,
    pending: Vec<BoxFuture<'static, std::result::Result<Appended, AppendError>>>,
    failed: Option<CliError>,
}

impl JobRecorder {
    /// Hands a record over. Called from within the job, that is from within the runtime.
    pub(crate) fn add(&mut self, entry: Entry) {
        let Some(log) = &self.recorder.0 else { return };
        match log.opened() {
            Some(log) => self.pending.push(Box::pin(log.append_later(vec![entry]))),
            None => {
                let recorded = futures_executor::block_on(log.record(entry));
                self.note(recorded);
            }
        }
        if self.pending.len() >= TOGETHER {
            self.wait();
        }
    }

    /// Waits until everything is on disk.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.wait();
        self.failed.map_or(Ok(()), Err)
    }

    fn wait(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        for recorded in futures_executor::block_on(join_all(pending)) {
            self.note(recorded.map(drop));
        }
    }

    fn note(&mut self, recorded: std::result::Result<(), AppendError>) {
        let goes_on =
            self.recorder.0.as_ref().is_some_and(|log| log.if_unwritable() == Unwritable::BestEffort);
        if let Err(error) = recorded
            && !goes_on
        {
            self.failed.get_or_insert_with(|| {
                let text = format!("not everything that was done is recorded: {error}");
                CliError::new(kind_of(error.reason()), text)
            });
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
        Self { operation, entry: None, is_dry: false }
    }

    /// The same, of which nothing is to be done: it is recorded as a `check`, as those of key stores are.
    pub(crate) fn dry(self) -> Self {
        Self { is_dry: true, ..self }
    }

    /// Keys are about to be asked, for an envelope that has no header yet.
    pub(crate) fn begins(&mut self) {
        self.entry = Some(Entry::new(self.operation, Outcome::Failed));
    }

    /// It was done, and that is recorded. What goes wrong from here on, such as the removal of the input, is no failure of it.
    pub(crate) fn ends(&mut self) {
        self.entry = None;
    }

    /// It is about this envelope. What an unopened header says of itself, whoever wrote it says.
    pub(crate) fn is_about(&mut self, header: &Header) {
        self.entry = Some(if self.is_dry {
            Entry::about("check", header).with_detail("of", self.operation)
        } else {
            Entry::about(self.operation, header)
        });
    }
}

/// The kind of an error, as records of key stores have it.
pub(crate) fn word(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Usage => "invalid",
        ErrorKind::InputOutput => "input_output",
        ErrorKind::NotAuthentic | ErrorKind::LogInvalid => "unauthentic",
        ErrorKind::KeyRefused => "refused",
        ErrorKind::Unreachable => "unavailable",
        _ => "other",
    }
}

impl CliError {
    /// An operation that was not recorded, and was not done for that.
    pub(crate) fn not_recorded(error: &AppendError) -> Self {
        Self::by_log(error, format!("nothing was done, since it cannot be recorded: {error}"))
    }

    /// What the log is the reason of.
    pub(crate) fn by_log(error: &AppendError, text: String) -> Self {
        let new = Self::new(kind_of(error.reason()), text);
        match hint(error.reason()) {
            Some(hint) => new.hint(hint),
            None => new,
        }
    }
}

/// Of a log that cannot be written. Only `audit verify` says that one was damaged.
pub(crate) fn kind_of(error: &LogError) -> ErrorKind {
    crate::error::kind_of(ErrorClass::of_log(error))
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

/// Records that are handed over before they are waited for.
const TOGETHER: usize = 1024;

/// To the end of the process.
static KEPT: Mutex<Vec<LazyLog>> = Mutex::new(Vec::new());

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use envelope_audit::{Log, LogOptions};
    use envelope_sdk::{Envelope, Keyring};
    use envelope_testkit::MemoryProvider;

    use super::*;

    #[test]
    fn a_change_that_was_made_and_not_recorded_is_told_as_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let key = MemoryProvider::key("audit");
        let provider = Arc::new(MemoryProvider::new().with_key(&key));
        let keys = Envelope::new(Keyring::new().both(provider, key));
        let log = block_on(Log::create(&path, &keys, LogOptions::new("test"))).unwrap();
        let recorder = Recorder(Some(log.into()));
        let entry = Entry::new("change_passphrase", Outcome::Begun);
        let change = || {
            fs::remove_file(folder.path().join("log.head")).unwrap();
            Ok(())
        };
        let error = recorder.change_or(&entry, change, |_| Outcome::Failed).unwrap_err();
        assert!(error.message().starts_with("it was done, but that is not recorded: "), "{error:?}");
    }
}
