//! What fails with a log that is written.

use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use envelope_files::{FileError, trust::TrustError};
use envelope_sdk::printable;

use crate::{Damage, record::NotARecord};

/// Why a log cannot be created, opened or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// There is none, and none is begun by writing.
    #[error("there is no audit log {}", printable::path(path))]
    NoLog {
        /// Where it should be.
        path: PathBuf,
    },
    /// There is one, or what is left of one.
    #[error("{} is there already", printable::path(path))]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// What is there is not what was written.
    #[error("the audit log was damaged: {0}")]
    Damaged(#[from] Damage),
    /// An older copy was put in the place of the log that this process has written.
    #[error(
        "an older copy took the place of the audit log {}: it ends with record {found}, and record {known} was written",
        printable::path(path)
    )]
    Older {
        /// The log.
        path: PathBuf,
        /// The last record that this process knows.
        known: u64,
        /// The last record that is there.
        found: u64,
    },
    /// The system refused something.
    #[error("cannot {verb} {}: {source}", printable::path(path))]
    Io {
        /// What was to be done.
        verb: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Others may write a file or its folder.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// `FILE.key` is not in its one form.
    #[error("{} is not the key file of an audit log", printable::path(path))]
    KeyFile {
        /// The file.
        path: PathBuf,
    },
    /// The secret cannot be made, wrapped or unwrapped.
    #[error("the key of the audit log cannot be used: {0}")]
    Key(Box<dyn Error + Send + Sync>),
    /// An entry has a value that no record may have.
    #[error("an operation cannot be recorded: {0}")]
    Entry(#[from] NotARecord),
    /// The thread that writes is gone.
    #[error("the audit log is closed")]
    Closed,
}

impl LogError {
    pub(crate) fn io(verb: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { verb, path: path.to_owned(), source }
    }

    pub(crate) fn key(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Key(error.into())
    }

    /// What to do about it, where that can be said.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoLog { .. } => Some("create one; if there was one, find out who removed it"),
            Self::Damaged(_) | Self::Older { .. } => Some(
                "nothing is written to it any more: verify it, keep it with its files as it is, and create another",
            ),
            Self::Exists { .. } => Some("if it was never in use, remove it with its files, and try again"),
            _ => None,
        }
    }
}

/// Why nothing was recorded: the [`LogError`], which all who were written together share.
#[derive(Debug, Clone)]
pub struct AppendError(Arc<LogError>);

impl AppendError {
    /// What went wrong.
    #[must_use]
    pub fn reason(&self) -> &LogError {
        &self.0
    }
}

impl From<LogError> for AppendError {
    fn from(error: LogError) -> Self {
        Self(Arc::new(error))
    }
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for AppendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
