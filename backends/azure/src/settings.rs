//! [`AzureSettings`]: the table `[azure]` of a configuration.

use std::{ffi::OsString, fmt, path::PathBuf, sync::Arc};

use envelope_sdk::{
    ProviderError,
    ProviderErrorKind::Invalid,
    registry::{Scheme, SecretOption, SettingError, SettingOption, Settings, Surroundings, text},
};
use serde::Deserialize;

use crate::{
    AzureKeyVault, AzureKeyVaultBuilder, AzureScheme, SymmetricAlgorithm,
    failure::{NAME, failure},
};

/// How vaults are reached, where the environment does not say it: the table `[azure]`.
/// All of it is optional.
///
/// | Setting | Meaning |
/// |---|---|
/// | `vault` | where keys are made and listed: `NAME.vault.azure.net`, `NAME.managedhsm.azure.net` |
/// | `credentials` | `developer-tools`, `managed-identity`, `workload-identity`, `client-secret` or `client-certificate`, instead of what the environment says |
/// | `tenant-id`, `client-id` | of the client, or of the managed identity that was assigned |
/// | `object-id`, `resource-id` | of the managed identity that was assigned |
/// | `client-secret-file` | a file with the client secret |
/// | `client-certificate-file` | a PEM file with the client's certificate and its RSA key |
/// | `token-file` | the file with the token of the workload |
/// | `authority-host` | whom tokens are asked of, as `https://HOST` |
/// | `symmetric-algorithm` | with what keys `oct-HSM` wrap: `A256GCM` (default) or `A256KW` |
/// | `local-wraps` | whether RSA keys wrap on this machine, with a public key that is fetched once |
/// | `post-quantum-safe-only` | whether RSA keys, which are not, are refused for new wraps and new keys |
/// | `ca-file` | the only certificate authorities that are trusted, as PEM |
/// | `domain` | `localhost:PORT` of a server of tests |
/// | `attempts` | how often a call is attempted in all, 3 by default: 1 where a layer over it repeats them |
///
/// The secrets `azure-client-secret` and `azure-client-certificate` are used where
/// `credentials` asks for one and no file is set, and where neither is set.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub struct AzureSettings {
    /// As [`AzureKeyVaultBuilder::vault`].
    pub vault: Option<String>,
    /// The kind of credentials, by its name.
    pub credentials: Option<String>,
    /// As [`AzureKeyVaultBuilder::tenant_id`].
    pub tenant_id: Option<String>,
    /// As [`AzureKeyVaultBuilder::client_id`] or
    /// [`managed_identity_of_client`](AzureKeyVaultBuilder::managed_identity_of_client).
    pub client_id: Option<String>,
    /// As [`AzureKeyVaultBuilder::managed_identity_of_object`].
    pub object_id: Option<String>,
    /// As [`AzureKeyVaultBuilder::managed_identity_of_resource`].
    pub resource_id: Option<String>,
    /// As [`AzureKeyVaultBuilder::client_secret_file`].
    pub client_secret_file: Option<PathBuf>,
    /// As [`AzureKeyVaultBuilder::client_certificate_file`].
    pub client_certificate_file: Option<PathBuf>,
    /// As [`AzureKeyVaultBuilder::workload_identity`].
    pub token_file: Option<PathBuf>,
    /// As [`AzureKeyVaultBuilder::authority_host`].
    pub authority_host: Option<String>,
    /// As [`AzureKeyVaultBuilder::symmetric_algorithm`], by its name.
    pub symmetric_algorithm: Option<String>,
    /// As [`AzureKeyVaultBuilder::local_wraps`].
    pub local_wraps: bool,
    /// As [`AzureKeyVaultBuilder::post_quantum_safe_only`].
    pub post_quantum_safe_only: bool,
    /// As [`AzureKeyVaultBuilder::ca_file`].
    pub ca_file: Option<PathBuf>,
    /// As [`AzureKeyVaultBuilder::domain`].
    pub domain: Option<String>,
    /// As [`AzureKeyVaultBuilder::attempts`].
    pub attempts: Option<u32>,
}

/// Without what credentials are made of.
impl fmt::Debug for AzureSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureSettings")
            .field("vault", &self.vault)
            .field("credentials", &self.credentials)
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}

impl AzureSettings {
    fn builder(mut self) -> Result<AzureKeyVaultBuilder, ProviderError> {
        let mut builder = self.credentials(AzureKeyVault::builder())?;
        builder = builder.local_wraps(self.local_wraps).post_quantum_safe_only(self.post_quantum_safe_only);
        if let Some(name) = self.symmetric_algorithm.as_deref() {
            let Some(algorithm) = SymmetricAlgorithm::from_name(name) else {
                return Err(refused("symmetric-algorithm is A256GCM or A256KW"));
            };
            builder = builder.symmetric_algorithm(algorithm);
        }
        if let Some(host) = self.vault {
            builder = builder.vault(host);
        }
        if let Some(id) = self.tenant_id {
            builder = builder.tenant_id(id);
        }
        if let Some(id) = self.client_id {
            builder = builder.client_id(id);
        }
        if let Some(url) = self.authority_host {
            builder = builder.authority_host(url);
        }
        if let Some(path) = self.ca_file {
            builder = builder.ca_file(path);
        }
        if let Some(domain) = self.domain {
            builder = builder.domain(domain);
        }
        if let Some(attempts) = self.attempts {
            builder = builder.attempts(attempts);
        }
        Ok(builder)
    }

