//! A call ends.

use std::time::Duration;

use envelope_layers::{Deadline, Retry, RetryBudget, TimedOut};
use envelope_sdk::{KeyProvider, ProviderErrorKind::Unavailable, http::find_cause};
use tokio::time::Instant;

use super::support::{Script, Step, ask, context, key, wrapped};

#[tokio::test(start_paused = true)]
async fn what_does_not_answer_in_time_is_unavailable_and_dropped() {
    let script = Script::new([Step::Hang, Step::Take(Duration::from_secs(6))]);
    let deadline = Deadline::new(script.clone());
    for _ in 0..2 {
        let begun = Instant::now();
        let told = ask(&deadline).await.unwrap_err();
        assert_eq!((told.kind(), told.is_retryable(), told.key()), (Unavailable, true, Some(&key("one"))));
        assert_eq!(told.message(), "the key store did not answer within 5s");
        assert_eq!((begun.elapsed(), script.under_way()), (Duration::from_secs(5), 0));
    }
}

#[tokio::test(start_paused = true)]
async fn what_answers_in_time_is_answered() {
    let script = Script::new([Step::Take(Duration::from_secs(4)), Step::Take(Duration::ZERO)]);
    ask(&Deadline::new(script.clone())).await.unwrap();
    ask(&Deadline::of(script, Duration::MAX)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn each_wrap_of_a_batch_has_its_time_and_what_opened_before_a_time_out_stays() {
    let four = Duration::from_secs(4);
    let script = Script::new([Step::Take(four), Step::Take(four), Step::Hang]);
    let (one, two, context) = (wrapped(&script, "one").await, wrapped(&script, "two").await, context());
    let (one, two) = ((&one, &context), (&two, &context));
    let begun = Instant::now();
    let told = Deadline::new(script.clone()).unwrap_deks(&[one, two, one, two, one]).await;
    // Two that took 4 seconds, and one that was cut off after 5; the others would have been, too.
    assert_eq!((script.calls(), begun.elapsed()), (vec![1, 1, 1], Duration::from_secs(13)));
    assert!(told[0].is_ok() && told[1].is_ok());
    let late: Vec<_> = told.into_iter().skip(2).map(Result::unwrap_err).collect();
    for (error, key_of) in late.iter().zip(["one", "two", "one"]) {
        assert_eq!(
            (error.kind(), error.key(), error.is_retryable()),
            (Unavailable, Some(&key(key_of)), true)
        );
        assert!(find_cause::<TimedOut>(error).is_some(), "{error}");
    }
    assert_eq!(
        late.iter().map(|error| error.message().to_owned()).collect::<Vec<_>>(),
        [
            "the key store did not answer within 5s",
            "it was not asked for, since of another wrap of the batch the key store did not answer within 5s",
            "it was not asked for, since of another wrap of the batch the key store did not answer within 5s",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_one_request_has_one_deadline_and_an_error_for_each() {
    let script = Script::new([Step::Hang]);
    let (one, two, context) = (wrapped(&script, "one").await, wrapped(&script, "two").await, context());
    let deadline = Deadline::new(script.clone()).whole_batches();
    let told = deadline.unwrap_deks(&[(&one, &context), (&two, &context)]).await;
    let told: Vec<_> = told.into_iter().map(Result::unwrap_err).collect();
    assert_eq!(told.iter().map(envelope_sdk::ProviderError::kind).collect::<Vec<_>>(), [Unavailable; 2]);
    assert_eq!(
        told.iter().map(|error| error.key().cloned()).collect::<Vec<_>>(),
        [Some(key("one")), Some(key("two"))]
    );
    assert_eq!(script.calls(), [2]);
}

/// Nobody knows how many requests a client had made when its call was dropped.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_cut_off_counts_as_all_the_attempts_that_the_client_below_makes() {
    for (client, most, calls) in [(3, 3, 1), (3, 6, 2), (1, 3, 3), (2, 5, 2)] {
        let script = Script::new([]);
        script.always(Step::Hang);
        let deadline = Deadline::of(script.clone(), Duration::from_secs(1)).client_attempts(client);
        let told = ask(&Retry::new(deadline, &RetryBudget::new(100, 100)).attempts(most)).await.unwrap_err();
        assert_eq!(
            (script.calls().len(), told.attempts()),
            (calls, client * calls as u32),
            "{client} of {most}"
        );
    }
    let told = ask(&Deadline::new(Script::new([Step::Hang]))).await.unwrap_err();
    assert_eq!(told.attempts(), 3, "what the clients of the clouds make");
}
