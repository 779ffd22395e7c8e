//! What the settings and the environment say of the server and of the caller: read when a key
//! is first used, and not before.

use std::{env, path::PathBuf};

use envelope_sdk::{
    ProviderError,
    ProviderErrorKind::{AccessDenied, Invalid},
    http::{EndpointError, check_endpoint},
    registry::MissingSetting,
};
use reqwest::header::HeaderValue;
use zeroize::Zeroizing;

use crate::{
    auth::{Around, By, CLIENT_KEY, Entry, From, Login, TOKEN, Text, Told, token},
    call::Limits,
    failure::{NAME, failure},
    files,
    reach::Opened,
    transport::{Address, NoClient, Way},
};

/// What the settings say; where they say nothing, the environment does.
#[derive(Clone, Default)]
pub(crate) struct Plan {
    pub(crate) address: Option<String>,
    pub(crate) agent: Option<String>,
    pub(crate) namespace: Option<String>,
    pub(crate) from: From,
    /// Where the method of authentication is mounted, in place of its usual mount.
    pub(crate) auth_mount: Option<String>,
    pub(crate) roots: Option<PathBuf>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) certificate_key: Option<Text>,
    pub(crate) around: Around,
}

impl Plan {
    /// Whether a person is asked, who takes as long as it takes.
    pub(crate) fn asks(&self) -> bool {
        matches!(
            self.from,
            From::Token(Text::Asked)
                | From::AppRole { secret_id: Some(Text::Asked), .. }
                | From::Jwt { jwt: Text::Asked, .. }
        ) || matches!(self.certificate_key, Some(Text::Asked))
    }

    /// Whether certificates, and the key of this client's, were read of files that can be read again: a pipe cannot. Nobody
    /// is asked anew for what was asked for.
    pub(crate) fn has_certificates_in_files(&self) -> bool {
        let key = match self.key() {
            Some(Text::File(path)) => Some(path),
            _ => None,
        };
        let files = [self.roots(), self.certificate(), key];
        let mut files = files.iter().flatten().peekable();
        !self.asks() && files.peek().is_some() && files.all(|path| path.is_file())
    }

    fn roots(&self) -> Option<PathBuf> {
        self.roots.clone().or_else(|| variable("CACERT").map(PathBuf::from))
    }

    fn certificate(&self) -> Option<PathBuf> {
        self.certificate.clone().or_else(|| variable("CLIENT_CERT").map(PathBuf::from))
    }

    /// That of the certificate.
    fn key(&self) -> Option<Text> {
        self.certificate_key.clone().or_else(|| variable("CLIENT_KEY").map(|key| Text::File(key.into())))
    }

