//! The keystore: KEKs in one file under a passphrase.
//!
//! ```text
//! passphrase ── Argon2id ──▶ root key ── Cobblestone-256 ──▶ keystore key
//!   keystore key ── HKDF-Expand-SHA-256 ──▶ MAC key        (HMAC-SHA-256 over the whole file)
//!                                      └──▶ wrapping key   ── XAES-256-GCM ──▶ each KEK version
//! ```
//!
//! A new passphrase therefore wraps one key anew and touches no KEK.

mod admin;
mod changes;
mod document;
mod file;
mod loaded;
mod provider;
mod sealing;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use envelope_sdk::{
    KeyDescription, KeyUri, KeyUriError,
    crypto::{DefaultEngine, Engine, Key256},
    key_uri::local::LocalKey,
};

use self::{
    document::{Argon2Record, Bytes, Document},
    file::Place,
    loaded::{Loaded, Mark},
    sealing::KeystoreKeys,
};
use crate::{Argon2Params, KeystoreError, Passphrase, argon2id, blocking::InTurn};

pub(crate) use {
    changes::check_new,
    file::MAX_FILE_LEN,
    provider::{full_uri, name_in},
};

/// A keystore file, opened: its keys wrap and unwrap DEKs
/// ([`KeyProvider`](envelope_sdk::KeyProvider)) and are managed
/// ([`KeyAdmin`](envelope_sdk::KeyAdmin)) until it is dropped.
///
/// Share one between threads in an `Arc`. A wrap or unwrap takes neither disk
/// nor Argon2id, about 2 µs: the KEKs are in memory, expanded.
///
/// # Several processes
///
/// Each change locks `PATH.lock`, reads the file again, changes that and
/// replaces the file; so changes of other processes are kept, also after one
/// of them changed the passphrase. A dry run (`check_…` of
/// [`KeyAdmin`](envelope_sdk::KeyAdmin)) reads the file too. Wrapping, unwrapping
/// and describing use what was read last: at the opening, a dry run, a change, also
/// one that was refused, or a [`reload`](Self::reload).
///
/// So a rotation, suspension or destruction by another process is **noticed at the
/// next of these and not before**: until then, this process wraps and unwraps as if it had
/// not been. A service that runs for long calls `reload` as often as it wants to learn
/// of that. A [`KeystoreOnUse`](crate::KeystoreOnUse) has a handle for it that
/// needs no `Keystore`.
///
/// # Blocking
///
/// The functions of [`Keystore`] itself that open, create, reload or change the
/// passphrase block the calling thread: some tenths of a second of Argon2id and
/// 64 MiB, a write and sync of the file, and the wait for another process that
/// changes it. In an asynchronous service, call them from `spawn_blocking`. The
/// changes and dry runs of [`KeyAdmin`](envelope_sdk::KeyAdmin) do the same on a
/// thread of their own, changes one after the other; a change whose future was dropped is done to
/// its end or not at all. Wrapping and unwrapping are fine anywhere.
///
/// # What the file does not protect against
///
/// Somebody who can write it may put an older copy in its place, and a process
/// that starts later cannot tell; one that runs refuses it
/// ([`KeystoreError::RolledBack`]). An older copy also still opens with the
/// passphrase of its time.
pub struct Keystore {
    store: Arc<Store>,
    /// One change after the other.
    turns: InTurn,
}

/// An open keystore, as the thread that changes it shares it.
struct Store {
    place: Place,
    id: String,
    keys: KeystoreKeys,
    loaded: RwLock<Loaded>,
}

impl Keystore {
    /// Creates a keystore without keys at `path`, protected by `passphrase`
    /// with [`Argon2Params::RECOMMENDED`].
    ///
    /// The file gets mode 0600, folders that are missing 0700. A file that is
    /// there already stays as it is.
    ///
    /// # Errors
    ///
    /// [`KeystoreError`]; [`AlreadyExists`](KeystoreError::AlreadyExists) when
    /// there is a file, [`Unsynced`](KeystoreError::Unsynced) when it was made and may not last.
    pub fn create(path: impl AsRef<Path>, passphrase: &Passphrase) -> Result<Self, KeystoreError> {
        Self::create_with(path, passphrase, Argon2Params::RECOMMENDED)
    }

    /// Creates a keystore as [`create`](Self::create) does, with other Argon2id
    /// parameters. Cheap ones suit a passphrase that is itself random, and tests.
    ///
    /// # Errors
    ///
    /// [`KeystoreError`]; [`Argon2`](KeystoreError::Argon2) when the parameters
    /// are outside the bounds of [`Argon2Params::check`].
    pub fn create_with(
        path: impl AsRef<Path>,
        passphrase: &Passphrase,
        params: Argon2Params,
    ) -> Result<Self, KeystoreError> {
        let place = Place::new(path.as_ref())?;
        place.check_vacant()?;
        let id = random_id()?;
        let keys = KeystoreKeys::generate()?;
        let (argon2id, keystore_key) = protect(place.path(), &keys, &id, passphrase, params)?;
        let mut document = Document::new(id, argon2id, keystore_key);
        let bytes = document.seal(place.path(), &keys)?;
        place.create_folder()?;
        place.lock()?.create(&bytes)?;
        Store::of(place, keys, document).map(Self::of)
    }

