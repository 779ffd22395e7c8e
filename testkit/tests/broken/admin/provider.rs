//! Who uses the keys, with one flaw.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use envelope_sdk::{
    ContextBinding, Dek, FullContext, KeyAdmin, KeyProvider, KeyState, KeyUri, KeyUse, ProviderError,
    ProviderErrorKind::{self, NotFound, State},
    ProviderIdentity, WrappedDek,
    crypto::DefaultEngine,
    provider::unwrap_one_by_one,
};

use super::{super::example::ExampleProvider, flaws::Flaw};

/// The example behind a flaw. What it must not do it does from memory.
pub(super) struct FlawedProvider {
    below: Arc<ExampleProvider>,
    flaw: Flaw,
    /// DEKs by their wraps.
    deks: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl FlawedProvider {
    pub(super) fn new(below: Arc<ExampleProvider>, flaw: Flaw) -> Self {
        Self { below, flaw, deks: Mutex::default() }
    }

    fn remember(&self, wrapped: &WrappedDek, dek: &Dek) {
        let dek = dek.expose().to_vec();
        self.deks.lock().unwrap().insert(wrapped.ciphertext().to_vec(), dek);
    }

    fn remembered(&self, wrapped: &WrappedDek) -> Option<Dek> {
        let deks = self.deks.lock().unwrap();
        deks.get(wrapped.ciphertext()).map(|dek| Dek::from_slice(dek).unwrap())
    }

    /// A wrap of a key that wraps nothing now.
    async fn made_up(&self, key: &KeyUri, dek: &Dek) -> Result<WrappedDek, ProviderError> {
        let version = self.below.describe_key(key).await?.current().unwrap().version.clone();
        let random = Dek::generate::<DefaultEngine>().unwrap();
        let wrapped = WrappedDek::new(key.clone(), version, "XAES-256-GCM", random.expose().to_vec())?;
        self.remember(&wrapped, dek);
        Ok(wrapped)
    }

    fn is_refused<T>(outcome: &Result<T, ProviderError>) -> bool {
        const KINDS: [ProviderErrorKind; 2] = [State, NotFound];
        matches!(outcome, Err(error) if KINDS.contains(&error.kind()))
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl KeyProvider for FlawedProvider {
    fn name(&self) -> &'static str {
        self.below.name()
    }

    fn identity(&self) -> Option<ProviderIdentity> {
        self.below.identity()
    }

    async fn resolve(&self, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        self.below.resolve(key).await
    }

    fn context_binding(&self, wrapped: &WrappedDek) -> ContextBinding {
        self.below.context_binding(wrapped)
    }

    fn is_same_key(&self, configured: &KeyUri, recipient: &KeyUri) -> bool {
        self.below.is_same_key(configured, recipient)
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        let outcome = self.below.wrap_dek(key, dek, context).await;
        if self.flaw == Flaw::WrapsInEveryState && Self::is_refused(&outcome) {
            return self.made_up(key, dek).await;
        }
        let wrapped = outcome?;
        self.remember(&wrapped, dek);
        Ok(wrapped)
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        let key = wrapped.key_uri();
        let described = self.below.describe_key(key).await?;
        if self.flaw == Flaw::OpensNothingWhenDeactivated {
            let states = described.versions.iter().filter(|it| it.version == wrapped.key_version());
            if states.map(|it| it.state).chain([described.state]).any(|it| it == KeyState::Deactivated) {
                return Err(ProviderError::new(State, self.name(), key, "it is deactivated"));
            }
        }
        let outcome = self.below.unwrap_dek(wrapped, context).await;
        let opens_all = match self.flaw {
            Flaw::UnwrapsInEveryState => true,
            Flaw::UnwrapsDestroyedVersions => described.state.permits(KeyUse::Unwrap),
            _ => false,
        };
        match self.remembered(wrapped) {
            Some(dek) if opens_all && Self::is_refused(&outcome) => Ok(dek),
            _ => outcome,
        }
    }

    async fn unwrap_deks(&self, wraps: &[(&WrappedDek, &FullContext)]) -> Vec<Result<Dek, ProviderError>> {
        unwrap_one_by_one(self, wraps).await
    }

    fn refuted(&self, wrapped: &WrappedDek, context: &FullContext) {
        self.below.refuted(wrapped, context);
    }

    fn binding_of_new_wraps(&self, key: &KeyUri) -> Option<ContextBinding> {
        self.below.binding_of_new_wraps(key)
    }

    fn waits_for_a_person(&self, key: &KeyUri) -> bool {
        self.below.waits_for_a_person(key)
    }

    fn generates_deks(&self, key: &KeyUri) -> bool {
        self.below.generates_deks(key)
    }

    async fn generate_dek(
        &self,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<(Dek, WrappedDek), ProviderError> {
        let outcome = self.below.generate_dek(key, context).await;
        if self.flaw == Flaw::GeneratesInEveryState && Self::is_refused(&outcome) {
            let dek = Dek::generate::<DefaultEngine>().unwrap();
            let wrapped = self.made_up(key, &dek).await?;
            return Ok((dek, wrapped));
        }
        outcome
    }

    async fn rewrap_dek(
        &self,
        wrapped: &WrappedDek,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        let outcome = self.below.rewrap_dek(wrapped, key, context).await;
        match self.remembered(wrapped) {
            Some(dek) if self.flaw == Flaw::RewrapsInEveryState && Self::is_refused(&outcome) => {
                self.made_up(key, &dek).await.map(Some)
            }
            _ => outcome,
        }
    }
}
