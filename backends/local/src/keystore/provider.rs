//! Wrapping and unwrapping: memory only, no disk, no Argon2id.

use async_trait::async_trait;
use envelope_sdk::{
    ContextBinding, Dek, FullContext, KeyProvider, KeyState, KeyUri, KeyUse, ProviderError,
    ProviderErrorKind, WrappedDek, printable, wrap_binding,
};

use super::{Keystore, Loaded, LoadedKey, Store, document::KeyRecord, key_uri};

/// Wraps with `XAES-256-GCM`: nonce 24 ‖ ciphertext 32 ‖ tag 16. The
/// [`wrap_binding`] is the additional data; the key version is its decimal
/// number, `1` and up. `local:NAME` means the key of that name here, and the
/// wrapped DEK names it `local://ID/NAME`.
#[async_trait]
impl KeyProvider for Keystore {
    fn name(&self) -> &'static str {
        NAME
    }

    fn context_binding(&self, _wrapped: &WrappedDek) -> ContextBinding {
        ContextBinding::Provider
    }

    fn is_same_key(&self, configured: &KeyUri, recipient: &KeyUri) -> bool {
        configured == recipient
            || (!configured.is_resolved()
                && configured.scheme() == "local"
                && key_uri(self.id(), configured.rest()).is_ok_and(|meant| meant == *recipient))
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        self.store.read_loaded(|loaded| self.store.wrap(loaded, key, dek, context))
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        self.store.read_loaded(|loaded| self.store.unwrap(loaded, wrapped, context))
    }
}

impl Store {
    fn wrap(
        &self,
        loaded: &Loaded,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        let (name, record, keks) = self.find(loaded, key)?;
        permit(key, name, None, record.state, KeyUse::Wrap)?;
        let (Some(version), Some(kek)) = (record.versions.last(), keks.versions.last()) else {
            return Err(no_version(key, name));
        };
        let number = version.version.to_string();
        permit(key, name, Some(&number), version.state, KeyUse::Wrap)?;
        let kek = kek.as_ref().ok_or_else(|| no_version(key, name))?;
        let sealed =
            kek.seal(dek.expose(), &wrap_binding(&keks.uri, &number, context)?).map_err(|error| {
                ProviderError::new(ProviderErrorKind::Other, NAME, key, "no randomness for a nonce")
                    .with_source(error)
            })?;
        WrappedDek::new(keks.uri.clone(), number, ALGORITHM, sealed)
    }

    fn unwrap(
        &self,
        loaded: &Loaded,
        wrapped: &WrappedDek,
        context: &FullContext,
    ) -> Result<Dek, ProviderError> {
        let key = wrapped.key_uri();
        let (name, record, keks) = self.find(loaded, key)?;
        if wrapped.wrap_algorithm() != ALGORITHM {
            let message = "a keystore wraps with the algorithm XAES-256-GCM alone";
            return Err(ProviderError::new(ProviderErrorKind::Unsupported, NAME, key, message));
        }
        let number = wrapped.key_version();
        let position = record.position(number).ok_or_else(|| no_version(key, name))?;
        let (Some(version), Some(kek)) = (record.versions.get(position), keks.versions.get(position)) else {
            return Err(no_version(key, name));
        };
        permit(key, name, None, record.state, KeyUse::Unwrap)?;
        permit(key, name, Some(number), version.state, KeyUse::Unwrap)?;
        let kek = kek.as_ref().ok_or_else(|| no_version(key, name))?;
        let binding = wrap_binding(key, number, context)?;
        Dek::fill_with(|dek| kek.open_to(wrapped.ciphertext(), &binding, dek)).map_err(|_| {
            let message = "the context is another one, or the wrapped DEK was changed";
            ProviderError::new(ProviderErrorKind::Unauthentic, NAME, key, message)
        })
    }

    pub(super) fn find<'l>(
        &self,
        loaded: &'l Loaded,
        key: &'l KeyUri,
    ) -> Result<(&'l str, &'l KeyRecord, &'l LoadedKey), ProviderError> {
        let name = self.name_of(key)?;
        match (loaded.document.keys.get(name), loaded.keks.get(name)) {
            (Some(record), Some(keks)) => Ok((name, record, keks)),
            _ => Err(self.no_key(key, name)),
        }
    }

    /// The name of the key that `key` means, if it is one of this keystore.
    pub(super) fn name_of<'k>(&self, key: &'k KeyUri) -> Result<&'k str, ProviderError> {
        let error = |kind, message: String| Err(ProviderError::new(kind, NAME, key, message));
        if key.scheme() != "local" {
            let message = "a keystore holds keys of the scheme local: alone";
            return error(ProviderErrorKind::Unsupported, message.into());
        }
        match key.rest().strip_prefix("//").and_then(|path| path.split_once('/')) {
            None => Ok(key.rest()),
            Some((id, name)) if id == self.id => Ok(name),
            Some(_) => {
                let message = format!("it belongs to another keystore; this one has the id {}", self.id);
                error(ProviderErrorKind::NotFound, message)
            }
        }
    }

    pub(super) fn no_key(&self, key: &KeyUri, name: &str) -> ProviderError {
        let path = printable::path(self.path());
        let message = format!("the keystore {path} has no key `{name}`; list its keys, or reload it");
        ProviderError::new(ProviderErrorKind::NotFound, NAME, key, message)
    }
}

fn permit(
    key: &KeyUri,
    name: &str,
    version: Option<&str>,
    state: KeyState,
    usage: KeyUse,
) -> Result<(), ProviderError> {
    if state.permits(usage) {
        return Ok(());
    }
    let what = match version {
        Some(version) => format!("version {version} of `{name}`"),
        None => format!("the key `{name}`"),
    };
    let verb = match usage {
        KeyUse::Wrap => "wrap",
        _ => "unwrap",
    };
    let remedy = match (state, usage) {
        (KeyState::PreActive, _) => "activate it first",
        (KeyState::Suspended, _) => "it opens again when it is made active, or deactivated",
        (KeyState::Deactivated | KeyState::Compromised, KeyUse::Wrap) => "encrypt with another key",
        _ => "its key material is gone",
    };
    let message = format!("{what} is {state} and cannot {verb}: {remedy}");
    Err(ProviderError::new(ProviderErrorKind::State, NAME, key, message))
}

fn no_version(key: &KeyUri, name: &str) -> ProviderError {
    let message = format!("the key `{name}` has no such version here; reload the keystore if it was rotated");
    ProviderError::new(ProviderErrorKind::NotFound, NAME, key, message)
}

pub(super) const NAME: &str = "local";
const ALGORITHM: &str = "XAES-256-GCM";
