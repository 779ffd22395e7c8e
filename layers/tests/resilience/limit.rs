//! How many requests go, and who waits.

use std::{sync::Arc, time::Duration};

use envelope_layers::{Concurrency, Limit};
use envelope_sdk::{
    KeyProvider,
    ProviderErrorKind::{AccessDenied, Throttled, Unavailable},
};
use futures_util::future::join_all;
use proptest::prelude::*;
use tokio::time::{Instant, sleep};

use super::support::{Script, Step, ask, context, fail, key, kind_of, poll, wrapped};

const SECOND: Duration = Duration::from_secs(1);

/// The most calls in any second, of calls in their order.
fn most_in_a_second(times: &[Instant]) -> usize {
    let mut first = 0;
    let within = |(last, time): (usize, &Instant)| {
        while *time - times[first] >= SECOND {
            first += 1;
        }
        last + 1 - first
    };
    times.iter().enumerate().map(within).max().unwrap_or(0)
}

/// In simulated time, which goes from one thing that waits to the next.
fn simulated<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(test)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Callers that never rest, and some that come later.
    #[test]
    fn no_second_has_more_requests_than_the_rate_and_nearly_all_are_used(
        rate in prop_oneof![1_u32..60, 60_u32..3000],
        callers in 1_usize..20,
        late in 0_u64..3000,
    ) {
        let (times, seconds) = simulated(async {
            let script = Script::new([]);
            let limit = Arc::new(Limit::new(script.clone()).requests_per_second(rate));
            let calls = (rate as usize * 4).max(8);
            let begun = Instant::now();
            join_all((0..callers).map(|caller| {
                let limit = limit.clone();
                async move {
                    if caller > 0 && caller % 3 == 0 {
                        sleep(Duration::from_micros(late * caller as u64)).await;
                    }
                    for _ in 0..calls.div_ceil(callers) {
                        ask(&*limit).await.unwrap();
                    }
                }
            }))
            .await;
            (script.times(), begun.elapsed().as_secs_f64())
        });
        let most = most_in_a_second(&times);
        prop_assert!(most <= rate as usize, "{most} in a second of {rate}");
        let used = (times.len() - 1) as f64 / (seconds * f64::from(rate));
        prop_assert!(used >= 0.95, "{used} of {rate}: {} in {seconds} s", times.len());
    }
}

