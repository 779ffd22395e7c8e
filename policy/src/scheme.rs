//! [`GuardedScheme`]: a policy before all that a key store opens.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use envelope_sdk::{
    KeyAdmin, KeyProvider, KeyUri, ProviderError,
    admin::Details,
    registry::{Instances, Purpose, Scheme},
};

use crate::{Guard, Guarded, GuardedAdmin, Operation};

/// A key store whose providers, and who manages its keys, ask a [`Guard`]. Names are looked up without it: no key is used,
/// and no secret read.
pub struct GuardedScheme {
    below: Arc<dyn Scheme>,
    guard: Guard,
    instances: Instances,
}

impl GuardedScheme {
    /// Puts `guard` before what `below` opens, its layers included.
    #[must_use]
    pub fn new(below: Arc<dyn Scheme>, guard: Guard) -> Self {
        Self { below, guard, instances: Instances::new() }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Scheme for GuardedScheme {
    fn provider(&self) -> &'static str {
        self.below.provider()
    }

    fn schemes(&self) -> &'static [&'static str] {
        self.below.schemes()
    }

    fn open(&self, key: &KeyUri, purpose: Purpose) -> Result<Arc<dyn KeyProvider>, ProviderError> {
        let guarded = |provider| -> Arc<dyn KeyProvider> {
            Arc::new(Guarded::new(provider, self.guard.clone()).states_of(Arc::clone(&self.below)))
        };
        Ok(self.instances.over(self.below.open(key, purpose)?, guarded))
    }

    fn key_named(&self, name: &str) -> Result<Option<KeyUri>, ProviderError> {
        self.below.key_named(name)
    }

    fn key_of_other_tools(&self, text: &str) -> Result<Option<KeyUri>, ProviderError> {
        self.below.key_of_other_tools(text)
    }

    fn admin(&self, key: Option<&KeyUri>) -> Result<Arc<dyn KeyAdmin>, ProviderError> {
        Ok(Arc::new(GuardedAdmin::new(self.below.admin(key)?, self.guard.clone())))
    }

    async fn survey(&self) -> Result<Details, ProviderError> {
        self.guard.check_for(self.below.provider(), &self.guard.request(Operation::Survey))?;
        self.below.survey().await
    }
}

impl fmt::Debug for GuardedScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedScheme").field("guard", &self.guard).finish_non_exhaustive()
    }
}
