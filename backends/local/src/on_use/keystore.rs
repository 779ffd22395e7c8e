//! [`KeystoreOnUse`]: a keystore that is unlocked when one of its keys is used.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use envelope_files::secret::SecretSource;
use envelope_sdk::{
    ContextBinding, Dek, FullContext, KeyAdmin, KeyChange, KeyDescription, KeyProvider, KeyUri, NewKey,
    ProviderError, ProviderErrorKind, ProviderIdentity, WrappedDek,
    admin::{AutoRotation, KeyPage, RotationStatus},
    crowd::Crowd,
    printable,
    provider::unwrap_one_by_one,
    secret::{Prompt, Secrets},
};

use super::{Failure, OnUse, Unread, given, passphrase};
use crate::{
    Keystore, KeystoreError, NAME, Passphrase,
    keystore::{check_new, full_uri, name_in},
};

/// A keystore that is opened when one of its keys is first used or managed.
///
/// Its id is known before, without a passphrase: so it can tell which keys are
/// its own, and a file for other keys asks nobody for anything. The id in the file
/// is not authenticated before; if it is another one when the keystore is opened,
/// that fails.
///
/// # Where the passphrase comes from
///
/// From the first of these that there is:
///
/// 1. the secret `keystore-passphrase`, if it was given;
/// 2. a file, or another source ([`new_with`](Self::new_with));
/// 3. the secret `passphrase`, if it was given;
/// 4. a person, who is asked for `keystore-passphrase` once.
///
/// # What goes wrong
///
/// A wrong passphrase, one that is refused (a person or the call gave it empty, or longer than
/// 4096 bytes), and that there is none ([`SecretError`](envelope_sdk::secret::SecretError) of kind `Invalid`) are told
/// again at each use: nothing of that is tried again. Whatever else goes wrong is
/// told to those who waited, and tried again at the next use: the keystore's file or
/// that of the passphrase cannot be read or is not as it must be, there is no memory, another key store that
/// holds the secret does not answer. Nobody is asked for a passphrase again that was
/// typed before, unless the file has another one since.
///
/// No error of unlocking is [`Unauthentic`](envelope_sdk::ProviderErrorKind::Unauthentic),
/// which is said of envelopes: a wrong passphrase, or a keystore that was changed, is
/// [`AccessDenied`](envelope_sdk::ProviderErrorKind::AccessDenied), and the
/// [`KeystoreError`] is its source.
///
/// # Several processes
///
/// Once it is open, the file is read again, on a thread of its own, by
/// [`resolve`](KeyProvider::resolve) and before every administrative answer
/// (descriptions, the list, dry runs and changes). Wrapping and unwrapping use what was
/// read last. So **that another process suspended, rotated or destroyed a key is noticed
/// when this process next resolves or manages keys, and not before.** A service calls
/// [`Keyring::resolve`](envelope_sdk::Keyring::resolve) as often as it wants to learn of that, on a
/// timer or on a signal. Encrypting does not read the file again, nor
/// does decrypting where a key fits, by a new keyring either. A file that must not be read (it was changed, went back, or is another
/// keystore now) is the error of that call, and what was loaded before stays in use.
///
/// # Blocking
///
/// [`new`](Self::new) reads the file. Asking, Argon2id and whatever else blocks is
/// done on a thread of its own.
pub struct KeystoreOnUse {
    path: PathBuf,
    id: String,
    keystore: OnUse<Keystore>,
    refreshing: Crowd<Result<(), ProviderError>>,
}

impl KeystoreOnUse {
    /// The name of the secret that is asked for.
    pub const SECRET: &'static str = "keystore-passphrase";

    /// The keystore at `path`, whose passphrase `secrets` know.
    ///
    /// # Errors
    ///
    /// [`KeystoreError`] as from [`Keystore::read_id`]: there is no such file, it
    /// is no keystore, or others may read or write it.
    pub fn new(path: impl Into<PathBuf>, secrets: Arc<dyn Secrets>) -> Result<Self, KeystoreError> {
        Self::open(path.into(), secrets, None)
    }

