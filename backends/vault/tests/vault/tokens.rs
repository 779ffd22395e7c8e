//! Tokens that end: expired, revoked, renewed.

use std::{sync::Arc, thread, time::Instant};

use envelope_sdk::ProviderErrorKind::AccessDenied;
use envelope_testkit::servers::Recorder;

use super::*;

const USES_TRANSIT: &str = r#"path "transit/*" { capabilities = ["update"] }"#;

#[test]
fn a_token_that_was_revoked_or_never_was_one_is_told_from_one_that_lacks_a_policy() {
    let Some(server) = Server::shared() else { return };
    let key = server.key();
    let token = server.token(USES_TRANSIT, &json!({}));
    let vault = server.builder().token(&token).build();
    let wrapped = wrap(&vault, &key).unwrap();
    server.does("POST", "auth/token/revoke", &json!({"token": token}));
    let never = server.builder().token("s.never-was-one-4711").build();
    for error in [
        wrap(&vault, &key).unwrap_err(),
        unwrap(&vault, &wrapped).unwrap_err(),
        wrap(&never, &key).unwrap_err(),
    ] {
        assert_eq!(
            (error.kind(), error.is_retryable(), error.key()),
            (AccessDenied, false, Some(&key)),
            "{error}"
        );
        assert!(error.message().contains("expired or was revoked"), "{error}");
        assert!(!error.to_string().contains("4711") && !error.to_string().contains(&token), "{error}");
    }
    let elsewhere = server.token(r#"path "transit/encrypt/other" { capabilities = ["update"] }"#, &json!({}));
    let error = wrap(&server.builder().token(elsewhere).build(), &key).unwrap_err();
    assert_eq!(error.kind(), AccessDenied, "{error}");
    assert!(error.message().contains("the server refuses what the token may do"), "{error}");
}

#[test]
fn a_token_that_has_expired_is_refused() {
    let Some(server) = Server::shared() else { return };
    let key = server.key();
    let token = server.token(USES_TRANSIT, &json!({"ttl": "1s", "renewable": false}));
    let vault = server.builder().token(&token).build();
    wrap(&vault, &key).unwrap();
    until(|| server.api_as(&token, "GET", "auth/token/lookup-self", &json!({})).0 == 403);
    let error = wrap(&vault, &key).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (AccessDenied, false), "{error}");
    assert!(error.message().contains("expired or was revoked"), "{error}");
}

/// Five seconds are renewed again and again: it lives on past them.
#[test]
fn a_token_that_lets_itself_be_renewed_is_renewed_before_it_ends() {
    let Some(server) = Server::shared() else { return };
    let key = server.key();
    for (renewable, lives_on) in [(true, true), (false, false)] {
        let token = server.token(USES_TRANSIT, &json!({"ttl": "5s", "renewable": renewable}));
        let vault = server.builder().token(&token).build();
        let start = Instant::now();
        let mut last = Ok(());
        while start.elapsed() < Duration::from_secs(9) && last.is_ok() {
            last = wrap(&vault, &key).map(drop);
            thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(last.as_ref().err().map(ProviderError::kind), (!lives_on).then_some(AccessDenied));
    }
}

/// A secret id, a JWT or a certificate is shown once, and again when the token is no more.
#[test]
fn a_token_of_a_login_is_kept_renewed_and_had_anew_when_it_was_revoked() {
    let Some(server) = Server::shared() else { return };
    let key = server.key();
    let role = credentials::app_role(&server, &json!({"token_ttl": "2s", "token_max_ttl": "3s"}));
    let recorder = Recorder::before(server.url.strip_prefix("http://").unwrap()).unwrap();
    let vault = Arc::new(
        HashiVault::builder()
            .address(format!("http://{}", recorder.address()))
            .app_role(&role.0, Some(role.1.clone()))
            .build(),
    );
    // A crowd asks once.
    block_on(async {
        let calls = (0..16).map(|_| async { vault.wrap_dek(&key, &fresh_dek(), &context()).await.unwrap() });
        futures_util::future::join_all(calls).await;
    });
    let asked = |recorder: &Recorder, path: &str| {
        let sent: Vec<u8> = recorder.take().concat();
        String::from_utf8_lossy(&sent).matches(path).count()
    };
    assert_eq!(asked(&recorder, "POST /v1/auth/approle/login"), 1);
    // Past the end of all renewals: nobody notices.
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(7) {
        wrap(&vault, &key).unwrap();
        thread::sleep(Duration::from_millis(50));
    }
    let sent = String::from_utf8_lossy(&recorder.take().concat()).into_owned();
    let count = |path: &str| sent.matches(path).count();
    assert!((2..=5).contains(&count("POST /v1/auth/approle/login")), "{}", count("/login"));
    assert!((1..=8).contains(&count("POST /v1/auth/token/renew-self")), "{}", count("renew-self"));
    // Revoked behind its back, each time.
    for _ in 0..2 {
        revoke_all(&server, &role.2);
        wrap(&vault, &key).unwrap();
    }
    // And when the role is gone too, the refusal is one.
    server.does("DELETE", &format!("auth/approle/role/{}", role.2), &json!({}));
    revoke_all(&server, &role.2);
    let error = wrap(&vault, &key).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (AccessDenied, false), "{error}");
    assert!(error.message().contains("login at auth/approle/login is refused"), "{error}");
}

