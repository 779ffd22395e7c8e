//! What a configured key means, as its provider said.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};

use crate::{KeyProvider, KeyUri, ProviderError, ProviderErrorKind};

/// The answer of a provider, kept, and the question while it is under way. Clones
/// are one and the same.
#[derive(Clone, Default)]
pub(super) struct Meaning(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    known: Option<KeyUri>,
    asking: Option<WeakShared<Question>>,
}

/// One question for a crowd of calls. Whoever waits for it drives it, so that a call
/// that is no longer polled holds nobody up; when all are gone, so is the question.
type Question = BoxFuture<'static, Result<KeyUri, Arc<ProviderError>>>;

impl Meaning {
    /// What was answered last.
    pub(super) fn known(&self) -> Option<KeyUri> {
        self.state().known.clone()
    }

    /// Keeps an answer.
    pub(super) fn keep(&self, meaning: KeyUri) {
        self.state().known = Some(meaning);
    }

    pub(super) fn is_that_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Asks, or waits for a question that is under way.
    pub(super) async fn ask(
        &self,
        provider: &Arc<dyn KeyProvider>,
        key: &KeyUri,
    ) -> Result<KeyUri, ProviderError> {
        let asking = self.question(provider, key);
        asking.await.map_err(|error| error.again())
    }

    fn question(&self, provider: &Arc<dyn KeyProvider>, key: &KeyUri) -> Shared<Question> {
        let mut state = self.state();
        let under_way = state.asking.as_ref().and_then(WeakShared::upgrade);
        if let Some(asking) = under_way.filter(|asking| asking.peek().is_none()) {
            return asking;
        }
        let (provider, key) = (Arc::clone(provider), key.clone());
        let asking = async move {
            // A panic would reach everybody who waits, and never end.
            let answer = AssertUnwindSafe(provider.resolve(&key)).catch_unwind().await;
            answer.unwrap_or_else(|_| Err(panicked(&*provider, &key))).map_err(Arc::new)
        };
        let asking = asking.boxed().shared();
        state.asking = asking.downgrade();
        asking
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change of it is one assignment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn panicked(provider: &dyn KeyProvider, key: &KeyUri) -> ProviderError {
    let message = "what it means was not found out: the provider panicked";
    ProviderError::new(ProviderErrorKind::Other, provider.name(), key, message)
}
