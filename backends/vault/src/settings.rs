//! [`VaultSettings`]: the table `[vault]` of a configuration.

use std::{ffi::OsString, fmt, path::PathBuf, sync::Arc};

use envelope_sdk::{
    ProviderError,
    ProviderErrorKind::Invalid,
    registry::{Scheme, SecretOption, SettingError, SettingOption, Settings, Surroundings, text},
};
use serde::Deserialize;

use crate::{
    Binding, HashiVault, HashiVaultBuilder, VaultScheme,
    auth::{From, Text},
    failure::{NAME, failure},
};

/// How the server is reached, where the environment does not say it: the table `[vault]`.
/// All of it is optional.
///
/// | Setting | Meaning |
/// |---|---|
/// | `address` | the server, as `https://HOST:PORT`; else `VAULT_ADDR` |
/// | `agent` | an agent on this machine in its place: `unix:///PATH`, or a URL; else `VAULT_AGENT_ADDR` |
/// | `namespace` | the namespace in which mounts are found; else `VAULT_NAMESPACE` |
/// | `mount` | where keys are made and listed: `transit` by default |
/// | `auth` | `token`, `approle`, `kubernetes`, `jwt`, `cert` or `agent`, instead of the token of the environment |
/// | `auth-mount` | where that is mounted below `auth/`, if not under its own name |
/// | `role` | the role that logs in: of `kubernetes`, `jwt`, `cert` |
/// | `role-id` | of the AppRole |
/// | `secret-id-file` | a file with the secret id of the AppRole |
/// | `jwt-file` | a file with the JWT, or the token of the service account |
/// | `token-file` | a file with the token |
/// | `token-helper` | a program that tells the token, by its absolute path |
/// | `ca-file` | the only certificate authorities that are trusted, as PEM; else `VAULT_CACERT` |
/// | `client-certificate-file`, `client-key-file` | the certificate of this client and its key, as PEM; else `VAULT_CLIENT_CERT`, `VAULT_CLIENT_KEY` |
/// | `context-binding` | `best` (default), `associated-data`, `derived` or `none` |
/// | `attempts` | how often a call is attempted in all, 3 by default: 1 where a layer over it repeats them |
///
/// The secrets `vault-token`, `vault-secret-id`, `vault-jwt` and `vault-client-key` are used where `auth` asks for one
/// and no file is set; `vault-token` also where `auth` is not set.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub struct VaultSettings {
    /// As [`HashiVaultBuilder::address`].
    pub address: Option<String>,
    /// As [`HashiVaultBuilder::agent`].
    pub agent: Option<String>,
    /// As [`HashiVaultBuilder::namespace`].
    pub namespace: Option<String>,
    /// As [`HashiVaultBuilder::mount`].
    pub mount: Option<String>,
    /// The method of authentication, by its name.
    pub auth: Option<String>,
    /// As [`HashiVaultBuilder::auth_mount`].
    pub auth_mount: Option<String>,
    /// The role of [`HashiVaultBuilder::kubernetes`], [`jwt`](HashiVaultBuilder::jwt) or
    /// [`certificate_login`](HashiVaultBuilder::certificate_login).
    pub role: Option<String>,
    /// As [`HashiVaultBuilder::app_role`].
    pub role_id: Option<String>,
    /// As [`HashiVaultBuilder::app_role_with_file`].
    pub secret_id_file: Option<PathBuf>,
    /// As [`HashiVaultBuilder::jwt_file`] or [`kubernetes`](HashiVaultBuilder::kubernetes).
    pub jwt_file: Option<PathBuf>,
    /// As [`HashiVaultBuilder::token_file`].
    pub token_file: Option<PathBuf>,
    /// As [`HashiVaultBuilder::token_helper`].
    pub token_helper: Option<PathBuf>,
    /// As [`HashiVaultBuilder::ca_file`].
    pub ca_file: Option<PathBuf>,
    /// As [`HashiVaultBuilder::client_certificate`].
    pub client_certificate_file: Option<PathBuf>,
    /// As [`HashiVaultBuilder::client_certificate`].
    pub client_key_file: Option<PathBuf>,
    /// As [`HashiVaultBuilder::context_binding`], by its name.
    pub context_binding: Option<String>,
    /// As [`HashiVaultBuilder::attempts`].
    pub attempts: Option<u32>,
}

