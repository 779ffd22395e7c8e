//! [`Settings`]: what a key store's table of a configuration becomes.

use std::{ffi::OsString, sync::Arc};

use super::Scheme;
use crate::{
    KeyUri, ProviderError,
    secret::{NoSecrets, Secrets},
};

/// The settings of one kind of key store, and its one registration: whoever reads
/// a configuration registers this type, and has the table, the options and the
/// schemes of the key store.
///
/// A type of settings also implements serde's `Deserialize`, with a default for
/// each field and unknown fields denied; this crate does not ask for it, a reader
/// of configurations does.
pub trait Settings: Default + Send + Sync + 'static {
    /// The name of the provider ([`Scheme::provider`]), and of its table in a
    /// configuration.
    const PROVIDER: &'static str;

    /// Those settings that a program may offer its user for one call.
    const OPTIONS: &'static [SettingOption] = &[];

    /// The secrets that are this key store's own. Each is asked for under the
    /// name `PROVIDER-NAME`.
    const SECRETS: &'static [SecretOption] = &[];

    /// What [`Scheme::survey`] tells, if it tells something.
    const SURVEY: Option<SurveyOption> = None;

    /// Whether a call of this key store may wait for a person, who types a passphrase or a PIN or touches a token.
    /// Then what bounds the time of calls, and makes them again, is put over it only where the configuration says so
    /// of this key store.
    const WAITS_FOR_A_PERSON: bool = false;

    /// Sets what a call says over these settings, those of a configuration. `name`
    /// is one of the [`OPTIONS`](Self::OPTIONS), or another setting that the
    /// documentation of the type names. Called after the table was read, once for each setting
    /// that is given; a type that must tell the file's words from the call's
    /// keeps both.
    ///
    /// # Errors
    ///
    /// [`SettingError`] when there is no such setting, or its value cannot be.
    fn set(&mut self, name: &str, value: OsString) -> Result<(), SettingError>;

    /// The key store.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when the settings contradict themselves. What is merely
    /// missing is an error when a key is opened, since most runs open none.
    fn into_scheme(self, around: &Surroundings) -> Result<Arc<dyn Scheme>, ProviderError>;
}

/// Why a setting is not taken. It does not repeat the value: somebody may have
/// put a secret there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingError {
    /// It cannot be given with a call.
    #[error("there is no such setting for one call")]
    Unknown,
    /// The value is not UTF-8.
    #[error("the value is not UTF-8")]
    NotText,
    /// The value cannot be; the text says what can.
    #[error("the value must be {0}")]
    Value(&'static str),
}

/// The value of a setting as text.
///
/// # Errors
///
/// [`SettingError::NotText`].
pub fn text(value: OsString) -> Result<String, SettingError> {
    value.into_string().map_err(|_| SettingError::NotText)
}

/// A setting that can be given with a call. At a command line it is
/// `--PROVIDER-NAME VALUE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettingOption {
    /// Its name in the table of the configuration.
    pub name: &'static str,
    /// What its value is, in capitals: `FILE`, `LABEL`, `REGION`.
    pub value: &'static str,
    /// What it says, a line of help.
    pub help: &'static str,
}

impl SettingOption {
    /// A setting.
    #[must_use]
    pub const fn new(name: &'static str, value: &'static str, help: &'static str) -> Self {
        Self { name, value, help }
    }
}

/// A secret that can be given with a call. At a command line it is
/// `--PROVIDER-NAME-file FILE` and `--PROVIDER-NAME-fd N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SecretOption {
    /// Its name, such as `pin`.
    pub name: &'static str,
    /// What it is, within a sentence: `the PIN of the token`.
    pub what: &'static str,
}

impl SecretOption {
    /// A secret.
    #[must_use]
    pub const fn new(name: &'static str, what: &'static str) -> Self {
        Self { name, what }
    }
}

/// What a survey tells. At a command line it is the command `PROVIDER NAME`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SurveyOption {
    /// What it lists: `slots`.
    pub name: &'static str,
    /// A line of help.
    pub help: &'static str,
}

impl SurveyOption {
    /// A survey.
    #[must_use]
    pub const fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, help }
    }
}

/// The source of an error that says that a setting is missing, so that a program
/// can say where its user sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{setting}` is missing under [{provider}] of the configuration")]
#[non_exhaustive]
pub struct MissingSetting {
    /// The provider, and its table.
    pub provider: &'static str,
    /// The setting.
    pub setting: &'static str,
}

impl MissingSetting {
    /// A setting that is missing.
    #[must_use]
    pub const fn new(provider: &'static str, setting: &'static str) -> Self {
        Self { provider, setting }
    }
}

/// What is around a key store in a program.
#[derive(Clone)]
#[non_exhaustive]
pub struct Surroundings {
    /// Who is asked for secrets.
    pub secrets: Arc<dyn Secrets>,
    /// The keys that the configuration uses when a call names none, those of all
    /// key stores.
    pub keys: Vec<KeyUri>,
}

impl Surroundings {
    /// A program that gives secrets, and whose configuration names no key.
    #[must_use]
    pub fn new(secrets: Arc<dyn Secrets>) -> Self {
        Self { secrets, keys: Vec::new() }
    }

    /// Says which keys the configuration uses.
    #[must_use]
    pub fn keys(mut self, keys: Vec<KeyUri>) -> Self {
        self.keys = keys;
        self
    }
}

/// A program without secrets whose configuration names no key.
impl Default for Surroundings {
    fn default() -> Self {
        Self::new(Arc::new(NoSecrets))
    }
}
