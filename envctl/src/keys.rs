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
    /// The one that opens. Those that encrypt are made where they are needed.
    passphrase: Arc<UnlockedOnUse<PassphraseProvider>>,
}

impl Providers {
    pub(crate) fn new(global: &Global) -> Result<Self> {
        let config = Arc::new(Config::load(global)?);
        let passphrases = Arc::new(Passphrases::of(global)?);
        let work = global.max_passphrase_work.unwrap_or(PassphraseProvider::DEFAULT_ALLOWED_WORK);
        let passphrase = passphrase_provider(&passphrases, Passphrases::for_decryption, work);
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
        let passphrase = self.new_passphrase(Passphrases::for_encryption);
        let keys = or_passphrase(self.config.encrypt_keys(named)?);
        keys.into_iter().try_fold(Keyring::new(), |keyring, uri| {
            Ok(keyring.encrypt(self.provider(&uri, &passphrase)?, uri))
        })
    }

    /// The keys that may decrypt: those named or the configuration's, and a
    /// passphrase as [`opening`](Self::opening) says.
    pub(crate) fn keyring_to_decrypt(&self, named: &[String]) -> Result<Keyring> {
        self.opening(Keyring::new(), self.config.decrypt_keys(named)?)
    }

    /// The keys to rewrap: from those that may decrypt, and those that encrypt,
    /// to those that encrypt.
    pub(crate) fn keyring_to_rewrap(&self, named: &[String], from: &[String]) -> Result<Keyring> {
        let new = self.new_passphrase(Passphrases::replacement);
        let mut known = self.config.encrypt_keys(named)?;
        let mut keyring = Keyring::new();
        for uri in or_passphrase(known.clone()) {
            keyring = keyring.encrypt(self.provider(&uri, &new)?, uri);
        }
        known.extend(self.config.decrypt_keys(from)?);
        self.opening(keyring, known)
    }

    /// Adds the keys that open. Beside keys that were named or configured, a
    /// passphrase opens only if it is one of them or was given with the call: a
    /// file from strangers must not make anybody type or hash one.
    fn opening(&self, keyring: Keyring, mut keys: Vec<KeyUri>) -> Result<Keyring> {
        if keys.is_empty() || self.passphrases.is_given() {
            keys.push(KeyUri::passphrase());
        }
        let mut seen = Vec::new();
        keys.into_iter().try_fold(keyring, |keyring, uri| {
            if seen.contains(&uri) {
                return Ok(keyring);
            }
            seen.push(uri.clone());
            Ok(keyring.decrypt(self.provider(&uri, &self.passphrase)?, uri))
        })
    }

    fn new_passphrase(
        &self,
        read: fn(&Passphrases) -> Result<Passphrase>,
    ) -> Arc<UnlockedOnUse<PassphraseProvider>> {
        passphrase_provider(&self.passphrases, read, PassphraseProvider::DEFAULT_ALLOWED_WORK)
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

fn or_passphrase(keys: Vec<KeyUri>) -> Vec<KeyUri> {
    if keys.is_empty() { vec![KeyUri::passphrase()] } else { keys }
}

fn passphrase_provider(
    passphrases: &Arc<Passphrases>,
    read: fn(&Passphrases) -> Result<Passphrase>,
    work: u32,
) -> Arc<UnlockedOnUse<PassphraseProvider>> {
    let passphrases = Arc::clone(passphrases);
    let unlock =
        move || read(&passphrases).map(|passphrase| PassphraseProvider::new(passphrase).allow_work(work));
    Arc::new(UnlockedOnUse::new("passphrase", None, Box::new(unlock)))
}