    /// As [`new`](Self::new), with a source of the passphrase for when it was not
    /// given: a file, for a service.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn new_with(
        path: impl Into<PathBuf>,
        secrets: Arc<dyn Secrets>,
        source: SecretSource,
    ) -> Result<Self, KeystoreError> {
        Self::open(path.into(), secrets, Some(source))
    }

    /// The id of the keystore, which is not authenticated before it is opened.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The file, as it was named.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The keystore, opened.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] about no key: there is no passphrase, it is wrong, or the
    /// keystore does not open. A [`KeystoreError`] is among its sources if there
    /// was one.
    pub async fn opened(&self) -> Result<Arc<Keystore>, ProviderError> {
        self.keystore.get().await
    }

    fn open(
        path: PathBuf,
        secrets: Arc<dyn Secrets>,
        source: Option<SecretSource>,
    ) -> Result<Self, KeystoreError> {
        let id = Keystore::read_id(&path)?;
        // A process that changes its working directory keeps its keystore.
        let absolute = std::path::absolute(&path).map_err(|source| KeystoreError::Io {
            action: "find",
            path: path.clone(),
            source,
        })?;
        let (named, id_in_file) = (path.clone(), id.clone());
        let typed = Mutex::default();
        let locked = Locked { named, absolute, id: id_in_file, secrets, source, typed };
        let keystore = OnUse::new(NAME, move || locked.unlock());
        Ok(Self { path, id, keystore, refreshing: Crowd::default() })
    }

    /// The keystore, to use `key` of it. A key of another one asks nobody.
    async fn with(&self, key: &KeyUri) -> Result<Arc<Keystore>, ProviderError> {
        name_in(&self.id, key)?;
        self.opened().await.map_err(|error| error.about(key))
    }

    /// The keystore as it stands in the file now.
    async fn now(&self) -> Result<Arc<Keystore>, ProviderError> {
        match self.keystore.unlocked() {
            None => self.opened().await,
            Some(keystore) => {
                self.refresh(&keystore).await?;
                Ok(keystore)
            }
        }
    }

    /// Reads the file once for all who ask at a time: it may hold many keys.
    async fn refresh(&self, keystore: &Arc<Keystore>) -> Result<(), ProviderError> {
        let read = || {
            let keystore = Arc::clone(keystore);
            async move { keystore.refresh().await.map_err(ProviderError::from) }
        };
        self.refreshing.join_next(read).await.unwrap_or_else(|panicked| {
            let message = "the keystore was not read again because of a panic";
            Err(ProviderError::without_key(ProviderErrorKind::Other, NAME, message).with_source(panicked))
        })
    }
}

/// A keystore that was not opened yet.
struct Locked {
    named: PathBuf,
    absolute: PathBuf,
    id: String,
    secrets: Arc<dyn Secrets>,
    source: Option<SecretSource>,
    /// What a person typed and was not tried to its end: nobody types twice because a
    /// disk or memory failed.
    typed: Mutex<Option<Passphrase>>,
}

impl Locked {
    fn unlock(&self) -> Result<Keystore, Failure> {
        // Before anybody types.
        self.check_id(&Keystore::read_id(&self.absolute)?)?;
        let keystore = match self.passphrase_at_hand()? {
            Some(passphrase) => Keystore::open(&self.absolute, &passphrase)?,
            None => self.open_with_a_person()?,
        };
        self.check_id(keystore.id())?;
        Ok(keystore)
    }

    fn check_id(&self, found: &str) -> Result<(), KeystoreError> {
        if found == self.id {
            return Ok(());
        }
        let (path, expected) = (self.absolute.clone(), self.id.clone());
        Err(KeystoreError::OtherKeystore { path, expected, found: found.into() })
    }

    fn passphrase_at_hand(&self) -> Result<Option<Passphrase>, Failure> {
        if let Some(passphrase) = given(&*self.secrets, KeystoreOnUse::SECRET)? {
            return Ok(Some(passphrase));
        }
        // The keystore's own, before one that may be for something else.
        if let Some(source) = &self.source {
            let secret = source.read().map_err(Unread::Source)?;
            // It may hold another one when it is read again.
            return Ok(Some(Passphrase::new(secret.to_string()).map_err(Unread::Unfit)?));
        }
        given(&*self.secrets, super::PassphraseOnUse::SECRET)
    }

    fn open_with_a_person(&self) -> Result<Keystore, Failure> {
        let mut typed = self.typed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(passphrase) = typed.take() {
            match self.open_by(passphrase, &mut typed) {
                // It may have been right when it was typed.
                Err(KeystoreError::WrongPassphrase { .. }) => {}
                opened => return Ok(opened?),
            }
        }
        let text = format!("Passphrase of the keystore {}", printable::path(&self.named));
        let asked = self.secrets.ask(KeystoreOnUse::SECRET, &Prompt::once(&text))?;
        Ok(self.open_by(passphrase(asked)?, &mut typed)?)
    }

