//! Why records were not moved.

use envelope_layers::{DataKeyId, StoreError};
use envelope_sdk::{DecryptError, EncryptError, RECORD_MAX_LEN};

use super::{RecordKey, RecordReport, TemplateError};

/// Why a [`RecordJob`](super::RecordJob) ended before its end. Each row opens, under its old data key or the new one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordsError {
    /// The job does not say which data keys are the old ones, or names the new one among them.
    #[error("{0}")]
    Job(&'static str),
    /// The store failed. Its error is the source.
    #[error("the records' store failed: {0}")]
    Store(#[source] StoreError),
    /// Records refer to a data key whose header is not there: without it nobody opens them.
    #[error("there is no header of the data key {id}, to which {records} records refer")]
    NoHeader {
        /// The data key.
        id: DataKeyId,
        /// How many records.
        records: u64,
    },
    /// What is stored as the header of a data key is none, or that of another one.
    #[error("what is stored as the header of the data key {id} is not that")]
    WrongHeader {
        /// The data key.
        id: DataKeyId,
    },
    /// A data key was [destroyed](super::RecordStore::destroy), before the job or meanwhile: nothing opens the rows under an old
    /// one, and none moves to a new one any more.
    #[error("the data key {id} was destroyed: nothing opens what is under it")]
    Destroyed {
        /// The data key.
        id: DataKeyId,
    },
    /// A data key does not open with the keys of the job.
    #[error("the data key {id} does not open: {source}")]
    Open {
        /// The data key.
        id: DataKeyId,
        /// Why not.
        source: DecryptError,
    },
    /// A new data key cannot be made.
    #[error("cannot make a new data key: {0}")]
    Make(#[source] EncryptError),
    /// A new data key does not open with a key that wrapped it.
    #[error("a new data key does not open with one of the keys that wrapped it, and is not used: {0}")]
    NotVerified(#[source] DecryptError),
    /// None of the first rows opens, so the template is wrong, or the columns are. Nothing was written.
    #[error(
        "none of the first {rows} rows under the data key {id} opens, so nothing was written: is the template of the \
         context that of the service? The first of them: {first}"
    )]
    NothingOpens {
        /// The data key.
        id: DataKeyId,
        /// How many rows were tried.
        rows: usize,
        /// What is wrong with the first.
        first: Box<RecordFailure>,
    },
    /// Something was done, and then the job could not go on.
    #[error("{why}")]
    Stopped {
        /// What failed.
        why: Box<RecordsError>,
        /// What was done.
        report: Box<RecordReport>,
    },
}

impl RecordsError {
    /// What was done before it failed; `None` where nothing was.
    #[must_use]
    pub fn report(&self) -> Option<&RecordReport> {
        match self {
            Self::Stopped { report, .. } => Some(report),
            _ => None,
        }
    }
}

/// A row that was left as it is, and why.
#[derive(Debug, thiserror::Error)]
#[error("row {key}, column {column}: {why}")]
pub struct RecordFailure {
    /// The row.
    pub key: RecordKey,
    /// The column of the record, safe to print.
    pub column: String,
    /// Why.
    #[source]
    pub why: WhyNot,
}

/// Why a record was left as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WhyNot {
    /// The row has no value for its context.
    #[error(transparent)]
    Context(#[from] TemplateError),
    /// It does not open under its data key and this context.
    #[error("the record does not open: {0}")]
    Open(#[from] DecryptError),
    /// It cannot be sealed.
    #[error("the record cannot be sealed (at most {RECORD_MAX_LEN} bytes): {0}")]
    Seal(#[from] EncryptError),
    /// What was sealed does not give the plaintext back.
    #[error("the new record does not give the old plaintext back")]
    NotVerified,
}
