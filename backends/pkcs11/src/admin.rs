//! Creating keys on a token and moving them through their life, as far as
//! attributes can tell of it.

mod listing;
mod objects;

use async_trait::async_trait;
use cryptoki::session::Session;
use envelope_sdk::{
    KeyAdmin, KeyChange, KeyDescription, KeyState, KeyUri, KeyVersionDescription, ProviderError,
    ProviderErrorKind, is_local_key_name,
};

use crate::{
    KeyAttributes, Pkcs11Provider,
    error::{Failure, NAME},
    keys::{self, Kek},
    names::KeyName,
    provider::Named,
    session::Open,
    weakness::Accepted,
};

/// Keys of a token.
///
/// - Made are AES-256 keys, sensitive and not extractable, that encrypt and
///   decrypt and nothing else, with a random `CKA_ID`. Version 1 has the key's
///   name as its label, version N the label `NAME#vN`. The last one wraps.
/// - A state is what the attributes permit: suspended is neither to encrypt nor
///   to decrypt, deactivated is only to decrypt. Some tokens do not let these
///   be changed; then the change is [`ProviderErrorKind::Unsupported`], and
///   rotation still works.
/// - No attribute tells pre-active, compromised or archived: these are
///   [`ProviderErrorKind::Unsupported`].
/// - Activating a suspended key makes all its older versions deactivated.
/// - A destroyed key is gone, and so is its name: a new key may have it.
/// - Keys named by `id=` and RSA key pairs have no versions and are not
///   rotated; they may be destroyed once they are deactivated.
#[async_trait]
impl KeyAdmin for Pkcs11Provider {
    async fn create_key(&self, name: &str, pre_active: bool) -> Result<KeyDescription, ProviderError> {
        let error = |kind, message: &str| Err(ProviderError::new(kind, NAME, &self.own_uri, message));
        if !is_local_key_name(name) {
            let message = "a key name has 1 to 64 characters of A–Z a–z 0–9 - _ . and begins with a letter or \
                           digit";
            return error(ProviderErrorKind::Invalid, message);
        }
        if pre_active {
            let message = "a token has no pre-active keys: create the key when it is to be used";
            return error(ProviderErrorKind::Unsupported, message);
        }
        let (label, selector) = (name.as_bytes().to_vec(), self.shared.token.clone());
        let create = move |open: &Open, session: &Session| {
            if !keys::versions(session, &label, Accepted::default())?.is_empty()
                || keys::has_pair(session, &label)?
            {
                let message = "there is a key of this name already: rotate it, or take another name";
                return Err(Failure::new(ProviderErrorKind::Invalid, message));
            }
            objects::generate(open, session, &label, 1)?;
            let uri = listing::uri(&selector, open, &KeyName::Versions(label.clone()))?;
            describe(session, &KeyName::Versions(label), Accepted::default(), uri)
        };
        let about = self.key_uri(name).unwrap_or_else(|_| self.own_uri.clone());
        self.with_writing_session(&about, create).await
    }

