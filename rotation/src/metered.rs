//! A key provider whose calls are counted and spread over time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use envelope_sdk::{
    ContextBinding, Dek, FullContext, KeyProvider, KeyUri, ProviderError, ProviderIdentity, WrappedDek,
};
use tokio::time::{Instant, sleep_until};

/// How often each key store was called, and how fast it may be.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    calls: Mutex<BTreeMap<&'static str, u64>>,
    /// Between two calls, and when the next one may be.
    pace: Option<(Duration, Mutex<Option<Instant>>)>,
}

impl Meter {
    /// `per_second`: most calls in a second, of all key stores together.
    pub(crate) fn new(per_second: Option<u32>) -> Self {
        let pace = per_second.map(|rate| (Duration::from_secs(1) / rate.max(1), Mutex::new(None)));
        Self { calls: Mutex::default(), pace }
    }

    /// Calls so far, by the name of the provider.
    pub(crate) fn calls(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.calls).clone()
    }

    /// All of them.
    pub(crate) fn total(&self) -> u64 {
        lock(&self.calls).values().sum()
    }

    async fn call(&self, provider: &'static str, count: usize) {
        *lock(&self.calls).entry(provider).or_default() += count as u64;
        let Some((gap, next)) = &self.pace else { return };
        let turn = {
            let mut next = lock(next);
            let now = Instant::now();
            let turn = next.map_or(now, |next| next.max(now));
            *next = Some(turn + *gap * u32::try_from(count).unwrap_or(u32::MAX));
            turn
        };
        sleep_until(turn).await;
    }
}

/// The provider `inner`, whose calls `meter` counts.
pub(crate) struct Metered {
    inner: Arc<dyn KeyProvider>,
    meter: Arc<Meter>,
}

impl Metered {
    pub(crate) fn new(inner: Arc<dyn KeyProvider>, meter: Arc<Meter>) -> Self {
        Self { inner, meter }
    }
}

// A method that is not handed on would be the default in place of the provider's own.
#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl KeyProvider for Metered {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn identity(&self) -> Option<ProviderIdentity> {
        self.inner.identity()
    }

    async fn resolve(&self, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        // Asked once for each key; what an alias means is no use of a key.
        self.inner.resolve(key).await
    }

    fn context_binding(&self, wrapped: &WrappedDek) -> ContextBinding {
        self.inner.context_binding(wrapped)
    }

    fn is_same_key(&self, configured: &KeyUri, recipient: &KeyUri) -> bool {
        self.inner.is_same_key(configured, recipient)
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        self.meter.call(self.inner.name(), 1).await;
        self.inner.wrap_dek(key, dek, context).await
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        self.meter.call(self.inner.name(), 1).await;
        self.inner.unwrap_dek(wrapped, context).await
    }

    async fn unwrap_deks(&self, wraps: &[(&WrappedDek, &FullContext)]) -> Vec<Result<Dek, ProviderError>> {
        self.meter.call(self.inner.name(), wraps.len()).await;
        self.inner.unwrap_deks(wraps).await
    }

    fn refuted(&self, wrapped: &WrappedDek, context: &FullContext) {
        self.inner.refuted(wrapped, context);
    }

    fn binding_of_new_wraps(&self, key: &KeyUri) -> Option<ContextBinding> {
        self.inner.binding_of_new_wraps(key)
    }

    fn generates_deks(&self, key: &KeyUri) -> bool {
        self.inner.generates_deks(key)
    }

    async fn generate_dek(
        &self,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<(Dek, WrappedDek), ProviderError> {
        self.meter.call(self.inner.name(), 1).await;
        self.inner.generate_dek(key, context).await
    }

    async fn rewrap_dek(
        &self,
        wrapped: &WrappedDek,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        let rewrapped = self.inner.rewrap_dek(wrapped, key, context).await;
        // Where the key store cannot do this, nothing was called.
        if !matches!(rewrapped, Ok(None)) {
            self.meter.call(self.inner.name(), 1).await;
        }
        rewrapped
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change of what it holds is one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
