//! What others would leave half done, or take for granted: runtimes, keys of another
//! kind, lists that repeat themselves, and the identity of this machine.

use std::process::Command;

use envelope_sdk::{
    KeyChange, KeyProvider, KeyState,
    ProviderErrorKind::{AccessDenied, Other, Protocol, Unavailable, Unsupported},
    admin::AutoRotation,
};
use envelope_testkit::http_server::{Answer, HttpServer};

use super::*;

#[test]
fn without_a_runtime_or_after_its_end_a_call_is_an_error_and_panics_nowhere() {
    let azure = Azure::new();
    let key = azure.key();
    let vaults = azure.builder().build();
    let (dek, full) = (fresh_dek(), context());
    let wrap = || vaults.wrap_dek(&key, &dek, &full);
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
}

/// A pipe that nobody writes to, and a call that is no longer polled.
#[cfg(unix)]
#[test]
fn reading_a_secret_ends_with_the_call_and_a_call_given_up_stops_no_other() {
    let azure = Azure::new();
    let key = azure.key();
    let pipe = azure.folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let vaults = azure
        .builder()
        .tenant_id("tests")
        .client_id("a-test")
        .client_secret_file(&pipe)
        .attempt_timeout(Duration::from_millis(500))
        .build();
    let (dek, full) = (fresh_dek(), context());
    let mut given_up = Box::pin(vaults.wrap_dek(&key, &dek, &full));
    block_on(async {
        tokio::time::timeout(Duration::from_millis(200), &mut given_up).await.unwrap_err();
        let error = vaults.wrap_dek(&key, &dek, &full).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Unavailable, true), "{error}");
    });
    std::fs::write(&pipe, "secret").unwrap();
    block_on(vaults.wrap_dek(&key, &dek, &full)).unwrap();
    drop(given_up);
}

/// A runtime waits at its end for each thread of its own, and one that reads a silent pipe never ends.
#[cfg(unix)]
#[test]
fn a_runtime_ends_although_the_pipe_of_a_secret_or_a_token_stays_silent() {
    let azure = Azure::new();
    let key = azure.key();
    let pipe = azure.folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let client = || {
        let builder = azure.builder().tenant_id("tests").client_id("a-test");
        builder.attempts(1).attempt_timeout(Duration::from_millis(100))
    };
    for builder in [client().client_secret_file(&pipe), client().workload_identity(Some(pipe.clone()))] {
        let (vaults, runtime) = (builder.build(), Runtime::new().unwrap());
        let error = runtime.block_on(vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Unavailable, true), "{error}");
        assert!(error.message().contains("in time"), "{error}");
        let (ended, has_ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            drop(runtime);
            ended.send(()).unwrap();
        });
        has_ended.recv_timeout(Duration::from_secs(30)).expect("the runtime ends");
    }
}

#[test]
fn a_key_that_wraps_nothing_is_neither_changed_nor_rotated() {
    for (field, value) in
        [("kty", serde_json::json!("EC")), ("key_ops", serde_json::json!(["sign", "verify"]))]
    {
        let azure = Azure::new();
        let key = azure.key();
        let service = azure.server.serve_with(move |_, mut reply| {
            if reply.body.get("key").is_some() {
                reply.body["key"][field] = value.clone();
            }
            reply.into()
        });
        let vaults = at(&service, &azure.folder).vault(VAULT).build();
        let state = |state| block_on(vaults.change_key(&key, None, KeyChange::State(state))).map(drop);
        for refused in [
            state(KeyState::Suspended),
            state(KeyState::Destroyed),
            block_on(vaults.rotate_key(&key)).map(drop),
            block_on(vaults.set_rotation(&key, AutoRotation::Default)),
            block_on(vaults.set_not_after(&key, None, None)).map(drop),
        ] {
            assert_eq!(refused.unwrap_err().kind(), Unsupported, "{field}");
        }
        assert!(block_on(vaults.list_keys(None)).unwrap().keys.is_empty());
    }
}

