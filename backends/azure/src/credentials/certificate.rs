//! A client that shows a certificate: it signs what it says of itself
//! (<https://learn.microsoft.com/entra/identity-platform/certificate-credentials>).
//!
//! Microsoft's own credential of that kind needs OpenSSL; this one signs with AWS-LC.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    rsa::KeyPair,
    signature::RSA_PSS_SHA256,
};
use azure_core::{Error, Uuid, error::ErrorKind, http::ClientMethodOptions};
use azure_identity::ClientAssertion;
use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use serde_json::json;
use zeroize::Zeroizing;

/// A certificate with its RSA key.
pub(super) struct Certificate {
    key: KeyPair,
    /// SHA-256 of the certificate, as JOSE writes it.
    thumbprint: String,
    client: String,
    audience: String,
}

/// Without the key.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate")
    }
}

impl Certificate {
    /// Of PEM: the first certificate, and a private RSA key that no passphrase protects
    /// (`PRIVATE KEY`, or `RSA PRIVATE KEY`).
    pub(super) fn read(pem: &str, client: String, audience: String) -> Result<Self, &'static str> {
        let certificate =
            section(pem, "CERTIFICATE").ok_or("the client certificate is no PEM with a CERTIFICATE")?;
        let key = match (section(pem, "PRIVATE KEY"), section(pem, "RSA PRIVATE KEY")) {
            (Some(pkcs8), _) => KeyPair::from_pkcs8(&pkcs8),
            (None, Some(pkcs1)) => KeyPair::from_der(&pkcs1),
            (None, None) => {
                return Err(
                    "the PEM of the client certificate has no PRIVATE KEY; one under a passphrase is not read",
                );
            }
        };
        let key = key.map_err(|_| "the key of the client certificate is no RSA key of 2048 bits or more")?;
        let thumbprint = Base64UrlUnpadded::encode_string(digest(&SHA256, &certificate).as_ref());
        Ok(Self { key, thumbprint, client, audience })
    }

    fn assertion(&self) -> Option<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        let header = json!({"alg": "PS256", "typ": "JWT", "x5t#S256": self.thumbprint});
        let claims = json!({
            "aud": self.audience, "iss": self.client, "sub": self.client, "jti": Uuid::new_v4().to_string(),
            "nbf": now.saturating_sub(SKEW), "iat": now, "exp": now + LIFE,
        });
        let part = |json: &serde_json::Value| Base64UrlUnpadded::encode_string(json.to_string().as_bytes());
        let mut text = format!("{}.{}", part(&header), part(&claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(&RSA_PSS_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).ok()?;
        text.push('.');
        text.push_str(&Base64UrlUnpadded::encode_string(&signature));
        Some(text)
    }
}

#[async_trait]
impl ClientAssertion for Certificate {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        self.assertion().ok_or_else(|| Error::with_message(ErrorKind::Credential, "nothing was signed"))
    }
}

/// What the first section of that label holds (RFC 7468).
fn section(pem: &str, label: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (_, rest) = pem.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let body: Zeroizing<String> = Zeroizing::new(body.split_ascii_whitespace().collect());
    Base64::decode_vec(&body).ok().map(Zeroizing::new)
}

/// Seconds for which what was signed is good.
const LIFE: u64 = 600;
/// Seconds by which clocks differ.
const SKEW: u64 = 300;

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        encoding::AsDer,
        rsa::KeySize,
        signature::{KeyPair as _, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey},
    };

    use super::*;

    fn pem(label: &str, bytes: &[u8]) -> String {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", Base64::encode_string(bytes))
    }

    #[test]
    fn what_is_signed_verifies_and_names_the_certificate() {
        let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let text = pem("CERTIFICATE", b"of a test") + &pem("PRIVATE KEY", key.as_der().unwrap().as_ref());
        let certificate = Certificate::read(&text, "me".into(), "https://login.example/t".into()).unwrap();
        let signed = certificate.assertion().unwrap();
        let (text, signature) = signed.rsplit_once('.').unwrap();
        let signature = Base64UrlUnpadded::decode_vec(signature).unwrap();
        UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, key.public_key().as_ref())
            .verify(text.as_bytes(), &signature)
            .unwrap();
        let header = Base64UrlUnpadded::decode_vec(text.split('.').next().unwrap()).unwrap();
        let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
        assert_eq!(
            header["x5t#S256"],
            Base64UrlUnpadded::encode_string(digest(&SHA256, b"of a test").as_ref())
        );
        assert!(!format!("{certificate:?}").contains("me"));
    }

    #[test]
    fn what_is_no_certificate_with_a_key_is_refused() {
        for (text, says) in [
            ("", "with a CERTIFICATE"),
            ("-----BEGIN CERTIFICATE-----", "with a CERTIFICATE"),
            (&pem("CERTIFICATE", b"x"), "has no PRIVATE KEY"),
            (&(pem("CERTIFICATE", b"x") + &pem("PRIVATE KEY", b"x")), "no RSA key"),
        ] {
            let error = Certificate::read(text, String::new(), String::new()).err().unwrap();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
