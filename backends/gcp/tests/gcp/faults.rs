//! Each error that KMS may answer with, from a server that answers nothing
//! else.

use envelope_sdk::{
    KeyProvider,
    ProviderErrorKind::{
        AccessDenied, Invalid, NotFound, Other, Protocol, State, Throttled, Unauthentic, Unavailable,
        Unsupported,
    },
};
use envelope_testkit::{
    gcp_server,
    http_server::{Answer, closed_address},
};

use super::{
    canned::{Canned, refusal, some_wrap, the_key},
    *,
};

#[test]
fn each_code_has_its_kind_and_says_whether_to_retry() {
    for (status, code, kind, retryable) in [
        (400, "OUT_OF_RANGE", Invalid, false),
        (401, "UNAUTHENTICATED", AccessDenied, false),
        (403, "PERMISSION_DENIED", AccessDenied, false),
        (404, "NOT_FOUND", NotFound, false),
        (409, "ALREADY_EXISTS", Invalid, false),
        (409, "ABORTED", Unavailable, true),
        (400, "FAILED_PRECONDITION", State, false),
        (429, "RESOURCE_EXHAUSTED", Throttled, true),
        (499, "CANCELLED", Unavailable, true),
        (500, "INTERNAL", Unavailable, true),
        (500, "UNKNOWN", Unavailable, true),
        (500, "DATA_LOSS", Protocol, false),
        (501, "UNIMPLEMENTED", Unsupported, false),
        (503, "UNAVAILABLE", Unavailable, true),
        (504, "DEADLINE_EXCEEDED", Unavailable, true),
    ] {
        let server = Canned::answering(move |_| refusal(status, code, "the service's words", ""));
        for error in [server.wrap().unwrap_err(), server.unwrap().unwrap_err()] {
            assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{code}: {error}");
            assert_eq!((error.provider(), error.key()), ("gcp", Some(&the_key())), "{code}");
            assert!(error.message().ends_with(&format!("({code})")), "{code}: {error}");
            assert!(!error.message().contains("the service's words"), "{error}");
        }
    }
}

/// To Decrypt Google says the same of a wrap that does not fit.
#[test]
fn an_invalid_argument_is_a_wrap_that_does_not_fit_or_a_request_that_cannot_be() {
    let server = Canned::answering(|_| {
        refusal(400, "INVALID_ARGUMENT", "Decryption failed: the ciphertext is invalid.", "")
    });
    let error = server.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (Unauthentic, false));
    assert_eq!(
        error.message(),
        "the context is another one, or the wrapped DEK was changed or made by another key"
    );
    let error = server.wrap().unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (Invalid, false));
    assert!(error.message().contains("64 KiB for keys in software"), "{error}");
}

#[test]
fn a_refusal_names_the_permission_that_is_missing_and_the_narrowest_role() {
    let server = Canned::answering(|_| refusal(403, "PERMISSION_DENIED", "no", ""));
    for (permission, role, error) in [
        ("useToEncrypt", "roles/cloudkms.cryptoKeyEncrypter", server.wrap().unwrap_err()),
        ("useToDecrypt", "roles/cloudkms.cryptoKeyDecrypter", server.unwrap().unwrap_err()),
    ] {
        let words = format!(
            "Google refuses the caller, or there is no such key. The caller needs cloudkms.cryptoKeyVersions.{permission} \
             on this key, as {role} has it (PERMISSION_DENIED)"
        );
        assert_eq!(error.message(), words);
    }
}

#[test]
fn reasons_of_google_that_are_known_say_what_to_do() {
    for (status, code, reason, kind, words) in [
        (403, "PERMISSION_DENIED", "SERVICE_DISABLED", AccessDenied, "enable cloudkms.googleapis.com"),
        (403, "PERMISSION_DENIED", "BILLING_DISABLED", AccessDenied, "billing account"),
        (403, "PERMISSION_DENIED", "SECURITY_POLICY_VIOLATED", AccessDenied, "VPC Service Controls"),
        (403, "PERMISSION_DENIED", "USER_PROJECT_DENIED", AccessDenied, "serviceUsageConsumer"),
        (403, "PERMISSION_DENIED", "ACCESS_TOKEN_SCOPE_INSUFFICIENT", AccessDenied, "auth/cloudkms"),
        (401, "UNAUTHENTICATED", "ACCESS_TOKEN_EXPIRED", AccessDenied, "log in again"),
        (401, "UNAUTHENTICATED", "CREDENTIALS_MISSING", AccessDenied, "had no credentials"),
        (429, "RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED", Throttled, "fewer requests"),
    ] {
        let detail = format!(
            r#"{{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"{reason}","domain":"googleapis.com"}}"#
        );
        let server = Canned::answering(move |_| refusal(status, code, "no", &detail));
        let error = server.wrap().unwrap_err();
        assert_eq!(error.kind(), kind, "{reason}");
        assert!(error.message().ends_with(&format!("({code}, {reason})")), "{error}");
        assert!(error.message().contains(words), "{error}");
    }
    let detail =
        r#"{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"NEVER_HEARD_OF","domain":"d"}"#;
    let server = Canned::answering(move |_| refusal(403, "PERMISSION_DENIED", "no", detail));
    assert!(!server.wrap().unwrap_err().message().contains("NEVER_HEARD_OF"));
}

