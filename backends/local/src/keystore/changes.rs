//! What is refused, and what changes in a record: the same for an operation and
//! for its dry run, which makes the change on a copy.

use envelope_sdk::{
    KeyChange, KeyDescription, KeyState, KeyUri, KeyVersionDescription, NewKey, ProviderErrorKind, admin,
    key_uri::is_key_name, lifecycle,
};

use super::{
    document::{Document, KeyRecord, VersionRecord},
    provider::ALGORITHM,
};
use crate::KeystoreError;

/// Refuses a key that no keystore makes, whatever keys it has.
pub(crate) fn check_new(new: &NewKey) -> Result<(), KeystoreError> {
    // Never repeated: somebody may have typed a passphrase there.
    let message = if !is_key_name(&new.name) {
        "a key name has 1 to 64 characters of A–Z a–z 0–9 - _ . and begins with a letter or digit"
    } else if new.description.is_some() || !new.tags.is_empty() {
        "keys of a keystore have no description and no tags"
    } else if new.algorithm.as_ref().is_some_and(|name| name != ALGORITHM) {
        "keys of a keystore are only of the algorithm XAES-256-GCM"
    } else if !new.options.is_empty() {
        "a keystore has no options for a key of its own"
    } else if !matches!(new.state, KeyState::Active | KeyState::PreActive) {
        "a key is made active or pre-active"
    } else {
        return Ok(());
    };
    refuse(ProviderErrorKind::Invalid, message)
}

/// Refuses the name of another key, also of a destroyed one.
pub(super) fn check_vacant(document: &Document, name: &str) -> Result<(), KeystoreError> {
    if document.keys.contains_key(name) {
        let message = format!("there is a key `{name}` already: rotate it, or take another name");
        return refuse(ProviderErrorKind::Invalid, message);
    }
    Ok(())
}

/// The number of the version that a rotation adds.
pub(super) fn next_version(record: &KeyRecord) -> Result<u32, KeystoreError> {
    lifecycle::check_rotation("the key", record.state)
        .map_err(|message| KeystoreError::Refused { kind: ProviderErrorKind::State, message })?;
    match u32::try_from(record.versions.len()).ok().and_then(|count| count.checked_add(1)) {
        Some(number) => Ok(number),
        None => refuse(ProviderErrorKind::Invalid, "the key has too many versions"),
    }
}

/// Adds what [`next_version`] numbered; it wraps from now on.
pub(super) fn rotate(record: &mut KeyRecord, next: VersionRecord) {
    let active = |version: &&mut VersionRecord| version.state == KeyState::Active;
    for version in record.versions.iter_mut().filter(active) {
        version.state = KeyState::Deactivated;
    }
    record.versions.push(next);
}

/// Changes the state of a key or of one version. Nothing is changed where it fails.
pub(super) fn change(
    key: &KeyUri,
    record: &mut KeyRecord,
    version: Option<&str>,
    change: KeyChange,
) -> Result<(), KeystoreError> {
    if let (Some(version), KeyChange::State(next)) = (version, change) {
        return change_version(record, version, next);
    }
    admin::check_change(&describe(key, record), version, change)
        .map_err(|(kind, message)| KeystoreError::Refused { kind, message })?;
    match (version, change) {
        (None, KeyChange::State(next)) => change_whole(record, next),
        (None, KeyChange::Archive) => record.archived = true,
        _ => return refuse(ProviderErrorKind::Unsupported, "the keystore does not know this change"),
    }
    Ok(())
}

/// Sets the end of the cryptoperiod of a version, or of the current one.
pub(super) fn set_not_after(
    record: &mut KeyRecord,
    version: Option<&str>,
    not_after: Option<u64>,
) -> Result<(), KeystoreError> {
    let position = match version {
        Some(version) => position(record, version)?,
        // A key without versions is no key of a file that was read.
        None => record.versions.len().saturating_sub(1),
    };
    let Some(version) = record.versions.get_mut(position) else { return Ok(()) };
    if version.state == KeyState::Destroyed || record.state == KeyState::Destroyed {
        let message =
            format!("version {} is destroyed: it has no cryptoperiod that could end", version.version);
        return refuse(ProviderErrorKind::Invalid, message);
    }
    version.not_after = not_after;
    Ok(())
}

