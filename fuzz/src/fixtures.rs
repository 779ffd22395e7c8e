//! Keys of the targets, and what `make_seeds` sealed with them.
//!
//! The keys are no secrets and the sealed bytes are committed, so that an input
//! that finds something finds it again anywhere.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use envelope_local::{Argon2Params, Passphrase, PassphraseProvider};
use envelope_sdk::{
    ContextBinding, Dek, EncryptionContext, Envelope, FullContext, KeyProvider, KeyUri, Keyring,
    ProviderError, ProviderErrorKind, WrappedDek,
    crypto::{DefaultEngine, Key256, xaes::XaesKey},
    wrap_binding,
};

/// Two envelopes for each length of the plaintext, under the same key and context.
pub const ENVELOPES: [[&[u8]; 2]; 4] = [
    [include_bytes!("../fixtures/envelope-0-a"), include_bytes!("../fixtures/envelope-0-b")],
    [include_bytes!("../fixtures/envelope-100-a"), include_bytes!("../fixtures/envelope-100-b")],
    [include_bytes!("../fixtures/envelope-16384-a"), include_bytes!("../fixtures/envelope-16384-b")],
    [include_bytes!("../fixtures/envelope-33000-a"), include_bytes!("../fixtures/envelope-33000-b")],
];

/// As [`ENVELOPES`], wrapped by [`Careless`].
pub const CARELESS: [&[u8]; 2] =
    [include_bytes!("../fixtures/careless-100-a"), include_bytes!("../fixtures/careless-100-b")];

/// The header of a data key.
pub const DATA_KEY: &[u8] = include_bytes!("../fixtures/data-key");

/// Two records of [`DATA_KEY`], with [`record_context`].
pub const RECORDS: [&[u8]; 2] =
    [include_bytes!("../fixtures/record-a"), include_bytes!("../fixtures/record-b")];

/// Two DEKs wrapped by [`passphrase`] with one salt, under [`context`].
pub const PASSPHRASE_BLOBS: [&[u8]; 2] =
    [include_bytes!("../fixtures/passphrase-blob-a"), include_bytes!("../fixtures/passphrase-blob-b")];

/// A keystore under [`passphrase`], before and after a change.
pub const KEYSTORES: [&[u8]; 2] =
    [include_bytes!("../fixtures/keystore-old.json"), include_bytes!("../fixtures/keystore.json")];

/// Lengths of the plaintexts of [`ENVELOPES`].
pub const PLAINTEXT_LENS: [usize; 4] = [0, 100, 16384, 33000];

/// The plaintext of each envelope of that length.
#[must_use]
pub fn plaintext(len: usize) -> Vec<u8> {
    (0..len).map(|position| (position * 31 + position / 256) as u8).collect()
}

/// What the fixtures are bound to.
#[must_use]
pub fn context() -> EncryptionContext {
    EncryptionContext::new().with("purpose", "fuzz").with("tenant", "42").withhold("patient", "7")
}

/// What the records are bound to.
#[must_use]
pub fn record_context() -> EncryptionContext {
    EncryptionContext::new().with("row", "17").with("column", "mail")
}

/// What every fixture with a passphrase opens with.
#[must_use]
pub fn passphrase() -> Passphrase {
    Passphrase::new("correct horse battery staple".into()).expect("neither empty nor long")
}

/// A provider of [`passphrase`] with the cheapest parameters.
#[must_use]
pub fn passphrase_provider() -> PassphraseProvider {
    PassphraseProvider::with_params(passphrase(), Argon2Params::MINIMUM).expect("within the bounds")
}

/// The key URI number `index` of [`Kek`].
#[must_use]
pub fn key_uri(index: u8) -> KeyUri {
    KeyUri::parse(&format!("fuzz:key-{index}")).expect("a key URI")
}

/// Envelopes under the keys 0 (encrypts only) and 1 (both) of [`Kek`].
#[must_use]
pub fn envelope() -> Envelope {
    let kek: Arc<dyn KeyProvider> = Arc::new(Kek::new());
    Envelope::new(Keyring::new().encrypt(Arc::clone(&kek), key_uri(0)).both(kek, key_uri(1)))
}

/// Envelopes under [`Careless`].
#[must_use]
pub fn careless() -> Envelope {
    Envelope::new(Keyring::new().both(Arc::new(Careless), key_uri(0)))
}

/// A new folder in `ENVELOPE_FUZZ_FOLDER`, else in memory where the system has
/// such a place. A fuzzer does not return, so it is left behind.
#[must_use]
pub fn folder() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let parent = match std::env::var_os("ENVELOPE_FUZZ_FOLDER") {
        Some(parent) => parent.into(),
        None if memory.is_dir() => memory,
        None => std::env::temp_dir(),
    };
    tempfile::Builder::new().prefix("envelope-fuzz-").tempdir_in(parent).expect("a folder").keep()
}

/// A key in memory, bound to URI, version and context as a local keystore is.
pub struct Kek(XaesKey<DefaultEngine>);

impl Kek {
    /// The one key there is.
    #[must_use]
    pub fn new() -> Self {
        Self(XaesKey::new(&Key256::copy_from(&[7; 32])))
    }
}

impl Default for Kek {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl KeyProvider for Kek {
    fn name(&self) -> &'static str {
        "fuzz"
    }

    fn context_binding(&self, _wrapped: &WrappedDek) -> ContextBinding {
        ContextBinding::Provider
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        let sealed = self.0.seal(dek.expose(), &wrap_binding(key, "1", context)?).expect("randomness");
        WrappedDek::new(key.clone(), "1", "XAES-256-GCM", sealed)
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        let binding = wrap_binding(wrapped.key_uri(), wrapped.key_version(), context)?;
        Dek::fill_with(|dek| self.0.open_to(wrapped.ciphertext(), &binding, dek)).map_err(|_| {
            ProviderError::new(
                ProviderErrorKind::Unauthentic,
                self.name(),
                wrapped.key_uri(),
                "does not open",
            )
        })
    }
}

/// A provider that checks nothing: each URI is its key, any 32 bytes are a DEK.
/// What is refused all the same is refused by the envelope alone.
pub struct Careless;

#[async_trait]
impl KeyProvider for Careless {
    fn name(&self) -> &'static str {
        "careless"
    }

    fn is_same_key(&self, _configured: &KeyUri, _recipient: &KeyUri) -> bool {
        true
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        _context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        WrappedDek::new(key.clone(), "1", "NONE", dek.expose().to_vec())
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, _context: &FullContext) -> Result<Dek, ProviderError> {
        Dek::from_slice(wrapped.ciphertext()).map_err(|_| {
            ProviderError::new(ProviderErrorKind::Unauthentic, self.name(), wrapped.key_uri(), "not 32 bytes")
        })
    }
}