/// Those of few uses are had anew, those of batches are not renewed, and sixty-four calls whose token is revoked log in once.
#[test]
fn tokens_of_every_kind_of_login_serve_and_a_crowd_has_a_revoked_one_anew_once() {
    let Some(server) = Server::shared() else { return };
    let key = server.key();
    for more in [
        json!({"token_num_uses": 1}),
        json!({"token_num_uses": 2}),
        json!({"token_type": "batch", "token_ttl": "2s", "token_max_ttl": "2s"}),
        json!({"token_period": "2s"}),
        json!({"token_ttl": "1s", "token_max_ttl": "1s"}),
    ] {
        let (id, secret, _) = credentials::app_role(&server, &more);
        let vault = HashiVault::builder().address(&server.url).app_role(id, Some(secret)).build();
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(4) {
            let wrapped = wrap(&vault, &key).unwrap_or_else(|error| panic!("{more}: {error}"));
            unwrap(&vault, &wrapped).unwrap_or_else(|error| panic!("{more}: {error}"));
            thread::sleep(Duration::from_millis(100));
        }
    }
    let (id, secret, role) = credentials::app_role(&server, &json!({}));
    let recorder = Recorder::before(server.url.strip_prefix("http://").unwrap()).unwrap();
    let url = format!("http://{}", recorder.address());
    let vault = HashiVault::builder().address(url).app_role(id, Some(secret)).build();
    wrap(&vault, &key).unwrap();
    revoke_all(&server, &role);
    recorder.take();
    block_on(async {
        let calls = (0..64).map(|_| async { vault.wrap_dek(&key, &fresh_dek(), &context()).await.unwrap() });
        futures_util::future::join_all(calls).await;
    });
    let sent = String::from_utf8_lossy(&recorder.take().concat()).into_owned();
    assert_eq!(sent.matches("POST /v1/auth/approle/login").count(), 1);
}

/// A token that may not look at itself, and lacks a policy, looks like one that was revoked. Each login leaves a token behind.
#[test]
fn a_login_that_was_of_no_use_is_not_done_again_by_the_next_call() {
    let Some(server) = Server::shared() else { return };
    let key = server.key();
    let policy = format!("path \"transit/encrypt/{}\" {{ capabilities = [\"update\"] }}", server::name(&key));
    server.does("PUT", "sys/policies/acl/encrypts-alone", &json!({"policy": policy}));
    let more = json!({"token_policies": "encrypts-alone", "token_no_default_policy": true});
    let (id, secret, _) = credentials::app_role(&server, &more);
    let recorder = Recorder::before(server.url.strip_prefix("http://").unwrap()).unwrap();
    let vault = HashiVault::builder()
        .address(format!("http://{}", recorder.address()))
        .app_role(id, Some(secret))
        .build();
    for _ in 0..10 {
        let wrapped = wrap(&vault, &key).unwrap();
        let error = unwrap(&vault, &wrapped).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (AccessDenied, false), "{error}");
        assert!(error.message().contains("`update` on transit/decrypt/"), "{error}");
    }
    let sent = String::from_utf8_lossy(&recorder.take().concat()).into_owned();
    assert_eq!(sent.matches("POST /v1/auth/approle/login").count(), 2);
}

/// Each token of a role.
fn revoke_all(server: &Server, role: &str) {
    let (_, list) = server.api("LIST", "auth/token/accessors", &json!({}));
    for accessor in list["data"]["keys"].as_array().unwrap() {
        let (status, told) = server.api("POST", "auth/token/lookup-accessor", &json!({"accessor": accessor}));
        if status == 200 && told["data"]["meta"]["role_name"] == role {
            server.api("POST", "auth/token/revoke-accessor", &json!({"accessor": accessor}));
        }
    }
}

pub(crate) fn until(holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(30), "it never comes");
        thread::sleep(Duration::from_millis(20));
    }
}
