//! [`ExampleProvider`]: wraps and unwraps.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use envelope_sdk::{
    ContextBinding, Dek, FullContext, KeyProvider, KeyUri, ProviderError,
    ProviderErrorKind::{Other, Unauthentic, Unsupported},
    ProviderIdentity, WrappedDek, wrap_binding,
};

use super::keys::{Keys, Refusal, SCHEME, uri};

/// Keys in memory, with versions, states and aliases. DEKs are wrapped with
/// XAES-256-GCM, bound to the key, its version and the context.
pub struct ExampleProvider {
    identity: ProviderIdentity,
    keys: Mutex<Keys>,
    pub(crate) page_len: usize,
}

impl ExampleProvider {
    /// A provider without keys.
    #[must_use]
    pub fn new() -> Self {
        Self::with_page_len(100)
    }

    /// A provider without keys, which lists so many at once, at least one.
    #[must_use]
    pub fn with_page_len(page_len: usize) -> Self {
        Self { identity: ProviderIdentity::unique(), keys: Mutex::default(), page_len: page_len.max(1) }
    }

    /// Holds nobody up: no call waits for anything while it has the keys.
    pub(crate) fn keys(&self) -> MutexGuard<'_, Keys> {
        // Each change is made whole or not at all, also by a thread that panics.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A refusal, as the error about a key.
    pub(crate) fn about(key: &KeyUri) -> impl Fn(Refusal) -> ProviderError {
        move |(kind, message)| ProviderError::new(kind, SCHEME, key, message)
    }

    fn wrap(
        &self,
        keys: &Keys,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        let (name, found) = keys.find(key).map_err(Self::about(key))?;
        let version = found.current().map_err(Self::about(key))?;
        // A header names the key itself: an alias may mean another one tomorrow.
        let named = uri(name).map_err(Self::about(key))?;
        let binding = wrap_binding(&named, &version.name(), context)?;
        let material = version.material().map_err(Self::about(key))?;
        let sealed = material.seal(dek.expose(), &binding).map_err(|error| {
            ProviderError::new(Other, SCHEME, key, "the operating system gave no randomness")
                .with_source(error)
        })?;
        WrappedDek::new(named, version.name(), ALGORITHM, sealed)
    }

    fn unwrap(&self, keys: &Keys, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        let key = wrapped.key_uri();
        let (name, found) = keys.find(key).map_err(Self::about(key))?;
        if uri(name).as_ref() != Ok(key) {
            return Err(ProviderError::new(
                Unsupported,
                SCHEME,
                key,
                "a wrap names a key, and never an alias",
            ));
        }
        if wrapped.wrap_algorithm() != ALGORITHM {
            return Err(ProviderError::new(Unsupported, SCHEME, key, "it was not wrapped with XAES-256-GCM"));
        }
        let version = found.version(wrapped.key_version()).map_err(Self::about(key))?;
        let material = version.material().map_err(Self::about(key))?;
        let binding = wrap_binding(key, wrapped.key_version(), context)?;
        Dek::fill_with(|dek| material.open_to(wrapped.ciphertext(), &binding, dek)).map_err(|_| {
            let message = "the key, the context or the wrapped DEK is another one";
            ProviderError::new(Unauthentic, SCHEME, key, message)
        })
    }
}

impl Default for ExampleProvider {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl KeyProvider for ExampleProvider {
    fn name(&self) -> &'static str {
        SCHEME
    }

    fn identity(&self) -> Option<ProviderIdentity> {
        Some(self.identity)
    }

    async fn resolve(&self, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        let keys = self.keys();
        let (name, _) = keys.find(key).map_err(Self::about(key))?;
        uri(name).map_err(Self::about(key))
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
        self.wrap(&self.keys(), key, dek, context)
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        self.unwrap(&self.keys(), wrapped, context)
    }

    async fn rewrap_dek(
        &self,
        wrapped: &WrappedDek,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        let keys = self.keys();
        let dek = self.unwrap(&keys, wrapped, context)?;
        self.wrap(&keys, key, &dek, context).map(Some)
    }
}

const ALGORITHM: &str = "XAES-256-GCM";
