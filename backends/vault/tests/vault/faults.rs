//! Each error that a server may answer with, and answers that are none.

use std::sync::{Arc, Mutex};

use base64ct::{Base64, Encoding};
use envelope_sdk::{
    KeyProvider,
    ProviderErrorKind::{
        self, AccessDenied, Invalid, NotFound, Other, Protocol, State, Throttled, Unauthentic, Unavailable,
        Unsupported,
    },
};
use envelope_testkit::http_server::{Answer, HttpServer, Request};

use super::*;

#[test]
fn each_refusal_has_its_kind_and_says_whether_to_retry() {
    let rows: &[(u16, &str, ProviderErrorKind, Option<ProviderErrorKind>, &str)] = &[
        (400, "encryption key not found", NotFound, None, "create it"),
        (400, "no handler for route \"transit/encrypt/k\". route entry not found.", NotFound, None, "mount"),
        (404, "no handler for route \"transit/encrypt/k\". route entry not found.", NotFound, None, "mount"),
        (404, "1 error occurred:\n\t* unsupported path\n\n", NotFound, None, "no Transit engine"),
        (400, "message encryption not supported for key type ed25519", Unsupported, None, "aes256-gcm96"),
        (
            400,
            "ciphertext or signature version is disallowed by policy (too old)",
            State,
            None,
            "min_decryption_version",
        ),
        (400, "refusing to use soft-deleted key", State, None, "soft-delete-restore"),
        (400, "cipher: message authentication failed", Unauthentic, None, "the context is another one"),
        (
            400,
            "chacha20poly1305: message authentication failed",
            Unauthentic,
            None,
            "the context is another one",
        ),
        (400, "invalid ciphertext: no prefix", Unauthentic, None, "was changed"),
        (400, "invalid ciphertext: version is too new", NotFound, None, "no such version"),
        (400, "the server's words", Invalid, Some(Unauthentic), ""),
        (401, "the server's words", AccessDenied, None, "who needs a token"),
        (403, "1 error occurred:\n\t* permission denied\n\n", AccessDenied, None, "log in again"),
        (
            403,
            "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n",
            AccessDenied,
            None,
            "or was revoked",
        ),
        (404, "", NotFound, None, "no such key"),
        (
            405,
            "1 error occurred:\n\t* unsupported operation\n\n",
            Unsupported,
            None,
            "does not know the call",
        ),
        (412, "required index state not present", Unavailable, None, "performance standby"),
        (429, "request path \"transit/encrypt/k\": rate limit quota exceeded", Throttled, None, "quota"),
        (472, "the server's words", Unavailable, None, "stands by"),
        (473, "the server's words", Unavailable, None, "stands by"),
        (500, "1 error occurred:\n\t* internal error\n\n", Unavailable, None, "in trouble"),
        (
            500,
            "local node not active but active cluster node not found",
            Unavailable,
            None,
            "no node is active",
        ),
        // Words that contradict the status.
        (500, "encryption key not found", Unavailable, None, "in trouble"),
        (502, "the server's words", Unavailable, None, "in trouble"),
        (503, "Namespace is sealed", Unavailable, None, "the namespace is sealed: unseal it"),
        (503, "Vault is sealed", Unavailable, None, "the server is sealed: unseal it"),
        (418, "the server's words", Other, None, "does not know"),
    ];
    for (status, said, kind, of_opening, words) in rows {
        let vault = Faulty::answering(move |_| refusal(*status, said));
        let errors =
            [(vault.wrap().unwrap_err(), *kind), (vault.unwrap().unwrap_err(), of_opening.unwrap_or(*kind))];
        for (error, kind) in errors {
            assert_eq!(error.kind(), kind, "{status} {said}: {error}");
            assert_eq!(error.is_retryable(), matches!(kind, Throttled | Unavailable), "{error}");
            assert_eq!((error.provider(), error.key()), ("vault", Some(&vault.key)), "{error}");
            assert!(error.message().contains(words), "{status} {said}: {error}");
            assert!(!error.message().contains("the server's words"), "{error}");
        }
    }
}

