//! The cache, over a provider whose calls are counted.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "helpers of tests are tests too"
)]

mod batches;
mod conformance;
mod dropped;
mod flights;
mod invalidation;
mod limits;
mod support;
mod threads;

use std::{sync::Arc, time::Duration};

use envelope_layers::{Cache, CacheLimits, CacheStore};
use envelope_sdk::{KeyProvider, ProviderErrorKind, ProviderIdentity, WrappedDek};
use envelope_testkit::AlteredProvider;

use support::{Spy, context, key, opens, shared, wrapped};

/// What is wide enough for a test that is not about limits.
fn store() -> CacheStore {
    CacheStore::new(CacheLimits::new(HOUR, 1000))
}

fn cache(spy: &Arc<Spy>) -> Cache<Arc<Spy>> {
    Cache::new(Arc::clone(spy), &store())
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn what_was_unwrapped_once_opens_again_without_a_call() {
    let spy = shared(Spy::new());
    let (cache, context) = (cache(&spy), context("acme"));
    let (wrapped, dek) = wrapped(&cache, "one", &context).await;
    for _ in 0..3 {
        opens(&cache, &wrapped, &context, &dek).await;
    }
    assert_eq!(spy.unwraps(), [1]);
    let stats = cache.store().stats();
    assert_eq!((stats.hits, stats.misses, stats.calls, stats.kept), (2, 1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn another_context_version_algorithm_key_or_byte_is_no_hit() {
    let spy = shared(Spy::new());
    let (cache, context) = (cache(&spy), context("acme"));
    let (wrapped, dek) = wrapped(&cache, "one", &context).await;
    opens(&cache, &wrapped, &context, &dek).await;

    let other = support::context("initech");
    let refused = cache.unwrap_dek(&wrapped, &other).await.unwrap_err();
    assert_eq!(refused.kind(), ProviderErrorKind::Unauthentic);
    let made = |uri, version: &str, algorithm: &str, bytes: Vec<u8>| {
        WrappedDek::new(uri, version, algorithm, bytes).unwrap()
    };
    let (uri, version) = (wrapped.key_uri().clone(), wrapped.key_version());
    let (algorithm, bytes) = (wrapped.wrap_algorithm(), wrapped.ciphertext().to_vec());
    let mut changed = bytes.clone();
    changed[0] ^= 1;
    let others = [
        (made(key("two"), version, algorithm, bytes.clone()), ProviderErrorKind::Unauthentic),
        (made(uri.clone(), version, algorithm, changed), ProviderErrorKind::Unauthentic),
        (made(uri.clone(), version, "A256KW", bytes.clone()), ProviderErrorKind::Unsupported),
        (made(uri, "2", algorithm, bytes), ProviderErrorKind::NotFound),
    ];
    for (other, kind) in others {
        assert_eq!(cache.unwrap_dek(&other, &context).await.unwrap_err().kind(), kind, "{other:?}");
    }
    assert_eq!(cache.store().stats().hits, 0);
}

#[tokio::test(start_paused = true)]
async fn what_one_partition_opened_is_no_hit_for_another() {
    let spy = shared(Spy::new());
    let (cache, context) = (cache(&spy), context("acme"));
    let (wrapped, dek) = wrapped(&cache, "one", &context).await;
    for partition in ["acme", "initech", ""] {
        opens(&cache.partition(partition), &wrapped, &context, &dek).await;
    }
    assert_eq!(spy.unwraps(), [1, 1, 1]);
    opens(&cache.partition("acme"), &wrapped, &context, &dek).await;
    opens(&cache, &wrapped, &context, &dek).await;
    assert_eq!((spy.unwraps().len(), cache.store().stats().hits), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn providers_share_what_is_kept_if_their_identity_is_one_and_there_is_one() {
    let (spy, store, context) = (shared(Spy::new()), store(), context("acme"));
    let (wrapped, dek) = wrapped(&spy, "one", &context).await;
    let identified = |identity| {
        let altered = AlteredProvider::new(Arc::clone(&spy) as Arc<dyn KeyProvider>);
        Cache::new(altered.identified(identity), &store)
    };
    let one = Some(ProviderIdentity::unique());
    for (cache, calls) in [
        (identified(one), 1),
        (identified(one), 1),
        (identified(Some(ProviderIdentity::unique())), 2),
        (identified(None), 3),
        (identified(None), 4),
    ] {
        opens(&cache, &wrapped, &context, &dek).await;
        opens(&cache.clone(), &wrapped, &context, &dek).await;
        assert_eq!(spy.unwraps().len(), calls);
    }
    assert_eq!(identified(None).identity(), None);
    assert_eq!(identified(one).identity(), one);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_not_kept() {
    let spy = shared(Spy::new());
    let (cache, context) = (cache(&spy), context("acme"));
    let (wrapped, dek) = wrapped(&cache, "one", &context).await;
    spy.fail(ProviderErrorKind::Unavailable);
    for _ in 0..2 {
        let refused = cache.unwrap_dek(&wrapped, &context).await.unwrap_err();
        assert_eq!(
            (refused.kind(), refused.message()),
            (ProviderErrorKind::Unavailable, "as it was told to")
        );
    }
    spy.fail(None);
    opens(&cache, &wrapped, &context, &dek).await;
    assert_eq!(spy.unwraps(), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_generated_dek_is_kept_by_that_policy_alone_and_a_wrapped_one_never() {
    let context = context("acme");
    for keeps in [false, true] {
        let spy = shared(Spy::new());
        let store = CacheStore::new(CacheLimits::new(HOUR, 1000).keep_generated(keeps));
        let cache = Cache::new(Arc::clone(&spy), &store);
        let (dek, generated) = cache.generate_dek(&key("one"), &context).await.unwrap();
        opens(&cache, &generated, &context, &dek).await;
        assert_eq!(spy.unwraps().len(), usize::from(!keeps));
        let (by_hand, dek) = wrapped(&cache, "one", &context).await;
        opens(&cache, &by_hand, &context, &dek).await;
        assert_eq!(spy.unwraps().len(), usize::from(!keeps) + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn neither_dek_nor_context_is_in_what_a_cache_prints() {
    let spy = shared(Spy::new());
    let (cache, context) = (cache(&spy), context("a-tenant-that-is-withheld"));
    let (wrapped, dek) = wrapped(&cache, "one", &context).await;
    opens(&cache, &wrapped, &context, &dek).await;
    let printed = format!("{cache:?} {:?} {:#?}", cache.store(), cache.store().stats());
    assert_eq!(
        envelope_testkit::secrets::Canary::new("the DEK", dek.expose()).find(printed.as_bytes()),
        None
    );
    assert!(!printed.contains("a-tenant"), "{printed}");
}
