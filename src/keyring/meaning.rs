//! What a configured key means, as its provider said.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{KeyProvider, KeyUri, ProviderError, ProviderErrorKind, crowd::Crowd};

/// The answer of a provider, kept, and the question while it is under way. Clones
/// are one and the same.
#[derive(Clone, Default)]
pub(super) struct Meaning(Arc<Inner>);

#[derive(Default)]
struct Inner {
    known: Mutex<Option<KeyUri>>,
    question: Crowd<Result<KeyUri, ProviderError>>,
}

impl Meaning {
    /// What was answered last.
    pub(super) fn known(&self) -> Option<KeyUri> {
        self.0.lock().clone()
    }

    pub(super) fn is_that_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The answer, asked for if there is none yet, or in any case if it is to be a new one.
    pub(super) async fn ask(
        &self,
        provider: &Arc<dyn KeyProvider>,
        key: &KeyUri,
        anew: bool,
    ) -> Result<KeyUri, ProviderError> {
        let (inner, asked, about) = (Arc::clone(&self.0), Arc::clone(provider), key.clone());
        let question = || async move {
            // Somebody else may have been answered since it was looked for.
            let known = inner.lock().clone().filter(|_| !anew);
            match known {
                Some(known) => Ok(known),
                None => inner.ask(&*asked, &about).await,
            }
        };
        self.0.question.join(question).await.unwrap_or_else(|panicked| {
            let message = "what it means was not found out";
            Err(ProviderError::new(ProviderErrorKind::Other, provider.name(), key, message)
                .with_source(panicked))
        })
    }
}

impl Inner {
    async fn ask(&self, provider: &dyn KeyProvider, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        let meaning = provider.resolve(key).await?;
        if meaning.scheme() != key.scheme() {
            let message =
                format!("it means a key of another scheme, {meaning}: do not trust what answers for it");
            return Err(ProviderError::new(ProviderErrorKind::Protocol, provider.name(), key, message));
        }
        *self.lock() = Some(meaning.clone());
        Ok(meaning)
    }

    fn lock(&self) -> MutexGuard<'_, Option<KeyUri>> {
        // Each change of it is one assignment.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
