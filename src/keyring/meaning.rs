//! What a configured key means, as its provider said.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    KeyProvider, KeyUri, ProviderError, ProviderErrorKind,
    crowd::{Crowd, Panicked},
};

/// The answer of a provider, kept, and the questions while they are under way. Clones
/// are one and the same.
#[derive(Clone, Default)]
pub(super) struct Meaning(Arc<Inner>);

type Answer = Result<KeyUri, ProviderError>;

#[derive(Default)]
struct Inner {
    told: Mutex<Told>,
    first: Crowd<Answer>,
    anew: Crowd<Answer>,
}

#[derive(Default)]
struct Told {
    questions: u64,
    /// Which question had this answer.
    answer: Option<(u64, KeyUri)>,
}

impl Meaning {
    /// What was answered last.
    pub(super) fn known(&self) -> Option<KeyUri> {
        self.0.known()
    }

    pub(super) fn is_that_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The answer, asked for if there is none yet.
    pub(super) async fn learn(&self, provider: &Arc<dyn KeyProvider>, key: &KeyUri) -> Answer {
        if let Some(known) = self.known() {
            return Ok(known);
        }
        let question = self.question(provider, key);
        // Somebody else may have been answered since.
        let ask = |inner: Arc<Inner>| async move {
            match inner.known() {
                Some(known) => Ok(known),
                None => question.await,
            }
        };
        let outcome = self.0.first.join(|| ask(Arc::clone(&self.0))).await;
        outcome.unwrap_or_else(|panicked| Err(unanswered(&**provider, key, panicked)))
    }

    /// The answer to a question that is asked after this call.
    pub(super) async fn learn_anew(&self, provider: &Arc<dyn KeyProvider>, key: &KeyUri) -> Answer {
        let outcome = self.0.anew.join_next(|| self.question(provider, key)).await;
        outcome.unwrap_or_else(|panicked| Err(unanswered(&**provider, key, panicked)))
    }

    fn question(
        &self,
        provider: &Arc<dyn KeyProvider>,
        key: &KeyUri,
    ) -> impl Future<Output = Answer> + Send + use<> {
        let (inner, provider, key) = (Arc::clone(&self.0), Arc::clone(provider), key.clone());
        async move { inner.ask(&*provider, &key).await }
    }
}

impl Inner {
    async fn ask(&self, provider: &dyn KeyProvider, key: &KeyUri) -> Answer {
        let number = {
            let mut told = self.lock();
            told.questions += 1;
            told.questions
        };
        let meaning = provider.resolve(key).await?;
        if meaning.scheme() != key.scheme() {
            let message =
                format!("it means a key of another scheme, {meaning}: do not trust what answers for it");
            return Err(ProviderError::new(ProviderErrorKind::Protocol, provider.name(), key, message));
        }
        let mut told = self.lock();
        // An answer that comes late is not for ever: the alias may have been turned in between.
        if told.answer.as_ref().is_none_or(|(newest, _)| *newest < number) {
            told.answer = Some((number, meaning.clone()));
        }
        Ok(meaning)
    }

    fn known(&self) -> Option<KeyUri> {
        self.lock().answer.as_ref().map(|(_, meaning)| meaning.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        // Each change of it is one step.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unanswered(provider: &dyn KeyProvider, key: &KeyUri, panicked: Panicked) -> ProviderError {
    let message = "what it means was not found out";
    ProviderError::new(ProviderErrorKind::Other, provider.name(), key, message).with_source(panicked)
}
