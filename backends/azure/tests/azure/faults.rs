//! Each error that Azure may answer with, and answers that are none.

use std::sync::atomic::AtomicUsize;

use envelope_sdk::{
    KeyProvider, ProviderError,
    ProviderErrorKind::{
        AccessDenied, Invalid, NotFound, Other, Protocol, State, Throttled, Unauthentic, Unavailable,
        Unsupported,
    },
    WrappedDek,
};
use envelope_testkit::{
    azure_server::Reply,
    http_server::{Answer, Request},
};
use serde_json::json;

use super::*;

#[test]
fn each_refusal_has_its_kind_and_says_whether_to_retry() {
    for (status, code, inner, kind, words) in [
        (401, "Unauthorized", "", AccessDenied, "tenant-id"),
        (403, "Forbidden", "ForbiddenByRbac", AccessDenied, "Key Vault Crypto Service Encryption User"),
        (403, "Forbidden", "", AccessDenied, "keys/"),
        (403, "Forbidden", "ForbiddenByPolicy", AccessDenied, "access policy"),
        (403, "Forbidden", "ForbiddenByFirewall", AccessDenied, "network rules"),
        (403, "Forbidden", "ForbiddenByConnection", AccessDenied, "private endpoint"),
        (403, "Forbidden", "KeyDisabled", State, "enable it"),
        (403, "Forbidden", "KeyExpired", State, "rotate the key"),
        (403, "Forbidden", "KeyNotYetValid", State, "activate it"),
        (403, "Forbidden", "KeyOperationForbidden", State, "key_ops"),
        // A code that contradicts the status.
        (403, "Forbidden", "Throttled", AccessDenied, "keys/"),
        (403, "Forbidden", "KeyNotFound", AccessDenied, "keys/"),
        (404, "KeyNotFound", "", NotFound, "what was purged is gone"),
        (409, "Conflict", "ObjectIsBeingDeleted", State, "being deleted"),
        (409, "Conflict", "", State, "describe it"),
        (429, "Throttled", "", Throttled, "fewer requests"),
        (500, "InternalServerError", "", Unavailable, "in trouble"),
        (501, "NotImplemented", "", Unsupported, "does not know the call"),
        (503, "ServiceUnavailable", "", Unavailable, "in trouble"),
        (418, "Teapot", "", Other, "does not know"),
    ] {
        let vault = Faulty::answering(move |_, _| refusal(status, code, inner).into());
        for error in [vault.wrap().unwrap_err(), vault.unwrap().unwrap_err()] {
            assert_eq!(error.kind(), kind, "{status} {inner}: {error}");
            assert_eq!(error.is_retryable(), matches!(kind, Throttled | Unavailable), "{error}");
            assert_eq!((error.provider(), error.key()), ("azure", Some(&vault.key)), "{error}");
            assert!(error.message().contains(words), "{status} {inner}: {error}");
            assert!(error.message().contains(&format!("status {status}")), "{error}");
            assert!(!error.message().contains("the service's words"), "{error}");
        }
    }
}

/// Where the vault gives no inner code.
#[test]
fn a_state_that_only_words_tell_is_told() {
    for (said, words) in [
        ("Operation wrapKey is not allowed on a disabled key.", "is disabled"),
        ("Operation wrapKey is not allowed on an expired key.", "has expired"),
    ] {
        let vault = Faulty::answering(move |_, _| Reply::error(403, "Forbidden", said).into());
        let error = vault.wrap().unwrap_err();
        assert_eq!(error.kind(), State, "{error}");
        assert!(error.message().contains(words) && !error.message().contains(said), "{error}");
    }
}

#[test]
fn a_bad_request_is_a_wrap_that_does_not_fit_or_a_request_that_cannot_be() {
    let vault = Faulty::answering(|_, _| refusal(400, "BadParameter", "").into());
    assert_eq!(vault.unwrap().unwrap_err().kind(), Unauthentic);
    assert_eq!(vault.wrap().unwrap_err().kind(), Invalid);
}

#[test]
fn a_status_that_is_not_of_azure_says_nothing_of_keys() {
    for (status, kind) in [
        (400, Other),
        (403, AccessDenied),
        (404, Other),
        (409, Other),
        (429, Throttled),
        (500, Unavailable),
        (502, Unavailable),
        (307, Other),
    ] {
        let vault = Faulty::answering(move |_, _| {
            Answer::new(status).header("location", "https://elsewhere.example/").body("<html>a proxy</html>")
        });
        for error in [vault.wrap().unwrap_err(), vault.unwrap().unwrap_err()] {
            assert_eq!(error.kind(), kind, "{status}: {error}");
        }
    }
}

