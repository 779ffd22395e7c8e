//! What is looked at before a request reaches the protocol.

use crate::{
    client::{answer, ask, call, head, name_in, post, send},
    running::{AGENT, Running},
};
use tokio::io::AsyncWriteExt;

/// The status of the answer and the reason that is recorded.
async fn refused(running: &Running, request: &str) -> (u16, &'static str) {
    let mut stream = running.connect(&running.agent()).await;
    let answer = send(&mut stream, request).await.unwrap();
    let event = running.records.find(|event| event.operation == "mcp-request").await;
    assert_eq!(event.client.as_deref(), Some(AGENT));
    assert!(event.value("fingerprint").is_some());
    (answer.status, event.reason.unwrap())
}

#[tokio::test]
async fn a_host_that_is_not_in_the_certificate_is_refused() {
    let running = Running::start().await;
    let request = post(&call("whoami"), "Host: rebound.example\r\n");
    assert_eq!(refused(&running, &request).await, (403, "host"));
}

#[tokio::test]
async fn without_a_host_or_with_two_nothing_is_answered() {
    let message = call("whoami");
    let without = post(&message, "").replace("Host: localhost\r\n", "");
    assert_eq!(refused(&Running::start().await, &without).await, (403, "host"));
    let two = post(&message, "Host: localhost\r\nHost: localhost\r\n");
    assert_eq!(refused(&Running::start().await, &two).await, (403, "host"));
    let absolute = post(&message, "").replace("POST /mcp", "POST http://rebound.example/mcp");
    assert_eq!(refused(&Running::start().await, &absolute).await, (403, "host"));
}

#[tokio::test]
async fn the_hosts_of_the_settings_replace_those_of_the_certificate() {
    let running = Running::start_with(|options, _| options.hosts = vec!["mcp.example".into()]).await;
    let mut stream = running.connect(&running.agent()).await;
    let known = send(&mut stream, &post(&call("whoami"), "Host: mcp.example:8443\r\n")).await.unwrap();
    assert_eq!(name_in(&known), AGENT);
    assert_eq!(refused(&running, &post(&call("whoami"), "")).await, (403, "host"));
}