/// Without what tokens come from.
impl fmt::Debug for VaultSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultSettings")
            .field("mount", &self.mount)
            .field("auth", &self.auth)
            .field("context_binding", &self.context_binding)
            .finish_non_exhaustive()
    }
}

impl VaultSettings {
    fn builder(mut self) -> Result<HashiVaultBuilder, ProviderError> {
        let mut builder = HashiVault::builder().entered_by(self.from()?);
        if let Some(name) = self.context_binding.as_deref() {
            let Some(binding) = Binding::from_name(name) else {
                return Err(refused("context-binding is best, associated-data, derived or none"));
            };
            builder = builder.context_binding(binding);
        }
        match (self.client_certificate_file, self.client_key_file) {
            (Some(certificate), key) => {
                let key = key.map_or(Text::Asked, Text::File);
                builder = builder.certificate(certificate, Some(key));
            }
            (None, Some(_)) => {
                return Err(refused("client-key-file has no certificate: set client-certificate-file too"));
            }
            (None, None) => {}
        }
        if let Some(url) = self.address {
            builder = builder.address(url);
        }
        if let Some(address) = self.agent {
            builder = builder.agent(address);
        }
        if let Some(name) = self.namespace {
            builder = builder.namespace(name);
        }
        if let Some(mount) = self.mount {
            builder = builder.mount(mount);
        }
        if let Some(mount) = self.auth_mount {
            builder = builder.auth_mount(mount);
        }
        if let Some(path) = self.ca_file {
            builder = builder.ca_file(path);
        }
        if let Some(attempts) = self.attempts {
            builder = builder.attempts(attempts);
        }
        Ok(builder)
    }

    /// One method of authentication, which the settings of another contradict.
    fn from(&mut self) -> Result<From, ProviderError> {
        let has = [
            ("token-file", self.token_file.is_some(), &["token"][..]),
            ("token-helper", self.token_helper.is_some(), &["token"]),
            ("role-id", self.role_id.is_some(), &["approle"]),
            ("secret-id-file", self.secret_id_file.is_some(), &["approle"]),
            ("jwt-file", self.jwt_file.is_some(), &["kubernetes", "jwt"]),
            ("role", self.role.is_some(), &["kubernetes", "jwt", "cert"]),
            ("auth-mount", self.auth_mount.is_some(), &["approle", "kubernetes", "jwt", "cert"]),
        ];
        let auth = match self.auth.as_deref() {
            Some(auth) => auth,
            // What can belong to one method alone says which.
            None if has[0].1 || has[1].1 => "token",
            None if has[2].1 || has[3].1 => "approle",
            None => "",
        };
        if let Some((name, ..)) = has.iter().find(|(_, is_set, of)| *is_set && !of.contains(&auth)) {
            return Err(refused(&format!(
                "{name} is no setting of this `auth`: set `auth` to what it belongs to, or leave it out"
            )));
        }
        let lacks = |name: &str| refused(&format!("auth = \"{auth}\" lacks {name}"));
        Ok(match auth {
            "" => From::Default,
            "token" => match (self.token_file.take(), self.token_helper.take()) {
                (Some(_), Some(_)) => {
                    return Err(refused(
                        "token-file and token-helper are two sources of one token: keep one",
                    ));
                }
                (Some(path), None) => From::Token(Text::File(path)),
                (None, Some(path)) => From::Helper(path),
                (None, None) => From::Token(Text::Asked),
            },
            "approle" => From::AppRole {
                role_id: self.role_id.take().ok_or_else(|| lacks("role-id"))?,
                secret_id: Some(self.secret_id_file.take().map_or(Text::Asked, Text::File)),
            },
            "kubernetes" => From::Kubernetes {
                role: self.role.take().ok_or_else(|| lacks("role"))?,
                jwt: self.jwt_file.take(),
            },
            "jwt" => From::Jwt {
                role: self.role.take(),
                jwt: self.jwt_file.take().map_or(Text::Asked, Text::File),
            },
            "cert" => From::Certificate { role: self.role.take() },
            "agent" => From::Agent,
            _ => return Err(refused("auth is token, approle, kubernetes, jwt, cert or agent")),
        })
    }
}

