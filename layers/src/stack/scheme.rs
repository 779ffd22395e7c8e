//! [`Layered`]: layers over all that a key store opens.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use envelope_sdk::{
    KeyAdmin, KeyProvider, KeyUri, ProviderError,
    admin::Details,
    registry::{Purpose, Scheme},
};

use super::Stack;
use crate::sync::lock;

/// A key store whose providers have a [`Stack`] over them: one for each instance that the key store opens, however
/// many keys are opened with it, so that a breaker knows of all failures and a limit of all calls.
///
/// Two providers of one [identity](KeyProvider::identity) reach the same keys with the same permissions, and are one
/// instance here; those without one are told apart by where they are in memory.
pub struct Layered {
    below: Arc<dyn Scheme>,
    stack: Stack,
    instances: Mutex<Vec<Instance>>,
}

struct Instance {
    below: Arc<dyn KeyProvider>,
    top: Arc<dyn KeyProvider>,
}

impl Layered {
    /// Puts `stack` over each provider that `below` opens.
    #[must_use]
    pub fn new(below: Arc<dyn Scheme>, stack: Stack) -> Self {
        Self { below, stack, instances: Mutex::default() }
    }

    fn over(&self, provider: Arc<dyn KeyProvider>) -> Arc<dyn KeyProvider> {
        let mut instances = lock(&self.instances);
        if let Some(known) = instances.iter().find(|known| are_one(&known.below, &provider)) {
            return Arc::clone(&known.top);
        }
        // A key store that opens a new one for each key must not fill the memory.
        if instances.len() >= MANY {
            instances.retain(|known| Arc::strong_count(&known.top) > 1);
        }
        let top = self.stack.over(Arc::clone(&provider));
        instances.push(Instance { below: provider, top: Arc::clone(&top) });
        top
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
        Ok(self.over(self.below.open(key, purpose)?))
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

fn are_one(one: &Arc<dyn KeyProvider>, other: &Arc<dyn KeyProvider>) -> bool {
    match (one.identity(), other.identity()) {
        (Some(one), Some(other)) => one == other,
        (None, None) => Arc::ptr_eq(one, other),
        _ => false,
    }
}

/// Instances before those that nobody uses are dropped.
const MANY: usize = 64;