#[tokio::test]
async fn a_page_of_any_origin_is_refused_unless_it_is_listed() {
    let with = |origin: &str| post(&call("whoami"), &format!("Origin: {origin}\r\n"));
    for origin in ["https://evil.example", "null", "https://localhost"] {
        assert_eq!(refused(&Running::start().await, &with(origin)).await, (403, "origin"), "{origin}");
    }
    let running =
        Running::start_with(|options, _| options.origins = vec!["https://app.example".into()]).await;
    let mut stream = running.connect(&running.agent()).await;
    assert_eq!(name_in(&send(&mut stream, &with("https://app.example")).await.unwrap()), AGENT);
    assert_eq!(refused(&running, &with("https://app.example.evil.example")).await, (403, "origin"));
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_whether_it_says_so_or_not() {
    let running = Running::start_with(|options, _| options.limits.body = 1000).await;
    let mut stream = running.connect(&running.agent()).await;
    let said = send(&mut stream, &head(1001, "")).await.unwrap();
    let chunked = head(0, "Transfer-Encoding: chunked\r\n").replace("Content-Length: 0\r\n", "");
    let mut stream = running.connect(&running.agent()).await;
    let unsaid =
        send(&mut stream, &format!("{chunked}3e9\r\n{}\r\n0\r\n\r\n", " ".repeat(1001))).await.unwrap();
    assert_eq!((said.status, unsaid.status), (413, 413));
    assert!(said.head.to_ascii_lowercase().contains("connection: close"), "{said:?}");
    assert_eq!(running.records.reasons(), ["body-too-large", "body-too-large"]);
}

#[tokio::test]
async fn a_body_at_the_limit_is_read() {
    let message = call("whoami");
    let length = message.len();
    let running = Running::start_with(move |options, _| options.limits.body = length).await;
    assert_eq!(running.whoami(&running.agent()).await.unwrap(), AGENT);
}

#[tokio::test]
async fn a_header_that_is_too_long_or_none_is_refused() {
    for (request, status) in [
        (post(&call("whoami"), &format!("X: {}\r\n", "x".repeat(17 * 1024))), 431),
        ("\u{1}\u{2}\r\n\r\n".to_owned(), 400),
    ] {
        let running = Running::start().await;
        assert_eq!(refused(&running, &request).await, (status, "bad-request"));
    }
}

#[tokio::test]
async fn another_path_or_method_is_answered_with_that() {
    let running = Running::start().await;
    let mut stream = running.connect(&running.agent()).await;
    let mut status = async |from: &str, to: &str| {
        send(&mut stream, &post(&call("whoami"), "").replacen(from, to, 1)).await.unwrap().status
    };
    assert_eq!(status("/mcp", "/").await, 404);
    assert_eq!(status("/mcp", "/mcp/../mcp").await, 404);
    assert_eq!(status("POST", "GET").await, 405);
    assert_eq!(status("POST", "DELETE").await, 405);
    assert_eq!(status("/mcp", "/mcp?a=b").await, 200);
}

#[tokio::test]
async fn what_is_no_message_of_the_protocol_is_answered_with_an_error() {
    let running = Running::start().await;
    let mut stream = running.connect(&running.agent()).await;
    for message in ["", "{", "[]", r#"{"jsonrpc":"1.0","id":1,"method":"tools/list"}"#, "\0"] {
        assert_eq!(ask(&mut stream, message).await.unwrap().status, 415, "{message:?}");
    }
    let unknown = ask(&mut stream, r#"{"jsonrpc":"2.0","id":7,"method":"keys/unwrap"}"#).await.unwrap();
    assert_eq!(
        (unknown.json()["id"].as_i64(), unknown.json()["error"]["code"].as_i64()),
        (Some(7), Some(-32601))
    );
    // And the connection is of use afterwards.
    assert_eq!(name_in(&ask(&mut stream, &call("whoami")).await.unwrap()), AGENT);
}

#[tokio::test]
async fn a_call_is_cancelled_by_closing_its_request() {
    let running = Running::start().await;
    let mut stream = running.connect(&running.agent()).await;
    stream.write_all(post(&call("wait"), "").as_bytes()).await.unwrap();
    running.handler.begun.notified().await;
    drop(stream);
    running.handler.dropped.notified().await;
}

#[tokio::test]
async fn requests_that_are_sent_ahead_are_answered_in_their_order() {
    let running = Running::start().await;
    let mut stream = running.connect(&running.agent()).await;
    let list = r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#;
    let both = format!("{}{}", post(&call("whoami"), ""), post(list, ""));
    let first = send(&mut stream, &both).await.unwrap();
    let second = answer(&mut stream).await.unwrap();
    assert_eq!((name_in(&first).as_str(), second.json()["id"].as_i64()), (AGENT, Some(2)));
}

#[tokio::test]
async fn three_requests_of_one_client_are_worked_on_at_once() {
    let running = Running::start().await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = running.connect(&running.agent()).await;
        stream.write_all(post(&call("wait"), "").as_bytes()).await.unwrap();
        running.handler.begun.notified().await;
        streams.push(stream);
    }
    // None was answered yet, and each goes on once it is let go.
    let let_go = async {
        loop {
            running.handler.go_on.notify_one();
            tokio::task::yield_now().await;
        }
    };
    let answers = futures_util::future::join_all(streams.iter_mut().map(answer));
    let answers = tokio::select! { answers = answers => answers, () = let_go => Vec::new() };
    let names: Vec<_> = answers.iter().map(|answer| name_in(answer.as_ref().unwrap())).collect();
    assert_eq!(names, [AGENT; 3]);
}