    /// The URL of the server, without a slash at the end; `None` where an agent's socket, or
    /// nothing, stands in its place. No file is read.
    pub(crate) fn url(&self) -> Result<Option<String>, ProviderError> {
        match self.address() {
            Ok(Some((Address::Url(url), _))) => Ok(Some(url)),
            Ok(_) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The server or the agent, and whether it is an agent.
    fn address(&self) -> Result<Option<(Address, bool)>, ProviderError> {
        let set = match (&self.agent, &self.address) {
            (Some(agent), _) => Some((agent.clone(), true)),
            (None, Some(address)) => Some((address.clone(), false)),
            (None, None) => variable("AGENT_ADDR")
                .map(|agent| (agent, true))
                .or_else(|| variable("ADDR").map(|address| (address, false))),
        };
        set.map(|(text, is_agent)| Ok((address(&text)?, is_agent))).transpose()
    }

    /// Reads files, the environment and secrets, and may block. Nothing is asked over the
    /// network.
    pub(crate) fn open(&self, limits: &Limits) -> Result<Opened, ProviderError> {
        let Some((address, is_agent)) = self.address()? else {
            let message = "the address of the server is not known: set `address`, or VAULT_ADDR";
            return Err(failure(Invalid, None, message).with_source(MissingSetting::new(NAME, "address")));
        };
        let trusted = self.around.trusted_files_only;
        #[cfg(unix)]
        let address = match address {
            Address::Socket(path) => Address::Socket(files::socket(&path, trusted)?),
            url @ Address::Url(_) => url,
        };
        let is_tls = matches!(&address, Address::Url(url) if !url.starts_with("http:"));
        if is_tls && skips_verification() {
            let message = "VAULT_SKIP_VERIFY is not honoured, since anybody could answer: unset it, and name the certificate \
                           authority by ca-file or VAULT_CACERT";
            return Err(failure(Invalid, None, message));
        }
        let roots = self.roots().map(|path| files::pem(&path, trusted, false)).transpose()?;
        let identity = self.identity()?;
        let has_identity = identity.is_some();
        let way = Way {
            address,
            roots: roots.map(|pem| pem.to_vec()),
            identity,
            namespace: self.namespace()?,
            attempt: limits.attempt,
        };
        let transport = way.open().map_err(|none| {
            let message = match none {
                NoClient::Address => NO_ADDRESS,
                NoClient::Roots => {
                    "the certificates of ca-file are none that can be read: they are PEM, one after the other"
                }
                NoClient::Identity => {
                    "the certificate of this client, or its key, is none that can be read: they are PEM, and fit together"
                }
            };
            failure(Invalid, None, message)
        })?;
        Ok(Opened { transport, entry: self.entry(is_agent, has_identity)? })
    }

    fn namespace(&self) -> Result<Option<HeaderValue>, ProviderError> {
        let name = self.namespace.clone().or_else(|| variable("NAMESPACE"));
        let Some(name) = name else { return Ok(None) };
        let name = name.trim_matches('/');
        let fits = |byte: u8| byte.is_ascii_graphic();
        let header = HeaderValue::from_str(name).ok().filter(|_| name.bytes().all(fits));
        let header = header.filter(|_| (1..=MAX_NAMESPACE_LEN).contains(&name.len()));
        header.map(Some).ok_or_else(|| {
            let message = "the namespace has printable characters without blanks: correct `namespace` or VAULT_NAMESPACE";
            failure(Invalid, None, message)
        })
    }

    /// The certificate of this client and its key, as one PEM.
    fn identity(&self) -> Result<Option<Zeroizing<Vec<u8>>>, ProviderError> {
        let Some(path) = self.certificate() else { return Ok(None) };
        let trusted = self.around.trusted_files_only;
        let key = match self.key() {
            Some(Text::File(path)) => files::pem(&path, trusted, true)?,
            Some(text) => {
                let text =
                    self.around.text(&text, CLIENT_KEY, "key of the certificate of this client, as PEM")?;
                Zeroizing::new(text.as_bytes().to_vec())
            }
            None => {
                let message = "the key of the certificate of this client is not known: set client-key-file, or VAULT_CLIENT_KEY";
                return Err(failure(AccessDenied, None, message));
            }
        };
        let certificate = files::pem(&path, trusted, false)?;
        let mut both = Zeroizing::new(Vec::with_capacity(certificate.len() + key.len() + 1));
        both.extend_from_slice(&certificate);
        both.push(b'\n');
        both.extend_from_slice(&key);
        Ok(Some(both))
    }

    fn entry(&self, is_agent: bool, has_identity: bool) -> Result<Entry, ProviderError> {
        let login = |mount: &str, by: By| {
            let mount = self.auth_mount.as_deref().unwrap_or(mount).trim_matches('/').to_owned();
            let is_segment = |segment: &str| {
                let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
                !["", ".", ".."].contains(&segment) && segment.bytes().all(fits)
            };
            if !mount.split('/').all(is_segment) {
                let message =
                    "auth-mount has letters, digits, -, _, . and / alone, and is what follows auth/";
                return Err(failure(Invalid, None, message));
            }
            Ok(Entry::Login(Login::new(mount, by, self.around.clone())))
        };
        match &self.from {
            From::Default => self.default_entry(is_agent),
            From::Agent => Ok(Entry::Agent),
            From::Token(Text::File(path)) => Ok(Entry::Told(Told::file(path.clone(), &self.around))),
            From::Token(text) => {
                Ok(Entry::Token(token(&self.around.text(text, TOKEN, "token of Vault")?)?))
            }
            From::Helper(path) => Ok(Entry::Told(Told::helper(path.clone(), &self.around))),
            From::AppRole { role_id, secret_id } => {
                login("approle", By::AppRole { role_id: role_id.clone(), secret_id: secret_id.clone() })
            }
            From::Kubernetes { role, jwt } => {
                let jwt = jwt.clone().unwrap_or_else(|| SERVICE_ACCOUNT.into());
                login("kubernetes", By::Kubernetes { role: role.clone(), jwt })
            }
            From::Jwt { role, jwt } => login("jwt", By::Jwt { role: role.clone(), jwt: jwt.clone() }),
            From::Certificate { .. } if !has_identity => Err(failure(
                AccessDenied,
                None,
                "the certificate of this client is not known: set client-certificate-file and client-key-file",
            )),
            From::Certificate { role } => login("cert", By::Certificate { role: role.clone() }),
        }
    }

    /// In the order of Vault's command line, but for what `~/.vault` names.
    fn default_entry(&self, is_agent: bool) -> Result<Entry, ProviderError> {
        if let Some(given) = self.around.given(TOKEN)? {
            return Ok(Entry::Token(token(&given)?));
        }
        if let Some(given) = variable("TOKEN").map(Zeroizing::new) {
            return Ok(Entry::Token(token(given.trim())?));
        }
        if is_agent {
            return Ok(Entry::Agent);
        }
        let home = env::home_dir().map(|home| home.join(".vault-token"));
        match home.filter(|path| path.symlink_metadata().is_ok()) {
            Some(path) => Ok(Entry::Told(Told::file(path, &self.around))),
            None => Err(failure(AccessDenied, None, NO_TOKEN)),
        }
    }
}

/// As Go reads a boolean.
fn skips_verification() -> bool {
    let skips = variable("SKIP_VERIFY");
    skips.is_some_and(|value| ["1", "t", "true"].contains(&value.to_ascii_lowercase().as_str()))
}

/// What the environment says, to OpenBao or to Vault, if it says something.
fn variable(name: &str) -> Option<String> {
    let read = |prefix| env::var(format!("{prefix}_{name}")).ok().filter(|value| !value.is_empty());
    read("BAO").or_else(|| read("VAULT"))
}

/// The scheme in lower case: by it is seen what stays on this machine.
fn address(text: &str) -> Result<Address, ProviderError> {
    if let Some(path) = text.strip_prefix("unix://") {
        return Ok(Address::Socket(path.into()));
    }
    match check_endpoint(text) {
        Ok(()) if !text.contains(['?', '#']) => {
            let (scheme, rest) = text.split_once(':').unwrap_or_default();
            Ok(Address::Url(format!("{}:{}", scheme.to_ascii_lowercase(), rest.trim_end_matches('/'))))
        }
        Err(error @ (EndpointError::PlainHttp { .. } | EndpointError::Userinfo)) => {
            Err(failure(Invalid, None, error.to_string()).with_source(error))
        }
        _ => Err(failure(Invalid, None, NO_ADDRESS)),
    }
}

/// Where Kubernetes puts the token of a pod.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
const MAX_NAMESPACE_LEN: usize = 1024;
const NO_ADDRESS: &str =
    "the address of the server is a URL of the form https://HOST:PORT or, of an agent, unix:///PATH too";
const NO_TOKEN: &str = "there is no token of Vault: log in (`vault login`, `bao login`), set VAULT_TOKEN, or say in the settings \
                        how this program logs in (`auth`)";
