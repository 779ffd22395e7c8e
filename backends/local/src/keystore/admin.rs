//! Creating keys and moving them through their life. Every change is one
//! [`Store::update`]: locked, on the file as it is now, all or nothing, and on a
//! thread that may block.

use std::{
    io,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use envelope_sdk::{
    KeyAdmin, KeyChange, KeyDescription, KeyState, KeyUri, NewKey, ProviderError, ProviderErrorKind,
    admin::KeyPage,
    crypto::{DefaultEngine, Key256},
    key_uri::local::LocalKey,
};

use super::{
    Keystore, Store, changes,
    document::{Document, KeyRecord, VersionRecord},
    provider::name_in,
};
use crate::{KeystoreError, NAME, blocking};

/// Keys of a keystore.
///
/// - A name is taken for good, also by a destroyed key: a key URI never means
///   two keys.
/// - A pre-active key has a pre-active version, which is activated with it.
/// - The **current** version of a key (its last) can be suspended. It cannot be
///   deactivated, compromised or destroyed on its own while the key may still
///   wrap: rotate the key first, so that another version is current. For the
///   same reason an older version never becomes active again.
/// - Destroying erases the wrapped KEKs from the file and drops them from
///   memory here. Other processes drop them when they read the file again; backups
///   and older copies of the file keep them.
/// - Each version may have an end of its cryptoperiod
///   ([`not_after`](envelope_sdk::KeyVersionDescription::not_after)), which is
///   told and refuses nothing. One that a rotation adds has none until it is set, and
///   one that is destroyed gets none.
/// - A change that fails was not made, unless [`KeystoreError::Unsynced`] is the source of the error.
/// - Dry runs read the file first, as the operations do. Descriptions and the list
///   are of what was read or written last in this process.
#[async_trait]
impl KeyAdmin for Keystore {
    fn provider(&self) -> &'static str {
        NAME
    }

    async fn create_key(&self, new: &NewKey) -> Result<KeyDescription, ProviderError> {
        changes::check_new(new)?;
        let key = self.uri_of_new(new)?;
        let new = new.clone();
        self.update(move |store, document| {
            changes::check_vacant(document, &new.name)?;
            let mut first = store.new_version(&new.name, 1, new.state)?;
            first.not_after = new.not_after;
            let (state, created) = (new.state, first.created);
            let record = KeyRecord { state, archived: false, created, versions: vec![first] };
            document.keys.insert(new.name, record);
            Ok(())
        })
        .await?;
        self.describe_key(&key).await
    }

    async fn check_new_key(&self, new: &NewKey) -> Result<(), ProviderError> {
        changes::check_new(new)?;
        self.refresh().await?;
        Ok(self.store.read_loaded(|loaded| changes::check_vacant(&loaded.document, &new.name))?)
    }

    async fn describe_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        self.store.read_loaded(|loaded| {
            let (_, record, keks) = self.store.find(loaded, key)?;
            Ok(changes::describe(&keks.uri, record))
        })
    }

    async fn list_keys(&self, page: Option<&str>) -> Result<KeyPage, ProviderError> {
        if page.is_some() {
            let message = "the list of a keystore has one page: begin anew";
            return Err(ProviderError::without_key(ProviderErrorKind::Invalid, NAME, message));
        }
        let keys = self.store.read_loaded(|loaded| {
            let both = loaded.document.keys.values().zip(loaded.keks.values());
            both.map(|(record, keks)| changes::describe(&keks.uri, record)).collect()
        });
        Ok(KeyPage::new(keys, None))
    }

    async fn rotate_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        self.change(key, |store, key, record| {
            let number = changes::next_version(record)?;
            let next = store.new_version(key.name, number, KeyState::Active)?;
            changes::rotate(record, next);
            Ok(())
        })
        .await
    }

    async fn check_rotation(&self, key: &KeyUri) -> Result<(), ProviderError> {
        self.check(key, |_, record| changes::next_version(record).map(drop)).await
    }

    async fn change_key(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<KeyDescription, ProviderError> {
        let version = version.map(str::to_owned);
        self.change(key, move |_, key, record| changes::change(key.uri, record, version.as_deref(), change))
            .await
    }

    async fn check_change(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<(), ProviderError> {
        self.check(key, |uri, record| changes::change(uri, &mut record.clone(), version, change)).await
    }

    async fn set_not_after(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        not_after: Option<u64>,
    ) -> Result<KeyDescription, ProviderError> {
        let version = version.map(str::to_owned);
        self.change(key, move |_, _, record| changes::set_not_after(record, version.as_deref(), not_after))
            .await
    }

    async fn check_set_not_after(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        not_after: Option<u64>,
    ) -> Result<(), ProviderError> {
        self.check(key, |_, record| changes::set_not_after(&mut record.clone(), version, not_after)).await
    }
}

/// A key of this keystore that is being changed.
struct Own<'k> {
    uri: &'k KeyUri,
    name: &'k str,
}

