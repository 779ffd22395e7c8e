//! What is done by half, or for ever: keys that do not wrap, rings and keys that were made when the rest was
//! refused, runtimes that ended, sources that never answer, lists that contradict themselves.

use std::sync::atomic::AtomicBool;

use envelope_sdk::{
    KeyChange, KeyProvider, KeyState, ProviderError,
    ProviderErrorKind::{AccessDenied, Invalid, Other, Protocol, Unavailable, Unsupported},
};
use envelope_testkit::http_server::{Answer, HttpServer};
use serde_json::json;

use super::{
    canned::{Canned, encrypted, refusal, the_key},
    *,
};

fn wrap(kms: &GcpKms) -> Result<(), ProviderError> {
    block_on(kms.wrap_dek(&the_key(), &fresh_dek(), &context())).map(drop)
}

/// A key with these versions, by their numbers.
fn telling(key: serde_json::Value, versions: Vec<serde_json::Value>) -> HttpServer {
    HttpServer::answering(move |request| {
        let told = if request.path().ends_with("/cryptoKeyVersions") {
            json!({ "cryptoKeyVersions": versions })
        } else {
            key.clone()
        };
        Answer::json(200, told.to_string())
    })
}

fn version(number: u32) -> serde_json::Value {
    let name = format!("{RING}/cryptoKeys/the-key/cryptoKeyVersions/{number}");
    json!({ "name": name, "state": "ENABLED", "protectionLevel": "SOFTWARE" })
}

#[test]
fn a_key_for_other_purposes_is_neither_destroyed_nor_restored() {
    for purpose in ["ASYMMETRIC_SIGN", "ASYMMETRIC_DECRYPT", "MAC", "RAW_ENCRYPT_DECRYPT"] {
        let key = json!({ "name": format!("{RING}/cryptoKeys/the-key"), "purpose": purpose });
        let server = telling(key, vec![version(1)]);
        let kms = at(&server.url()).build();
        let destroy = KeyChange::State(KeyState::Destroyed);
        for outcome in [
            block_on(kms.change_key(&the_key(), None, destroy)).map(drop),
            block_on(kms.change_key(&the_key(), Some("1"), destroy)).map(drop),
            block_on(kms.check_change(&the_key(), None, destroy)),
            block_on(kms.restore_key(&the_key())).map(drop),
            block_on(kms.check_restore_key(&the_key())),
        ] {
            let error = outcome.unwrap_err();
            assert_eq!((error.kind(), error.key()), (Unsupported, Some(&the_key())), "{purpose}: {error}");
            assert!(error.message().contains("it is no key that wraps"), "{error}");
        }
        assert!(server.requests().iter().all(|request| request.method == "GET"), "{purpose}");
    }
}

#[test]
fn what_was_made_before_the_rest_was_refused_is_told() {
    let refusing = |what: &'static str| {
        GcpServer::new().serve_with(move |request, reply| {
            if request.method == "POST" && request.path().ends_with(what) {
                refusal(403, "PERMISSION_DENIED", "no", "")
            } else {
                reply.into()
            }
        })
    };
    let server = refusing("/cryptoKeys");
    let kms = at(&server.url()).build();
    let error = block_on(kms.create_key(&NewKey::named("k").option("create-key-ring", "true"))).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (AccessDenied, false), "{error}");
    assert!(error.message().starts_with(&format!("the key ring {RING} was made, and then: ")), "{error}");
    let server = refusing("/cryptoKeyVersions");
    let kms = at(&server.url()).build();
    block_on(kms.create_key_ring(RING)).unwrap();
    let external = NewKey::named("k").option("protection", "external");
    let external = external.option("external-key-uri", "https://ekm.example/1");
    let error = block_on(kms.create_key(&external)).unwrap_err();
    assert_eq!((error.kind(), error.key()), (AccessDenied, Some(&key("k"))), "{error}");
    assert!(error.message().starts_with("the key was made, and has no version yet"), "{error}");
}

#[test]
fn without_a_runtime_there_is_an_error_and_no_panic() {
    let server = Canned::saying(encrypted().to_string());
    let kms = server.kms();
    let without = || {
        let (dek, context) = (fresh_dek(), context());
        futures_executor::block_on(kms.wrap_dek(&the_key(), &dek, &context)).map(drop).unwrap_err()
    };
    for settled in [false, true] {
        if settled {
            wrap(&kms).unwrap();
        }
        let error = without();
        assert_eq!((error.kind(), error.key()), (Other, Some(&the_key())), "{error}");
        assert!(error.message().contains("tokio runtime"), "{error}");
    }
    wrap(&kms).unwrap();
}

