//! A client: lines of JSON, nothing between.

use envelope_mcp::{Ended, Server, serve};
use envelope_sdk::printable;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf},
    task::JoinHandle,
};

pub(crate) struct Client {
    send: WriteHalf<DuplexStream>,
    lines: Lines<BufReader<ReadHalf<DuplexStream>>>,
    session: JoinHandle<std::io::Result<Ended>>,
    next: u64,
}

impl Client {
    /// Not begun yet.
    pub(crate) fn raw(server: Server) -> Self {
        let (here, there) = tokio::io::duplex(1 << 22);
        let (read, write) = tokio::io::split(there);
        let session = tokio::spawn(serve(server, read, write));
        let (lines, send) = tokio::io::split(here);
        Self { send, lines: BufReader::new(lines).lines(), session, next: 0 }
    }

    pub(crate) async fn begin(server: Server) -> Self {
        let mut client = Self::raw(server);
        let hello = json!({
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" }
        });
        let welcome = client.request("initialize", hello).await;
        assert_eq!(welcome["result"]["protocolVersion"], "2025-11-25");
        client.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }).to_string()).await;
        client
    }

    pub(crate) async fn send(&mut self, line: &str) {
        self.send.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.send.write_all(bytes).await.unwrap();
    }

    /// The next line. Whatever it is, it is bounded and shows all that it holds.
    pub(crate) async fn line(&mut self) -> Option<String> {
        let line = self.lines.next_line().await.unwrap()?;
        assert!(line.len() <= 64 * 1024, "{} bytes", line.len());
        assert_eq!(printable::text(&line), line, "something in it hides");
        Some(line)
    }

    pub(crate) async fn message(&mut self) -> Value {
        serde_json::from_str(&self.line().await.expect("the session ended")).unwrap()
    }

    pub(crate) async fn request(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let id = self.next;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string())
            .await;
        loop {
            let message = self.message().await;
            if message["id"] == id {
                return message;
            }
        }
    }

    /// The whole result of a tool.
    pub(crate) async fn result(&mut self, tool: &str, arguments: Value) -> Value {
        let answer = self.request("tools/call", json!({ "name": tool, "arguments": arguments })).await;
        assert!(answer["error"].is_null(), "{tool}: {answer}");
        answer["result"].clone()
    }

    /// The answer of a tool, which must be one.
    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let result = self.result(tool, arguments).await;
        assert_eq!(result["isError"], false, "{tool}: {result}");
        let text: Value = serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(text, result["structuredContent"], "both say the same");
        text
    }

    /// The error of a tool, which must be one.
    pub(crate) async fn fails(&mut self, tool: &str, arguments: Value) -> Value {
        let result = self.result(tool, arguments).await;
        assert_eq!(result["isError"], true, "{tool}: {result}");
        serde_json::from_str::<Value>(result["content"][0]["text"].as_str().unwrap()).unwrap()["error"]
            .clone()
    }

    /// Closes this end, and says how the session ended.
    pub(crate) async fn close(mut self) -> std::io::Result<Ended> {
        self.send.shutdown().await.unwrap();
        self.session.await.unwrap()
    }

    /// Waits for the other end to close.
    pub(crate) async fn ended(mut self) -> std::io::Result<Ended> {
        assert_eq!(self.lines.next_line().await.unwrap(), None);
        self.session.await.unwrap()
    }
}
