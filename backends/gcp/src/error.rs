//! What an error of Cloud KMS means. No word of an answer is ever shown: a server,
//! or who stands before one, may repeat in any of them (message, detail, header)
//! the DEK that it was sent. Nor is an error of the client ever printed: it holds
//! the answer. Shown are the status, the codes and reasons that stand in a list
//! here, and our own words for each.
//!
//! | Google says | Kind | Retry |
//! |---|---|---|
//! | `INVALID_ARGUMENT` to Decrypt | `Unauthentic` | no |
//! | `INVALID_ARGUMENT` otherwise, `ALREADY_EXISTS`, `OUT_OF_RANGE` | `Invalid` | no |
//! | `NOT_FOUND` | `NotFound` | no |
//! | `PERMISSION_DENIED`, `UNAUTHENTICATED`, missing, refused or expired credentials | `AccessDenied` | no |
//! | `FAILED_PRECONDITION`: a version that is disabled, scheduled for destruction, … | `State` | no |
//! | `RESOURCE_EXHAUSTED`, status 429 | `Throttled` | yes |
//! | `UNAVAILABLE`, `DEADLINE_EXCEEDED`, `INTERNAL`, `UNKNOWN`, `ABORTED`, `CANCELLED`, status 5xx, no connection or a broken one, time limit passed; of the source of the credentials too | `Unavailable` | yes |
//! | `UNIMPLEMENTED`, status 501 | `Unsupported` | no |
//! | settings, or credentials, that cannot be | `Invalid` | no |
//! | an answer without what it must hold, or that cannot be read; a checksum that does not fit after each attempt | `Protocol` | no |
//! | anything else | `Other` | no |

mod words;

use std::{error::Error as _, time::Duration};

use envelope_sdk::{
    KeyUri, ProviderError,
    ProviderErrorKind::{
        self, AccessDenied, Invalid, NotFound, Other, Protocol, State, Throttled, Unauthentic, Unavailable,
        Unsupported,
    },
    http::{NOT_IMPLEMENTED, find_cause, kind_of_status},
};
use google_cloud_gax::error::{
    CredentialsError, Error,
    rpc::{Code, Status, StatusDetails},
};

use crate::retry::retry_delay;

/// A call, as an error of it speaks: what the caller needs for it.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    /// The permission, such as `cloudkms.cryptoKeys.get`.
    pub(crate) permission: &'static str,
    /// The narrowest role of Google's that has it.
    pub(crate) role: &'static str,
}

impl Call {
    pub(crate) const fn new(permission: &'static str, role: &'static str) -> Self {
        Self { permission, role }
    }
}

/// Why a call came to nothing, and after how many attempts.
pub(crate) enum Failed {
    /// What the client says.
    Client(Error, u32),
    /// The time limit of all attempts passed.
    TimedOut(u32),
    /// The client panicked.
    Panicked,
}

impl Failed {
    /// The status that Google answered with.
    fn status(&self) -> Option<&Status> {
        match self {
            Self::Client(error, _) => innermost(error).status(),
            Self::TimedOut(_) | Self::Panicked => None,
        }
    }

    /// How often it was attempted.
    fn attempts(&self) -> u32 {
        match self {
            Self::Client(_, attempts) | Self::TimedOut(attempts) => *attempts,
            Self::Panicked => 1,
        }
    }

    /// The pause that Google asks for.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Client(error, _) => retry_delay(innermost(error)),
            Self::TimedOut(_) | Self::Panicked => None,
        }
    }

    /// Whether Google says that a checksum of the request does not fit: something
    /// on the way changed it.
    pub(crate) fn is_corruption(&self) -> bool {
        self.status().is_some_and(|status| {
            status.code == Code::InvalidArgument
                && words::has(&status.message, "checksum")
                && words::has(&status.message, "did not match")
        })
    }

    /// Whether the call had no credentials, their source failed, or the client is broken: the
    /// next one makes another.
    pub(crate) fn lacks_credentials(&self) -> bool {
        match self {
            Self::Client(error, _) => innermost(error).is_authentication(),
            Self::Panicked => true,
            Self::TimedOut(_) => false,
        }
    }

    /// Whether the request never left this machine.
    pub(crate) fn was_not_sent(&self) -> bool {
        matches!(self, Self::Client(error, _) if innermost(error).is_connect())
    }

    /// Whether there is something already of the name that was asked for.
    pub(crate) fn is_taken(&self) -> bool {
        self.status().is_some_and(|status| status.code == Code::AlreadyExists)
    }

    /// Whether a call that was attempted once may have been done, although it
    /// ended so: its answer was lost.
    pub(crate) fn may_be_done(&self) -> bool {
        let Self::Client(error, _) = self else { return true };
        let error = innermost(error);
        if error.is_authentication() || error.is_connect() || error.is_binding() || error.is_serialization() {
            return false;
        }
        match (error.status(), error.http_status_code()) {
            (Some(status), _) => matches!(
                status.code,
                Code::Unavailable | Code::DeadlineExceeded | Code::Internal | Code::Unknown | Code::Cancelled
            ),
            (None, Some(status)) => status == 408 || !(300..500).contains(&status),
            (None, None) => true,
        }
    }
}

