//! [`Deadline`]: a call that takes too long has failed.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use envelope_sdk::{Dek, FullContext, KeyProvider, KeyUri, ProviderError, ProviderErrorKind, WrappedDek};
use tokio::time::timeout;

/// Ends each call to the provider below after a time, by dropping it, with an error of kind
/// [`Unavailable`](ProviderErrorKind::Unavailable).
///
/// A provider that waits for a person has none: a passphrase takes as long as it takes.
///
/// # Where it stands
/// Under [`Breaker`](crate::Breaker) and [`Retry`](crate::Retry), where it is the time of one attempt and a time-out counts
/// as a failure. Over them it is the time of the whole, and the breaker does not hear of it, since a call that is dropped
/// has not failed. Both may be: the layer is usable twice.
///
/// Its time is that of tokio's timer, whose steps are of one millisecond.
pub struct Deadline<P> {
    below: P,
    time: Duration,
}

impl<P> Deadline<P> {
    /// Calls may take 5 seconds, as one attempt of a cloud backend of this SDK: a call takes 10 to 300 milliseconds, and
    /// one that takes seconds is not coming.
    #[must_use]
    pub fn new(below: P) -> Self {
        Self { below, time: envelope_sdk::http::ATTEMPT_TIMEOUT }
    }

    /// Calls may take so long.
    #[must_use]
    pub fn of(below: P, time: Duration) -> Self {
        Self { below, time }
    }
}

impl<P: KeyProvider> Deadline<P> {
    async fn within<T>(
        &self,
        key: &KeyUri,
        call: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        timeout(self.time, call).await.unwrap_or_else(|_| Err(self.too_late(key)))
    }

    fn too_late(&self, key: &KeyUri) -> ProviderError {
        let message = format!("the key store did not answer within {:?}", self.time);
        ProviderError::new(ProviderErrorKind::Unavailable, self.name(), key, message)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<P: KeyProvider> KeyProvider for Deadline<P> {
    hand_on!();

    async fn resolve(&self, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        self.within(key, self.below.resolve(key)).await
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        self.within(key, self.below.wrap_dek(key, dek, context)).await
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        self.within(wrapped.key_uri(), self.below.unwrap_dek(wrapped, context)).await
    }

    /// The time is that of all of them together. If it passes none has opened.
    async fn unwrap_deks(&self, wraps: &[(&WrappedDek, &FullContext)]) -> Vec<Result<Dek, ProviderError>> {
        let late = |_| wraps.iter().map(|(wrapped, _)| Err(self.too_late(wrapped.key_uri()))).collect();
        timeout(self.time, self.below.unwrap_deks(wraps)).await.unwrap_or_else(late)
    }

    async fn generate_dek(
        &self,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<(Dek, WrappedDek), ProviderError> {
        self.within(key, self.below.generate_dek(key, context)).await
    }

    async fn rewrap_dek(
        &self,
        wrapped: &WrappedDek,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        self.within(key, self.below.rewrap_dek(wrapped, key, context)).await
    }
}

impl<P> fmt::Debug for Deadline<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadline").field("time", &self.time).finish_non_exhaustive()
    }
}