fn refused(message: &str) -> ProviderError {
    failure(Invalid, None, message)
}

impl Settings for VaultSettings {
    const PROVIDER: &'static str = NAME;

    const OPTIONS: &'static [SettingOption] = &[
        SettingOption::new("address", "URL", "the server of Vault or OpenBao, instead of VAULT_ADDR"),
        SettingOption::new("namespace", "NAME", "the namespace of Vault or OpenBao"),
        SettingOption::new("mount", "PATH", "where Transit is mounted in which keys are made and listed"),
    ];

    const SECRETS: &'static [SecretOption] = &[
        SecretOption::new("token", "the token of Vault or OpenBao"),
        SecretOption::new("secret-id", "the secret id of the AppRole of Vault or OpenBao"),
        SecretOption::new("jwt", "the JWT that logs in to Vault or OpenBao"),
        SecretOption::new(
            "client-key",
            "the key of the certificate that is shown to Vault or OpenBao, as PEM",
        ),
    ];

    fn set(&mut self, name: &str, value: OsString) -> Result<(), SettingError> {
        let setting = match name {
            "address" => &mut self.address,
            "namespace" => &mut self.namespace,
            "mount" => &mut self.mount,
            _ => return Err(SettingError::Unknown),
        };
        *setting = Some(text(value)?);
        Ok(())
    }

    fn into_scheme(self, around: &Surroundings) -> Result<Arc<dyn Scheme>, ProviderError> {
        Ok(Arc::new(VaultScheme::new(self.builder()?.secrets(Arc::clone(&around.secrets)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_call_says_goes_first_and_each_option_can_be_said() {
        let mut settings = VaultSettings { mount: Some("of the file".into()), ..VaultSettings::default() };
        for option in VaultSettings::OPTIONS {
            settings.set(option.name, "said".into()).unwrap();
        }
        for value in [settings.address.as_deref(), settings.namespace.as_deref(), settings.mount.as_deref()] {
            assert_eq!(value, Some("said"));
        }
        assert_eq!(settings.set("token-helper", "/bin/sh".into()), Err(SettingError::Unknown));
    }

    #[test]
    fn settings_that_contradict_themselves_are_refused() {
        let base = VaultSettings::default;
        let text = |text: &str| Some(text.to_owned());
        for (settings, words) in [
            (VaultSettings { auth: text("magic"), ..base() }, "auth is token"),
            (VaultSettings { auth: text("approle"), ..base() }, "lacks role-id"),
            (VaultSettings { auth: text("kubernetes"), ..base() }, "lacks role"),
            (
                VaultSettings { auth: text("agent"), token_file: Some("x".into()), ..base() },
                "token-file is no setting",
            ),
            (
                VaultSettings { role_id: text("x"), jwt_file: Some("x".into()), ..base() },
                "jwt-file is no setting",
            ),
            (VaultSettings { role: text("x"), ..base() }, "role is no setting"),
            (
                VaultSettings { token_file: Some("x".into()), token_helper: Some("y".into()), ..base() },
                "two sources",
            ),
            (VaultSettings { client_key_file: Some("x".into()), ..base() }, "client-certificate-file"),
            (VaultSettings { context_binding: text("aad"), ..base() }, "context-binding is"),
        ] {
            let error = settings.into_scheme(&Surroundings::default()).err().unwrap();
            assert_eq!((error.kind(), error.key()), (Invalid, None));
            assert!(error.message().contains(words), "{error}");
        }
    }

    #[test]
    fn how_often_a_call_is_attempted_can_be_said() {
        for (attempts, expected) in [(None, 3), (Some(1), 1), (Some(0), 1)] {
            let settings = VaultSettings { attempts, ..VaultSettings::default() };
            assert_eq!(settings.builder().unwrap().attempts_of_a_call(), expected);
        }
    }
}
