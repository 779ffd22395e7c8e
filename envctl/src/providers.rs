//! The providers of envctl: one file for each, with what it takes to reach its
//! keys and to manage them.
//!
//! A new one is a file here with a [`Backend`], a field of [`Backends`] and a name in
//! [`ProviderName`].

#[cfg(feature = "aws")]
mod aws;
mod local;
#[cfg(feature = "pkcs11")]
mod pkcs11;

use std::sync::Arc;

use envelope_sdk::{KeyAdmin, KeyChange, KeyDescription, KeyProvider, KeyState, KeyUri};
use serde_json::{Map, Value};

use crate::{
    config::Config,
    error::{CliError, Result},
    passphrase::Passphrases,
};

pub(crate) use local::{Local, UnlockedOnUse};

/// A provider, as `--provider` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ProviderName {
    /// The local keystore
    Local,
    /// AWS KMS
    #[cfg(feature = "aws")]
    Aws,
    /// A token of the PKCS#11 module
    #[cfg(feature = "pkcs11")]
    Pkcs11,
}

/// What one provider can do for the commands. What not every provider can do is
/// refused by default.
pub(crate) trait Backend {
    /// Wraps and unwraps. Nothing is asked of anybody before a key is used.
    fn provider(&self) -> Result<Arc<dyn KeyProvider>>;

    /// Manages keys.
    fn admin(&self) -> Result<Arc<dyn KeyAdmin>>;

    /// Refuses what [`create`](Self::create) would refuse, as far as can be told
    /// without doing it.
    fn check_new(&self, new: &NewKey) -> Result<()>;

    /// Creates a key.
    fn create(&self, new: &NewKey) -> Result<KeyDescription>;

    /// Refuses what a change would refuse as far as follows from the states, which are those of
    /// NIST SP 800-57 unless the provider has less.
    fn check_change(&self, key: &KeyDescription, version: Option<&str>, change: KeyChange) -> Result<()> {
        check_standard_change(key, version, change)
    }

    /// What the provider tells of a key beyond its states.
    fn details(&self, key: &KeyUri) -> Result<Map<String, Value>> {
        let _ = key;
        Ok(Map::new())
    }

    /// Lets a key rotate by itself every so many days, or by the provider's
    /// own period; `None` stops it.
    fn rotate_every(&self, key: &KeyUri, period: Option<Period>) -> Result<()> {
        let _ = period;
        cannot(key, "does not rotate keys by itself: `envctl keys rotate` does it now")
    }

    /// How a key rotates, and the rotations that were done.
    fn rotations(&self, key: &KeyUri) -> Result<Map<String, Value>> {
        cannot(key, "keeps no list of rotations: `envctl keys describe` shows the versions")
    }

    /// Makes an alias of a key, or turns an alias to it.
    fn set_alias(&self, alias: &str, key: &KeyUri) -> Result<KeyUri> {
        let _ = alias;
        cannot(key, "has no aliases: write them into the configuration")
    }

    /// Cancels the deletion of a key.
    fn restore(&self, key: &KeyUri) -> Result<KeyDescription> {
        cannot(key, "destroys keys at once and for good")
    }
}

/// A key to create.
pub(crate) struct NewKey {
    pub(crate) name: String,
    pub(crate) pre_active: bool,
    pub(crate) description: Option<String>,
    pub(crate) tags: Vec<(String, String)>,
}

/// How often a key rotates by itself.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "aws"), expect(dead_code, reason = "the keystore does not rotate by itself"))]
pub(crate) enum Period {
    /// As the provider has it.
    Default,
    /// Every so many days.
    Days(u32),
}

/// The providers of one run.
pub(crate) struct Backends {
    local: Local,
    #[cfg(feature = "aws")]
    aws: aws::Aws,
    #[cfg(feature = "pkcs11")]
    pkcs11: pkcs11::Pkcs11,
}

impl Backends {
    pub(crate) fn new(config: &Arc<Config>, passphrases: &Arc<Passphrases>) -> Self {
        Self {
            local: Local::new(config, passphrases),
            #[cfg(feature = "aws")]
            aws: aws::Aws::new(config.aws()),
            #[cfg(feature = "pkcs11")]
            pkcs11: pkcs11::Pkcs11::new(config.pkcs11(), passphrases),
        }
    }

    pub(crate) fn local(&self) -> &Local {
        &self.local
    }

    pub(crate) fn named(&self, name: ProviderName) -> &dyn Backend {
        match name {
            ProviderName::Local => &self.local,
            #[cfg(feature = "aws")]
            ProviderName::Aws => &self.aws,
            #[cfg(feature = "pkcs11")]
            ProviderName::Pkcs11 => &self.pkcs11,
        }
    }

    /// The provider of a key that the call or the configuration names, by the
    /// scheme of its URI. Never for a key that only a header names.
    pub(crate) fn of(&self, key: &KeyUri) -> Result<&dyn Backend> {
        match key.scheme() {
            "local" => Ok(&self.local),
            #[cfg(feature = "aws")]
            "awskms" => Ok(&self.aws),
            #[cfg(feature = "pkcs11")]
            "pkcs11" => Ok(self.pkcs11.with_key(key)),
            scheme if ELSEWHERE.contains(&scheme) => {
                Err(CliError::usage(format!("this envctl has no provider for {scheme}: keys, such as {key}"))
                    .hint(known()))
            }
            // A passphrase with a colon in it reads as a key of an unknown scheme.
            _ => Err(CliError::usage(format!(
                "this envctl has no provider for a key that was named ({} bytes): its scheme is none of ours",
                key.as_str().len()
            ))
            .hint(known())),
        }
    }
}

fn cannot<T>(key: &KeyUri, what: &str) -> Result<T> {
    Err(CliError::usage(format!("{key}: the provider of {}: keys {what}", key.scheme())))
}

fn check_standard_change(key: &KeyDescription, version: Option<&str>, change: KeyChange) -> Result<()> {
    let state = match version {
        None => key.state,
        Some(version) => key
            .versions
            .iter()
            .find(|known| known.version == version)
            .map(|known| known.state)
            .ok_or_else(|| CliError::usage(format!("{} has no version {version}", key.uri)))?,
    };
    match change {
        KeyChange::State(next) if !state.may_become(next) => {
            Err(CliError::usage(format!("{}: a key that is {state} cannot become {next}", key.uri)))
        }
        KeyChange::Archive if !matches!(key.state, KeyState::Deactivated | KeyState::Compromised) => {
            Err(CliError::usage(format!("{}: a key that is {} is not archived", key.uri, key.state)))
        }
        _ => Ok(()),
    }
}

/// The schemes of this build.
fn known() -> String {
    let schemes = [(cfg!(feature = "aws"), ", awskms:"), (cfg!(feature = "pkcs11"), ", pkcs11:")];
    let more: String = schemes.into_iter().filter(|(is, _)| *is).map(|(_, scheme)| scheme).collect();
    format!("it knows passphrase:, local:{more}")
}

/// Schemes of providers that this build may lack.
const ELSEWHERE: [&str; 4] = ["awskms", "gcpkms", "azurekeyvault", "pkcs11"];
