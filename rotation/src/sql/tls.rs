//! TLS to a database by rustls, as everything else here speaks it.

use std::{
    future::Future,
    io,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use envelope_files::trust::{self, Purpose};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;

use super::SqlError;

/// Makes TLS of a connection; or of none, where the server is reached without.
#[derive(Clone)]
pub(super) struct Connector(Option<Arc<ClientConfig>>);

impl Connector {
    /// For servers of this machine, that are reached without TLS.
    pub(super) fn plain() -> Self {
        Self(None)
    }

    /// Verifies certificate and name of the server: by the certificates in the file `roots`, or else by those of the
    /// platform.
    pub(super) fn verifying(roots: Option<&Path>) -> Result<Self, SqlError> {
        let tls = |error: rustls::Error| SqlError::Tls(error.to_string());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().map_err(tls)?;
        let config = match roots {
            Some(path) => builder.with_root_certificates(read_roots(path)?).with_no_client_auth(),
            None => builder.with_platform_verifier().map_err(tls)?.with_no_client_auth(),
        };
        Ok(Self(Some(Arc::new(config))))
    }
}

/// The file chooses whom the database may be, and so is one that nobody else can write.
fn read_roots(path: &Path) -> Result<RootCertStore, SqlError> {
    let pem =
        trust::read(path, Purpose::Settings, MAX_ROOTS).map_err(|error| SqlError::Tls(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| SqlError::Tls(format!("{}: {error}", shown(path))))?;
        roots.add(certificate).map_err(|error| SqlError::Tls(format!("{}: {error}", shown(path))))?;
    }
    if roots.is_empty() {
        return Err(SqlError::Tls(format!("there is no certificate in {}", shown(path))));
    }
    Ok(roots)
}

fn shown(path: &Path) -> String {
    envelope_sdk::printable::path(path)
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> MakeTlsConnect<S> for Connector {
    type Stream = Stream<S>;
    type TlsConnect = Handshake;
    type Error = io::Error;

    fn make_tls_connect(&mut self, domain: &str) -> io::Result<Handshake> {
        // It is asked of connections without TLS too.
        let Some(config) = self.0.clone() else { return Ok(Handshake(None)) };
        let name = ServerName::try_from(domain.to_owned()).map_err(io::Error::other)?;
        Ok(Handshake(Some((config.into(), name))))
    }
}

/// A handshake with one server, if there shall be one.
pub(super) struct Handshake(Option<(TlsConnector, ServerName<'static>)>);

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> TlsConnect<S> for Handshake {
    type Stream = Stream<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let (connector, name) = self.0.ok_or_else(|| io::Error::other("this connection has no TLS"))?;
            Ok(Stream(connector.connect(name, stream).await?))
        })
    }
}

/// A connection in TLS.
pub(super) struct Stream<S>(tokio_rustls::client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Stream<S> {
    /// None: the certificate is verified.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, out)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

const MAX_ROOTS: u64 = 16 * 1024 * 1024;