#[test]
fn a_status_that_is_not_of_vault_says_nothing_of_keys() {
    for (status, kind) in [
        (400, Other),
        (403, AccessDenied),
        (404, Other),
        (405, Other),
        (412, Unavailable),
        (429, Throttled),
        (500, Unavailable),
        (502, Unavailable),
    ] {
        let vault = Faulty::answering(move |_| Answer::new(status).body("<html>a proxy</html>"));
        for error in [vault.wrap().unwrap_err(), vault.unwrap().unwrap_err()] {
            assert_eq!(error.kind(), kind, "{status}: {error}");
            assert!(!error.message().contains("html"), "{error}");
        }
    }
}

#[test]
fn garbage_and_answers_that_break_off_are_told_apart() {
    for (answer, kind) in [
        (Answer::json(200, "garbage"), Protocol),
        (Answer::json(200, "[]"), Protocol),
        (Answer::json(200, ""), Protocol),
        (Answer::new(204), Protocol),
        (Answer::json(200, "{}"), Protocol),
        (Answer::json(200, r#"{"data":{}}"#), Protocol),
        (Answer::json(200, r#"{"data":{"ciphertext":1,"plaintext":1}}"#), Protocol),
        (Answer::json(200, r#"{"data":{"ciphertext":"","plaintext":""}}"#), Protocol),
        (Answer::json(200, good(7)).cut_after(20), Unavailable),
        (Answer::json(200, good(7)).chunked().cut_after(90), Unavailable),
        (Answer::raw("no HTTP at all\r\n\r\n"), Unavailable),
        (Answer::hang_up(), Unavailable),
        (Answer::never(), Unavailable),
        (Answer::json(200, good(7)).silent_after(40), Unavailable),
        (Answer::json(200, "x".repeat(1024 * 1024 + 1)), Protocol),
        (Answer::json(200, "{").endless(), Protocol),
        (Answer::json(200, "{").dripping(Duration::from_millis(100)), Unavailable),
    ] {
        let vault = Faulty::answering(move |_| answer.clone());
        for error in [vault.wrap().unwrap_err(), vault.unwrap().unwrap_err()] {
            assert_eq!((error.kind(), error.is_retryable()), (kind, kind == Unavailable), "{error}");
            assert_eq!(error.key(), Some(&vault.key));
        }
    }
}

/// Each of them is right but for one thing.
#[test]
fn an_answer_of_another_form_version_or_length_is_refused() {
    let base64 = |len: usize| Base64::encode_string(&vec![1; len]);
    let of = |ciphertext: String, version: u32| json!({"data": {"ciphertext": ciphertext, "key_version": version}});
    for (what, body) in [
        ("another version", of(format!("vault:v1:{}", base64(60)), 2)),
        ("no version", of(format!("vault:{}", base64(60)), 1)),
        ("version 0", of(format!("vault:v0:{}", base64(60)), 0)),
        ("an odd version", of(format!("vault:v01:{}", base64(60)), 1)),
        ("another prefix", of(format!("other:v1:{}", base64(60)), 1)),
        ("a short wrap", of(format!("vault:v1:{}", base64(59)), 1)),
        ("a long wrap", of(format!("vault:v1:{}", base64(61)), 1)),
        ("no base64", of(format!("vault:v1:{}!", base64(60)), 1)),
    ] {
        let vault = Faulty::answering(move |_| Answer::json(200, body.to_string()));
        let error = vault.wrap().unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Protocol, false), "{what}: {error}");
    }
    for (what, plaintext, kind) in [
        ("none", String::new(), Protocol),
        ("a short DEK", base64(31), Unauthentic),
        ("a long DEK", base64(33), Unauthentic),
        ("no base64", format!("{}!", base64(32)), Unauthentic),
    ] {
        let body = json!({"data": {"plaintext": plaintext}}).to_string();
        let vault = Faulty::answering(move |_| Answer::json(200, body.clone()));
        let error = vault.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (kind, false), "{what}: {error}");
        // In a batch too, and another number of results.
        let one = json!({"plaintext": plaintext});
        for (results, kind) in [(json!([one]), kind), (json!([]), Protocol), (json!([one, one]), Protocol)] {
            let body = json!({"data": {"batch_results": results}}).to_string();
            let vault = Faulty::answering(move |_| Answer::json(200, body.clone()));
            let context = context();
            let error =
                block_on(vault.vault.unwrap_deks(&[(&vault.wrapped, &context)])).remove(0).unwrap_err();
            assert_eq!(error.kind(), kind, "{what}: {error}");
        }
    }
}

#[test]
fn what_is_no_wrap_of_transit_is_refused_before_anybody_is_asked() {
    let vault = Faulty::answering(|_| Answer::json(200, good(7)));
    let right = &vault.wrapped;
    let of = |version: &str, algorithm: &str, text: &[u8]| {
        let wrapped = WrappedDek::new(vault.key.clone(), version, algorithm, text.to_vec()).unwrap();
        unwrap(&vault.vault, &wrapped).unwrap_err().kind()
    };
    for algorithm in ["AWS-KMS", "A256GCM", "VAULT", "VAULT-TRANSIT-RSA"] {
        assert_eq!(of("1", algorithm, right.ciphertext()), Unsupported, "{algorithm}");
    }
    for version in ["", "0", "01", "v1", "latest", "4294967296"] {
        assert_eq!(of(version, right.wrap_algorithm(), right.ciphertext()), Unsupported, "{version}");
    }
    assert_eq!(of("2", right.wrap_algorithm(), right.ciphertext()), Unauthentic);
    assert_eq!(of("1", right.wrap_algorithm(), &right.ciphertext()[1..]), Unauthentic);
    assert_eq!(of("1", right.wrap_algorithm(), &[0xff; 90]), Unauthentic);
    assert_eq!(vault.http.count(), 0);
}

#[test]
fn a_throttled_call_waits_as_long_as_it_is_told_and_not_longer_than_it_may() {
    let quota = |seconds: &str| refusal(429, "rate limit quota exceeded").header("retry-after", seconds);
    let http = HttpServer::in_turn([quota("1"), quota("1"), Answer::json(200, good(1))]);
    let vault = at(&http.url()).agents_token().build();
    let start = std::time::Instant::now();
    unwrap(&vault, &wrapped()).unwrap();
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
    let http = HttpServer::in_turn([quota("3600")]);
    let vault = at(&http.url()).agents_token().build();
    let error = unwrap(&vault, &wrapped()).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable(), http.count()), (Throttled, true, 1));
    assert_eq!((error.retry_after(), error.attempts()), (Some(Duration::from_secs(3600)), 1));
    let http = HttpServer::in_turn([quota("0")]);
    let vault = at(&http.url()).agents_token().build();
    assert_eq!((unwrap(&vault, &wrapped()).unwrap_err().kind(), http.count()), (Throttled, 3));
}

#[test]
fn trouble_of_a_moment_is_not_seen() {
    for trouble in [
        refusal(412, "required index state not present"),
        refusal(500, "internal error"),
        refusal(503, "Vault is sealed"),
        Answer::new(502),
        Answer::hang_up(),
        Answer::json(200, good(7)).cut_after(20),
    ] {
        let http = HttpServer::in_turn([trouble.clone(), trouble, Answer::json(200, good(7))]);
        let vault = at(&http.url()).agents_token().build();
        unwrap(&vault, &wrapped()).unwrap();
        assert_eq!(http.count(), 3);
    }
}

/// What a performance standby must have reached is sent on, and never less than was known.
#[test]
fn the_state_that_answers_speak_of_is_sent_with_the_next_calls() {
    let state = |local: u32| Base64::encode_string(format!("v1:cluster:{local}:3:mac").as_bytes());
    let answers = [state(7), state(9), state(8), "no state".to_owned()];
    let given = Mutex::new(answers.clone().into_iter());
    let http = HttpServer::answering(move |_| {
        let next = given.lock().unwrap().next();
        let answer = Answer::json(200, good(7));
        match next {
            Some(state) => answer.header("x-vault-index", state),
            None => answer,
        }
    });
    let vault = at(&http.url()).agents_token().build();
    for _ in 0..5 {
        unwrap(&vault, &wrapped()).unwrap();
    }
    let sent: Vec<_> =
        http.take().iter().map(|request| request.header("x-vault-index").map(str::to_owned)).collect();
    let [seven, nine, ..] = answers.map(Some);
    assert_eq!(sent, [None, seven, nine.clone(), nine.clone(), nine]);
}

#[test]
fn a_standby_that_does_not_forward_leads_to_the_active_node_and_nowhere_else() {
    let active = Arc::new(HttpServer::answering(|_| Answer::json(200, good(7))));
    let of = |location: Location, active: &Arc<HttpServer>| {
        let to = active.url();
        Faulty::answering(move |request| Answer::new(307).header("location", location(&to, &request.target)))
    };
    let vault = of(&|to, target| format!("{to}{target}"), &active);
    vault.unwrap().unwrap();
    let asked = active.take();
    assert_eq!((asked.len(), asked[0].method.as_str()), (1, "POST"));
    assert_eq!(asked[0].header("x-vault-token"), Some("root"));
    assert!(asked[0].text().contains("ciphertext"));
    let elsewhere: [Location; 5] = [
        &|to, _| format!("{to}/v1/sys/capture"),
        &|to, target| format!("{to}{target}?x"),
        &|_, target| format!("http://active.example{target}"),
        &|_, target| target.to_owned(),
        &|_, _| String::new(),
    ];
    for location in elsewhere {
        let error = of(location, &active).unwrap().unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Other, false), "{error}");
        assert!(error.message().contains("redirect"), "{error}");
    }
    assert_eq!(active.count(), 1);
    // In a circle.
    let own = Arc::new(Mutex::new(String::new()));
    let url = Arc::clone(&own);
    let vault = Faulty::answering(move |request| {
        Answer::new(307).header("location", format!("{}{}", url.lock().unwrap(), request.target))
    });
    *own.lock().unwrap() = vault.http.url();
    assert_eq!(vault.unwrap().unwrap_err().kind(), Other);
    let asked = vault.http.take();
    assert_eq!(asked.iter().filter(|request| request.path().ends_with("/decrypt/orders")).count(), 4);
}

