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
//! | `DisabledException`, `KMSInvalidStateException` (pending deletion or import) | `State` | no |
//! | `ConflictException` (a rotation is under way) | `State` | yes |
//! | `ThrottlingException`, status 429 | `Throttled` | yes |
//! | `KeyUnavailableException`, `DependencyTimeoutException`, `KMSInternalException`, status 5xx, no connection or a broken one, time limit passed | `Unavailable` | yes |
//! | `InvalidKeyUsageException`, `UnsupportedOperationException`, status 501 | `Unsupported` | no |
//! | `ValidationException`, `InvalidArnException`, `AlreadyExistsException`, … | `Invalid` | no |
//! | an answer without what it must hold, too long, or that cannot be read | `Protocol` | no |
//! | `LimitExceededException` (a quota), anything else | `Other` | no |

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_kms::{
    config::http::HttpResponse,
    error::{ErrorMetadata, ProvideErrorMetadata, SdkError},
};
use envelope_sdk::{
    KeyUri, ProviderError,
    ProviderErrorKind::{
        self, AccessDenied, Invalid, NotFound, Other, Protocol, State, Throttled, Unauthentic, Unavailable,
        Unsupported,
    },
    http::{EndpointError, MAX_ANSWER_LEN, NOT_IMPLEMENTED, causes, find_cause, kind_of_status},
};
use http_body_util::LengthLimitError;

use crate::transport::BrokenOff;

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

/// Whether the settings and AWS's own files have no credentials, or some that
/// cannot be: before anybody was asked for them.
pub(crate) fn finds_no_credentials(error: &(dyn Error + 'static)) -> bool {
    matches!(
        find_cause(error),
        Some(CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_))
    )
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
    if let Some(credentials) = find_cause::<CredentialsError>(error) {
        return no_credentials(key, credentials);
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
        SdkError::ServiceError(service) => said(action, key, service.err(), service.raw()),
        _ => failure(Protocol, key, "the answer of AWS KMS cannot be read"),
    }
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

/// What is known of an error code.
fn known(code: &str) -> Option<&'static (&'static str, ProviderErrorKind, &'static str)> {
    CODES.iter().find(|(known, ..)| *known == code)
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

fn no_credentials(key: Option<&KeyUri>, error: &CredentialsError) -> ProviderError {
    if let Some(endpoint) = find_cause::<EndpointError>(error) {
        return failure(Invalid, key, format!("the source of AWS credentials is not asked: {endpoint}"));
    }
    match error {
        CredentialsError::ProviderTimedOut(_) => {
            failure(Unavailable, key, "the source of AWS credentials did not answer in time")
        }
        // Both are said of settings and files, before anybody was asked.
        CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_) => {
            let message = format!(
                "there are no AWS credentials: {}. Set AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, log in with \
                 `aws sso login`, or run where a role is attached",
                causes(error)
            );
            failure(AccessDenied, key, message)
        }
        // STS and its like are sent tokens and send keys: nothing of their answers is shown either.
        _ => {
            let why = match refused_by_source(error) {
                Some((code, _, what)) => format!("{what} ({code})"),
                None => "their source failed or refused".into(),
            };
            let message = format!(
                "there are no AWS credentials: {why}. `aws sts get-caller-identity` with the same settings tells more; \
                 AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or `aws sso login`, give others"
            );
            failure(AccessDenied, key, message)
        }
    }
}

/// The error code of the service that was asked for credentials, if it is known.
fn refused_by_source(
    error: &CredentialsError,
) -> Option<&'static (&'static str, ProviderErrorKind, &'static str)> {
    if let Some(code) = find_cause::<ErrorMetadata>(error).and_then(ProvideErrorMetadata::code) {
        return known(code);
    }
    // Errors that the SDK has a type for begin with their code.
    let mut next = Some(error as &dyn Error);
    while let Some(error) = next {
        let words = error.to_string();
        if let Some(code) = words.split([':', ' ']).next().and_then(known) {
            return Some(code);
        }
        next = error.source();
    }
    None
}

pub(crate) const NAME: &str = "aws";

const NOT_IN_TIME: &str = "AWS KMS, or the source of the credentials for it (such as a credential_process), did not \
                           answer in time";

const NOT_SENT: &str = "the request to AWS KMS could not be sent: see that its endpoint, if one is set, is a URL of the \
                        form https://HOST:PORT, and the proxy too";

