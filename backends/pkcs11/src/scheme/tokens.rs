//! Every token of a module as one provider.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use async_trait::async_trait;
use envelope_sdk::{
    ContextBinding, Dek, FullContext, KeyAdmin, KeyChange, KeyDescription, KeyProvider, KeyUri, NewKey,
    ProviderError, ProviderErrorKind, ProviderIdentity, WrappedDek,
    admin::{AutoRotation, KeyPage, RotationStatus},
    crowd::Crowd,
    provider::unwrap_one_by_one,
};

use super::opener::{Opener, token_of};
use crate::{apart::apart, error::NAME, provider::Pkcs11Provider, selector::TokenSelector};

/// A provider for each token that was used.
pub(super) struct Tokens {
    opener: Arc<Opener>,
    known: Mutex<Vec<(TokenSelector, Arc<Token>)>>,
}

/// One token, and its opening while that is under way.
#[derive(Default)]
struct Token {
    open: OnceLock<Arc<Pkcs11Provider>>,
    /// Of the threads that open it.
    turn: Mutex<()>,
    opening: Crowd<Result<Arc<Pkcs11Provider>, ProviderError>>,
}

impl Tokens {
    pub(super) fn new(opener: Opener) -> Self {
        Self { opener: Arc::new(opener), known: Mutex::default() }
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
        let token = self.known(&selector);
        if let Some(open) = token.open.get() {
            return Ok(Arc::clone(open));
        }
        let (opener, opened) = (Arc::clone(&self.opener), Arc::clone(&token));
        let open = || {
            apart(move || {
                // Also when nobody waits any more, what was opened is kept: a PIN may have been asked for.
                let _turn = lock(&opened.turn);
                if let Some(open) = opened.open.get() {
                    return Ok(Arc::clone(open));
                }
                let open = Arc::new(opener.open(selector)?);
                Ok(Arc::clone(opened.open.get_or_init(|| open)))
            })
        };
        token.opening.join(open).await.unwrap_or_else(|panicked| {
            let message = "the token was not opened";
            Err(ProviderError::without_key(ProviderErrorKind::Other, NAME, message).with_source(panicked))
        })
    }

    fn known(&self, selector: &TokenSelector) -> Arc<Token> {
        let mut known = lock(&self.known);
        if let Some((_, token)) = known.iter().find(|(of, _)| of == selector) {
            return Arc::clone(token);
        }
        // One that nobody could open is forgotten: headers may name any number of them.
        known.retain(|(_, token)| token.open.get().is_some() || Arc::strong_count(token) > 1);
        let token = Arc::<Token>::default();
        known.push((selector.clone(), Arc::clone(&token)));
        token
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change of what it guards is one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

    async fn unwrap_deks(&self, wraps: &[(&WrappedDek, &FullContext)]) -> Vec<Result<Dek, ProviderError>> {
        unwrap_one_by_one(self, wraps).await
    }

    /// A token keeps no DEK.
    fn refuted(&self, _wrapped: &WrappedDek, _context: &FullContext) {}

    /// The mechanism of the wrap tells.
    fn binding_of_new_wraps(&self, _key: &KeyUri) -> Option<ContextBinding> {
        None
    }

    /// For a PIN, or a touch.
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

#[cfg(test)]
mod tests {
    use envelope_sdk::registry::{Settings, Surroundings};
    use futures_executor::block_on;

    use super::*;
    use crate::settings::Pkcs11Settings;

    #[test]
    fn tokens_that_nobody_could_open_are_not_kept() {
        let mut settings = Pkcs11Settings::default();
        settings.set("module", "/nonexistent/module.so".into()).unwrap();
        let tokens = Tokens::new(Opener::new(settings, &Surroundings::default()).unwrap());
        for number in 0..100 {
            let key = format!("pkcs11:token={number};object=key").parse().unwrap();
            let error = block_on(tokens.of(&key)).err().unwrap();
            assert_eq!(error.kind(), ProviderErrorKind::Invalid, "{error}");
            assert!(error.to_string().contains("/nonexistent/module.so"), "{error}");
        }
        assert!(lock(&tokens.known).len() <= 1);
    }
}
