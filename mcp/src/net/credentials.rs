//! Certificate, key, authorities and revocation list: read from their files and made into what TLS works with.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use envelope_files::trust::{self, Purpose, TrustError};
use envelope_sdk::printable;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{
        CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime,
        pem::{self, PemObject},
    },
    server::{ServerSessionMemoryCache, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};
use x509_parser::prelude::{CertificateRevocationList, FromDer, GeneralName, X509Certificate};
use zeroize::{Zeroize, Zeroizing};

use super::Refusal;

/// The files, all PEM. Each must be as trustworthy as a configuration: it and its folders belong to the user or to root, and nobody
/// else can write them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialFiles {
    /// The certificate of the server, and then those up to its authority.
    pub certificate: PathBuf,
    /// Its private key, PKCS #8, SEC 1 or PKCS #1. Nobody but its owner may read it.
    pub key: PathBuf,
    /// The authorities whose clients may connect.
    pub ca: PathBuf,
    /// Revocation lists of those authorities, and of those between them and a client. With one, a client whose issuer none of them is
    /// of is refused.
    pub crl: Option<PathBuf>,
    /// Whether a list counts that should have been replaced by now. Otherwise every client of its issuer is refused until it is.
    pub accept_stale_crl: bool,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// It cannot be read, or is not to be believed.
    #[error(transparent)]
    File(#[from] TrustError),
    /// Its content.
    #[error("{}: {what}", printable::path(path))]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// What stood in the files.
pub(crate) struct Credentials {
    /// With a store of sessions of its own: none that was agreed upon under other files is resumed.
    pub(crate) tls: Arc<ServerConfig>,
    clients: Arc<dyn ClientCertVerifier>,
    /// The DNS names and addresses in the certificate.
    pub(crate) hosts: Vec<String>,
    /// When the certificate ends, in seconds since 1970.
    pub(crate) certificate_ends: i64,
    /// When the first revocation list should be replaced.
    pub(crate) crl_ends: Option<i64>,
}

impl Credentials {
    pub(crate) fn read(files: &CredentialFiles) -> Result<Self, CredentialsError> {
        let provider = Arc::new(provider());
        let content = |path: &Path, what: String| CredentialsError::Content { path: path.into(), what };
        let chain: Vec<CertificateDer<'static>> = sections(&files.certificate, MAX_CERTIFICATES)?;
        let (hosts, certificate_ends) =
            names_and_end(&chain[0]).map_err(|what| content(&files.certificate, what.into()))?;
        let key = read_key(&files.key)?;
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(|_| {
            let what =
                format!("it is not the key of the certificate in {}", printable::path(&files.certificate));
            content(&files.key, what)
        })?;
        let mut roots = RootCertStore::empty();
        for (number, certificate) in sections(&files.ca, MAX_CERTIFICATES)?.into_iter().enumerate() {
            roots
                .add(certificate)
                .map_err(|error| content(&files.ca, format!("certificate {}: {error}", number + 1)))?;
        }
        let mut clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let mut crl_ends = None;
        if let Some(path) = &files.crl {
            let lists: Vec<CertificateRevocationListDer<'static>> = sections(path, MAX_CRL)?;
            for list in &lists {
                let end = next_update(list).map_err(|what| content(path, what.into()))?;
                crl_ends = Some(crl_ends.map_or(end, |known: i64| known.min(end)));
            }
            clients = clients.with_crls(lists);
            if !files.accept_stale_crl {
                clients = clients.enforce_revocation_expiration();
            }
        }
        let clients = clients
            .build()
            .map_err(|error| content(files.crl.as_deref().unwrap_or(&files.ca), error.to_string()))?;
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| content(&files.certificate, error.to_string()))?
            .with_client_cert_verifier(Arc::clone(&clients))
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        tls.session_storage = ServerSessionMemoryCache::new(SESSIONS);
        // What is sent before the handshake has ended can be sent twice.
        tls.max_early_data_size = 0;
        Ok(Self { tls: Arc::new(tls), clients, hosts, certificate_ends, crl_ends })
    }

    /// Whether this chain, the client's certificate first, would be accepted now.
    pub(crate) fn verify(&self, chain: &[CertificateDer<'_>]) -> Result<(), Refusal> {
        let Some((first, between)) = chain.split_first() else { return Err(Refusal::NoCertificate) };
        let verified = self.clients.verify_client_cert(first, between, UnixTime::now());
        verified.map(drop).map_err(|error| Refusal::of_tls(&error))
    }
}

/// AWS-LC, with the suites of TLS 1.3 and the groups that are named here, whatever other crates of the program switch on.
fn provider() -> CryptoProvider {
    use aws_lc_rs::{cipher_suite, kx_group};
    CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        ..aws_lc_rs::default_provider()
    }
}

