//! One configured key, and how far its provider is believed.

use std::{ptr, sync::Arc};

use subtle::ConstantTimeEq;

use super::{latency::Latency, meaning::Meaning};
use crate::{
    ContextBinding, Dek, FullContext, KeyProvider, KeyUri, ProviderError, ProviderErrorKind, WrappedDek,
};

#[derive(Clone)]
pub(super) struct ConfiguredKey {
    pub(super) provider: Arc<dyn KeyProvider>,
    pub(super) uri: KeyUri,
    pub(super) meaning: Meaning,
    /// How long its unwraps took; kept where the keyring hedges.
    pub(super) latency: Arc<Latency>,
}

/// What a provider answers is believed no further than these checks: a broken
/// or foreign key store must not choose who can open an envelope.
impl ConfiguredKey {
    pub(super) fn new(provider: Arc<dyn KeyProvider>, uri: KeyUri) -> Self {
        Self { provider, uri, meaning: Meaning::default(), latency: Arc::default() }
    }

    /// Unwraps one recipient. A wrap that does not open is told in the words of a DEK that does not fit.
    pub(super) async fn unwrap(
        &self,
        wrapped: &WrappedDek,
        context: &FullContext,
    ) -> Result<Dek, ProviderError> {
        self.provider.unwrap_dek(wrapped, context).await.map_err(|error| match error.kind() {
            ProviderErrorKind::Unauthentic => self.does_not_fit(wrapped.key_uri()),
            _ => error,
        })
    }

    /// Whether `named` is this key, as far as is known without asking anybody. No
    /// provider can take keys of another scheme for its own.
    pub(super) fn is_known_as(&self, named: &KeyUri) -> bool {
        self.uri.scheme() == named.scheme()
            && (self.provider.is_same_key(&self.uri, named)
                || self.meaning.known().is_some_and(|meaning| self.provider.is_same_key(&meaning, named)))
    }

    /// What the key means now.
    pub(super) async fn resolve_anew(&self) -> Result<KeyUri, ProviderError> {
        self.meaning.learn_anew(&self.provider, &self.uri).await
    }

    pub(super) fn waits_for_a_person(&self) -> bool {
        self.provider.waits_for_a_person(&self.uri)
    }

    pub(super) fn binds_context(&self, wrapped: &WrappedDek) -> bool {
        self.provider.context_binding(wrapped) == ContextBinding::Provider
    }

    pub(super) async fn wrap(&self, dek: &Dek, context: &FullContext) -> Result<WrappedDek, ProviderError> {
        let wrapped = self.provider.wrap_dek(&self.uri, dek, context).await?;
        self.check_name(&wrapped).await?;
        self.check_hidden(dek, &wrapped)?;
        Ok(wrapped)
    }

    pub(super) async fn generate(&self, context: &FullContext) -> Result<(Dek, WrappedDek), ProviderError> {
        let (dek, wrapped) = self.provider.generate_dek(&self.uri, context).await?;
        self.check_name(&wrapped).await?;
        self.check_hidden(&dek, &wrapped)?;
        if bool::from(dek.expose().ct_eq(&[0; Dek::LEN])) {
            return Err(self.broken("it generated a DEK of zeros: do not trust what answers for this key"));
        }
        Ok((dek, wrapped))
    }

    /// Rewraps inside the key store from a recipient that `opening` may open.
    pub(super) async fn rewrap_from(
        &self,
        opening: &Self,
        wrapped: &WrappedDek,
        context: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        if ptr::addr_eq(Arc::as_ptr(&self.provider), Arc::as_ptr(&opening.provider)) {
            return self.rewrap(&self.provider, wrapped, context).await;
        }
        // Two ways to one key store. Either may be a decorator that would refuse, so each is asked.
        match self.rewrap(&opening.provider, wrapped, context).await? {
            Some(by_opening) => self.rewrap(&self.provider, &by_opening, context).await,
            None => Ok(None),
        }
    }

    async fn rewrap(
        &self,
        provider: &Arc<dyn KeyProvider>,
        wrapped: &WrappedDek,
        context: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        let new = provider.rewrap_dek(wrapped, &self.uri, context).await?;
        if let Some(new) = &new {
            self.check_name(new).await?;
        }
        Ok(new)
    }

    async fn check_name(&self, wrapped: &WrappedDek) -> Result<(), ProviderError> {
        let named = wrapped.key_uri();
        if self.is_known_as(named) {
            return Ok(());
        }
        // Not asked yet, or an alias that was turned to another key since.
        if named.scheme() == self.uri.scheme() {
            let meaning = self.resolve_anew().await?;
            if self.provider.is_same_key(&meaning, named) {
                return Ok(());
            }
        }
        Err(self.broken(&format!(
            "it wrapped under another key, {named}: do not trust what answers for this one"
        )))
    }

    pub(super) fn check_hidden(&self, dek: &Dek, wrapped: &WrappedDek) -> Result<(), ProviderError> {
        // Not in constant time: the provider holds the DEK, and nobody else chooses what it is compared with.
        if wrapped.ciphertext().windows(Dek::LEN).any(|part| part == dek.expose()) {
            return Err(
                self.broken("its wrap holds the DEK in the clear: do not trust what answers for this key")
            );
        }
        Ok(())
    }

    fn broken(&self, message: &str) -> ProviderError {
        ProviderError::new(ProviderErrorKind::Protocol, self.provider.name(), &self.uri, message)
    }

    /// One error for a wrap that does not open and for a DEK that does not fit
    /// the header: which of them it was is nobody's business.
    pub(super) fn does_not_fit(&self, recipient: &KeyUri) -> ProviderError {
        let message =
            "the key or passphrase is wrong, a context entry is wrong or missing, or the data was changed";
        ProviderError::new(ProviderErrorKind::Unauthentic, self.provider.name(), recipient, message)
    }
}
