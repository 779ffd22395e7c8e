//! [`Failure`]: why something was not unlocked.

use std::error::Error;

use envelope_files::secret::SecretSourceError;
use envelope_sdk::{ProviderError, ProviderErrorKind, secret::SecretError};

use crate::{KeystoreError, PassphraseError, blocking::Panicked};

/// Why something was not unlocked.
pub(crate) enum Failure {
    Secret(SecretError),
    Passphrase(PassphraseError),
    Unread(Unread),
    Keystore(KeystoreError),
    Panicked(Panicked),
}

/// Why a file, or another source, gave no passphrase of a keystore.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unread {
    #[error("cannot read the passphrase of the keystore")]
    Source(#[from] SecretSourceError),
    #[error("what was read as the passphrase of the keystore is none")]
    Unfit(#[from] PassphraseError),
}

impl Failure {
    /// Whether it stays, and whoever unlocks does not try again:
    ///
    /// - the keystore's passphrase is wrong: each try would take Argon2id, or a
    ///   person's time, to say so again;
    /// - a secret cannot be had with these words of the call, or a person gave none
    ///   ([`SecretError`] of kind `Invalid`);
    /// - the passphrase that was given or typed is empty or too long.
    ///
    /// All else may be another way at the next use: a file or another key store
    /// that gives the passphrase, the keystore's own file, memory, a program that panicked.
    pub(super) fn is_kept(&self) -> bool {
        match self {
            Self::Secret(error) => error.kind() == ProviderErrorKind::Invalid,
            Self::Passphrase(_) => true,
            Self::Keystore(error) => matches!(error, KeystoreError::WrongPassphrase { .. }),
            Self::Unread(_) | Self::Panicked(_) => false,
        }
    }

    /// The error, to be told to all who wait.
    pub(super) fn told_by(self, provider: &'static str) -> ProviderError {
        let (kind, is_kept) = (self.kind(), self.is_kept());
        let (message, cause): (String, Box<dyn Error + Send + Sync>) = match self {
            Self::Unread(unread) => {
                let why = unread.source().map(|why| format!(": {why}")).unwrap_or_default();
                (format!("{unread}{why}"), unread.into())
            }
            Self::Panicked(panicked) => {
                ("it was not unlocked because of a panic".to_owned(), panicked.into())
            }
            Self::Secret(error) => (error.to_string(), error.into()),
            Self::Passphrase(error) => (error.to_string(), error.into()),
            Self::Keystore(error) => (error.to_string(), error.into()),
        };
        let error = ProviderError::without_key(kind, provider, message).with_source(cause);
        if is_kept { error.retryable(false) } else { error }
    }

    fn kind(&self) -> ProviderErrorKind {
        let kind = match self {
            Self::Secret(error) => error.kind(),
            Self::Keystore(error) => error.kind(),
            Self::Passphrase(_) => ProviderErrorKind::Invalid,
            Self::Unread(Unread::Source(_)) => ProviderErrorKind::Other,
            Self::Unread(Unread::Unfit(_)) => ProviderErrorKind::Invalid,
            Self::Panicked(_) => ProviderErrorKind::Other,
        };
        match kind {
            // Nothing was unwrapped: nothing is said of what should be.
            ProviderErrorKind::Unauthentic => ProviderErrorKind::AccessDenied,
            kind => kind,
        }
    }
}

macro_rules! from {
    ($error:ty, $failure:expr) => {
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                $failure(error)
            }
        }
    };
}

from!(SecretError, Self::Secret);
from!(PassphraseError, Self::Passphrase);
from!(Unread, Self::Unread);
from!(KeystoreError, Self::Keystore);
from!(Panicked, Self::Panicked);
