//! When a key store is not asked, and when it is again.

use std::{sync::Arc, time::Duration};

use envelope_layers::{Breaker, BreakerState, CircuitOpen, Concurrency, Deadline, Limit};
use envelope_sdk::{
    KeyProvider, KeyUri,
    ProviderErrorKind::{AccessDenied, NotFound, State, Throttled, Unauthentic, Unavailable},
    http::find_cause,
};
use envelope_testkit::AlteredProvider;
use futures_util::future::join_all;
use tokio::time::{Instant, advance, sleep};

use super::support::{Script, Step, ask, context, fail, key, kind_of, poll, wrapped};

const SECOND: Duration = Duration::from_secs(1);

/// Of three failures and ten seconds.
fn breaker(script: &Arc<Script>) -> Breaker<Arc<Script>> {
    Breaker::new(script.clone()).failures(3)
}

async fn opened(script: &Arc<Script>) -> Breaker<Arc<Script>> {
    let breaker = breaker(script);
    script.always(fail(Unavailable));
    for _ in 0..3 {
        assert_eq!(breaker.state(&key("one")), BreakerState::Closed);
        assert_eq!(kind_of(ask(&breaker).await), Some(Unavailable));
    }
    script.forget();
    breaker
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_open_it_and_then_nobody_is_asked_or_waits() {
    let script = Script::new([]);
    let breaker = opened(&script).await;
    advance(4 * SECOND).await;
    let told = ask(&breaker).await.unwrap_err();
    assert_eq!((told.kind(), told.is_retryable(), told.retry_after()), (Unavailable, true, Some(6 * SECOND)));
    assert_eq!(
        told.message(),
        "the key store failed 3 times in a row, has not been asked for 4.0s and is not for another 6.0s"
    );
    assert!(matches!(find_cause::<CircuitOpen>(&told), Some(CircuitOpen::CoolingDown { failures: 3, .. })));
    assert_eq!(breaker.state(&key("one")), BreakerState::Open { since: 4 * SECOND, left: 6 * SECOND });
    assert_eq!(script.calls().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn any_answer_ends_the_row() {
    for kind in [AccessDenied, Throttled, State, Unauthentic, NotFound] {
        let script = Script::new([]);
        let breaker = breaker(&script);
        for _ in 0..5 {
            for step in [
                Some(fail(Unavailable)),
                Some(fail(Unavailable)),
                Some(fail(kind)),
                Some(fail(Unavailable)),
                None,
            ] {
                script.always(step);
                let _ = ask(&breaker).await;
            }
        }
        assert_eq!(
            (script.calls().len(), breaker.state(&key("one"))),
            (25, BreakerState::Closed),
            "{kind:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_key_store_costs_one_time_out() {
    let script = Script::new([]);
    script.always(Step::Hang);
    let begun = Instant::now();
    let breaker = Breaker::new(Deadline::of(script.clone(), 2 * SECOND));
    for _ in 0..5 {
        assert_eq!(kind_of(ask(&breaker).await), Some(Unavailable));
    }
    assert_eq!((script.calls().len(), begun.elapsed()), (1, 2 * SECOND));
    // Without a deadline, it is the client below that gives up.
    let gives_up = AlteredProvider::new(Script::new([])).on_generate(|_, key, _| {
        Box::pin(async move {
            sleep(15 * SECOND).await;
            Err(super::support::error(Unavailable).about(key))
        })
    });
    let (breaker, begun) = (Breaker::new(gives_up), Instant::now());
    for _ in 0..5 {
        assert_eq!(kind_of(ask(&breaker).await), Some(Unavailable));
    }
    assert_eq!(begun.elapsed(), 15 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn so_many_time_outs_open_it_as_were_asked_for() {
    let script = Script::new([]);
    script.always(Step::Hang);
    let breaker = Breaker::new(Deadline::new(script.clone())).time_outs(3);
    for _ in 0..5 {
        assert_eq!(kind_of(ask(&breaker).await), Some(Unavailable));
    }
    assert_eq!(script.calls().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_time_out_while_others_were_answered_is_a_failure_as_any() {
    let script = Script::new([]);
    let breaker = Breaker::new(Deadline::new(script.clone())).failures(3);
    for round in 0..10 {
        script.always(Step::Hang);
        let mut lost = Box::pin(ask(&breaker));
        assert!(poll(&mut lost).is_pending());
        // Whatever it is told, it is told something.
        script.always((round % 2 == 0).then(|| fail(AccessDenied)));
        let _ = ask(&breaker).await;
        assert_eq!(kind_of(lost.await), Some(Unavailable));
        assert_eq!(breaker.state(&key("one")), BreakerState::Closed, "round {round}");
    }
    script.always(Step::Hang);
    assert_eq!(kind_of(ask(&breaker).await), Some(Unavailable));
    assert!(matches!(breaker.state(&key("one")), BreakerState::Open { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_was_answered_in_part_is_no_time_out_of_the_circuit() {
    let script = Script::new([]);
    let (one, two, context) = (wrapped(&script, "one").await, wrapped(&script, "two").await, context());
    let limit = Limit::new(Deadline::new(script.clone())).concurrency(Concurrency::default());
    let breaker = Breaker::new(limit);
    let wraps = [(&one, &context), (&two, &context), (&two, &context)];
    script.then([Step::Take(SECOND), Step::Hang]);
    let begun = Instant::now();
    let told = breaker.unwrap_deks(&wraps).await;
    assert!(told[0].is_ok());
    // The third was not asked for.
    assert_eq!((script.calls(), begun.elapsed()), (vec![1, 1], 6 * SECOND));
    assert_eq!(breaker.state(&key("one")), BreakerState::Closed);
    script.then([Step::Hang]);
    let begun = Instant::now();
    assert!(breaker.unwrap_deks(&wraps).await.into_iter().all(|told| kind_of(told) == Some(Unavailable)));
    assert_eq!(begun.elapsed(), 5 * SECOND, "one time-out for the batch");
    assert!(matches!(breaker.state(&key("one")), BreakerState::Open { .. }));
}

#[tokio::test(start_paused = true)]
async fn one_probe_goes_through_and_closes_it() {
    let script = Script::that_yields(3, []);
    let breaker = opened(&script).await;
    script.always(None);
    advance(10 * SECOND).await;
    assert_eq!(breaker.state(&key("one")), BreakerState::HalfOpen);
    let told = join_all((0..64).map(|_| ask(&breaker))).await;
    assert_eq!(script.calls().len(), 1);
    let (good, bad): (Vec<_>, Vec<_>) = told.into_iter().partition(Result::is_ok);
    assert_eq!((good.len(), bad.len()), (1, 63));
    for error in bad.into_iter().map(Result::unwrap_err) {
        assert_eq!(find_cause(&error), Some(&CircuitOpen::Probing { failures: 3, since: 10 * SECOND }));
    }
    assert_eq!((breaker.state(&key("one")), breaker.troubled().len()), (BreakerState::Closed, 0));
    // All failures are forgotten.
    script.always(fail(Unavailable));
    let _ = (ask(&breaker).await, ask(&breaker).await);
    assert_eq!(breaker.state(&key("one")), BreakerState::Closed);
}

/// As one that a hedge overtakes: otherwise each call would wait for a dead key store until its hedge is there.
#[tokio::test(start_paused = true)]
async fn a_probe_that_is_dropped_is_followed_by_another_after_as_long_as_it_had_waited() {
    let script = Script::new([]);
    let breaker = opened(&script).await;
    advance(10 * SECOND).await;
    script.always(Step::Hang);
    let mut probe = Box::pin(ask(&breaker));
    assert!(poll(&mut probe).is_pending());
    advance(2 * SECOND).await;
    drop(probe);
    assert_eq!(breaker.state(&key("one")), BreakerState::Open { since: 12 * SECOND, left: 2 * SECOND });
    assert_eq!((kind_of(ask(&breaker).await), script.calls().len()), (Some(Unavailable), 1));
    advance(2 * SECOND).await;
    script.always(None);
    ask(&breaker).await.unwrap();
    assert_eq!(breaker.state(&key("one")), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_fails_opens_it_for_another_cool_down() {
    let script = Script::new([]);
    let breaker = opened(&script).await;
    for probes in 1..=3 {
        advance(10 * SECOND).await;
        assert_eq!(kind_of(ask(&breaker).await), Some(Unavailable));
        assert_eq!(script.calls().len(), probes);
        assert_eq!(
            breaker.state(&key("one")),
            BreakerState::Open { since: probes as u32 * 10 * SECOND, left: 10 * SECOND }
        );
        assert_eq!((kind_of(ask(&breaker).await), script.calls().len()), (Some(Unavailable), probes));
    }
    // One that is refused found the key store there.
    advance(10 * SECOND).await;
    script.always(fail(AccessDenied));
    assert_eq!(kind_of(ask(&breaker).await), Some(AccessDenied));
    assert_eq!(breaker.state(&key("one")), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_began_before_it_opened_neither_closes_it_nor_keeps_it_open() {
    for late in [None, Some(fail(Unavailable))] {
        let script = Script::new([]);
        let breaker = breaker(&script);
        // One that takes 5 seconds.
        script.always(Step::Take(5 * SECOND));
        let mut early = Box::pin(ask(&breaker));
        assert!(poll(&mut early).is_pending());
        script.always(fail(Unavailable));
        for _ in 0..3 {
            let _ = ask(&breaker).await;
        }
        script.always(late.clone());
        early.await.unwrap();
        assert_eq!(breaker.state(&key("one")), BreakerState::Open { since: 5 * SECOND, left: 5 * SECOND });
    }
}

#[tokio::test(start_paused = true)]
async fn circuits_by_name_open_each_for_itself() {
    let script = Script::new([]);
    let breaker = breaker(&script).by(KeyUri::as_str);
    script.always(fail(Unavailable));
    for _ in 0..3 {
        let _ = ask(&breaker).await;
    }
    assert_eq!(breaker.troubled().len(), 1);
    assert_eq!(breaker.state(&key("two")), BreakerState::Closed);
    script.always(None);
    breaker.generate_dek(&key("two"), &context()).await.unwrap();
    // Of a batch the others are asked for.
    script.forget();
    let (one, two, context) = (wrapped(&script, "one").await, wrapped(&script, "two").await, context());
    let told = breaker.unwrap_deks(&[(&one, &context), (&two, &context), (&two, &context)]).await;
    assert_eq!(script.calls(), [2]);
    assert!(told[1].is_ok() && told[2].is_ok());
    let error = told[0].as_ref().unwrap_err();
    assert_eq!((error.kind(), error.key()), (Unavailable, Some(&key("one"))));
}

#[tokio::test(start_paused = true)]
async fn names_that_somebody_makes_up_neither_fill_the_memory_nor_pass_by_an_open_circuit() {
    let script = Script::new([]);
    script.always(fail(Unavailable));
    let breaker = Breaker::new(script.clone()).failures(1).by(KeyUri::as_str);
    for number in 0..3000 {
        let told = breaker.generate_dek(&key(&number.to_string()), &context()).await;
        assert_eq!(kind_of(told), Some(Unavailable));
    }
    // The circuits of 1024 names, and the one of all others.
    assert_eq!((breaker.troubled().len(), script.calls().len()), (1025, 1025));
    script.always(None);
    advance(10 * SECOND).await;
    // Each of these closes one, and the names that come next have a circuit of their own again.
    for number in [2999, 0, 1] {
        breaker.generate_dek(&key("one"), &context()).await.map(drop).unwrap();
        let _ = breaker.generate_dek(&key(&number.to_string()), &context()).await;
    }
    assert!(breaker.troubled().len() < 1025);
}

#[tokio::test(start_paused = true)]
async fn a_batch_fails_if_all_of_it_does() {
    let script = Script::new([]);
    let (one, two, context) = (wrapped(&script, "one").await, wrapped(&script, "two").await, context());
    let wraps = [(&one, &context), (&two, &context)];
    let breaker = breaker(&script);
    script.always(Step::FailSome(vec![0], super::support::error(Unavailable)));
    for _ in 0..5 {
        assert!(breaker.unwrap_deks(&wraps).await[1].is_ok());
    }
    assert_eq!(breaker.state(&key("one")), BreakerState::Closed);
    script.always(fail(Unavailable));
    for _ in 0..5 {
        assert!(
            breaker.unwrap_deks(&wraps).await.into_iter().all(|answer| kind_of(answer) == Some(Unavailable))
        );
    }
    assert_eq!(script.calls().len(), 5 + 3);
}

#[tokio::test(start_paused = true)]
async fn what_a_limit_refuses_neither_ends_the_row_nor_closes_the_circuit() {
    let script = Script::new([]);
    script.always(Step::Hang);
    let limit = Limit::new(Deadline::new(script.clone())).concurrency(Concurrency::fixed(1)).waiting(0);
    let breaker = Breaker::new(limit).failures(3).time_outs(4);
    for _ in 0..3 {
        let mut hangs = Box::pin(ask(&breaker));
        assert!(poll(&mut hangs).is_pending());
        assert_eq!(kind_of(ask(&breaker).await), Some(Throttled), "the queue is full");
        assert_eq!(kind_of(hangs.await), Some(Unavailable));
    }
    assert!(matches!(breaker.state(&key("one")), BreakerState::Open { .. }));
}

/// The key store is asked for neither.
#[tokio::test(start_paused = true)]
async fn what_a_provider_says_by_itself_neither_ends_the_row_nor_closes_the_circuit() {
    let script = Script::new([]);
    let one = wrapped(&script, "one").await;
    let altered = AlteredProvider::new(script.clone()).on_rewrap(|_, _, _, _| Box::pin(async { Ok(None) }));
    let breaker = Breaker::new(Arc::new(altered)).failures(3);
    for failures in 1..=3 {
        script.always(fail(Unavailable));
        assert_eq!(kind_of(ask(&breaker).await), Some(Unavailable));
        script.always(None);
        if failures < 3 {
            assert_eq!(breaker.resolve(&key("one")).await.unwrap(), key("one"));
            assert!(breaker.rewrap_dek(&one, &key("one"), &context()).await.unwrap().is_none());
        }
    }
    assert!(matches!(breaker.state(&key("one")), BreakerState::Open { .. }));
    advance(11 * SECOND).await;
    breaker.resolve(&key("one")).await.unwrap();
    breaker.rewrap_dek(&one, &key("one"), &context()).await.unwrap();
    assert_eq!(breaker.state(&key("one")), BreakerState::HalfOpen);
    ask(&breaker).await.unwrap();
    assert_eq!(breaker.state(&key("one")), BreakerState::Closed);
}