    /// One kind of credentials, which the files of another contradict.
    fn credentials(&mut self, builder: AzureKeyVaultBuilder) -> Result<AzureKeyVaultBuilder, ProviderError> {
        let secret = self.client_secret_file.take();
        let certificate = self.client_certificate_file.take();
        let token = self.token_file.take();
        let assigned = (self.object_id.take(), self.resource_id.take());
        let has = [
            ("client-secret", secret.is_some()),
            ("client-certificate", certificate.is_some()),
            ("workload-identity", token.is_some()),
            ("managed-identity", assigned.0.is_some() || assigned.1.is_some()),
        ];
        let mut said = has.iter().filter(|(_, has)| *has).map(|(kind, _)| *kind);
        let (first, second) = (said.next(), said.next());
        let kind = self.credentials.as_deref().or(first);
        if second.is_some() || first.is_some_and(|first| kind != Some(first)) {
            return Err(refused(
                "the settings speak of more than one kind of credentials: keep client-secret-file, client-certificate-file, \
                 token-file, or object-id and resource-id, as `credentials` says",
            ));
        }
        Ok(match kind {
            None => builder,
            Some("developer-tools") => builder.developer_tools(),
            Some("workload-identity") => builder.workload_identity(token),
            Some("client-secret") => match secret {
                Some(path) => builder.client_secret_file(path),
                None => builder.asked(false),
            },
            Some("client-certificate") => match certificate {
                Some(path) => builder.client_certificate_file(path),
                None => builder.asked(true),
            },
            Some("managed-identity") => match (self.client_id.take(), assigned) {
                (None, (None, None)) => builder.managed_identity(),
                (Some(id), (None, None)) => builder.managed_identity_of_client(id),
                (None, (Some(id), None)) => builder.managed_identity_of_object(id),
                (None, (None, Some(id))) => builder.managed_identity_of_resource(id),
                _ => {
                    return Err(refused(
                        "client-id, object-id and resource-id name one identity: keep one of them",
                    ));
                }
            },
            Some(_) => {
                return Err(refused(
                    "credentials is developer-tools, managed-identity, workload-identity, client-secret or \
                     client-certificate",
                ));
            }
        })
    }
}

fn refused(message: &str) -> ProviderError {
    failure(Invalid, None, message)
}

impl Settings for AzureSettings {
    const PROVIDER: &'static str = NAME;

    const OPTIONS: &'static [SettingOption] = &[
        SettingOption::new(
            "vault",
            "HOST",
            "the vault or managed HSM of Azure in which keys are made and listed",
        ),
        SettingOption::new("tenant-id", "ID", "the tenant of Microsoft Entra that is asked for tokens"),
    ];

    const SECRETS: &'static [SecretOption] = &[
        SecretOption::new("client-secret", "the secret of the client of Microsoft Entra"),
        SecretOption::new("client-certificate", "the certificate of that client and its key, as PEM"),
    ];

    fn set(&mut self, name: &str, value: OsString) -> Result<(), SettingError> {
        let setting = match name {
            "vault" => &mut self.vault,
            "tenant-id" => &mut self.tenant_id,
            _ => return Err(SettingError::Unknown),
        };
        *setting = Some(text(value)?);
        Ok(())
    }

    fn into_scheme(self, around: &Surroundings) -> Result<Arc<dyn Scheme>, ProviderError> {
        Ok(Arc::new(AzureScheme::new(self.builder()?.secrets(Arc::clone(&around.secrets)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_call_says_goes_first_and_each_option_can_be_said() {
        let mut settings = AzureSettings { vault: Some("of the file".into()), ..AzureSettings::default() };
        for option in AzureSettings::OPTIONS {
            settings.set(option.name, "said".into()).unwrap();
        }
        assert_eq!((settings.vault.as_deref(), settings.tenant_id.as_deref()), (Some("said"), Some("said")));
        assert_eq!(settings.set("domain", "localhost".into()), Err(SettingError::Unknown));
    }

    #[test]
    fn settings_that_contradict_themselves_are_refused() {
        let base = AzureSettings::default;
        let kind = |kind: &str| Some(kind.to_owned());
        for (settings, words) in [
            (AzureSettings { credentials: kind("magic"), ..base() }, "credentials is"),
            (
                AzureSettings {
                    credentials: kind("developer-tools"),
                    token_file: Some("x".into()),
                    ..base()
                },
                "more than one kind",
            ),
            (
                AzureSettings {
                    client_secret_file: Some("x".into()),
                    token_file: Some("x".into()),
                    ..base()
                },
                "more than one kind",
            ),
            (
                AzureSettings {
                    credentials: kind("managed-identity"),
                    client_id: kind("a"),
                    object_id: kind("b"),
                    ..base()
                },
                "name one identity",
            ),
            (AzureSettings { symmetric_algorithm: kind("a256gcm"), ..base() }, "A256GCM or A256KW"),
        ] {
            let error = settings.into_scheme(&Surroundings::default()).err().unwrap();
            assert_eq!((error.kind(), error.key()), (Invalid, None));
            assert!(error.message().contains(words), "{error}");
        }
    }

    #[test]
    fn how_often_a_call_is_attempted_can_be_said() {
        for (attempts, expected) in [(None, 3), (Some(1), 1), (Some(0), 1)] {
            let settings = AzureSettings { attempts, ..AzureSettings::default() };
            assert_eq!(settings.builder().unwrap().attempts_of_a_call(), expected);
        }
    }
}
