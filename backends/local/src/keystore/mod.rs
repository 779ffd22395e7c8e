//! The keystore.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use envelope_sdk::{
    Dek, FullContext, KeyAdmin, KeyChange, KeyDescription, KeyProvider, KeyUri, KeyUriError, ProviderError,
    ProviderErrorKind, WrappedDek,
};

use crate::{Argon2Params, KeystoreError, Passphrase};

pub(crate) const MAX_FILE_LEN: u64 = 16 * 1024 * 1024;

/// A keystore file, opened.
pub struct Keystore {
    path: PathBuf,
    id: String,
}

fn unfinished(path: &Path) -> KeystoreError {
    KeystoreError::NotFound { path: path.into() }
}

fn unfinished_key(key: &KeyUri) -> ProviderError {
    ProviderError::new(ProviderErrorKind::NotFound, "local", key, "there is no such key")
}

impl Keystore {
    /// Creates a keystore with [`Argon2Params::RECOMMENDED`].
    ///
    /// # Errors
    ///
    /// [`KeystoreError`].
    pub fn create(path: impl AsRef<Path>, passphrase: &Passphrase) -> Result<Self, KeystoreError> {
        Self::create_with(path, passphrase, Argon2Params::RECOMMENDED)
    }

    /// Creates a keystore with other parameters.
    ///
    /// # Errors
    ///
    /// [`KeystoreError`].
    pub fn create_with(
        path: impl AsRef<Path>,
        _passphrase: &Passphrase,
        _params: Argon2Params,
    ) -> Result<Self, KeystoreError> {
        Err(unfinished(path.as_ref()))
    }

    /// Opens a keystore.
    ///
    /// # Errors
    ///
    /// [`KeystoreError`].
    pub fn open(path: impl AsRef<Path>, _passphrase: &Passphrase) -> Result<Self, KeystoreError> {
        Err(unfinished(path.as_ref()))
    }

    /// The id of the keystore at `path`, unauthenticated.
    ///
    /// # Errors
    ///
    /// [`KeystoreError`].
    pub fn read_id(path: impl AsRef<Path>) -> Result<String, KeystoreError> {
        Err(unfinished(path.as_ref()))
    }

    /// The id: 32 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The absolute path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `local://ID/NAME`.
    ///
    /// # Errors
    ///
    /// [`KeyUriError`] when no key can have this name.
    pub fn key_uri(&self, name: &str) -> Result<KeyUri, KeyUriError> {
        KeyUri::parse(&format!("local://{}/{name}", self.id))
    }

    /// Changes the passphrase.
    ///
    /// # Errors
    ///
    /// [`KeystoreError`].
    pub fn change_passphrase(&self, _new: &Passphrase) -> Result<(), KeystoreError> {
        Err(unfinished(&self.path))
    }

    /// Reads the file again.
    ///
    /// # Errors
    ///
    /// [`KeystoreError`].
    pub fn reload(&self) -> Result<(), KeystoreError> {
        Err(unfinished(&self.path))
    }
}

#[async_trait]
impl KeyProvider for Keystore {
    fn name(&self) -> &'static str {
        "local"
    }

    async fn wrap_dek(&self, key: &KeyUri, _: &Dek, _: &FullContext) -> Result<WrappedDek, ProviderError> {
        Err(unfinished_key(key))
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, _: &FullContext) -> Result<Dek, ProviderError> {
        Err(unfinished_key(wrapped.key_uri()))
    }
}

#[async_trait]
impl KeyAdmin for Keystore {
    async fn create_key(&self, _name: &str, _pre_active: bool) -> Result<KeyDescription, ProviderError> {
        Err(unfinished_key(&KeyUri::passphrase()))
    }

    async fn describe_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        Err(unfinished_key(key))
    }

    async fn list_keys(&self) -> Result<Vec<KeyDescription>, ProviderError> {
        Ok(Vec::new())
    }

    async fn rotate_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        Err(unfinished_key(key))
    }

    async fn change_key(
        &self,
        key: &KeyUri,
        _version: Option<&str>,
        _change: KeyChange,
    ) -> Result<KeyDescription, ProviderError> {
        Err(unfinished_key(key))
    }
}
