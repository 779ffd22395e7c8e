//! A provider whose keys live and die with it.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use envelope_sdk::{
    ContextBinding, Dek, FullContext, KeyProvider, KeyUri, ProviderError, ProviderErrorKind,
    ProviderIdentity, WrappedDek,
    crypto::{DefaultEngine, Key256, xaes::XaesKey},
    wrap_binding,
};

/// A [`KeyProvider`] with random XAES-256-GCM keys in memory, the wrap that the
/// local keystore uses, at the same cost.
///
/// It counts its calls, so that a test can say that there were none.
///
/// ```
/// # use std::sync::Arc;
/// # use envelope_sdk::{Envelope, Keyring};
/// # use envelope_testkit::MemoryProvider;
/// let key = MemoryProvider::key("alpha");
/// let provider = Arc::new(MemoryProvider::new().with_key(&key));
/// let envelope = Envelope::new(Keyring::new().both(provider.clone(), key));
/// assert_eq!(provider.calls(), 0);
/// # let _ = envelope;
/// ```
pub struct MemoryProvider {
    identity: ProviderIdentity,
    keys: BTreeMap<KeyUri, XaesKey<DefaultEngine>>,
    envelope_only: bool,
    generating: bool,
    rewrapping: bool,
    generated: AtomicUsize,
    rewraps: AtomicUsize,
    wraps: AtomicUsize,
    unwraps: AtomicUsize,
}

impl MemoryProvider {
    /// The version that every key of this provider has.
    pub const VERSION: &str = "1";

    /// The wrap algorithm it writes.
    pub const ALGORITHM: &str = "XAES-256-GCM";

    /// A provider without keys.
    #[must_use]
    pub fn new() -> Self {
        Self {
            identity: ProviderIdentity::unique(),
            keys: BTreeMap::new(),
            envelope_only: false,
            generating: false,
            rewrapping: false,
            generated: AtomicUsize::default(),
            rewraps: AtomicUsize::default(),
            wraps: AtomicUsize::default(),
            unwraps: AtomicUsize::default(),
        }
    }

    /// `memory:NAME`, the URI of a key of this provider.
    ///
    /// # Panics
    ///
    /// When `name` has a character that a key URI cannot hold.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test that names its key wrongly shall stop")]
    pub fn key(name: &str) -> KeyUri {
        KeyUri::parse(&format!("memory:{name}")).expect("a name without blanks")
    }

    /// Adds a random key.
    ///
    /// # Panics
    ///
    /// When the operating system gives no randomness.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test without randomness shall stop")]
    pub fn with_key(mut self, key: &KeyUri) -> Self {
        let random = Key256::generate::<DefaultEngine>().expect("randomness of the system");
        self.keys.insert(key.clone(), XaesKey::new(&random));
        self
    }

    /// Binds no context, as RSA-OAEP and AES key wrap cannot.
    #[must_use]
    pub fn without_context_binding(mut self) -> Self {
        self.envelope_only = true;
        self
    }

    /// Makes the DEKs of new envelopes itself, as AWS KMS can.
    #[must_use]
    pub fn that_generates_deks(mut self) -> Self {
        self.generating = true;
        self
    }

    /// Rewraps without handing out the DEK, as AWS KMS can.
    #[must_use]
    pub fn that_rewraps(mut self) -> Self {
        self.rewrapping = true;
        self
    }

    /// How often [`generate_dek`](KeyProvider::generate_dek) was called.
    #[must_use]
    pub fn generated(&self) -> usize {
        self.generated.load(Ordering::SeqCst)
    }

    /// How often [`rewrap_dek`](KeyProvider::rewrap_dek) was called, if it
    /// [rewraps](Self::that_rewraps).
    #[must_use]
    pub fn rewraps(&self) -> usize {
        self.rewraps.load(Ordering::SeqCst)
    }

    /// How often [`wrap_dek`](KeyProvider::wrap_dek) was called.
    #[must_use]
    pub fn wraps(&self) -> usize {
        self.wraps.load(Ordering::SeqCst)
    }