/// An error of this provider, about `key` if it is about one.
pub(crate) fn failure<'k>(
    kind: ProviderErrorKind,
    key: impl Into<Option<&'k KeyUri>>,
    message: impl Into<String>,
) -> ProviderError {
    let error = ProviderError::without_key(kind, NAME, message);
    match key.into() {
        Some(key) => error.about(key),
        None => error,
    }
}

/// The error of a call.
pub(crate) fn refusal<'k>(call: Call, key: impl Into<Option<&'k KeyUri>>, failed: &Failed) -> ProviderError {
    reason(call, key.into(), failed).with_attempts(failed.attempts()).with_retry_after(failed.retry_after())
}

fn reason(call: Call, key: Option<&KeyUri>, failed: &Failed) -> ProviderError {
    let error = match failed {
        Failed::Client(error, _) => innermost(error),
        Failed::TimedOut(_) => return failure(Unavailable, key, NOT_IN_TIME),
        Failed::Panicked => return failure(Other, key, PANICKED),
    };
    if error.is_authentication() {
        return no_credentials(key, error);
    }
    if let Some(status) = error.status() {
        return said(call, key, status);
    }
    if let Some(status) = error.http_status_code() {
        return answered(key, status);
    }
    if error.is_timeout() {
        return failure(Unavailable, key, NOT_IN_TIME);
    }
    if error.is_connect() {
        return failure(Unavailable, key, NOT_REACHED);
    }
    if error.is_io() {
        return failure(Unavailable, key, BROKE_OFF);
    }
    if error.is_deserialization() {
        return failure(Protocol, key, UNREADABLE);
    }
    if error.is_binding() || error.is_serialization() {
        return failure(Invalid, key, "the request to Cloud KMS cannot be made of these names");
    }
    failure(Other, key, "the call to Cloud KMS failed, and its client does not say how")
}

/// The error of a call that opens: what Google says of a wrap that does not fit is
/// the same as what it says of a request that cannot be.
pub(crate) fn refusal_to_open(call: Call, key: &KeyUri, failed: &Failed) -> ProviderError {
    match failed.status() {
        Some(status) if status.code == Code::InvalidArgument => failure(Unauthentic, key, UNAUTHENTIC),
        _ => refusal(call, key, failed),
    }
}

/// The same error of a call that must not be repeated before somebody looked
/// whether it was done, and how to look.
pub(crate) fn unsure(error: &ProviderError, look: &str) -> ProviderError {
    let message = format!("{}. It is not known whether it was done all the same: {look}", error.message());
    failure(error.kind(), error.key(), message).retryable(false)
}

/// The client wraps the last error of several attempts.
fn innermost(error: &Error) -> &Error {
    let mut inner = error;
    let mut next = error.source();
    while let Some(source) = next {
        if let Some(found) = source.downcast_ref::<Error>() {
            // An error of the source of credentials is one of them, not of the call.
            if inner.is_authentication() {
                break;
            }
            inner = found;
        }
        next = source.source();
    }
    inner
}

fn no_credentials(key: Option<&KeyUri>, error: &Error) -> ProviderError {
    let transient = find_cause::<CredentialsError>(error).is_some_and(CredentialsError::is_transient);
    if transient {
        return failure(Unavailable, key, words::NO_CREDENTIALS_NOW);
    }
    failure(AccessDenied, key, words::NO_CREDENTIALS)
}

