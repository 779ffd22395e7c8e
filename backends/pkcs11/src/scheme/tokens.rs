//! Every token of a module as one provider.

use std::sync::Arc;

use async_trait::async_trait;
use envelope_sdk::{
    ContextBinding, Dek, FullContext, KeyAdmin, KeyChange, KeyDescription, KeyProvider, KeyUri, NewKey,
    ProviderError, ProviderIdentity, WrappedDek,
    admin::{AutoRotation, KeyPage, RotationStatus},
};
use futures_util::lock::Mutex;

use super::opener::{Opener, token_of};
use crate::{apart::apart, error::NAME, provider::Pkcs11Provider, selector::TokenSelector};

/// A provider for each token that was used.
pub(super) struct Tokens {
    opener: Arc<Opener>,
    /// Held while a token is opened, so that a crowd of calls opens it once.
    open: Mutex<Vec<(TokenSelector, Arc<Pkcs11Provider>)>>,
}

impl Tokens {
    pub(super) fn new(opener: Opener) -> Self {
        Self { opener: Arc::new(opener), open: Mutex::default() }
    }

    pub(super) fn opener(&self) -> &Opener {
        &self.opener
    }

    /// The token of a key that the operator named.
    async fn of(&self, key: &KeyUri) -> Result<Arc<Pkcs11Provider>, ProviderError> {
        self.token(token_of(key)?).await.map_err(|error| error.about(key))
    }

    /// The token that the settings name, or the only one.
    async fn configured(&self) -> Result<Arc<Pkcs11Provider>, ProviderError> {
        self.token(self.opener.configured()?).await
    }

    async fn token(&self, selector: TokenSelector) -> Result<Arc<Pkcs11Provider>, ProviderError> {
        let mut open = self.open.lock().await;
        if let Some((_, token)) = open.iter().find(|(of, _)| *of == selector) {
            return Ok(Arc::clone(token));
        }
        let (opener, wanted) = (Arc::clone(&self.opener), selector.clone());
        let token = Arc::new(apart(move || opener.open(wanted)).await?);
        open.push((selector, Arc::clone(&token)));
        Ok(token)
    }
}

// A method that is not handed on would be the default in place of the token's own.
#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl KeyProvider for Tokens {
    fn name(&self) -> &'static str {
        NAME
    }

    /// A token rewraps nothing inside.
    fn identity(&self) -> Option<ProviderIdentity> {
        None
    }

    /// A token has no aliases, and is not asked.
    async fn resolve(&self, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        Ok(key.clone())
    }

    fn context_binding(&self, wrapped: &WrappedDek) -> ContextBinding {
        Pkcs11Provider::binding_of(wrapped)
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
        self.of(key).await?.wrap_dek(key, dek, context).await
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        self.of(wrapped.key_uri()).await?.unwrap_dek(wrapped, context).await
    }

    fn generates_deks(&self, _key: &KeyUri) -> bool {
        false
    }

    async fn generate_dek(
        &self,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<(Dek, WrappedDek), ProviderError> {
        self.of(key).await?.generate_dek(key, context).await
    }

    /// The two keys may be of two tokens.
    async fn rewrap_dek(
        &self,
        _wrapped: &WrappedDek,
        _key: &KeyUri,
        _context: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        Ok(None)
    }
}

// As above.
#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl KeyAdmin for Tokens {
    fn provider(&self) -> &'static str {
        NAME
    }

    async fn create_key(&self, new: &NewKey) -> Result<KeyDescription, ProviderError> {
        self.configured().await?.create_key(new).await
    }

    async fn check_new_key(&self, new: &NewKey) -> Result<(), ProviderError> {
        self.configured().await?.check_new_key(new).await
    }

    async fn describe_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        self.of(key).await?.describe_key(key).await
    }

    async fn list_keys(&self, page: Option<&str>) -> Result<KeyPage, ProviderError> {
        self.configured().await?.list_keys(page).await
    }

    async fn rotate_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        self.of(key).await?.rotate_key(key).await
    }

    async fn check_rotation(&self, key: &KeyUri) -> Result<(), ProviderError> {
        self.of(key).await?.check_rotation(key).await
    }

    async fn change_key(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<KeyDescription, ProviderError> {
        self.of(key).await?.change_key(key, version, change).await
    }

    async fn check_change(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<(), ProviderError> {
        self.of(key).await?.check_change(key, version, change).await
    }

    async fn set_not_after(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        not_after: Option<u64>,
    ) -> Result<KeyDescription, ProviderError> {
        self.of(key).await?.set_not_after(key, version, not_after).await
    }

    async fn set_rotation(&self, key: &KeyUri, rotation: AutoRotation) -> Result<(), ProviderError> {
        self.of(key).await?.set_rotation(key, rotation).await
    }

    async fn rotation_status(&self, key: &KeyUri) -> Result<RotationStatus, ProviderError> {
        self.of(key).await?.rotation_status(key).await
    }

    async fn set_alias(&self, alias: &str, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        self.of(key).await?.set_alias(alias, key).await
    }

    async fn check_set_not_after(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        not_after: Option<u64>,
    ) -> Result<(), ProviderError> {
        self.of(key).await?.check_set_not_after(key, version, not_after).await
    }

    async fn check_set_rotation(&self, key: &KeyUri, rotation: AutoRotation) -> Result<(), ProviderError> {
        self.of(key).await?.check_set_rotation(key, rotation).await
    }

    async fn check_set_alias(&self, alias: &str, key: &KeyUri) -> Result<(), ProviderError> {
        self.of(key).await?.check_set_alias(alias, key).await
    }

    async fn check_restore_key(&self, key: &KeyUri) -> Result<(), ProviderError> {
        self.of(key).await?.check_restore_key(key).await
    }

    async fn restore_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        self.of(key).await?.restore_key(key).await
    }
}
