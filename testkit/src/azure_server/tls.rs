//! TLS of the server, by certificates of a CA of its own.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    sync::Arc,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned, crypto::aws_lc_rs::default_provider,
    pki_types::PrivateKeyDer,
};

use crate::http_server::Stream;

/// What the server shows, and what clients are told to trust.
pub(super) struct Tls {
    config: Arc<ServerConfig>,
    pub(super) ca_pem: String,
}

impl Tls {
    /// With a new CA and a certificate for every name of the server.
    ///
    /// # Panics
    ///
    /// When the system has no randomness.
    #[expect(clippy::expect_used, reason = "a test without a certificate shall stop")]
    pub(super) fn new() -> Self {
        let (chain, key, ca_pem) = certificates().expect("a certificate");
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|config| {
                config.with_no_client_auth().with_single_cert(chain, PrivateKeyDer::Pkcs8(key.into()))
            })
            .expect("a configuration of what was just made");
        Self { config: Arc::new(config), ca_pem }
    }

    /// What opens connections, for as long as the server lives.
    pub(super) fn opener(&self) -> impl Fn(TcpStream) -> io::Result<Box<dyn Stream>> + use<> {
        let config = Arc::clone(&self.config);
        move |connection| {
            let session = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
            Ok(Box::new(Session(StreamOwned::new(session, connection))))
        }
    }
}

type Chain = Vec<rustls::pki_types::CertificateDer<'static>>;

/// The chain of the server, its key, and the CA as PEM.
fn certificates() -> Result<(Chain, Vec<u8>, String), rcgen::Error> {
    let mut ca = CertificateParams::new([])?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    ca.distinguished_name.push(DnType::CommonName, "CA of the stand-in for Azure");
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;
    let mut server = CertificateParams::new(NAMES.map(str::to_owned))?;
    server.distinguished_name.push(DnType::CommonName, "the stand-in for Azure");
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // What strict checks of newer Pythons ask for.
    server.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = server.signed_by(&key, &ca)?;
    Ok((vec![certificate.der().clone()], key.serialize_der(), ca.pem()))
}

/// One connection.
struct Session(StreamOwned<ServerConnection, TcpStream>);

impl Read for Session {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Session {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Stream for Session {
    fn close(&mut self) -> io::Result<()> {
        self.0.conn.send_close_notify();
        // A peer that is gone needs no goodbye.
        let _ = self.0.flush();
        self.0.sock.shutdown(Shutdown::Both)
    }
}

/// Vaults and HSMs of any name, who hands out tokens, and the tests' own calls.
const NAMES: [&str; 5] =
    ["*.vault.localhost", "*.managedhsm.localhost", "login.localhost", "localhost", "127.0.0.1"];
