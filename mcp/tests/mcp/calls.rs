//! Calls while they run: how many may, how they are told of, how they end.

use envelope_mcp::{Caller, Kind, Server};
use serde_json::json;

use crate::{
    client::Client,
    served::{Gate, Served},
};

/// Lists keys, whose answer has this id.
fn list(id: usize) -> String {
    let params = json!({ "name": "list_keys", "arguments": {} });
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }).to_string()
}

#[tokio::test]
async fn a_call_beyond_those_that_may_run_at_once_is_refused_and_the_others_go_on() {
    let mut served = Served::new().await;
    let gate = Gate::closed();
    served.gate = Some(gate.clone());
    let mut client = Client::begin(served.server()).await;
    for id in 0..Server::MOST_CALLS {
        client.send(&list(1000 + id)).await;
    }
    gate.wait_for(16).await;
    let refused = client.fails("explain_error", json!({ "exit_code": 4 })).await;
    assert_eq!(refused["message"], "16 calls run already");
    // Nor a prompt or a resource: each has a record that may be waited for.
    let prompt = client.request("prompts/get", json!({ "name": "plan_rotation" })).await;
    assert_eq!(prompt["error"]["message"], "16 calls run already");
    let resource = client.request("resources/read", json!({ "uri": "envctl://policy" })).await;
    assert_eq!(resource["error"]["message"], "16 calls run already");
    gate.go.add_permits(Server::MOST_CALLS);
    for _ in 0..Server::MOST_CALLS {
        let answer = client.message().await;
        assert!(answer["id"].as_u64().unwrap() >= 1000, "{answer}");
        assert_eq!(answer["result"]["isError"], false, "{answer}");
    }
    assert_eq!(client.call("explain_error", json!({ "exit_code": 4 })).await["kind"], "not-authentic");
}

#[tokio::test]
async fn a_client_that_fills_its_places_stops_no_other() {
    let mut served = Served::new().await;
    let gate = Gate::closed();
    served.gate = Some(gate.clone());
    let shared = Server::for_each_request(served.facade());
    let client = |name: &str| Client::begin(shared.for_client(Caller::named(name).unwrap()));
    let mut greedy = Vec::new();
    for name in ["spiffe://acme.example/greedy", "spiffe://acme.example/also"] {
        let mut client = client(name).await;
        for id in 0..Server::MOST_CALLS {
            client.send(&list(1000 + id)).await;
        }
        greedy.push(client);
    }
    gate.wait_for(32).await;
    for client in &mut greedy {
        let refused = client.fails("explain_error", json!({ "exit_code": 4 })).await;
        assert_eq!(refused["message"], "16 calls run already");
    }
    let mut other = client("spiffe://acme.example/other").await;
    other.send(&list(1000)).await;
    gate.wait_for(1).await;
    let refused = other.fails("explain_error", json!({ "exit_code": 4 })).await;
    assert_eq!(refused["message"], "33 calls of all clients run already");
    gate.go.add_permits(33);
    assert_eq!(other.message().await["result"]["isError"], false);
    assert_eq!(other.call("explain_error", json!({ "exit_code": 4 })).await["kind"], "not-authentic");
}

#[tokio::test]
async fn a_call_that_the_client_cancels_ends_unanswered_and_is_recorded() {
    let mut served = Served::new().await;
    let gate = Gate::closed();
    served.gate = Some(gate.clone());
    let mut client = Client::begin(served.server()).await;
    for id in 0..Server::MOST_CALLS {
        client.send(&list(1000 + id)).await;
    }
    gate.wait_for(16).await;
    for id in 0..Server::MOST_CALLS {
        let cancelled = json!({ "requestId": 1000 + id, "reason": "enough" });
        let notification =
            json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled });
        client.send(&notification.to_string()).await;
    }
    // What ended has made room: nothing opens the gate.
    while served.recorded.lock().unwrap().len() < Server::MOST_CALLS {
        tokio::task::yield_now().await;
    }
    assert_eq!(client.call("explain_error", json!({ "exit_code": 4 })).await["kind"], "not-authentic");
    client.close().await.unwrap();
    let recorded = served.recorded.lock().unwrap();
    assert_eq!(recorded.len(), Server::MOST_CALLS + 1);
    for event in &recorded[..Server::MOST_CALLS] {
        assert_eq!((event.operation.as_str(), event.failure), ("mcp-list-keys", Some(Kind::Other)));
    }
}

/// The list of keys is read page by page, as a tool reads it.
#[tokio::test]
async fn a_resource_that_nobody_waits_for_any_more_is_read_no_further_and_is_recorded() {
    let mut served = Served::new().await;
    let gate = Gate::closed();
    served.gate = Some(gate.clone());
    let mut client = Client::begin(served.server()).await;
    let read = json!({ "jsonrpc": "2.0", "id": 1000, "method": "resources/read", "params": { "uri": "envctl://keys" } });
    client.send(&read.to_string()).await;
    gate.wait_for(1).await;
    let cancelled =
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1000 } });
    client.send(&cancelled.to_string()).await;
    // Nothing opens the gate.
    while served.recorded.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let recorded = served.recorded.lock().unwrap();
    assert_eq!((recorded[0].operation.as_str(), recorded[0].failure), ("mcp-resource", Some(Kind::Other)));
}

#[tokio::test]
async fn a_client_that_asks_for_it_is_told_how_far_a_search_came() {
    let served = Served::new().await;
    for number in 0..200 {
        std::fs::write(served.root().join(format!("plain-{number:03}")), "no envelope").unwrap();
    }
    let mut client = Client::begin(served.server()).await;
    let params =
        json!({ "name": "find_envelopes", "arguments": {}, "_meta": { "progressToken": "how far" } });
    let call = json!({ "jsonrpc": "2.0", "id": "search", "method": "tools/call", "params": params });
    client.send(&call.to_string()).await;
    let mut told = Vec::new();
    let answer = loop {
        let message = client.message().await;
        if message["id"] == "search" {
            break message;
        }
        assert_eq!(message["method"], "notifications/progress", "{message}");
        assert_eq!(message["params"]["progressToken"], "how far", "{message}");
        told.push(message["params"]["progress"].as_f64().unwrap());
    };
    assert_eq!(answer["result"]["structuredContent"]["envelopes"].as_array().unwrap().len(), 3);
    assert!(!told.is_empty() && told.is_sorted(), "{told:?}");
    // Nobody asked.
    let quiet = json!({ "name": "find_envelopes", "arguments": {} });
    client
        .send(
            &json!({ "jsonrpc": "2.0", "id": "quiet", "method": "tools/call", "params": quiet }).to_string(),
        )
        .await;
    assert_eq!(client.message().await["id"], "quiet");
}
