//! [`ExampleSettings`]: the table `[example]`, and what becomes of it.

use std::{ffi::OsString, sync::Arc};

use async_trait::async_trait;
use envelope_sdk::{
    KeyAdmin, KeyProvider, KeyUri, NewKey, ProviderError, ProviderErrorKind,
    admin::Details,
    registry::{Purpose, Scheme, SettingError, SettingOption, Settings, Surroundings, SurveyOption, text},
};
use serde::Deserialize;

use super::{
    ExampleProvider,
    keys::{SCHEME, uri},
};

/// The table `[example]` of a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub struct ExampleSettings {
    /// The names of keys that are there from the start.
    pub keys: Vec<String>,
    /// How many keys are listed at once: 100, unless it is set.
    pub page_len: Option<usize>,
}

impl Settings for ExampleSettings {
    const PROVIDER: &'static str = SCHEME;

    const OPTIONS: &'static [SettingOption] =
        &[SettingOption::new("page-len", "N", "List so many keys at once")];

    const SURVEY: Option<SurveyOption> =
        Some(SurveyOption::new("store", "Tell how many keys there are, and how many are listed at once"));

    fn set(&mut self, name: &str, value: OsString) -> Result<(), SettingError> {
        match name {
            "page-len" => {
                let len = text(value)?.parse().ok().filter(|len| *len > 0);
                self.page_len = Some(len.ok_or(SettingError::Value("a number from 1"))?);
                Ok(())
            }
            _ => Err(SettingError::Unknown),
        }
    }

    fn into_scheme(self, _around: &Surroundings) -> Result<Arc<dyn Scheme>, ProviderError> {
        if self.page_len == Some(0) {
            let message = "page-len is 0: at least one key is listed at once";
            return Err(ProviderError::without_key(ProviderErrorKind::Invalid, SCHEME, message));
        }
        let provider = ExampleProvider::with_page_len(self.page_len.unwrap_or(100));
        for name in &self.keys {
            provider.create(&NewKey::named(name))?;
        }
        Ok(Arc::new(ExampleScheme { provider: Arc::new(provider) }))
    }
}

/// Opens `example:` keys: one provider for all of them.
pub struct ExampleScheme {
    provider: Arc<ExampleProvider>,
}

impl ExampleScheme {
    fn check(key: &KeyUri) -> Result<(), ProviderError> {
        if key.scheme() == SCHEME {
            return Ok(());
        }
        Err(ProviderError::new(
            ProviderErrorKind::Unsupported,
            SCHEME,
            key,
            "is no key of the scheme example:",
        ))
    }
}

#[async_trait]
impl Scheme for ExampleScheme {
    fn provider(&self) -> &'static str {
        SCHEME
    }

    fn schemes(&self) -> &'static [&'static str] {
        &[SCHEME]
    }

    fn open(&self, key: &KeyUri, _: Purpose) -> Result<Arc<dyn KeyProvider>, ProviderError> {
        Self::check(key)?;
        Ok(self.provider.clone())
    }

    fn key_named(&self, name: &str) -> Result<Option<KeyUri>, ProviderError> {
        let is_there = self.provider.keys().keys.contains_key(name);
        Ok(if is_there { uri(name).ok() } else { None })
    }

    fn admin(&self, key: Option<&KeyUri>) -> Result<Arc<dyn KeyAdmin>, ProviderError> {
        key.map_or(Ok(()), Self::check)?;
        Ok(self.provider.clone())
    }

    async fn survey(&self) -> Result<Details, ProviderError> {
        let keys = self.provider.keys().keys.len();
        Ok(Details::new().with("keys", keys as u64).with("page_len", self.provider.page_len as u64))
    }
}
