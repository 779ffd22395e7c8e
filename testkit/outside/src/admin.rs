//! Managing the keys.

use async_trait::async_trait;
use envelope_sdk::{
    KeyAdmin, KeyChange, KeyDescription, KeyState, KeyUri, NewKey, ProviderError,
    ProviderErrorKind::{Invalid, NotFound, State, Unsupported},
    admin::{self, KeyPage, Rotation, RotationStatus},
    lifecycle,
};

use super::{
    ExampleProvider,
    keys::{Key, Keys, Refusal, SCHEME, Version, alias_uri, check_name},
};

impl ExampleProvider {
    pub(crate) fn create(&self, new: &NewKey) -> Result<KeyDescription, ProviderError> {
        let mut keys = self.keys();
        check_new(&keys, new).map_err(without_key)?;
        let mut version = Version::generate(1, new.state).map_err(without_key)?;
        version.not_after = new.not_after;
        let (description, tags) = (new.description.clone(), new.tags.clone());
        let key = Key { state: new.state, archived: false, description, tags, versions: vec![version] };
        keys.keys.entry(new.name.clone()).or_insert(key).describe(&new.name).map_err(without_key)
    }
}

#[async_trait]
impl KeyAdmin for ExampleProvider {
    fn provider(&self) -> &'static str {
        SCHEME
    }

    async fn create_key(&self, new: &NewKey) -> Result<KeyDescription, ProviderError> {
        self.create(new)
    }

    async fn check_new_key(&self, new: &NewKey) -> Result<(), ProviderError> {
        check_new(&self.keys(), new).map_err(without_key)
    }

    async fn describe_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        describe(&self.keys(), key).map_err(Self::about(key))
    }

    /// A page begins after the key that its token names.
    async fn list_keys(&self, page: Option<&str>) -> Result<KeyPage, ProviderError> {
        let keys = self.keys();
        if page.is_some_and(|page| !keys.keys.contains_key(page)) {
            let message = "that is no page of the list: begin with the first one";
            return Err(ProviderError::without_key(Invalid, SCHEME, message));
        }
        let mut rest =
            keys.keys.iter().filter(|(name, _)| page.is_none_or(|page| name.as_str() > page)).peekable();
        let mut listed = Vec::new();
        let mut last = None;
        while let Some((name, key)) = rest.next_if(|_| listed.len() < self.page_len) {
            listed.push(key.describe(name).map_err(without_key)?);
            last = Some(name.clone());
        }
        Ok(KeyPage::new(listed, rest.peek().and(last)))
    }

    async fn rotate_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        let mut keys = self.keys();
        check_rotation(&keys, key).map_err(Self::about(key))?;
        keys.find_mut(key).and_then(Key::rotate).map_err(Self::about(key))?;
        describe(&keys, key).map_err(Self::about(key))
    }

    async fn check_rotation(&self, key: &KeyUri) -> Result<(), ProviderError> {
        check_rotation(&self.keys(), key).map_err(Self::about(key))
    }

    async fn change_key(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<KeyDescription, ProviderError> {
        let mut keys = self.keys();
        check_change(&keys, key, version, change).map_err(Self::about(key))?;
        let found = keys.find_mut(key).map_err(Self::about(key))?;
        match (change, version) {
            (KeyChange::Archive, _) => found.archived = true,
            (KeyChange::State(next), None) => {
                // The first version of a key that is put into use, with it.
                let new = found.versions.iter_mut().filter(|version| version.state == KeyState::PreActive);
                new.for_each(|version| version.state = next);
                found.state = next;
            }
            (KeyChange::State(next), Some(version)) => {
                let version = found.versions.iter_mut().find(|known| known.name() == version);
                let version = version.ok_or_else(|| Self::about(key)(no_such_version()))?;
                version.state = next;
                if next == KeyState::Destroyed {
                    version.material = None;
                }
            }
            // A change of a later version of the core.
            _ => {
                return Err(admin::cannot(SCHEME, Some(key), "change keys like that"));
            }
        }
        describe(&keys, key).map_err(Self::about(key))
    }

    async fn check_change(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<(), ProviderError> {
        check_change(&self.keys(), key, version, change).map_err(Self::about(key))
    }

    async fn set_not_after(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        not_after: Option<u64>,
    ) -> Result<KeyDescription, ProviderError> {
        let mut keys = self.keys();
        let at = position(&keys, key, version).map_err(Self::about(key))?;
        let found = keys.find_mut(key).map_err(Self::about(key))?;
        found.versions.get_mut(at).into_iter().for_each(|version| version.not_after = not_after);
        describe(&keys, key).map_err(Self::about(key))
    }

    async fn check_set_not_after(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        _not_after: Option<u64>,
    ) -> Result<(), ProviderError> {
        position(&self.keys(), key, version).map(drop).map_err(Self::about(key))
    }

    async fn rotation_status(&self, key: &KeyUri) -> Result<RotationStatus, ProviderError> {
        let keys = self.keys();
        let (_, found) = keys.find(key).map_err(Self::about(key))?;
        let mut status = RotationStatus::default();
        let rotations = found.versions.iter().skip(1);
        status.past = rotations.map(|version| Rotation::new(version.created, Some(false))).collect();
        Ok(status)
    }

    async fn set_alias(&self, alias: &str, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        let mut keys = self.keys();
        let name = check_alias(&keys, alias, key).map_err(Self::about(key))?.to_owned();
        keys.aliases.insert(alias.to_owned(), name);
        alias_uri(alias).map_err(Self::about(key))
    }

    async fn check_set_alias(&self, alias: &str, key: &KeyUri) -> Result<(), ProviderError> {
        check_alias(&self.keys(), alias, key).map(drop).map_err(Self::about(key))
    }

    /// A key that was destroyed as a whole has its key material until the provider
    /// is dropped. It comes back suspended: somebody looks at it first.
    async fn restore_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        let mut keys = self.keys();
        check_restore(&keys, key).map_err(Self::about(key))?;
        keys.find_mut(key).map_err(Self::about(key))?.state = KeyState::Suspended;
        describe(&keys, key).map_err(Self::about(key))
    }

    async fn check_restore_key(&self, key: &KeyUri) -> Result<(), ProviderError> {
        check_restore(&self.keys(), key).map_err(Self::about(key))
    }
}

