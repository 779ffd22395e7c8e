//! [`Limit`]: no more requests than a key store takes.

mod concurrency;
mod rate;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use envelope_sdk::{Dek, FullContext, KeyProvider, KeyUri, ProviderError, ProviderErrorKind, WrappedDek};

use crate::{batch::one_by_one, events};
use concurrency::{Adaptive, Slot};
use rate::{Queue, Rate, RateOfKeys};

pub use concurrency::Concurrency;

/// Holds calls back so that the provider below is asked no more often, and by no more calls at a time, than it is said to
/// take. Without any setting it limits nothing.
///
/// - **Requests per second**, for the provider and for each key. In no second, whenever it begins, are there more, and 95 % of
///   them can be used.
/// - **Calls at a time**, which adapts: [`Concurrency`].
///
/// A caller that must wait does so in the order of arrival: first for the key's rate, then for a place among the calls at a
/// time, then for the provider's rate, which is exact for that reason. (What waits at the second or third may leave closer
/// to the one before it of the same key than the rate of the key says.) No more wait than [`waiting`](Self::waiting): whoever
/// comes then is refused with [`Throttled`](ProviderErrorKind::Throttled), for a queue without an end only turns
/// trouble into time-outs. Whoever is dropped leaves the queue; whoever waits for a rate and is not polled is passed by the others after
/// a quarter of a second. But who has a place among the calls at a time keeps it until the call ends: where calls are driven together
/// (`buffer_unordered`, `select!`), await no other call of the same limit while they are not polled.
///
/// Each wrap of [`unwrap_deks`](KeyProvider::unwrap_deks) counts, and is asked for alone, since most key stores are asked
/// once for each, until a [`Deadline`](crate::Deadline) below cuts one off. For one that opens many in one request there
/// is [`whole_batches`](Self::whole_batches).
///
/// # Where it stands
/// Under [`Retry`](crate::Retry), whose attempts count each, and over [`Deadline`](crate::Deadline), whose time is not that of
/// the queue. One that is shared limits a process; how many processes there are it does not know.
pub struct Limit<P> {
    below: P,
    rate: Option<Arc<Rate>>,
    of_keys: Option<RateOfKeys>,
    concurrency: Option<Adaptive>,
    queue: Queue,
    whole_batches: bool,
}

impl<P> Limit<P> {
    /// Limits nothing yet.
    #[must_use]
    pub fn new(below: P) -> Self {
        Self {
            below,
            rate: None,
            of_keys: None,
            concurrency: None,
            queue: Queue::new(MOST_WAITING),
            whole_batches: false,
        }
    }

    /// At most so many requests in a second, at least 1. Take the quota of the key store and leave others their part of it:
    /// AWS KMS has 10,000 to 100,000 for symmetric keys of an account and region, Cloud KMS 1,000 for a project.
    #[must_use]
    pub fn requests_per_second(mut self, requests: u32) -> Self {
        self.rate = Some(Arc::new(Rate::new(requests)));
        self
    }

    /// The requests per second of `other`, for both together: where one key store is reached in several ways.
    #[must_use]
    pub fn sharing_rate_of<Q>(mut self, other: &Limit<Q>) -> Self {
        self.rate.clone_from(&other.rate);
        self
    }

    /// At most so many requests in a second for each key, at least 1, so that one that everybody uses leaves some of the
    /// quota to others.
    #[must_use]
    pub fn requests_per_second_of_a_key(mut self, requests: u32) -> Self {
        self.of_keys = Some(RateOfKeys::new(requests));
        self
    }

    /// Calls at a time.
    #[must_use]
    pub fn concurrency(mut self, concurrency: Concurrency) -> Self {
        self.concurrency = Some(Adaptive::new(concurrency));
        self
    }

    /// How many callers may wait. 1000 by default: at 1000 requests per second they wait one second, and hold little.
    #[must_use]
    pub fn waiting(mut self, most: usize) -> Self {
        self.queue = Queue::new(most);
        self
    }

    /// Says that the provider opens all of a batch in one request, as Vault's: a batch counts once, and once for each key
    /// in it.
    #[must_use]
    pub fn whole_batches(mut self) -> Self {
        self.whole_batches = true;
        self
    }

