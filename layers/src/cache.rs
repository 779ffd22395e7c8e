//! [`Cache`]: unwrapped DEKs are kept for a while, so that not every envelope costs a call to the key store.
//!
//! A policy, and never a default: as long as a DEK is kept, it opens its envelope whatever was done to its key
//! elsewhere, and the key store's log does not show it. What that means for revocation and audit is told in
//! [docs/caching.md](https://github.com/envelope-sdk/envelope-sdk/blob/main/docs/caching.md).

pub(crate) mod key;
mod limits;
mod stats;
pub(crate) mod store;

use std::{convert::Infallible, fmt, future::ready, sync::Arc};

use async_trait::async_trait;
use envelope_sdk::{Dek, FullContext, KeyProvider, KeyState, KeyUri, ProviderError, WrappedDek};
use futures_util::{FutureExt, future::join_all};
use tokio::time::{Instant, sleep};

use crate::KeyStateListener;
use key::{Asked, Key, Source};
use store::{Call, Found, Store};

pub use limits::CacheLimits;
pub use stats::CacheStats;

/// Keeps the DEKs that the provider below unwrapped, within the limits of its [`CacheStore`].
///
/// A kept DEK is handed out for the same wrap, byte for byte, with the same key URI, version, algorithm and whole
/// context, from a provider of the same [identity](KeyProvider::identity) (an own one stands in for none), to the
/// same partition. Everything else asks the provider below: one call for all who want the same at one time, and one
/// for all that is missing of [`unwrap_deks`](KeyProvider::unwrap_deks). When the caller that began it is
/// dropped, another that waits goes on with it. Refusals are told to those who waited, and are not kept.
///
/// # What ends the use of a DEK
///
/// - Age, number of uses, and room for others: [`CacheLimits`].
/// - [`invalidate`](CacheStore::invalidate) and [`clear`](CacheStore::clear).
/// - The key's state, when this process changes it ([`ReportingAdmin`](crate::ReportingAdmin)) or is
///   [told](KeyStateListener::report) of it.
/// - The provider below, when it answers to any call for the key that its
///   [state](envelope_sdk::ProviderErrorKind::State) forbids it, that there is
///   [no such key](envelope_sdk::ProviderErrorKind::NotFound) or version, or that
///   [access is denied](envelope_sdk::ProviderErrorKind::AccessDenied). A refusal of an alias is one of the key that it meant last.
/// - Whoever [found a DEK to be the wrong one](KeyProvider::refuted): that one entry, of that caller's partition.
///
/// Each of these but the last drops the DEKs of all partitions, and what is unwrapped at that time is not kept.
///
/// # Where it stands
///
/// Over what repeats and limits calls, since a hit is no call. A layer that may refuse a caller stands over the cache:
/// from below it would not be asked. Two providers of one identity that share a store share what it keeps.
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use envelope_sdk::{Envelope, EncryptionContext, KeyUri, Keyring, KeyProvider};
/// use envelope_layers::{Cache, CacheLimits, CacheStore};
///
/// # fn example(provider: Arc<dyn KeyProvider>, key: KeyUri) {
/// let store = CacheStore::new(CacheLimits::new(Duration::from_secs(300), 10_000));
/// let cache = Cache::new(provider, &store);
///
/// // What one tenant opened is no hit for another, even of the same envelope.
/// let acme = Envelope::new(Keyring::new().both(Arc::new(cache.partition("acme")), key.clone()));
/// let initech = Envelope::new(Keyring::new().both(Arc::new(cache.partition("initech")), key));
/// # let _ = (acme, initech); }
/// ```
pub struct Cache<P> {
    below: Arc<P>,
    source: Arc<Source>,
    partition: Arc<str>,
    store: CacheStore,
}

