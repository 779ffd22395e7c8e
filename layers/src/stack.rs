//! [`Stack`]: the layers in their one order.

mod scheme;

use std::{fmt, sync::Arc};

use envelope_sdk::{KeyAdmin, KeyProvider, registry::Scheme};

use crate::{Cache, CacheStore, KeyStateListener, Observe, ObserveAdmin, Observer, ReportingAdmin};

pub use scheme::Layered;

/// Layers to be put over a provider, in the order in which they work. None by default.
///
/// From the outside in:
///
/// | | Layer | Why it stands there |
/// |---|---|---|
/// | 1 | [`Observe::calls`] | sees what the program asked for, hits and refusals of the layers below included |
/// | 2 | [`Cache`] | a hit costs no time and no request: nothing below hears of it. A call that several wait for is repeated and limited once |
/// | 7 | [`Observe::attempts`] | sees each request that the provider is really asked to make, with its own time |
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use envelope_sdk::KeyProvider;
/// use envelope_layers::{CacheLimits, CacheStore, Metrics, Stack};
///
/// # fn example(provider: Arc<dyn KeyProvider>) -> Arc<dyn KeyProvider> {
/// Stack::new()
///     .observe(Arc::new(Metrics::new()))
///     .cache(&CacheStore::new(CacheLimits::new(Duration::from_secs(300), 10_000)))
///     .over(provider)
/// # }
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct Stack {
    observed: bool,
    observers: Vec<Arc<dyn Observer>>,
    shown: Vec<String>,
    cache: Option<CacheStore>,
    listeners: Vec<Arc<dyn KeyStateListener>>,
}

impl Stack {
    /// No layer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens spans of `tracing` for calls and attempts, as [`Observe`] says.
    pub fn spans(mut self) -> Self {
        self.observed = true;
        self
    }

    /// Tells `observer` of calls and attempts, and opens spans.
    pub fn observe(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observers.push(observer);
        self.spans()
    }

    /// Shows the value of the context's entry `name` to spans and observers ([`Observe::show_value`]).
    pub fn show_value(mut self, name: impl Into<String>) -> Self {
        self.shown.push(name.into());
        self
    }

    /// Keeps unwrapped DEKs in `store`. A policy: see [`Cache`].
    pub fn cache(mut self, store: &CacheStore) -> Self {
        self.cache = Some(store.clone());
        self
    }

    /// Tells `listener` of keys whose state changes ([`over_admin`](Self::over_admin)), such as
    /// [`DataKeys`](crate::DataKeys). The cache hears of them anyway.
    pub fn report_to(mut self, listener: Arc<dyn KeyStateListener>) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Whether there is no layer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.observed && self.cache.is_none() && self.listeners.is_empty()
    }

    /// The provider with these layers over it. What counts and waits for a provider, such as a breaker, is made anew:
    /// one provider is to be given once.
    #[must_use]
    pub fn over(&self, provider: Arc<dyn KeyProvider>) -> Arc<dyn KeyProvider> {
        let mut top = provider;
        if self.observed {
            top = Arc::new(self.watching(Observe::attempts(top)));
        }
        if let Some(store) = &self.cache {
            top = Arc::new(Cache::new(top, store));
        }
        if self.observed {
            top = Arc::new(self.watching(Observe::calls(top)));
        }
        top
    }

    /// Who manages keys, observed, and so that the cache and [others](Self::report_to) hear of each key whose state
    /// changes before the call returns. Nothing repeats or limits these calls: a person makes them.
    #[must_use]
    pub fn over_admin(&self, admin: Arc<dyn KeyAdmin>) -> Arc<dyn KeyAdmin> {
        let mut top = admin;
        if self.observed {
            let observe = ObserveAdmin::new(top);
            let tell =
                |observe: ObserveAdmin<_>, observer: &Arc<dyn Observer>| observe.tell(Arc::clone(observer));
            top = Arc::new(self.observers.iter().fold(observe, tell));
        }
        let cache = self.cache.iter().map(|store| Arc::new(store.clone()) as Arc<dyn KeyStateListener>);
        let listeners: Vec<_> = cache.chain(self.listeners.iter().map(Arc::clone)).collect();
        if listeners.is_empty() {
            return top;
        }
        Arc::new(listeners.into_iter().fold(ReportingAdmin::new(top), ReportingAdmin::tell))
    }

    /// A key store that opens its keys with these layers.
    #[must_use]
    pub fn over_scheme(&self, scheme: Arc<dyn Scheme>) -> Arc<dyn Scheme> {
        if self.is_empty() { scheme } else { Arc::new(Layered::new(scheme, self.clone())) }
    }

    fn watching<P: KeyProvider>(&self, observe: Observe<P>) -> Observe<P> {
        let observe = self.shown.iter().fold(observe, Observe::show_value);
        self.observers.iter().fold(observe, |observe, observer| observe.tell(Arc::clone(observer)))
    }
}

/// Which layers there are.
impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { observed, observers, shown, cache, listeners } = self;
        f.debug_struct("Stack")
            .field("observed", observed)
            .field("observers", &observers.len())
            .field("shown", shown)
            .field("cache", cache)
            .field("listeners", &listeners.len())
            .finish()
    }
}
