//! [`WrappedDek`]: what a provider returns, and a header holds.

use crate::{KeyUri, ProviderError, ProviderErrorKind};

/// A wrapped DEK with the names needed to unwrap it: one recipient of a header.
/// Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedDek {
    key_uri: KeyUri,
    key_version: String,
    wrap_algorithm: String,
    ciphertext: Vec<u8>,
}

impl WrappedDek {
    /// Most bytes of a wrapped DEK.
    pub const MAX_CIPHERTEXT_LEN: usize = 4096;
    /// Most bytes of a key version.
    pub const MAX_VERSION_LEN: usize = 512;

    /// A wrapped DEK, for providers.
    ///
    /// `key_version` is the version as the KMS names it, or empty;
    /// `wrap_algorithm` is a name from the format's registry, 1 to 255
    /// characters of `A–Z a–z 0–9 - _ . +`.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] of kind [`ProviderErrorKind::Protocol`] when the key
    /// URI is not resolved, the ciphertext is empty or longer than 4096 bytes,
    /// or a name does not fit: a header could not hold it.
    pub fn new(
        key_uri: KeyUri,
        key_version: impl Into<String>,
        wrap_algorithm: impl Into<String>,
        ciphertext: Vec<u8>,
    ) -> Result<Self, ProviderError> {
        let (key_version, wrap_algorithm) = (key_version.into(), wrap_algorithm.into());
        let problem = if !key_uri.is_resolved() {
            "the key URI is an alias or short form"
        } else if ciphertext.is_empty() || ciphertext.len() > Self::MAX_CIPHERTEXT_LEN {
            "the wrapped DEK must have 1 to 4096 bytes"
        } else if key_version.len() > Self::MAX_VERSION_LEN {
            "the key version is longer than 512 bytes"
        } else if !is_algorithm_name(&wrap_algorithm) {
            "the wrap algorithm is not a name of the registry's form"
        } else {
            return Ok(Self { key_uri, key_version, wrap_algorithm, ciphertext });
        };
        Err(ProviderError::new(ProviderErrorKind::Protocol, "core", &key_uri, problem))
    }

    /// The key that wrapped it.
    #[must_use]
    pub fn key_uri(&self) -> &KeyUri {
        &self.key_uri
    }

    /// The version of that key, as its KMS names it; may be empty.
    #[must_use]
    pub fn key_version(&self) -> &str {
        &self.key_version
    }

    /// How it was wrapped, a name of the format's registry.
    #[must_use]
    pub fn wrap_algorithm(&self) -> &str {
        &self.wrap_algorithm
    }

    /// Whether the wrap holds against a quantum computer, by its algorithm: symmetric
    /// ones do, with 256-bit keys, and RSA does not. `None` where it cannot be told: an
    /// algorithm that is not in the registry.
    #[must_use]
    pub fn is_post_quantum_safe(&self) -> Option<bool> {
        match self.wrap_algorithm.as_str() {
            "RSA-OAEP-256" | "PKCS11-RSA-OAEP-256" => Some(false),
            "XAES-256-GCM"
            | "ARGON2ID-COBBLESTONE-256"
            | "AWS-KMS"
            | "GCP-KMS"
            | "A256KW"
            | "A256GCM"
            | "PKCS11-AES-256-GCM"
            | "PKCS11-AES-KWP"
            | "VAULT-TRANSIT-AD"
            | "VAULT-TRANSIT-DERIVED"
            | "VAULT-TRANSIT" => Some(true),
            _ => None,
        }
    }

    /// The wrapped DEK.
    #[must_use]
    pub fn ciphertext(&self) -> &[u8] {
        &self.ciphertext
    }
}

pub(crate) fn is_algorithm_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte);
    (1..=255).contains(&name.len()) && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rsa_alone_of_the_registry_does_not_hold_against_a_quantum_computer() {
        let spec = include_str!("../../docs/spec/envelope-v1.md");
        let (_, registry) = spec.split_once("| `wrap_algorithm` | Key URI |").unwrap();
        let names = registry.lines().skip(2).map_while(|line| line.strip_prefix("| `")?.split('`').next());
        let mut count = 0;
        for name in names {
            let wrapped = WrappedDek::new(KeyUri::passphrase(), "", name, vec![1]).unwrap();
            assert_eq!(wrapped.is_post_quantum_safe(), Some(!name.contains("RSA")), "{name}");
            count += 1;
        }
        assert!(count >= 13, "{count}");
        let other = WrappedDek::new(KeyUri::passphrase(), "", "X-SOMETHING", vec![1]).unwrap();
        assert_eq!(other.is_post_quantum_safe(), None);
    }
}
