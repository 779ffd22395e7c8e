//! A server of a test, its files and its clients.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use envelope_mcp::{
    Denial, Failure,
    net::{Admission, Client, CredentialFiles, ListenError, ListenOptions, Server},
};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    authority::{Authority, Issued},
    handler::Handler,
    records::Records,
};

/// A server, and what it runs with.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) authority: Authority,
    pub(crate) records: Arc<Records>,
    pub(crate) server: Server<Handler>,
    pub(crate) handler: Handler,
    pub(crate) admitted: Arc<Admitted>,
    pub(crate) stop: CancellationToken,
    pub(crate) task: Option<JoinHandle<Result<(), ListenError>>>,
    folder: TempDir,
}

/// Names that may connect.
#[derive(Default)]
pub(crate) struct Admitted(pub(crate) Mutex<Vec<String>>);

impl Admission for Admitted {
    fn admit(&self, client: &Client) -> Result<(), Failure> {
        match self.0.lock().unwrap().iter().any(|name| name == client.name()) {
            true => Ok(()),
            false => {
                let policy = Some("0123456789abcdef".into());
                let denial = Denial { policy, rule: Some("no-strangers".into()), ..Denial::default() };
                Err(Failure::denied("no rule allows it anything", denial))
            }
        }
    }
}

impl Running {
    /// A server that listens on loopback.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_, _| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut ListenOptions, &Authority)) -> Self {
        let mut running = Self::new(change);
        let listener = running.server.bind().await.unwrap();
        running.address = listener.local_addr().unwrap();
        let (server, stop) = (running.server.clone(), running.stop.clone());
        running.task = Some(tokio::spawn(async move { server.run(listener, stop).await }));
        running.records.find(|event| event.operation == "mcp-start").await;
        running
    }

    /// A server that reads its files again only when it is told to.
    pub(crate) async fn start_unwatched(change: impl FnOnce(&mut ListenOptions, &Authority)) -> Self {
        let mut running = Self::new(change);
        let listener = running.server.bind().await.unwrap();
        running.address = listener.local_addr().unwrap();
        let server = running.server.clone();
        tokio::spawn(async move {
            loop {
                let (stream, address) = listener.accept().await.unwrap();
                let server = server.clone();
                tokio::spawn(async move { server.serve(stream, address).await });
            }
        });
        running
    }

    /// A server that does not listen: for connections that are made otherwise.
    pub(crate) fn new(change: impl FnOnce(&mut ListenOptions, &Authority)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("authority of a test");
        let file = |name: &str| folder.path().join(name);
        let files = CredentialFiles {
            certificate: file("server.pem"),
            key: file("server.key"),
            ca: file("ca.pem"),
            crl: None,
            accept_stale_crl: false,
        };
        let mut options = ListenOptions::new("127.0.0.1:0".parse().unwrap(), files);
        fs::write(file("ca.pem"), authority.pem()).unwrap();
        write_server(&folder, &authority.server(&["localhost", "127.0.0.1"]));
        change(&mut options, &authority);
        let (records, handler) = (Arc::new(Records::default()), Handler::default());
        let admitted = Arc::new(Admitted::default());
        admitted.0.lock().unwrap().push(AGENT.into());
        let made = handler.clone();
        let server = Server::new(options, admitted.clone(), records.clone(), move || made.clone()).unwrap();
        Self {
            address: "127.0.0.1:1".parse().unwrap(),
            authority,
            records,
            server,
            handler,
            admitted,
            stop: CancellationToken::new(),
            task: None,
            folder,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// A new certificate and key of the server.
    pub(crate) fn write_server(&self, issued: &Issued) {
        write_server(&self.folder, issued);
    }

    /// A certificate that is right in every way.
    pub(crate) fn agent(&self) -> Issued {
        self.authority.client(AGENT)
    }
}

fn write_server(folder: &TempDir, issued: &Issued) {
    let key = folder.path().join("server.key");
    fs::write(folder.path().join("server.pem"), &issued.certificate).unwrap();
    fs::write(&key, &issued.key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Who may connect.
pub(crate) const AGENT: &str = "spiffe://acme.example/agent";