    /// How often [`unwrap_dek`](KeyProvider::unwrap_dek) was called.
    #[must_use]
    pub fn unwraps(&self) -> usize {
        self.unwraps.load(Ordering::SeqCst)
    }

    /// All of these.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.generated() + self.rewraps() + self.wraps() + self.unwraps()
    }

    fn wrap(&self, key: &KeyUri, dek: &Dek, context: &FullContext) -> Result<WrappedDek, ProviderError> {
        let sealed = self
            .find(key)?
            .seal(dek.expose(), &self.aad(key, context)?)
            .map_err(|error| self.error(ProviderErrorKind::Other, key, "no randomness").with_source(error))?;
        WrappedDek::new(key.clone(), Self::VERSION, Self::ALGORITHM, sealed)
    }

    fn unwrap(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        let key = wrapped.key_uri();
        let kek = self.find(key)?;
        if wrapped.wrap_algorithm() != Self::ALGORITHM {
            return Err(self.error(ProviderErrorKind::Unsupported, key, "not wrapped with XAES-256-GCM"));
        }
        if wrapped.key_version() != Self::VERSION {
            return Err(self.error(ProviderErrorKind::NotFound, key, "no such version of this key"));
        }
        let aad = self.aad(key, context)?;
        Dek::fill_with(|dek| kek.open_to(wrapped.ciphertext(), &aad, dek))
            .map_err(|_| self.error(ProviderErrorKind::Unauthentic, key, "the wrapped DEK does not open"))
    }

    fn find(&self, key: &KeyUri) -> Result<&XaesKey<DefaultEngine>, ProviderError> {
        self.keys
            .get(key)
            .ok_or_else(|| self.error(ProviderErrorKind::NotFound, key, "no such key in memory"))
    }

    fn aad(&self, key: &KeyUri, context: &FullContext) -> Result<Vec<u8>, ProviderError> {
        if self.envelope_only {
            wrap_binding(key, Self::VERSION, &FullContext::empty())
        } else {
            wrap_binding(key, Self::VERSION, context)
        }
    }

    fn error(&self, kind: ProviderErrorKind, key: &KeyUri, message: &str) -> ProviderError {
        ProviderError::new(kind, self.name(), key, message)
    }
}

impl Default for MemoryProvider {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl KeyProvider for MemoryProvider {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn identity(&self) -> Option<ProviderIdentity> {
        Some(self.identity)
    }

    fn context_binding(&self, _wrapped: &WrappedDek) -> ContextBinding {
        if self.envelope_only { ContextBinding::EnvelopeOnly } else { ContextBinding::Provider }
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        self.wraps.fetch_add(1, Ordering::SeqCst);
        self.wrap(key, dek, context)
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        self.unwraps.fetch_add(1, Ordering::SeqCst);
        self.unwrap(wrapped, context)
    }

    fn binding_of_new_wraps(&self, _key: &KeyUri) -> Option<ContextBinding> {
        Some(if self.envelope_only { ContextBinding::EnvelopeOnly } else { ContextBinding::Provider })
    }

    fn generates_deks(&self, _key: &KeyUri) -> bool {
        self.generating
    }

    async fn generate_dek(
        &self,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<(Dek, WrappedDek), ProviderError> {
        self.generated.fetch_add(1, Ordering::SeqCst);
        let dek = Dek::generate::<DefaultEngine>()
            .map_err(|error| self.error(ProviderErrorKind::Other, key, "no randomness").with_source(error))?;
        let wrapped = self.wrap(key, &dek, context)?;
        Ok((dek, wrapped))
    }

    async fn rewrap_dek(
        &self,
        wrapped: &WrappedDek,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        if !self.rewrapping {
            return Ok(None);
        }
        self.rewraps.fetch_add(1, Ordering::SeqCst);
        let dek = self.unwrap(wrapped, context)?;
        self.wrap(key, &dek, context).map(Some)
    }
}
