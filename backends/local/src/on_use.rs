//! Key stores that are unlocked when they are used: nobody is asked for a
//! passphrase that is not needed, and nobody twice.

mod keystore;
mod passphrase;

use std::{
    error::Error,
    fmt,
    sync::{Arc, OnceLock},
};

use envelope_files::secret::SecretSourceError;
use envelope_sdk::{
    ProviderError, ProviderErrorKind,
    secret::{SecretError, Secrets},
};
use futures_util::lock::Mutex as AsyncMutex;
use zeroize::Zeroizing;

use crate::{KeystoreError, Passphrase, PassphraseError, blocking};

pub use keystore::KeystoreOnUse;
pub use passphrase::PassphraseOnUse;

/// Something that is unlocked at its first use, on a thread that may block. What
/// went wrong then is told again at each use.
pub(crate) struct OnUse<T> {
    provider: &'static str,
    unlock: Arc<dyn Fn() -> Result<T, Failure> + Send + Sync>,
    outcome: Arc<OnceLock<Result<Arc<T>, Failure>>>,
    /// Held while it is unlocked, so that a crowd of calls asks once.
    turn: Arc<AsyncMutex<()>>,
}

impl<T: Send + Sync + 'static> OnUse<T> {
    pub(crate) fn new(
        provider: &'static str,
        unlock: impl Fn() -> Result<T, Failure> + Send + Sync + 'static,
    ) -> Self {
        Self { provider, unlock: Arc::new(unlock), outcome: Arc::default(), turn: Arc::default() }
    }

    /// What was unlocked. The error is about no key.
    pub(crate) async fn get(&self) -> Result<Arc<T>, ProviderError> {
        if self.outcome.get().is_none() {
            self.unlock().await;
        }
        match self.outcome.get() {
            Some(Ok(unlocked)) => Ok(Arc::clone(unlocked)),
            Some(Err(failure)) => Err(failure.told_by(self.provider)),
            None => Err(Failure::interrupted().told_by(self.provider)),
        }
    }

    async fn unlock(&self) {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        if self.outcome.get().is_some() {
            return;
        }
        let (unlock, outcome) = (Arc::clone(&self.unlock), Arc::clone(&self.outcome));
        let unlocked = blocking::run(move || {
            // Also when nobody waits any more, the next call waits for the answer of this one.
            let _turn = turn;
            let _ = outcome.set(unlock().map(Arc::new));
        });
        if unlocked.await.is_err() {
            let _ = self.outcome.set(Err(Failure::interrupted()));
        }
    }
}

/// Why something was not unlocked, kept to be told again.
#[derive(Clone)]
pub(crate) struct Failure {
    kind: ProviderErrorKind,
    cause: Arc<dyn Error + Send + Sync>,
}

impl Failure {
    fn new(kind: ProviderErrorKind, cause: impl Error + Send + Sync + 'static) -> Self {
        Self { kind, cause: Arc::new(cause) }
    }

    fn interrupted() -> Self {
        Self::new(ProviderErrorKind::Other, blocking::Panicked)
    }

    fn told_by(&self, provider: &'static str) -> ProviderError {
        ProviderError::without_key(self.kind, provider, self.cause.to_string())
            .with_source(Kept(Arc::clone(&self.cause)))
    }
}

impl From<SecretError> for Failure {
    fn from(error: SecretError) -> Self {
        Self::new(error.kind(), error)
    }
}

impl From<PassphraseError> for Failure {
    fn from(error: PassphraseError) -> Self {
        Self::new(ProviderErrorKind::Invalid, error)
    }
}

impl From<SecretSourceError> for Failure {
    fn from(error: SecretSourceError) -> Self {
        Self::new(ProviderErrorKind::Other, error)
    }
}

impl From<KeystoreError> for Failure {
    fn from(error: KeystoreError) -> Self {
        Self::new(error.kind(), error)
    }
}

/// An error that is told more than once. It says what its cause says, which is
/// found below it.
#[derive(Debug)]
struct Kept(Arc<dyn Error + Send + Sync>);

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Kept {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

/// The passphrase of that name, if it was given beforehand.
fn given(secrets: &dyn Secrets, name: &str) -> Result<Option<Passphrase>, Failure> {
    secrets.given(name)?.map(passphrase).transpose()
}

/// The copy that is made here has its final length, and the other one wipes itself.
#[expect(clippy::needless_pass_by_value, reason = "a secret that is taken is wiped here")]
fn passphrase(secret: Zeroizing<String>) -> Result<Passphrase, Failure> {
    Ok(Passphrase::new(secret.to_string())?)
}
