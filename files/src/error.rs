//! What failed with a file, and what to do.

use std::{
    io,
    path::{Path, PathBuf},
};

use envelope_sdk::printable;

/// What failed with a file. The file is as it was, unless the text says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The system refused something.
    #[error("cannot {verb} {}: {source}", printable::path(path))]
    Io {
        /// What was to be done, such as `read` or `write into`.
        verb: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is a file of this name, and it was not to be replaced.
    #[error("{} is there already", printable::path(path))]
    Exists {
        /// The name.
        path: PathBuf,
    },
    /// A symbolic link where a file is written, replaced or removed.
    #[error("{} is a symbolic link", printable::path(path))]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// A folder, device, pipe or socket where a file is written or replaced.
    #[error("{} is not a regular file", printable::path(path))]
    NotAFile {
        /// Its path.
        path: PathBuf,
    },
    /// Another process holds the lock.
    #[error("another process is working on {}", printable::path(path))]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The name means another file now, or the file has other bytes.
    #[error(
        "{} is not the file any more that was read: it was changed or replaced meanwhile",
        printable::path(path)
    )]
    Changed {
        /// The name.
        path: PathBuf,
    },
    /// A file that must be replaced has more names, which would keep the old bytes.
    #[error(
        "{} has {names} names (hard links), and replacing it would leave the old file under the others",
        printable::path(path)
    )]
    HardLinks {
        /// One of the names.
        path: PathBuf,
        /// How many there are.
        names: u64,
    },
    /// A file that replaces another cannot have its owner, group, access list or
    /// attributes.
    #[error("cannot replace {}: a new file cannot keep its {what}: {source}", printable::path(path))]
    Attributes {
        /// The file.
        path: PathBuf,
        /// What cannot be kept.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The file that was to be removed could not be put back under its name.
    #[error("{} is now called {}: {source}", printable::path(path), printable::path(now))]
    Renamed {
        /// The name it had.
        path: PathBuf,
        /// The name it has.
        now: PathBuf,
        /// Why it could not be put back.
        source: io::Error,
    },
    /// The header was cut off while it was written over.
    #[error("cannot write the header of {}: {source}", printable::path(path))]
    HeaderCutOff {
        /// The file.
        path: PathBuf,
        /// The journal that has the header whole.
        journal: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl FileError {
    pub(crate) fn io(verb: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io { verb, path: path.to_owned(), source: source.into() }
    }

    /// What to do about it, where that can be said.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Link { .. } => Some("name the file itself".into()),
            Self::Busy { .. } => Some("try again when it is done".into()),
            Self::HardLinks { .. } => {
                Some("remove the other names, or copy the file and rewrap the copy".into())
            }
            Self::Attributes { .. } => Some("do it as the owner of the file, or as root".into()),
            Self::HeaderCutOff { journal, .. } => {
                Some(format!("keep {}: the next rewrap repairs the file with it", printable::path(journal)))
            }
            _ => None,
        }
    }
}
