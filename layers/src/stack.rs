//! [`Stack`]: the layers in their one order.

mod scheme;

use std::{fmt, sync::Arc};

use envelope_sdk::{KeyAdmin, KeyProvider, registry::Scheme};

use crate::{
    Breaker, Cache, CacheStore, Deadline, KeyStateListener, Limit, Observe, ObserveAdmin, Observer,
    ReportingAdmin, Retry,
};

pub use scheme::Layered;

/// Layers to be put over a provider, in the order in which they work, whatever the order in which they are named. None
/// by default.
///
/// From the outside in:
///
/// | | Layer | Why it stands there |
/// |---|---|---|
/// | 0 | [`Stack::outermost`] | the program's own: it sees what was asked for, and may answer it |
/// | 1 | [`Observe::calls`] | sees what the program asked for, answered from the cache or not, with the time that it took in all |
/// | 2 | [`Cache`] | a hit costs no time and no request: nothing below hears of it. What several wait for is repeated and limited once |
/// | 3 | [`Retry`] | its deadline bounds all that is below, pauses and queues included |
/// | 4 | [`Breaker`] | hears of each attempt, so that it opens within one call, and ends the attempts. What it refuses waits in no queue and uses up no rate |
/// | 5 | [`Limit`] | each attempt is a request. Its refusals are no failures of the key store, so they count for no breaker |
/// | 6 | [`Observe::attempts`] | sees each request that the provider is asked to make, with its own time and without the queue |
/// | 7 | [`Deadline`] | the time of one attempt. A time-out is seen and counted by all above as a failure |
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use envelope_sdk::KeyProvider;
/// use envelope_layers::{
///     Breaker, CacheLimits, CacheStore, Deadline, Limit, Metrics, Retry, RetryBudget, Stack,
/// };
///
/// # fn example(provider: Arc<dyn KeyProvider>) -> Arc<dyn KeyProvider> {
/// let budget = RetryBudget::default();
/// Stack::new()
///     .observe(Arc::new(Metrics::new()))
///     .cache(&CacheStore::new(CacheLimits::new(Duration::from_secs(300), 10_000)))
///     .retry(move |below| Retry::new(below, &budget))
///     .breaker(Breaker::new)
///     .limit(|below| Limit::new(below).requests_per_second(500))
///     .deadline(Deadline::new)
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
    retry: Option<Make>,
    breaker: Option<Make>,
    limit: Option<Make>,
    deadline: Option<Make>,
    outermost: Option<Make>,
}

/// What a layer stands over in a [`Stack`].
type Below = Arc<dyn KeyProvider>;

/// Puts a layer over what is below.
type Make = Arc<dyn Fn(Below) -> Below + Send + Sync>;

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

    /// Where unwrapped DEKs are kept, if they are.
    #[must_use]
    pub fn cache_store(&self) -> Option<&CacheStore> {
        self.cache.as_ref()
    }

    /// Tells `listener` of keys whose state changes ([`over_admin`](Self::over_admin)), such as
    /// [`DataKeys`](crate::DataKeys). The cache hears of them anyway.
    pub fn report_to(mut self, listener: Arc<dyn KeyStateListener>) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Makes calls again as the layer that `make` puts over a provider.
    pub fn retry(mut self, make: impl Fn(Below) -> Retry<Below> + Send + Sync + 'static) -> Self {
        self.retry = Some(made(make));
        self
    }

    /// Does not ask a provider that is away.
    pub fn breaker(mut self, make: impl Fn(Below) -> Breaker<Below> + Send + Sync + 'static) -> Self {
        self.breaker = Some(made(make));
        self
    }

    /// Holds calls back.
    pub fn limit(mut self, make: impl Fn(Below) -> Limit<Below> + Send + Sync + 'static) -> Self {
        self.limit = Some(made(make));
        self
    }

    /// Bounds the time of an attempt. That of a whole call is [`Retry::deadline`].
    pub fn deadline(mut self, make: impl Fn(Below) -> Deadline<Below> + Send + Sync + 'static) -> Self {
        self.deadline = Some(made(make));
        self
    }

    /// Puts a layer of the program's own over all of these, each time over the one that was named before. What may refuse a
    /// call or writes it down is put over the stack, and not into it: a layer that answers by itself would keep it from being
    /// asked.
    pub fn outermost(mut self, make: impl Fn(Below) -> Below + Send + Sync + 'static) -> Self {
        self.outermost = Some(match self.outermost {
            None => Arc::new(make),
            Some(under) => Arc::new(move |below| make(under(below))),
        });
        self
    }

    /// Whether there is no layer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self {
            observed,
            observers: _,
            shown: _,
            cache,
            listeners,
            retry,
            breaker,
            limit,
            deadline,
            outermost,
        } = self;
        let made = [retry, breaker, limit, deadline, outermost];
        !observed && cache.is_none() && listeners.is_empty() && made.iter().all(|layer| layer.is_none())
    }

    /// The provider with these layers over it. What counts and waits for a provider, such as a breaker, is made anew:
    /// one provider is to be given once. Deadlines, pauses, limits and cool-downs need the timer of a tokio runtime.
    #[must_use]
    pub fn over(&self, provider: Arc<dyn KeyProvider>) -> Arc<dyn KeyProvider> {
        let with = |layer: &Option<Make>, below| match layer {
            Some(make) => make(below),
            None => below,
        };
        let mut top = with(&self.deadline, provider);
        if self.observed {
            top = Arc::new(self.watching(Observe::attempts(top)));
        }
        for layer in [&self.limit, &self.breaker, &self.retry] {
            top = with(layer, top);
        }
        if let Some(store) = &self.cache {
            top = Arc::new(Cache::new(top, store));
        }
        if self.observed {
            top = Arc::new(self.watching(Observe::calls(top)));
        }
        with(&self.outermost, top)
    }

    /// Who manages keys, observed, and so that the cache and [others](Self::report_to) hear of each key whose state
    /// changes before the call returns. Nothing repeats or limits these calls: a person makes them.
    #[must_use]
    pub fn over_admin(&self, admin: Arc<dyn KeyAdmin>) -> Arc<dyn KeyAdmin> {
        let mut top = admin;
        if self.observed {
            let observe =
                self.observers.iter().map(Arc::clone).fold(ObserveAdmin::new(top), ObserveAdmin::tell);
            top = Arc::new(observe);
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
        self.observers.iter().map(Arc::clone).fold(observe, Observe::tell)
    }
}

/// Which layers there are.
impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack")
            .field("observed", &self.observed)
            .field("cache", &self.cache)
            .field("retry", &self.retry.is_some())
            .field("breaker", &self.breaker.is_some())
            .field("limit", &self.limit.is_some())
            .field("deadline", &self.deadline.is_some())
            .field("outermost", &self.outermost.is_some())
            .finish_non_exhaustive()
    }
}

fn made<L: KeyProvider + 'static>(make: impl Fn(Below) -> L + Send + Sync + 'static) -> Make {
    Arc::new(move |below| Arc::new(make(below)))
}