/// Each error code that is shown, what it means, and what to do.
const CODES: &[(&str, ProviderErrorKind, &str)] = &[
    (
        "InvalidCiphertextException",
        Unauthentic,
        "the context is another one, or the wrapped DEK was changed or made by another key",
    ),
    ("IncorrectKeyException", Unauthentic, "the wrapped DEK was made by another key"),
    (
        "NotFoundException",
        NotFound,
        "there is no such key or alias in this region and account: correct the ARN",
    ),
    ("AccessDeniedException", AccessDenied, "AWS KMS refuses the caller"),
    ("AccessDenied", AccessDenied, "AWS refuses the caller"),
    ("ExpiredTokenException", AccessDenied, EXPIRED),
    ("ExpiredToken", AccessDenied, EXPIRED),
    ("RequestExpired", AccessDenied, EXPIRED),
    ("UnrecognizedClientException", AccessDenied, NOT_ACCEPTED),
    ("InvalidClientTokenId", AccessDenied, NOT_ACCEPTED),
    ("InvalidSignatureException", AccessDenied, NOT_ACCEPTED),
    ("SignatureDoesNotMatch", AccessDenied, NOT_ACCEPTED),
    ("IncompleteSignature", AccessDenied, NOT_ACCEPTED),
    ("IncompleteSignatureException", AccessDenied, NOT_ACCEPTED),
    ("MissingAuthenticationToken", AccessDenied, NOT_ACCEPTED),
    ("MissingAuthenticationTokenException", AccessDenied, NOT_ACCEPTED),
    ("NotAuthorized", AccessDenied, NOT_ACCEPTED),
    ("OptInRequired", AccessDenied, NOT_ACCEPTED),
    ("InvalidIdentityToken", AccessDenied, NOT_ACCEPTED),
    ("InvalidIdentityTokenException", AccessDenied, NOT_ACCEPTED),
    ("IDPRejectedClaim", AccessDenied, NOT_ACCEPTED),
    ("IDPRejectedClaimException", AccessDenied, NOT_ACCEPTED),
    ("UnauthorizedException", AccessDenied, NOT_ACCEPTED),
    ("ForbiddenException", AccessDenied, NOT_ACCEPTED),
    ("InvalidGrantException", AccessDenied, NOT_ACCEPTED),
    ("InvalidClientException", AccessDenied, NOT_ACCEPTED),
    ("RegionDisabledException", AccessDenied, "STS is not enabled in this region"),
    ("InvalidGrantTokenException", AccessDenied, "the grant is not valid: create it anew"),
    ("InvalidGrantIdException", AccessDenied, "the grant is not valid: create it anew"),
    ("DisabledException", State, "the key is disabled: enable it, or use another one"),
    (
        "KMSInvalidStateException",
        State,
        "the state of the key does not permit it: it waits for its deletion, for key material or for its key store",
    ),
    ("ConflictException", State, "a rotation of the key is under way: try again later"),
    ("ThrottlingException", Throttled, FEWER),
    ("Throttling", Throttled, FEWER),
    ("TooManyRequestsException", Throttled, FEWER),
    ("RequestLimitExceeded", Throttled, FEWER),
    ("KeyUnavailableException", Unavailable, "the key is not available at the moment"),
    ("DependencyTimeoutException", Unavailable, FAILED),
    ("KMSInternalException", Unavailable, FAILED),
    ("InternalFailure", Unavailable, FAILED),
    ("InternalServerError", Unavailable, FAILED),
    ("ServiceUnavailable", Unavailable, FAILED),
    ("ServiceUnavailableException", Unavailable, FAILED),
    ("RequestTimeout", Unavailable, FAILED),
    ("RequestTimeoutException", Unavailable, FAILED),
    ("InvalidKeyUsageException", Unsupported, "the key is not a symmetric one for encryption and decryption"),
    ("UnsupportedOperationException", Unsupported, "KMS does not do this with such a key"),
    ("AlreadyExistsException", Invalid, "the name is taken"),
    ("LimitExceededException", Other, "a quota of the account is used up: ask for a higher one"),
    (
        "ValidationException",
        Invalid,
        "KMS does not take the request: if a context is bound, shorten it and leave no value empty",
    ),
    ("InvalidArnException", Invalid, NOT_TAKEN),
    ("InvalidAliasNameException", Invalid, NOT_TAKEN),
    ("InvalidMarkerException", Invalid, NOT_TAKEN),
    ("TagException", Invalid, NOT_TAKEN),
    ("MalformedPolicyDocumentException", Invalid, NOT_TAKEN),
];

const EXPIRED: &str = "the credentials have expired: log in anew, or renew the session token";
const NOT_ACCEPTED: &str = "AWS does not accept the credentials: check the access key, its secret, the account and this \
                            machine's clock";
const FEWER: &str = "AWS KMS wants fewer requests: cache data keys, or ask for a higher quota";
const FAILED: &str = "AWS KMS failed";
const NOT_TAKEN: &str = "KMS does not take the request";

#[cfg(test)]
mod tests {
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

    #[test]
    fn each_error_code_is_listed_once() {
        for (at, (code, ..)) in CODES.iter().enumerate() {
            assert!(CODES[..at].iter().all(|(other, ..)| other != code), "{code}");
        }
    }
}