    /// Opens the keystore at `path`.
    ///
    /// # Errors
    ///
    /// [`KeystoreError`]; the file must be a regular one of this user with mode
    /// 0600 or less, exactly as this library wrote it.
    pub fn open(path: impl AsRef<Path>, passphrase: &Passphrase) -> Result<Self, KeystoreError> {
        let place = Place::new(path.as_ref())?;
        let mut document = Document::parse(place.path(), &place.read()?)?;
        let Argon2Record { salt, .. } = &document.argon2id;
        let root = derive_root(place.path(), passphrase, document.argon2id.params(), &salt.0)?;
        let keys = KeystoreKeys::open(&root, &document.id, &document.argon2id, &document.keystore_key)
            .map_err(|_| KeystoreError::WrongPassphrase { path: place.path().into() })?;
        document.verify(place.path(), &keys)?;
        Store::of(place, keys, document).map(Self::of)
    }

    /// The id of the keystore at `path`, without a passphrase, and therefore
    /// **not authenticated**: good for finding the right file, not for deciding
    /// whom to trust. The file is checked as in [`open`](Self::open), up to
    /// where the passphrase is needed.
    ///
    /// # Errors
    ///
    /// [`KeystoreError`].
    pub fn read_id(path: impl AsRef<Path>) -> Result<String, KeystoreError> {
        let place = Place::new(path.as_ref())?;
        Document::parse(place.path(), &place.read()?).map(|document| document.id)
    }

    /// The names of the keys of the keystore at `path`, ascending by their bytes,
    /// without a passphrase, and therefore **not authenticated**: as
    /// [`read_id`](Self::read_id).
    ///
    /// # Errors
    ///
    /// [`KeystoreError`].
    pub fn read_names(path: impl AsRef<Path>) -> Result<Vec<String>, KeystoreError> {
        let place = Place::new(path.as_ref())?;
        let document = Document::parse(place.path(), &place.read()?)?;
        Ok(document.keys.into_keys().collect())
    }

    /// The keys of the keystore at `path`, ascending by the bytes of their names, with their states and versions,
    /// without a passphrase, and therefore **not authenticated**: as [`read_id`](Self::read_id).
    ///
    /// # Errors
    ///
    /// [`KeystoreError`].
    pub fn read_keys(path: impl AsRef<Path>) -> Result<Vec<KeyDescription>, KeystoreError> {
        let place = Place::new(path.as_ref())?;
        let document = Document::parse(place.path(), &place.read()?)?;
        // Each name was checked, so that each has a URI.
        let described = document.keys.iter().filter_map(|(name, record)| {
            LocalKey::uri(&document.id, name).ok().map(|uri| changes::describe(&uri, record))
        });
        Ok(described.collect())
    }

    /// The id of this keystore: 32 hexadecimal digits in lower case, random.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.store.id
    }

    /// The file, as an absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.store.path()
    }

    /// The URI `local://ID/NAME` of a key of this keystore, whether it exists
    /// or not.
    ///
    /// # Errors
    ///
    /// [`KeyUriError`] when no key can have that name: see
    /// [`is_key_name`](envelope_sdk::key_uri::is_key_name).
    pub fn key_uri(&self, name: &str) -> Result<KeyUri, KeyUriError> {
        LocalKey::uri(self.id(), name)
    }

    /// How often the file had been written when it was last read or written
    /// here: 0 when created.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.store.read_loaded(|loaded| loaded.document.generation)
    }

    /// Protects the keystore with another passphrase, with a new salt and the
    /// Argon2id parameters that the file has. No KEK changes.
    ///
    /// Copies of the old file still open with the old passphrase, and hold the
    /// same KEKs. If the old passphrase is known to others, rotate the keys and
    /// rewrap or reencrypt what they protect.
    ///
    /// # Errors
    ///
    /// [`KeystoreError`]; the file is then as it was, but for [`Unsynced`](KeystoreError::Unsynced): the new passphrase
    /// opens it then.
    pub fn change_passphrase(&self, new: &Passphrase) -> Result<(), KeystoreError> {
        // Another process may have raised them.
        self.reload()?;
        self.change_passphrase_with(new, self.store.read_loaded(|loaded| loaded.document.argon2id.params()))
    }

    /// Changes the passphrase as [`change_passphrase`](Self::change_passphrase)
    /// does, and the Argon2id parameters with it.
    ///
    /// # Errors
    ///
    /// [`KeystoreError`]; the file is then as it was, but for [`Unsynced`](KeystoreError::Unsynced): the new passphrase
    /// opens it then.
    pub fn change_passphrase_with(
        &self,
        new: &Passphrase,
        params: Argon2Params,
    ) -> Result<(), KeystoreError> {
        let (argon2id, keystore_key) = protect(self.path(), &self.store.keys, self.id(), new, params)?;
        self.store.update(|document| {
            document.argon2id = argon2id;
            document.keystore_key = keystore_key;
            Ok(())
        })
    }

    /// Reads the file again, to learn of what other processes changed: rotations,
    /// suspensions, keys that were destroyed or made.
    ///
    /// # Errors
    ///
    /// [`KeystoreError`]; what was loaded before stays in use then.
    pub fn reload(&self) -> Result<(), KeystoreError> {
        self.store.reload()
    }

    fn of(store: Store) -> Self {
        Self { store: Arc::new(store), turns: InTurn::default() }
    }
}

