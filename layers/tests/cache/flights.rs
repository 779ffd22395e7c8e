//! One call for all who want the same at one time.

use envelope_sdk::{KeyProvider, ProviderErrorKind};
use futures_util::future::join_all;

use super::{
    cache,
    support::{Spy, context, key, opens, poll, shared, wrapped},
};

#[tokio::test(start_paused = true)]
async fn all_who_want_the_same_at_one_time_cost_one_call() {
    let spy = shared(Spy::new());
    let (cache, context) = (cache(&spy), context("acme"));
    let (wrapped, dek) = wrapped(&cache, "one", &context).await;
    spy.close();
    let mut waiting: Vec<_> = (0..64).map(|_| cache.unwrap_dek(&wrapped, &context)).collect();
    assert!(waiting.iter_mut().all(|waiting| poll(waiting).is_pending()));
    spy.open();
    for opened in join_all(waiting).await {
        assert_eq!(opened.unwrap().expose(), dek.expose());
    }
    assert_eq!(spy.unwraps(), [1]);
    let stats = cache.store().stats();
    assert_eq!((stats.misses, stats.joined, stats.calls, stats.in_flight), (1, 63, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn calls_for_different_wraps_do_not_wait_for_each_other() {
    let spy = shared(Spy::new());
    let (cache, context) = (cache(&spy), context("acme"));
    let (one, _) = wrapped(&cache, "one", &context).await;
    let (two, _) = wrapped(&cache, "one", &context).await;
    spy.close();
    let mut first = cache.unwrap_dek(&one, &context);
    let mut second = cache.unwrap_dek(&two, &context);
    assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
    assert_eq!((spy.under_way(), cache.store().stats().in_flight), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_to_all_who_waited_as_it_is() {
    let spy = shared(Spy::new());
    let (cache, context) = (cache(&spy), context("acme"));
    let (wrapped, _) = wrapped(&cache, "one", &context).await;
    spy.close();
    spy.fail(ProviderErrorKind::Throttled);
    let waiting = join_all((0..8).map(|_| cache.unwrap_dek(&wrapped, &context)));
    let (told, ()) = tokio::join!(waiting, async { spy.open() });
    for told in told {
        let error = told.unwrap_err();
        assert_eq!(error.kind(), ProviderErrorKind::Throttled);
        assert_eq!((error.provider(), error.key()), ("spy", Some(&key("one"))));
        assert_eq!(error.message(), "as it was told to");
        assert!(error.is_retryable());
    }
    assert_eq!(spy.unwraps(), [1]);
}

#[tokio::test(start_paused = true)]
async fn when_who_began_is_dropped_another_goes_on_with_the_same_call() {
    let spy = shared(Spy::new());
    let (cache, context) = (cache(&spy), context("acme"));
    let (wrapped, dek) = wrapped(&cache, "one", &context).await;
    spy.close();
    let mut leader = cache.unwrap_dek(&wrapped, &context);
    let mut waiter = cache.unwrap_dek(&wrapped, &context);
    assert!(poll(&mut leader).is_pending() && poll(&mut waiter).is_pending());
    drop(leader);
    spy.open();
    assert_eq!(waiter.await.unwrap().expose(), dek.expose());
    assert_eq!(spy.unwraps(), [1]);
    opens(&cache, &wrapped, &context, &dek).await;
    assert_eq!(spy.unwraps(), [1], "and what it returned is kept");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_is_not_polled_any_more_holds_up_nobody() {
    let spy = shared(Spy::that_yields(2));
    let (cache, context) = (cache(&spy), context("acme"));
    let (wrapped, dek) = wrapped(&cache, "one", &context).await;
    let mut leader = cache.unwrap_dek(&wrapped, &context);
    assert!(poll(&mut leader).is_pending());
    opens(&cache, &wrapped, &context, &dek).await;
    assert_eq!(leader.await.unwrap().expose(), dek.expose());
    assert_eq!(spy.unwraps(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_waits_for_is_dropped() {
    let spy = shared(Spy::new());
    let (cache, context) = (cache(&spy), context("acme"));
    let (wrapped, dek) = wrapped(&cache, "one", &context).await;
    spy.close();
    let mut leader = cache.unwrap_dek(&wrapped, &context);
    let mut waiter = cache.unwrap_dek(&wrapped, &context);
    assert!(poll(&mut leader).is_pending() && poll(&mut waiter).is_pending());
    assert_eq!(spy.under_way(), 1);
    drop((leader, waiter));
    assert_eq!((spy.under_way(), cache.store().stats().in_flight), (0, 0));
    spy.open();
    opens(&cache, &wrapped, &context, &dek).await;
    assert_eq!(spy.unwraps(), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_below_is_an_error_for_all_who_waited() {
    let spy = shared(Spy::that_panics());
    let (cache, context) = (cache(&spy), context("acme"));
    let wrapped = envelope_sdk::WrappedDek::new(key("one"), "1", "XAES-256-GCM", vec![1]).unwrap();
    spy.close();
    let waiting = join_all((0..2).map(|_| cache.unwrap_dek(&wrapped, &context)));
    let (told, ()) = tokio::join!(waiting, async { spy.open() });
    for told in told {
        let error = told.unwrap_err();
        assert_eq!((error.kind(), error.key()), (ProviderErrorKind::Other, Some(&key("one"))));
        assert_eq!(error.message(), "the call panicked, and gave no DEK");
    }
    assert_eq!((spy.unwraps().len(), cache.store().stats().in_flight), (1, 0));
}
