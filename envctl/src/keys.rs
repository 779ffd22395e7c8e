//! From key URIs to a keyring. Passphrases are asked for, and the keystore is
//! unlocked, only when a key is really used, and once per run.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use envelope_local::{Keystore, Passphrase, PassphraseProvider};
use envelope_sdk::{
    ContextBinding, Dek, FullContext, KeyProvider, KeyUri, Keyring, ProviderError, ProviderErrorKind,
    WrappedDek,
};

use crate::{
    cli::Global,
    config::Config,
    error::{CliError, ErrorKind, Result},
    passphrase::Passphrases,
};

/// The providers of one run.
pub(crate) struct Providers {
    config: Config,
    passphrases: Arc<Passphrases>,
    keystore: OnceLock<Arc<UnlockedOnUse<Keystore>>>,
    passphrase: Arc<UnlockedOnUse<PassphraseProvider>>,
}

impl Providers {
    pub(crate) fn new(global: &Global) -> Result<Self> {
        let config = Config::load(global)?;
        let passphrases = Arc::new(Passphrases::of(global)?);
        let passphrase = passphrase_provider(&passphrases, Passphrases::for_decryption);
        Ok(Self { config, passphrases, keystore: OnceLock::new(), passphrase })
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn passphrases(&self) -> &Passphrases {
        &self.passphrases
    }

    /// The keys to encrypt with: those named, the configuration's, or a
    /// passphrase.
    pub(crate) fn keyring_to_encrypt(&self, named: &[String]) -> Result<Keyring> {
        let passphrase = passphrase_provider(&self.passphrases, Passphrases::for_encryption);
        let keys = self.keys_or_passphrase(named)?;
        keys.into_iter().try_fold(Keyring::new(), |keyring, uri| {
            Ok(keyring.encrypt(self.provider(&uri, &passphrase)?, uri))
        })
    }

    /// The keys that may decrypt: those named or the configuration's, and a
    /// passphrase always.
    pub(crate) fn keyring_to_decrypt(&self, named: &[String]) -> Result<Keyring> {
        self.decrypting(Keyring::new(), self.config.decrypt_keys(named)?)
    }

    /// The keys to rewrap: from those that may decrypt to those that encrypt.
    pub(crate) fn keyring_to_rewrap(&self, named: &[String], from: &[String]) -> Result<Keyring> {
        let new = passphrase_provider(&self.passphrases, Passphrases::replacement);
        let keys = self.keys_or_passphrase(named)?;
        let mut keyring = Keyring::new();
        for uri in &keys {
            keyring = keyring.encrypt(self.provider(uri, &new)?, uri.clone());
        }
        let from = self.config.decrypt_keys(from)?;
        let local = keys.into_iter().filter(|uri| uri.scheme() != "passphrase");
        self.decrypting(keyring, local.chain(from).collect())
    }

    fn decrypting(&self, keyring: Keyring, mut keys: Vec<KeyUri>) -> Result<Keyring> {
        keys.push(KeyUri::passphrase());
        let mut seen = Vec::new();
        keys.into_iter().try_fold(keyring, |keyring, uri| {
            if seen.contains(&uri) {
                return Ok(keyring);
            }
            seen.push(uri.clone());
            Ok(keyring.decrypt(self.provider(&uri, &self.passphrase)?, uri))
        })
    }

    fn keys_or_passphrase(&self, named: &[String]) -> Result<Vec<KeyUri>> {
        let keys = self.config.encrypt_keys(named)?;
        Ok(if keys.is_empty() { vec![KeyUri::passphrase()] } else { keys })
    }

    fn provider(
        &self,
        uri: &KeyUri,
        passphrase: &Arc<UnlockedOnUse<PassphraseProvider>>,
    ) -> Result<Arc<dyn KeyProvider>> {
        match uri.scheme() {
            "passphrase" => Ok(Arc::clone(passphrase) as _),
            "local" => Ok(self.keystore_on_use()? as _),
            scheme => {
                Err(CliError::usage(format!("this envctl has no provider for {scheme}: keys, such as {uri}"))
                    .hint("it knows local: and passphrase:"))
            }
        }
    }

    fn keystore_on_use(&self) -> Result<Arc<UnlockedOnUse<Keystore>>> {
        if let Some(keystore) = self.keystore.get() {
            return Ok(Arc::clone(keystore));
        }
        let path = self.config.keystore()?;
        let id = keystore_id(&path)?;
        let passphrases = Arc::clone(&self.passphrases);
        let unlock = move || open_keystore(&path, &passphrases);
        let keystore = UnlockedOnUse {
            name: "local",
            keystore: Some(id),
            unlock: Box::new(unlock),
            provider: OnceLock::new(),
        };
        Ok(Arc::clone(self.keystore.get_or_init(|| Arc::new(keystore))))
    }

    /// The keystore, unlocked.
    pub(crate) fn keystore(&self) -> Result<Keystore> {
        let path = self.config.keystore()?;
        keystore_id(&path)?;
        open_keystore(&path, &self.passphrases)
    }
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

fn passphrase_provider(
    passphrases: &Arc<Passphrases>,
    read: fn(&Passphrases) -> Result<Passphrase>,
) -> Arc<UnlockedOnUse<PassphraseProvider>> {
    let passphrases = Arc::clone(passphrases);
    Arc::new(UnlockedOnUse {
        name: "passphrase",
        keystore: None,
        unlock: Box::new(move || read(&passphrases).map(PassphraseProvider::new)),
        provider: OnceLock::new(),
    })
}

/// A provider that is unlocked at its first use. What went wrong then is told
/// again at each use: nobody is asked twice.
struct UnlockedOnUse<P> {
    name: &'static str,
    /// The id of the keystore, to tell its keys from those of another.
    keystore: Option<String>,
    unlock: Box<dyn Fn() -> Result<P> + Send + Sync>,
    provider: OnceLock<std::result::Result<P, (ProviderErrorKind, String)>>,
}

impl<P: KeyProvider> UnlockedOnUse<P> {
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

    fn context_binding(&self, _key: &KeyUri) -> ContextBinding {
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
