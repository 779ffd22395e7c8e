//! Where requests go, and in which namespace.

use envelope_sdk::ProviderErrorKind::Invalid;
use envelope_testkit::http_server::{Answer, HttpServer};

use super::*;
use faults::{good, wrapped};

#[test]
fn addresses_that_are_none_or_plain_are_refused_before_anything_leaves() {
    for (url, words) in [
        ("http://vault.example:8200", "plain http"),
        ("https://user:canary-4711@vault.example", "user name or password"),
        ("vault.example:8200", "https://HOST:PORT"),
        ("https://vault.example?x", "https://HOST:PORT"),
        ("", "https://HOST:PORT"),
    ] {
        let error = unwrap(&at(url).build(), &wrapped()).unwrap_err();
        assert_eq!(error.kind(), Invalid, "{url}: {error}");
        assert!(error.message().contains(words) && !error.to_string().contains("4711"), "{error}");
    }
    for name in ["", "a b", "a\nb"] {
        let error = unwrap(&at("http://127.0.0.1:1").namespace(name).build(), &wrapped()).unwrap_err();
        assert!(error.kind() == Invalid && error.message().contains("namespace"), "{error}");
    }
}

#[test]
fn the_namespace_goes_with_each_call() {
    let http = HttpServer::answering(|request| match request.path() {
        "/v1/auth/approle/login" => {
            Answer::json(200, json!({"auth": {"client_token": "s.x", "lease_duration": 60}}).to_string())
        }
        _ => Answer::json(200, good(7)),
    });
    let vault = HashiVault::builder()
        .address(http.url())
        .namespace("/team/one/")
        .app_role("role", Some("secret".into()))
        .build();
    unwrap(&vault, &wrapped()).unwrap();
    let asked = http.take();
    assert_eq!(asked.len(), 2);
    for request in asked {
        assert_eq!(request.header("x-vault-namespace"), Some("team/one"));
        assert_eq!(request.header("x-vault-request"), Some("true"));
    }
}