/// What is refused of a new key: the same for the check and for its creation.
fn check_new(keys: &Keys, new: &NewKey) -> Result<(), Refusal> {
    check_name(&new.name)?;
    if keys.keys.contains_key(&new.name) {
        return Err(taken());
    }
    if new.algorithm.as_deref().is_some_and(|algorithm| algorithm != "XAES-256-GCM") {
        return Err((Unsupported, "this key store cannot make keys of that kind: leave it out".to_owned()));
    }
    if !new.options.is_empty() {
        return Err((Unsupported, "this key store cannot do what an option asks: it has none".to_owned()));
    }
    match new.state {
        KeyState::Active | KeyState::PreActive => Ok(()),
        state => Err((Invalid, format!("a new key is active or pre-active, not {state}"))),
    }
}

/// What is refused of a rotation: the same for the check and for the rotation.
fn check_rotation(keys: &Keys, key: &KeyUri) -> Result<(), Refusal> {
    lifecycle::check_rotation("the key", describe(keys, key)?.state).map_err(|message| (State, message))
}

/// What is refused of a change: the same for the check and for the change.
fn check_change(keys: &Keys, key: &KeyUri, version: Option<&str>, change: KeyChange) -> Result<(), Refusal> {
    admin::check_change(&describe(keys, key)?, version, change)
}

/// The name of the key that an alias is to mean.
fn check_alias<'k>(keys: &'k Keys, alias: &str, key: &'k KeyUri) -> Result<&'k str, Refusal> {
    check_name(alias)?;
    Ok(keys.find(key)?.0)
}

fn check_restore(keys: &Keys, key: &KeyUri) -> Result<(), Refusal> {
    match keys.find(key)?.1.state {
        KeyState::Destroyed => Ok(()),
        state => Err((State, format!("the key is {state}: only a destroyed key is brought back"))),
    }
}

/// Where a version stands, or the current one.
fn position(keys: &Keys, key: &KeyUri, version: Option<&str>) -> Result<usize, Refusal> {
    let versions = &keys.find(key)?.1.versions;
    let at = match version {
        None => versions.len().checked_sub(1),
        Some(version) => versions.iter().position(|known| known.name() == version),
    };
    at.ok_or_else(no_such_version)
}

fn describe(keys: &Keys, key: &KeyUri) -> Result<KeyDescription, Refusal> {
    let (name, found) = keys.find(key)?;
    found.describe(name)
}

fn taken() -> Refusal {
    (Invalid, "there is a key of that name: take another one".to_owned())
}

fn no_such_version() -> Refusal {
    (NotFound, "the key has no version of that name".to_owned())
}

fn without_key((kind, message): Refusal) -> ProviderError {
    ProviderError::without_key(kind, SCHEME, message)
}