#[test]
fn garbage_and_answers_that_break_off_are_told_apart() {
    let good = r#"{"kid":"https://x","value":"AAAA"}"#;
    for (answer, kind) in [
        (Answer::json(200, "garbage"), Protocol),
        (Answer::json(200, "[]"), Protocol),
        (Answer::json(200, r#"{"value": "no base64!"}"#), Protocol),
        (Answer::json(200, ""), Protocol),
        (Answer::json(200, "{}"), Protocol),
        (Answer::json(200, good).cut_after(20), Unavailable),
        (Answer::json(200, good).chunked().cut_after(20), Unavailable),
        (Answer::raw("no HTTP at all\r\n\r\n"), Unavailable),
        (Answer::hang_up(), Unavailable),
        (Answer::never(), Unavailable),
        (Answer::json(200, "x".repeat(1024 * 1024 + 1)), Protocol),
    ] {
        let vault = Faulty::answering(move |_, _| answer.clone());
        for error in [vault.wrap().unwrap_err(), vault.unwrap().unwrap_err()] {
            assert_eq!((error.kind(), error.is_retryable()), (kind, kind == Unavailable), "{error}");
            assert_eq!(error.key(), Some(&vault.key));
        }
    }
}

/// Each of them is right but for one thing.
#[test]
fn an_answer_of_another_vault_key_or_version_or_of_another_length_is_refused() {
    type Change = (&'static str, fn(&mut serde_json::Value));
    const WRAPS: &[Change] = &[
        ("no kid", |body| body["kid"] = json!(null)),
        ("another vault", |body| edit(body, "kid", |kid| kid.replace("tests.vault", "other.vault"))),
        ("another host", |body| edit(body, "kid", |kid| kid.replace(".localhost", ".localhost.example"))),
        ("plain http", |body| edit(body, "kid", |kid| kid.replace("https:", "http:"))),
        ("another key", |body| edit(body, "kid", |kid| kid.replace("/keys/", "/keys/x"))),
        ("no version", |body| edit(body, "kid", |kid| kid.rsplit_once('/').unwrap().0.to_owned())),
        ("no value", |body| body["value"] = json!(null)),
        ("an empty value", |body| body["value"] = json!("")),
        ("an odd value", |body| edit(body, "value", |value| value[4..].to_owned())),
        ("a long value", |body| edit(body, "value", |value| value.clone() + &value)),
    ];
    for (what, change) in WRAPS {
        let vault = Faulty::answering(move |_, mut reply| {
            change(&mut reply.body);
            reply.into()
        });
        let error = vault.wrap().unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Protocol, false), "{what}: {error}");
    }
    const OPENED: &[(Change, envelope_sdk::ProviderErrorKind)] = &[
        (WRAPS[0], Protocol),
        (WRAPS[1], Protocol),
        (WRAPS[4], Protocol),
        (("another version", |body| edit(body, "kid", |kid| other_version(&kid))), Protocol),
        (WRAPS[6], Protocol),
        (WRAPS[7], Protocol),
        (("a short DEK", |body| edit(body, "value", |value| value[..40].to_owned())), Unauthentic),
        (
            ("a long DEK", |body| edit(body, "value", |value| value.clone()[..40].to_owned() + &value)),
            Unauthentic,
        ),
    ];
    for ((what, change), kind) in OPENED {
        let vault = Faulty::answering(move |_, mut reply| {
            change(&mut reply.body);
            reply.into()
        });
        let error = vault.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (*kind, false), "{what}: {error}");
    }
}

#[test]
fn an_algorithm_or_version_that_is_not_known_is_refused_before_anybody_is_asked() {
    let vault = Faulty::answering(|_, reply| reply.into());
    let right = &vault.wrapped;
    let of = |version: &str, algorithm: &str, bytes: &[u8]| {
        let wrapped = WrappedDek::new(vault.key.clone(), version, algorithm, bytes.to_vec()).unwrap();
        block_on(vault.vaults.unwrap_dek(&wrapped, &context())).unwrap_err().kind()
    };
    let before = vault.azure.server.exchanges();
    for algorithm in ["RSA-OAEP", "RSA1_5", "A128GCM", "PKCS11-RSA-OAEP-256", "AWS-KMS"] {
        assert_eq!(of(right.key_version(), algorithm, right.ciphertext()), Unsupported, "{algorithm}");
    }
    for version in ["", "1", "../../secrets/x", &"z".repeat(32), &"0".repeat(33)] {
        assert_eq!(of(version, right.wrap_algorithm(), right.ciphertext()), Unsupported, "{version}");
    }
    assert_eq!(of(right.key_version(), right.wrap_algorithm(), &right.ciphertext()[1..]), Unauthentic);
    assert_eq!(vault.azure.server.exchanges(), before);
}