#[test]
fn a_list_that_repeats_itself_or_holds_more_than_was_asked_for_is_refused() {
    for what in ["a page again", "two pages in turn", "a key twice", "more than asked"] {
        let azure = Azure::hsm();
        let key = azure.key();
        let service = azure.server.serve_with(move |request, mut reply| {
            if !request.path().ends_with("/versions") || request.header("authorization").is_none() {
                return reply.into();
            }
            let host = request.header("host").unwrap();
            let goes_on = |page: &str| format!("https://{host}{}?$skiptoken={page}", request.path()).into();
            let entry = reply.body["value"][0].clone();
            match what {
                "a page again" => reply = empty_page(&goes_on("a")),
                "two pages in turn" => {
                    let next = if request.target.contains("=a") { "b" } else { "a" };
                    reply = empty_page(&goes_on(next));
                }
                "a key twice" => reply.body["value"] = serde_json::json!([entry, entry]),
                _ => reply.body["value"] = vec![entry; 26].into(),
            }
            reply.into()
        });
        let vaults = at(&service, &azure.folder).build();
        let error = block_on(vaults.describe_key(&key)).unwrap_err();
        assert_eq!(error.kind(), Protocol, "{what}: {error}");
    }
}

/// Taken for an empty one, it would hide each key, and versions that are to be suspended.
#[test]
fn an_answer_without_a_list_is_no_empty_list() {
    for (path, answer) in [
        ("/keys", "{}"),
        ("/versions", "{}"),
        ("/keys", r#"{"nextLink":null}"#),
        ("/versions", r#"{"key":null}"#),
    ] {
        let azure = Azure::new();
        let key = azure.key();
        let service = azure.server.serve_with(move |request, reply| {
            let is_it = request.path().ends_with(path) && request.header("authorization").is_some();
            if is_it { Answer::json(200, answer) } else { reply.into() }
        });
        let vaults = at(&service, &azure.folder).vault(VAULT).build();
        let error = match path {
            "/keys" => block_on(vaults.list_keys(None)).map(drop).unwrap_err(),
            _ => {
                let state = KeyChange::State(KeyState::Suspended);
                block_on(vaults.change_key(&key, None, state)).map(drop).unwrap_err()
            }
        };
        assert_eq!((error.kind(), error.is_retryable()), (Protocol, false), "{path} {answer}: {error}");
        assert!(error.message().contains("cannot be read"), "{path} {answer}: {error}");
    }
}

/// In a process of its own, whose environment says where the identity is had: here, in
/// plain http, past the proxy; and nowhere else so.
#[test]
fn the_identity_of_this_machine_is_asked_here_and_by_no_proxy() {
    let azure = Azure::new();
    let key = azure.key();
    let proxy = HttpServer::answering(|_| Answer::new(500));
    let identity = HttpServer::answering(|request| {
        assert!(
            request.target.contains("resource=https")
                && request.header("x-identity-header") == Some("it-is-me")
        );
        Answer::json(
            200,
            r#"{"access_token":"a-test","expires_on":"4102444800","token_type":"Bearer","resource":"x"}"#,
        )
    });
    let run = |endpoint: &str| {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "halves::child_with_an_identity", "--ignored", "--nocapture"])
            .env("AZURE_TESTS_KEY", key.as_str())
            .env("AZURE_TESTS_PORT", azure.service.port().to_string())
            .env("AZURE_TESTS_CA", azure.ca())
            .env("IDENTITY_ENDPOINT", endpoint)
            .env("IDENTITY_HEADER", "it-is-me")
            .envs(["HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"].map(|name| (name, proxy.url())))
            .output()
            .unwrap();
        String::from_utf8_lossy(&child.stdout).into_owned()
    };
    let said = run(&format!("{}/token", identity.url()));
    assert!(said.contains("WRAPPED"), "{said}");
    assert_eq!((identity.count(), proxy.count()), (1, 0));
    let said = run("http://identity.example/token");
    assert!(said.contains("REFUSED") && !said.contains("it-is-me"), "{said}");
    assert_eq!((identity.count(), proxy.count()), (1, 0));
}

#[test]
#[ignore = "the test above runs it, in an environment of its own"]
#[allow(clippy::print_stdout, reason = "what it says is heard there")]
fn child_with_an_identity() {
    let variable = |name: &str| std::env::var(name).unwrap();
    let key = KeyUri::parse(&variable("AZURE_TESTS_KEY")).unwrap();
    let vaults = AzureKeyVault::builder()
        .domain(format!("localhost:{}", variable("AZURE_TESTS_PORT")))
        .ca_file(variable("AZURE_TESTS_CA"))
        .attempts(1)
        .build();
    match block_on(vaults.wrap_dek(&key, &fresh_dek(), &context())) {
        Ok(_) => println!("WRAPPED"),
        Err(error) => {
            assert_eq!(error.kind(), AccessDenied, "{error}");
            println!("REFUSED {error}");
        }
    }
}

fn empty_page(next: &serde_json::Value) -> envelope_testkit::azure_server::Reply {
    envelope_testkit::azure_server::Reply::ok(serde_json::json!({"value": [], "nextLink": next}))
}
