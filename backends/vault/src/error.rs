//! What an error of Vault means. No word of an answer is ever shown: a server, or who stands
//! before one, may repeat in any of them the DEK that it was sent. Shown are the status, and our
//! own words for what is known of Vault's.
//!
//! | Vault says | Kind | Retry |
//! |---|---|---|
//! | 400 to what opens: of the message, the prefix, the context | `Unauthentic` | no |
//! | 400 otherwise | `Invalid` | no |
//! | 400 of a version below `min_decryption_version`, or of a key that is soft-deleted | `State` | no |
//! | 400 or 404 of a key or mount that is not there | `NotFound` | no |
//! | 400 of a key that is of another type; 405 | `Unsupported` | no |
//! | 403; a login that is refused; missing tokens; a certificate that is not trusted | `AccessDenied` | no |
//! | 412 (a performance standby is behind), 472, 473, 5xx, sealed, no connection or a broken one, time limit passed | `Unavailable` | yes |
//! | 429 | `Throttled` | yes |
//! | settings or files that cannot be | `Invalid` | no |
//! | an answer without what it must hold, or that cannot be read | `Protocol` | no |
//! | anything else | `Other` | no |

mod words;

use envelope_sdk::{
    KeyUri, ProviderError,
    ProviderErrorKind::{
        self, AccessDenied, Invalid, NotFound, Other, Protocol, Throttled, Unauthentic, Unavailable,
        Unsupported,
    },
    http::kind_of_status,
};

use crate::{
    auth::Standing,
    call::{Call, Failed, Refused},
    failure::{NO_RUNTIME, failure},
    transport::Lost,
};
pub(crate) use words::SOFT_DELETED;

/// The error of a call.
pub(crate) fn refusal<'k>(call: &Call, key: impl Into<Option<&'k KeyUri>>, failed: &Failed) -> ProviderError {
    reason(call, key.into(), failed).with_attempts(failed.attempts()).with_retry_after(failed.retry_after())
}

fn reason(call: &Call, key: Option<&KeyUri>, failed: &Failed) -> ProviderError {
    match failed {
        Failed::NotMade(error) => match key {
            Some(key) => error.clone().about(key),
            None => error.clone(),
        },
        Failed::TimedOut(_) => failure(Unavailable, key, NOT_IN_TIME),
        Failed::NoRuntime => failure(Other, key, NO_RUNTIME),
        Failed::Lost(lost, _) => of_way(key, *lost),
        Failed::Refused(refused) => {
            let (kind, words) = said(call, refused);
            failure(kind, key, format!("{words} (status {})", refused.status))
        }
    }
}

/// The error of a call that opens.
pub(crate) fn refusal_to_open(call: &Call, key: &KeyUri, failed: &Failed) -> ProviderError {
    if let Failed::Refused(refused) = failed
        && refused.status == 400
        && let Some([text, ..]) = refused.errors.as_deref()
    {
        return of_item(key, text, Opens::Yes);
    }
    refusal(call, key, failed)
}

/// Whether it is a wrap that is to be opened: what is wrong with it is not wrong with the request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opens {
    Yes,
    /// It is, and the server says that the trouble is its own.
    InTrouble,
    No,
}

/// The error of one of several things that were asked at once, by what Vault says of it.
pub(crate) fn of_item(key: &KeyUri, text: &str, opens: Opens) -> ProviderError {
    match words::known(text) {
        Some((kind, words)) => failure(kind, key, words),
        None if opens == Opens::Yes => failure(Unauthentic, key, words::UNAUTHENTIC),
        None if opens == Opens::InTrouble => failure(Unavailable, key, words::TROUBLE),
        None => failure(Invalid, key, words::INVALID),
    }
}

/// The error of a login. `what` was shown.
pub(crate) fn refusal_to_enter(call: &Call, what: &str, failed: &Failed) -> ProviderError {
    let path = &call.path;
    match failed {
        Failed::Refused(refused) if refused.status == 404 || refused.says("no handler for route") => {
            let message = format!(
                "there is no method of authentication at {path}: correct auth-mount, or the namespace (status {})",
                refused.status
            );
            failure(AccessDenied, None, message)
        }
        Failed::Refused(refused)
            if matches!(refused.status, 400 | 401 | 403) || refused.is_of_credentials() =>
        {
            let message = format!(
                "the login at {path} is refused: see {what}, and whether that method is mounted there (auth-mount, status {})",
                refused.status
            );
            failure(AccessDenied, None, message)
        }
        _ => refusal(call, None, failed),
    }
}