#[tokio::test(start_paused = true)]
async fn each_key_has_its_rate() {
    let script = Script::new([]);
    let limit = Limit::new(script.clone()).requests_per_second_of_a_key(10).requests_per_second(1000);
    let asked = (0..40).map(|call| {
        let (limit, key) = (&limit, key(if call % 2 == 0 { "one" } else { "two" }));
        async move { limit.resolve(&key).await.unwrap() }
    });
    let begun = Instant::now();
    join_all(asked).await;
    // Twenty of each: the last one 1.9 seconds after the first.
    assert!(begun.elapsed() >= 19 * SECOND / 10 && begun.elapsed() < 2 * SECOND, "{:?}", begun.elapsed());
    assert_eq!(most_in_a_second(&script.times()), 20);
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_served_in_order() {
    let script = Script::new([]);
    let limit = Limit::new(script).requests_per_second(10);
    let served = std::sync::Mutex::new(Vec::new());
    let (limit, served) = (&limit, &served);
    join_all((0..25).map(|caller| async move {
        ask(limit).await.unwrap();
        served.lock().unwrap().push(caller);
    }))
    .await;
    assert_eq!(*served.lock().unwrap(), (0..25).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_queue_has_an_end_and_whoever_comes_then_is_refused_at_once() {
    for limit in [
        Limit::new(Script::new([])).requests_per_second(1),
        Limit::new(Script::new([])).requests_per_second_of_a_key(1),
    ] {
        let limit = limit.waiting(3);
        let mut calls: Vec<_> = (0..8).map(|_| Box::pin(ask(&limit))).collect();
        let mut refused = 0;
        let mut waiting = Vec::new();
        for mut call in calls.drain(..) {
            match poll(&mut call) {
                std::task::Poll::Pending => waiting.push(call),
                std::task::Poll::Ready(Ok(())) => {}
                std::task::Poll::Ready(Err(error)) => {
                    assert_eq!((error.kind(), error.is_retryable()), (Throttled, true));
                    assert!(error.message().starts_with("3 calls of this process wait"), "{error}");
                    refused += 1;
                }
            }
        }
        assert_eq!((waiting.len(), refused, limit.queued()), (3, 4, 3));
        // One that goes away leaves its place.
        drop(waiting.pop());
        assert_eq!(limit.queued(), 2);
        join_all(waiting).await.into_iter().for_each(Result::unwrap);
        assert_eq!(limit.queued(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_go_at_a_time_than_may() {
    let script = Script::new([]);
    script.always(Step::Take(SECOND));
    let limit = Limit::new(script.clone()).concurrency(Concurrency::fixed(4));
    join_all((0..20).map(|_| ask(&limit))).await.into_iter().for_each(Result::unwrap);
    assert_eq!((script.most_under_way(), limit.permits(), limit.in_flight()), (4, Some(4), Some(0)));
}

#[tokio::test(start_paused = true)]
async fn successes_add_one_and_throttling_halves_once_for_the_calls_of_a_window() {
    let script = Script::new([]);
    let limit = Limit::new(script.clone()).concurrency(Concurrency::new(8, 2, 10));
    for permits in [8, 9, 10, 10] {
        assert_eq!(limit.permits(), Some(permits));
        for _ in 0..permits {
            ask(&limit).await.unwrap();
        }
    }
    // Ten calls that began at one time and are all throttled count once.
    let script = Script::that_yields(1, []);
    script.always(fail(Throttled));
    let limit = Limit::new(script.clone()).concurrency(Concurrency::new(10, 2, 10));
    for permits in [5, 2, 2] {
        let told = join_all((0..limit.permits().unwrap()).map(|_| ask(&limit))).await;
        assert!(told.into_iter().all(|answer| kind_of(answer) == Some(Throttled)));
        assert_eq!((limit.permits(), limit.in_flight()), (Some(permits), Some(0)));
    }
    // That many really go, and no more.
    script.always(Step::Take(SECOND));
    let before = script.calls().len();
    let mut calls: Vec<_> = (0..5).map(|_| Box::pin(ask(&limit))).collect();
    for _ in 0..3 {
        for call in &mut calls {
            assert!(poll(call).is_pending());
        }
    }
    assert_eq!((script.calls().len() - before, limit.in_flight(), limit.queued()), (2, Some(2), 3));
    join_all(calls).await;
    // What fails otherwise changes nothing; a refusal is an answer.
    script.always(fail(Unavailable));
    let before = limit.permits();
    for _ in 0..50 {
        let _ = ask(&limit).await;
    }
    assert_eq!(limit.permits(), before);
    script.always(fail(AccessDenied));
    for _ in 0..50 {
        let _ = ask(&limit).await;
    }
    assert!(limit.permits() > before);
}

/// Permits that a lower limit owes are paid back by the calls that end, and what is added meanwhile by those that are owed.
#[tokio::test(start_paused = true)]
async fn permits_are_neither_lost_nor_made_however_the_limit_moves() {
    let script = Script::new([]);
    let limit = Limit::new(script.clone()).concurrency(Concurrency::new(8, 1, 16)).waiting(10_000);
    let mut seed = 0x5eed_u64;
    for round in 0..200 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        script.always(match (seed >> 33) % 4 {
            0 => Some(fail(Throttled)),
            1 => Some(Step::Take(SECOND)),
            _ => None,
        });
        let mut calls: Vec<_> = (0..(seed >> 40) % 24).map(|_| Box::pin(ask(&limit))).collect();
        calls.retain_mut(|call| poll(call).is_pending());
        calls.truncate((seed >> 50) as usize % (calls.len() + 1));
        join_all(calls).await;
        assert_eq!((limit.in_flight(), limit.queued()), (Some(0), 0), "round {round}");
        // All permits are there: that many go at a time, and no more.
        let permits = limit.permits().unwrap();
        script.always(Step::Take(SECOND));
        let mut all: Vec<_> = (0..20).map(|_| Box::pin(ask(&limit))).collect();
        for call in &mut all {
            assert!(poll(call).is_pending());
        }
        assert_eq!(limit.in_flight(), Some(permits), "round {round}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_wrap_of_a_batch_counts_unless_the_provider_opens_all_in_one_request() {
    let script = Script::new([]);
    let (one, two, context) = (wrapped(&script, "one").await, wrapped(&script, "two").await, context());
    let wraps = [(&one, &context), (&two, &context), (&one, &context)];
    let limit = Limit::new(script.clone()).requests_per_second(10);
    let begun = Instant::now();
    assert!(limit.unwrap_deks(&wraps).await.into_iter().all(|dek| dek.is_ok()));
    assert_eq!((script.calls(), begun.elapsed()), (vec![1, 1, 1], SECOND / 5));
    script.forget();
    let limit =
        Limit::new(script.clone()).requests_per_second(10).requests_per_second_of_a_key(1).whole_batches();
    let begun = Instant::now();
    assert!(limit.unwrap_deks(&wraps).await.into_iter().all(|dek| dek.is_ok()));
    assert_eq!((script.calls(), begun.elapsed()), (vec![3], Duration::ZERO));
    // It counted for both keys.
    for key in ["one", "two"] {
        assert!(poll(&mut Box::pin(limit.resolve(&self::key(key)))).is_pending(), "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn limits_that_cannot_be_are_the_nearest_that_can() {
    let script = Script::new([]);
    for limit in [
        Limit::new(script.clone()).requests_per_second(0),
        Limit::new(script.clone()).requests_per_second(u32::MAX).requests_per_second_of_a_key(u32::MAX),
        Limit::new(script.clone()).concurrency(Concurrency::new(0, 0, 0)),
        Limit::new(script.clone()).concurrency(Concurrency::new(usize::MAX, usize::MAX, usize::MAX)),
        Limit::new(script.clone()).waiting(0),
    ] {
        ask(&limit).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_whole_batch_that_nobody_answers_is_no_success() {
    let script = Script::new([]);
    let (one, context) = (wrapped(&script, "one").await, context());
    script.always(fail(Unavailable));
    let limit = Limit::new(script.clone()).concurrency(Concurrency::new(1, 1, 10)).whole_batches();
    for _ in 0..20 {
        let told = limit.unwrap_deks(&[(&one, &context)]).await;
        assert_eq!(told[0].as_ref().unwrap_err().kind(), Unavailable);
    }
    assert_eq!(limit.permits(), Some(1));
}