fn said(call: Call, key: Option<&KeyUri>, status: &Status) -> ProviderError {
    let code = status.code.name();
    let reason = status.details.iter().find_map(|detail| match detail {
        StatusDetails::ErrorInfo(info) => words::known_reason(&info.reason),
        _ => None,
    });
    if let Some((reason, kind, what)) = reason {
        return failure(*kind, key, format!("{what} ({code}, {reason})"));
    }
    let (kind, what) = match &status.code {
        Code::InvalidArgument => (Invalid, words::INVALID.to_owned()),
        Code::OutOfRange => (Invalid, words::INVALID.to_owned()),
        Code::AlreadyExists => (Invalid, words::TAKEN.to_owned()),
        Code::NotFound => (NotFound, words::NOT_FOUND.to_owned()),
        Code::PermissionDenied => (AccessDenied, denied(call, key)),
        Code::Unauthenticated => (AccessDenied, words::UNAUTHENTICATED.to_owned()),
        Code::FailedPrecondition => (State, words::of_state(&status.message).to_owned()),
        Code::ResourceExhausted => (Throttled, words::FEWER.to_owned()),
        Code::Unimplemented => (Unsupported, "this server does not know the call".to_owned()),
        Code::DataLoss => (Protocol, "Google says that it lost data".to_owned()),
        Code::Aborted => (Unavailable, "something else is done to the key: try again later".to_owned()),
        Code::Unavailable | Code::DeadlineExceeded | Code::Internal | Code::Unknown | Code::Cancelled => {
            (Unavailable, "Cloud KMS is in trouble, and said so at each attempt".to_owned())
        }
        _ => (Other, "Cloud KMS answered with an error that this version does not know".to_owned()),
    };
    failure(kind, key, format!("{what} ({code})"))
}

fn denied(call: Call, key: Option<&KeyUri>) -> String {
    let Call { permission, role } = call;
    match key {
        Some(_) => format!(
            "Google refuses the caller, or there is no such key. The caller needs {permission} on this key, as {role} \
             has it"
        ),
        None => format!(
            "Google refuses the caller, or there is no such key ring or location. The caller needs {permission}, as {role} has it"
        ),
    }
}

/// An answer that is not one of Google's: no error in its form.
fn answered(key: Option<&KeyUri>, status: u16) -> ProviderError {
    if (300..400).contains(&status) {
        let message = format!(
            "what stands at the endpoint of Cloud KMS answered with a redirect (status {status}), which is not followed: \
             correct the endpoint"
        );
        return failure(Other, key, message);
    }
    if status == NOT_IMPLEMENTED {
        return failure(Unsupported, key, format!("this server does not know the call (status {status})"));
    }
    let message = format!(
        "what stands at the endpoint of Cloud KMS answered with status {status}, and not as Google does"
    );
    failure(kind_of(status), key, message)
}

/// What a status means without an error in Google's form. Whatever stands before
/// Google does not know which keys there are, nor in which state.
fn kind_of(status: u16) -> ProviderErrorKind {
    match status {
        400 | 404 | 409 | 410 | 412 => Other,
        status => kind_of_status(status),
    }
}

pub(crate) const NAME: &str = "gcp";

const UNAUTHENTIC: &str = "the context is another one, or the wrapped DEK was changed or made by another key";
const NOT_IN_TIME: &str = "Cloud KMS, or the source of the credentials for it, did not answer in time";
const PANICKED: &str = "Google's client failed: the tokio runtime of an earlier call has ended, or there is none. Call again, \
                        within one that lives as long as this provider";
const NOT_REACHED: &str =
    "Cloud KMS cannot be reached: see the network, the proxy and the endpoint, if one is set";
const BROKE_OFF: &str = "the connection to Cloud KMS was lost before the whole answer was there";
const UNREADABLE: &str = "the answer of Cloud KMS cannot be read: do not trust what stands between";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_without_an_error_of_google_says_nothing_of_keys() {
        for (status, kind) in [
            (200, Protocol),
            (302, Other),
            (400, Other),
            (403, AccessDenied),
            (404, Other),
            (409, Other),
            (410, Other),
            (412, Other),
            (418, Other),
            (429, Throttled),
            (500, Unavailable),
            (501, Unsupported),
            (503, Unavailable),
        ] {
            assert_eq!(answered(None, status).kind(), kind, "{status}");
        }
    }

    #[test]
    fn what_was_refused_was_not_done_and_what_was_lost_may_be() {
        let of = |error: Error| Failed::Client(error, 1).may_be_done();
        let status = |code: Code| Error::service(Status::default().set_code(code));
        assert!(Failed::TimedOut(1).may_be_done());
        assert!(of(Error::io("x")) && of(Error::timeout("x")) && of(Error::deser("x")));
        assert!(of(status(Code::Internal)) && of(status(Code::Unavailable)));
        assert!(!of(Error::connect("x")) && !of(status(Code::PermissionDenied)));
        assert!(!of(status(Code::AlreadyExists)) && !of(Error::binding("x")));
        assert!(!of(Error::authentication(CredentialsError::from_msg(true, "x"))));
        let http = |status| of(Error::http(status, Default::default(), Default::default()));
        assert!(http(502) && http(408) && !http(400) && !http(307));
    }
}
