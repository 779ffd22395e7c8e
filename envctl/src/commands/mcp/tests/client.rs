//! A client of the server, at its standard input or over mTLS.

use std::sync::Arc;

use envelope_mcp::{Server, net, serve};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::{
    io::{
        AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf,
        duplex, split,
    },
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::installed::Installed;

pub(super) enum Client {
    Lines(WriteHalf<DuplexStream>, Lines<BufReader<ReadHalf<DuplexStream>>>),
    Http(Box<TlsStream<DuplexStream>>),
}

impl Client {
    pub(super) async fn at_standard_input(server: Server) -> Self {
        let (here, there) = duplex(1 << 22);
        let (read, write) = split(there);
        tokio::spawn(serve(server, read, write));
        let (read, write) = split(here);
        let mut client = Self::Lines(write, BufReader::new(read).lines());
        let hello = json!({
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" }
        });
        client.ask("initialize", &hello).await;
        client
    }

    /// With the certificate of this name, and the connection as the server serves it.
    pub(super) async fn over_mtls(
        network: &net::Server<Server>,
        installed: &Installed,
        name: &str,
    ) -> (Self, JoinHandle<()>) {
        let (near, far) = duplex(1 << 22);
        let network = network.clone();
        let served = tokio::spawn(async move { network.serve(far, ([127, 0, 0, 1], 4711).into()).await });
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(installed.path("ca.pem")).unwrap()).unwrap();
        let certificate = CertificateDer::from_pem_file(installed.path(&format!("{name}.pem"))).unwrap();
        let key = PrivateKeyDer::from_pem_file(installed.path(&format!("{name}.key"))).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate], key)
            .unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector.connect("localhost".try_into().unwrap(), near).await.unwrap();
        (Self::Http(Box::new(stream)), served)
    }

    /// The answer, as it came: head and all.
    pub(super) async fn ask(&mut self, method: &str, params: &Value) -> String {
        let message = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params }).to_string();
        match self {
            Self::Lines(write, lines) => {
                write.write_all(format!("{message}\n").as_bytes()).await.unwrap();
                lines.next_line().await.unwrap().expect("an answer")
            }
            Self::Http(stream) => {
                let head = format!(
                    "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                     Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n\r\n",
                    message.len()
                );
                stream.write_all(format!("{head}{message}").as_bytes()).await.unwrap();
                answer(stream).await
            }
        }
    }

    /// What a tool answers, or its error; and all that came.
    pub(super) async fn call(&mut self, tool: &str, arguments: &Value) -> (Result<Value, Value>, String) {
        let came = self.ask("tools/call", &json!({ "name": tool, "arguments": arguments })).await;
        let result = &message(&came)["result"];
        let text: Value = serde_json::from_str(result["content"][0]["text"].as_str().expect(&came)).unwrap();
        let told = if result["isError"] == true { Err(text["error"].clone()) } else { Ok(text) };
        (told, came)
    }

    /// The names of all tools.
    pub(super) async fn tools(&mut self) -> Vec<String> {
        let listed = message(&self.ask("tools/list", &json!({})).await);
        let tools = listed["result"]["tools"].as_array().unwrap().iter();
        tools.map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }
}

/// The message in what came.
pub(super) fn message(came: &str) -> Value {
    let body = came.rsplit_once("\r\n\r\n").map_or(came, |(_, body)| body);
    serde_json::from_str(body).expect(came)
}

async fn answer(stream: &mut TlsStream<DuplexStream>) -> String {
    let mut came = Vec::new();
    while !came.ends_with(b"\r\n\r\n") {
        came.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(came.clone()).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.expect(&head)];
    stream.read_exact(&mut body).await.unwrap();
    came.extend(body);
    String::from_utf8(came).unwrap()
}
