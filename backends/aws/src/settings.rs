//! [`AwsSettings`]: the table `[aws]` of a configuration.

use std::{ffi::OsString, sync::Arc};

use envelope_sdk::{
    ProviderError,
    ProviderErrorKind::Invalid,
    registry::{Scheme, SettingError, SettingOption, Settings, Surroundings, text},
};
use serde::Deserialize;

use crate::{
    AwsScheme,
    error::{NAME, failure},
};

/// How AWS KMS is reached, where the environment and AWS's own configuration
/// files do not say it: the table `[aws]`. All of it is optional.
///
/// | Setting | Meaning |
/// |---|---|
/// | `profile` | a profile of AWS's configuration files |
/// | `region` | where keys are made and listed |
/// | `replica-regions` | whose replicas of multi-region keys may unwrap, best first |
/// | `endpoint-url` | another endpoint of KMS |
/// | `fips` | whether to use FIPS endpoints |
/// | `role` | the ARN of an IAM role that is assumed |
/// | `external-id` | what the role's trust policy may ask for |
/// | `attempts` | how often a call is attempted in all, 3 by default: 1 where a layer over it repeats them |
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub struct AwsSettings {
    /// As [`AwsKmsBuilder::profile`](crate::AwsKmsBuilder::profile).
    pub profile: Option<String>,
    /// As [`AwsKmsBuilder::region`](crate::AwsKmsBuilder::region).
    pub region: Option<String>,
    /// As [`AwsKmsBuilder::replica_regions`](crate::AwsKmsBuilder::replica_regions).
    pub replica_regions: Vec<String>,
    /// As [`AwsKmsBuilder::endpoint_url`](crate::AwsKmsBuilder::endpoint_url).
    pub endpoint_url: Option<String>,
    /// As [`AwsKmsBuilder::fips_endpoints`](crate::AwsKmsBuilder::fips_endpoints).
    pub fips: Option<bool>,
    /// As [`AwsKmsBuilder::assume_role`](crate::AwsKmsBuilder::assume_role).
    pub role: Option<String>,
    /// Of the role.
    pub external_id: Option<String>,
    /// As [`AwsKmsBuilder::attempts`](crate::AwsKmsBuilder::attempts).
    pub attempts: Option<u32>,
}

impl Settings for AwsSettings {
    const PROVIDER: &'static str = NAME;

    const OPTIONS: &'static [SettingOption] = &[
        SettingOption::new("region", "REGION", "the region in which keys of AWS KMS are made and listed"),
        SettingOption::new("profile", "NAME", "a profile of AWS's own configuration files"),
    ];

    fn set(&mut self, name: &str, value: OsString) -> Result<(), SettingError> {
        let setting = match name {
            "region" => &mut self.region,
            "profile" => &mut self.profile,
            _ => return Err(SettingError::Unknown),
        };
        *setting = Some(text(value)?);
        Ok(())
    }

    fn into_scheme(self, _around: &Surroundings) -> Result<Arc<dyn Scheme>, ProviderError> {
        if self.external_id.is_some() && self.role.is_none() {
            let message =
                "the settings have an external-id and no role that it is for: add `role`, or remove it";
            return Err(failure(Invalid, None, message));
        }
        Ok(Arc::new(AwsScheme::new(self)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_call_says_goes_first_and_each_option_can_be_said() {
        let mut settings = AwsSettings { region: Some("eu-west-1".into()), ..AwsSettings::default() };
        for option in AwsSettings::OPTIONS {
            settings.set(option.name, "said".into()).unwrap();
        }
        assert_eq!((settings.region.as_deref(), settings.profile.as_deref()), (Some("said"), Some("said")));
        assert_eq!(settings.set("role", "said".into()), Err(SettingError::Unknown));
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStringExt;
            assert_eq!(settings.set("region", OsString::from_vec(vec![0xff])), Err(SettingError::NotText));
        }
    }

    #[test]
    fn an_external_id_without_a_role_is_refused() {
        let settings = AwsSettings { external_id: Some("x".into()), ..AwsSettings::default() };
        let error = settings.into_scheme(&Surroundings::default()).err().unwrap();
        assert_eq!((error.kind(), error.key()), (Invalid, None));
        assert!(error.message().contains("no role"), "{error}");
    }
}
