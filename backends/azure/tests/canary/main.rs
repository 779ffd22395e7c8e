//! A DEK is in no error and in nothing that is logged, at any level, whatever a
//! server answers. In a process of its own: a logger is installed once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]

use std::{sync::LazyLock, time::Duration};

use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use envelope_azure::{AzureKeyVault, AzureKeyVaultBuilder};
use envelope_sdk::{
    Dek, EncryptionContext, FullContext, KeyAdmin, KeyProvider, NewKey, crypto::DefaultEngine,
};
use envelope_testkit::{
    azure_server::{AzureServer, AzureService, Reply},
    http_server::Answer,
    listener::Listening,
    secrets::{Canary, demand_none, shown},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Everything that anybody logs by `log` or `tracing`, on every thread.
#[test]
fn no_log_at_any_level_holds_a_dek_or_a_secret_while_keys_are_used() {
    let listening = listen();
    let folder = TempDir::new().unwrap();
    let azure = AzureServer::new();
    let service = azure.serve();
    for host in ["tests.vault.azure.net", "tests.managedhsm.azure.net"] {
        let vaults = once_at(&azure, &service, &folder).vault(host).build();
        let key = block_on(vaults.create_key(&NewKey::named("canary"))).unwrap().uri;
        let dek = fresh_dek();
        let wrapped = block_on(vaults.wrap_dek(&key, &dek, &context())).unwrap();
        assert_eq!(block_on(vaults.unwrap_dek(&wrapped, &context())).unwrap().expose(), dek.expose());
        let canaries = [Canary::new("the DEK", dek.expose()), Canary::new("the token", TOKEN.as_bytes())];
        demand_none(&canaries, "the log", &listening.heard());
    }
}

/// In its message, its codes, a header, or an answer that is none: a server may repeat
/// what it was sent.
#[test]
fn no_error_shows_a_dek_that_a_server_repeats() {
    let listening = listen();
    let folder = TempDir::new().unwrap();
    let azure = AzureServer::new();
    let dek = fresh_dek();
    let canaries = [Canary::new("the DEK", dek.expose())];
    let said = Base64UrlUnpadded::encode_string(dek.expose());
    let padded = Base64::encode_string(dek.expose());
    let json = |value: serde_json::Value| Answer::json(200, value.to_string());
    let answers = [
        Reply::error(400, &said, &*said).inner(&said).into(),
        Reply::error(403, "Forbidden", format!("not allowed on a disabled key {said}")).inner(&said).into(),
        Reply::error(404, &padded, &*padded).into(),
        Reply::error(500, "InternalServerError", &*said).into(),
        Answer::new(502).header("x-echo", &*said).header("x-ms-error-code", &*said).body(said.clone()),
        Answer::new(307).header("location", format!("https://127.0.0.1:1/{said}")),
        Answer::new(401)
            .header("www-authenticate", format!(r#"Bearer resource="https://{said}""#))
            .body(said.clone()),
        Answer::json(200, said.clone()),
        json(json!({"kid": said, "value": said})),
        json(json!({"kid": 1, "value": [said.clone()], "iv": said})),
        json(json!({"kid": "https://x", "value": said, "tag": said, "iv": said})),
    ];
    for answer in answers {
        let clean = azure.serve();
        let maker = once_at(&azure, &clean, &folder).vault("tests.vault.azure.net").build();
        let name = format!("k-{}", clean.port());
        let key = block_on(maker.create_key(&NewKey::named(name))).unwrap().uri;
        let wrapped = block_on(maker.wrap_dek(&key, &dek, &context())).unwrap();
        let service = azure.serve_with(move |request, reply| {
            let is_it = request.path().ends_with("key") && request.header("authorization").is_some();
            if is_it { answer.clone() } else { reply.into() }
        });
        let vaults = once_at(&azure, &service, &folder).build();
        let errors = [
            block_on(vaults.wrap_dek(&key, &dek, &context())).map(drop),
            block_on(vaults.unwrap_dek(&wrapped, &context())).map(drop),
        ];
        for error in errors {
            let error = error.unwrap_err();
            demand_none(&canaries, "an error", shown(&error).as_bytes());
        }
    }
    demand_none(&canaries, "the log", &listening.heard());
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

/// With a client secret, so that tokens are asked for too: the stand-in gives the name
/// of the client as the token.
fn once_at(azure: &AzureServer, service: &AzureService, folder: &TempDir) -> AzureKeyVaultBuilder {
    let ca = folder.path().join("ca.pem");
    azure.write_ca(&ca).unwrap();
    AzureKeyVault::builder()
        .domain(format!("localhost:{}", service.port()))
        .ca_file(ca)
        .tenant_id("tests")
        .client_id(TOKEN)
        .client_secret("secret")
        .attempts(1)
        .attempt_timeout(Duration::from_secs(5))
}

fn context() -> FullContext {
    EncryptionContext::new().with("tenant", "42").full().unwrap()
}

fn fresh_dek() -> Dek {
    Dek::generate::<DefaultEngine>().unwrap()
}

/// Long and of no words, so that it is found wherever it stands.
const TOKEN: &str = "canary-4711-b1946ac92492d2347c6235b4d2611184";