    /// Keeps the passphrase if it is not known whether it is right.
    fn open_by(
        &self,
        passphrase: Passphrase,
        typed: &mut Option<Passphrase>,
    ) -> Result<Keystore, KeystoreError> {
        let opened = Keystore::open(&self.absolute, &passphrase);
        if !matches!(opened, Ok(_) | Err(KeystoreError::WrongPassphrase { .. })) {
            *typed = Some(passphrase);
        }
        opened
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl KeyProvider for KeystoreOnUse {
    fn name(&self) -> &'static str {
        NAME
    }

    /// None, as of every keystore: it rewraps nothing by itself.
    fn identity(&self) -> Option<ProviderIdentity> {
        None
    }

    /// `local://ID/NAME` for `local:NAME`. Reads the file again if the keystore is
    /// open, so that [`Keyring::resolve`](envelope_sdk::Keyring::resolve) is how a service learns of what other
    /// processes changed; asks nobody for a passphrase.
    async fn resolve(&self, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        let full = full_uri(&self.id, key)?;
        if let (Some(keystore), Ok(_)) = (self.keystore.unlocked(), name_in(&self.id, key)) {
            self.refresh(&keystore).await.map_err(|error| error.about(key))?;
        }
        Ok(full)
    }

    fn context_binding(&self, _wrapped: &WrappedDek) -> ContextBinding {
        ContextBinding::Provider
    }

    /// Whether `configured` means `recipient` by its id alone, so that nothing is read for that.
    fn is_same_key(&self, configured: &KeyUri, recipient: &KeyUri) -> bool {
        configured == recipient || full_uri(&self.id, configured).is_ok_and(|full| full == *recipient)
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        self.with(key).await?.wrap_dek(key, dek, context).await
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        self.with(wrapped.key_uri()).await?.unwrap_dek(wrapped, context).await
    }

    async fn unwrap_deks(&self, wraps: &[(&WrappedDek, &FullContext)]) -> Vec<Result<Dek, ProviderError>> {
        unwrap_one_by_one(self, wraps).await
    }

    /// A keystore keeps no DEK.
    fn refuted(&self, _wrapped: &WrappedDek, _context: &FullContext) {}

    fn binding_of_new_wraps(&self, _key: &KeyUri) -> Option<ContextBinding> {
        Some(ContextBinding::Provider)
    }

    /// For who types its passphrase.
    fn waits_for_a_person(&self, _key: &KeyUri) -> bool {
        true
    }

    fn generates_deks(&self, _key: &KeyUri) -> bool {
        false
    }

    async fn generate_dek(
        &self,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<(Dek, WrappedDek), ProviderError> {
        self.with(key).await?.generate_dek(key, context).await
    }

    async fn rewrap_dek(
        &self,
        _wrapped: &WrappedDek,
        _key: &KeyUri,
        _context: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        Ok(None)
    }
}

/// What is wrong with a call by itself is said before anybody types a passphrase.
#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl KeyAdmin for KeystoreOnUse {
    fn provider(&self) -> &'static str {
        NAME
    }

    async fn create_key(&self, new: &NewKey) -> Result<KeyDescription, ProviderError> {
        check_new(new)?;
        self.opened().await?.create_key(new).await
    }

    async fn check_new_key(&self, new: &NewKey) -> Result<(), ProviderError> {
        check_new(new)?;
        self.opened().await?.check_new_key(new).await
    }

    async fn describe_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        name_in(&self.id, key)?;
        self.now().await.map_err(|error| error.about(key))?.describe_key(key).await
    }

    async fn list_keys(&self, page: Option<&str>) -> Result<KeyPage, ProviderError> {
        self.now().await?.list_keys(page).await
    }

    async fn rotate_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        self.with(key).await?.rotate_key(key).await
    }

    async fn check_rotation(&self, key: &KeyUri) -> Result<(), ProviderError> {
        self.with(key).await?.check_rotation(key).await
    }

    async fn change_key(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<KeyDescription, ProviderError> {
        self.with(key).await?.change_key(key, version, change).await
    }

    async fn check_change(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<(), ProviderError> {
        self.with(key).await?.check_change(key, version, change).await
    }

    async fn set_not_after(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        not_after: Option<u64>,
    ) -> Result<KeyDescription, ProviderError> {
        self.with(key).await?.set_not_after(key, version, not_after).await
    }

    async fn set_rotation(&self, key: &KeyUri, rotation: AutoRotation) -> Result<(), ProviderError> {
        Cannot.set_rotation(key, rotation).await
    }

    async fn rotation_status(&self, key: &KeyUri) -> Result<RotationStatus, ProviderError> {
        Cannot.rotation_status(key).await
    }

    async fn set_alias(&self, alias: &str, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        Cannot.set_alias(alias, key).await
    }

    async fn check_set_not_after(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        not_after: Option<u64>,
    ) -> Result<(), ProviderError> {
        self.with(key).await?.check_set_not_after(key, version, not_after).await
    }

    async fn check_set_rotation(&self, key: &KeyUri, rotation: AutoRotation) -> Result<(), ProviderError> {
        Cannot.check_set_rotation(key, rotation).await
    }

    async fn check_set_alias(&self, alias: &str, key: &KeyUri) -> Result<(), ProviderError> {
        Cannot.check_set_alias(alias, key).await
    }

    async fn check_restore_key(&self, key: &KeyUri) -> Result<(), ProviderError> {
        Cannot.check_restore_key(key).await
    }

    async fn restore_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        Cannot.restore_key(key).await
    }
}

/// Refuses, in the words of the core, what no keystore can: a passphrase would
/// change nothing.
struct Cannot;

impl KeyAdmin for Cannot {
    fn provider(&self) -> &'static str {
        NAME
    }
}
