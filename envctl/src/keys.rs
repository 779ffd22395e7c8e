//! From key URIs to a keyring. Passphrases are asked for, and the keystore is
//! unlocked, only when a key is really used, and once per run.

use std::sync::Arc;

use envelope_local::{Keystore, Passphrase, PassphraseProvider};
use envelope_sdk::{KeyProvider, KeyUri, Keyring};

use crate::{
    cli::Global,
    config::Config,
    error::Result,
    passphrase::Passphrases,
    providers::{Backends, UnlockedOnUse},
};

/// The providers of one run.
pub(crate) struct Providers {
    config: Arc<Config>,
    passphrases: Arc<Passphrases>,
    backends: Backends,
    passphrase: Arc<UnlockedOnUse<PassphraseProvider>>,
}

impl Providers {
    pub(crate) fn new(global: &Global) -> Result<Self> {
        let config = Arc::new(Config::load(global)?);
        let passphrases = Arc::new(Passphrases::of(global)?);
        let passphrase = passphrase_provider(&passphrases, Passphrases::for_decryption);
        let backends = Backends::new(&config, &passphrases);
        Ok(Self { config, passphrases, backends, passphrase })
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
            _ => self.backends.of(uri)?.provider(),
        }
    }

    /// The keystore, unlocked.
    pub(crate) fn keystore(&self) -> Result<Arc<Keystore>> {
        self.backends.local().keystore()
    }

    pub(crate) fn backends(&self) -> &Backends {
        &self.backends
    }
}

fn passphrase_provider(
    passphrases: &Arc<Passphrases>,
    read: fn(&Passphrases) -> Result<Passphrase>,
) -> Arc<UnlockedOnUse<PassphraseProvider>> {
    let passphrases = Arc::clone(passphrases);
    let unlock = move || read(&passphrases).map(PassphraseProvider::new);
    Arc::new(UnlockedOnUse::new("passphrase", None, Box::new(unlock)))
}
