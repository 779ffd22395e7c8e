//! Changes and their dry runs.

use envelope_sdk::{KeyChange, KeyDescription, KeyState, KeyUri, ProviderError};

use super::super::{
    Outcome,
    ask::{Step, decide, fails, told, wait},
};
use super::ask::{
    change, describe, facts, must_agree, must_create, must_describe, must_open, must_use, reach,
};
use super::{AdminBackend, END};

/// Brings a new key to every state that the key store has, and tries every change
/// of it, of its version, and of a version that it has not. The check permits it
/// if, and only if, it then succeeds; both refuse with the same kind of
/// error. What is done is told by the description.
#[must_use]
pub fn a_check_of_a_change_says_what_the_change_does(backend: &dyn AdminBackend) -> Outcome {
    decide(|| {
        let mut tried = false;
        for state in KeyState::ALL {
            let mut at_hand: Option<KeyUri> = None;
            for what in changes() {
                let key = match at_hand.take() {
                    Some(key) => key,
                    None => match reach(backend, state)? {
                        Some(key) => key,
                        None => break,
                    },
                };
                tried = true;
                let unchanged = must_do_as_checked(backend, &key, state, what)?;
                at_hand = unchanged.then_some(key);
            }
        }
        if tried { Ok(()) } else { fails("no state can be reached, not even that of a new key") }
    })
}

/// What is changed: the key, its current version, or one that it has not.
#[derive(Clone, Copy)]
enum Of {
    Key,
    Current,
    Unknown,
}

fn changes() -> impl Iterator<Item = (Of, KeyChange)> {
    let all = || KeyState::ALL.into_iter().map(KeyChange::State).chain([KeyChange::Archive]);
    [Of::Key, Of::Current, Of::Unknown].into_iter().flat_map(move |of| all().map(move |change| (of, change)))
}

/// Returns whether the key is as it was.
fn must_do_as_checked(
    backend: &dyn AdminBackend,
    key: &KeyUri,
    state: KeyState,
    (of, what): (Of, KeyChange),
) -> Step<bool> {
    let before = describe(backend, key)?;
    if let Ok(described) = &before
        && described.state != state
    {
        return fails(format!("{key} was made {state}, and is described as {}", described.state));
    }
    let version = match (of, &before) {
        (Of::Key, _) => None,
        (Of::Unknown, _) => Some("conformance-suite".to_owned()),
        (Of::Current, Ok(described)) => described.current().map(|version| version.version.clone()),
        // Destroyed, and no longer told: nothing to name.
        (Of::Current, Err(_)) => return Ok(true),
    };
    let name = match &version {
        None => format!("{what:?} of a key that is {state}"),
        Some(version) => format!("{what:?} of version {version:?} of a key that is {state}"),
    };
    let checked = wait(backend, backend.admin().check_change(key, version.as_deref(), what))?;
    let after = describe(backend, key)?;
    if facts(&before) != facts(&after) {
        return fails(format!("{name}: the check alone made of {}: {}", facts(&before), facts(&after)));
    }
    let done = change(backend, key, version.as_deref(), what)?;
    must_agree(&name, &checked, &done)?;
    let now = describe(backend, key)?;
    match done {
        Err(_) if facts(&now) == facts(&before) => Ok(true),
        Err(_) => fails(format!("{name} was refused and made of {}: {}", facts(&before), facts(&now))),
        Ok(_) if matches!(of, Of::Unknown) => fails(format!("{name} succeeded")),
        Ok(returned) => {
            must_be_told(&name, version.as_deref(), what, Ok(returned))?;
            must_be_told(&name, version.as_deref(), what, now)?;
            Ok(false)
        }
    }
}

