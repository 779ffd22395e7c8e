//! What a key store brings along, whatever its type of settings.

use std::{ffi::OsString, sync::Arc};

use envelope_sdk::{
    ProviderError,
    registry::{Scheme, SecretOption, SettingError, SettingOption, Settings, Surroundings, SurveyOption},
};
use serde::de::DeserializeOwned;
use toml::{Spanned, de::DeValue};

/// A key store that was registered: what a program may offer its user of it.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Registration {
    /// The name of the provider, and of its table.
    pub provider: &'static str,
    /// The settings that may be given with a call.
    pub options: &'static [SettingOption],
    /// Its secrets.
    pub secrets: &'static [SecretOption],
    /// What [`Scheme::survey`] tells.
    pub survey: Option<SurveyOption>,
    /// Whether a call may wait for a person.
    pub waits_for_a_person: bool,
    pub(crate) open: Open,
}

/// Makes the key store of its table, if it has one, and of what the call says.
type Open = fn(Option<Spanned<DeValue<'_>>>, Vec<Given>, &Surroundings) -> Result<Arc<dyn Scheme>, OpenError>;

/// A setting that was given with the call.
#[derive(Clone)]
pub(crate) struct Given {
    pub(crate) provider: String,
    pub(crate) name: String,
    pub(crate) value: OsString,
}

pub(crate) enum OpenError {
    Table(toml::de::Error),
    Setting { name: String, error: SettingError },
    Scheme(ProviderError),
}

impl Registration {
    pub(crate) fn of<S: Settings + DeserializeOwned>() -> Self {
        Self {
            provider: S::PROVIDER,
            options: S::OPTIONS,
            secrets: S::SECRETS,
            survey: S::SURVEY,
            waits_for_a_person: S::WAITS_FOR_A_PERSON,
            open: open::<S>,
        }
    }
}

fn open<S: Settings + DeserializeOwned>(
    table: Option<Spanned<DeValue<'_>>>,
    given: Vec<Given>,
    around: &Surroundings,
) -> Result<Arc<dyn Scheme>, OpenError> {
    let mut settings = match table {
        Some(table) => S::deserialize(toml::de::ValueDeserializer::from(table)).map_err(OpenError::Table)?,
        None => S::default(),
    };
    for Given { name, value, .. } in given {
        settings.set(&name, value).map_err(|error| OpenError::Setting { name, error })?;
    }
    settings.into_scheme(around).map_err(OpenError::Scheme)
}
