//! What others would leave half done, or take for granted: runtimes, calls that are given up, pipes.

use envelope_sdk::{
    KeyProvider,
    ProviderErrorKind::{Other, Unavailable},
};

use super::*;

#[test]
fn without_a_runtime_or_after_its_end_a_call_is_an_error_and_panics_nowhere() {
    let Some(server) = Server::shared() else { return };
    let (vault, key) = (server.vault(), server.key());
    let (dek, full) = (fresh_dek(), context());
    let wrap = || vault.wrap_dek(&key, &dek, &full);
    let error = futures_executor::block_on(wrap()).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (Other, false), "{error}");
    assert!(error.message().contains("tokio runtime"), "{error}");
    let first = Runtime::new().unwrap();
    first.block_on(wrap()).unwrap();
    drop(first);
    let second = Runtime::new().unwrap();
    second.block_on(wrap()).unwrap();
    let error = futures_executor::block_on(wrap()).unwrap_err();
    assert_eq!(error.kind(), Other, "{error}");
    let bare = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let error = bare.block_on(wrap()).unwrap_err();
    assert_eq!(error.kind(), Other, "{error}");
}

/// A pipe that nobody writes to, and a call that is no longer polled.
#[cfg(unix)]
#[test]
fn reading_a_token_ends_with_the_call_and_a_call_given_up_stops_no_other() {
    let Some(server) = Server::shared() else { return };
    let key = server.key();
    let folder = tempfile::TempDir::new().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let vault = HashiVault::builder()
        .address(&server.url)
        .token_file(&pipe)
        .context_binding(envelope_vault::Binding::Envelope)
        .attempt_timeout(Duration::from_millis(500))
        .build();
    let (dek, full) = (fresh_dek(), context());
    let mut given_up = Box::pin(vault.wrap_dek(&key, &dek, &full));
    block_on(async {
        tokio::time::timeout(Duration::from_millis(200), &mut given_up).await.unwrap_err();
        let error = vault.wrap_dek(&key, &dek, &full).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Unavailable, true), "{error}");
    });
    std::fs::write(&pipe, "root").unwrap();
    block_on(vault.wrap_dek(&key, &dek, &full)).unwrap();
    drop(given_up);
}

/// Also while it is found out how a key binds, and while the token is looked at.
#[test]
fn a_crowd_of_first_calls_finds_out_once_and_each_gets_its_own() {
    let Some(server) = Server::shared() else { return };
    let recorder =
        envelope_testkit::servers::Recorder::before(server.url.strip_prefix("http://").unwrap()).unwrap();
    let vault = at(&format!("http://{}", recorder.address())).build();
    let key = server.key();
    let wraps = block_on(async {
        let calls = (0..64).map(|_| async { vault.wrap_dek(&key, &fresh_dek(), &context()).await.unwrap() });
        futures_util::future::join_all(calls).await
    });
    let sent = String::from_utf8_lossy(&recorder.take().concat()).into_owned();
    assert_eq!(sent.matches("GET /v1/auth/token/lookup-self").count(), 1);
    assert_eq!(sent.matches("POST /v1/transit/encrypt/").count(), 64 + 1);
    let mut texts: Vec<_> = wraps.iter().map(|wrapped| wrapped.ciphertext().to_vec()).collect();
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), 64);
}
