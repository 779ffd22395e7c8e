//! What is known of keys: with what they wrap, and their public part where wraps are
//! made here.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use azure_security_keyvault_keys::models::{JsonWebKey, KeyType};
use envelope_sdk::{
    KeyUri,
    ProviderErrorKind::{self, Invalid, Unsupported},
};

use super::{
    SymmetricAlgorithm,
    algorithm::Wrap,
    local::{Flaw, Public},
};
use crate::error::words;

/// What the settings say of how keys wrap.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ways {
    pub(crate) symmetric: SymmetricAlgorithm,
    pub(crate) local_wraps: bool,
    pub(crate) post_quantum_safe_only: bool,
}

/// What is known of a key.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) wrap: Wrap,
    /// The current one when it was asked for.
    pub(super) version: String,
    /// For wraps that are made here.
    pub(super) public: Option<Arc<Public>>,
}

impl Known {
    /// Of what a vault tells.
    pub(super) fn of(
        key: &JsonWebKey,
        version: String,
        ways: Ways,
    ) -> Result<Self, (ProviderErrorKind, &'static str)> {
        match key.kty {
            Some(KeyType::Rsa | KeyType::RsaHsm) if ways.post_quantum_safe_only => {
                Err((Invalid, words::NO_RSA))
            }
            Some(KeyType::Rsa | KeyType::RsaHsm) => {
                let public = if ways.local_wraps { Some(Arc::new(public(key)?)) } else { None };
                Ok(Self { wrap: Wrap::RsaOaep256, version, public })
            }
            Some(KeyType::Oct | KeyType::OctHsm) => {
                Ok(Self { wrap: Wrap::Symmetric(ways.symmetric), version, public: None })
            }
            _ => Err((Unsupported, "the key is of a type that wraps no DEK: use RSA, RSA-HSM or oct-HSM")),
        }
    }
}

fn public(key: &JsonWebKey) -> Result<Public, (ProviderErrorKind, &'static str)> {
    let (n, e) = (key.n.as_deref().unwrap_or_default(), key.e.as_deref().unwrap_or_default());
    Public::of(n, e).map_err(|flaw| match flaw {
        Flaw::Small => {
            (Invalid, "the RSA key has less than 3072 bits, with which nothing is wrapped on this machine: use another key")
        }
        Flaw::Exponent | Flaw::NoKey => {
            (ProviderErrorKind::Protocol, "the vault told a public key that cannot be: do not trust what stands between")
        }
    })
}

#[derive(Default)]
pub(super) struct Kinds(Mutex<BTreeMap<KeyUri, Known>>);

impl Kinds {
    pub(super) fn get(&self, key: &KeyUri) -> Option<Known> {
        self.lock().get(key).cloned()
    }

    pub(super) fn learn(&self, key: &KeyUri, known: Known) {
        let mut all = self.lock();
        // More are not used by one process; what is forgotten is only asked for again.
        if all.len() >= MOST {
            all.clear();
        }
        all.insert(key.clone(), known);
    }

    pub(super) fn forget(&self, key: &KeyUri) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<KeyUri, Known>> {
        // Each change of it is one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keys that are remembered.
const MOST: usize = 4096;
