//! One call of Cloud KMS: with its retries and deadlines, and in silence.

use std::{panic::AssertUnwindSafe, time::Duration};

use envelope_sdk::http::{ATTEMPT_TIMEOUT, ATTEMPTS_OF_A_CALL};
use futures_util::FutureExt;
use google_cloud_gax::options::RequestOptionsBuilder;
use tokio::time::{Instant, timeout_at};
use tracing::{
    Dispatch, dispatcher,
    instrument::{WithDispatch, WithSubscriber},
};

use crate::{
    error::Failed,
    retry::{Retries, counted},
};

/// How often and how long a call is attempted, and for which project it counts.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) attempts: u32,
    pub(crate) attempt: Duration,
    pub(crate) quota_project: Option<String>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { attempts: ATTEMPTS, attempt: ATTEMPT_TIMEOUT, quota_project: None }
    }
}

impl Limits {
    /// What all attempts of a call may take together.
    pub(crate) fn whole(&self) -> Duration {
        self.attempt.saturating_mul(ATTEMPTS_OF_A_CALL)
    }

    /// When a call that begins now ends.
    pub(crate) fn deadline(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.whole()).unwrap_or_else(|| now + A_DAY)
    }

    /// The request, for a call that may be attempted again.
    pub(crate) fn again<B: RequestOptionsBuilder>(&self, request: B) -> B {
        self.set(request, true)
    }

    /// The request, for a call that does something each time that it is done: it is
    /// attempted again only if it did not leave this machine.
    pub(crate) fn once<B: RequestOptionsBuilder>(&self, request: B) -> B {
        self.set(request, false)
    }

    fn set<B: RequestOptionsBuilder>(&self, request: B, idempotent: bool) -> B {
        let retries = Retries::new(self.attempts, self.whole());
        let request = request
            .with_idempotency(idempotent)
            .with_attempt_timeout(self.attempt)
            .with_retry_policy(retries.clone())
            .with_backoff_policy(retries)
            .with_retry_throttler(Retries::throttler());
        match &self.quota_project {
            Some(project) => request.with_quota_project(project),
            None => request,
        }
    }
}

/// A call that ends at the deadline and of which nothing is logged: what the client
/// and the crates below it write of a request or an answer may repeat a DEK, and
/// headers hold tokens. The client's own deadlines cover neither the credentials
/// nor the pauses.
pub(crate) trait Within<T>: Future<Output = google_cloud_gax::Result<T>> + Sized {
    async fn until(self, deadline: Instant) -> Result<T, Failed> {
        // It panics without a runtime, and where the one in which it keeps tokens fresh has ended.
        let call = AssertUnwindSafe(counted(async { timeout_at(deadline, self).await })).catch_unwind();
        match unlogged(call).await {
            Ok((Ok(Ok(answer)), _)) => Ok(answer),
            Ok((Ok(Err(error)), attempts)) => Err(Failed::Client(error, attempts)),
            Ok((Err(_), failed)) => Err(Failed::TimedOut(failed + 1)),
            Err(_) => Err(Failed::Panicked),
        }
    }
}

impl<T, F: Future<Output = google_cloud_gax::Result<T>>> Within<T> for F {}

/// A future of which nothing is logged by `tracing`.
pub(crate) fn unlogged<F: Future>(future: F) -> WithDispatch<F> {
    future.with_subscriber(Dispatch::none())
}

/// The same of work on a thread of its own.
pub(crate) fn silently<T>(work: impl FnOnce() -> T) -> T {
    dispatcher::with_default(&Dispatch::none(), work)
}

/// Attempts of a call, unless the settings say otherwise.
const ATTEMPTS: u32 = 3;
/// For a deadline that no clock has.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);
