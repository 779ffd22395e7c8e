//! [`GcpSettings`]: the table `[gcp]` of a configuration.

use std::{ffi::OsString, fmt, path::PathBuf, sync::Arc};

use envelope_sdk::{
    ProviderError,
    ProviderErrorKind::Invalid,
    registry::{Scheme, SecretOption, SettingError, SettingOption, Settings, Surroundings, text},
};
use serde::Deserialize;

use crate::{
    GcpKms, GcpKmsBuilder, GcpScheme, Protection,
    error::{NAME, failure},
};

/// How Cloud KMS is reached, where the environment does not say it: the table
/// `[gcp]`. All of it is optional.
///
/// | Setting | Meaning |
/// |---|---|
/// | `key-ring` | where keys are made and listed: `projects/P/locations/L/keyRings/R` |
/// | `credentials-file` | credentials in one of Google's forms, instead of the default chain |
/// | `metadata-server` | whether the machine's own service account alone is used |
/// | `anonymous` | whether there are no credentials: only with an endpoint on this machine |
/// | `impersonate` | the service account as which the caller acts |
/// | `delegates` | the service accounts on the way there |
/// | `quota-project` | for whose quotas requests count |
/// | `endpoint-url` | another endpoint of KMS |
/// | `protection` | the only protection level that is accepted: `software`, `hsm`, `external`, `external-vpc`, `hsm-single-tenant` |
/// | `hsm-randomness` | whether random bytes of a Cloud HSM are mixed into DEKs |
/// | `attempts` | how often a call is attempted in all, 3 by default: 1 where a layer over it repeats them |
///
/// The secret `gcp-credentials` is what a file of credentials holds, from wherever
/// the program has its secrets; where it is given it goes before the settings.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub struct GcpSettings {
    /// As [`GcpKmsBuilder::key_ring`].
    pub key_ring: Option<String>,
    /// As [`GcpKmsBuilder::credentials_file`].
    pub credentials_file: Option<PathBuf>,
    /// As [`GcpKmsBuilder::metadata_server`].
    pub metadata_server: bool,
    /// As [`GcpKmsBuilder::anonymous`].
    pub anonymous: bool,
    /// As [`GcpKmsBuilder::impersonate`].
    pub impersonate: Option<String>,
    /// Of the same.
    pub delegates: Vec<String>,
    /// As [`GcpKmsBuilder::quota_project`].
    pub quota_project: Option<String>,
    /// As [`GcpKmsBuilder::endpoint_url`].
    pub endpoint_url: Option<String>,
    /// As [`GcpKmsBuilder::protection`], by its name.
    pub protection: Option<String>,
    /// As [`GcpKmsBuilder::hsm_randomness`].
    pub hsm_randomness: bool,
    /// As [`GcpKmsBuilder::attempts`].
    pub attempts: Option<u32>,
}

/// Without the file of credentials.
impl fmt::Debug for GcpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GcpSettings")
            .field("key_ring", &self.key_ring)
            .field("endpoint_url", &self.endpoint_url)
            .finish_non_exhaustive()
    }
}

impl GcpSettings {
    fn builder(self) -> Result<GcpKmsBuilder, ProviderError> {
        let Self {
            key_ring,
            credentials_file,
            metadata_server,
            anonymous,
            impersonate,
            delegates,
            quota_project,
            endpoint_url,
            protection,
            hsm_randomness,
            attempts,
        } = self;
        let refuse = |message: &str| Err(failure(Invalid, None, message));
        if u8::from(credentials_file.is_some()) + u8::from(metadata_server) + u8::from(anonymous) > 1 {
            return refuse("credentials-file, metadata-server and anonymous exclude each other: keep one");
        }
        if impersonate.is_none() && !delegates.is_empty() {
            return refuse(
                "the settings have delegates and nobody whom they lead to: add `impersonate`, or remove them",
            );
        }
        if impersonate.is_some() && anonymous {
            return refuse(
                "nobody acts as a service account without credentials: remove `anonymous` or `impersonate`",
            );
        }
        let protection = match protection.as_deref() {
            None => None,
            Some(name) => match Protection::from_name(name) {
                Some(level) => Some(level),
                None => {
                    return refuse(
                        "protection is one of software, hsm, external, external-vpc, hsm-single-tenant",
                    );
                }
            },
        };
        let mut builder = GcpKms::builder().hsm_randomness(hsm_randomness);
        if let Some(name) = key_ring {
            builder = builder.key_ring(name);
        }
        if let Some(path) = credentials_file {
            builder = builder.credentials_file(path);
        }
        if metadata_server {
            builder = builder.metadata_server();
        }
        if anonymous {
            builder = builder.anonymous();
        }
        if let Some(account) = impersonate {
            builder = builder.impersonate(account, delegates);
        }
        if let Some(project) = quota_project {
            builder = builder.quota_project(project);
        }
        if let Some(url) = endpoint_url {
            builder = builder.endpoint_url(url);
        }
        if let Some(level) = protection {
            builder = builder.protection(level);
        }
        if let Some(attempts) = attempts {
            builder = builder.attempts(attempts);
        }
        Ok(builder)
    }
}

