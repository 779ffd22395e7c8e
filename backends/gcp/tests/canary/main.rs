//! A DEK is in no error and in nothing that is logged, at any level, whatever a
//! server answers. In a process of its own: a logger is installed once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]

#[path = "../gcp/canned.rs"]
#[allow(dead_code, reason = "the other tests need more of it")]
mod canned;

use std::{sync::LazyLock, time::Duration};

use base64ct::{Base64, Encoding};
use canned::{Canned, decrypted, encrypted, refusal, some_wrap, the_key, with};
use envelope_gcp::{GcpKms, GcpKmsBuilder};
use envelope_sdk::{
    Dek, EncryptionContext, FullContext, KeyAdmin, KeyProvider, KeyUri, NewKey, crypto::DefaultEngine,
};
use envelope_testkit::{
    gcp_server::GcpServer,
    http_server::Answer,
    listener::Listening,
    secrets::{Canary, demand_none, shown},
};
use tokio::runtime::Runtime;

/// Everything that anybody logs by `log` or `tracing`, on every thread.
#[test]
fn no_log_at_any_level_holds_a_dek_while_it_is_wrapped_and_unwrapped() {
    let listening = listen();
    let http = GcpServer::new().serve();
    let kms = once_at(&http.url()).hsm_randomness(true).build();
    block_on(kms.create_key_ring(RING)).unwrap();
    let key = block_on(kms.create_key(&NewKey::named("canary"))).unwrap().uri;
    let (dek, wrapped) = block_on(kms.generate_dek(&key, &context())).unwrap();
    let again = block_on(kms.wrap_dek(&key, &dek, &context())).unwrap();
    for wrapped in [wrapped, again] {
        assert_eq!(block_on(kms.unwrap_dek(&wrapped, &context())).unwrap().expose(), dek.expose());
    }
    demand_none(&[Canary::new("the DEK", dek.expose())], "the log", &listening.heard());
}

/// In its message, its details, a header, or an answer that is none: a server may
/// repeat what it was sent.
#[test]
fn no_error_shows_a_dek_that_a_server_repeats() {
    let listening = listen();
    let dek = fresh_dek();
    let canaries = [Canary::new("the DEK", dek.expose())];
    let said = Base64::encode_string(dek.expose());
    let detail = format!(
        r#"{{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"{said}","domain":"{said}",
            "metadata":{{"a":"{said}"}}}}"#
    );
    let json = |value: serde_json::Value| Answer::json(200, value.to_string());
    let wrong = |value, field, to: &str| json(with(value, field, Some(serde_json::json!(to))));
    let answers = [
        refusal(400, "FAILED_PRECONDITION", &said, &detail),
        refusal(403, "PERMISSION_DENIED", &format!("current state is: {said}"), &detail),
        refusal(400, &said, &said, &detail),
        refusal(500, "INTERNAL", &said, &detail),
        Answer::new(502).header("x-echo", &*said).body(said.clone()),
        Answer::new(307).header("location", format!("http://127.0.0.1:1/{said}")),
        Answer::json(200, said.clone()),
        Answer::json(200, format!(r#"{{"ciphertext": "{said}", "plaintext": "{said}"}}"#)),
        Answer::json(200, format!(r#"{{"ciphertext": 1, "plaintext": [], "name": "{said}"}}"#)),
        wrong(encrypted(), "name", &said),
        wrong(decrypted(dek.expose()), "plaintextCrc32c", &said),
        wrong(decrypted(dek.expose()), "plaintextCrc32c", "7"),
        json(decrypted(&[dek.expose().as_slice(), &[0]].concat())),
    ];
    for answer in answers {
        let server = Canned::answering(move |_| answer.clone());
        let kms = server.kms();
        let errors = [
            block_on(kms.wrap_dek(&the_key(), &dek, &context())).map(drop),
            block_on(kms.unwrap_dek(&some_wrap(), &context())).map(drop),
        ];
        let errors: Vec<_> = errors.into_iter().filter_map(Result::err).collect();
        assert!(!errors.is_empty(), "it was taken for an answer that is right");
        for error in errors {
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

fn once_at(endpoint: &str) -> GcpKmsBuilder {
    GcpKms::builder()
        .endpoint_url(endpoint)
        .anonymous()
        .key_ring(RING)
        .attempts(1)
        .attempt_timeout(Duration::from_millis(1500))
}

fn key(name: &str) -> KeyUri {
    KeyUri::parse(&format!("{RING}/cryptoKeys/{name}")).unwrap()
}

fn context() -> FullContext {
    EncryptionContext::new().with("tenant", "42").full().unwrap()
}

fn fresh_dek() -> Dek {
    Dek::generate::<DefaultEngine>().unwrap()
}

const RING: &str = "projects/tests/locations/europe-west3/keyRings/tests";
