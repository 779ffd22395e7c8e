//! [`Deadline`]: a call that takes too long has failed.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use envelope_sdk::{Dek, FullContext, KeyProvider, KeyUri, ProviderError, ProviderErrorKind, WrappedDek};
use tokio::time::timeout;

use crate::batch::one_by_one;

/// Ends each call to the provider below after a time, by dropping it, with an error of kind
/// [`Unavailable`](ProviderErrorKind::Unavailable) and the source [`TimedOut`].
///
/// A provider that waits for a person has none: a passphrase takes as long as it takes.
///
/// # Batches
/// Each wrap of [`unwrap_deks`](KeyProvider::unwrap_deks) has the time of a call and is asked for by itself, one after the
/// other, as most key stores are asked anyway. When one is cut off, those behind it are not asked for any more. For a key
/// store that opens many in one request there is [`whole_batches`](Self::whole_batches).
///
/// # Where it stands
/// Under [`Breaker`](crate::Breaker) and [`Retry`](crate::Retry), where it is the time of one attempt and a time-out counts
/// as a failure. It is to be shorter than [`Retry::deadline`](crate::Retry::deadline): otherwise that one drops each call
/// first, and the breaker hears of no failure. Over them it is the time of the whole, and the breaker does not hear of it,
/// since a call that is dropped has not failed. Both may be: the layer is usable twice.
///
/// Its time is that of tokio's timer, whose steps are of one millisecond.
pub struct Deadline<P> {
    below: P,
    time: Duration,
    client_attempts: u32,
    whole_batches: bool,
}

/// A call was cut off: the source of the error that tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("the key store did not answer within {within:?}")]
pub struct TimedOut {
    /// After this time.
    pub within: Duration,
}

impl<P> Deadline<P> {
    /// Calls may take 5 seconds, as one attempt of a cloud backend of this SDK: a call takes 10 to 300 milliseconds, and
    /// one that takes seconds is not coming.
    #[must_use]
    pub fn new(below: P) -> Self {
        Self::of(below, envelope_sdk::http::ATTEMPT_TIMEOUT)
    }

    /// Calls may take so long.
    #[must_use]
    pub fn of(below: P, time: Duration) -> Self {
        Self { below, time, client_attempts: CLIENT_ATTEMPTS, whole_batches: false }
    }

    /// How many attempts the client of the provider below makes of a call at most. A call that is cut off counts as so
    /// many, since nobody knows how many it has made by then: so a [`Retry`](crate::Retry) above does not multiply them.
    /// Three by default, as the clients of AWS, Google, Azure and Vault make; with Retry's three attempts, a call that is
    /// cut off is not made again then. Say 1 for a provider that asks once, or whose `attempts` were set so.
    #[must_use]
    pub fn client_attempts(mut self, attempts: u32) -> Self {
        self.client_attempts = attempts.max(1);
        self
    }

    /// Says that the provider opens all of a batch in one request, as Vault's: a batch has the time of one call. If it
    /// passes none of it has opened.
    #[must_use]
    pub fn whole_batches(mut self) -> Self {
        self.whole_batches = true;
        self
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
        let late = TimedOut { within: self.time };
        ProviderError::new(ProviderErrorKind::Unavailable, self.name(), key, late.to_string())
            .with_attempts(self.client_attempts)
            .with_source(late)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<P: KeyProvider> KeyProvider for Deadline<P> {
    envelope_sdk::hand_on!(below);

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

    async fn unwrap_deks(&self, wraps: &[(&WrappedDek, &FullContext)]) -> Vec<Result<Dek, ProviderError>> {
        if !self.whole_batches {
            return one_by_one(self, wraps).await;
        }
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

/// What the clients of the clouds make by themselves.
const CLIENT_ATTEMPTS: u32 = 3;
