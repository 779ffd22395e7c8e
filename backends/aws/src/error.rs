//! What an error of KMS means. No word of an answer is ever shown: a server, or
//! who stands before one, may repeat in any of them (message, code, request id,
//! header) the DEK that it was sent. Shown are the status, error codes that
//! stand in a list here, and our own words for each.
//!
//! | AWS says | Kind | Retry |
//! |---|---|---|
//! | `InvalidCiphertextException`, `IncorrectKeyException` | `Unauthentic` | no |
//! | `NotFoundException` | `NotFound` | no |
//! | `AccessDeniedException`, expired, missing or refused credentials, `InvalidGrantTokenException` | `AccessDenied` | no |
//! | settings, or credentials, that cannot be | `Invalid` | no |
//! | `DisabledException`, `KMSInvalidStateException` (pending deletion or import) | `State` | no |
//! | `ConflictException` (a rotation is under way) | `State` | yes |
//! | `ThrottlingException`, status 429, both of the source of the credentials too | `Throttled` | yes |
//! | `KeyUnavailableException`, `DependencyTimeoutException`, `KMSInternalException`, status 5xx, no connection or a broken one, time limit passed; all of these of the source of the credentials too | `Unavailable` | yes |
//! | `InvalidKeyUsageException`, `UnsupportedOperationException`, status 501 | `Unsupported` | no |
//! | `ValidationException`, `InvalidArnException`, `AlreadyExistsException`, … | `Invalid` | no |
//! | an answer without what it must hold, too long, or that cannot be read | `Protocol` | no |
//! | `LimitExceededException` (a quota), anything else | `Other` | no |

mod codes;
mod credentials;

use std::{error::Error, io, time::Duration};

use aws_sdk_kms::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use envelope_sdk::{
    KeyUri, ProviderError,
    ProviderErrorKind::{self, Invalid, Other, Protocol, Throttled, Unavailable, Unsupported},
    http::{EndpointError, MAX_ANSWER_LEN, NOT_IMPLEMENTED, causes, find_cause, kind_of_status, retry_after},
};
use http_body_util::LengthLimitError;

use crate::transport::BrokenOff;
use codes::known;
use credentials::no_credentials;

pub(crate) use codes::ALREADY_EXISTS;
pub(crate) use credentials::{NO_REGION_OF_STS, finds_credentials_refused, finds_no_credentials};

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

/// The error of a call that needs the permission `action`, such as
/// `kms:Encrypt`.
pub(crate) fn refusal<E>(
    action: &str,
    key: Option<&KeyUri>,
    error: &SdkError<E, HttpResponse>,
) -> ProviderError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    if let Some(error) = no_credentials(key, error) {
        return error;
    }
    if let Some(endpoint) = find_cause::<EndpointError>(error) {
        return failure(Invalid, key, format!("AWS KMS is not asked: {endpoint}"));
    }
    if find_cause::<LengthLimitError>(error).is_some() {
        let message = format!("the answer of AWS KMS is longer than {MAX_ANSWER_LEN} bytes");
        return failure(Protocol, key, message);
    }
    if find_cause::<BrokenOff>(error).is_some() {
        return failure(Unavailable, key, "the answer of AWS KMS broke off: the connection was lost");
    }
    match error {
        // The SDK's limit covers the credentials too and does not tell what it waited for.
        SdkError::TimeoutError(_) => failure(Unavailable, key, NOT_IN_TIME),
        SdkError::DispatchFailure(dispatch) => {
            let Some(connector) = dispatch.as_connector_error() else {
                return failure(Other, key, NOT_SENT);
            };
            let words = causes(connector);
            // So begins what the SDK says of endpoints that cannot be, such as one of one's own with FIPS.
            if let Some((_, what)) = words.split_once("Invalid Configuration: ") {
                return failure(Invalid, key, format!("the settings name no endpoint of AWS KMS: {what}"));
            }
            if connector.is_io() || connector.is_timeout() {
                return failure(Unavailable, key, format!("AWS KMS cannot be reached: {words}"));
            }
            // No word of the others is shown: while a request is made ready, the SDK shows the whole of it
            // in the error, and so a DEK.
            if connector.is_user() || words.contains("failed to apply endpoint") {
                return failure(Invalid, key, NOT_SENT);
            }
            failure(
                Unavailable,
                key,
                "AWS KMS cannot be reached: the connection broke, or what came is no HTTP",
            )
        }
        SdkError::ConstructionFailure(_) => {
            // A missing region: settings, no secrets.
            let message = format!("the request to AWS KMS cannot be made: {}", causes(error));
            failure(Invalid, key, message)
        }
        SdkError::ServiceError(service) => {
            let raw = service.raw();
            said(action, key, service.err(), raw).with_retry_after(pause_of(raw))
        }
        _ => failure(Protocol, key, "the answer of AWS KMS cannot be read"),
    }
}

