//! With what keys wrap: which algorithm, and how its bytes lie in a wrap.

use azure_security_keyvault_keys::models::EncryptionAlgorithm;

use super::{ENCRYPTION_USER, HSM_ENCRYPTION_USER};
use crate::error::Call;

/// With what symmetric keys of a managed HSM wrap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SymmetricAlgorithm {
    /// AES-256-GCM, with the full context as additional authenticated data. The service
    /// makes the IV: at random, 96 bits. Below 2^32 wraps of one version the chance that
    /// two are the same is below 2^-32 (NIST SP 800-38D, section 8.3): rotate the key
    /// before.
    #[default]
    A256Gcm,
    /// AES key wrap (RFC 3394), for keys whose permitted operations are wrapKey and
    /// unwrapKey alone. It takes no context.
    A256Kw,
}

impl SymmetricAlgorithm {
    /// Its name in settings and headers: `A256GCM`, `A256KW`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::A256Gcm => "A256GCM",
            Self::A256Kw => "A256KW",
        }
    }

    /// The algorithm of that [`name`](Self::name), spelled exactly.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::A256Gcm, Self::A256Kw].into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// With what a DEK is wrapped, as headers record it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrap {
    RsaOaep256,
    Symmetric(SymmetricAlgorithm),
}

/// A wrap as the service wants its parts.
pub(super) struct Parts<'w> {
    pub(super) value: &'w [u8],
    pub(super) iv: Option<&'w [u8]>,
    pub(super) tag: Option<&'w [u8]>,
}

impl Wrap {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::RsaOaep256 => "RSA-OAEP-256",
            Self::Symmetric(algorithm) => algorithm.name(),
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        if name == Self::RsaOaep256.name() {
            return Some(Self::RsaOaep256);
        }
        SymmetricAlgorithm::from_name(name).map(Self::Symmetric)
    }

    pub(super) const fn algorithm(self) -> EncryptionAlgorithm {
        match self {
            Self::RsaOaep256 => EncryptionAlgorithm::RsaOaep256,
            Self::Symmetric(SymmetricAlgorithm::A256Gcm) => EncryptionAlgorithm::A256Gcm,
            Self::Symmetric(SymmetricAlgorithm::A256Kw) => EncryptionAlgorithm::A256Kw,
        }
    }

    /// By encrypt and decrypt, instead of wrapKey and unwrapKey.
    pub(super) fn encrypts(self) -> bool {
        self == Self::Symmetric(SymmetricAlgorithm::A256Gcm)
    }

    /// Whether the key store binds the context.
    pub(super) fn takes_context(self) -> bool {
        self.encrypts()
    }

    pub(super) fn wraps(self) -> Call {
        if self.encrypts() {
            Call::new("keys/encrypt/action", "Key Vault Crypto User", "Managed HSM Crypto User")
        } else {
            Call::new("keys/wrap/action", ENCRYPTION_USER, HSM_ENCRYPTION_USER)
        }
    }

    pub(super) fn unwraps(self) -> Call {
        if self.encrypts() {
            Call::new("keys/decrypt/action", "Key Vault Crypto User", "Managed HSM Crypto User")
        } else {
            Call::new("keys/unwrap/action", ENCRYPTION_USER, HSM_ENCRYPTION_USER)
        }
    }

    /// The parts of a wrap, if it has a length that one can have.
    pub(super) fn split(self, bytes: &[u8]) -> Option<Parts<'_>> {
        match self {
            // The length of the modulus: 2048, 3072 or 4096 bits.
            Self::RsaOaep256 => {
                RSA_LENS.contains(&bytes.len()).then_some(Parts { value: bytes, iv: None, tag: None })
            }
            Self::Symmetric(SymmetricAlgorithm::A256Kw) => {
                (bytes.len() == KW_LEN).then_some(Parts { value: bytes, iv: None, tag: None })
            }
            Self::Symmetric(SymmetricAlgorithm::A256Gcm) if bytes.len() == IV_LEN + DEK_LEN + TAG_LEN => {
                let (iv, rest) = bytes.split_at(IV_LEN);
                let (value, tag) = rest.split_at(DEK_LEN);
                Some(Parts { value, iv: Some(iv), tag: Some(tag) })
            }
            Self::Symmetric(_) => None,
        }
    }
}

pub(super) const IV_LEN: usize = 12;
pub(super) const TAG_LEN: usize = 16;
pub(super) const DEK_LEN: usize = envelope_sdk::Dek::LEN;
/// A DEK and eight bytes that check it.
const KW_LEN: usize = DEK_LEN + 8;
const RSA_LENS: [usize; 3] = [256, 384, 512];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_algorithm_is_found_by_its_name_and_no_other_is() {
        for name in ["RSA-OAEP-256", "A256GCM", "A256KW"] {
            assert_eq!(Wrap::from_name(name).unwrap().name(), name);
        }
        for name in ["RSA-OAEP", "RSA1_5", "A128GCM", "A256CBC", "rsa-oaep-256", ""] {
            assert!(Wrap::from_name(name).is_none(), "{name}");
        }
    }

    #[test]
    fn a_wrap_has_the_length_of_its_algorithm() {
        for (name, lens) in [("RSA-OAEP-256", &[256, 384, 512][..]), ("A256GCM", &[60]), ("A256KW", &[40])] {
            let wrap = Wrap::from_name(name).unwrap();
            for len in 0..=600 {
                assert_eq!(wrap.split(&vec![0; len]).is_some(), lens.contains(&len), "{name} {len}");
            }
        }
        let bytes: Vec<u8> = (0..60).collect();
        let parts = Wrap::from_name("A256GCM").unwrap().split(&bytes).unwrap();
        assert_eq!(
            (parts.iv.unwrap(), parts.value.len(), parts.tag.unwrap()),
            (&bytes[..12], 32, &bytes[44..])
        );
    }

    #[test]
    fn the_context_is_bound_by_gcm_alone() {
        let binds = |name| Wrap::from_name(name).unwrap().takes_context();
        assert!(binds("A256GCM") && !binds("A256KW") && !binds("RSA-OAEP-256"));
    }
}
