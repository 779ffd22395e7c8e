//! `tools/list` over mTLS beside rmcp's own server over plain TCP: calls in a second and the time of a call, at several connections.
//!
//! `cargo bench -p envelope-mcp --features listen --bench listen`. Client and server share the cores of the machine.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, unreachable_pub)]

#[path = "../tests/net/authority.rs"]
#[allow(dead_code)]
mod authority;
mod facade;

use std::{
    fs,
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    os::unix::fs::PermissionsExt,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use envelope_mcp::{
    Event, Failure, Recorder, Server as Tools,
    net::{Admission, Client, CredentialFiles, ListenOptions, Server},
};
use http_body_util::BodyExt;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool},
    service::RequestContext,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
    },
};
use rustls::{ClientConfig, RootCertStore, client::Resumption};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use crate::authority::Authority;

/// One tool that does nothing.
#[derive(Clone)]
struct Trivial;

impl ServerHandler for Trivial {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(vec![Tool::new("nothing", "Does nothing", Arc::default())]))
    }
}

struct Anybody;

impl Admission for Anybody {
    fn admit(&self, _: &Client) -> Result<(), Failure> {
        Ok(())
    }
}

#[async_trait]
impl Recorder for Anybody {
    async fn record(&self, _: &Event) -> Result<(), Failure> {
        Ok(())
    }
}

/// rmcp's server as its documentation has it: plain HTTP, without sessions.
async fn plain() -> SocketAddr {
    let config =
        StreamableHttpServerConfig::default().with_legacy_session_mode(false).with_json_response(true);
    let service = StreamableHttpService::new(|| Ok(Trivial), Arc::<NeverSessionManager>::default(), config);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let service = service.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                    let service = service.clone();
                    async move {
                        Ok::<_, std::convert::Infallible>(service.handle(request.map(BodyExt::boxed)).await)
                    }
                });
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

async fn over_mtls<S: ServerHandler>(
    folder: &TempDir,
    handler: impl Fn() -> S + Send + Sync + 'static,
) -> SocketAddr {
    let file = |name: &str| folder.path().join(name);
    let files = CredentialFiles {
        certificate: file("server.pem"),
        key: file("server.key"),
        ca: file("ca.pem"),
        crl: None,
        accept_stale_crl: false,
    };
    let mut options = ListenOptions::new("127.0.0.1:0".parse().unwrap(), files);
    options.limits.requests_per_second = NonZeroU32::MAX;
    options.limits.burst = NonZeroU32::MAX;
    options.limits.connections_of_client = NonZeroUsize::MAX;
    let server = Server::new(options, Arc::new(Anybody), Arc::new(Anybody), handler).unwrap();
    let listener = server.bind().await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { server.run(listener, CancellationToken::new()).await });
    address
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

async fn connect(address: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> Box<dyn Stream> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    match tls {
        None => Box::new(stream),
        Some(tls) => {
            let name = "localhost".try_into().unwrap();
            Box::new(TlsConnector::from(Arc::clone(tls)).connect(name, stream).await.unwrap())
        }
    }
}

async fn ask(stream: &mut dyn Stream, request: &[u8], answer: &mut Vec<u8>) -> usize {
    stream.write_all(request).await.unwrap();
    stream.flush().await.unwrap();
    answer.clear();
    loop {
        assert!(stream.read_buf(answer).await.unwrap() > 0, "the server closed");
        let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&answer[..end]).unwrap().to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        if answer.len() == end + 4 + length.unwrap() {
            return length.unwrap();
        }
    }
}

/// Asks at `connections` at once for `time`.
async fn measure(
    name: &str,
    address: SocketAddr,
    tls: Option<&Arc<ClientConfig>>,
    connections: usize,
    time: Duration,
) -> f64 {
    let message = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
         MCP-Protocol-Version: 2025-11-25\r\nContent-Length: {}\r\n\r\n{message}",
        message.len()
    );
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..connections {
        let mut stream = connect(address, tls).await;
        let request = request.clone().into_bytes();
        tasks.push(tokio::spawn(async move {
            let (mut times, mut answer, mut length) = (Vec::new(), Vec::new(), 0);
            while begun.elapsed() < time {
                let asked = Instant::now();
                length = ask(&mut *stream, &request, &mut answer).await;
                times.push(asked.elapsed());
            }
            (times, length)
        }));
    }
    let (mut times, mut length) = (Vec::new(), 0);
    for task in tasks {
        let (of_one, answer) = task.await.unwrap();
        times.extend(of_one);
        length = answer;
    }
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)].as_secs_f64() * 1e3;
    println!(
        "{name:<34} {connections:>3} connections  {rate:>8.0} calls/s  p50 {:>6.3} ms  p99 {:>6.3} ms  {length} bytes",
        at(50),
        at(99)
    );
    rate
}

/// Handshakes in a second, one after the other, each with one call.
async fn handshakes(name: &str, address: SocketAddr, tls: &Arc<ClientConfig>, time: Duration) {
    let (begun, mut count) = (Instant::now(), 0u32);
    while begun.elapsed() < time {
        let mut stream = connect(address, Some(tls)).await;
        let request = "GET /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        assert!(stream.read_buf(&mut Vec::new()).await.unwrap() > 0);
        count += 1;
    }
    println!("{name:<34} {:>8.0} connections/s", f64::from(count) / begun.elapsed().as_secs_f64());
}

fn main() {
    let time =
        Duration::from_secs(if std::env::args().any(|argument| argument == "--bench") { 4 } else { 0 });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (folder, served) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let authority = Authority::new("authority of a benchmark");
        let (server, client) = (authority.server(&["localhost"]), authority.client("urn:bench"));
        for (name, text) in
            [("ca.pem", &authority.pem()), ("server.pem", &server.certificate), ("server.key", &server.key)]
        {
            fs::write(folder.path().join(name), text).unwrap();
        }
        fs::set_permissions(folder.path().join("server.key"), fs::Permissions::from_mode(0o600)).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(authority.der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(client.chain.clone(), client.key())
            .unwrap();
        let resuming = Arc::new(tls.clone());
        tls.resumption = Resumption::disabled();
        let tls = Arc::new(tls);
        let plain = plain().await;
        let trivial = over_mtls(&folder, || Trivial).await;
        let tools = Tools::for_each_request(facade::facade(served.path().into()));
        let tools = over_mtls(&folder, move || tools.clone()).await;
        for connections in [1, 8] {
            let reference = measure("rmcp, plain TCP, one tool", plain, None, connections, time).await;
            let same =
                measure("envelope-mcp, mTLS, the same tool", trivial, Some(&tls), connections, time).await;
            let own =
                measure("envelope-mcp, mTLS, its own tools", tools, Some(&tls), connections, time).await;
            println!("  of rmcp's calls: {:.2} and {:.2}", same / reference, own / reference);
        }
        handshakes("handshakes, whole", trivial, &tls, time).await;
        handshakes("handshakes, resumed", trivial, &resuming, time).await;
    });
}
