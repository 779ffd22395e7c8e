//! The versions of the protocol.

use serde_json::{Value, json};

use tokio::io::AsyncWriteExt;

use crate::{
    client::{answer, call, name_in, post, send},
    running::{AGENT, Running},
};

/// Sends one request, and returns the status and the answer.
async fn exchange(running: &Running, message: &Value, more: &str) -> (u16, Value) {
    let mut stream = running.connect(&running.agent()).await;
    let answer = send(&mut stream, &post(&message.to_string(), more)).await.unwrap();
    // What is refused before the protocol is answered in plain words.
    (answer.status, serde_json::from_str(&answer.body).unwrap_or_default())
}

#[tokio::test]
async fn each_version_that_begins_with_initialize_is_agreed_upon() {
    let running = Running::start().await;
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let client = json!({ "name": "test", "version": "1" });
        let params = json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": client });
        let begin = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params });
        let (status, answer) = exchange(&running, &begin, "").await;
        assert_eq!((status, &answer["result"]["protocolVersion"]), (200, &json!(version)), "{answer}");
        let list = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" });
        let header = format!("MCP-Protocol-Version: {version}\r\n");
        let (status, answer) = exchange(&running, &list, &header).await;
        assert_eq!((status, &answer["result"]["tools"][0]["name"]), (200, &json!("whoami")), "{answer}");
    }
}

#[tokio::test]
async fn a_version_that_nobody_knows_is_answered_with_one_that_is_known() {
    let running = Running::start().await;
    let client = json!({ "name": "test", "version": "1" });
    let params = json!({ "protocolVersion": "1999-01-01", "capabilities": {}, "clientInfo": client });
    let begin = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params });
    let (status, answer) = exchange(&running, &begin, "").await;
    assert_eq!((status, &answer["result"]["protocolVersion"]), (200, &json!("2025-11-25")), "{answer}");
    let list = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" });
    assert_eq!(exchange(&running, &list, "MCP-Protocol-Version: 1999-01-01\r\n").await.0, 400);
}

#[tokio::test]
async fn the_version_of_2026_is_spoken_without_initialize() {
    let running = Running::start().await;
    let version = "2026-07-28";
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let header = |method: &str| format!("MCP-Protocol-Version: {version}\r\nMcp-Method: {method}\r\n");
    let ask =
        |method: &str| json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": { "_meta": meta } });
    let (status, answer) = exchange(&running, &ask("server/discover"), &header("server/discover")).await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer["result"]["supportedVersions"].as_array().unwrap().contains(&json!(version)), "{answer}");
    let (status, answer) = exchange(&running, &ask("tools/list"), &header("tools/list")).await;
    assert_eq!((status, &answer["result"]["tools"][0]["name"]), (200, &json!("whoami")), "{answer}");
    // What stands before the message is what the message says.
    let (status, answer) = exchange(&running, &ask("tools/list"), &header("tools/call")).await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(-32020)), "{answer}");
}

/// Two programs with one certificate both count their requests from 1: the notification of one must not end the call of the other.
#[tokio::test]
async fn a_notification_that_a_request_is_cancelled_is_accepted_and_ends_no_call() {
    let running = Running::start().await;
    let mut waiting = running.connect(&running.agent()).await;
    waiting.write_all(post(&call("wait"), "").as_bytes()).await.unwrap();
    running.handler.begun.notified().await;
    let cancelled =
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } });
    assert_eq!(exchange(&running, &cancelled, "").await.0, 202);
    running.handler.go_on.notify_one();
    assert_eq!(name_in(&answer(&mut waiting).await.unwrap()), AGENT);
}