impl<P: KeyProvider + 'static> Cache<P> {
    /// Keeps in `store` what `below` unwraps.
    #[must_use]
    pub fn new(below: P, store: &CacheStore) -> Self {
        let below = Arc::new(below);
        let source = Arc::new(Source::new(Arc::clone(&below) as Arc<dyn KeyProvider>));
        Self { below, source, partition: Arc::default(), store: store.clone() }
    }

    /// The same cache for another caller, such as a tenant: what is kept for one partition is no hit for another, and
    /// the limits are for all of them together. A cache begins with the partition of the empty name.
    #[must_use]
    pub fn partition(&self, name: &str) -> Self {
        Self { partition: name.into(), ..self.clone() }
    }

    /// Where the DEKs are.
    #[must_use]
    pub fn store(&self) -> &CacheStore {
        &self.store
    }

    /// DEKs of these wraps, from the store or from below.
    async fn find(&self, asked: &[Asked<'_>], now: Instant) -> Vec<Result<Dek, ProviderError>> {
        let below = Arc::clone(&self.below);
        let found = self.store.0.find(asked, now, |keys| unwrap_all(below, keys));
        let waiting = found.into_iter().map(|found| match found {
            Found::Kept(dek, age) => {
                self.source.events.hit(self.name(), age);
                ready(Ok(copy_of(&dek))).left_future()
            }
            Found::Flying(flight, place) => {
                self.source.events.miss(self.name());
                flight.map(move |told| told[place].clone().map(|dek| copy_of(&dek))).right_future()
            }
        });
        join_all(waiting).await
    }

    fn asked<'a>(&'a self, wrapped: &'a WrappedDek, context: &'a FullContext) -> Asked<'a> {
        Asked { source: &self.source, partition: &self.partition, wrapped, context }
    }

    /// What the provider below said of `key`.
    fn heard<T>(&self, said: Result<T, ProviderError>, key: &KeyUri) -> Result<T, ProviderError> {
        said.inspect_err(|error| self.store.0.heed(error, key, &self.source))
    }
}

impl<P> Clone for Cache<P> {
    fn clone(&self) -> Self {
        Self {
            below: Arc::clone(&self.below),
            source: Arc::clone(&self.source),
            partition: Arc::clone(&self.partition),
            store: self.store.clone(),
        }
    }
}

impl<P> fmt::Debug for Cache<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("store", &self.store).finish_non_exhaustive()
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<P: KeyProvider + 'static> KeyProvider for Cache<P> {
    envelope_sdk::hand_on!(below but refuted);

    fn refuted(&self, wrapped: &WrappedDek, context: &FullContext) {
        self.store.0.drop_one(&self.asked(wrapped, context));
        self.below.refuted(wrapped, context);
    }

    /// Asked below each time: the keyring remembers the answer as long as it may, and asks again when a wrap names another
    /// key, since an alias was moved then. A kept answer would hide that. That an alias is gone says nothing of its key.
    async fn resolve(&self, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        let said = self.below.resolve(key).await;
        said.inspect(|meant| self.source.learn(key, meant))
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        let said = self.below.wrap_dek(key, dek, context).await;
        self.heard(said, key).inspect(|wrapped| self.source.learn(key, wrapped.key_uri()))
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        let begin = |key| unwrap_one(Arc::clone(&self.below), key);
        match self.store.0.find_one(&self.asked(wrapped, context), Instant::now(), begin) {
            Found::Kept(dek, age) => {
                self.source.events.hit(self.name(), age);
                Ok(copy_of(&dek))
            }
            Found::Flying(flight, place) => {
                self.source.events.miss(self.name());
                flight.await[place].clone().map(|dek| copy_of(&dek))
            }
        }
    }

    async fn unwrap_deks(&self, wraps: &[(&WrappedDek, &FullContext)]) -> Vec<Result<Dek, ProviderError>> {
        let asked: Vec<_> = wraps.iter().map(|(wrapped, context)| self.asked(wrapped, context)).collect();
        self.find(&asked, Instant::now()).await
    }

    async fn generate_dek(
        &self,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<(Dek, WrappedDek), ProviderError> {
        let store = &self.store.0;
        let (mark, since) = (store.invalidations(), Instant::now());
        let (dek, wrapped) = self.heard(self.below.generate_dek(key, context).await, key)?;
        self.source.learn(key, wrapped.key_uri());
        if store.limits().keeps_generated {
            let kept = Arc::new(copy_of(&dek));
            store.keep_unless(mark, &self.asked(&wrapped, context), kept, since, Instant::now());
        }
        Ok((dek, wrapped))
    }

    async fn rewrap_dek(
        &self,
        wrapped: &WrappedDek,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        let said = self.below.rewrap_dek(wrapped, key, context).await;
        if let Ok(Some(new)) = &said {
            self.source.learn(key, new.key_uri());
        }
        // It may be about either of the two.
        self.heard(self.heard(said, key), wrapped.key_uri())
    }
}