/// The words of an error hold the URL, and so the name of the key.
#[test]
fn a_lost_answer_is_told_as_one_whatever_the_key_is_called() {
    let http = HttpServer::answering(|request| match request.method.as_str() {
        "GET" if request.path().contains("/keys/") => Answer::json(200, described("certificates")),
        "POST" => Answer::hang_up(),
        _ => refusal(403, "permission denied"),
    });
    let vault = at(&http.url()).attempts(1).context_binding(envelope_vault::Binding::Envelope).build();
    let error = wrap(&vault, &key("certificates")).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (Unavailable, true), "{error}");
    let error = block_on(envelope_sdk::KeyAdmin::rotate_key(&vault, &key("certificates"))).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (Unavailable, false), "{error}");
    assert!(error.message().contains("It is not known whether it was done"), "{error}");
}

fn described(name: &str) -> String {
    json!({"data": {
        "name": name, "type": "aes256-gcm96", "latest_version": 1, "deletion_allowed": false, "derived": false,
        "exportable": false, "allow_plaintext_backup": false
    }})
    .to_string()
}

/// Nothing is wrong with what was wrapped.
#[test]
fn trouble_with_one_of_a_batch_is_the_servers_and_the_others_open() {
    let body = json!({"data": {"batch_results": [
        {"error": "the server's words"}, {"plaintext": Base64::encode_string(&[7; 32])},
    ]}});
    for (status, kind) in [(500, Unavailable), (503, Unavailable), (400, Unauthentic)] {
        let body = body.to_string();
        let vault = Faulty::answering(move |_| Answer::json(status, body.clone()));
        let wraps = [(&vault.wrapped, &context()), (&vault.wrapped, &context())];
        let opened = block_on(vault.vault.unwrap_deks(&wraps));
        let error = opened[0].as_ref().unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (kind, kind == Unavailable), "{status}: {error}");
        assert_eq!(opened[1].as_ref().unwrap().expose(), &[7; 32]);
    }
}