/// Whether a call that was attempted once may have been done, although it ended
/// so: its answer was lost.
pub(crate) fn may_be_done<E>(error: &SdkError<E, HttpResponse>) -> bool
where
    E: Error + 'static,
{
    let was_sent = no_credentials(None, error).is_none() && find_cause::<EndpointError>(error).is_none();
    was_sent
        && match error {
            SdkError::ConstructionFailure(_) => false,
            SdkError::DispatchFailure(dispatch) => {
                let refused = find_cause::<io::Error>(error).map(io::Error::kind);
                !dispatch.is_user() && refused != Some(io::ErrorKind::ConnectionRefused)
            }
            // KMS refuses with 400 what it does not do.
            SdkError::ServiceError(service) => {
                let status = service.raw().status().as_u16();
                status == REQUEST_TIMEOUT || !(400..500).contains(&status)
            }
            _ => true,
        }
}

/// The same error of a call that must not be repeated before somebody looked
/// whether it was done, and how to look.
pub(crate) fn unsure(error: &ProviderError, look: &str) -> ProviderError {
    let message = format!("{}. It is not known whether it was done all the same: {look}", error.message());
    failure(error.kind(), error.key(), message).retryable(false)
}

fn said<E>(action: &str, key: Option<&KeyUri>, error: &E, response: &HttpResponse) -> ProviderError
where
    E: ProvideErrorMetadata,
{
    let status = response.status().as_u16();
    let Some(code) = error.code() else {
        let message = format!("AWS KMS answered with status {status} and no error code");
        return failure(kind_of(status), key, message);
    };
    if status == NOT_IMPLEMENTED {
        return failure(Unsupported, key, format!("this KMS does not know the call (status {status})"));
    }
    let Some(&(code, kind, what)) = known(code) else {
        let message =
            format!("AWS KMS answered with an error that this version does not know (status {status})");
        return failure(kind_of(status), key, message);
    };
    let mut message = format!("{what} ({code})");
    if code == "AccessDeniedException" {
        message = match key {
            Some(_) => format!(
                "{message}. The caller needs {action} on this key, in the key's policy or in an IAM policy that the \
                 key's policy trusts; a condition on kms:EncryptionContext may demand another context"
            ),
            None => format!("{message}. The caller needs {action} in an IAM policy"),
        };
    }
    failure(kind, key, message)
        .retryable(matches!(kind, Unavailable | Throttled) || code == "ConflictException")
}

/// The pause that an answer asks for: in milliseconds, as services of AWS do, or by HTTP's own header.
fn pause_of(response: &HttpResponse) -> Option<Duration> {
    let headers = response.headers();
    let milliseconds = headers.get("x-amz-retry-after").and_then(|value| value.trim().parse().ok());
    milliseconds.map(Duration::from_millis).or_else(|| retry_after(headers.get("retry-after")?))
}

/// What a status means where no code says more. KMS answers 400 to whatever is
/// wrong with a request, and says by a code what it is: without a code that is
/// known, 400 says nothing. 404, 409, 410 and 412 are never its own. Whatever
/// stands before it does not know which keys there are: taken for an answer of
/// KMS, "not found" would have an alias made that is there.
fn kind_of(status: u16) -> ProviderErrorKind {
    match status {
        400 | 404 | 409 | 410 | 412 => Other,
        status => kind_of_status(status),
    }
}

/// Said of a request that came too slowly, by whatever stands between.
const REQUEST_TIMEOUT: u16 = 408;

pub(crate) const NAME: &str = "aws";

const NOT_IN_TIME: &str = "AWS KMS, or the source of the credentials for it (such as a credential_process), did not \
                           answer in time";

const NOT_SENT: &str = "the request to AWS KMS could not be sent: see that its endpoint, if one is set, is a URL of the \
                        form https://HOST:PORT, and the proxy too";

#[cfg(test)]
mod tests {
    use envelope_sdk::ProviderErrorKind::AccessDenied;

    use super::*;

    #[test]
    fn a_status_without_a_code_has_its_kind_and_says_nothing_of_keys() {
        for (status, kind) in [
            (200, Protocol),
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
            assert_eq!(kind_of(status), kind, "{status}");
        }
    }
}
