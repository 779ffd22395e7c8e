//! How often a call is made again, when, and what is told at the end.

use std::time::Duration;

use envelope_layers::{Breaker, Concurrency, Deadline, Limit, Retry, RetryBudget};
use envelope_sdk::{
    KeyProvider, KeyUri,
    ProviderErrorKind::{AccessDenied, Other, Protocol, State, Throttled, Unauthentic, Unavailable},
};
use tokio::time::Instant;

use super::support::{Script, Step, ask, context, error, fail, key, kind_of, wrapped};

const SECOND: Duration = Duration::from_secs(1);

fn plenty() -> RetryBudget {
    RetryBudget::new(100, 1000)
}

#[tokio::test(start_paused = true)]
async fn trouble_of_a_moment_is_not_seen_whatever_is_asked() {
    for what in 0..5 {
        let script = Script::new([fail(Unavailable), fail(Throttled)]);
        let (one, context) = (key("one"), context());
        let wrapped = wrapped(&script, "one").await;
        let retry = Retry::new(script.clone(), &plenty());
        match what {
            0 => drop(retry.resolve(&one).await.unwrap()),
            1 => drop(retry.unwrap_dek(&wrapped, &context).await.unwrap()),
            2 => drop(retry.generate_dek(&one, &context).await.unwrap()),
            3 => drop(retry.rewrap_dek(&wrapped, &one, &context).await.unwrap().unwrap()),
            _ => {
                let dek = envelope_sdk::Dek::from_slice(&[7; 32]).unwrap();
                drop(retry.wrap_dek(&one, &dek, &context).await.unwrap());
            }
        }
        assert_eq!(script.calls().len(), 3, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_the_provider_calls_retryable_is_made_again() {
    for kind in [AccessDenied, State, Unauthentic, Protocol, Other] {
        let script = Script::new([fail(kind)]);
        let told = ask(&Retry::new(script.clone(), &plenty())).await.unwrap_err();
        assert_eq!((told.kind(), told.message(), script.calls().len()), (kind, "as it was told to", 1));
    }
    // The kind does not decide.
    let script = Script::new([Step::Fail(error(Unavailable).retryable(false))]);
    assert_eq!(kind_of(ask(&Retry::new(script.clone(), &plenty())).await), Some(Unavailable));
    assert_eq!(script.calls().len(), 1);
    let script = Script::new([Step::Fail(error(State).retryable(true))]);
    ask(&Retry::new(script.clone(), &plenty())).await.unwrap();
    assert_eq!(script.calls().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_last_error_is_told_with_its_attempts() {
    let script = Script::new([fail(Unavailable), fail(Unavailable), fail(Throttled)]);
    let told = ask(&Retry::new(script.clone(), &plenty())).await.unwrap_err();
    assert_eq!((told.kind(), told.attempts(), told.key()), (Throttled, 3, Some(&key("one"))));
    assert!(told.is_retryable());
    assert!(told.message().starts_with("as it was told to (after 3 attempts in "), "{told}");
    let script = Script::new([fail(Unavailable), fail(AccessDenied)]);
    let told = ask(&Retry::new(script.clone(), &plenty())).await.unwrap_err();
    assert_eq!((told.kind(), told.attempts(), told.is_retryable()), (AccessDenied, 2, false));
}

#[tokio::test(start_paused = true)]
async fn attempts_of_the_client_below_count_and_do_not_multiply() {
    for (each, most, calls) in
        [(3, 3, 1), (3, 5, 1), (3, 6, 2), (1, 5, 5), (2, 5, 2), (4, 3, 1), (u32::MAX, u32::MAX, 1)]
    {
        let script = Script::new([]);
        script.always(Step::Fail(error(Unavailable).with_attempts(each)));
        let told = ask(&Retry::new(script.clone(), &plenty()).attempts(most)).await.unwrap_err();
        assert_eq!(script.calls().len(), calls, "{each} of {most}");
        assert_eq!(told.attempts(), each.saturating_mul(calls as u32), "{each} of {most}");
    }
    // One over another.
    let script = Script::new([]);
    script.always(fail(Unavailable));
    let budget = plenty();
    let told = ask(&Retry::new(Retry::new(script.clone(), &budget), &budget)).await.unwrap_err();
    assert_eq!((script.calls().len(), told.attempts()), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_the_key_store_asks_for_is_kept() {
    let asks = |seconds| Step::Fail(error(Throttled).with_retry_after(seconds * SECOND));
    let script = Script::new([asks(3), asks(7)]);
    ask(&Retry::new(script.clone(), &plenty())).await.unwrap();
    let times = script.times();
    assert!(times[1] - times[0] >= 3 * SECOND && times[1] - times[0] < 4 * SECOND, "{times:?}");
    assert!(times[2] - times[1] >= 7 * SECOND && times[2] - times[1] < 8 * SECOND, "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pause_beyond_the_deadline_is_not_begun() {
    for wait in [20 * SECOND, 3600 * SECOND, Duration::MAX] {
        let script = Script::new([Step::Fail(error(Throttled).with_retry_after(wait))]);
        let begun = Instant::now();
        let told = ask(&Retry::new(script.clone(), &plenty())).await.unwrap_err();
        assert_eq!((told.kind(), begun.elapsed(), script.calls().len()), (Throttled, Duration::ZERO, 1));
        assert!(told.message().contains("asks to be left alone for"), "{told}");
        assert!(told.retry_after().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn no_call_takes_longer_than_its_deadline() {
    // An attempt that hangs at once: nothing else is known.
    let script = Script::new([Step::Hang]);
    let begun = Instant::now();
    let told = ask(&Retry::new(script.clone(), &plenty()).deadline(4 * SECOND)).await.unwrap_err();
    assert_eq!((told.kind(), begun.elapsed(), script.under_way()), (Unavailable, 4 * SECOND, 0));
    assert_eq!(told.message(), "no answer within 4.0 s");
    // A later one does not hide what was told before.
    let script = Script::new([Step::Fail(error(Throttled).with_retry_after(SECOND)), Step::Hang]);
    let begun = Instant::now();
    let told = ask(&Retry::new(script.clone(), &plenty()).deadline(4 * SECOND)).await.unwrap_err();
    assert_eq!((told.kind(), told.attempts(), begun.elapsed()), (Throttled, 2, 4 * SECOND));
    assert_eq!(told.message(), "as it was told to (attempt 2 was cut off after 4.0 s)");
    // With a great many attempts.
    let script = Script::new([]);
    script.always(fail(Unavailable));
    let begun = Instant::now();
    let retry = Retry::new(script.clone(), &plenty()).attempts(u32::MAX).deadline(4 * SECOND);
    assert_eq!(kind_of(ask(&retry).await), Some(Unavailable));
    assert!(begun.elapsed() < 4 * SECOND && script.calls().len() > 3, "{:?}", script.calls());
    // A deadline without measure is none, and panics nowhere.
    let script = Script::new([fail(Unavailable)]);
    ask(&Retry::new(script, &plenty()).deadline(Duration::MAX)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_budget_holds_for_all_layers_that_share_it() {
    let budget = RetryBudget::new(10, 5);
    let scripts = [Script::new([]), Script::new([])];
    let layers = scripts.each_ref().map(|script| Retry::new(script.clone(), &budget));
    scripts.iter().for_each(|script| script.always(fail(Unavailable)));
    for call in 0..1000 {
        let told = ask(&layers[call % 2]).await.unwrap_err();
        assert_eq!(told.kind(), Unavailable);
        if call == 900 {
            assert!(told.attempts() > 1 || told.message().contains("has used up its retries"), "{told}");
        }
    }
    let calls: usize = scripts.iter().map(|script| script.calls().len()).sum();
    assert_eq!((budget.calls(), budget.retries()), (1000, 105));
    assert_eq!(calls, 1105);
    assert!(budget.refused() > 0);
}

#[tokio::test(start_paused = true)]
async fn of_a_batch_only_those_that_failed_for_a_moment_are_asked_for_again_together() {
    let script = Script::new([
        Step::FailSome(vec![1, 2, 4], error(Throttled)),
        Step::FailSome(vec![0, 2], error(Unavailable)),
        Step::FailSome(vec![1], error(AccessDenied)),
    ]);
    let mut wraps = Vec::new();
    for place in 0..5 {
        wraps.push(wrapped(&script, if place % 2 == 0 { "one" } else { "two" }).await);
    }
    let context = context();
    let mut asked: Vec<_> = wraps.iter().map(|wrapped| (wrapped, &context)).collect();
    let other = envelope_sdk::EncryptionContext::new().full().unwrap();
    asked[3].1 = &other;
    let budget = plenty();
    let told = Retry::new(script.clone(), &budget).unwrap_deks(&asked).await;
    // Five, then 1, 2 and 4, then 1 and 4.
    assert_eq!(script.calls(), [5, 3, 2]);
    // Each wrap is a call and a retry for itself.
    assert_eq!((budget.calls(), budget.retries()), (5, 5));
    let kinds: Vec<_> =
        told.iter().map(|answer| answer.as_ref().err().map(envelope_sdk::ProviderError::kind)).collect();
    assert_eq!(kinds, [None, None, None, Some(Unauthentic), Some(AccessDenied)]);
    assert_eq!(told[3].as_ref().unwrap_err().message(), "the wrapped DEK does not open");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_cut_off_keeps_what_opened_and_tells_of_the_rest_what_was_told_before() {
    let script = Script::new([Step::FailSome(vec![1], error(Throttled)), Step::Hang]);
    let (one, two, context) = (wrapped(&script, "one").await, wrapped(&script, "two").await, context());
    let retry = Retry::new(script.clone(), &plenty()).deadline(4 * SECOND);
    let told = retry.unwrap_deks(&[(&one, &context), (&two, &context)]).await;
    assert!(told[0].is_ok());
    let error = told[1].as_ref().unwrap_err();
    assert_eq!((error.kind(), error.attempts(), error.key()), (Throttled, 2, Some(&key("two"))));
    assert!(Retry::new(script, &plenty()).unwrap_deks(&[]).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_breaker_refuses_is_not_tried_again() {
    let script = Script::new([]);
    script.always(fail(Unavailable));
    let breaker = Breaker::new(script.clone()).failures(2).cool_down(SECOND);
    let retry = Retry::new(breaker, &plenty()).attempts(10);
    let told = ask(&retry).await.unwrap_err();
    assert_eq!((script.calls().len(), told.kind()), (2, Unavailable));
    // What the key store said, and not what the breaker did.
    assert!(told.message().starts_with("as it was told to (after 2 attempts in"), "{told}");
    assert_eq!(told.attempts(), 2, "the breaker asked nobody");
    let begun = Instant::now();
    let told = ask(&retry).await.unwrap_err();
    assert_eq!((script.calls().len(), begun.elapsed()), (2, Duration::ZERO));
    assert!(told.message().starts_with("the key store failed 2 times in a row"), "{told}");
}

/// One key store that is away must not use up what others may repeat.
#[tokio::test(start_paused = true)]
async fn a_retry_that_a_breaker_refuses_goes_back_into_the_budget() {
    let (away, shaky) = (Script::new([]), Script::new([]));
    for script in [&away, &shaky] {
        script.always(fail(Unavailable));
    }
    let (one, context, budget) = (wrapped(&away, "one").await, context(), RetryBudget::new(0, 5));
    let retry = Retry::new(Breaker::new(away.clone()).failures(1), &budget);
    for error in retry.unwrap_deks(&[(&one, &context); 50]).await.into_iter().map(Result::unwrap_err) {
        assert_eq!(error.kind(), Unavailable);
    }
    assert_eq!((away.calls().len(), budget.retries()), (1, 0));
    ask(&Retry::new(shaky.clone(), &budget).attempts(6)).await.unwrap_err();
    assert_eq!((shaky.calls().len(), budget.retries()), (6, 5));
}

#[tokio::test(start_paused = true)]
async fn of_a_batch_what_the_key_store_told_last_stands_beside_what_a_breaker_refuses() {
    let script = Script::new([fail(Unavailable), fail(Throttled), fail(AccessDenied)]);
    let (one, two, context) = (wrapped(&script, "one").await, wrapped(&script, "two").await, context());
    let breaker = Breaker::new(script.clone()).failures(1).by(KeyUri::as_str);
    let retry = Retry::new(breaker, &plenty());
    // The circuit of `one` opens; of `two` it is told to come again, and then that access is denied.
    let told = retry.unwrap_deks(&[(&one, &context), (&two, &context)]).await;
    let kinds: Vec<_> = told.into_iter().map(|answer| answer.err().map(|error| error.kind())).collect();
    assert_eq!(kinds, [Some(Unavailable), Some(AccessDenied)]);
}

/// Each circuit has a key store of its own behind it.
#[tokio::test(start_paused = true)]
async fn of_a_batch_an_open_circuit_stops_the_retries_of_no_other_key() {
    let script = Script::new([]);
    let (one, two, context) = (wrapped(&script, "one").await, wrapped(&script, "two").await, context());
    let breaker = Breaker::new(script.clone()).failures(1).by(KeyUri::as_str);
    script.then([fail(Unavailable)]);
    breaker.unwrap_dek(&one, &context).await.unwrap_err();
    script.then([fail(Throttled), fail(Throttled)]);
    let told = Retry::new(breaker, &plenty())
        .unwrap_deks(&[(&one, &context), (&two, &context), (&one, &context), (&two, &context)])
        .await;
    assert_eq!(script.calls(), [2, 2, 2], "three attempts of the other circuit");
    assert!(told[1].is_ok() && told[3].is_ok());
    for place in [0, 2] {
        let error = told[place].as_ref().unwrap_err();
        assert_eq!((error.kind(), error.attempts()), (Unavailable, 1));
        assert!(error.message().starts_with("the key store failed 1 times in a row"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_batch_as_many_are_asked_for_again_as_the_budget_has_retries() {
    let script = Script::new([fail(Throttled)]);
    let (one, context) = (wrapped(&script, "one").await, context());
    let budget = RetryBudget::new(10, 3);
    // Fifty calls pay for five retries, beside the reserve of three.
    let told = Retry::new(script.clone(), &budget).unwrap_deks(&[(&one, &context); 50]).await;
    assert_eq!(script.calls(), [50, 8]);
    assert_eq!((budget.calls(), budget.retries(), budget.refused()), (50, 8, 42));
    assert_eq!(told.iter().filter(|answer| answer.is_ok()).count(), 8);
    for error in told.into_iter().skip(8).map(Result::unwrap_err) {
        assert_eq!((error.kind(), error.attempts()), (Throttled, 1));
        assert!(
            error.message().ends_with("not tried again: the process has used up its retries)"),
            "{error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_batch_a_pause_that_is_too_long_for_one_keeps_no_other_from_its_retry() {
    let script = Script::new([]);
    let (one, two, context) = (wrapped(&script, "one").await, wrapped(&script, "two").await, context());
    // Each of them is asked for by itself.
    let limit = Limit::new(script.clone()).concurrency(Concurrency::fixed(1));
    script.then([Step::Fail(error(Throttled).with_retry_after(60 * SECOND)), fail(Throttled)]);
    let told = Retry::new(limit, &plenty()).unwrap_deks(&[(&one, &context), (&two, &context)]).await;
    assert_eq!(script.calls(), [1, 1, 1]);
    assert!(told[0].as_ref().unwrap_err().message().contains("asks to be left alone for 60.0 s"));
    assert!(told[1].is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_takes_longer_than_a_deadline_opens_in_pieces() {
    let script = Script::new([]);
    // A deadline asks one after the other.
    script.always(Step::Take(Duration::from_millis(300)));
    let below = Deadline::of(script.clone(), Duration::from_secs(5));
    let (one, context, begun) = (wrapped(&script, "one").await, context(), Instant::now());
    let opened = Retry::new(below, &plenty()).unwrap_deks(&[(&one, &context); 200]).await;
    assert!(opened.iter().all(Result::is_ok));
    assert!(begun.elapsed() > Duration::from_secs(59), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_key_store_that_is_silent_is_not_asked_for_the_rest_of_a_batch() {
    let script = Script::new([]);
    let (one, context, begun) = (wrapped(&script, "one").await, context(), Instant::now());
    script.forget();
    script.always(Step::Hang);
    let told = Retry::new(script.clone(), &plenty()).unwrap_deks(&[(&one, &context); 120]).await;
    assert_eq!((script.calls(), begun.elapsed()), (vec![50], Duration::from_secs(20)));
    let words: Vec<_> = told.into_iter().map(|told| told.unwrap_err().message().to_owned()).collect();
    assert!(words[..50].iter().all(|words| words.starts_with("no answer within")), "{words:?}");
    assert!(words[50..].iter().all(|words| words.starts_with("it was not asked for")), "{words:?}");
    script.forget();
    let whole = Retry::new(script.clone(), &plenty()).whole_batches();
    assert_eq!(whole.unwrap_deks(&[(&one, &context); 120]).await.len(), 120);
    assert_eq!(script.calls(), [120]);
}