/// Vault answers so where a method of login wants more than was shown.
#[test]
fn a_login_that_wants_a_second_factor_says_so() {
    let body = json!({"auth": {
        "client_token": "", "lease_duration": 0, "renewable": false,
        "mfa_requirement": {"mfa_request_id": "canary-4711", "mfa_constraints": {"x": {"any": []}}},
    }});
    let http = HttpServer::answering(move |_| Answer::json(200, body.to_string()));
    let vault = HashiVault::builder().address(http.url()).app_role("role", Some("secret".into())).build();
    let error = unwrap(&vault, &wrapped()).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable(), http.count()), (AccessDenied, false, 1), "{error}");
    assert!(error.message().contains("second factor") && !error.to_string().contains("4711"), "{error}");
}

#[test]
fn times_without_measure_are_none_and_panic_nowhere() {
    let http = HttpServer::answering(|request| match request.path() {
        "/v1/auth/approle/login" => Answer::json(
            200,
            json!({"auth": {"client_token": "s.x", "lease_duration": u64::MAX, "renewable": true}})
                .to_string(),
        ),
        _ => Answer::json(200, good(7)).header("retry-after", u64::MAX.to_string()),
    });
    for attempt in [Duration::MAX, Duration::from_secs(u64::MAX / 4)] {
        let builder = HashiVault::builder().address(http.url()).attempt_timeout(attempt);
        unwrap(&builder.app_role("role", Some("secret".into())).build(), &wrapped()).unwrap();
    }
    for after in
        ["18446744073709551615", "-1", "1.5", "Wed, 21 Oct 2026 07:28:00 GMT", "99999999999999999999999"]
    {
        let vault = Faulty::answering(move |_| refusal(429, "").header("retry-after", after));
        assert_eq!(vault.unwrap().unwrap_err().kind(), Throttled, "{after}");
    }
}