    async fn describe_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        let (named, uri) = (Named::of(key, &self.shared.accepted)?, key.clone());
        let look = move |open: &mut Open| {
            open.check_alive()?;
            named.check_token(open)?;
            describe(&open.session, &named.key, named.accepted, uri.clone())
        };
        self.with_session(key, look).await
    }

    async fn list_keys(&self) -> Result<Vec<KeyDescription>, ProviderError> {
        let selector = self.shared.token.clone();
        let list = move |open: &mut Open| {
            open.check_alive()?;
            listing::list(open, &selector)
        };
        self.with_session(&self.own_uri, list).await
    }

    async fn rotate_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        let (named, uri) = (Named::of(key, &self.shared.accepted)?, key.clone());
        let rotate = move |open: &Open, session: &Session| {
            named.check_token(open)?;
            rotate(open, session, &named)?;
            describe(session, &named.key, named.accepted, uri)
        };
        self.with_writing_session(key, rotate).await
    }

    async fn change_key(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<KeyDescription, ProviderError> {
        let (named, uri) = (Named::of(key, &self.shared.accepted)?, key.clone());
        let version = match version {
            None => None,
            Some(version) => {
                named.version(version).map_err(|failure| failure.into_provider_error(key))?;
                Some(version.to_owned())
            }
        };
        let KeyChange::State(next) = change else {
            let message = "a token has no mark for archived keys: deactivate the key";
            return Err(ProviderError::new(ProviderErrorKind::Unsupported, NAME, key, message));
        };
        let change = move |open: &Open, session: &Session| {
            named.check_token(open)?;
            let keks = all_versions(session, &named.key, named.accepted)?;
            match &version {
                None => change_whole(session, &keks, next)?,
                Some(version) => change_version(session, &keks, version, next)?,
            }
            if next == KeyState::Destroyed && (version.is_none() || keks.len() == 1) {
                return Ok(destroyed(&keks, uri));
            }
            describe(session, &named.key, named.accepted, uri)
        };
        self.with_writing_session(key, change).await
    }
}

impl Pkcs11Provider {
    /// What the token tells of each version of a key, oldest first.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when there is no such key or the token refuses.
    pub async fn attributes(&self, key: &KeyUri) -> Result<Vec<KeyAttributes>, ProviderError> {
        let named = Named::of(key, &self.shared.accepted)?;
        let look = move |open: &mut Open| {
            open.check_alive()?;
            named.check_token(open)?;
            let keks = all_versions(&open.session, &named.key, named.accepted)?;
            Ok(keks.into_iter().map(|kek| kek.attributes).collect())
        };
        self.with_session(key, look).await
    }
}

/// The versions of a key, oldest first: at least one.
fn all_versions(session: &Session, name: &KeyName, accepted: Accepted) -> Result<Vec<Kek>, Failure> {
    if let KeyName::Versions(label) = name {
        let versions = keys::versions(session, label, accepted)?;
        if !versions.is_empty() {
            return Ok(versions);
        }
    }
    Ok(vec![keys::find(session, name, keys::Which::Current, accepted)?])
}

fn describe(
    session: &Session,
    name: &KeyName,
    accepted: Accepted,
    uri: KeyUri,
) -> Result<KeyDescription, Failure> {
    Ok(description(&all_versions(session, name, accepted)?, uri))
}

/// A key is in the state of its last version. An older one never wraps, whatever
/// its attributes permit.
fn description(keks: &[Kek], uri: KeyUri) -> KeyDescription {
    let states = states(keks);
    let versions = keks
        .iter()
        .zip(&states)
        .map(|(kek, state)| KeyVersionDescription::new(kek.attributes.version.clone(), *state, None));
    let state = states.last().copied().unwrap_or(KeyState::Destroyed);
    KeyDescription::new(uri, state, false, versions.collect())
}

fn destroyed(keks: &[Kek], uri: KeyUri) -> KeyDescription {
    let version =
        |kek: &Kek| KeyVersionDescription::new(kek.attributes.version.clone(), KeyState::Destroyed, None);
    KeyDescription::new(uri, KeyState::Destroyed, false, keks.iter().map(version).collect())
}

fn states(keks: &[Kek]) -> Vec<KeyState> {
    let state = |(at, kek): (usize, &Kek)| match kek.attributes.state() {
        KeyState::Active if at + 1 < keks.len() => KeyState::Deactivated,
        state => state,
    };
    keks.iter().enumerate().map(state).collect()
}

