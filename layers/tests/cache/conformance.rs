//! The suite of key providers passes over a cache.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use envelope_layers::{Cache, CacheLimits, CacheStore, ReportingAdmin};
use envelope_local::{Argon2Params, Keystore, Passphrase};
use envelope_sdk::{KeyAdmin, KeyUri, NewKey};
use envelope_testkit::{
    MemoryProvider,
    conformance::{self, Applied, Backend, Change, Subject, apply_with_admin},
};
use futures_executor::block_on;
use tempfile::TempDir;

use super::HOUR;

#[test]
fn a_cache_over_keys_in_memory_conforms() {
    for provider in [MemoryProvider::new(), MemoryProvider::new().without_context_binding().that_rewraps()] {
        let [one, two] = ["one", "two"].map(MemoryProvider::key);
        let provider = provider.that_generates_deks().with_key(&one).with_key(&two);
        let store = CacheStore::new(CacheLimits::new(HOUR, 100).keep_generated(true));
        let cache = Cache::new(provider, &store);
        conformance::run(&Memory { cache: Arc::new(cache), one, two }).assert_conforms();
        let stats = store.stats();
        assert!(stats.hits > 0 && stats.misses > 0, "{stats:?}");
    }
}

#[test]
fn a_cache_over_a_keystore_conforms_with_rotation_and_states() {
    let local = Local::new();
    conformance::run(&local).assert_conforms();
    let stats = local.cache.store().stats();
    assert!(stats.hits > 0 && stats.misses > 0, "{stats:?}");
}

struct Memory {
    cache: Arc<Cache<MemoryProvider>>,
    one: KeyUri,
    two: KeyUri,
}

impl Backend for Memory {
    fn subject(&self) -> Subject {
        Subject::new(self.cache.clone(), self.one.clone())
    }

    fn other_subject(&self) -> Subject {
        Subject::new(self.cache.clone(), self.two.clone())
    }

    fn unknown_key(&self) -> Option<KeyUri> {
        Some(MemoryProvider::key("three"))
    }
}

/// A keystore with a new key for each subject, whose changes are reported to the cache.
struct Local {
    _folder: TempDir,
    keystore: Arc<Keystore>,
    cache: Arc<Cache<Arc<Keystore>>>,
    admin: ReportingAdmin<Arc<Keystore>>,
    keys: AtomicUsize,
}

impl Local {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let passphrase = Passphrase::new("correct horse".into()).unwrap();
        let path = folder.path().join("keys.json");
        let keystore = Arc::new(Keystore::create_with(path, &passphrase, Argon2Params::MINIMUM).unwrap());
        let store = CacheStore::new(CacheLimits::new(HOUR, 100).keep_generated(true));
        let cache = Arc::new(Cache::new(Arc::clone(&keystore), &store));
        let admin = ReportingAdmin::new(Arc::clone(&keystore)).tell(store);
        Self { _folder: folder, keystore, cache, admin, keys: AtomicUsize::new(0) }
    }
}

impl Backend for Local {
    fn subject(&self) -> Subject {
        let name = format!("key-{}", self.keys.fetch_add(1, Ordering::SeqCst));
        let created = block_on(self.admin.create_key(&NewKey::named(&name))).unwrap();
        Subject::new(self.cache.clone(), created.uri)
    }

    fn other_subject(&self) -> Subject {
        self.subject()
    }

    fn unknown_key(&self) -> Option<KeyUri> {
        Some(self.keystore.key_uri("nobody").unwrap())
    }

    fn apply(&self, subject: &Subject, change: Change) -> Applied {
        block_on(apply_with_admin(&self.admin, &subject.key, change))
    }
}