/// Each state in which a version does nothing, in the words of the stand-in.
#[test]
fn each_state_of_a_version_is_told_with_what_to_do() {
    use gcp_server::State as Of;
    let gcp = Gcp::new();
    for (state, words) in [
        (Of::Disabled, "the version of the key is disabled: enable it, or use another key"),
        (Of::DestroyScheduled, "restore and enable it before that day"),
        (Of::Destroyed, "what it wrapped opens no more"),
        (Of::PendingGeneration, "is being generated: try again later"),
        (Of::PendingImport, "waits for its key material"),
        (Of::ImportFailed, "was not imported"),
        (Of::GenerationFailed, "was not generated"),
        (Of::PendingExternalDestruction, "is about to do so too"),
        (Of::ExternalDestructionFailed, "did not confirm it"),
    ] {
        let key = gcp.key();
        let wrapped = block_on(gcp.kms.wrap_dek(&key, &fresh_dek(), &context())).unwrap();
        let version = format!("{}/cryptoKeyVersions/1", key.rest().trim_start_matches('/'));
        gcp.server.set_state(&version, state);
        for error in [
            block_on(gcp.kms.wrap_dek(&key, &fresh_dek(), &context())).unwrap_err(),
            block_on(gcp.kms.unwrap_dek(&wrapped, &context())).unwrap_err(),
        ] {
            assert_eq!((error.kind(), error.is_retryable(), error.key()), (State, false, Some(&key)));
            assert!(error.message().contains(words), "{}: {error}", state.name());
        }
    }
}

#[test]
fn a_status_that_is_not_of_google_says_nothing_of_keys() {
    for (status, kind) in [
        (400, Other),
        (401, AccessDenied),
        (403, AccessDenied),
        (404, Other),
        (429, Throttled),
        (500, Unavailable),
        (501, Unsupported),
        (502, Unavailable),
        (503, Unavailable),
        (504, Unavailable),
    ] {
        let server = Canned::answering(move |_| Answer::new(status).body("<html>a proxy</html>"));
        let error = server.unwrap().unwrap_err();
        assert_eq!(error.kind(), kind, "{status}: {error}");
        assert!(error.message().contains(&format!("status {status}")), "{error}");
    }
}

#[test]
fn garbage_and_answers_that_break_off_are_told_apart() {
    let body = canned::encrypted().to_string();
    for (answer, kind) in [
        (Answer::json(200, "garbage"), Protocol),
        (Answer::json(200, "[]"), Protocol),
        (Answer::json(200, r#"{"ciphertext": "no base64!"}"#), Protocol),
        (Answer::json(200, r#"{"ciphertext": "AAAA"#), Protocol),
        (Answer::json(200, ""), Protocol),
        (Answer::json(200, body.clone()).cut_after(20), Unavailable),
        (Answer::json(200, body.clone()).chunked().cut_after(20), Unavailable),
        (Answer::raw("no HTTP at all\r\n\r\n"), Unavailable),
        (Answer::hang_up(), Unavailable),
    ] {
        let server = Canned::answering(move |_| answer.clone());
        let error = server.wrap().unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (kind, kind == Unavailable), "{error}");
        assert_eq!(error.key(), Some(&the_key()));
    }
}

#[test]
fn a_server_that_is_away_or_silent_is_unavailable() {
    let away = once_at(&format!("http://{}", closed_address())).build();
    let error = block_on(away.unwrap_dek(&some_wrap(), &context())).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable(), error.key()), (Unavailable, true, Some(&the_key())));
    assert_eq!(
        error.message(),
        "Cloud KMS cannot be reached: see the network, the proxy and the endpoint, if one is set"
    );
    for answer in [Answer::never(), Answer::json(200, canned::encrypted().to_string()).silent_after(20)] {
        let server = Canned::answering(move |_| answer.clone());
        let kms = at(&server.0.url()).attempts(1).attempt_timeout(Duration::from_millis(200)).build();
        let error = block_on(kms.wrap_dek(&the_key(), &fresh_dek(), &context())).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Unavailable, true), "{error}");
    }
}
