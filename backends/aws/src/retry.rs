//! How often calls are attempted, as the environment and AWS's own files say. The
//! SDK panics where they say what cannot be.

use std::env;

use aws_config::{
    SdkConfig,
    retry::{RetryConfig, RetryMode},
};
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use envelope_sdk::{ProviderError, ProviderErrorKind::Invalid, printable};

use crate::error::failure;

/// What the environment, or else the profile that `config` was loaded from, says.
///
/// # Errors
///
/// Of kind [`Invalid`], with the name of the variable or setting.
pub(crate) fn settled(config: &SdkConfig) -> Result<RetryConfig, ProviderError> {
    let mut retry = RetryConfig::standard();
    if let Some(said) = ATTEMPTS.said(config) {
        let attempts = said.parse().ok().filter(|attempts| (1..=MOST_ATTEMPTS).contains(attempts));
        let attempts =
            attempts.ok_or_else(|| ATTEMPTS.refuse(&said, "it is a whole number from 1 to 1000"))?;
        retry = retry.with_max_attempts(attempts);
    }
    if let Some(said) = MODE.said(config) {
        retry = retry.with_retry_mode(match said.to_ascii_lowercase().as_str() {
            // The first mode of other tools of AWS. The SDK never had it.
            "standard" | "legacy" => RetryMode::Standard,
            "adaptive" => RetryMode::Adaptive,
            _ => return Err(MODE.refuse(&said, "it is `standard`, `adaptive` or `legacy`")),
        });
    }
    Ok(retry)
}

struct Setting {
    variable: &'static str,
    of_the_profile: &'static str,
}

impl Setting {
    /// Nothing where it is not set, or empty.
    fn said(&self, config: &SdkConfig) -> Option<String> {
        // Of no service: there is none of one alone.
        let key = ServiceConfigKey::builder().service_id("").env(self.variable).profile(self.of_the_profile);
        let said = LoadServiceConfig::load_config(config.service_config()?, key.build().ok()?)?;
        Some(said.trim().to_owned()).filter(|said| !said.is_empty())
    }

    fn refuse(&self, said: &str, rule: &str) -> ProviderError {
        let name = match env::var(self.variable) {
            Ok(_) => self.variable.to_owned(),
            Err(_) => format!("{} of the AWS profile", self.of_the_profile),
        };
        let said = printable::cut(said, SHOWN);
        failure(Invalid, None, format!("{name} cannot be `{said}`: {rule}"))
    }
}

const ATTEMPTS: Setting = Setting { variable: "AWS_MAX_ATTEMPTS", of_the_profile: "max_attempts" };
const MODE: Setting = Setting { variable: "AWS_RETRY_MODE", of_the_profile: "retry_mode" };
/// The SDK goes through all of them, also where no time is left.
pub(crate) const MOST_ATTEMPTS: u32 = 1000;
/// Characters that are shown of a value.
const SHOWN: usize = 40;
