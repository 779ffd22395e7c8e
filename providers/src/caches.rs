//! [`Caches`]: the caches of DEKs that a configuration puts over its key stores.

use envelope_layers::CacheStore;
use envelope_sdk::KeyUri;
use futures_util::future::join_all;

/// The caches of `[layers]`: one for each key store that has one, none for the others. Clones are one and the same.
#[derive(Debug, Clone, Default)]
pub struct Caches(Vec<(&'static str, CacheStore)>);

impl Caches {
    pub(crate) fn add(&mut self, provider: &'static str, store: CacheStore) {
        self.0.push((provider, store));
    }

    /// Each cache, with the name of its provider: for its [statistics](CacheStore::stats).
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &CacheStore)> {
        self.0.iter().map(|(provider, store)| (*provider, store))
    }

    /// Forgets what is kept of a key ([`CacheStore::invalidate`]): for who hears elsewhere that it may no longer be
    /// used. What changes through the [registry](crate::Providers::registry) of this process is heard of anyway.
    pub fn invalidate(&self, key: &KeyUri) {
        self.0.iter().for_each(|(_, store)| store.invalidate(key));
    }

    /// Forgets everything ([`CacheStore::clear`]).
    pub fn clear(&self) {
        self.0.iter().for_each(|(_, store)| store.clear());
    }

    /// Wipes what is too old while nobody asks for it ([`CacheStore::purge_as_it_expires`]): to be spawned once, in a
    /// tokio runtime with its timer. It ends when the providers and their keyrings are gone.
    pub fn purge_as_it_expires(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let purges = join_all(self.0.iter().map(|(_, store)| store.purge_as_it_expires()));
        async move { drop(purges.await) }
    }
}
