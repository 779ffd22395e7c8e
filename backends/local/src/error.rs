//! What can go wrong with a keystore.

use std::{io, path::PathBuf};

use envelope_sdk::{ProviderError, ProviderErrorKind, crypto::RandomError, printable::path as shown};

use crate::{Argon2Error, NAME, keystore::MAX_FILE_LEN};

/// Why a keystore was not created, opened or changed. Each message names the
/// file and says what to do; none holds a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeystoreError {
    /// There is no such file.
    #[error("there is no keystore at {}: create one, or correct the path", shown(path))]
    NotFound {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// [`create`](crate::Keystore::create) found a file, which it left alone.
    #[error(
        "{} exists already and was left as it is: open it, or create the keystore elsewhere",
        shown(path)
    )]
    AlreadyExists {
        /// The file.
        path: PathBuf,
    },
    /// The path ends in no file name.
    #[error("{} names no file", shown(path))]
    NoFileName {
        /// The path.
        path: PathBuf,
    },
    /// The path is a symbolic link.
    #[error(
        "{} is a symbolic link, which could be turned elsewhere: give the path of the file itself",
        shown(path)
    )]
    Symlink {
        /// The link.
        path: PathBuf,
    },
    /// The path is a directory, device, pipe or socket.
    #[error("{} is not a regular file", shown(path))]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file belongs to somebody else.
    #[error(
        "{} belongs to user id {owner}, this process runs as {expected}: run as its owner, or chown {expected} it \
         if you know where it comes from",
        shown(path)
    )]
    WrongOwner {
        /// The file.
        path: PathBuf,
        /// Its owner's user id.
        owner: u32,
        /// The effective user id of this process.
        expected: u32,
    },
    /// Group or others may read, write or execute the file.
    #[error("{} is open to others (mode {mode:04o}): run chmod 600 {}", shown(path), shown(path))]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is, or would become, larger than 16 MiB.
    #[error(
        "{} has {len} bytes, more than the {MAX_FILE_LEN} of a keystore: start a second one",
        shown(path)
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        len: u64,
    },
    /// The file is not a keystore, or not as this library writes it.
    #[error(
        "{} is no keystore as this library writes it ({reason}): it was edited or damaged; restore a backup",
        shown(path)
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The file was written by a later version of this library.
    #[error(
        "{} has keystore format {version}, this library reads format 1: use a later release",
        shown(path)
    )]
    UnsupportedVersion {
        /// The file.
        path: PathBuf,
        /// Its format.
        version: u64,
    },
    /// Argon2id does not run with these parameters.
    #[error("the keystore {} cannot be unlocked", shown(path))]
    Argon2 {
        /// The file.
        path: PathBuf,
        /// Which parameter, or that there is no memory.
        source: Argon2Error,
    },
    /// The passphrase does not open the keystore.
    #[error(
        "wrong passphrase for the keystore {}, or the part of the file that it opens was changed",
        shown(path)
    )]
    WrongPassphrase {
        /// The file.
        path: PathBuf,
    },
    /// The passphrase is right, the rest of the file is not what was written.
    #[error("the keystore {} was changed by something else than this library: restore a backup", shown(path))]
    Tampered {
        /// The file.
        path: PathBuf,
    },
    /// The file is older than what this process has loaded, or another branch
    /// of it.
    #[error(
        "the keystore {} went back: it has generation {found}, generation {loaded} was loaded; if a backup was \
         restored on purpose, open it anew",
        shown(path)
    )]
    RolledBack {
        /// The file.
        path: PathBuf,
        /// The generation in the file.
        found: u64,
        /// The generation in memory.
        loaded: u64,
    },
    /// The file is now another keystore than the one that was opened.
    #[error("{} is now the keystore {found}, no longer {expected}: open it anew", shown(path))]
    OtherKeystore {
        /// The file.
        path: PathBuf,
        /// The id of the keystore that was opened.
        expected: String,
        /// The id in the file, which is not authenticated.
        found: String,
    },
    /// The keystore refuses what was asked of one of its keys.
    #[error("{message}")]
    Refused {
        /// What it means.
        kind: ProviderErrorKind,
        /// What was refused, why, and what to do.
        message: String,
    },
    /// The operating system gave no randomness.
    #[error("no new key for the keystore")]
    Random(#[from] RandomError),
    /// The file was written and is in its place, and its folder could not be synced: after a loss of power it may be as it
    /// was before. What was loaded before stays in use here until the file is read again.
    #[error(
        "the keystore {} was changed, and a loss of power may still undo that: its folder cannot be synced; keep both \
         what it was and what it is now, such as the old and the new passphrase, until the disk is in order",
        shown(path)
    )]
    Unsynced {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The operating system refused.
    #[error("cannot {action} {}", shown(path))]
    Io {
        /// What was tried: `open`, `write`, …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// This error as one of the provider `local` about no key
/// ([`about`](ProviderError::about) says which). Unless a key
/// [was refused](KeystoreError::Refused), it is the source, for a program that has
/// more to say: how a keystore is made when it is
/// [not there](KeystoreError::NotFound).
impl From<KeystoreError> for ProviderError {
    fn from(error: KeystoreError) -> Self {
        let told = Self::without_key(error.kind(), NAME, error.to_string());
        match error {
            KeystoreError::Refused { .. } => told,
            error => told.with_source(error),
        }
    }
}

impl KeystoreError {
    /// What it means for who needs a key of the keystore. Never
    /// [`Unauthentic`](ProviderErrorKind::Unauthentic): that is said of what a key is to open, and
    /// of a keystore that does not open, nothing follows for it.
    #[must_use]
    pub fn kind(&self) -> ProviderErrorKind {
        match self {
            Self::Refused { kind, .. } => *kind,
            Self::NotFound { .. } => ProviderErrorKind::NotFound,
            Self::Symlink { .. }
            | Self::NotAFile { .. }
            | Self::WrongOwner { .. }
            | Self::Permissions { .. }
            | Self::WrongPassphrase { .. }
            | Self::Tampered { .. }
            | Self::RolledBack { .. }
            | Self::OtherKeystore { .. } => ProviderErrorKind::AccessDenied,
            Self::AlreadyExists { .. } | Self::NoFileName { .. } | Self::TooLarge { .. } => {
                ProviderErrorKind::Invalid
            }
            Self::UnsupportedVersion { .. }
            | Self::Argon2 { source: Argon2Error::OutOfBounds { .. }, .. } => ProviderErrorKind::Unsupported,
            // Of a change that was made, and may not last, nobody may say that it was not: an audit log takes this kind for an answer
            // that does not tell.
            Self::Malformed { .. } | Self::Unsynced { .. } => ProviderErrorKind::Protocol,
            Self::Argon2 { .. } | Self::Random(_) | Self::Io { .. } => ProviderErrorKind::Other,
        }
    }
}
