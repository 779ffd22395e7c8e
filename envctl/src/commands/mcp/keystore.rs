//! The local keystore, to be looked at: names, states and dates, without its passphrase. It stands in the place of the one that
//! opens keys, so that a server for agents cannot, whatever it is asked.

use std::{ffi::OsString, sync::Arc};

use async_trait::async_trait;
use envelope_local::{Keystore, KeystoreError, LocalSettings};
use envelope_sdk::{
    KeyAdmin, KeyDescription, KeyProvider, KeyUri, ProviderError, ProviderErrorKind,
    admin::{KeyPage, cannot},
    key_uri::local::LocalKey,
    registry::{Purpose, Scheme, SettingError, Settings, Surroundings},
};
use serde::Deserialize;

/// The settings of the keystore, as `envelope-local` has them.
#[derive(Default, Deserialize)]
#[serde(transparent)]
pub(super) struct LookedAt(LocalSettings);

impl Settings for LookedAt {
    const PROVIDER: &'static str = LocalSettings::PROVIDER;

    fn set(&mut self, name: &str, value: OsString) -> Result<(), SettingError> {
        self.0.set(name, value)
    }

    fn into_scheme(self, _: &Surroundings) -> Result<Arc<dyn Scheme>, ProviderError> {
        Ok(Arc::new(Names(self.0)))
    }
}

struct Names(LocalSettings);

impl Scheme for Names {
    fn provider(&self) -> &'static str {
        LocalSettings::PROVIDER
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["local", "passphrase"]
    }

    fn open(&self, key: &KeyUri, _: Purpose) -> Result<Arc<dyn KeyProvider>, ProviderError> {
        Err(cannot(LocalSettings::PROVIDER, Some(key), "use keys here: this program only looks at them"))
    }

    fn key_named(&self, name: &str) -> Result<Option<KeyUri>, ProviderError> {
        let described = match self.read() {
            Ok(described) => described,
            Err(KeystoreError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let has_name = |key: &KeyDescription| LocalKey::of(&key.uri).is_some_and(|key| key.name == name);
        Ok(described.into_iter().find(has_name).map(|key| key.uri))
    }

    fn admin(&self, key: Option<&KeyUri>) -> Result<Arc<dyn KeyAdmin>, ProviderError> {
        match key {
            Some(key) if key.scheme() != LocalSettings::PROVIDER => {
                Err(cannot("passphrase", Some(key), "describe a passphrase"))
            }
            _ => Ok(Arc::new(Names(self.0.clone()))),
        }
    }
}

impl Names {
    fn read(&self) -> Result<Vec<KeyDescription>, KeystoreError> {
        let path =
            self.0.keystore_path().map_err(|_| KeystoreError::NotFound { path: "keystore.json".into() })?;
        Keystore::read_keys(path)
    }
}

#[async_trait]
impl KeyAdmin for Names {
    fn provider(&self) -> &'static str {
        LocalSettings::PROVIDER
    }

    async fn describe_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        let wanted = LocalKey::of(key);
        let is_it = |known: &KeyDescription| match (&wanted, LocalKey::of(&known.uri)) {
            (Some(wanted), Some(known)) => {
                wanted.name == known.name && wanted.keystore.is_none_or(|id| known.keystore == Some(id))
            }
            _ => false,
        };
        let described = self.read().map_err(ProviderError::from)?;
        described.into_iter().find(is_it).ok_or_else(|| {
            ProviderError::new(
                ProviderErrorKind::NotFound,
                LocalSettings::PROVIDER,
                key,
                "there is no such key in the keystore",
            )
        })
    }

    async fn list_keys(&self, _: Option<&str>) -> Result<KeyPage, ProviderError> {
        Ok(KeyPage::new(self.read().map_err(ProviderError::from)?, None))
    }
}