impl Settings for GcpSettings {
    const PROVIDER: &'static str = NAME;

    const OPTIONS: &'static [SettingOption] = &[
        SettingOption::new(
            "key-ring",
            "NAME",
            "the key ring in which keys of Google Cloud KMS are made and listed",
        ),
        SettingOption::new(
            "quota-project",
            "PROJECT",
            "the project for whose quotas requests to Google count",
        ),
    ];

    const SECRETS: &'static [SecretOption] =
        &[SecretOption::new("credentials", "the credentials of Google Cloud, as JSON on one line")];

    fn set(&mut self, name: &str, value: OsString) -> Result<(), SettingError> {
        let setting = match name {
            "key-ring" => &mut self.key_ring,
            "quota-project" => &mut self.quota_project,
            _ => return Err(SettingError::Unknown),
        };
        *setting = Some(text(value)?);
        Ok(())
    }

    fn into_scheme(self, around: &Surroundings) -> Result<Arc<dyn Scheme>, ProviderError> {
        let builder = self.builder()?.credentials_when_used(Arc::clone(&around.secrets), SECRET);
        Ok(Arc::new(GcpScheme::new(builder)))
    }
}

/// The name under which it is asked for.
const SECRET: &str = "gcp-credentials";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_call_says_goes_first_and_each_option_can_be_said() {
        let mut settings = GcpSettings { key_ring: Some("of the file".into()), ..GcpSettings::default() };
        for option in GcpSettings::OPTIONS {
            settings.set(option.name, "said".into()).unwrap();
        }
        let said = (settings.key_ring.as_deref(), settings.quota_project.as_deref());
        assert_eq!(said, (Some("said"), Some("said")));
        assert_eq!(settings.set("anonymous", "true".into()), Err(SettingError::Unknown));
    }

    #[test]
    fn settings_that_contradict_themselves_are_refused() {
        let refused = |settings: GcpSettings, words: &str| {
            let error = settings.into_scheme(&Surroundings::default()).err().unwrap();
            assert_eq!((error.kind(), error.key()), (Invalid, None));
            assert!(error.message().contains(words), "{error}");
        };
        let base = GcpSettings::default;
        refused(GcpSettings { anonymous: true, metadata_server: true, ..base() }, "exclude each other");
        refused(
            GcpSettings { anonymous: true, credentials_file: Some("x".into()), ..base() },
            "exclude each other",
        );
        refused(GcpSettings { delegates: vec!["a@b".into()], ..base() }, "nobody whom they lead to");
        refused(
            GcpSettings { anonymous: true, impersonate: Some("a@b".into()), ..base() },
            "without credentials",
        );
        refused(GcpSettings { protection: Some("HSM".into()), ..base() }, "protection is one of");
    }

    #[test]
    fn how_often_a_call_is_attempted_can_be_said() {
        for (attempts, expected) in [(None, 3), (Some(1), 1), (Some(0), 1)] {
            let settings = GcpSettings { attempts, ..GcpSettings::default() };
            assert_eq!(settings.builder().unwrap().attempts_of_a_call(), expected);
        }
    }
}
