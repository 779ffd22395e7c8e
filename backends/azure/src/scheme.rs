//! [`AzureScheme`]: keys of Key Vault and Managed HSM in a registry.

use std::sync::Arc;

use async_trait::async_trait;
use envelope_sdk::{
    KeyAdmin, KeyProvider, KeyUri, ProviderError,
    admin::Details,
    registry::{Purpose, Scheme},
};

use crate::{AzureKeyVault, AzureKeyVaultBuilder, failure::NAME, reach::name_of};

/// Opens `azurekeyvault:` keys, all of them with one [`AzureKeyVault`].
///
/// Files are used only if nobody but their owner can have written or read them
/// ([`AzureKeyVaultBuilder::trusted_files_only`]). Nothing is read or asked before a key
/// is used.
pub struct AzureScheme {
    vaults: Arc<AzureKeyVault>,
}

impl AzureScheme {
    /// A key store with these settings.
    #[must_use]
    pub fn new(settings: AzureKeyVaultBuilder) -> Self {
        Self { vaults: Arc::new(settings.trusted_files_only().build()) }
    }
}

#[async_trait]
impl Scheme for AzureScheme {
    fn provider(&self) -> &'static str {
        NAME
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["azurekeyvault"]
    }

    fn open(&self, key: &KeyUri, _purpose: Purpose) -> Result<Arc<dyn KeyProvider>, ProviderError> {
        name_of(key)?;
        Ok(Arc::clone(&self.vaults) as _)
    }

    fn admin(&self, key: Option<&KeyUri>) -> Result<Arc<dyn KeyAdmin>, ProviderError> {
        key.map(name_of).transpose()?;
        Ok(Arc::clone(&self.vaults) as _)
    }

    /// The vault in which keys are made and listed, with what symmetric keys wrap,
    /// whether RSA keys wrap on this machine or not at all, and the domain if it is not Microsoft's.
    /// Nobody is asked over the network.
    async fn survey(&self) -> Result<Details, ProviderError> {
        let ways = self.vaults.ways();
        Ok(Details::new()
            .with("vault", self.vaults.vault_of_settings())
            .with("symmetric_algorithm", ways.symmetric.name())
            .with("local_wraps", ways.local_wraps)
            .with("post_quantum_safe_only", ways.post_quantum_safe_only)
            .with("domain", self.vaults.reach().domain()?))
    }
}
