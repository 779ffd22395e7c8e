//! [`Client`]: who is at the other end of a connection.

use std::{fmt, net::SocketAddr};

use sha2::{Digest, Sha256};
use x509_parser::prelude::{AttributeTypeAndValue, FromDer, GeneralName, X509Certificate};

use crate::Caller;

/// Who is at the other end of a connection, by a certificate that was verified.
///
/// A handler finds it, and its [`Caller`], in the extensions of the HTTP request:
/// `context.extensions.get::<http::request::Parts>()`.
#[derive(Clone, PartialEq, Eq)]
pub struct Client {
    caller: Caller,
    fingerprint: [u8; 32],
    address: SocketAddr,
}

/// A certificate that names nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ClientError(&'static str);

impl Client {
    /// The client of this certificate (DER), which somebody has verified, at this address.
    ///
    /// Its name is the first URI of the subject alternative name, else its first DNS name, else its first e-mail address, else the
    /// common name of the subject with `cn:` before it. So one kind of name is never taken for another: a URI has a colon, a DNS name
    /// has neither that nor `@`, and `local`, which is the client at standard input, is no name here, nor `unidentified`, which is
    /// whoever has none.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when there is no such name, or it is longer than [`Caller::MAX_NAME`] bytes, or holds `*` or what
    /// cannot be printed.
    pub fn of_certificate(certificate: &[u8], address: SocketAddr) -> Result<Self, ClientError> {
        let (rest, parsed) =
            X509Certificate::from_der(certificate).map_err(|_| ClientError("it is no X.509 certificate"))?;
        if !rest.is_empty() {
            return Err(ClientError("something stands behind the certificate"));
        }
        let name = name_of(&parsed)?;
        let caller = Caller::named(&name).map_err(|_| {
            ClientError("the name in the certificate is longer than 256 bytes, or holds `*` or what cannot be printed")
        })?;
        Ok(Self { caller, fingerprint: Sha256::digest(certificate).into(), address })
    }

    /// Who it is to policy and audit log: `mcp:` and the [name](Self::name).
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The name, as a policy knows it behind `mcp:`: `spiffe://acme.example/agent`, `agent.acme.example`, `alice@acme.example` or
    /// `cn:alice`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.caller.actor().strip_prefix("mcp:").unwrap_or_default()
    }

    /// The SHA-256 of the certificate.
    #[must_use]
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// The same in 64 hexadecimal digits, as `openssl x509 -fingerprint -sha256` has it but for colons and case.
    #[must_use]
    pub fn fingerprint_text(&self) -> String {
        use fmt::Write;
        self.fingerprint.iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// What records say of it beside its name.
    pub(crate) fn facts(&self) -> Vec<(&'static str, String)> {
        vec![("address", self.address.to_string()), ("fingerprint", self.fingerprint_text())]
    }

    /// Where it connects from.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("name", &self.name())
            .field("fingerprint", &self.fingerprint_text())
            .field("address", &self.address)
            .finish()
    }
}

fn name_of(certificate: &X509Certificate<'_>) -> Result<String, ClientError> {
    let twice =
        |_| ClientError("the certificate has two subject alternative names, or one that cannot be read");
    let names = certificate.subject_alternative_name().map_err(twice)?;
    let names = names.map_or(&[][..], |extension| &extension.value.general_names);
    let first = |of: for<'n> fn(&'n GeneralName<'_>) -> Option<&'n str>| names.iter().find_map(of);
    if let Some(uri) = first(|name| if let GeneralName::URI(uri) = name { Some(uri) } else { None }) {
        let scheme = uri.split_once(':').map(|(scheme, _)| scheme);
        return match scheme {
            None | Some("") => Err(ClientError("the URI in the certificate has no scheme")),
            Some(scheme) if scheme.eq_ignore_ascii_case("cn") => {
                Err(ClientError("a URI in a certificate does not begin with cn:"))
            }
            Some(_) => Ok(uri.to_owned()),
        };
    }
    if let Some(dns) = first(|name| if let GeneralName::DNSName(dns) = name { Some(dns) } else { None }) {
        let dns = dns.to_ascii_lowercase();
        if ["local", "unidentified"].contains(&dns.as_str()) || dns.contains([':', '@']) {
            return Err(ClientError("the DNS name in the certificate is none that a client can have"));
        }
        return Ok(dns);
    }
    if let Some(email) =
        first(|name| if let GeneralName::RFC822Name(email) = name { Some(email) } else { None })
    {
        if email.contains(':') || !email.contains('@') {
            return Err(ClientError("the e-mail address in the certificate is none"));
        }
        return Ok(email.to_owned());
    }
    let mut common = certificate.subject().iter_common_name();
    let (name, another) = (common.next(), common.next());
    match (name.map(AttributeTypeAndValue::as_str), another) {
        (Some(Ok(name)), None) if !name.is_empty() => Ok(format!("cn:{name}")),
        (Some(Ok(_)), None) => Err(ClientError("the common name in the certificate is empty")),
        (_, Some(_)) => Err(ClientError("the certificate has two common names")),
        (Some(Err(_)), None) => Err(ClientError("the common name in the certificate is no text")),
        (None, None) => {
            Err(ClientError("the certificate has no name: no URI, DNS name, e-mail address or common name"))
        }
    }
}
