//! Wrapping and unwrapping: memory only, no disk, no Argon2id.

use async_trait::async_trait;
use envelope_sdk::{
    ContextBinding, Dek, FullContext, KeyProvider, KeyState, KeyUri, KeyUse, ProviderError,
    ProviderErrorKind, WrappedDek, key_uri::local::LocalKey, lifecycle, printable, wrap_binding,
};

use super::{
    Keystore, Store,
    document::KeyRecord,
    loaded::{Loaded, LoadedKey},
};
use crate::NAME;

/// Wraps with `XAES-256-GCM`: nonce 24 ‖ ciphertext 32 ‖ tag 16. The
/// [`wrap_binding`] is the additional data; the key version is its decimal
/// number, `1` and up. `local:NAME` means the key of that name here
/// ([`resolve`](KeyProvider::resolve)), and the wrapped DEK names it
/// `local://ID/NAME`.
#[async_trait]
impl KeyProvider for Keystore {
    fn name(&self) -> &'static str {
        NAME
    }

    fn context_binding(&self, _wrapped: &WrappedDek) -> ContextBinding {
        ContextBinding::Provider
    }

    async fn resolve(&self, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        full_uri(self.id(), key)
    }

    fn binding_of_new_wraps(&self, _key: &KeyUri) -> Option<ContextBinding> {
        Some(ContextBinding::Provider)
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
        permit(key, "the key", record.state, KeyUse::Wrap)?;
        let (Some(version), Some(kek)) = (record.versions.last(), keks.versions.last()) else {
            return Err(no_version(key, name));
        };
        let number = version.version.to_string();
        permit(key, &format!("version {number}"), version.state, KeyUse::Wrap)?;
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
            let message = "a keystore wraps only with the algorithm XAES-256-GCM";
            return Err(ProviderError::new(ProviderErrorKind::Unsupported, NAME, key, message));
        }
        let number = wrapped.key_version();
        let position = record.position(number).ok_or_else(|| no_version(key, name))?;
        let (Some(version), Some(kek)) = (record.versions.get(position), keks.versions.get(position)) else {
            return Err(no_version(key, name));
        };
        permit(key, "the key", record.state, KeyUse::Unwrap)?;
        permit(key, &format!("version {number}"), version.state, KeyUse::Unwrap)?;
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
        let name = name_in(&self.id, key)?;
        match (loaded.document.keys.get(name), loaded.keks.get(name)) {
            (Some(record), Some(keks)) => Ok((name, record, keks)),
            _ => Err(self.no_key(key, name)),
        }
    }

    fn no_key(&self, key: &KeyUri, name: &str) -> ProviderError {
        ProviderError::new(ProviderErrorKind::NotFound, NAME, key, self.has_no_key(name))
    }

    pub(super) fn has_no_key(&self, name: &str) -> String {
        let path = printable::path(self.path());
        format!("the keystore {path} has no key `{name}`; list its keys, or reload it")
    }
}

/// Refuses a key of another kind of key store.
fn check_scheme(key: &KeyUri) -> Result<LocalKey<'_>, ProviderError> {
    LocalKey::of(key).ok_or_else(|| {
        let message = "a keystore holds only keys of the scheme local:";
        ProviderError::new(ProviderErrorKind::Unsupported, NAME, key, message)
    })
}

/// The name of a key, if it is one of the keystore with this id.
pub(crate) fn name_in<'k>(id: &str, key: &'k KeyUri) -> Result<&'k str, ProviderError> {
    match check_scheme(key)? {
        LocalKey { keystore: Some(other), .. } if other != id => {
            let message = format!("it belongs to another keystore; this one has the id {id}");
            Err(ProviderError::new(ProviderErrorKind::NotFound, NAME, key, message))
        }
        LocalKey { name, .. } => Ok(name),
    }
}

/// `local://ID/NAME` for a key in its short form; any other of the scheme as it is.
pub(crate) fn full_uri(id: &str, key: &KeyUri) -> Result<KeyUri, ProviderError> {
    match check_scheme(key)? {
        LocalKey { keystore: Some(_), .. } => Ok(key.clone()),
        LocalKey { name, .. } => LocalKey::uri(id, name)
            .map_err(|error| ProviderError::new(ProviderErrorKind::Invalid, NAME, key, error.to_string())),
    }
}

fn permit(key: &KeyUri, what: &str, state: KeyState, usage: KeyUse) -> Result<(), ProviderError> {
    lifecycle::check_use(what, state, usage)
        .map_err(|message| ProviderError::new(ProviderErrorKind::State, NAME, key, message))
}

fn no_version(key: &KeyUri, name: &str) -> ProviderError {
    let message = format!("the key `{name}` has no such version here; reload the keystore if it was rotated");
    ProviderError::new(ProviderErrorKind::NotFound, NAME, key, message)
}

pub(super) const ALGORITHM: &str = "XAES-256-GCM";
