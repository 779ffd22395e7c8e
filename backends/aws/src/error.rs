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
//! | `KeyUnavailableException`, `DependencyTimeoutException`, `KMSInternalException`, status 5xx, no connection, time limit passed | `Unavailable` | yes |
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
    http::{EndpointError, MAX_ANSWER_LEN},
    printable,
};
use http_body_util::LengthLimitError;

use crate::provider::NAME;

/// An error of this provider about `key`.
pub(crate) fn failure(kind: ProviderErrorKind, key: &KeyUri, message: impl Into<String>) -> ProviderError {
    ProviderError::new(kind, NAME, key, message)
}

/// The error of a call that needs the permission `action`, such as
/// `kms:Encrypt`.
pub(crate) fn refusal<E>(action: &str, key: &KeyUri, error: &SdkError<E, HttpResponse>) -> ProviderError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    if let Some(credentials) = in_causes::<CredentialsError>(error) {
        return no_credentials(key, credentials);
    }
    if let Some(endpoint) = in_causes::<EndpointError>(error) {
        return failure(Invalid, key, format!("AWS KMS is not asked: {endpoint}"));
    }
    if in_causes::<LengthLimitError>(error).is_some() {
        let message = format!("the answer of AWS KMS is longer than {MAX_ANSWER_LEN} bytes");
        return failure(Protocol, key, message);
    }
    match error {
        // The SDK's limit covers the credentials too and does not tell what it waited for.
        SdkError::TimeoutError(_) => failure(Unavailable, key, NOT_IN_TIME),
        SdkError::DispatchFailure(dispatch) => {
            let Some(connector) = dispatch.as_connector_error() else {
                return failure(Other, key, NOT_SENT);
            };
            let words = words_of(connector);
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
            let message = format!("the request to AWS KMS cannot be made: {}", words_of(error));
            failure(Invalid, key, message)
        }
        SdkError::ServiceError(service) => said(action, key, service.err(), service.raw()),
        _ => failure(Protocol, key, "the answer of AWS KMS cannot be read"),
    }
}

fn said<E>(action: &str, key: &KeyUri, error: &E, response: &HttpResponse) -> ProviderError
where
    E: ProvideErrorMetadata,
{
    let status = response.status().as_u16();
    let Some(code) = error.code() else {
        let message = format!("AWS KMS answered with status {status} and no error code");
        return failure(of_status(status), key, message);
    };
    if status == NOT_IMPLEMENTED {
        return failure(Unsupported, key, format!("this KMS does not know the call (status {status})"));
    }
    let Some(&(code, kind, what)) = known(code) else {
        let message =
            format!("AWS KMS answered with an error that this version does not know (status {status})");
        return failure(of_status(status), key, message);
    };
    let mut message = format!("{what} ({code})");
    if code == "AccessDeniedException" {
        message = format!(
            "{message}. The caller needs {action} on this key, in the key's policy or in an IAM policy that the key's \
             policy trusts; a condition on kms:EncryptionContext may demand another context"
        );
    }
    failure(kind, key, message)
        .retryable(matches!(kind, Unavailable | Throttled) || code == "ConflictException")
}

/// What is known of an error code.
fn known(code: &str) -> Option<&'static (&'static str, ProviderErrorKind, &'static str)> {
    CODES.iter().find(|(known, ..)| *known == code)
}

fn of_status(status: u16) -> ProviderErrorKind {
    match status {
        200..=299 => Protocol,
        401 | 403 => AccessDenied,
        NOT_IMPLEMENTED => Unsupported,
        408 | 500..=599 => Unavailable,
        429 => Throttled,
        _ => Other,
    }
}

fn no_credentials(key: &KeyUri, error: &CredentialsError) -> ProviderError {
    if let Some(endpoint) = in_causes::<EndpointError>(error) {
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
                words_of(error)
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
    if let Some(code) = in_causes::<ErrorMetadata>(error).and_then(ProvideErrorMetadata::code) {
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

fn in_causes<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The messages of an error of the connection or the settings, and of its
/// causes: they hold no request and no answer. Not for what went wrong while a request was
/// made ready, since the SDK shows it then.
fn words_of(error: &dyn Error) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let said = printable::cut(error.to_string().trim_end_matches('.'), SHOWN);
        if words.last() != Some(&said) {
            words.push(said);
        }
        next = error.source();
    }
    words.join(": ")
}

/// Characters that are shown of one message.
const SHOWN: usize = 300;

const NOT_IN_TIME: &str = "AWS KMS, or the source of the credentials for it (such as a credential_process), did not \
                           answer in time";

const NOT_SENT: &str = "the request to AWS KMS could not be sent: see that its endpoint, if one is set, is a URL of the \
                        form https://HOST:PORT, and the proxy too";

/// LocalStack and its like answer so for what they do not emulate.
const NOT_IMPLEMENTED: u16 = 501;

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
    fn a_status_without_a_code_has_its_kind() {
        for (status, kind) in [
            (200, Protocol),
            (403, AccessDenied),
            (418, Other),
            (429, Throttled),
            (500, Unavailable),
            (501, Unsupported),
            (503, Unavailable),
        ] {
            assert_eq!(of_status(status), kind, "{status}");
        }
    }

    #[test]
    fn words_from_outside_are_on_one_line_and_not_long() {
        let shown = words_of(&std::io::Error::other(format!("a\r\nb\u{1b}[2J{}", "x".repeat(600))));
        assert!(shown.starts_with("a\\u{d}\\u{a}b\\u{1b}[2Jx") && shown.chars().count() < 330, "{shown}");
    }

    #[test]
    fn each_error_code_is_listed_once() {
        for (at, (code, ..)) in CODES.iter().enumerate() {
            assert!(CODES[..at].iter().all(|(other, ..)| other != code), "{code}");
        }
    }
}
