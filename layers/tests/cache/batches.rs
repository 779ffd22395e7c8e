//! Several wraps at once.

use std::sync::Arc;

use envelope_layers::{Cache, CacheLimits, CacheStore};
use envelope_sdk::{Dek, FullContext, KeyProvider, ProviderError, ProviderErrorKind, WrappedDek};
use futures_util::FutureExt;

use super::{
    HOUR, cache,
    support::{Spy, context, key, opens, poll, shared, wrapped},
};

#[tokio::test(start_paused = true)]
async fn hits_come_from_the_cache_and_all_misses_from_one_call() {
    let spy = shared(Spy::new());
    let (cache, context) = (cache(&spy), context("acme"));
    let mut made = Vec::new();
    for _ in 0..10 {
        made.push(wrapped(&cache, "one", &context).await);
    }
    for (wrapped, dek) in &made[..4] {
        opens(&cache, wrapped, &context, dek).await;
    }
    all_open(&cache, &made, &context).await;
    assert_eq!(spy.unwraps(), [1, 1, 1, 1, 6]);
    all_open(&cache, &made, &context).await;
    assert_eq!(spy.unwraps().len(), 5, "all are kept now");
    assert!(cache.unwrap_deks(&[]).await.is_empty());
    assert_eq!(spy.unwraps().len(), 5, "nothing costs nothing");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_asked_for_twice_is_one_miss_and_what_fails_spoils_no_other() {
    let spy = shared(Spy::new());
    let (cache, context) = (cache(&spy), context("acme"));
    let (one, dek_one) = wrapped(&cache, "one", &context).await;
    let (two, dek_two) = wrapped(&cache, "two", &context).await;
    let mut bytes = one.ciphertext().to_vec();
    bytes[0] ^= 1;
    let changed = WrappedDek::new(key("one"), "1", one.wrap_algorithm(), bytes).unwrap();
    let wraps = [&one, &changed, &two, &one, &changed].map(|wrapped| (wrapped, &context));
    let deks = cache.unwrap_deks(&wraps).await;
    let told: Vec<_> =
        deks.iter().map(|dek| dek.as_ref().map(Dek::expose).map_err(ProviderError::kind)).collect();
    let wrong = Err(ProviderErrorKind::Unauthentic);
    assert_eq!(told, [Ok(dek_one.expose()), wrong, Ok(dek_two.expose()), Ok(dek_one.expose()), wrong]);
    assert_eq!(spy.unwraps(), [3]);
    assert_eq!((cache.store().stats().misses, cache.store().stats().joined), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn single_calls_and_batches_join_each_other() {
    let spy = shared(Spy::new());
    let (cache, context) = (cache(&spy), context("acme"));
    let (one, dek_one) = wrapped(&cache, "one", &context).await;
    let (two, dek_two) = wrapped(&cache, "two", &context).await;
    spy.close();
    let mut single = cache.unwrap_dek(&one, &context);
    assert!(poll(&mut single).is_pending());
    let wraps = [(&one, &context), (&two, &context)];
    let mut batch = cache.unwrap_deks(&wraps);
    assert!(poll(&mut batch).is_pending());
    let mut late = cache.unwrap_dek(&two, &context);
    assert!(poll(&mut late).is_pending());
    assert_eq!(spy.unwraps(), [1, 1], "the batch asked for what was not under way");
    drop(single);
    drop(batch);
    spy.open();
    assert_eq!(late.await.unwrap().expose(), dek_two.expose());
    assert_eq!(spy.unwraps(), [1, 1]);
    opens(&cache, &two, &context, &dek_two).await;
    assert_eq!(spy.unwraps(), [1, 1], "the batch that its caller left is kept");
    opens(&cache, &one, &context, &dek_one).await;
    assert_eq!(spy.unwraps(), [1, 1, 1], "the call that nobody waited for is not");
}

#[tokio::test(start_paused = true)]
async fn a_wrap_twice_in_a_batch_is_used_twice() {
    let spy = shared(Spy::new());
    let cache = Cache::new(Arc::clone(&spy), &CacheStore::new(CacheLimits::new(HOUR, 10).uses(2)));
    let context = context("acme");
    let (one, dek) = wrapped(&cache, "one", &context).await;
    let wraps = [(&one, &context); 5];
    for opened in cache.unwrap_deks(&wraps).await {
        assert_eq!(opened.unwrap().expose(), dek.expose());
    }
    assert_eq!(spy.unwraps(), [3], "once for each two");
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_answers_for_too_few_is_told_so() {
    let (spy, context) = (shared(Spy::new()), context("acme"));
    let cache = Cache::new(Short(Arc::clone(&spy)), &super::store());
    let (one, dek) = wrapped(&spy, "one", &context).await;
    let (two, _) = wrapped(&spy, "two", &context).await;
    let deks = cache.unwrap_deks(&[(&one, &context), (&two, &context)]).await;
    assert_eq!(deks[0].as_ref().unwrap().expose(), dek.expose());
    let error = deks[1].as_ref().unwrap_err();
    assert_eq!((error.kind(), error.key()), (ProviderErrorKind::Protocol, Some(&key("two"))));
}

async fn all_open(cache: &Cache<Arc<Spy>>, made: &[(WrappedDek, Dek)], context: &FullContext) {
    let wraps: Vec<_> = made.iter().map(|(wrapped, _)| (wrapped, context)).collect();
    let opened = cache.unwrap_deks(&wraps).await;
    assert_eq!(opened.len(), made.len());
    for (opened, (_, dek)) in opened.into_iter().zip(made) {
        assert_eq!(opened.unwrap().expose(), dek.expose());
    }
}

/// Leaves out the last result.
struct Short(Arc<Spy>);

#[async_trait::async_trait]
impl KeyProvider for Short {
    fn name(&self) -> &'static str {
        "short"
    }

    async fn wrap_dek(
        &self,
        key: &envelope_sdk::KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        self.0.wrap_dek(key, dek, context).await
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        self.0.unwrap_dek(wrapped, context).await
    }

    async fn unwrap_deks(&self, wraps: &[(&WrappedDek, &FullContext)]) -> Vec<Result<Dek, ProviderError>> {
        self.0.unwrap_deks(wraps).map(|mut deks| deks.drain(..deks.len() - 1).collect()).await
    }
}
