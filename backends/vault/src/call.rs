//! One call of the API, what it may be answered with, and how often and how long it is
//! attempted.

use std::time::Duration;

use bytes::Bytes;
use envelope_sdk::{
    ProviderError,
    http::{ATTEMPT_TIMEOUT, ATTEMPTS_OF_A_CALL},
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::{
    Dispatch,
    instrument::{WithDispatch, WithSubscriber},
};
use zeroize::Zeroizing;

use crate::{
    auth::Standing,
    transport::{Came, Lost},
};

/// What is asked of the API. It goes to the path below `/v1/`.
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Such as `transit/keys/orders`: of characters that a URL holds as they are.
    pub(crate) path: String,
    /// JSON. It is wiped when the last copy of it is dropped.
    pub(crate) body: Option<Bytes>,
    /// Whether another attempt does nothing that the first did not do.
    pub(crate) is_repeatable: bool,
}

/// How a path is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Read,
    List,
    /// What Vault calls create and update.
    Write,
    Delete,
}

impl Call {
    /// Reads a path.
    pub(crate) fn read(path: impl Into<String>) -> Self {
        Self::new(Method::Read, path, true)
    }

    /// Lists what is below a path.
    pub(crate) fn list(path: impl Into<String>) -> Self {
        Self::new(Method::List, path, true)
    }

    /// Writes to a path, once: what it does may not be done twice.
    pub(crate) fn write(path: impl Into<String>) -> Self {
        Self::new(Method::Write, path, false)
    }

    /// Deletes what a path names, once.
    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::Delete, path, false)
    }

    fn new(method: Method, path: impl Into<String>, is_repeatable: bool) -> Self {
        Self { method, path: path.into(), body: None, is_repeatable }
    }

    /// Says that doing it twice is doing it once.
    pub(crate) fn repeatable(mut self) -> Self {
        self.is_repeatable = true;
        self
    }

    /// With what is no secret, as JSON.
    pub(crate) fn json(self, body: &impl Serialize) -> Self {
        // Maps with names that are texts, which JSON always has a place for.
        self.body(Zeroizing::new(serde_json::to_vec(body).unwrap_or_default()))
    }

    /// With JSON that may hold secrets.
    pub(crate) fn body(mut self, body: Zeroizing<Vec<u8>>) -> Self {
        self.body = Some(Bytes::from_owner(body));
        self
    }

    /// The capability that a policy must give for it.
    pub(crate) fn capability(&self) -> &'static str {
        match self.method {
            Method::Read => "read",
            Method::List => "list",
            Method::Write => "update",
            Method::Delete => "delete",
        }
    }
}

/// An answer of status 200 to 299.
pub(crate) struct Answer {
    pub(crate) body: Zeroizing<Vec<u8>>,
}

#[derive(Deserialize)]
struct WithData<T> {
    data: T,
}

impl Answer {
    /// What it holds. Texts that are secret are borrowed, and so wiped with the answer.
    ///
    /// `None` when it is not that.
    pub(crate) fn read<'a, T: Deserialize<'a>>(&'a self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }

    /// What it holds under `data`.
    pub(crate) fn data<'a, T: Deserialize<'a>>(&'a self) -> Option<T> {
        self.read().map(|WithData { data }| data)
    }
}

/// An answer of another status.
pub(crate) struct Refused {
    pub(crate) status: u16,
    /// What Vault says, to be compared with what is known, and never to be shown.
    /// `None` where the answer is not in Vault's form.
    pub(crate) errors: Option<Vec<String>>,
    pub(crate) retry_after: Option<Duration>,
    /// How often the call was attempted.
    pub(crate) attempts: u32,
    pub(crate) body: Zeroizing<Vec<u8>>,
    /// Of the token, where that was looked at.
    pub(crate) standing: Standing,
}

#[derive(Deserialize)]
struct Said {
    errors: Vec<String>,
}

impl Refused {
    pub(crate) fn new(came: Came, attempts: u32) -> Self {
        let Came { status, retry_after, body, .. } = came;
        let errors = serde_json::from_slice(&body).ok().map(|Said { errors }| errors);
        Self { status, errors, retry_after, attempts, body, standing: Standing::Unknown }
    }

    /// Whether a role id or a secret id is refused, which Vault 1.13.0 takes for trouble of its own. They are not shown
    /// again, since tries are counted.
    pub(crate) fn is_of_credentials(&self) -> bool {
        self.says("invalid role") || self.says("invalid secret id")
    }

