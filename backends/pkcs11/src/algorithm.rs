//! The three ways to wrap a DEK on a token, and which of them a token offers.
//!
//! | `wrap_algorithm` | Mechanism | `wrapped_dek` |
//! |---|---|---|
//! | `PKCS11-AES-256-GCM` | `CKM_AES_GCM`, the context as additional data | IV 12 ‖ ciphertext 32 ‖ tag 16 |
//! | `PKCS11-AES-KWP` | `CKM_AES_KEY_WRAP_PAD` (RFC 5649) | 40 bytes |
//! | `PKCS11-RSA-OAEP-256` | `CKM_RSA_PKCS_OAEP` with SHA-256 and an empty label | as long as the modulus |

use cryptoki::{
    context::{Function, Pkcs11},
    error::Error,
    mechanism::{MechanismInfo, MechanismType},
    slot::Slot,
};
use envelope_sdk::ContextBinding;

/// How a DEK is wrapped, in the order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Gcm,
    Kwp,
    Oaep,
}

impl Algorithm {
    const ALL: [Self; 3] = [Self::Gcm, Self::Kwp, Self::Oaep];

    /// The name in the format's registry.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gcm => "PKCS11-AES-256-GCM",
            Self::Kwp => "PKCS11-AES-KWP",
            Self::Oaep => "PKCS11-RSA-OAEP-256",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    pub(crate) const fn binding(self) -> ContextBinding {
        match self {
            Self::Gcm => ContextBinding::Provider,
            Self::Kwp | Self::Oaep => ContextBinding::EnvelopeOnly,
        }
    }
}

/// What a token can do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Capabilities {
    gcm: bool,
    /// PKCS#11 3.0: the token makes the IV itself.
    pub(crate) gcm_message: bool,
    kwp: bool,
    oaep: bool,
    aes_key_gen: bool,
}

impl Capabilities {
    pub(crate) fn of(module: &Pkcs11, slot: Slot) -> Result<Self, Error> {
        let offered = module.get_mechanism_list(slot)?;
        let can = |mechanism: MechanismType, check: fn(&MechanismInfo) -> bool| {
            offered.contains(&mechanism)
                && module.get_mechanism_info(slot, mechanism).is_ok_and(|info| check(&info))
        };
        let functions =
            [Function::MessageEncryptInit, Function::EncryptMessage, Function::MessageEncryptFinal];
        let messages = functions.into_iter().all(|function| module.is_fn_supported(function));
        Ok(Self {
            gcm: can(MechanismType::AES_GCM, |info| info.encrypt() && info.decrypt()),
            gcm_message: messages && can(MechanismType::AES_GCM, MechanismInfo::message_encrypt),
            kwp: can(MechanismType::AES_KEY_WRAP_PAD, |info| info.wrap() && info.unwrap()),
            oaep: can(MechanismType::RSA_PKCS_OAEP, |info| info.encrypt() && info.decrypt()),
            aes_key_gen: can(MechanismType::AES_KEY_GEN, MechanismInfo::generate),
        })
    }

    /// Those that are there, in the order of preference.
    pub(crate) fn algorithms(self) -> impl Iterator<Item = Algorithm> {
        Algorithm::ALL.into_iter().filter(move |algorithm| self.has(*algorithm))
    }

    /// Whether keys for AES-GCM can be made in the token.
    pub(crate) fn makes_gcm_keys(self) -> bool {
        self.gcm && self.aes_key_gen
    }

    pub(crate) fn has(self, algorithm: Algorithm) -> bool {
        match algorithm {
            Algorithm::Gcm => self.gcm,
            Algorithm::Kwp => self.kwp,
            Algorithm::Oaep => self.oaep,
        }
    }
}