impl Store {
    fn path(&self) -> &Path {
        self.place.path()
    }

    fn reload(&self) -> Result<(), KeystoreError> {
        let before = self.read_loaded(Loaded::mark);
        let document = self.accept(&self.place.read()?, before)?;
        self.install_newer(document, before)
    }

    fn of(place: Place, keys: KeystoreKeys, document: Document) -> Result<Self, KeystoreError> {
        let id = document.id.clone();
        let loaded = RwLock::new(Loaded::new(place.path(), &keys, document)?);
        Ok(Self { place, id, keys, loaded })
    }

    /// The one way to change the file: under the lock, on what it holds now.
    fn update<T>(
        &self,
        change: impl FnOnce(&mut Document) -> Result<T, KeystoreError>,
    ) -> Result<T, KeystoreError> {
        let lock = self.place.lock()?;
        let before = self.read_loaded(Loaded::mark);
        let current = self.accept(&lock.read()?, before)?;
        let mut document = current.clone();
        // What others changed is learned of also when this change is refused.
        self.install_newer(current, before)?;
        let outcome = change(&mut document)?;
        document.generation += 1;
        let bytes = document.seal(self.path(), &self.keys)?;
        // Opens every KEK, the new ones too: what cannot be read back is never written.
        let loaded = Loaded::new(self.path(), &self.keys, document)?;
        lock.replace(&bytes)?;
        self.install(loaded);
        Ok(outcome)
    }

    /// The document in `bytes`, if it is this keystore's, authentic, and not
    /// behind what was loaded `before` it was read.
    fn accept(&self, bytes: &[u8], before: Mark) -> Result<Document, KeystoreError> {
        let mut document = Document::parse(self.path(), bytes)?;
        if document.id != self.id {
            let (path, expected) = (self.path().into(), self.id.clone());
            return Err(KeystoreError::OtherKeystore { path, expected, found: document.id });
        }
        document.verify(self.path(), &self.keys)?;
        let found = Mark::of(&document);
        if found.is_behind(before) {
            return Err(KeystoreError::RolledBack {
                path: self.path().into(),
                found: found.generation,
                loaded: before.generation,
            });
        }
        Ok(document)
    }

    /// Loads what was [accepted](Self::accept), unless that is what was loaded `before`.
    fn install_newer(&self, document: Document, before: Mark) -> Result<(), KeystoreError> {
        if Mark::of(&document) != before {
            self.install(Loaded::new(self.path(), &self.keys, document)?);
        }
        Ok(())
    }

    /// Another thread may have installed a later generation meanwhile.
    fn install(&self, new: Loaded) {
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        if new.document.generation >= loaded.document.generation {
            *loaded = new;
        }
    }

    fn read_loaded<T>(&self, read: impl FnOnce(&Loaded) -> T) -> T {
        read(&self.loaded.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Wraps the keystore key under `passphrase` with a fresh salt.
fn protect(
    path: &Path,
    keys: &KeystoreKeys,
    id: &str,
    passphrase: &Passphrase,
    params: Argon2Params,
) -> Result<(Argon2Record, Bytes<{ sealing::SEALED_KEYSTORE_KEY_LEN }>), KeystoreError> {
    let mut salt = [0; argon2id::SALT_LEN];
    DefaultEngine::fill_random(&mut salt)?;
    let root = derive_root(path, passphrase, params, &salt)?;
    let argon2id = Argon2Record::new(params, salt);
    let keystore_key = keys.seal(&root, id, &argon2id)?;
    Ok((argon2id, keystore_key))
}

fn derive_root(
    path: &Path,
    passphrase: &Passphrase,
    params: Argon2Params,
    salt: &[u8; argon2id::SALT_LEN],
) -> Result<Key256, KeystoreError> {
    argon2id::derive(passphrase, params, salt)
        .map_err(|source| KeystoreError::Argon2 { path: PathBuf::from(path), source })
}

fn random_id() -> Result<String, KeystoreError> {
    let mut bytes = [0; 16];
    DefaultEngine::fill_random(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
