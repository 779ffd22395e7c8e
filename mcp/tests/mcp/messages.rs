//! Lines that are none of the protocol, and sessions that end.

use envelope_mcp::{Ended, MAX_MESSAGE};
use serde_json::{Value, json};

use crate::{client::Client, served::Served};

#[tokio::test]
async fn garbage_is_answered_with_an_error_of_json_rpc_and_the_session_goes_on() {
    let served = Served::new().await;
    let mut client = Client::begin(served.server()).await;
    let cases: [(&[u8], i64, Value); 9] = [
        (b"garbage\n", -32700, Value::Null),
        (b"{\"jsonrpc\":\"2.0\"\n", -32700, Value::Null),
        (b"\xff\xfe\n", -32700, Value::Null),
        (b"[]\n", -32600, Value::Null),
        (b"[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}]\n", -32600, Value::Null),
        (b"7\n", -32600, Value::Null),
        (b"{\"foo\":1}\n", -32600, Value::Null),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"ping\"}\n", -32600, Value::Null),
        (b"{\"jsonrpc\":\"1.0\",\"id\":\"x\",\"method\":\"ping\"}\n", -32600, json!("x")),
    ];
    for (line, code, id) in cases {
        client.send_bytes(line).await;
        let answer = client.message().await;
        let shown = String::from_utf8_lossy(line);
        assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(code), &id), "{shown}: {answer}");
    }
    client.send_bytes(b"\n  \n").await;
    assert_eq!(client.request("ping", json!({})).await["result"], json!({}));
    assert_eq!(client.close().await.unwrap(), Ended::Closed);
}

#[tokio::test]
async fn a_message_that_is_too_long_is_refused_and_ends_the_session() {
    let served = Served::new().await;
    let mut client = Client::begin(served.server()).await;
    client.send_bytes(&vec![b'a'; MAX_MESSAGE + 1]).await;
    let refusal = client.message().await;
    assert_eq!(refusal["error"]["code"], -32600);
    assert_eq!(client.ended().await.unwrap_err().kind(), std::io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn a_client_that_does_not_begin_as_the_protocol_has_it_is_not_served() {
    let served = Served::new().await;
    let mut client = Client::raw(served.server());
    client.send(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#).await;
    client.send(r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#).await;
    let ended = client.close().await.unwrap();
    assert!(matches!(ended, Ended::NotBegun | Ended::Closed), "{ended:?}");
}

#[tokio::test]
async fn every_known_protocol_version_is_negotiated() {
    let served = Served::new().await;
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let mut client = Client::raw(served.server());
        let hello = json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
        assert_eq!(client.request("initialize", hello).await["result"]["protocolVersion"], version);
        client.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }).to_string()).await;
        let tools = client.request("tools/list", json!({})).await;
        assert_eq!(tools["result"]["tools"].as_array().unwrap().len(), 13, "{version}");
        client.close().await.unwrap();
    }
}
