//! What an error of Azure means. No word of an answer is ever shown: a server, or who
//! stands before one, may repeat in any of them (message, code, header) the DEK that
//! it was sent. Nor is an error of the client ever printed: it holds the answer. Shown
//! are the status, the codes that stand in a list here, and our own words for each.
//!
//! | Azure says | Kind | Retry |
//! |---|---|---|
//! | 400 to what opens | `Unauthentic` | no |
//! | 400 otherwise | `Invalid` | no |
//! | 401; 403 of roles, access policies and network rules; credentials that are missing, refused or expired | `AccessDenied` | no |
//! | 403 of a disabled, expired or not yet valid key; 409 | `State` | no |
//! | 404 | `NotFound`; `State` of a key that is deleted and can be recovered | no |
//! | 429 | `Throttled` | yes |
//! | 408, 5xx, no connection or a broken one, time limit passed; of the source of the credentials too | `Unavailable` | yes |
//! | 501 | `Unsupported` | no |
//! | settings or credentials that cannot be | `Invalid` | no |
//! | an answer without what it must hold, of another key, or that cannot be read; a challenge for another service | `Protocol` | no |
//! | anything else | `Other` | no |

pub(crate) mod words;

use azure_core::{Error, error::ErrorKind};
use envelope_sdk::{
    KeyUri, ProviderError,
    ProviderErrorKind::{
        self, AccessDenied, Invalid, NotFound, Other, Protocol, Throttled, Unauthentic, Unavailable,
        Unsupported,
    },
    http::{NOT_IMPLEMENTED, find_cause, kind_of_status},
};
use serde::Deserialize;

use crate::{
    call::{Failed, answer_of, is_of_credentials, may_help},
    credentials::WrongAudience,
    failure::{NO_RUNTIME, failure},
    transport::Lost,
};

/// A call, as an error of it speaks: what the caller needs for it.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    /// The data action, such as `keys/read`.
    pub(crate) action: &'static str,
    /// The narrowest role of a vault that has it, and of a managed HSM.
    pub(crate) roles: (&'static str, &'static str),
}

impl Call {
    pub(crate) const fn new(action: &'static str, vault: &'static str, hsm: &'static str) -> Self {
        Self { action, roles: (vault, hsm) }
    }
}

/// The error of a call.
pub(crate) fn refusal<'k>(call: Call, key: impl Into<Option<&'k KeyUri>>, failed: &Failed) -> ProviderError {
    reason(call, key.into(), failed).with_attempts(failed.attempts()).with_retry_after(failed.retry_after())
}

fn reason(call: Call, key: Option<&KeyUri>, failed: &Failed) -> ProviderError {
    let error = match failed {
        Failed::Client(error, _) => error,
        Failed::TimedOut(_) => return failure(Unavailable, key, NOT_IN_TIME),
        Failed::Panicked => return failure(Other, key, NO_RUNTIME),
        Failed::NoTokenAccepted => return answered(key, 401),
    };
    if find_cause::<WrongAudience>(error).is_some() {
        return failure(Protocol, key, OTHER_AUDIENCE);
    }
    if is_of_credentials(error) {
        let (kind, words) = if may_help(error) {
            (Unavailable, words::NO_CREDENTIALS_NOW)
        } else {
            (AccessDenied, words::NO_CREDENTIALS)
        };
        return failure(kind, key, words);
    }
    if let Some(lost) = find_cause::<Lost>(error) {
        return of_way(key, *lost);
    }
    if let Some((status, _)) = answer_of(error) {
        return said(call, key, status, &codes(error));
    }
    match error.kind() {
        ErrorKind::DataConversion => failure(Protocol, key, UNREADABLE),
        ErrorKind::Io | ErrorKind::Connection => failure(Unavailable, key, BROKE_OFF),
        _ => failure(Protocol, key, OTHER_AUDIENCE),
    }
}

/// The error of a call that opens: what Azure says of a wrap that does not fit is the
/// same as what it says of a request that cannot be. Whatever stands before a vault says nothing of wraps.
pub(crate) fn refusal_to_open(call: Call, key: &KeyUri, failed: &Failed) -> ProviderError {
    match failed {
        Failed::Client(error, _) if failed.status() == Some(400) && codes(error).is_some() => {
            failure(Unauthentic, key, UNAUTHENTIC)
        }
        _ => refusal(call, key, failed),
    }
}

/// The same error of a call that must not be repeated before somebody looked whether
/// it was done, and how to look.
pub(crate) fn unsure(error: &ProviderError, look: &str) -> ProviderError {
    let message = format!("{}. It is not known whether it was done all the same: {look}", error.message());
    failure(error.kind(), error.key(), message).retryable(false)
}

