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
use envelope_sdk::{Dek, FullContext, KeyProvider, KeyUri, ProviderError, ProviderIdentity, WrappedDek};

use crate::{Goal, Key};

/// How often each key store was called.
#[derive(Default)]
struct Meter {
    calls: Mutex<BTreeMap<&'static str, u64>>,
}

impl Meter {
    fn count(&self, provider: &'static str, calls: usize) {
        *lock(&self.calls).entry(provider).or_default() += calls as u64;
    }
}

/// What a job has over key stores: wraps that headers share are unwrapped once, calls are counted, and there are so many in a
/// second at most. Clones are of one job.
///
/// A [`Job`](crate::Job) makes one by itself and puts it over the providers of its [`Goal`](crate::Goal). **Where something stands
/// over the key stores that may refuse a use of a key or writes it down, a policy or an audit log, this belongs below that**: from
/// above, it would answer for them. Then put it over the key stores, and give it to the [job](crate::Job::key_stores), which puts
/// nothing over the others.
///
/// ```
/// use std::sync::Arc;
/// use envelope_rotation::{Goal, Job, Key, KeyStores, Source};
/// # use envelope_sdk::{KeyProvider, KeyUri};
/// # fn guarded(provider: Arc<dyn KeyProvider>) -> Arc<dyn KeyProvider> { provider }
///
/// # fn job(source: Arc<dyn Source>, provider: Arc<dyn KeyProvider>, old: KeyUri, new: KeyUri) -> Job {
/// let key_stores = KeyStores::new().calls_per_second(500);
/// let provider = guarded(key_stores.over(&provider));
/// let goal = Goal::only(vec![Key::new(provider.clone(), new)]).open_with(vec![Key::new(provider, old)]);
/// Job::new(source, goal).key_stores(key_stores)
/// # }
/// ```
///
/// With `envelope-providers` it is `Providers::builder().outermost(move |below| key_stores.over(&below))`.
#[derive(Clone)]
pub struct KeyStores {
    meter: Arc<Meter>,
    per_second: Option<u32>,
    kept: CacheStore,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    /// Providers, and what they are with this over them. One stays one: it may rewrap by itself.
    over: Vec<(Arc<dyn KeyProvider>, Arc<dyn KeyProvider>)>,
    /// By the identity of the provider: a policy stands anew before each key of one key store.
    rates: HashMap<ProviderIdentity, Limit<()>>,
    rewraps: HashMap<ProviderIdentity, Arc<AtomicBool>>,
}

impl KeyStores {
    /// Of a job that makes as many calls as it can.
    #[must_use]
    pub fn new() -> Self {
        Self {
            meter: Arc::default(),
            per_second: None,
            kept: CacheStore::new(CacheLimits::new(KEPT_FOR, KEPT)),
            known: Arc::default(),
        }
    }

    /// Most calls in a second to each key store, at least 1: each has a quota of its own. To be said before anything is put
    /// over a provider.
    #[must_use]
    pub fn calls_per_second(mut self, calls: u32) -> Self {
        self.per_second = Some(calls);
        self
    }

    /// The provider with all that over it. It needs the timer of a tokio runtime if calls are limited.
    #[must_use]
    pub fn over(&self, provider: &Arc<dyn KeyProvider>) -> Arc<dyn KeyProvider> {
        let mut known = lock(&self.known);
        let before =
            known.over.iter().find(|(below, over)| is_one(below, provider) || is_one(over, provider));
        if let Some((_, over)) = before {
            return Arc::clone(over);
        }
        let identity = provider.identity();
        let limited: Arc<dyn KeyProvider> = match self.per_second {
            // The job has so many items under way at once and no more: nobody is turned away.
            Some(rate) => {
                let limit = Limit::new(Arc::clone(provider)).waiting(usize::MAX);
                let new = || Limit::new(()).requests_per_second(rate);
                Arc::new(match &identity {
                    Some(identity) => limit.sharing_rate_of(known.rates.entry(*identity).or_insert_with(new)),
                    None => limit.requests_per_second(rate),
                })
            }
            None => Arc::clone(provider),
        };
        let metered = Metered {
            below: limited,
            meter: Arc::clone(&self.meter),
            rewraps: identity.map(|identity| known.rewraps_of(identity)).unwrap_or_default(),
            not_offered: Mutex::default(),
        };
        let over: Arc<dyn KeyProvider> = Arc::new(Cache::new(metered, &self.kept));
        known.over.push((Arc::clone(provider), Arc::clone(&over)));
        over
    }

    /// Calls so far to each key store, by the name of its provider.
    #[must_use]
    pub fn calls(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.meter.calls).clone()
    }

    /// All of them.
    pub(crate) fn total(&self) -> u64 {
        lock(&self.meter.calls).values().sum()
    }

    /// Where DEKs are for a while that several headers may have.
    pub(crate) fn kept(&self) -> &CacheStore {
        &self.kept
    }

    /// Whether the last answer of this key store was that it rewraps by itself.
    pub(crate) fn rewraps(&self, provider: &Arc<dyn KeyProvider>) -> Arc<AtomicBool> {
        let identity = provider.identity();
        identity.map(|identity| lock(&self.known).rewraps_of(identity)).unwrap_or_default()
    }

    /// The goal with this over its providers.
    pub(crate) fn over_goal(&self, goal: &Goal) -> Goal {
        let over = |keys: &[Key]| -> Vec<Key> {
            keys.iter().map(|key| Key { provider: self.over(&key.provider), uri: key.uri.clone() }).collect()
        };
        Goal { to: over(&goal.to), open: over(&goal.open), remove: over(&goal.remove), ..goal.clone() }
    }
}

impl Default for KeyStores {
    fn default() -> Self {
        Self::new()
    }
}

impl Known {
    /// Until it says otherwise, a key store rewraps by itself.
    fn rewraps_of(&mut self, identity: ProviderIdentity) -> Arc<AtomicBool> {
        Arc::clone(self.rewraps.entry(identity).or_insert_with(|| Arc::new(AtomicBool::new(true))))
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
    envelope_sdk::hand_on!(below);

    async fn resolve(&self, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        // Asked once for each key: what an alias means is no use of a key, and not counted as one.
        self.below.resolve(key).await
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