pub(super) fn describe(key: &KeyUri, record: &KeyRecord) -> KeyDescription {
    let version = |version: &VersionRecord| {
        KeyVersionDescription::new(version.version.to_string(), version.state, Some(version.created))
            .not_after(version.not_after)
    };
    let versions = record.versions.iter().map(version).collect();
    KeyDescription::new(key.clone(), record.state, record.archived, versions)
}

pub(super) fn refuse<T>(kind: ProviderErrorKind, message: impl Into<String>) -> Result<T, KeystoreError> {
    Err(KeystoreError::Refused { kind, message: message.into() })
}

fn change_whole(record: &mut KeyRecord, next: KeyState) {
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
}

fn change_version(record: &mut KeyRecord, number: &str, next: KeyState) -> Result<(), KeystoreError> {
    let position = position(record, number)?;
    if let Some(version) = record.versions.get(position) {
        check_version(record, position, version, next)?;
    }
    if let Some(version) = record.versions.get_mut(position) {
        version.state = next;
        if next == KeyState::Destroyed {
            destroy(version);
        }
    }
    Ok(())
}

/// Refuses what the table of the states does not permit, or a keystore does not.
fn check_version(
    record: &KeyRecord,
    position: usize,
    version: &VersionRecord,
    next: KeyState,
) -> Result<(), KeystoreError> {
    let (number, state) = (version.version, version.state);
    let beyond_table = |next| beyond_table(record, position, number, next);
    if state.may_become(next) {
        return beyond_table(next).map_or(Ok(()), |message| refuse(ProviderErrorKind::Invalid, message));
    }
    // Not all that `lifecycle::check_transition` would list: a hint that is refused in its turn helps nobody.
    let possible = KeyState::ALL.into_iter().filter(|other| state.may_become(*other));
    let possible: Vec<_> =
        possible.filter(|other| beyond_table(*other).is_none()).map(KeyState::name).collect();
    let hint = match possible.as_slice() {
        [] => "it stays so".into(),
        possible => format!("it may become {}", possible.join(", ")),
    };
    let message = format!("version {number} is {state} and cannot become {next}: {hint}");
    refuse(ProviderErrorKind::Invalid, message)
}

/// Why a keystore refuses a change that the table of the states permits.
fn beyond_table(record: &KeyRecord, position: usize, number: u32, next: KeyState) -> Option<String> {
    let is_current = position + 1 == record.versions.len();
    let leaves_key_without =
        matches!(next, KeyState::Deactivated | KeyState::Compromised | KeyState::Destroyed);
    let may_wrap = matches!(record.state, KeyState::PreActive | KeyState::Active | KeyState::Suspended);
    if is_current && leaves_key_without && may_wrap {
        let whole = format!("change the whole key to {next}");
        let remedy = match (record.state == KeyState::Active, record.state.may_become(next)) {
            (true, true) => format!("rotate the key first, or {whole}"),
            (true, false) => "rotate the key first".into(),
            (false, true) => whole,
            (false, false) => "make the key active and rotate it first".into(),
        };
        return Some(format!(
            "version {number} is the current one of a key that is {}: {remedy}",
            record.state
        ));
    }
    (!is_current && next == KeyState::Active)
        .then(|| format!("version {number} is not the current one: make it deactivated, so that it unwraps"))
}

fn position(record: &KeyRecord, number: &str) -> Result<usize, KeystoreError> {
    record.position(number).map_or_else(
        || {
            let message = format!(
                "the key has no version of that number: it has 1 to {last}",
                last = record.versions.len()
            );
            refuse(ProviderErrorKind::NotFound, message)
        },
        Ok,
    )
}

fn destroy(version: &mut VersionRecord) {
    version.state = KeyState::Destroyed;
    version.wrapped_kek = None;
}
