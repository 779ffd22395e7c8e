//! The error codes that are shown.

use envelope_sdk::ProviderErrorKind::{
    self, AccessDenied, Invalid, NotFound, Other, State, Throttled, Unauthentic, Unavailable, Unsupported,
};

/// What is known of an error code.
pub(super) fn known(code: &str) -> Option<&'static (&'static str, ProviderErrorKind, &'static str)> {
    CODES.iter().find(|(known, ..)| *known == code)
}

/// Whether it says that the credentials are none that AWS accepts, or none any more.
pub(super) fn is_of_credentials(code: &str) -> bool {
    known(code).is_some_and(|(_, _, what)| [EXPIRED, NOT_ACCEPTED].contains(what))
}

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
    ("RequestThrottled", Throttled, FEWER),
    ("RequestThrottledException", Throttled, FEWER),
    ("ThrottledException", Throttled, FEWER),
    ("KeyUnavailableException", Unavailable, "the key is not available at the moment"),
    ("DependencyTimeoutException", Unavailable, FAILED),
    ("KMSInternalException", Unavailable, FAILED),
    ("InternalFailure", Unavailable, FAILED),
    ("IDPCommunicationError", Unavailable, FAILED),
    ("IDPCommunicationErrorException", Unavailable, FAILED),
    ("InternalServerError", Unavailable, FAILED),
    ("ServiceUnavailable", Unavailable, FAILED),
    ("ServiceUnavailableException", Unavailable, FAILED),
    ("RequestTimeout", Unavailable, FAILED),
    ("RequestTimeoutException", Unavailable, FAILED),
    ("InvalidKeyUsageException", Unsupported, "the key is not a symmetric one for encryption and decryption"),
    ("UnsupportedOperationException", Unsupported, "KMS does not do this with such a key"),
    (ALREADY_EXISTS, Invalid, "the name is taken"),
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

/// A name that is to be made is there.
pub(crate) const ALREADY_EXISTS: &str = "AlreadyExistsException";

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
    fn a_permission_that_is_missing_is_not_of_the_credentials() {
        for (code, of_credentials) in [
            ("ExpiredTokenException", true),
            ("UnrecognizedClientException", true),
            ("InvalidClientTokenId", true),
            ("AccessDeniedException", false),
            ("RegionDisabledException", false),
            ("ThrottlingException", false),
            ("NeverHeardOfException", false),
        ] {
            assert_eq!(is_of_credentials(code), of_credentials, "{code}");
        }
    }

    #[test]
    fn each_error_code_is_listed_once() {
        for (at, (code, ..)) in CODES.iter().enumerate() {
            assert!(CODES[..at].iter().all(|(other, ..)| other != code), "{code}");
        }
    }
}