/// The sections of one kind in a PEM file: at least one.
fn sections<T: PemObject>(path: &Path, limit: u64) -> Result<Vec<T>, CredentialsError> {
    let bytes = read(path, Purpose::Settings, limit)?;
    let content = |what: String| CredentialsError::Content { path: path.into(), what };
    let sections = T::pem_slice_iter(&bytes)
        .collect::<Result<Vec<T>, _>>()
        .map_err(|error| content(pem_error(&error)))?;
    if sections.is_empty() {
        return Err(content("it has no PEM section of the kind that is asked for".into()));
    }
    Ok(sections)
}

fn read_key(path: &Path) -> Result<Arc<dyn rustls::sign::SigningKey>, CredentialsError> {
    let bytes = read(path, Purpose::Secret, MAX_KEY)?;
    // The error of the parser may quote the file.
    let broken = || CredentialsError::Content {
        path: path.into(),
        what: "it holds no private key in PEM: PKCS #8, SEC 1 or PKCS #1, not encrypted".into(),
    };
    let mut key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| broken())?;
    let signs = aws_lc_rs::sign::any_supported_type(&key);
    key.zeroize();
    signs.map_err(|_| broken())
}

fn read(path: &Path, purpose: Purpose, limit: u64) -> Result<Zeroizing<Vec<u8>>, TrustError> {
    // A pipe would be waited for at each reload, and is empty then.
    if std::fs::metadata(path).is_ok_and(|file| !file.is_file()) {
        return Err(TrustError::NotAFile { path: path.into() });
    }
    trust::read(path, purpose, limit).map(Zeroizing::new)
}

fn pem_error(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a PEM section has no end".into(),
        pem::Error::IllegalSectionStart { .. } => "a PEM section does not begin as it must".into(),
        pem::Error::Base64Decode(_) => "a PEM section holds what is no Base64".into(),
        _ => "it is not PEM".into(),
    }
}

fn names_and_end(certificate: &[u8]) -> Result<(Vec<String>, i64), &'static str> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| "its first section is no X.509 certificate")?;
    let names =
        parsed.subject_alternative_name().map_err(|_| "its subject alternative name cannot be read")?;
    let names = names.map_or(&[][..], |extension| &extension.value.general_names);
    let hosts = names.iter().filter_map(|name| match name {
        // Behind a star could be any host.
        GeneralName::DNSName(name) if !name.contains('*') => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
            (Ok(four), _) => Some(IpAddr::from(four).to_string()),
            (_, Ok(sixteen)) => Some(format!("[{}]", IpAddr::from(sixteen))),
            _ => None,
        },
        _ => None,
    });
    Ok((hosts.collect(), parsed.validity().not_after.timestamp()))
}

fn next_update(list: &[u8]) -> Result<i64, &'static str> {
    let (_, list) =
        CertificateRevocationList::from_der(list).map_err(|_| "a section is no X.509 revocation list")?;
    let end = list.next_update().ok_or("a revocation list does not say when it is replaced (nextUpdate)")?;
    Ok(end.timestamp())
}

/// Of a key: an RSA key of 16,384 bits in PEM has 12 KiB.
const MAX_KEY: u64 = 64 * 1024;
/// A hundred authorities or more.
const MAX_CERTIFICATES: u64 = 1024 * 1024;
/// Half a million revoked certificates.
const MAX_CRL: u64 = 32 * 1024 * 1024;
/// TLS sessions that can be resumed.
const SESSIONS: usize = 1024;
