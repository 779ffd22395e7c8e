//! [`AuditedScheme`]: all that a key store opens, with each call recorded.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use envelope_sdk::{
    KeyAdmin, KeyProvider, KeyUri, ProviderError,
    admin::Details,
    registry::{Instances, Purpose, Scheme},
};

use crate::{
    Audited, AuditedAdmin, LazyLog,
    audited::{Pending, entry},
    scope::with_decisions,
};

/// A key store whose providers are [`Audited`], and who manages its keys [`AuditedAdmin`]: for the outside, over a policy, so
/// that what it denies is recorded. Names are looked up without a record: no key is used, and no secret read.
pub struct AuditedScheme {
    below: Arc<dyn Scheme>,
    log: LazyLog,
    instances: Instances,
}

impl AuditedScheme {
    /// Records what is done through `below` in `log`.
    #[must_use]
    pub fn new(below: Arc<dyn Scheme>, log: impl Into<LazyLog>) -> Self {
        Self { below, log: log.into(), instances: Instances::new() }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Scheme for AuditedScheme {
    fn provider(&self) -> &'static str {
        self.below.provider()
    }

    fn schemes(&self) -> &'static [&'static str] {
        self.below.schemes()
    }

    fn open(&self, key: &KeyUri, purpose: Purpose) -> Result<Arc<dyn KeyProvider>, ProviderError> {
        let audited =
            |provider| -> Arc<dyn KeyProvider> { Arc::new(Audited::new(provider, self.log.clone())) };
        Ok(self.instances.over(self.below.open(key, purpose)?, audited))
    }

    fn key_named(&self, name: &str) -> Result<Option<KeyUri>, ProviderError> {
        self.below.key_named(name)
    }

    fn key_of_other_tools(&self, text: &str) -> Result<Option<KeyUri>, ProviderError> {
        self.below.key_of_other_tools(text)
    }

    fn admin(&self, key: Option<&KeyUri>) -> Result<Arc<dyn KeyAdmin>, ProviderError> {
        Ok(Arc::new(AuditedAdmin::new(self.below.admin(key)?, self.log.clone())))
    }

    async fn survey(&self) -> Result<Details, ProviderError> {
        let provider = self.below.provider();
        let pending = Pending::begin(&self.log, provider, vec![entry("survey", provider, None)]).await?;
        let said = with_decisions(self.below.survey()).await;
        pending.end(provider, said, |_, _| ()).await
    }
}

impl fmt::Debug for AuditedScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditedScheme").field("log", &self.log).finish_non_exhaustive()
    }
}