#[test]
fn a_runtime_without_timers_is_an_error_and_no_panic() {
    let server = Canned::saying(encrypted().to_string());
    let kms = server.kms();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let error = runtime.block_on(kms.wrap_dek(&the_key(), &fresh_dek(), &context())).map(drop).unwrap_err();
    assert_eq!((error.kind(), error.key()), (Other, Some(&the_key())), "{error}");
    assert!(error.message().contains("with time and I/O"), "{error}");
}

#[test]
fn what_was_rotated_is_not_rotated_again_since_it_could_not_be_described() {
    let server = GcpServer::new();
    let promoted = AtomicBool::new(false);
    let http = server.serve_with(move |request, reply| {
        if request.path().ends_with(":updatePrimaryVersion") {
            promoted.store(true, Ordering::SeqCst);
        } else if request.method == "GET" && promoted.load(Ordering::SeqCst) {
            return refusal(503, "UNAVAILABLE", "no", "");
        }
        reply.into()
    });
    let kms = once_at(&http.url()).build();
    block_on(kms.create_key_ring(RING)).unwrap();
    let key = block_on(kms.create_key(&NewKey::named("k"))).unwrap().uri;
    let error = block_on(kms.rotate_key(&key)).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (Unavailable, false), "{error}");
    assert!(error.message().contains("could not be described"), "{error}");
}

/// The tasks that renew tokens are of the runtime of the first call.
#[test]
fn a_client_whose_runtime_has_ended_is_an_error_and_made_anew() {
    let issuer = HttpServer::answering(|_| {
        let token = r#"{"access_token":"t","expires_in":1,"token_type":"Bearer"}"#;
        Answer::json(200, token).header("metadata-flavor", "Google")
    });
    let server = Canned::saying(encrypted().to_string());
    let kms = GcpKms::builder().endpoint_url(server.0.url()).metadata_server_at(issuer.url()).build();
    let first = Runtime::new().unwrap();
    first.block_on(kms.wrap_dek(&the_key(), &fresh_dek(), &context())).unwrap();
    drop(first);
    // The token is kept while it holds.
    let error = loop {
        match wrap(&kms) {
            Ok(()) => std::thread::yield_now(),
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), error.key()), (Other, Some(&the_key())), "{error}");
    assert!(error.message().contains("the tokio runtime of an earlier call has ended"), "{error}");
    wrap(&kms).unwrap();
}

/// A runtime waits at its end for each thread of its own.
#[cfg(unix)]
#[test]
fn a_file_of_credentials_that_is_never_written_ends_with_the_call_and_holds_up_no_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("credentials");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let server = Canned::saying(encrypted().to_string());
    let kms = GcpKms::builder().endpoint_url(server.0.url()).credentials_file(&pipe);
    let kms = kms.attempt_timeout(Duration::from_millis(50)).build();
    let runtime = Runtime::new().unwrap();
    let error = runtime.block_on(kms.wrap_dek(&the_key(), &fresh_dek(), &context())).unwrap_err();
    assert_eq!((error.kind(), error.key()), (Unavailable, Some(&the_key())), "{error}");
    assert!(error.message().contains("were not read in time"), "{error}");
    let (ended, has_ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        drop(runtime);
        ended.send(()).unwrap();
    });
    has_ended.recv_timeout(Duration::from_secs(30)).expect("the runtime ends");
    // What is written at last is read by the thread that waits for it, once, and used by the next call.
    std::fs::write(&pipe, "no JSON").unwrap();
    let error = wrap(&kms).unwrap_err();
    assert_eq!(error.kind(), Invalid, "{error}");
}

#[test]
fn versions_that_contradict_themselves_are_refused() {
    let key = || json!({ "name": format!("{RING}/cryptoKeys/the-key"), "purpose": "ENCRYPT_DECRYPT" });
    let with_primary = |number: u32| {
        let mut key = key();
        key["primary"] = version(number);
        key
    };
    let twice = vec![version(1), version(1)];
    let many = (1..=101).map(version).collect();
    for (key, versions) in [(key(), twice), (with_primary(2), vec![version(1)]), (key(), many)] {
        let server = telling(key, versions);
        let error = block_on(at(&server.url()).build().describe(&the_key())).unwrap_err();
        assert_eq!((error.kind(), error.key()), (Protocol, Some(&the_key())), "{error}");
    }
}