fn rotate(open: &Open, session: &Session, named: &Named) -> Result<(), Failure> {
    let KeyName::Versions(label) = &named.key else {
        let message = "a key named by id= is one object and has no versions: name it by object= alone";
        return Err(Failure::new(ProviderErrorKind::Unsupported, message));
    };
    let keks = all_versions(session, &named.key, named.accepted)?;
    let (Some(current), Some(state)) = (keks.last(), states(&keks).pop()) else { return Ok(()) };
    if current.attributes.rsa {
        let message = "an RSA key pair has no versions: make another one and rewrap for it";
        return Err(Failure::new(ProviderErrorKind::Unsupported, message));
    }
    if state != KeyState::Active {
        let message = format!("the key is {state}: only an active key is rotated");
        return Err(Failure::new(ProviderErrorKind::State, message));
    }
    let number = crate::names::decimal(&current.attributes.version).and_then(|number| number.checked_add(1));
    let Some(number) = number else {
        return Err(Failure::new(ProviderErrorKind::Invalid, "the key has too many versions"));
    };
    objects::generate(open, session, label, number)?;
    for old in keks.iter().filter(|kek| kek.attributes.state() == KeyState::Active) {
        match objects::set_use(session, old, KeyState::Deactivated) {
            // The label alone tells then that it is old.
            Err(failure) if failure.kind == ProviderErrorKind::Unsupported => {}
            outcome => outcome.map_err(|failure| {
                failure
                    .while_doing(&format!("version {number} was made, but an older one is not deactivated"))
            })?,
        }
    }
    Ok(())
}

fn change_whole(session: &Session, keks: &[Kek], next: KeyState) -> Result<(), Failure> {
    let state = states(keks).pop().unwrap_or(KeyState::Destroyed);
    check_transition("the key", state, next)?;
    let Some((current, older)) = keks.split_last() else { return Ok(()) };
    match next {
        KeyState::Destroyed => keks.iter().try_for_each(|kek| objects::destroy(session, kek)),
        KeyState::Suspended => keks.iter().try_for_each(|kek| objects::set_use(session, kek, next)),
        KeyState::Active | KeyState::Deactivated => {
            older.iter().try_for_each(|kek| objects::set_use(session, kek, KeyState::Deactivated))?;
            objects::set_use(session, current, next)
        }
        _ => Err(no_such_state(next)),
    }
}

fn change_version(session: &Session, keks: &[Kek], version: &str, next: KeyState) -> Result<(), Failure> {
    let Some(at) = keks.iter().position(|kek| kek.attributes.version == version) else {
        let message = format!("the key has no version {version:?}");
        return Err(Failure::new(ProviderErrorKind::NotFound, message));
    };
    let states = states(keks);
    check_transition(&format!("version {version}"), states[at], next)?;
    let is_current = at + 1 == keks.len();
    let may_wrap = matches!(states[at], KeyState::Active | KeyState::Suspended);
    if is_current && may_wrap && matches!(next, KeyState::Deactivated | KeyState::Destroyed) {
        let message = format!(
            "version {version} is the current one of an {} key: rotate the key first, or change the whole key",
            states[at]
        );
        return Err(Failure::new(ProviderErrorKind::Invalid, message));
    }
    if !is_current && next == KeyState::Active {
        let message =
            format!("version {version} is not the current one: make it deactivated, so that it unwraps");
        return Err(Failure::new(ProviderErrorKind::Invalid, message));
    }
    match next {
        KeyState::Destroyed => objects::destroy(session, &keks[at]),
        KeyState::Active | KeyState::Suspended | KeyState::Deactivated => {
            objects::set_use(session, &keks[at], next)
        }
        _ => Err(no_such_state(next)),
    }
}

fn check_transition(what: &str, from: KeyState, to: KeyState) -> Result<(), Failure> {
    if from.may_become(to) {
        return Ok(());
    }
    let next: Vec<_> =
        KeyState::ALL.into_iter().filter(|next| from.may_become(*next)).map(KeyState::name).collect();
    let next = next.join(", ");
    let message = format!("{what} is {from} and cannot become {to}: it may become {next}");
    Err(Failure::new(ProviderErrorKind::Invalid, message))
}

fn no_such_state(state: KeyState) -> Failure {
    let message =
        format!("a token has no mark for {state} keys: deactivate the key, and rewrap what it wrapped");
    Failure::new(ProviderErrorKind::Unsupported, message)
}
