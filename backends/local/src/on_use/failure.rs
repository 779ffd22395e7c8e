//! [`Failure`]: why something was not unlocked.

use std::{error::Error, fmt, sync::Arc};

use envelope_files::secret::SecretSourceError;
use envelope_sdk::{ProviderError, ProviderErrorKind, secret::SecretError};

use crate::{KeystoreError, PassphraseError, blocking::Panicked};

/// Why something was not unlocked. It may be told to many.
#[derive(Clone)]
pub(crate) enum Failure {
    Secret(SecretError),
    Passphrase(PassphraseError),
    Unread(Arc<Unread>),
    Keystore(Arc<KeystoreError>),
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
            Self::Keystore(error) => matches!(**error, KeystoreError::WrongPassphrase { .. }),
            Self::Unread(_) | Self::Panicked(_) => false,
        }
    }

    pub(super) fn told_by(&self, provider: &'static str) -> ProviderError {
        let cause = self.cause();
        let message = match self {
            Self::Unread(unread) => {
                let why = unread.source().map(|why| format!(": {why}")).unwrap_or_default();
                format!("{unread}{why}")
            }
            Self::Panicked(_) => "it was not unlocked because of a panic".into(),
            _ => cause.to_string(),
        };
        let error = ProviderError::without_key(self.kind(), provider, message).with_source(cause);
        if self.is_kept() { error.retryable(false) } else { error }
    }

    fn kind(&self) -> ProviderErrorKind {
        let kind = match self {
            Self::Secret(error) => error.kind(),
            Self::Keystore(error) => error.kind(),
            Self::Passphrase(_) => ProviderErrorKind::Invalid,
            Self::Unread(unread) => match **unread {
                Unread::Source(_) => ProviderErrorKind::Other,
                Unread::Unfit(_) => ProviderErrorKind::Invalid,
            },
            Self::Panicked(_) => ProviderErrorKind::Other,
        };
        match kind {
            // Nothing was unwrapped: nothing is said of what should be.
            ProviderErrorKind::Unauthentic => ProviderErrorKind::AccessDenied,
            kind => kind,
        }
    }

    /// The cause in its own type, so that it is found among the sources and said there once.
    fn cause(&self) -> Box<dyn Error + Send + Sync> {
        match self {
            Self::Secret(error) => error.clone().into(),
            Self::Passphrase(error) => (*error).into(),
            Self::Unread(unread) => Told(Arc::clone(unread)).into(),
            Self::Keystore(error) => error.again().into(),
            Self::Panicked(error) => (*error).into(),
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
from!(Unread, |unread| Self::Unread(Arc::new(unread)));
from!(KeystoreError, |error| Self::Keystore(Arc::new(error)));
from!(Panicked, Self::Panicked);

/// An [`Unread`] that is told to many.
#[derive(Debug)]
struct Told(Arc<Unread>);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Told {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
