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
    KeyAdmin, KeyChange, KeyDescription, KeyState, KeyUri, KeyVersionDescription, ProviderError,
    ProviderErrorKind,
    crypto::{DefaultEngine, Key256},
    is_local_key_name,
};

use super::{
    Keystore, LoadedKey, Store,
    document::{Document, KeyRecord, VersionRecord},
    provider::NAME,
};
use crate::{KeystoreError, blocking};

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
///   memory here. Other processes drop them when they reload; backups and older
///   copies of the file keep them.
/// - Descriptions are of what was read or written last in this process.
#[async_trait]
impl KeyAdmin for Keystore {
    async fn create_key(&self, name: &str, pre_active: bool) -> Result<KeyDescription, ProviderError> {
        if !is_local_key_name(name) {
            let message = "a key name has 1 to 64 characters of A–Z a–z 0–9 - _ . and begins with a letter or \
                           digit";
            return Err(ProviderError::new(ProviderErrorKind::Invalid, NAME, &self.store.own_uri, message));
        }
        let key = self.key_uri(name).map_err(|error| {
            ProviderError::new(ProviderErrorKind::Invalid, NAME, &self.store.own_uri, error.to_string())
        })?;
        let name = name.to_owned();
        self.update(&key, move |store, document| {
            if document.keys.contains_key(&name) {
                return refuse(
                    ProviderErrorKind::Invalid,
                    format!("there is a key `{name}` already: rotate it, or take another name"),
                );
            }
            let state = if pre_active { KeyState::PreActive } else { KeyState::Active };
            let first = store.new_version(&name, 1, state)?;
            let record = KeyRecord { state, archived: false, created: first.created, versions: vec![first] };
            document.keys.insert(name, record);
            Ok(())
        })
        .await?;
        self.describe_key(&key).await
    }

    async fn describe_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        self.store.read_loaded(|loaded| {
            let (_, record, keks) = self.store.find(loaded, key)?;
            Ok(describe(record, keks))
        })
    }

    async fn list_keys(&self) -> Result<Vec<KeyDescription>, ProviderError> {
        Ok(self.store.read_loaded(|loaded| {
            let both = loaded.document.keys.values().zip(loaded.keks.values());
            both.map(|(record, keks)| describe(record, keks)).collect()
        }))
    }

    async fn rotate_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        self.change(key, |store, name, record| {
            if record.state != KeyState::Active {
                return refuse(
                    ProviderErrorKind::State,
                    format!("the key `{name}` is {}: only an active key is rotated", record.state),
                );
            }
            let number = u32::try_from(record.versions.len()).ok().and_then(|count| count.checked_add(1));
            let Some(number) = number else {
                return refuse(ProviderErrorKind::Invalid, format!("the key `{name}` has too many versions"));
            };
            let next = store.new_version(name, number, KeyState::Active)?;
            let active = |version: &&mut VersionRecord| version.state == KeyState::Active;
            for version in record.versions.iter_mut().filter(active) {
                version.state = KeyState::Deactivated;
            }
            record.versions.push(next);
            Ok(())
        })
        .await
    }

    async fn change_key(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<KeyDescription, ProviderError> {
        let version = version.map(str::to_owned);
        self.change(key, move |_, name, record| match (version.as_deref(), change) {
            (None, KeyChange::State(next)) => change_whole(name, record, next),
            (Some(version), KeyChange::State(next)) => change_version(name, record, version, next),
            (None, KeyChange::Archive) => archive(name, record),
            (Some(_), KeyChange::Archive) => {
                refuse(ProviderErrorKind::Invalid, "a key is archived as a whole, not one version".into())
            }
            _ => refuse(ProviderErrorKind::Unsupported, "the keystore does not know this change".into()),
        })
        .await
    }
}

impl Keystore {
    async fn change(
        &self,
        key: &KeyUri,
        change: impl FnOnce(&Store, &str, &mut KeyRecord) -> Result<(), KeystoreError> + Send + 'static,
    ) -> Result<KeyDescription, ProviderError> {
        let name = self.store.name_of(key)?.to_owned();
        self.update(key, move |store, document| match document.keys.get_mut(&name) {
            Some(record) => change(store, &name, record),
            None => refuse(ProviderErrorKind::NotFound, format!("the keystore has no key `{name}`")),
        })
        .await?;
        self.describe_key(key).await
    }