/// The same error of a call that must not be repeated before somebody looked whether
/// it was done, and how to look.
pub(crate) fn unsure(error: &ProviderError, look: &str) -> ProviderError {
    let message = format!("{}. It is not known whether it was done all the same: {look}", error.message());
    failure(error.kind(), error.key(), message).retryable(false)
}

/// An answer of status 200 that does not hold what it must.
pub(crate) fn unreadable<'k>(key: impl Into<Option<&'k KeyUri>>) -> ProviderError {
    failure(Protocol, key, UNREADABLE)
}

fn of_way(key: Option<&KeyUri>, lost: Lost) -> ProviderError {
    let (kind, words) = match lost {
        Lost::NotReached => (Unavailable, NOT_REACHED),
        Lost::Certificate => (AccessDenied, CERTIFICATE),
        Lost::TimedOut => (Unavailable, NOT_IN_TIME),
        Lost::BrokeOff => (Unavailable, BROKE_OFF),
        Lost::TooLong => (Protocol, "the answer of the server has no end: do not trust what stands between"),
        Lost::Elsewhere => (
            Invalid,
            "the request would go to another path or by plain http, and is not made: see the address of the server",
        ),
        Lost::Redirect => (Other, REDIRECT),
    };
    failure(kind, key, words)
}

fn said(call: &Call, refused: &Refused) -> (ProviderErrorKind, String) {
    let status = refused.status;
    let Some(errors) = &refused.errors else { return answered(status) };
    let known = errors.iter().find_map(|text| words::known(text));
    match (status, known) {
        (403, _) => (AccessDenied, denied(call, refused)),
        // What is said does not turn trouble of the server into something else, nor the other way round.
        (400 | 404, Some((kind, what))) => (kind, what.to_owned()),
        (500..=599, Some((Unavailable, what))) => (Unavailable, what.to_owned()),
        (400, None) => (Invalid, words::INVALID.to_owned()),
        (401, _) => (AccessDenied, denied(call, refused)),
        (404, None) => (NotFound, words::NOT_FOUND.to_owned()),
        (405, _) => (Unsupported, "this server does not know the call".to_owned()),
        (412, _) => (Unavailable, words::BEHIND.to_owned()),
        (429, _) => (Throttled, words::FEWER.to_owned()),
        (472 | 473, _) => (Unavailable, words::STANDBY.to_owned()),
        (408 | 500..=599, _) => (Unavailable, words::TROUBLE.to_owned()),
        _ => (Other, "the server answered with an error that this version does not know".to_owned()),
    }
}

fn denied(call: &Call, refused: &Refused) -> String {
    let needs = format!("a policy with the capability `{}` on {}", call.capability(), call.path);
    let is_no_token = refused.says("invalid token") || refused.says("missing client token");
    match refused.standing {
        Standing::Alive => format!(
            "the server refuses what the token may do. It needs {needs}, and with that alone a key that is not there is \
             refused so too"
        ),
        Standing::Dead | Standing::Unknown if is_no_token => {
            "the token is none, or none any more: it has expired or was revoked; log in again".to_owned()
        }
        Standing::Dead => format!(
            "the token has expired or was revoked, or neither may look at itself nor has {needs}: log in again"
        ),
        Standing::Unknown => format!("the server refuses the caller, who needs a token, and {needs}"),
    }
}

/// An answer that is no error in Vault's form. Whatever stands before a server does not know
/// which keys there are, nor in which state.
fn answered(status: u16) -> (ProviderErrorKind, String) {
    let kind = match status {
        472 | 473 => Unavailable,
        400 | 404 | 405 | 409 | 410 => Other,
        412 => Unavailable,
        status => kind_of_status(status),
    };
    (kind, "what stands at the address of the server did not answer as Vault does".to_owned())
}

const NOT_IN_TIME: &str = "the server did not answer in time";
const NOT_REACHED: &str = "the server cannot be reached: see its address, the network and the proxy";
const CERTIFICATE: &str = "the certificate of what answers at the server's address is not trusted (see who stands between, and \
                           ca-file or VAULT_CACERT where a certificate authority of your own is meant to), or it wants \
                           another one of this client";
const BROKE_OFF: &str = "the connection to the server was lost before the whole answer was there";
const REDIRECT: &str = "what stands at the address of the server answered with a redirect that is not followed: only to the same \
                        path of another node, and not from https to http";
const UNREADABLE: &str =
    "the answer of the server does not hold what it must: do not trust what stands between";
