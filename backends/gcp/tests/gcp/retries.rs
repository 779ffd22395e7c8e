//! What is attempted again, how often, and until when.

use std::time::Instant;

use envelope_sdk::{
    KeyProvider,
    ProviderErrorKind::{AccessDenied, Throttled, Unavailable},
};
use envelope_testkit::http_server::Answer;

use super::{
    canned::{Canned, decrypted, encrypted, refusal, some_wrap, the_key},
    *,
};

#[test]
fn trouble_that_passes_is_not_noticed() {
    for trouble in [
        refusal(429, "RESOURCE_EXHAUSTED", "m", SOON),
        refusal(500, "INTERNAL", "m", SOON),
        refusal(503, "UNAVAILABLE", "m", SOON),
        refusal(504, "DEADLINE_EXCEEDED", "m", SOON),
        Answer::new(502),
        Answer::new(500).body("<html>"),
        Answer::hang_up(),
        Answer::json(200, encrypted().to_string()).cut_after(9),
    ] {
        let server = Canned::in_turn([trouble.clone(), Answer::json(200, encrypted().to_string())]);
        let kms = at(&server.0.url()).build();
        block_on(kms.wrap_dek(&the_key(), &fresh_dek(), &context())).unwrap();
        assert_eq!(server.0.count(), 2);
        let server = Canned::in_turn([trouble, Answer::json(200, decrypted(&[7; 32]).to_string())]);
        let kms = at(&server.0.url()).build();
        block_on(kms.unwrap_dek(&some_wrap(), &context())).unwrap();
        assert_eq!(server.0.count(), 2);
    }
}

#[test]
fn an_attempt_that_is_not_answered_in_time_is_repeated() {
    let server = Canned::in_turn([Answer::never(), Answer::json(200, encrypted().to_string())]);
    let kms = at(&server.0.url()).attempt_timeout(Duration::from_secs(1)).build();
    block_on(kms.wrap_dek(&the_key(), &fresh_dek(), &context())).unwrap();
    assert_eq!(server.0.count(), 2);
}

#[test]
fn attempts_end_after_three_or_as_many_as_are_set() {
    for (settings, attempts) in [(None, 3), (Some(1), 1), (Some(5), 5)] {
        let server = Canned::answering(|_| refusal(429, "RESOURCE_EXHAUSTED", "m", SOON));
        let kms = at(&server.0.url());
        let kms = settings.map_or_else(|| at(&server.0.url()), |set| kms.attempts(set)).build();
        let error = block_on(kms.unwrap_dek(&some_wrap(), &context())).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Throttled, true));
        assert_eq!(server.0.count(), attempts);
    }
}

#[test]
fn what_is_wrong_with_a_request_is_not_repeated() {
    let server = Canned::answering(|_| refusal(403, "PERMISSION_DENIED", "m", SOON));
    let error = block_on(at(&server.0.url()).build().unwrap_dek(&some_wrap(), &context())).unwrap_err();
    assert_eq!((error.kind(), server.0.count()), (AccessDenied, 1));
}

/// A pause that is longer than the whole call may take is not waited for.
#[test]
fn a_pause_that_google_asks_for_is_kept_and_ends_with_the_call() {
    let asks = r#"{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"3600s"}"#;
    let server = Canned::answering(move |_| refusal(429, "RESOURCE_EXHAUSTED", "m", asks));
    let began = Instant::now();
    let error = block_on(at(&server.0.url()).build().unwrap_dek(&some_wrap(), &context())).unwrap_err();
    assert_eq!((error.kind(), server.0.count()), (Throttled, 1));
    assert_eq!((error.retry_after(), error.attempts()), (Some(Duration::from_secs(3600)), 1));
    assert!(began.elapsed() < Duration::from_secs(20), "it waited for {:?}", began.elapsed());

    let asks = r#"{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"0.700s"}"#;
    let server = Canned::in_turn([
        refusal(429, "RESOURCE_EXHAUSTED", "m", asks),
        Answer::json(200, decrypted(&[7; 32]).to_string()),
    ]);
    let began = Instant::now();
    block_on(at(&server.0.url()).build().unwrap_dek(&some_wrap(), &context())).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(700), "it waited for {:?}", began.elapsed());
}

/// Four times as long as one attempt, whatever is repeated.
#[test]
fn a_call_ends_with_all_its_attempts() {
    let server = Canned::answering(|_| Answer::never());
    let kms = at(&server.0.url()).attempts(1000).attempt_timeout(Duration::from_millis(200)).build();
    let began = Instant::now();
    let error = block_on(kms.wrap_dek(&the_key(), &fresh_dek(), &context())).unwrap_err();
    assert_eq!(error.kind(), Unavailable);
    assert!(began.elapsed() >= Duration::from_millis(600) && server.0.count() >= 2, "{:?}", began.elapsed());
    assert!(server.0.count() <= 5, "{}", server.0.count());
}

const SOON: &str = r#"{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"0.001s"}"#;