#[test]
fn a_throttled_call_waits_as_long_as_it_is_told_and_not_longer_than_it_may() {
    let azure = Azure::new();
    let key = azure.key();
    block_on(azure.vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap();
    azure.server.throttle(2, Duration::from_secs(1));
    let start = std::time::Instant::now();
    block_on(azure.vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap();
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
    azure.server.throttle(1, Duration::from_secs(3600));
    let start = std::time::Instant::now();
    let error = block_on(azure.vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (Throttled, true));
    assert_eq!((error.retry_after(), error.attempts()), (Some(Duration::from_secs(3600)), 1));
    assert!(start.elapsed() < Duration::from_secs(1));
    azure.server.throttle(99, Duration::ZERO);
    let before = azure.server.exchanges();
    assert_eq!(
        block_on(azure.vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap_err().kind(),
        Throttled
    );
    assert_eq!(azure.server.exchanges() - before, 3);
}

/// The answer is lost, and the call done or not: it is not done again.
#[test]
fn what_makes_or_rotates_a_key_is_attempted_once() {
    for (path, status) in [("/create", 503), ("/rotate", 503), ("/create", 429), ("/rotate", 500)] {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let vault = Faulty::on(path, move |_, _| {
            counted.fetch_add(1, Ordering::SeqCst);
            refusal(status, "ServiceUnavailable", "").into()
        });
        let error = if path == "/create" {
            block_on(vault.patient().create_key(&NewKey::named(fresh_name()))).unwrap_err()
        } else {
            block_on(vault.patient().rotate_key(&vault.key)).unwrap_err()
        };
        assert_eq!(asked.load(Ordering::SeqCst), 1, "{path}");
        assert_eq!(error.is_retryable(), status == 429, "{error}");
        assert_eq!(error.message().contains("It is not known whether it was done"), status != 429, "{error}");
    }
}

#[test]
fn the_firewall_of_a_vault_is_told() {
    let azure = Azure::new();
    let key = azure.key();
    azure.server.set_firewall(true);
    let error = block_on(azure.vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap_err();
    assert_eq!(error.kind(), AccessDenied);
    assert!(error.message().contains("network rules"), "{error}");
}

/// A real server, of whose cryptographic operations the answers are changed.
struct Faulty {
    azure: Azure,
    service: AzureService,
    vaults: AzureKeyVault,
    key: KeyUri,
    wrapped: WrappedDek,
}

impl Faulty {
    fn answering(alter: impl Fn(&Request, Reply) -> Answer + Send + Sync + 'static) -> Self {
        Self::on("key", alter)
    }

    /// Changes the answers to requests whose path ends so, with a token.
    fn on(end: &'static str, alter: impl Fn(&Request, Reply) -> Answer + Send + Sync + 'static) -> Self {
        let azure = Azure::new();
        let key = azure.key();
        let wrapped = block_on(azure.vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap();
        let service = azure.server.serve_with(move |request, reply| {
            let is_it = request.path().ends_with(end) && request.header("authorization").is_some();
            if is_it { alter(request, reply) } else { reply.into() }
        });
        let vaults = at(&service, &azure.folder)
            .vault(VAULT)
            .attempts(1)
            .attempt_timeout(Duration::from_millis(1500))
            .build();
        Self { azure, service, vaults, key, wrapped }
    }

    /// With several attempts.
    fn patient(&self) -> AzureKeyVault {
        at(&self.service, &self.azure.folder).vault(VAULT).build()
    }

    fn wrap(&self) -> Result<WrappedDek, ProviderError> {
        block_on(self.vaults.wrap_dek(&self.key, &fresh_dek(), &context()))
    }

    fn unwrap(&self) -> Result<Dek, ProviderError> {
        block_on(self.vaults.unwrap_dek(&self.wrapped, &context()))
    }
}

fn refusal(status: u16, code: &str, inner: &str) -> Reply {
    let reply = Reply::error(status, code, "the service's words");
    if inner.is_empty() { reply } else { reply.inner(inner) }
}

fn edit(body: &mut serde_json::Value, field: &str, change: fn(String) -> String) {
    body[field] = json!(change(body[field].as_str().unwrap().to_owned()));
}

fn other_version(kid: &str) -> String {
    let (key, version) = kid.rsplit_once('/').unwrap();
    let turned: String = version.chars().rev().collect();
    format!("{key}/{turned}")
}