impl Keystore {
    /// [`reload`](Self::reload), on a thread that may block.
    pub(crate) async fn refresh(&self) -> Result<(), KeystoreError> {
        let store = Arc::clone(&self.store);
        let reloaded = blocking::run(move || store.reload()).await;
        reloaded.unwrap_or_else(|panicked| Err(self.interrupted("read", panicked)))
    }

    fn interrupted(&self, action: &'static str, panicked: blocking::Panicked) -> KeystoreError {
        KeystoreError::Io { action, path: self.path().into(), source: io::Error::other(panicked) }
    }

    fn uri_of_new(&self, new: &NewKey) -> Result<KeyUri, ProviderError> {
        self.key_uri(&new.name)
            .map_err(|error| ProviderError::without_key(ProviderErrorKind::Invalid, NAME, error.to_string()))
    }

    /// Asks `check` about a key as it stands in the file now.
    async fn check(
        &self,
        key: &KeyUri,
        check: impl FnOnce(&KeyUri, &KeyRecord) -> Result<(), KeystoreError>,
    ) -> Result<(), ProviderError> {
        name_in(self.id(), key)?;
        self.refresh().await.map_err(|error| ProviderError::from(error).about(key))?;
        self.store.read_loaded(|loaded| {
            let (_, record, keks) = self.store.find(loaded, key)?;
            check(&keks.uri, record).map_err(|error| ProviderError::from(error).about(key))
        })
    }

    async fn change(
        &self,
        key: &KeyUri,
        change: impl FnOnce(&Store, &Own<'_>, &mut KeyRecord) -> Result<(), KeystoreError> + Send + 'static,
    ) -> Result<KeyDescription, ProviderError> {
        let name = name_in(self.id(), key)?.to_owned();
        let uri = LocalKey::uri(self.id(), &name)
            .map_err(|error| ProviderError::new(ProviderErrorKind::Invalid, NAME, key, error.to_string()))?;
        let updated = self.update(move |store, document| match document.keys.get_mut(&name) {
            Some(record) => change(store, &Own { uri: &uri, name: &name }, record),
            None => changes::refuse(ProviderErrorKind::NotFound, store.has_no_key(&name)),
        });
        updated.await.map_err(|error| ProviderError::from(error).about(key))?;
        self.describe_key(key).await
    }

    async fn update(
        &self,
        change: impl FnOnce(&Store, &mut Document) -> Result<(), KeystoreError> + Send + 'static,
    ) -> Result<(), KeystoreError> {
        let store = Arc::clone(&self.store);
        let updated = self.turns.run(|| None, move || store.update(|document| change(&store, document)));
        updated.await.unwrap_or_else(|panicked| Err(self.interrupted("change", panicked)))
    }
}

impl Store {
    fn new_version(&self, name: &str, version: u32, state: KeyState) -> Result<VersionRecord, KeystoreError> {
        let kek = Key256::generate::<DefaultEngine>()?;
        let wrapped_kek = Some(self.keys.seal_kek(&self.id, name, version, &kek)?);
        Ok(VersionRecord { version, state, created: now(), not_after: None, wrapped_kek })
    }
}

/// Seconds since 1970. A clock before that says nothing.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
