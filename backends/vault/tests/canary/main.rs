//! A DEK is in no error and in nothing that is logged, at any level, whatever a server answers; nor is a token or a secret
//! id. In a process of its own: a logger is installed once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]

use std::{sync::LazyLock, time::Duration};

use base64ct::{Base64, Encoding};
use envelope_sdk::{
    Dek, EncryptionContext, FullContext, KeyProvider, KeyUri, WrappedDek, crypto::DefaultEngine,
};
use envelope_testkit::{
    http_server::{Answer, HttpServer},
    listener::Listening,
    secrets::{Canary, demand_none, shown},
};
use envelope_vault::HashiVault;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// Everything that anybody logs by `log` or `tracing`, on every thread.
#[test]
fn no_log_at_any_level_and_no_error_holds_a_dek_a_token_or_a_secret_id() {
    let listening = listen();
    let dek = fresh_dek();
    let canaries = [
        Canary::new("the DEK", dek.expose()),
        Canary::new("the token", TOKEN.as_bytes()),
        Canary::new("the secret id", SECRET.as_bytes()),
    ];
    keys_are_used(&dek);
    demand_none(&canaries, "the log", &listening.heard());
    let said = Base64::encode_string(dek.expose());
    let answers = [
        refusal(400, &said),
        refusal(400, &format!("encryption key not found {said}")),
        refusal(403, &format!("permission denied {said} {TOKEN}")),
        refusal(404, &said),
        refusal(500, &said),
        refusal(503, &format!("Vault is sealed {said}")),
        Answer::new(502).header("x-echo", &*said).header("x-vault-index", &*said).body(said.clone()),
        Answer::new(307).header("location", format!("https://127.0.0.1:1/{said}")),
        Answer::new(307).header("location", format!("https://127.0.0.1:1/v1/transit/decrypt/orders?{TOKEN}")),
        Answer::json(200, said.clone()),
        json(&json!({"data": {"plaintext": [said], "ciphertext": said}})),
        json(
            &json!({"data": {"plaintext": format!("{said}{said}"), "ciphertext": format!("vault:v1:{said}")}}),
        ),
        json(&json!({"data": {"batch_results": [{"error": said}, {"error": said}]}})),
        json(&json!({"auth": {"client_token": TOKEN, "lease_duration": TOKEN}})),
        json(&json!({"auth": {"client_token": format!("{TOKEN} {said}"), "lease_duration": 1}})),
    ];
    for answer in answers {
        let http = HttpServer::answering(move |_| answer.clone());
        let login = HashiVault::builder().app_role("role", Some(SECRET.to_owned()));
        for builder in [HashiVault::builder().token(TOKEN), HashiVault::builder().agents_token(), login] {
            let shown_of_settings = format!("{builder:?}");
            demand_none(&canaries, "settings", shown_of_settings.as_bytes());
            let vault =
                builder.address(http.url()).attempts(1).attempt_timeout(Duration::from_secs(5)).build();
            let wrapped = wrapped();
            let context = context();
            let errors = [
                block_on(vault.wrap_dek(wrapped.key_uri(), &dek, &context)).map(drop),
                block_on(vault.unwrap_dek(&wrapped, &context)).map(drop),
                block_on(vault.unwrap_deks(&[(&wrapped, &context), (&wrapped, &context)]))
                    .remove(0)
                    .map(drop),
                block_on(vault.generate_dek(wrapped.key_uri(), &context)).map(drop),
            ];
            for error in errors {
                let error = error.unwrap_err();
                demand_none(&canaries, "an error", shown(&error).as_bytes());
            }
        }
    }
    demand_none(&canaries, "the log", &listening.heard());
}

/// Against a server that answers well, with a login.
fn keys_are_used(dek: &Dek) {
    let plaintext = Base64::encode_string(dek.expose());
    let text = format!("vault:v1:{}", Base64::encode_string(&[1; 60]));
    let http = HttpServer::answering(move |request| match request.path() {
        "/v1/auth/approle/login" => {
            json(&json!({"auth": {"client_token": TOKEN, "lease_duration": 60, "renewable": true}}))
        }
        "/v1/transit/encrypt/orders" if request.text().contains("batch_input") => json(&json!({
            "data": {"batch_results": [{"error": "illegal base64 data at input byte 0"}, {"ciphertext": text, "key_version": 1}]},
        })),
        _ => json(&json!({"data": {"ciphertext": text, "key_version": 1, "plaintext": plaintext}})),
    });
    let vault = HashiVault::builder().address(http.url()).app_role("role", Some(SECRET.to_owned())).build();
    let wrapped = block_on(vault.wrap_dek(&orders(), dek, &context())).unwrap();
    assert_eq!(block_on(vault.unwrap_dek(&wrapped, &context())).unwrap().expose(), dek.expose());
    assert_eq!(http.count(), 4);
}

/// Writes down all that is said, from now on: by both.
fn listen() -> Listening {
    let listening = Listening::start().unwrap();
    log::trace!("a word");
    tracing::trace!("a word");
    let heard = String::from_utf8(listening.heard()).unwrap();
    assert!(heard.contains(": a word") && heard.contains("message=a word"), "{heard}");
    listening
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

fn block_on<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(future)
}

fn orders() -> KeyUri {
    KeyUri::parse("hashivault://transit/orders").unwrap()
}

fn wrapped() -> WrappedDek {
    let text = format!("vault:v1:{}", Base64::encode_string(&[1; 60]));
    WrappedDek::new(orders(), "1", "VAULT-TRANSIT", text.into_bytes()).unwrap()
}

fn context() -> FullContext {
    EncryptionContext::new().with("tenant", "42").full().unwrap()
}

fn fresh_dek() -> Dek {
    Dek::generate::<DefaultEngine>().unwrap()
}

fn json(value: &Value) -> Answer {
    Answer::json(200, value.to_string())
}

fn refusal(status: u16, said: &str) -> Answer {
    Answer::json(status, json!({"errors": [said]}).to_string())
}

/// Long and of no words, so that they are found wherever they stand.
const TOKEN: &str = "canary-4711-b1946ac92492d2347c6235b4d2611184";
const SECRET: &str = "canary-0815-591785b794601e212b260e25925636fd";
