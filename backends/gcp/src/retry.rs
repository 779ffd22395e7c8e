//! When a call is attempted again, and after which pause: [`Retries`].
//!
//! Google's client attempts no POST again unless it is told to, and then only
//! after 503 and lost connections. The rules here are those of
//! <https://cloud.google.com/kms/docs/reference/rest> and AIP-194: what a server
//! says of its own trouble is worth another attempt, what it says of the request
//! is not.

use std::{
    cell::Cell,
    error::Error as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use google_cloud_gax::{
    backoff_policy::BackoffPolicy,
    error::{
        CredentialsError, Error,
        rpc::{Code, StatusDetails},
    },
    exponential_backoff::{ExponentialBackoff, ExponentialBackoffBuilder},
    retry_policy::RetryPolicy,
    retry_result::RetryResult,
    retry_state::RetryState,
    retry_throttler::{RetryThrottler, SharedRetryThrottler},
    throttle_result::ThrottleResult,
};

/// The rules of one call. They are of one call alone, since the pause that one
/// answer asks for is that of the next attempt.
#[derive(Debug, Clone)]
pub(crate) struct Retries {
    attempts: u32,
    whole: Duration,
    backoff: Arc<ExponentialBackoff>,
    /// What the last answer asked for.
    asked: Arc<Mutex<Option<Duration>>>,
}

impl Retries {
    /// At most so many attempts, all of them within `whole`.
    pub(crate) fn new(attempts: u32, whole: Duration) -> Self {
        let backoff = ExponentialBackoffBuilder::new()
            .with_initial_delay(FIRST_PAUSE)
            .with_maximum_delay(LONGEST_PAUSE)
            .with_scaling(2.0)
            .clamp();
        Self { attempts, whole, backoff: Arc::new(backoff), asked: Arc::default() }
    }

    /// Attempts are bounded already: nothing else holds them back.
    pub(crate) fn throttler() -> SharedRetryThrottler {
        Arc::new(Mutex::new(Never))
    }
}

#[deny(clippy::missing_trait_methods)]
impl RetryPolicy for Retries {
    fn on_error(&self, state: &RetryState, error: Error) -> RetryResult {
        // Outside of a call, in tests, nobody counts.
        let _ = FAILED.try_with(|failed| failed.set(state.attempt_count));
        if !may_help(state.idempotent, &error) {
            return RetryResult::Permanent(error);
        }
        // Each change of it is one step.
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = retry_delay(&error);
        if state.attempt_count < self.attempts {
            RetryResult::Continue(error)
        } else {
            RetryResult::Exhausted(error)
        }
    }

    fn on_throttle(&self, _state: &RetryState, error: Error) -> ThrottleResult {
        ThrottleResult::Exhausted(error)
    }

    fn remaining_time(&self, state: &RetryState) -> Option<Duration> {
        Some(self.whole.saturating_sub(state.start.elapsed()))
    }
}

#[deny(clippy::missing_trait_methods)]
impl BackoffPolicy for Retries {
    fn on_failure(&self, state: &RetryState) -> Duration {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Never earlier than the server wants; the deadline of the call ends what it wants too late.
        asked.unwrap_or_else(|| self.backoff.on_failure(state))
    }
}

tokio::task_local! {
    /// Of the call that is being made, how many attempts have failed: the client does not say.
    static FAILED: Cell<u32>;
}

/// What becomes of a call, and how many attempts of it failed.
pub(crate) async fn counted<F: Future>(call: F) -> (F::Output, u32) {
    let counting = async move {
        let outcome = call.await;
        (outcome, FAILED.with(Cell::get))
    };
    FAILED.scope(Cell::new(0), counting).await
}

#[derive(Debug)]
struct Never;

#[deny(clippy::missing_trait_methods)]
impl RetryThrottler for Never {
    fn throttle_retry_attempt(&self) -> bool {
        false
    }

    fn on_retry_failure(&mut self, _flow: &RetryResult) {}

    fn on_success(&mut self) {}
}

/// Whether another attempt may help. A call that does something each time that it
/// is done is attempted again only if the first attempt did not leave this machine.
fn may_help(idempotent: bool, error: &Error) -> bool {
    if error.is_authentication() {
        let source = error.source().and_then(|source| source.downcast_ref::<CredentialsError>());
        return source.is_some_and(CredentialsError::is_transient);
    }
    if error.is_connect() {
        return true;
    }
    if !idempotent {
        return false;
    }
    if error.is_timeout() || error.is_io() {
        return true;
    }
    let by_code = error.status().is_some_and(|status| {
        matches!(
            status.code,
            Code::Unavailable
                | Code::ResourceExhausted
                | Code::Internal
                | Code::DeadlineExceeded
                | Code::Unknown
        )
    });
    by_code || error.http_status_code().is_some_and(|status| WORTH_A_RETRY.contains(&status))
}

/// The pause that the server asks for (`google.rpc.RetryInfo`).
pub(crate) fn retry_delay(error: &Error) -> Option<Duration> {
    let asked = error.status()?.details.iter().find_map(|detail| match detail {
        StatusDetails::RetryInfo(info) => info.retry_delay,
        _ => None,
    })?;
    Duration::try_from(asked).ok()
}

const WORTH_A_RETRY: [u16; 6] = [408, 429, 500, 502, 503, 504];
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use google_cloud_gax::error::rpc::Status;

    use super::*;

    fn state(attempt: u32, idempotent: bool) -> RetryState {
        RetryState::new(idempotent).set_attempt_count(attempt)
    }

    fn answered(status: u16) -> Error {
        Error::http(status, Default::default(), Default::default())
    }

    #[test]
    fn trouble_of_the_server_is_worth_another_attempt_and_of_the_request_is_not() {
        let retries = Retries::new(3, Duration::from_secs(20));
        for (status, again) in [
            (400, false),
            (401, false),
            (403, false),
            (404, false),
            (408, true),
            (409, false),
            (429, true),
            (500, true),
            (501, false),
            (502, true),
            (503, true),
            (504, true),
        ] {
            let said = retries.on_error(&state(1, true), answered(status));
            assert_eq!(said.is_continue(), again, "{status}");
            assert!(retries.on_error(&state(1, false), answered(status)).is_permanent(), "{status}");
        }
        assert!(retries.on_error(&state(1, true), Error::timeout("late")).is_continue());
        assert!(retries.on_error(&state(1, true), Error::io("broke off")).is_continue());
        assert!(retries.on_error(&state(1, false), Error::io("broke off")).is_permanent());
        assert!(retries.on_error(&state(1, false), Error::connect("refused")).is_continue());
    }

    #[test]
    fn attempts_end() {
        let retries = Retries::new(3, Duration::from_secs(20));
        assert!(retries.on_error(&state(2, true), answered(503)).is_continue());
        assert!(retries.on_error(&state(3, true), answered(503)).is_exhausted());
    }

    #[test]
    fn the_pause_that_an_answer_asks_for_is_that_of_the_next_attempt_alone() {
        let retries = Retries::new(3, Duration::from_secs(20));
        let body = br#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"m","details":[
            {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"7.5s"}]}}"#;
        let status = Status::try_from(&bytes::Bytes::from_static(body)).unwrap();
        assert!(retries.on_error(&state(1, true), Error::service(status)).is_continue());
        assert_eq!(retries.on_failure(&state(1, true)), Duration::from_millis(7500));
        assert!(retries.on_error(&state(2, true), answered(503)).is_continue());
        assert!(retries.on_failure(&state(2, true)) <= LONGEST_PAUSE);
    }

    #[test]
    fn no_time_is_left_after_the_deadline() {
        let retries = Retries::new(3, Duration::ZERO);
        assert_eq!(retries.remaining_time(&state(1, true)), Some(Duration::ZERO));
    }
}
