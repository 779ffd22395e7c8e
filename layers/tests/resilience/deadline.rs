//! A call ends.

use std::time::Duration;

use envelope_layers::Deadline;
use envelope_sdk::{KeyProvider, ProviderErrorKind::Unavailable};
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
async fn a_batch_has_one_deadline_and_an_error_for_each() {
    let script = Script::new([Step::Hang]);
    let (one, two, context) = (wrapped(&script, "one").await, wrapped(&script, "two").await, context());
    let told = Deadline::new(script).unwrap_deks(&[(&one, &context), (&two, &context)]).await;
    let told: Vec<_> = told.into_iter().map(Result::unwrap_err).collect();
    assert_eq!(told.iter().map(envelope_sdk::ProviderError::kind).collect::<Vec<_>>(), [Unavailable; 2]);
    assert_eq!(
        told.iter().map(|error| error.key().cloned()).collect::<Vec<_>>(),
        [Some(key("one")), Some(key("two"))]
    );
}