    /// How many callers wait now.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// How many calls may go at a time now; `None` where that has no limit.
    #[must_use]
    pub fn permits(&self) -> Option<usize> {
        self.concurrency.as_ref().map(Adaptive::limit)
    }

    /// How many calls go now; `None` where that has no limit.
    #[must_use]
    pub fn in_flight(&self) -> Option<usize> {
        self.concurrency.as_ref().map(Adaptive::in_flight)
    }
}

impl<P: KeyProvider> Limit<P> {
    async fn limited<T>(
        &self,
        key: &KeyUri,
        call: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        let slot = self.enter(&[key]).await.map_err(|FullQueue| self.refused(key))?;
        let answer = call.await;
        if let Some(slot) = slot {
            slot.settle(answer.as_ref().map(drop));
        }
        answer
    }

    async fn enter(&self, keys: &[&KeyUri]) -> Result<Option<Slot<'_>>, FullQueue> {
        let mut place = None;
        if let Some(of_keys) = &self.of_keys {
            for key in keys {
                of_keys.pass(key, &self.queue, &mut place).await?;
            }
        }
        let slot = match &self.concurrency {
            Some(adaptive) => Some(adaptive.enter(&self.queue, &mut place).await?),
            None => None,
        };
        if let Some(rate) = &self.rate {
            rate.pass(&self.queue, &mut place).await?;
        }
        Ok(slot)
    }

    fn refused(&self, key: &KeyUri) -> ProviderError {
        events::limit_refused(self.name());
        let most = self.queue.most();
        let message = format!(
            "{most} calls of this process wait for its limits already: call less often, or raise them"
        );
        ProviderError::new(ProviderErrorKind::Throttled, self.name(), key, message).with_source(FullQueue)
    }
}

/// As many wait as may. The source of the refusal: the key store was not asked, so the breaker learns nothing by it.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the queue is full")]
pub(crate) struct FullQueue;

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<P: KeyProvider> KeyProvider for Limit<P> {
    envelope_sdk::hand_on!(below);

    /// Counts as a request, also where the provider does not ask for it.
    async fn resolve(&self, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        self.limited(key, self.below.resolve(key)).await
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        self.limited(key, self.below.wrap_dek(key, dek, context)).await
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        self.limited(wrapped.key_uri(), self.below.unwrap_dek(wrapped, context)).await
    }

    async fn unwrap_deks(&self, wraps: &[(&WrappedDek, &FullContext)]) -> Vec<Result<Dek, ProviderError>> {
        if !self.whole_batches {
            return one_by_one(self, wraps).await;
        }
        let mut keys: Vec<_> = wraps.iter().map(|(wrapped, _)| wrapped.key_uri()).collect();
        keys.sort();
        keys.dedup();
        let Ok(slot) = self.enter(&keys).await else {
            return wraps.iter().map(|(wrapped, _)| Err(self.refused(wrapped.key_uri()))).collect();
        };
        let answers = self.below.unwrap_deks(wraps).await;
        if let Some(slot) = slot {
            slot.settle(told_by(&answers));
        }
        answers
    }

    async fn generate_dek(
        &self,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<(Dek, WrappedDek), ProviderError> {
        self.limited(key, self.below.generate_dek(key, context)).await
    }

    async fn rewrap_dek(
        &self,
        wrapped: &WrappedDek,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        self.limited(key, self.below.rewrap_dek(wrapped, key, context)).await
    }
}

/// What a batch tells of the key store: that it throttles where it throttled any, and that it is away where it is for all.
fn told_by(answers: &[Result<Dek, ProviderError>]) -> Result<(), &ProviderError> {
    let errors = || answers.iter().filter_map(|answer| answer.as_ref().err());
    let is_away = |answer: &Result<Dek, ProviderError>| {
        answer.as_ref().is_err_and(|error| error.kind() == ProviderErrorKind::Unavailable)
    };
    let away = errors().next().filter(|_| answers.iter().all(is_away));
    errors().find(|error| is_throttled(error)).or(away).map_or(Ok(()), Err)
}

fn is_throttled(error: &ProviderError) -> bool {
    error.kind() == ProviderErrorKind::Throttled
}

impl<P> fmt::Debug for Limit<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limit")
            .field("queued", &self.queued())
            .field("permits", &self.permits())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

const MOST_WAITING: usize = 1000;
