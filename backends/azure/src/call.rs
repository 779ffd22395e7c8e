//! One call: with its retries and deadlines, and in silence.

use std::{panic::AssertUnwindSafe, time::Duration};

use azure_core::{Error, error::ErrorKind, http::headers::Headers};
use envelope_sdk::http::{self, ATTEMPT_TIMEOUT, ATTEMPTS_OF_A_CALL, find_cause};
use futures_util::FutureExt;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep, timeout_at},
};
use tracing::{
    Dispatch, dispatcher,
    instrument::{WithDispatch, WithSubscriber},
};

use crate::{
    credentials::{Got, Wanted, no_token},
    transport::Lost,
};

/// Why a call came to nothing, and after how many attempts.
pub(crate) enum Failed {
    /// What the client says.
    Client(Error, u32),
    /// The time limit of all attempts passed.
    TimedOut(u32),
    /// There is no runtime, or that has ended in which the call was made.
    Panicked,
    /// The vault accepts no token, the one that was asked for upon that neither.
    NoTokenAccepted,
}

impl Failed {
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Client(error, _) if !is_of_credentials(error) => answer_of(error).map(|(status, _)| status),
            Self::NoTokenAccepted => Some(401),
            _ => None,
        }
    }

    /// How often it was attempted.
    pub(crate) fn attempts(&self) -> u32 {
        match self {
            Self::Client(_, attempts) | Self::TimedOut(attempts) => *attempts,
            Self::Panicked | Self::NoTokenAccepted => 1,
        }
    }

    /// The pause that the server asks for.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Client(error, _) => retry_after(error),
            _ => None,
        }
    }

    /// Whether there is no such thing.
    pub(crate) fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// Whether a call that was attempted once may have been done, although it ended
    /// so: its answer was lost.
    pub(crate) fn may_be_done(&self) -> bool {
        let error = match self {
            Self::Client(error, _) => error,
            Self::TimedOut(_) | Self::Panicked => return true,
            Self::NoTokenAccepted => return false,
        };
        if is_of_credentials(error) {
            return false;
        }
        match find_cause::<Lost>(error) {
            Some(Lost::NotReached | Lost::Certificate | Lost::Unwritable | Lost::Elsewhere) => return false,
            Some(_) => return true,
            None => {}
        }
        match self.status() {
            Some(status) => status == 408 || !(300..500).contains(&status),
            None => true,
        }
    }
}

/// How often and how long a call is attempted. The client's own retries are off: they
/// wait as long as a server wants.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) attempts: u32,
    pub(crate) attempt: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { attempts: ATTEMPTS, attempt: ATTEMPT_TIMEOUT }
    }
}

impl Limits {
    /// What all attempts of a call may take together, credentials and pauses included.
    pub(crate) fn whole(&self) -> Duration {
        self.attempt.saturating_mul(ATTEMPTS_OF_A_CALL)
    }