    /// Whether one of Vault's errors contains these words.
    pub(crate) fn says(&self, words: &str) -> bool {
        self.errors.iter().flatten().any(|error| error.contains(words))
    }
}

/// Why a call came to nothing, and after how many attempts.
pub(crate) enum Failed {
    /// The server answered, and did not do it.
    Refused(Refused),
    /// There was no answer.
    Lost(Lost, u32),
    /// The time limit of all attempts passed.
    TimedOut(u32),
    /// There is no runtime, or that has ended in which the call was made.
    NoRuntime,
    /// It was not made: settings, files, or the login.
    NotMade(ProviderError),
}

impl Failed {
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(refused) => Some(refused.status),
            _ => None,
        }
    }

    /// How often it was attempted.
    pub(crate) fn attempts(&self) -> u32 {
        match self {
            Self::Refused(refused) => refused.attempts,
            Self::Lost(_, attempts) | Self::TimedOut(attempts) => *attempts,
            Self::NoRuntime => 1,
            Self::NotMade(error) => error.attempts(),
        }
    }

    /// The pause that the server asks for.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refused) => refused.retry_after,
            Self::NotMade(error) => error.retry_after(),
            Self::Lost(..) | Self::TimedOut(_) | Self::NoRuntime => None,
        }
    }

    /// Whether the server says so.
    pub(crate) fn says(&self, words: &str) -> bool {
        matches!(self, Self::Refused(refused) if refused.says(words))
    }

    /// Whether a call that was attempted once may have been done, although it ended
    /// so: its answer was lost.
    pub(crate) fn may_be_done(&self) -> bool {
        match self {
            Self::Refused(refused) => refused.status == 408 || refused.status >= 500 && !refused.says(SEALED),
            Self::Lost(lost, _) => lost.may_be_done(),
            Self::TimedOut(_) | Self::NoRuntime => true,
            Self::NotMade(_) => false,
        }
    }

    /// Whether another attempt may help: trouble of the server or of the way, and not
    /// what is said of the request.
    pub(crate) fn is_worth_a_retry(&self) -> bool {
        match self {
            Self::Refused(refused) => WORTH_A_RETRY.contains(&refused.status) && !refused.is_of_credentials(),
            Self::Lost(lost, _) => matches!(lost, Lost::NotReached | Lost::TimedOut | Lost::BrokeOff),
            Self::TimedOut(_) | Self::NoRuntime | Self::NotMade(_) => false,
        }
    }
}

/// How often and how long a call is attempted.
#[derive(Debug, Clone, Copy)]
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
    /// What all attempts of a call may take together, login and pauses included.
    pub(crate) fn whole(&self) -> Duration {
        self.attempt.saturating_mul(ATTEMPTS_OF_A_CALL)
    }

    pub(crate) fn deadline(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.whole()).unwrap_or(now + A_DAY)
    }
}

/// The pauses between attempts.
pub(crate) struct Pauses(Duration);

impl Pauses {
    pub(crate) fn new() -> Self {
        Self(FIRST_PAUSE)
    }

    /// How long to wait after this failure, if another attempt may help and there is
    /// time for it: never less than the server wants.
    pub(crate) fn after(&mut self, failed: &Failed, deadline: Instant) -> Option<Duration> {
        if !failed.is_worth_a_retry() {
            return None;
        }
        let wait = failed.retry_after().unwrap_or_default().max(self.0);
        self.0 = self.0.saturating_mul(2).min(LONGEST_PAUSE);
        let in_time = Instant::now().checked_add(wait).is_some_and(|then| then < deadline);
        (wait <= LONGEST_WAIT && in_time).then_some(wait)
    }
}

/// A future of which nothing is logged by `tracing`: what the crates below write of a
/// request or an answer may repeat a DEK, and headers hold tokens.
pub(crate) fn unlogged<F: Future>(future: F) -> WithDispatch<F> {
    future.with_subscriber(Dispatch::none())
}

/// What a sealed server says, or OpenBao of a sealed namespace.
pub(crate) const SEALED: &str = " is sealed";
/// Attempts of a call, unless the settings say otherwise.
const ATTEMPTS: u32 = 3;
/// 412: a performance standby does not have yet what an earlier answer spoke of. 472 and 473: what a
/// load balancer that repeats health checks says of standbys.
const WORTH_A_RETRY: [u16; 9] = [408, 412, 429, 472, 473, 500, 502, 503, 504];
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// What is waited for at a server's wish.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// For a deadline that no clock has.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);
