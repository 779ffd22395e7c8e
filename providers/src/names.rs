//! The keys of a configuration, and what a name means.

use std::collections::BTreeMap;

use envelope_sdk::{KeyUri, Registry};

use crate::ProvidersError;

/// The default keys and the aliases.
#[derive(Clone, Default)]
pub(crate) struct Keys {
    pub(crate) encrypt: Vec<String>,
    pub(crate) decrypt: Vec<String>,
    pub(crate) aliases: BTreeMap<String, String>,
}

impl Keys {
    /// The keys that encrypt: those that are named, or the configuration's.
    pub(crate) fn encrypting(
        &self,
        named: &[String],
        registry: &Registry,
    ) -> Result<Vec<KeyUri>, ProvidersError> {
        let names = if named.is_empty() { &self.encrypt } else { named };
        names.iter().map(|name| self.key(name, registry)).collect()
    }

    /// The keys that decrypt: those that are named, or the configuration's.
    pub(crate) fn decrypting(
        &self,
        named: &[String],
        registry: &Registry,
    ) -> Result<Vec<KeyUri>, ProvidersError> {
        if !named.is_empty() {
            return named.iter().map(|name| self.key(name, registry)).collect();
        }
        self.encrypt.iter().chain(&self.decrypt).map(|name| self.key(name, registry)).collect()
    }

    /// Every key that the configuration names and that is one.
    pub(crate) fn all(&self) -> Vec<KeyUri> {
        self.encrypt.iter().chain(&self.decrypt).filter_map(|key| self.configured(key).ok()).collect()
    }

    pub(crate) fn has_alias(&self, name: &str) -> bool {
        self.aliases.contains_key(name)
    }

    /// What a name means.
    pub(crate) fn key(&self, name: &str, registry: &Registry) -> Result<KeyUri, ProvidersError> {
        match self.configured(name) {
            Err(error @ ProvidersError::NoSuchName { .. }) => registry.key_named(name)?.ok_or(error),
            Err(error) => {
                let text = self.aliases.get(name).map_or(name, String::as_str);
                registry.key_of_other_tools(text)?.ok_or(error)
            }
            key => key,
        }
    }

    /// A key by its alias or URI.
    fn configured(&self, name: &str) -> Result<KeyUri, ProvidersError> {
        if let Some(uri) = self.aliases.get(name) {
            let alias = name.to_owned();
            return KeyUri::parse(uri).map_err(|error| ProvidersError::Alias { alias, error });
        }
        // Never repeated: a passphrase or PIN may have been typed in the place of a key.
        if !name.contains(':') && !name.contains('/') {
            let aliases = self.aliases.keys().cloned().collect();
            return Err(ProvidersError::NoSuchName { bytes: name.len(), aliases });
        }
        Ok(KeyUri::parse(name)?)
    }
}