fn of_way(key: Option<&KeyUri>, lost: Lost) -> ProviderError {
    let (kind, words) = match lost {
        Lost::NotReached => (Unavailable, NOT_REACHED),
        Lost::Certificate => (AccessDenied, CERTIFICATE),
        Lost::Unwritable => (
            Invalid,
            "the token has characters that no header has, and was not sent: correct the source of the credentials",
        ),
        Lost::TimedOut => (Unavailable, NOT_IN_TIME),
        Lost::BrokeOff => (Unavailable, BROKE_OFF),
        Lost::TooLong => (Protocol, "the answer of the vault has no end: do not trust what stands between"),
        Lost::Elsewhere => (
            Protocol,
            "the vault names another host to go on at, which is not asked: do not trust what stands between",
        ),
        Lost::Redirect => {
            (Other, "what stands at the address of the vault answered with a redirect, which is not followed")
        }
    };
    failure(kind, key, words)
}

/// What Azure's form of an error has for us. Its words are read, and never shown.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Said {
    code: Option<String>,
    message: Option<String>,
    innererror: Option<Box<Said>>,
}

#[derive(Deserialize)]
struct Answer {
    error: Said,
}

/// `None` where the answer is no error in Azure's form.
fn codes(error: &Error) -> Option<Said> {
    let mut found = None;
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(ErrorKind::HttpResponse { raw_response: Some(answer), .. }) =
            error.downcast_ref::<Error>().map(Error::kind)
        {
            found = serde_json::from_slice::<Answer>(answer.body().as_ref()).ok().map(|answer| answer.error);
        }
        next = error.source();
    }
    found
}

fn said(call: Call, key: Option<&KeyUri>, status: u16, said: &Option<Said>) -> ProviderError {
    let Some(said) = said else { return answered(key, status) };
    // The innermost code says most.
    let mut code = None;
    let mut next = Some(said);
    while let Some(said) = next {
        code = said.code.as_deref().and_then(words::known_code).or(code);
        next = said.innererror.as_deref();
    }
    if let Some((code, kind, what)) = code
        && !what.is_empty()
        // A code that contradicts the status does not turn a refusal into something else.
        && (kind_of_status(status) == *kind || *kind == ProviderErrorKind::State)
    {
        return failure(*kind, key, format!("{what} (status {status}, {code})"));
    }
    if status == 403
        && let Some(what) = said.message.as_deref().and_then(words::of_state)
    {
        return failure(ProviderErrorKind::State, key, format!("{what} (status {status})"));
    }
    let (kind, what) = match status {
        400 => (Invalid, words::INVALID.to_owned()),
        401 => (AccessDenied, words::UNAUTHENTICATED.to_owned()),
        403 => (AccessDenied, denied(call)),
        404 => (NotFound, words::NOT_FOUND.to_owned()),
        409 | 412 => (
            ProviderErrorKind::State,
            "something else is done to the key, or its name is taken: describe it".to_owned(),
        ),
        429 => (Throttled, words::FEWER.to_owned()),
        NOT_IMPLEMENTED => (Unsupported, "this server does not know the call".to_owned()),
        408 | 500..=599 => (Unavailable, "the vault is in trouble, and said so at each attempt".to_owned()),
        _ => (Other, "the vault answered with an error that this version does not know".to_owned()),
    };
    failure(kind, key, format!("{what} (status {status})"))
}

fn denied(call: Call) -> String {
    let Call { action, roles: (vault, hsm) } = call;
    format!(
        "Azure refuses the caller. It needs the data action {action} on this key, as the role {vault} of a vault, or {hsm} of \
         a managed HSM, has it; a new role counts after some minutes"
    )
}

/// An answer that is no error in Azure's form. Whatever stands before a vault does not
/// know which keys there are, nor in which state.
fn answered(key: Option<&KeyUri>, status: u16) -> ProviderError {
    if status == 401 {
        return failure(AccessDenied, key, format!("{} (status {status})", words::UNAUTHENTICATED));
    }
    let message = format!(
        "what stands at the address of the vault answered with status {status}, and not as Azure does"
    );
    let kind = match status {
        400 | 404 | 409 | 410 | 412 => Other,
        status => kind_of_status(status),
    };
    failure(kind, key, message)
}

const UNAUTHENTIC: &str = "the context is another one, or the wrapped DEK was changed or made by another key";
const NOT_IN_TIME: &str = "the vault, or the source of the credentials for it, did not answer in time";
const NOT_REACHED: &str =
    "the vault cannot be reached: see its name, the network, the proxy and the private endpoint";
const CERTIFICATE: &str = "the certificate of what answers at the vault's address is not trusted: see who stands between, and \
                           ca-file where a certificate authority of your own is meant to";
const BROKE_OFF: &str = "the connection to the vault was lost before the whole answer was there";
const UNREADABLE: &str = "the answer of the vault cannot be read: do not trust what stands between";
const OTHER_AUDIENCE: &str = "what answers at the vault's address asks for a token for another service, or for none that is \
                              known: it got none; do not trust what stands between";
