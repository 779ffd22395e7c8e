//! [`LocalScheme`]: keys of the keystore, and passphrases.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use envelope_files::secret::SecretSource;
use envelope_sdk::{
    KeyAdmin, KeyProvider, KeyUri, ProviderError, ProviderErrorKind,
    admin::cannot,
    registry::{Purpose, Scheme},
    secret::Secrets,
};

use crate::{
    Keystore, KeystoreError, KeystoreOnUse, LocalSettings, NAME, PassphraseOnUse, PassphraseProvider,
    passphrase_provider,
};

/// Opens keys of the schemes `local` and `passphrase`.
///
/// There is one keystore, opened at its first use and then for all keys, and one
/// passphrase for each [`Purpose`]. That the keystore's file is missing or unsafe is
/// told when a key of it is opened here, before anybody is asked for a passphrase:
/// the source of that error is a [`KeystoreError`](crate::KeystoreError).
///
/// What another process changed in the keystore (it suspended, rotated or destroyed a
/// key) is noticed when [`Keyring::resolve`](envelope_sdk::Keyring::resolve) is called, or keys are managed, and not
/// before: see [`KeystoreOnUse`]. A service calls it as often as it wants to learn of that.
pub struct LocalScheme {
    settings: LocalSettings,
    secrets: Arc<dyn Secrets>,
    keystore: Mutex<Option<Arc<KeystoreOnUse>>>,
    encrypting: OnceLock<Arc<PassphraseOnUse>>,
    decrypting: OnceLock<Arc<PassphraseOnUse>>,
    replacing: OnceLock<Arc<PassphraseOnUse>>,
}

impl LocalScheme {
    /// The keystore of these settings, and passphrases that `secrets` know.
    #[must_use]
    pub fn new(settings: LocalSettings, secrets: Arc<dyn Secrets>) -> Self {
        Self {
            settings,
            secrets,
            keystore: Mutex::default(),
            encrypting: OnceLock::new(),
            decrypting: OnceLock::new(),
            replacing: OnceLock::new(),
        }
    }

    /// The keystore, the same at each call.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] about no key: no keystore is configured, or its file is
    /// missing or unsafe.
    pub fn keystore(&self) -> Result<Arc<KeystoreOnUse>, ProviderError> {
        // Held while the file is read, so that there is never a second one.
        let mut known = self.keystore.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(keystore) = &*known {
            return Ok(Arc::clone(keystore));
        }
        let (path, secrets) = (self.settings.keystore_path()?, Arc::clone(&self.secrets));
        let keystore = match self.settings.keystore_passphrase_file() {
            None => KeystoreOnUse::new(path, secrets),
            Some(file) => KeystoreOnUse::new_with(path, secrets, SecretSource::file(file)),
        };
        Ok(Arc::clone(known.insert(Arc::new(keystore?))))
    }

    /// The passphrase for a purpose, the same at each call.
    #[must_use]
    pub fn passphrase(&self, purpose: Purpose) -> Arc<PassphraseOnUse> {
        let known = match purpose {
            Purpose::Decrypt => &self.decrypting,
            Purpose::Replace => &self.replacing,
            _ => &self.encrypting,
        };
        let work = self.settings.max_passphrase_work.unwrap_or(PassphraseProvider::DEFAULT_ALLOWED_WORK);
        let new = || Arc::new(PassphraseOnUse::new(Arc::clone(&self.secrets), purpose, work));
        Arc::clone(known.get_or_init(new))
    }
}

impl Scheme for LocalScheme {
    fn provider(&self) -> &'static str {
        NAME
    }

    fn schemes(&self) -> &'static [&'static str] {
        &[NAME, passphrase_provider::NAME]
    }

    fn open(&self, key: &KeyUri, purpose: Purpose) -> Result<Arc<dyn KeyProvider>, ProviderError> {
        match key.scheme() {
            NAME => Ok(self.keystore().map_err(|error| error.about(key))?),
            passphrase_provider::NAME => Ok(self.passphrase(purpose)),
            _ => Err(foreign(key)),
        }
    }

    fn key_named(&self, name: &str) -> Result<Option<KeyUri>, ProviderError> {
        // Who has no keystore has no key in it.
        let Ok(path) = self.settings.keystore_path() else { return Ok(None) };
        let names = match Keystore::read_names(path) {
            Ok(names) => names,
            Err(KeystoreError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // The short form, as the operator would write it: it means the keystore that is opened then.
        let is_there = names.iter().any(|known| known == name);
        Ok(if is_there { KeyUri::parse(&format!("{NAME}:{name}")).ok() } else { None })
    }

    fn admin(&self, key: Option<&KeyUri>) -> Result<Arc<dyn KeyAdmin>, ProviderError> {
        match key {
            None => Ok(self.keystore()?),
            Some(key) if key.scheme() == NAME => Ok(self.keystore().map_err(|error| error.about(key))?),
            Some(key) if key.scheme() == passphrase_provider::NAME => {
                Err(cannot(passphrase_provider::NAME, Some(key), "manage a passphrase: rewrap to change it"))
            }
            Some(key) => Err(foreign(key)),
        }
    }
}

fn foreign(key: &KeyUri) -> ProviderError {
    let message = "it is no key of a keystore and no passphrase";
    ProviderError::new(ProviderErrorKind::Unsupported, NAME, key, message)
}