/// Where DEKs are kept: one for a process, or one for each set of limits. Clones are the same store.
///
/// A DEK is wiped when it is dropped for whatever reason, and when the store is: 32 bytes on the heap, which are not
/// locked into memory. Beside it stand its wrap and its context, up to 15 KiB for each entry, and 1 KiB as a rule.
///
/// What is too old is never handed out. It is wiped when it is asked for, when something is kept after more than half
/// of the age has gone by, and by [`purge_expired`](Self::purge_expired); a service that may stand idle spawns
/// [`purge_as_it_expires`](Self::purge_as_it_expires).
#[derive(Clone)]
pub struct CacheStore(Arc<Store>);

impl CacheStore {
    /// An empty store.
    #[must_use]
    pub fn new(limits: CacheLimits) -> Self {
        Self(Arc::new(Store::new(limits, Instant::now())))
    }

    /// Drops the DEKs of a key at once, in all partitions and of all providers that take it for
    /// [the same key](KeyProvider::is_same_key). What is being unwrapped now is told to those who wait and not kept.
    ///
    /// `key` may be an alias. One that only the key store can tell (a [`KeyUri`] that is not
    /// [resolved](KeyUri::is_resolved)) drops all DEKs of the keys that it may stand for: for AWS those of its account and
    /// region, and else those of its scheme. An alias of a scheme that the core does not know
    /// is to be [resolved](KeyProvider::resolve) first.
    pub fn invalidate(&self, key: &KeyUri) {
        self.0.invalidate(key, None);
    }

    /// Drops all DEKs.
    pub fn clear(&self) {
        self.0.clear();
    }

    /// Drops the DEKs that are too old, and tells how many there were. It looks at all.
    #[allow(clippy::must_use_candidate, reason = "the number is by the way")]
    pub fn purge_expired(&self) -> usize {
        self.0.purge_expired(Instant::now())
    }

    /// Purges twice in each span of the age, until the store and all its caches are gone: to be spawned. It needs
    /// the timer of a tokio runtime.
    pub fn purge_as_it_expires(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let (store, pause) = (Arc::downgrade(&self.0), (self.0.limits().age / 2).max(SHORTEST_PAUSE));
        async move {
            loop {
                sleep(pause).await;
                let Some(store) = store.upgrade() else { return };
                store.purge_expired(Instant::now());
            }
        }
    }

    /// What it has done so far.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        self.0.counters.stats(self.0.sizes())
    }
}

impl KeyStateListener for CacheStore {
    /// Drops the DEKs of a key that is compromised, or that opens nothing in its state. A deactivated key still opens.
    fn report(&self, key: &KeyUri, state: KeyState) {
        if crate::key_states::ends_use(state) {
            self.invalidate(key);
        }
    }
}

impl fmt::Debug for CacheStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheStore").field("limits", self.0.limits()).field("stats", &self.stats()).finish()
    }
}

async fn unwrap_one<P: KeyProvider + 'static>(below: Arc<P>, key: Arc<Key>) -> Result<Dek, ProviderError> {
    below.unwrap_dek(&key.wrapped, &key.context).await
}

fn unwrap_all<P: KeyProvider + 'static>(below: Arc<P>, keys: Vec<Arc<Key>>) -> Call {
    async move {
        if let [key] = keys.as_slice() {
            return vec![below.unwrap_dek(&key.wrapped, &key.context).await];
        }
        let wraps: Vec<_> = keys.iter().map(|key| (&key.wrapped, &key.context)).collect();
        below.unwrap_deks(&wraps).await
    }
    .boxed()
}

fn copy_of(dek: &Dek) -> Dek {
    let Ok(copy) = Dek::fill_with(|bytes| {
        bytes.copy_from_slice(dek.expose());
        Ok::<(), Infallible>(())
    });
    copy
}

/// An age of next to nothing must not keep a processor busy.
const SHORTEST_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
