//! What others would leave half done, or take for granted: runtimes, calls that are given up, pipes.

use envelope_sdk::{
    KeyProvider,
    ProviderErrorKind::{Other, Unavailable},
};

use envelope_testkit::http_server::{Answer, HttpServer};

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

/// A runtime waits at its end for each of its threads: none of them reads a pipe that nobody writes to.
#[cfg(unix)]
#[test]
fn the_end_of_a_runtime_waits_for_no_pipe_and_no_helper() {
    let http = HttpServer::answering(|_| Answer::json(200, faults::good(7)));
    let folder = tempfile::TempDir::new().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let pem = folder.path().join("pem");
    std::fs::write(&pem, "").unwrap();
    let sleeps = helper(&folder, "sleep 300");
    let here = || HashiVault::builder().address(http.url()).attempt_timeout(Duration::from_millis(100));
    for builder in [
        here().token_file(&pipe),
        here().app_role_with_file("role", &pipe),
        here().jwt_file(None, &pipe),
        here().kubernetes("role", Some(pipe.clone())),
        here().token("root").client_certificate(&pem, &pipe),
        here().token_helper(&sleeps),
    ] {
        let vault = builder.build();
        let runtime = Runtime::new().unwrap();
        let error = runtime.block_on(vault.unwrap_dek(&faults::wrapped(), &context())).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Unavailable, true), "{error}");
        let (ended, end) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            drop(runtime);
            ended.send(()).unwrap();
        });
        end.recv_timeout(Duration::from_secs(5)).expect("the runtime does not end");
    }
    assert_eq!(http.count(), 0);
}

/// Nor does it outlive the call by what it began, or go on talking.
#[cfg(unix)]
#[test]
fn a_token_helper_ends_with_the_call_and_so_does_what_it_began() {
    use envelope_sdk::ProviderErrorKind::Invalid;
    let http = HttpServer::answering(|_| Answer::json(200, faults::good(7)));
    let folder = tempfile::TempDir::new().unwrap();
    let pid = folder.path().join("pid");
    let begins = format!("sleep 300 & echo $! > {0}.new; mv {0}.new {0}", pid.display());
    let with = |text: &str, attempt| {
        let _ = std::fs::remove_file(&pid);
        let vault = HashiVault::builder()
            .address(http.url())
            .token_helper(helper(&folder, text))
            .attempt_timeout(Duration::from_millis(attempt))
            .build();
        unwrap(&vault, &faults::wrapped()).map(drop)
    };
    let is_gone = || {
        let id = std::fs::read_to_string(&pid).unwrap();
        let alive = || {
            std::process::Command::new("kill")
                .arg("-0")
                .arg(id.trim())
                .stderr(std::process::Stdio::null())
                .status()
        };
        tokens::until(|| !alive().unwrap().success() || is_dead(id.trim()));
    };
    // It has told a token, and what it began still might: it is waited for as long as the call lasts.
    for end in ["printf root", "wait"] {
        let error = with(&format!("{begins}; {end}"), 1_500).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Unavailable, true), "{error}");
        is_gone();
    }
    let start = std::time::Instant::now();
    let error = with(&format!("{begins}; yes"), 5000).unwrap_err();
    assert!(error.kind() == Invalid && error.message().contains("no token"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    is_gone();
    let error = with(&format!("{begins}; exec >&-; exit 1"), 5000).unwrap_err();
    assert!(error.kind() == Invalid && error.message().contains("failed"), "{error}");
    is_gone();
    // What stays by itself, and says nothing, is not in the way.
    with(&format!("{begins} >/dev/null; printf root").replace("300 &", "3 >/dev/null &"), 5000).unwrap();
}

/// Killed, and not yet waited for by the first process of this machine.
#[cfg(unix)]
fn is_dead(id: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}

#[cfg(unix)]
fn helper(folder: &tempfile::TempDir, text: &str) -> std::path::PathBuf {
    let path = folder.path().join(fresh_name());
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    path
}

#[cfg(unix)]
#[test]
fn a_file_without_an_end_is_no_token() {
    use envelope_sdk::ProviderErrorKind::Invalid;
    let vault = HashiVault::builder().address("http://127.0.0.1:1").token_file("/dev/zero").build();
    let error = unwrap(&vault, &faults::wrapped()).unwrap_err();
    assert!(error.kind() == Invalid && error.message().contains("longer than"), "{error}");
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
