//! What failed: with a whole job, or with one item.

use std::{io, path::PathBuf};

use envelope_sdk::{DecryptError, EncryptError, KeyUri, RewrapError, printable};

use crate::{Report, SourceError};

/// Why a job did not run to its end. Items that were done are done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RotationError {
    /// A key that shall wrap does not. Nothing was changed.
    #[error("the job cannot begin: {key} does not wrap: {error}")]
    Key {
        /// The key.
        key: KeyUri,
        /// What its provider said.
        #[source]
        error: Box<EncryptError>,
    },
    /// The checkpoint cannot be read or written.
    #[error("cannot use the checkpoint {}: {source}", printable::path(path))]
    Checkpoint {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process writes the checkpoint.
    #[error("the checkpoint {} is in use by another job", printable::path(path))]
    CheckpointBusy {
        /// Its path.
        path: PathBuf,
    },
    /// The file is no checkpoint.
    #[error("{} is no checkpoint of a rotation", printable::path(path))]
    NotACheckpoint {
        /// Its path.
        path: PathBuf,
    },
    /// The checkpoint is of a job with other keys or another operation.
    #[error(
        "the checkpoint {} is of another job: resume with the keys and the operation of then, or name another file",
        printable::path(path)
    )]
    OtherJob {
        /// Its path.
        path: PathBuf,
    },
    /// A part of the job panicked, which is a bug; the others went on.
    #[error("a worker of the job broke down: {0}")]
    Worker(String),
    /// The job ran, and then something failed that is of no single item.
    #[error("{why}")]
    Stopped {
        /// What failed.
        why: Box<RotationError>,
        /// What was done.
        report: Box<Report>,
    },
}

impl RotationError {
    /// What was done before it failed; `None` where nothing was begun.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        match self {
            Self::Stopped { report, .. } => Some(report),
            _ => None,
        }
    }
}

/// Why one item was not changed. It is as it was, unless the text says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ItemError {
    /// It could not be read or written.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// It did not open, or a key did not wrap.
    #[error(transparent)]
    Rewrap(#[from] RewrapError),
    /// A recipient should stay and is no key of the job, so that nothing can wrap for it.
    #[error(
        "its recipient {key} should stay and is not configured: name it as a key to open with, or remove it"
    )]
    KeyNotConfigured {
        /// The recipient, as the header names it (unverified).
        key: KeyUri,
    },
    /// No key would be left.
    #[error("no key would open it any more")]
    NoKey,
    /// Others changed it each time between reading and writing.
    #[error("others kept changing it: tried {tries} times")]
    Contended {
        /// How often.
        tries: u32,
    },
    /// The checkpoint could not be written, so the item was left as it was.
    #[error("cannot write the checkpoint: {0}")]
    Checkpoint(#[source] io::Error),
}

impl From<DecryptError> for ItemError {
    fn from(error: DecryptError) -> Self {
        Self::Rewrap(error.into())
    }
}

impl From<EncryptError> for ItemError {
    fn from(error: EncryptError) -> Self {
        Self::Rewrap(error.into())
    }
}