fn must_be_told(
    name: &str,
    version: Option<&str>,
    what: KeyChange,
    now: Result<KeyDescription, ProviderError>,
) -> Step<()> {
    let is_gone = matches!(what, KeyChange::State(KeyState::Destroyed));
    let now = match now {
        Ok(now) => now,
        Err(_) if is_gone && version.is_none() => return Ok(()),
        Err(error) => return fails(format!("{name}: afterwards it is not described: {}", told(&error))),
    };
    let of_version = |name: &str| now.versions.iter().find(|known| known.version == name);
    let is_told = match (what, version) {
        (KeyChange::State(next), None) => now.state == next,
        (KeyChange::State(next), Some(version)) => {
            of_version(version).map_or(is_gone, |version| version.state == next)
        }
        _ => now.archived,
    };
    if is_told { Ok(()) } else { fails(format!("{name} succeeded, and is not told: {now:?}")) }
}

/// Brings a new key to every state that the key store has, and rotates it. The
/// check permits it if, and only if, it then succeeds. A rotated key
/// is active with a new version, under which it wraps; what it wrapped before
/// still unwraps.
#[must_use]
pub fn a_check_of_a_rotation_says_what_the_rotation_does(backend: &dyn AdminBackend) -> Outcome {
    decide(|| {
        for state in KeyState::ALL {
            let Some(key) = reach(backend, state)? else { continue };
            let wrapped = if state == KeyState::Active { Some(must_use(backend, &key)?) } else { None };
            let before = describe(backend, &key)?;
            let checked = wait(backend, backend.admin().check_rotation(&key))?;
            let after = describe(backend, &key)?;
            if facts(&before) != facts(&after) {
                return fails(format!("the check alone made of {}: {}", facts(&before), facts(&after)));
            }
            let done = wait(backend, backend.admin().rotate_key(&key))?;
            must_agree(&format!("rotating a key that is {state}"), &checked, &done)?;
            if done.is_err() {
                continue;
            }
            if state != KeyState::Active {
                return fails(format!("a key that is {state} was rotated"));
            }
            let (now, version) = (must_describe(backend, &key)?, must_use(backend, &key)?);
            let current = now.current().map_or("", |current| current.version.as_str());
            if now.state != KeyState::Active || version.key_version() != current {
                return fails(format!(
                    "rotated, it wraps under version {:?}, and is described as {now:?}",
                    version.key_version()
                ));
            }
            let Some(wrapped) = wrapped else { continue };
            if wrapped.key_version() == current && !current.is_empty() {
                return fails(format!("rotated, its version is still {current}"));
            }
            must_open(backend, &wrapped)?;
        }
        Ok(())
    })
}

/// Calls every check about keys to make, twice, and about a key that there is: what
/// was permitted the first time is the second time, and made then; the key's description,
/// and the version under which it wraps, stay as they were.
#[must_use]
pub fn no_check_changes_anything(backend: &dyn AdminBackend) -> Outcome {
    decide(|| {
        let admin = backend.admin();
        let key = must_create(backend, &backend.new_key())?.uri;
        let before = facts(&describe(backend, &key)?);
        let wrapped = must_use(backend, &key)?;
        for new in [backend.new_key(), backend.new_key().pre_active(), backend.new_key().not_after(END)] {
            let checked = wait(backend, admin.check_new_key(&new))?;
            let again = wait(backend, admin.check_new_key(&new))?;
            must_agree("a new key that was checked before", &checked, &again)?;
            must_agree(
                "a new key that was checked twice",
                &checked,
                &wait(backend, admin.create_key(&new))?,
            )?;
        }
        // Whether it is permitted is asked elsewhere.
        let _ = wait(backend, admin.check_rotation(&key))?;
        let version = wrapped.key_version();
        for version in [None, Some(version), Some("conformance-suite")] {
            for change in KeyState::ALL.into_iter().map(KeyChange::State).chain([KeyChange::Archive]) {
                let _ = wait(backend, admin.check_change(&key, version, change))?;
            }
        }
        let after = facts(&describe(backend, &key)?);
        if before != after {
            return fails(format!("before the checks: {before}; after them: {after}"));
        }
        let again = must_use(backend, &key)?;
        if again.key_version() != version {
            let now = again.key_version();
            return fails(format!("before the checks it wrapped under version {version}, now under {now}"));
        }
        Ok(())
    })
}