    fn deadline(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.whole()).unwrap_or(now + A_DAY)
    }

    /// A call that may be attempted again.
    pub(crate) async fn again<T, F>(&self, call: impl FnMut() -> F) -> Result<T, Failed>
    where
        F: Future<Output = azure_core::Result<T>>,
    {
        self.attempt(self.attempts, call).await
    }

    /// A call that does something each time that it is done.
    pub(crate) async fn once<T, F>(&self, call: impl FnMut() -> F) -> Result<T, Failed>
    where
        F: Future<Output = azure_core::Result<T>>,
    {
        self.attempt(1, call).await
    }

    async fn attempt<T, F>(&self, attempts: u32, mut call: impl FnMut() -> F) -> Result<T, Failed>
    where
        F: Future<Output = azure_core::Result<T>>,
    {
        if Handle::try_current().is_err() {
            return Err(Failed::Panicked);
        }
        let deadline = self.deadline();
        let mut pause = FIRST_PAUSE;
        let (mut done, mut asked, mut robbed) = (0, 0, 0);
        loop {
            // It panics in a runtime without time or I/O, and where the one has ended in which it was made.
            let attempt = AssertUnwindSafe(timeout_at(deadline, call())).catch_unwind();
            let mut error = match unlogged(attempt).await {
                Ok(Ok(Ok(answer))) => return Ok(answer),
                Ok(Ok(Err(error))) => error,
                Ok(Err(_)) => return Err(Failed::TimedOut(done + 1)),
                Err(_) => return Err(Failed::Panicked),
            };
            if let Some(wanted) = find_cause::<Wanted>(&error).cloned() {
                if asked == MOST_TOKENS {
                    return Err(Failed::NoTokenAccepted);
                }
                asked += 1;
                match timeout_at(deadline, wanted.ask()).await {
                    Ok(Got::Token) => continue,
                    Ok(Got::No(why)) => error = no_token(why),
                    Ok(Got::Gone) => {
                        // It was asked for by another call, in a runtime that has ended.
                        asked -= 1;
                        continue;
                    }
                    Ok(Got::Late) | Err(_) => return Err(Failed::TimedOut(done + 1)),
                    Ok(Got::Panicked) => return Err(Failed::Panicked),
                }
            } else if is_of_credentials(&error) && robbed < MOST_ROBBED {
                // The client threw the token away that it had just been given, upon another call's challenge.
                robbed += 1;
                continue;
            } else if asked < MOST_TOKENS && !is_of_credentials(&error) && is_unauthorized(&error) {
                // The client heeds one challenge in a call, and that was the one of a request without a token: this
                // token was had by another call, and is thrown away. Nothing was done.
                asked += 1;
                continue;
            }
            done += 1;
            if done >= attempts || !may_help(&error) {
                return Err(Failed::Client(error, done));
            }
            // Never earlier than the server wants. What it wants too late is not waited for.
            let wait = retry_after(&error).unwrap_or(pause).max(pause);
            let too_late = Instant::now().checked_add(wait).is_none_or(|then| then >= deadline);
            if wait > LONGEST_WAIT || too_late {
                return Err(Failed::Client(error, done));
            }
            sleep(wait).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }
}

/// A future of which nothing is logged by `tracing`: what the client and the crates
/// below it write of a request or an answer may repeat a DEK, and headers hold tokens.
pub(crate) fn unlogged<F: Future>(future: F) -> WithDispatch<F> {
    future.with_subscriber(Dispatch::none())
}

/// The same of work on a thread of its own.
pub(crate) fn silently<T>(work: impl FnOnce() -> T) -> T {
    dispatcher::with_default(&Dispatch::none(), work)
}

/// Whether another attempt may help: trouble of the server or of the way, and not
/// what is said of the request.
pub(crate) fn may_help(error: &Error) -> bool {
    match find_cause::<Lost>(error) {
        Some(Lost::NotReached | Lost::TimedOut | Lost::BrokeOff) => return true,
        Some(Lost::Certificate | Lost::Unwritable | Lost::TooLong | Lost::Elsewhere | Lost::Redirect) => {
            return false;
        }
        None => {}
    }
    answer_of(error).is_some_and(|(status, _)| WORTH_A_RETRY.contains(&status))
}

/// The status and the headers of the answer that is the innermost cause of an error.
pub(crate) fn answer_of(error: &Error) -> Option<(u16, Option<&Headers>)> {
    let mut found = None;
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(ErrorKind::HttpResponse { status, raw_response, .. }) =
            error.downcast_ref::<Error>().map(Error::kind)
        {
            found = Some((u16::from(*status), raw_response.as_ref().map(|answer| answer.headers())));
        }
        next = error.source();
    }
    found
}

fn is_unauthorized(error: &Error) -> bool {
    answer_of(error).is_some_and(|(status, _)| status == 401)
}

/// The pause that the server asks for, in seconds.
/// <https://learn.microsoft.com/azure/key-vault/general/overview-throttling>.
fn retry_after(error: &Error) -> Option<Duration> {
    let (_, headers) = answer_of(error)?;
    http::retry_after(headers?.iter().find(|(name, _)| name.as_str() == "retry-after")?.1.as_str())
}

/// Whether the token was not had; not what a vault says of it.
pub(crate) fn is_of_credentials(error: &Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<Error>().is_some_and(|error| *error.kind() == ErrorKind::Credential) {
            return true;
        }
        next = error.source();
    }
    false
}

/// Attempts of a call, unless the settings say otherwise.
const ATTEMPTS: u32 = 3;
/// How often one call waits for a token: the first one, another where the vault does not accept that, and one
/// more, since what another call was refused is thrown away too.
const MOST_TOKENS: u32 = 3;
/// How often a call is made again since the client lost its token.
const MOST_ROBBED: u32 = 64;
const WORTH_A_RETRY: [u16; 6] = [408, 429, 500, 502, 503, 504];
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// What is waited for at a server's wish.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// For a deadline that no clock has.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);
