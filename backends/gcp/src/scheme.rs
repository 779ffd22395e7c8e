//! [`GcpScheme`]: keys of Cloud KMS in a registry.

use std::sync::Arc;

use async_trait::async_trait;
use envelope_sdk::{
    KeyAdmin, KeyProvider, KeyUri, ProviderError,
    admin::Details,
    registry::{Purpose, Scheme},
};

use crate::{
    GcpKms, GcpKmsBuilder, Protection,
    credentials::{GOOGLES_OWN, universe},
    error::NAME,
};

/// Opens `gcpkms:` keys, all of them with one [`GcpKms`].
///
/// Files of credentials are used only if nobody but their owner can have written or
/// read them ([`GcpKmsBuilder::trusted_files_only`]). Nothing is read or asked
/// before a key is used.
pub struct GcpScheme {
    kms: Arc<GcpKms>,
}

impl GcpScheme {
    /// A key store with these settings.
    #[must_use]
    pub fn new(settings: GcpKmsBuilder) -> Self {
        Self { kms: Arc::new(settings.trusted_files_only().build()) }
    }
}

#[async_trait]
impl Scheme for GcpScheme {
    fn provider(&self) -> &'static str {
        NAME
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["gcpkms"]
    }

    fn open(&self, key: &KeyUri, _purpose: Purpose) -> Result<Arc<dyn KeyProvider>, ProviderError> {
        self.kms.resource(key)?;
        Ok(Arc::clone(&self.kms) as _)
    }

    fn admin(&self, key: Option<&KeyUri>) -> Result<Arc<dyn KeyAdmin>, ProviderError> {
        key.map(|key| self.kms.resource(key)).transpose()?;
        Ok(Arc::clone(&self.kms) as _)
    }

    /// The key ring in which keys are made and listed, the protection level that is
    /// demanded, and the endpoint if it is not Google's own. Nobody is asked over the
    /// network.
    async fn survey(&self) -> Result<Details, ProviderError> {
        let survey = Details::new()
            .with("key_ring", self.kms.key_ring())
            .with("protection", self.kms.protection().map(Protection::name))
            .with("endpoint", self.kms.shown_endpoint()?);
        Ok(match universe() {
            universe if universe == GOOGLES_OWN => survey,
            universe => survey.with("universe_domain", universe),
        })
    }
}
