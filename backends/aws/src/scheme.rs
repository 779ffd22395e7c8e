//! [`AwsScheme`]: keys of AWS KMS in a registry.

use std::{env, sync::Arc};

use async_trait::async_trait;
use envelope_sdk::{
    KeyAdmin, KeyProvider, KeyUri, ProviderError,
    admin::Details,
    registry::{Purpose, Scheme},
};

use crate::{AwsKms, AwsSettings, error::NAME};

/// Opens `awskms:` keys, all of them with one [`AwsKms`], so that KMS may rewrap
/// from one to another.
///
/// AWS's own files are used only if nobody but their owner can have written them
/// ([`AwsKmsBuilder::trusted_files_only`](crate::AwsKmsBuilder::trusted_files_only)).
/// Nothing is read or asked before a key is used.
pub struct AwsScheme {
    kms: Arc<AwsKms>,
    profile: Option<String>,
}

impl AwsScheme {
    /// A key store with these settings.
    #[must_use]
    pub fn new(settings: AwsSettings) -> Self {
        let AwsSettings { profile, region, replica_regions, endpoint_url, fips, role, external_id, attempts } =
            settings;
        let mut builder = AwsKms::builder().replica_regions(replica_regions).trusted_files_only();
        if let Some(profile) = &profile {
            builder = builder.profile(profile);
        }
        if let Some(region) = region {
            builder = builder.region(region);
        }
        if let Some(url) = endpoint_url {
            builder = builder.endpoint_url(url);
        }
        if let Some(fips) = fips {
            builder = builder.fips_endpoints(fips);
        }
        if let Some(role) = role {
            builder = builder.assume_role(role, external_id);
        }
        if let Some(attempts) = attempts {
            builder = builder.attempts(attempts);
        }
        Self { kms: Arc::new(builder.build()), profile }
    }
}

#[async_trait]
impl Scheme for AwsScheme {
    fn provider(&self) -> &'static str {
        NAME
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["awskms"]
    }

    fn open(&self, key: &KeyUri, _purpose: Purpose) -> Result<Arc<dyn KeyProvider>, ProviderError> {
        self.kms.arn(key)?;
        Ok(Arc::clone(&self.kms) as _)
    }

    fn admin(&self, key: Option<&KeyUri>) -> Result<Arc<dyn KeyAdmin>, ProviderError> {
        key.map(|key| self.kms.arn(key)).transpose()?;
        Ok(Arc::clone(&self.kms) as _)
    }

    /// The region in which keys are made and listed, the profile, and the
    /// endpoint if it is not AWS's own: as the settings, the environment and AWS's
    /// own files say. Nobody is asked over the network.
    async fn survey(&self) -> Result<Details, ProviderError> {
        let settled = self.kms.settled().await?;
        let profile = self.profile.clone().or_else(|| env::var("AWS_PROFILE").ok());
        Ok(Details::new()
            .with("region", settled.region())
            .with("profile", profile.unwrap_or_else(|| "default".to_owned()))
            .with("endpoint", settled.shown_endpoint()?))
    }
}