    async fn update(
        &self,
        key: &KeyUri,
        change: impl FnOnce(&Store, &mut Document) -> Result<(), KeystoreError> + Send + 'static,
    ) -> Result<(), ProviderError> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let store = Arc::clone(&self.store);
        let updated = blocking::run(move || {
            // Also when nobody waits for this change any more, the next one waits for it.
            let _turn = turn;
            store.update(|document| change(&store, document))
        });
        let updated = updated.await.unwrap_or_else(|panicked| {
            let (path, source) = (self.path().into(), io::Error::other(panicked));
            Err(KeystoreError::Io { action: "change", path, source })
        });
        updated.map_err(|error| error.into_provider_error(key))
    }
}

impl Store {
    fn new_version(&self, name: &str, version: u32, state: KeyState) -> Result<VersionRecord, KeystoreError> {
        let kek = Key256::generate::<DefaultEngine>()?;
        let wrapped_kek = Some(self.keys.seal_kek(&self.id, name, version, &kek)?);
        Ok(VersionRecord { version, state, created: now(), wrapped_kek })
    }
}

fn change_whole(name: &str, record: &mut KeyRecord, next: KeyState) -> Result<(), KeystoreError> {
    check_transition(&format!("the key `{name}`"), record.state, next)?;
    record.state = next;
    match next {
        KeyState::Active => {
            let waiting = |version: &&mut VersionRecord| version.state == KeyState::PreActive;
            for version in record.versions.iter_mut().filter(waiting) {
                version.state = KeyState::Active;
            }
        }
        KeyState::Destroyed => {
            record.archived = false;
            record.versions.iter_mut().for_each(destroy);
        }
        _ => {}
    }
    Ok(())
}

fn change_version(
    name: &str,
    record: &mut KeyRecord,
    number: &str,
    next: KeyState,
) -> Result<(), KeystoreError> {
    let Some(position) = record.position(number) else {
        let last = record.versions.len();
        return refuse(
            ProviderErrorKind::NotFound,
            format!("the key `{name}` has no version of that number: it has 1 to {last}"),
        );
    };
    let is_current = position + 1 == record.versions.len();
    let version = &mut record.versions[position];
    check_transition(&format!("version {number} of `{name}`"), version.state, next)?;
    let leaves_key_without =
        matches!(next, KeyState::Deactivated | KeyState::Compromised | KeyState::Destroyed);
    let may_wrap = matches!(record.state, KeyState::PreActive | KeyState::Active | KeyState::Suspended);
    if is_current && leaves_key_without && may_wrap {
        return refuse(
            ProviderErrorKind::Invalid,
            format!(
                "version {number} is the current one of `{name}`, which is {}: rotate the key first, or change \
                 the whole key to {next}",
                record.state
            ),
        );
    }
    if !is_current && next == KeyState::Active {
        return refuse(
            ProviderErrorKind::Invalid,
            format!(
                "version {number} of `{name}` is not the current one: make it deactivated, so that it unwraps"
            ),
        );
    }
    version.state = next;
    if next == KeyState::Destroyed {
        destroy(version);
    }
    Ok(())
}

fn archive(name: &str, record: &mut KeyRecord) -> Result<(), KeystoreError> {
    if !matches!(record.state, KeyState::Deactivated | KeyState::Compromised) {
        let message = format!(
            "the key `{name}` is {}: only a deactivated or compromised key is archived",
            record.state
        );
        return refuse(ProviderErrorKind::Invalid, message);
    }
    record.archived = true;
    Ok(())
}

fn destroy(version: &mut VersionRecord) {
    version.state = KeyState::Destroyed;
    version.wrapped_kek = None;
}

fn check_transition(what: &str, from: KeyState, to: KeyState) -> Result<(), KeystoreError> {
    if from.may_become(to) {
        return Ok(());
    }
    let next: Vec<_> = KeyState::ALL.into_iter().filter(|next| from.may_become(*next)).collect();
    let next = match next.as_slice() {
        [] => "it stays so".into(),
        next => {
            format!("it may become {}", next.iter().map(|next| next.name()).collect::<Vec<_>>().join(", "))
        }
    };
    refuse(ProviderErrorKind::Invalid, format!("{what} is {from} and cannot become {to}: {next}"))
}

fn describe(record: &KeyRecord, keks: &LoadedKey) -> KeyDescription {
    let version = |version: &VersionRecord| {
        KeyVersionDescription::new(version.version.to_string(), version.state, Some(version.created))
    };
    let versions = record.versions.iter().map(version).collect();
    KeyDescription::new(keks.uri.clone(), record.state, record.archived, versions)
}

fn refuse<T>(kind: ProviderErrorKind, message: String) -> Result<T, KeystoreError> {
    Err(KeystoreError::Refused { kind, message })
}

/// Seconds since 1970. A clock before that says nothing.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
