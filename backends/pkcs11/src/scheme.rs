//! The key store of `pkcs11:` keys: every token of the configured module.

mod opener;
mod slots;
mod tokens;

use std::{ffi::OsString, sync::Arc};

use async_trait::async_trait;
use envelope_sdk::{
    KeyAdmin, KeyProvider, KeyUri, ProviderError,
    admin::Details,
    registry::{
        Purpose, Scheme, SecretOption, SettingError, SettingOption, Settings, Surroundings, SurveyOption,
    },
};

use self::{opener::Opener, tokens::Tokens};
use crate::{apart::apart, error::NAME, settings::Pkcs11Settings};

/// The tokens of one module, each opened when a key of it is first used: the
/// module is loaded then, and a PIN read or asked for, on threads of their own.
///
/// Keys are made and listed on the token of the settings; every other call goes to
/// the token that the key names.
///
/// A PIN is shown to the one token that it is for, and to no other:
///
/// - that of the secret `pkcs11-pin`, or else of `pin-file`, to the token that the
///   settings name, or else that of all keys of the configuration, or else that of all
///   keys that had been opened when a PIN was first used, or the only one there is; where
///   these are several, or another one is opened, it is refused. Tokens with a
///   file of their own do not count, and one that is named by label and by serial
///   number is one;
/// - those of `[pkcs11.tokens.LABEL]` to that token;
/// - for every other token, and where few tries are left, a person is asked.
pub struct Pkcs11Scheme {
    tokens: Arc<Tokens>,
}

impl Pkcs11Scheme {
    /// The tokens of these settings. Loads and asks nothing.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] of kind [`Invalid`](envelope_sdk::ProviderErrorKind::Invalid) when
    /// the settings name the token twice, or accept what is no key or no weakness.
    pub fn new(settings: Pkcs11Settings, around: &Surroundings) -> Result<Self, ProviderError> {
        Ok(Self { tokens: Arc::new(Tokens::new(Opener::new(settings, around)?)) })
    }

    /// The one instance, if there is a module. The PIN may be for the token of `key`.
    fn tokens(&self, key: Option<&KeyUri>) -> Result<Arc<Tokens>, ProviderError> {
        self.tokens.opener().module()?;
        if let Some(key) = key {
            self.tokens.opener().note(key)?;
        }
        Ok(Arc::clone(&self.tokens))
    }
}

#[async_trait]
impl Scheme for Pkcs11Scheme {
    fn provider(&self) -> &'static str {
        NAME
    }

    fn schemes(&self) -> &'static [&'static str] {
        &[NAME]
    }

    fn open(&self, key: &KeyUri, _: Purpose) -> Result<Arc<dyn KeyProvider>, ProviderError> {
        Ok(self.tokens(Some(key))?)
    }

    fn admin(&self, key: Option<&KeyUri>) -> Result<Arc<dyn KeyAdmin>, ProviderError> {
        Ok(self.tokens(key)?)
    }

    async fn survey(&self) -> Result<Details, ProviderError> {
        let module = self.tokens.opener().module()?.clone();
        apart(move || slots::tell(&module)).await
    }
}

impl Settings for Pkcs11Settings {
    const PROVIDER: &'static str = NAME;

    const OPTIONS: &'static [SettingOption] = &[
        SettingOption::new("module", "FILE", "The PKCS#11 module of `pkcs11:` keys, by its absolute path"),
        SettingOption::new(
            "token",
            "LABEL",
            "The label of the token whose keys are created and listed, where there are several",
        ),
    ];

    const WAITS_FOR_A_PERSON: bool = true;
    const SECRETS: &'static [SecretOption] = &[SecretOption::new("pin", "the PIN of the token")];

    const SURVEY: Option<SurveyOption> = Some(SurveyOption::new(
        "slots",
        "List slots and tokens, and what they can wrap by; no PIN is needed",
    ));

    fn set(&mut self, name: &str, value: OsString) -> Result<(), SettingError> {
        self.set_for_call(name, value)
    }

    fn into_scheme(self, around: &Surroundings) -> Result<Arc<dyn Scheme>, ProviderError> {
        Ok(Arc::new(Pkcs11Scheme::new(self, around)?))
    }
}
