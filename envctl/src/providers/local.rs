//! The local keystore, and providers that are unlocked when they are used.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use envelope_local::Keystore;
use envelope_sdk::{
    ContextBinding, Dek, FullContext, KeyAdmin, KeyDescription, KeyProvider, KeyUri, ProviderError,
    ProviderErrorKind, WrappedDek, is_local_key_name,
};

use super::{Backend, NewKey};
use crate::{
    config::Config,
    error::{CliError, ErrorKind, Result},
    passphrase::Passphrases,
    runtime::block_on,
};

/// The keystore that the configuration names.
pub(crate) struct Local {
    config: Arc<Config>,
    passphrases: Arc<Passphrases>,
    on_use: OnceLock<Arc<UnlockedOnUse<Keystore>>>,
    open: OnceLock<Arc<Keystore>>,
}

impl Local {
    pub(super) fn new(config: &Arc<Config>, passphrases: &Arc<Passphrases>) -> Self {
        Self {
            config: Arc::clone(config),
            passphrases: Arc::clone(passphrases),
            on_use: OnceLock::new(),
            open: OnceLock::new(),
        }
    }

    /// The keystore, unlocked.
    pub(crate) fn keystore(&self) -> Result<Arc<Keystore>> {
        if let Some(keystore) = self.open.get() {
            return Ok(Arc::clone(keystore));
        }
        let path = self.config.keystore()?;
        keystore_id(&path)?;
        let keystore = open_keystore(&path, &self.passphrases)?;
        Ok(Arc::clone(self.open.get_or_init(|| Arc::new(keystore))))
    }
}

impl Backend for Local {
    fn provider(&self) -> Result<Arc<dyn KeyProvider>> {
        if let Some(keystore) = self.on_use.get() {
            return Ok(Arc::clone(keystore) as _);
        }
        let path = self.config.keystore()?;
        let id = keystore_id(&path)?;
        let passphrases = Arc::clone(&self.passphrases);
        let keystore =
            UnlockedOnUse::new("local", Some(id), Box::new(move || open_keystore(&path, &passphrases)));
        Ok(Arc::clone(self.on_use.get_or_init(|| Arc::new(keystore))) as _)
    }

    fn admin(&self) -> Result<Arc<dyn KeyAdmin>> {
        Ok(self.keystore()? as _)
    }

    fn check_new(&self, new: &NewKey) -> Result<()> {
        check_words(new)?;
        let keystore = self.keystore()?;
        match block_on(keystore.describe_key(&keystore.key_uri(&new.name)?)) {
            Ok(_) => Err(CliError::usage(format!("there is a key {} already", new.name))),
            Err(_) => Ok(()),
        }
    }

    fn create(&self, new: &NewKey) -> Result<KeyDescription> {
        check_words(new)?;
        Ok(block_on(self.keystore()?.create_key(&new.name, new.pre_active))?)
    }
}

/// What is wrong with the call is said before anybody types a passphrase.
fn check_words(new: &NewKey) -> Result<()> {
    if !is_local_key_name(&new.name) {
        return Err(CliError::usage(format!(
            "a name of {} bytes cannot be the name of a key",
            new.name.len()
        ))
        .hint("1 to 64 characters of A-Z a-z 0-9 - _ . that begin with a letter or digit"));
    }
    if new.description.is_some() || !new.tags.is_empty() {
        return Err(CliError::usage("keys of a keystore have no description and no tags"));
    }
    Ok(())
}

/// Reads the id first: a missing or unsafe keystore is told before anybody
/// types a passphrase.
fn keystore_id(path: &std::path::Path) -> Result<String> {
    Keystore::read_id(path).map_err(|error| {
        let missing = !path.exists();
        let error = CliError::from(error);
        if missing {
            error.hint("`envctl keystore init` creates it; --keystore names another one")
        } else {
            error
        }
    })
}

fn open_keystore(path: &std::path::Path, passphrases: &Passphrases) -> Result<Keystore> {
    Ok(Keystore::open(path, &passphrases.of_keystore(path)?)?)
}

/// A provider that is unlocked at its first use. What went wrong then is told
/// again at each use: nobody is asked twice.
pub(crate) struct UnlockedOnUse<P> {
    name: &'static str,
    /// The id of the keystore, to tell its keys from those of another.
    keystore: Option<String>,
    unlock: Box<dyn Fn() -> Result<P> + Send + Sync>,
    provider: OnceLock<std::result::Result<P, (ProviderErrorKind, String)>>,
}

impl<P: KeyProvider> UnlockedOnUse<P> {
    pub(crate) fn new(
        name: &'static str,
        keystore: Option<String>,
        unlock: Box<dyn Fn() -> Result<P> + Send + Sync>,
    ) -> Self {
        Self { name, keystore, unlock, provider: OnceLock::new() }
    }

    fn unlocked(&self, key: &KeyUri) -> std::result::Result<&P, ProviderError> {
        let unlocked = self.provider.get_or_init(|| {
            (self.unlock)().map_err(|error| {
                let kind = match error.kind() {
                    ErrorKind::NotAuthentic => ProviderErrorKind::Unauthentic,
                    ErrorKind::Usage => ProviderErrorKind::Invalid,
                    _ => ProviderErrorKind::Other,
                };
                (kind, error.text())
            })
        });
        unlocked.as_ref().map_err(|(kind, text)| ProviderError::new(*kind, self.name, key, text.clone()))
    }
}

#[async_trait]
impl<P: KeyProvider> KeyProvider for UnlockedOnUse<P> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn context_binding(&self, _wrapped: &WrappedDek) -> ContextBinding {
        ContextBinding::Provider
    }

    fn is_same_key(&self, configured: &KeyUri, recipient: &KeyUri) -> bool {
        let short_form = self
            .keystore
            .as_ref()
            .filter(|_| !configured.is_resolved())
            .map(|id| format!("//{id}/{}", configured.rest()));
        configured == recipient
            || short_form.is_some_and(|rest| recipient.scheme() == "local" && recipient.rest() == rest)
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> std::result::Result<WrappedDek, ProviderError> {
        self.unlocked(key)?.wrap_dek(key, dek, context).await
    }

    async fn unwrap_dek(
        &self,
        wrapped: &WrappedDek,
        context: &FullContext,
    ) -> std::result::Result<Dek, ProviderError> {
        self.unlocked(wrapped.key_uri())?.unwrap_dek(wrapped, context).await
    }
}
