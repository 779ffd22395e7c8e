//! What an error of KMS means. No answer and no request is ever printed: of an
//! answer only its error code, request id and status, and the service's own
//! words where they cannot repeat what was sent.
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
//! | an answer without what it must hold, or that cannot be read | `Protocol` | no |
//! | `LimitExceededException` (a quota), anything else | `Other` | no |

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_kms::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId,
};
use envelope_sdk::{
    KeyUri, ProviderError,
    ProviderErrorKind::{
        self, AccessDenied, Invalid, NotFound, Other, Protocol, State, Throttled, Unauthentic, Unavailable,
        Unsupported,
    },
};

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
    match error {
        SdkError::TimeoutError(_) => failure(Unavailable, key, "AWS KMS did not answer in time"),
        SdkError::DispatchFailure(dispatch) => {
            let Some(connector) = dispatch.as_connector_error() else {
                return failure(Other, key, "the request to AWS KMS could not be sent");
            };
            let words = words_of(connector);
            // So begins what the SDK says of endpoints that cannot be, such as one of one's own with FIPS.
            if let Some((_, what)) = words.split_once("Invalid Configuration: ") {
                return failure(Invalid, key, format!("the settings name no endpoint of AWS KMS: {what}"));
            }
            let kind = if connector.is_user() { Invalid } else { Unavailable };
            failure(kind, key, format!("AWS KMS cannot be reached: {words}"))
        }
        SdkError::ConstructionFailure(_) => {
            // A missing region, an endpoint that is no URL: settings, no secrets.
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
    let id = response.request_id().map(|id| format!(", request {}", shown(id))).unwrap_or_default();
    let Some(code) = error.code() else {
        let kind = of_status(status);
        return failure(kind, key, format!("AWS KMS answered with status {status} and no error code{id}"));
    };
    let (kind, what) = of_code(code, status);
    let mut message = format!("{what} ({}{id})", shown(code));
    // In answers to these the service's words may repeat the request: a DEK, withheld values.
    let sends_secrets =
        matches!(action, "kms:Encrypt" | "kms:Decrypt" | "kms:GenerateDataKey" | "kms:ReEncrypt*");
    if let Some(words) = error.message().filter(|_| kind == AccessDenied || !sends_secrets) {
        message = format!("{message}: {}", shown(words));
    }
    if code == "AccessDeniedException" {
        message = format!(
            "{message}. The caller needs {action} on this key, in the key's policy or in an IAM policy that the key's \
             policy trusts; a condition on kms:EncryptionContext may demand another context"
        );
    }
    failure(kind, key, message)
        .retryable(matches!(kind, Unavailable | Throttled) || code == "ConflictException")
}

/// The kind of an error code, and what to do.
fn of_code(code: &str, status: u16) -> (ProviderErrorKind, &'static str) {
    match code {
        _ if status == NOT_IMPLEMENTED => (Unsupported, "this KMS does not know the call"),
        "InvalidCiphertextException" => {
            (Unauthentic, "the context is another one, or the wrapped DEK was changed or made by another key")
        }
        "IncorrectKeyException" => (Unauthentic, "the wrapped DEK was made by another key"),
        "NotFoundException" => {
            (NotFound, "there is no such key or alias in this region and account: correct the ARN")
        }
        "AccessDeniedException" => (AccessDenied, "AWS KMS refuses the caller"),
        "ExpiredTokenException" | "ExpiredToken" | "RequestExpired" => {
            (AccessDenied, "the credentials have expired: log in anew, or renew the session token")
        }
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "NotAuthorized"
        | "OptInRequired" => (
            AccessDenied,
            "AWS does not accept the credentials: check the access key, its secret, the account and this machine's clock",
        ),
        "InvalidGrantTokenException" | "InvalidGrantIdException" => {
            (AccessDenied, "the grant is not valid: create it anew")
        }
        "DisabledException" => (State, "the key is disabled: enable it, or use another one"),
        "KMSInvalidStateException" => (
            State,
            "the state of the key does not permit it: it waits for its deletion, for key material or for its key store",
        ),
        "ConflictException" => (State, "a rotation of the key is under way: try again later"),
        "ThrottlingException" | "Throttling" | "TooManyRequestsException" | "RequestLimitExceeded" => {
            (Throttled, "AWS KMS wants fewer requests: cache data keys, or ask for a higher quota")
        }
        "KeyUnavailableException" => (Unavailable, "the key is not available at the moment"),
        "DependencyTimeoutException"
        | "KMSInternalException"
        | "InternalFailure"
        | "InternalServerError"
        | "ServiceUnavailable"
        | "ServiceUnavailableException"
        | "RequestTimeout"
        | "RequestTimeoutException" => (Unavailable, "AWS KMS failed"),
        "InvalidKeyUsageException" => {
            (Unsupported, "the key is not a symmetric one for encryption and decryption")
        }
        "UnsupportedOperationException" => (Unsupported, "KMS does not do this with such a key"),
        "AlreadyExistsException" => (Invalid, "the name is taken"),
        "LimitExceededException" => (Other, "a quota of the account is used up: ask for a higher one"),
        "ValidationException" => (
            Invalid,
            "KMS does not take the request: if a context is bound, shorten it and leave no value empty",
        ),
        "InvalidArnException"
        | "InvalidAliasNameException"
        | "InvalidMarkerException"
        | "TagException"
        | "MalformedPolicyDocumentException" => (Invalid, "KMS does not take the request"),
        _ => (of_status(status), "AWS KMS refused"),
    }
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
    match error {
        CredentialsError::ProviderTimedOut(_) => failure(
            Unavailable,
            key,
            format!("the source of AWS credentials did not answer: {}", words_of(error)),
        ),
        _ => {
            let message = format!(
                "there are no AWS credentials: {}. Set AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, log in with \
                 `aws sso login`, or run where a role is attached",
                words_of(error)
            );
            failure(AccessDenied, key, message)
        }
    }
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
/// causes: they hold no request and no answer.
fn words_of(error: &dyn Error) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let said = shown(error.to_string().trim_end_matches('.'));
        if words.last() != Some(&said) {
            words.push(said);
        }
        next = error.source();
    }
    words.join(": ")
}

/// Words from outside: on one line, and not long.
fn shown(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).take(500).collect()
}

/// LocalStack and its like answer so for what they do not emulate.
const NOT_IMPLEMENTED: u16 = 501;

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
            assert_eq!(of_code("NeverHeardOf", status).0, kind, "{status}");
        }
    }

    #[test]
    fn words_from_outside_are_on_one_line_and_not_long() {
        assert_eq!(shown("a\r\nb\u{1b}[2J"), "a  b [2J");
        assert_eq!(shown(&"x".repeat(600)).len(), 500);
    }
}
