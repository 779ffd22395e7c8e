//! [`Layered`]: layers over all that a key store opens.

use std::sync::Arc;

use async_trait::async_trait;
use envelope_sdk::{
    KeyAdmin, KeyProvider, KeyUri, ProviderError,
    admin::Details,
    registry::{Instances, Purpose, Scheme},
};

use super::Stack;

/// A key store whose providers have a [`Stack`] over them: [one](Instances) for each instance that the key store opens, however
/// many keys are opened with it, so that a breaker knows of all failures and a limit of all calls.
pub struct Layered {
    below: Arc<dyn Scheme>,
    stack: Stack,
    instances: Instances,
}

impl Layered {
    /// Puts `stack` over each provider that `below` opens.
    #[must_use]
    pub fn new(below: Arc<dyn Scheme>, stack: Stack) -> Self {
        Self { below, stack, instances: Instances::new() }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Scheme for Layered {
    fn provider(&self) -> &'static str {
        self.below.provider()
    }

    fn schemes(&self) -> &'static [&'static str] {
        self.below.schemes()
    }

    fn open(&self, key: &KeyUri, purpose: Purpose) -> Result<Arc<dyn KeyProvider>, ProviderError> {
        Ok(self.instances.over(self.below.open(key, purpose)?, |provider| self.stack.over(provider)))
    }

    fn key_named(&self, name: &str) -> Result<Option<KeyUri>, ProviderError> {
        self.below.key_named(name)
    }

    fn key_of_other_tools(&self, text: &str) -> Result<Option<KeyUri>, ProviderError> {
        self.below.key_of_other_tools(text)
    }

    fn admin(&self, key: Option<&KeyUri>) -> Result<Arc<dyn KeyAdmin>, ProviderError> {
        Ok(self.stack.over_admin(self.below.admin(key)?))
    }

    async fn survey(&self) -> Result<Details, ProviderError> {
        self.below.survey().await
    }
}
