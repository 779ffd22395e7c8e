//! What is read of the settings, the environment and AWS's own files:
//! [`Sources`].

use std::{env, panic::AssertUnwindSafe, time::Duration};

use aws_config::{
    BehaviorVersion, Region, SdkConfig, environment::EnvironmentVariableRegionProvider,
    meta::region::RegionProviderChain, profile::ProfileFileRegionProvider, retry::RetryConfig,
    sts::AssumeRoleProvider, timeout::TimeoutConfig,
};
use aws_credential_types::provider::SharedCredentialsProvider;
use envelope_sdk::{
    ProviderError,
    ProviderErrorKind::Invalid,
    http::{ATTEMPT_TIMEOUT, ATTEMPTS_OF_A_CALL},
};
use futures_util::FutureExt;

use crate::{
    credentials::{Heard, checked},
    error::{NO_REGION_OF_STS, failure},
    retry, transport,
};

/// Settings, and how what they leave open is read.
#[derive(Default)]
pub(crate) struct Sources {
    pub(crate) profile: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) endpoint_url: Option<String>,
    pub(crate) fips: Option<bool>,
    pub(crate) role: Option<Role>,
    pub(crate) credentials: Option<SharedCredentialsProvider>,
    pub(crate) attempt_timeout: Option<Duration>,
    pub(crate) attempts: Option<u32>,
    pub(crate) trusted_files_only: bool,
}

/// A role that is assumed.
pub(crate) struct Role {
    pub(crate) arn: String,
    pub(crate) external_id: Option<String>,
}

impl Sources {
    /// Reads the environment and the shared configuration files. Credentials are
    /// fetched at first use; nothing is asked over the network here.
    pub(crate) async fn load(&self) -> Result<SdkConfig, ProviderError> {
        #[cfg(unix)]
        if self.trusted_files_only {
            crate::shared_files::check()?;
        }
        check_execution_environment()?;
        // The SDK panics at some settings. Those that are known are refused before.
        match AssertUnwindSafe(self.read()).catch_unwind().await {
            Ok(read) => read,
            Err(_) => Err(failure(Invalid, None, PANICKED)),
        }
    }

    async fn read(&self) -> Result<SdkConfig, ProviderError> {
        let heard = Heard::default();
        let mut config = match self.attempts {
            Some(attempts) => {
                self.read_with(RetryConfig::standard().with_max_attempts(attempts), &heard).await
            }
            None => {
                let config = self.read_with(RetryConfig::standard(), &heard).await;
                let retry = retry::settled(&config)?;
                // The sources of credentials have theirs from the beginning.
                if retry == RetryConfig::standard() { config } else { self.read_with(retry, &heard).await }
            }
        };
        if let Some(provider) = config.credentials_provider() {
            let provider = checked(provider, heard.clone());
            config = config.into_builder().credentials_provider(provider).build();
        }
        if let Some(role) = &self.role {
            if config.region().is_none_or(|region| region.as_ref().is_empty()) {
                return Err(failure(Invalid, None, NO_REGION_OF_STS));
            }
            let mut provider =
                AssumeRoleProvider::builder(&role.arn).session_name("envelope-sdk").configure(&config);
            if let Some(id) = &role.external_id {
                provider = provider.external_id(id);
            }
            let provider = checked(SharedCredentialsProvider::new(provider.build().await), heard);
            config = config.into_builder().credentials_provider(provider).build();
        }
        Ok(config)
    }

    async fn read_with(&self, retry: RetryConfig, heard: &Heard) -> SdkConfig {
        let attempt_timeout = self.attempt_timeout.unwrap_or(ATTEMPT_TIMEOUT);
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(attempt_timeout)
            .operation_timeout(attempt_timeout.saturating_mul(ATTEMPTS_OF_A_CALL))
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(self.region_provider())
            .http_client(transport::for_credentials(heard))
            .timeout_config(timeouts)
            .retry_config(retry);
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(fips) = self.fips.or(cfg!(feature = "fips").then_some(true)) {
            loader = loader.use_fips(fips);
        }
        if let Some(credentials) = &self.credentials {
            loader = loader.credentials_provider(credentials.clone());
        }
        loader.load().await
    }

    /// Whether a service may be asked for credentials.
    pub(crate) fn asks_for_credentials(&self) -> bool {
        self.credentials.is_none() || self.role.is_some()
    }

    /// The default chain without its last link, the instance's metadata: asking
    /// for it takes seconds where there is none, and keys name their region.
    fn region_provider(&self) -> RegionProviderChain {
        let profile = ProfileFileRegionProvider::builder();
        let profile = match &self.profile {
            Some(name) => profile.profile_name(name),
            None => profile,
        };
        RegionProviderChain::first_try(self.region.clone().map(Region::new))
            .or_else(EnvironmentVariableRegionProvider::new())
            .or_else(profile.build())
    }
}

/// The SDK puts it into a header of each request, and says of one that does not fit that the
/// connection broke.
fn check_execution_environment() -> Result<(), ProviderError> {
    match env::var(EXECUTION_ENVIRONMENT) {
        Ok(said) if said.contains(|c: char| c.is_ascii_control() && c != '\t') => {
            let message =
                format!("{EXECUTION_ENVIRONMENT} cannot have a line break or another control character");
            Err(failure(Invalid, None, message))
        }
        _ => Ok(()),
    }
}

const EXECUTION_ENVIRONMENT: &str = "AWS_EXECUTION_ENV";
const PANICKED: &str = "the AWS SDK failed over its settings: see the AWS_ variables of the environment and the profile for \
                        values that cannot be";
