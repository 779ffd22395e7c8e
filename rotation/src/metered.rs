//! The key stores of one job: each provider with what the job puts over it.
//!
//! From the outside in: unwraps that headers share are answered once ([`envelope_layers::Cache`]); calls are counted; they wait
//! for the limit of the job ([`envelope_layers::Limit`]), **before** they are made.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use envelope_layers::{Cache, CacheLimits, CacheStore, Limit};
use envelope_sdk::{
    ContextBinding, Dek, FullContext, KeyProvider, KeyUri, ProviderError, ProviderIdentity, WrappedDek,
};

/// How often each key store was called.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    calls: Mutex<BTreeMap<&'static str, u64>>,
}

impl Meter {
    /// Calls so far, by the name of the provider.
    pub(crate) fn calls(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.calls).clone()
    }

    /// All of them.
    pub(crate) fn total(&self) -> u64 {
        lock(&self.calls).values().sum()
    }

    fn count(&self, provider: &'static str, calls: usize) {
        *lock(&self.calls).entry(provider).or_default() += calls as u64;
    }
}

/// Puts over providers what a job has over them.
pub(crate) struct KeyStores {
    meter: Arc<Meter>,
    per_second: Option<u32>,
    kept: CacheStore,
    known: Vec<Known>,
    /// By the identity of the provider: a policy stands anew before each key of one key store.
    rates: HashMap<ProviderIdentity, Limit<()>>,
}

struct Known {
    provider: Arc<dyn KeyProvider>,
    over: Arc<dyn KeyProvider>,
    rewraps: Arc<AtomicBool>,
}

impl KeyStores {
    /// `per_second`: most calls in a second to each of them.
    pub(crate) fn new(meter: &Arc<Meter>, per_second: Option<u32>) -> Self {
        let kept = CacheStore::new(CacheLimits::new(KEPT_FOR, KEPT));
        Self { meter: Arc::clone(meter), per_second, kept, known: Vec::new(), rates: HashMap::new() }
    }

    /// Where DEKs are for a while that several headers may have.
    pub(crate) fn kept(&self) -> &CacheStore {
        &self.kept
    }

    /// The provider with all that. One provider stays one: it may rewrap by itself.
    pub(crate) fn over(&mut self, provider: &Arc<dyn KeyProvider>) -> Arc<dyn KeyProvider> {
        if let Some(known) = self.known.iter().find(|known| is_one(&known.provider, provider)) {
            return Arc::clone(&known.over);
        }
        let limited: Arc<dyn KeyProvider> = match self.per_second {
            // The job has so many items under way at once and no more: nobody is turned away.
            Some(rate) => {
                let limit = Limit::new(Arc::clone(provider)).waiting(usize::MAX);
                let new = || Limit::new(()).requests_per_second(rate);
                Arc::new(match provider.identity() {
                    Some(identity) => limit.sharing_rate_of(self.rates.entry(identity).or_insert_with(new)),
                    None => limit.requests_per_second(rate),
                })
            }
            None => Arc::clone(provider),
        };
        // Until it says otherwise.
        let rewraps = Arc::new(AtomicBool::new(true));
        let metered = Metered {
            below: limited,
            meter: Arc::clone(&self.meter),
            rewraps: Arc::clone(&rewraps),
            not_offered: Mutex::default(),
        };
        let over: Arc<dyn KeyProvider> = Arc::new(Cache::new(metered, &self.kept));
        self.known.push(Known { provider: Arc::clone(provider), over: Arc::clone(&over), rewraps });
        over
    }

    /// Whether the last answer of a provider that came from [`over`](Self::over) was that it rewraps by itself.
    pub(crate) fn rewraps(&self, over: &Arc<dyn KeyProvider>) -> Arc<AtomicBool> {
        let known = self.known.iter().find(|known| is_one(&known.over, over));
        known.map(|known| Arc::clone(&known.rewraps)).unwrap_or_default()
    }
}

/// A provider whose calls are counted.
struct Metered {
    below: Arc<dyn KeyProvider>,
    meter: Arc<Meter>,
    rewraps: Arc<AtomicBool>,
    /// From which key to which it was asked to rewrap, and does not: no call, and no wait for one, each time.
    not_offered: Mutex<HashSet<(KeyUri, KeyUri)>>,
}

// A method that is not handed on would be the default in place of the provider's own.
#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl KeyProvider for Metered {
    fn name(&self) -> &'static str {
        self.below.name()
    }

    fn identity(&self) -> Option<ProviderIdentity> {
        self.below.identity()
    }

    async fn resolve(&self, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        // Asked once for each key: what an alias means is no use of a key, and not counted as one.
        self.below.resolve(key).await
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
        self.meter.count(self.name(), 1);
        self.below.wrap_dek(key, dek, context).await
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        self.meter.count(self.name(), 1);
        self.below.unwrap_dek(wrapped, context).await
    }

    async fn unwrap_deks(&self, wraps: &[(&WrappedDek, &FullContext)]) -> Vec<Result<Dek, ProviderError>> {
        self.meter.count(self.name(), wraps.len());
        self.below.unwrap_deks(wraps).await
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
        self.meter.count(self.name(), 1);
        self.below.generate_dek(key, context).await
    }

    async fn rewrap_dek(
        &self,
        wrapped: &WrappedDek,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        let pair = (wrapped.key_uri().clone(), key.clone());
        if lock(&self.not_offered).contains(&pair) {
            return Ok(None);
        }
        let rewrapped = self.below.rewrap_dek(wrapped, key, context).await;
        self.rewraps.store(matches!(rewrapped, Ok(Some(_))), Ordering::Relaxed);
        if matches!(rewrapped, Ok(None)) {
            let mut not_offered = lock(&self.not_offered);
            if not_offered.len() < PAIRS {
                not_offered.insert(pair);
            }
        } else {
            self.meter.count(self.name(), 1);
        }
        rewrapped
    }
}

fn is_one(one: &Arc<dyn KeyProvider>, other: &Arc<dyn KeyProvider>) -> bool {
    std::ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change of what it holds is one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a DEK is kept that another header may have.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// How many: 1 MiB with their wraps, as a rule.
const KEPT: usize = 1024;
/// Keys that headers name, times those that wrap; what is beyond is asked each time.
const PAIRS: usize = 256;
