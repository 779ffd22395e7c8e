//! [`PassphraseOnUse`]: a passphrase that is asked for when it is used.

use std::sync::Arc;

use async_trait::async_trait;
use envelope_sdk::{
    ContextBinding, Dek, FullContext, KeyProvider, KeyUri, ProviderError, ProviderIdentity, WrappedDek,
    provider::unwrap_one_by_one,
    registry::Purpose,
    secret::{Prompt, Secrets},
};

use super::{Failure, OnUse, given, passphrase};
use crate::{
    Passphrase, PassphraseProvider,
    passphrase_provider::{self, check_key},
};

/// A passphrase for recipients `passphrase:` that is asked for when it is first
/// used, once for each [`Purpose`] and so once for each of these.
///
/// | Purpose | Secret | If it was not given, a person is asked |
/// |---|---|---|
/// | `Encrypt` | `passphrase` | twice, by `Passphrase` |
/// | `Decrypt` | `passphrase` | once, by `Passphrase` |
/// | `Replace` | `new-passphrase` | twice, by `New passphrase` |
///
/// A passphrase that is refused (it is empty, or longer than 4096 bytes), and that
/// there is none ([`SecretError`](envelope_sdk::secret::SecretError) of kind `Invalid`), is told again at each use, and nobody is asked
/// again. Whatever else goes wrong is told to those who waited, and tried again at the next use. No
/// error of unlocking is [`Unauthentic`](envelope_sdk::ProviderErrorKind::Unauthentic).
///
/// Asking and Argon2id are done on a thread of their own. Otherwise it is a
/// [`PassphraseProvider`].
pub struct PassphraseOnUse(OnUse<PassphraseProvider>);

impl PassphraseOnUse {
    /// The name of the secret that opens and encrypts.
    pub const SECRET: &'static str = "passphrase";

    /// The name of the secret that replaces another.
    pub const NEW_SECRET: &'static str = "new-passphrase";

    /// A passphrase that `secrets` know.
    ///
    /// `allowed_work` is for `Decrypt` alone: how many times the work of a new wrap
    /// an old one may ask for ([`PassphraseProvider::allow_work`]).
    #[must_use]
    pub fn new(secrets: Arc<dyn Secrets>, purpose: Purpose, allowed_work: u32) -> Self {
        let unlock = move || {
            let provider = PassphraseProvider::new(passphrase_for(&*secrets, purpose)?);
            Ok(match purpose {
                Purpose::Decrypt => provider.allow_work(allowed_work),
                _ => provider,
            })
        };
        Self(OnUse::new(passphrase_provider::NAME, unlock))
    }

    async fn with(&self, key: &KeyUri) -> Result<Arc<PassphraseProvider>, ProviderError> {
        check_key(key)?;
        self.0.get().await.map_err(|error| error.about(key))
    }
}

fn passphrase_for(secrets: &dyn Secrets, purpose: Purpose) -> Result<Passphrase, Failure> {
    let (name, prompt) = match purpose {
        Purpose::Decrypt => (PassphraseOnUse::SECRET, Prompt::once("Passphrase")),
        Purpose::Replace => (PassphraseOnUse::NEW_SECRET, Prompt::twice("New passphrase")),
        // Encrypt, and what may come: who mistypes it loses what is encrypted.
        _ => (PassphraseOnUse::SECRET, Prompt::twice("Passphrase")),
    };
    match given(secrets, name)? {
        Some(passphrase) => Ok(passphrase),
        None => passphrase(secrets.ask(name, &prompt)?),
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl KeyProvider for PassphraseOnUse {
    fn name(&self) -> &'static str {
        passphrase_provider::NAME
    }

    /// None, as of every passphrase: it rewraps nothing by itself.
    fn identity(&self) -> Option<ProviderIdentity> {
        None
    }

    async fn resolve(&self, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        Ok(key.clone())
    }

    fn context_binding(&self, _wrapped: &WrappedDek) -> ContextBinding {
        ContextBinding::Provider
    }

    fn is_same_key(&self, configured: &KeyUri, recipient: &KeyUri) -> bool {
        configured == recipient
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        self.with(key).await?.wrap_dek(key, dek, context).await
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        self.with(wrapped.key_uri()).await?.unwrap_dek(wrapped, context).await
    }

    async fn unwrap_deks(&self, wraps: &[(&WrappedDek, &FullContext)]) -> Vec<Result<Dek, ProviderError>> {
        unwrap_one_by_one(self, wraps).await
    }

    /// A passphrase keeps no DEK.
    fn refuted(&self, _wrapped: &WrappedDek, _context: &FullContext) {}

    fn binding_of_new_wraps(&self, _key: &KeyUri) -> Option<ContextBinding> {
        Some(ContextBinding::Provider)
    }

    /// For who types it.
    fn waits_for_a_person(&self, _key: &KeyUri) -> bool {
        true
    }

    fn generates_deks(&self, _key: &KeyUri) -> bool {
        false
    }

    async fn generate_dek(
        &self,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<(Dek, WrappedDek), ProviderError> {
        self.with(key).await?.generate_dek(key, context).await
    }

    async fn rewrap_dek(
        &self,
        _wrapped: &WrappedDek,
        _key: &KeyUri,
        _context: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        Ok(None)
    }
}
