//! A provider that is slow by polls, and futures that are dropped after some.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use async_trait::async_trait;
use envelope_sdk::{
    ContextBinding, Dek, FullContext, KeyProvider, KeyUri, ProviderError, ProviderIdentity, WrappedDek,
};

/// Polls `future` at most `polls` times and drops it; its output if it came to its end before that.
///
/// Run with 0, 1, 2, … until there is an output, it is dropped at each of its awaits once, if whatever it waits for
/// is [a poll later](YieldingProvider) there.
pub fn dropped_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..polls {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
    }
    None
}

/// Stands before a provider and is pending some polls before and as many after each call that it hands
/// on. Counts what became of the calls.
pub struct YieldingProvider {
    below: Arc<dyn KeyProvider>,
    polls: usize,
    begun: AtomicUsize,
    ended: AtomicUsize,
    dropped: AtomicUsize,
}

impl YieldingProvider {
    /// Is pending `polls` times before each call of `below`, and `polls` times after it, with the answer in hand.
    #[must_use]
    pub fn new(below: Arc<dyn KeyProvider>, polls: usize) -> Self {
        let (begun, ended, dropped) = Default::default();
        Self { below, polls, begun, ended, dropped }
    }

    /// How many calls were begun.
    #[must_use]
    pub fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    /// How many came to their end.
    #[must_use]
    pub fn ended(&self) -> usize {
        self.ended.load(Ordering::SeqCst)
    }

    /// How many were dropped before.
    #[must_use]
    pub fn dropped(&self) -> usize {
        self.dropped.load(Ordering::SeqCst)
    }

    /// How many still go on.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.begun() - self.ended() - self.dropped()
    }

    async fn slowly<T>(&self, call: impl Future<Output = T>) -> T {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let mut counted = Counted { provider: self, has_ended: false };
        pending(self.polls).await;
        let answer = call.await;
        pending(self.polls).await;
        counted.has_ended = true;
        answer
    }
}

/// One call; counts its end when it is dropped.
struct Counted<'p> {
    provider: &'p YieldingProvider,
    has_ended: bool,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let count = if self.has_ended { &self.provider.ended } else { &self.provider.dropped };
        count.fetch_add(1, Ordering::SeqCst);
    }
}

async fn pending(polls: usize) {
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl KeyProvider for YieldingProvider {
    fn name(&self) -> &'static str {
        self.below.name()
    }

    fn identity(&self) -> Option<ProviderIdentity> {
        self.below.identity()
    }

    async fn resolve(&self, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        self.slowly(self.below.resolve(key)).await
    }

    fn context_binding(&self, wrapped: &WrappedDek) -> ContextBinding {
        self.below.context_binding(wrapped)
    }

    fn is_same_key(&self, configured: &KeyUri, recipient: &KeyUri) -> bool {
        self.below.is_same_key(configured, recipient)
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        self.slowly(self.below.wrap_dek(key, dek, context)).await
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        self.slowly(self.below.unwrap_dek(wrapped, context)).await
    }

    async fn unwrap_deks(&self, wraps: &[(&WrappedDek, &FullContext)]) -> Vec<Result<Dek, ProviderError>> {
        self.slowly(self.below.unwrap_deks(wraps)).await
    }

    fn refuted(&self, wrapped: &WrappedDek, context: &FullContext) {
        self.below.refuted(wrapped, context);
    }

    fn binding_of_new_wraps(&self, key: &KeyUri) -> Option<ContextBinding> {
        self.below.binding_of_new_wraps(key)
    }

    fn waits_for_a_person(&self, key: &KeyUri) -> bool {
        self.below.waits_for_a_person(key)
    }

    fn generates_deks(&self, key: &KeyUri) -> bool {
        self.below.generates_deks(key)
    }

    async fn generate_dek(
        &self,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<(Dek, WrappedDek), ProviderError> {
        self.slowly(self.below.generate_dek(key, context)).await
    }

    async fn rewrap_dek(
        &self,
        wrapped: &WrappedDek,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        self.slowly(self.below.rewrap_dek(wrapped, key, context)).await
    }
}
