//! Key stores that are unlocked when they are used: nobody is asked for a
//! passphrase that is not needed, and nobody twice.

mod failure;
mod keystore;
mod passphrase;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use envelope_sdk::{ProviderError, secret::Secrets};
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use zeroize::Zeroizing;

use self::failure::{Failure, Unread};
use crate::{Passphrase, blocking};

pub use keystore::KeystoreOnUse;
pub use passphrase::PassphraseOnUse;

/// Something that is unlocked at its first use, on a thread that may block.
///
/// A crowd of calls shares one try and what comes of it. What was unlocked stays so,
/// and so does a [failure](Failure::is_kept) that another try cannot change or must
/// not repeat; after any other, the next use tries again.
pub(crate) struct OnUse<T> {
    provider: &'static str,
    unlock: Arc<dyn Fn() -> Result<T, Failure> + Send + Sync>,
    state: Arc<Mutex<State<T>>>,
}

/// The error is about no key.
type Outcome<T> = Result<Arc<T>, ProviderError>;

struct State<T> {
    /// What stays.
    kept: Option<Outcome<T>>,
    /// The try that is under way, also when nobody waits for it any more.
    under_way: Option<Shared<BoxFuture<'static, Outcome<T>>>>,
}

impl<T: Send + Sync + 'static> OnUse<T> {
    pub(crate) fn new(
        provider: &'static str,
        unlock: impl Fn() -> Result<T, Failure> + Send + Sync + 'static,
    ) -> Self {
        let state = State { kept: None, under_way: None };
        Self { provider, unlock: Arc::new(unlock), state: Arc::new(Mutex::new(state)) }
    }

    /// What was unlocked before.
    pub(crate) fn unlocked(&self) -> Option<Arc<T>> {
        locked(&self.state).kept.clone()?.ok()
    }

    /// What was unlocked.
    pub(crate) async fn get(&self) -> Outcome<T> {
        let under_way = {
            let mut state = locked(&self.state);
            if let Some(kept) = &state.kept {
                return kept.clone();
            }
            // One that ended and is still here never ran.
            let under_way = state.under_way.take().filter(|under_way| under_way.peek().is_none());
            let under_way = under_way.unwrap_or_else(|| self.one_try().boxed().shared());
            state.under_way.insert(under_way).clone()
        };
        under_way.await
    }

    fn one_try(&self) -> impl Future<Output = Outcome<T>> + Send + use<T> {
        let (unlock, state, provider) = (Arc::clone(&self.unlock), Arc::clone(&self.state), self.provider);
        let ended = blocking::run(move || {
            // A panic, of who gives secrets, is an outcome too: the next try must not begin before there is one.
            let unlocked = blocking::caught(|| unlock()).unwrap_or_else(|panicked| Err(panicked.into()));
            let is_kept = unlocked.as_ref().err().is_none_or(Failure::is_kept);
            let outcome = unlocked.map(Arc::new).map_err(|failure| failure.told_by(provider));
            let mut state = locked(&state);
            if is_kept {
                state.kept = Some(outcome.clone());
            }
            let ended = state.under_way.take();
            drop(state);
            drop(ended);
            outcome
        });
        async move { ended.await.unwrap_or_else(|panicked| Err(Failure::from(panicked).told_by(provider))) }
    }
}

fn locked<T>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    // Nothing panics while it is held.
    state.lock().unwrap_or_else(PoisonError::into_inner)
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
