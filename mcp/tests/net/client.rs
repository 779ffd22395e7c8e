//! A client that says exactly what a test wants it to.

use std::{io, sync::Arc};

use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, crypto::aws_lc_rs, version::TLS13};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    authority::{Authority, Issued},
    running::Running,
};

/// An answer of HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// TLS as the client speaks it.
pub(crate) fn config(
    trusted: &Authority,
    certificate: Option<&Issued>,
    version: &'static SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match certificate {
        Some(issued) => builder.with_client_auth_cert(issued.chain.clone(), issued.key()).unwrap(),
        None => builder.with_no_client_auth(),
    })
}

impl Running {
    /// A connection with this certificate. That the server refuses it shows when something is read.
    pub(crate) async fn connect(&self, certificate: &Issued) -> TlsStream<TcpStream> {
        self.connect_as(&config(&self.authority, Some(certificate), &TLS13)).await.unwrap()
    }

    pub(crate) async fn connect_as(&self, config: &Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        handshake(config, stream).await
    }

    /// Asks `whoami` with this certificate.
    pub(crate) async fn whoami(&self, certificate: &Issued) -> io::Result<String> {
        let mut stream = self.connect(certificate).await;
        Ok(name_in(&ask(&mut stream, &call("whoami")).await?))
    }
}

pub(crate) async fn handshake<I>(config: &Arc<ClientConfig>, stream: I) -> io::Result<TlsStream<I>>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    TlsConnector::from(Arc::clone(config)).connect("localhost".try_into().unwrap(), stream).await
}

/// Sends `message` and returns the answer.
pub(crate) async fn ask<I>(stream: &mut I, message: &str) -> io::Result<Answer>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    send(stream, &post(message, "")).await
}

/// Sends these bytes and returns the answer.
pub(crate) async fn send<I>(stream: &mut I, request: &str) -> io::Result<Answer>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    answer(stream).await
}

/// Reads an answer that says how long it is.
pub(crate) async fn answer<I: AsyncRead + Unpin>(stream: &mut I) -> io::Result<Answer> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await?;
    Ok(Answer { status, head, body: String::from_utf8(body).unwrap() })
}

/// A request as clients of the protocol make it, with `more` headers.
pub(crate) fn post(message: &str, more: &str) -> String {
    format!("{}{message}", head(message.len(), more))
}

pub(crate) fn head(length: usize, more: &str) -> String {
    let host = if more.to_ascii_lowercase().contains("host:") { "" } else { "Host: localhost\r\n" };
    format!(
        "POST /mcp HTTP/1.1\r\n{host}Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
         Content-Length: {length}\r\n{more}\r\n"
    )
}

/// The message that calls a tool.
pub(crate) fn call(tool: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{{}}}}}}"#
    )
}

/// What `whoami` answered.
pub(crate) fn name_in(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}