#[test]
fn a_login_that_answers_no_token_is_refused() {
    for (body, kind) in [
        (json!({"auth": null}), Protocol),
        (json!({"auth": {"client_token": "", "lease_duration": 1}}), Invalid),
        (json!({"auth": {"client_token": "a b", "lease_duration": 1}}), Invalid),
        (json!({"data": {}}), Protocol),
    ] {
        let http = HttpServer::answering(move |_| Answer::json(200, body.to_string()));
        let vault = HashiVault::builder().address(http.url()).app_role("role", Some("secret".into())).build();
        let error = unwrap(&vault, &wrapped()).unwrap_err();
        assert_eq!((error.kind(), http.count()), (kind, 1), "{error}");
    }
}

/// Where a server leads to, by the URL of the active node and the path that was asked for.
type Location = &'static (dyn Fn(&str, &str) -> String + Sync);

/// A server whose answers to what wraps and unwraps are these. What is found out of the key is answered well.
struct Faulty {
    http: Arc<HttpServer>,
    vault: HashiVault,
    key: KeyUri,
    wrapped: WrappedDek,
}

impl Faulty {
    fn answering(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let http = HttpServer::answering(move |request| {
            if request.path() == "/v1/auth/token/lookup-self" {
                return refusal(403, "permission denied");
            }
            answer(request)
        });
        // Nothing is found out of the key.
        let vault = at(&http.url())
            .context_binding(envelope_vault::Binding::Envelope)
            .attempts(1)
            .attempt_timeout(Duration::from_millis(1500))
            .build();
        let wrapped = wrapped();
        Self { http: Arc::new(http), vault, key: wrapped.key_uri().clone(), wrapped }
    }

    fn wrap(&self) -> Result<WrappedDek, ProviderError> {
        wrap(&self.vault, &self.key)
    }

    fn unwrap(&self) -> Result<Dek, ProviderError> {
        unwrap(&self.vault, &self.wrapped)
    }
}

/// A wrap that could be one.
pub(crate) fn wrapped() -> WrappedDek {
    let text = format!("vault:v1:{}", Base64::encode_string(&[1; 60]));
    WrappedDek::new(key("orders"), "1", "VAULT-TRANSIT", text.into_bytes()).unwrap()
}

pub(crate) fn good(byte: u8) -> String {
    json!({"data": {"plaintext": Base64::encode_string(&[byte; 32])}}).to_string()
}

fn refusal(status: u16, said: &str) -> Answer {
    let errors: &[&str] = if said.is_empty() { &[] } else { &[said] };
    Answer::json(status, json!({"errors": errors}).to_string())
}
