//! Age, uses, entries.

use std::{sync::Arc, time::Duration};

use envelope_layers::{Cache, CacheLimits, CacheStore};
use envelope_sdk::KeyProvider;
use futures_util::future::join_all;
use tokio::time::{advance, sleep};

use super::{
    HOUR,
    support::{Spy, context, opens, poll, shared, wrapped},
};

const NANOSECOND: Duration = Duration::from_nanos(1);

fn limited(spy: &Arc<Spy>, limits: CacheLimits) -> Cache<Arc<Spy>> {
    Cache::new(Arc::clone(spy), &CacheStore::new(limits))
}

#[tokio::test(start_paused = true)]
async fn a_dek_is_used_until_its_age_is_reached_and_no_longer() {
    let (spy, context, age) = (shared(Spy::new()), context("acme"), Duration::from_secs(300));
    let cache = limited(&spy, CacheLimits::new(age, 10));
    let (wrapped, dek) = wrapped(&cache, "one", &context).await;
    opens(&cache, &wrapped, &context, &dek).await;
    advance(age - NANOSECOND).await;
    opens(&cache, &wrapped, &context, &dek).await;
    assert_eq!(spy.unwraps().len(), 1);
    advance(NANOSECOND).await;
    opens(&cache, &wrapped, &context, &dek).await;
    assert_eq!((spy.unwraps().len(), cache.store().stats().expired), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn the_age_counts_from_the_question_not_from_the_answer() {
    let (spy, context, age) = (shared(Spy::new()), context("acme"), Duration::from_secs(300));
    let cache = limited(&spy, CacheLimits::new(age, 10));
    let (wrapped, dek) = wrapped(&cache, "one", &context).await;
    spy.close();
    let opening = opens(&cache, &wrapped, &context, &dek);
    let answering = async {
        sleep(age / 2).await;
        spy.open();
    };
    tokio::join!(opening, answering);
    advance(age / 2).await;
    opens(&cache, &wrapped, &context, &dek).await;
    assert_eq!(spy.unwraps().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_dek_is_handed_out_as_often_as_is_allowed_for_each_call() {
    for uses in [0, 1, 2, 7] {
        let (spy, context) = (shared(Spy::new()), context("acme"));
        let cache = limited(&spy, CacheLimits::new(HOUR, 10).uses(uses));
        let (wrapped, dek) = wrapped(&cache, "one", &context).await;
        for used in 0..20 {
            opens(&cache, &wrapped, &context, &dek).await;
            let calls = used / usize::try_from(uses.max(1)).unwrap() + 1;
            assert_eq!(spy.unwraps().len(), calls, "{uses} uses, after {used}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_one_answer_are_uses_of_it() {
    let (spy, context) = (shared(Spy::new()), context("acme"));
    let cache = limited(&spy, CacheLimits::new(HOUR, 10).uses(10));
    let (wrapped, dek) = wrapped(&cache, "one", &context).await;
    spy.close();
    let mut waiting: Vec<_> = (0..64).map(|_| cache.unwrap_dek(&wrapped, &context)).collect();
    assert!(waiting.iter_mut().all(|waiting| poll(waiting).is_pending()));
    spy.open();
    for opened in join_all(waiting).await {
        assert_eq!(opened.unwrap().expose(), dek.expose());
    }
    assert_eq!(spy.unwraps().len(), 7, "calls for 64 who wait, 10 at most for each");
    assert_eq!(cache.store().stats().joined, 64 - 7);
}

#[tokio::test(start_paused = true)]
async fn the_one_that_was_used_least_recently_makes_room() {
    let spy = shared(Spy::new());
    let cache = limited(&spy, CacheLimits::new(HOUR, 2));
    let context = context("acme");
    let (one, dek_one) = wrapped(&cache, "one", &context).await;
    let (two, dek_two) = wrapped(&cache, "one", &context).await;
    let (three, dek_three) = wrapped(&cache, "one", &context).await;
    opens(&cache, &one, &context, &dek_one).await;
    opens(&cache, &two, &context, &dek_two).await;
    opens(&cache, &one, &context, &dek_one).await;
    opens(&cache, &three, &context, &dek_three).await;
    let stats = cache.store().stats();
    assert_eq!((stats.kept, stats.evicted, spy.unwraps().len()), (2, 1, 3));
    opens(&cache, &one, &context, &dek_one).await;
    assert_eq!(spy.unwraps().len(), 3, "the one that was used again is kept");
    opens(&cache, &two, &context, &dek_two).await;
    assert_eq!(spy.unwraps().len(), 4, "the other one is not");
}

#[tokio::test(start_paused = true)]
async fn with_no_age_or_no_entries_nothing_is_kept() {
    for limits in [CacheLimits::new(Duration::ZERO, 10), CacheLimits::new(HOUR, 0)] {
        let (spy, context) = (shared(Spy::new()), context("acme"));
        let cache = limited(&spy, limits);
        let (wrapped, dek) = wrapped(&cache, "one", &context).await;
        opens(&cache, &wrapped, &context, &dek).await;
        opens(&cache, &wrapped, &context, &dek).await;
        assert_eq!((spy.unwraps().len(), cache.store().stats().kept), (2, 0), "{limits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_purged_when_asked_for_and_when_something_else_is_kept() {
    let (spy, context, age) = (shared(Spy::new()), context("acme"), Duration::from_secs(300));
    let cache = limited(&spy, CacheLimits::new(age, 10));
    let (one, dek_one) = wrapped(&cache, "one", &context).await;
    let (two, dek_two) = wrapped(&cache, "one", &context).await;
    opens(&cache, &one, &context, &dek_one).await;
    assert_eq!(cache.store().purge_expired(), 0);
    advance(age).await;
    assert_eq!(cache.store().stats().kept, 1);
    assert_eq!(cache.store().purge_expired(), 1);
    assert_eq!(cache.store().stats().kept, 0);

    opens(&cache, &one, &context, &dek_one).await;
    advance(age).await;
    opens(&cache, &two, &context, &dek_two).await;
    assert_eq!(cache.store().stats().kept, 1, "the new one alone");
}

#[tokio::test(start_paused = true)]
async fn a_purge_that_was_spawned_wipes_without_a_call_and_ends_with_the_store() {
    let (spy, context, age) = (shared(Spy::new()), context("acme"), Duration::from_secs(300));
    let cache = limited(&spy, CacheLimits::new(age, 10));
    let purging = tokio::spawn(cache.store().purge_as_it_expires());
    let (wrapped, dek) = wrapped(&cache, "one", &context).await;
    opens(&cache, &wrapped, &context, &dek).await;
    sleep(age + age / 2).await;
    assert_eq!((cache.store().stats().kept, cache.store().stats().expired), (0, 1));
    drop(cache);
    purging.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nobody_joins_a_call_that_is_as_old_as_a_dek_may_be() {
    let (spy, context, age) = (shared(Spy::new()), context("acme"), Duration::from_secs(300));
    let cache = limited(&spy, CacheLimits::new(age, 10));
    let (wrapped, dek) = wrapped(&cache, "one", &context).await;
    spy.close();
    let mut calls = Vec::new();
    for pause in [Duration::ZERO, age - NANOSECOND, NANOSECOND] {
        advance(pause).await;
        let mut call = cache.unwrap_dek(&wrapped, &context);
        assert!(poll(&mut call).is_pending());
        calls.push(call);
    }
    assert_eq!(spy.unwraps(), [1, 1], "the last of them asked anew");
    spy.open();
    for opened in join_all(calls).await {
        assert_eq!(opened.unwrap().expose(), dek.expose());
    }
    opens(&cache, &wrapped, &context, &dek).await;
    assert_eq!(
        (spy.unwraps().len(), cache.store().stats().in_flight),
        (2, 0),
        "and what it was told is kept"
    );
}

#[tokio::test(start_paused = true)]
async fn who_has_a_dek_generated_is_a_use_of_it() {
    for (uses, hits) in [(1, 0), (2, 1), (3, 2)] {
        let (spy, context) = (shared(Spy::new()), context("acme"));
        let cache = limited(&spy, CacheLimits::new(HOUR, 10).uses(uses).keep_generated(true));
        let (dek, wrapped) = cache.generate_dek(&super::support::key("one"), &context).await.unwrap();
        for _ in 0..=hits {
            opens(&cache, &wrapped, &context, &dek).await;
        }
        assert_eq!((spy.unwraps().len(), cache.store().stats().hits), (1, hits), "{uses} uses");
    }
}
