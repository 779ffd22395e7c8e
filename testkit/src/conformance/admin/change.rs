//! Changes and their dry runs.

use envelope_sdk::{
    KeyChange, KeyDescription, KeyState,
    ProviderErrorKind::{NotFound, Unsupported},
};

use super::super::{
    Outcome,
    ask::{Step, decide, fails, must_refuse, told, wait},
};
use super::ask::{change, describe, facts, must_agree, must_create, must_describe, must_use};
use super::used::{Used, reach};
use super::{AdminBackend, END};

/// Brings a new key to every state that the key store has, and tries every change
/// of it, of its version, and of a version that it has not. The check permits it
/// if, and only if, it then succeeds; both refuse with the same kind of
/// error. What is done is told by the description, and the provider wraps and
/// unwraps as the told states permit. Nothing is done that is not in the table of
/// [`KeyState`], but that a suspended key may be destroyed: a key store may know no
/// deactivated ones.
///
/// A key store that destroys on a later day tells the key, or the version, as
/// suspended until then, and [restores](envelope_sdk::KeyAdmin::restore_key) it.
#[must_use]
pub fn a_check_of_a_change_says_what_the_change_does(backend: &dyn AdminBackend) -> Outcome {
    decide(|| every_change(backend, false, &[Of::Key, Of::Current, Of::Unknown]))
}

/// The same with a key that was rotated, and changes of it, of its old and of its
/// current version. What is changed of one version leaves the others as they are,
/// and each version opens what it wrapped as far as its own state and the key's
/// permit. Versions of a key store may have no names, as those of AWS KMS; then the
/// key is one version.
#[must_use]
pub fn each_version_of_a_rotated_key_does_what_its_states_permit(backend: &dyn AdminBackend) -> Outcome {
    decide(|| every_change(backend, true, &[Of::Key, Of::Old, Of::Current]))
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
        for version in [None, Some(version), Some(UNKNOWN)] {
            for change in all_changes() {
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

/// What is changed.
#[derive(Clone, Copy)]
enum Of {
    Key,
    /// Its current version.
    Current,
    /// A version that is not current.
    Old,
    /// A version that it has not.
    Unknown,
}

fn all_changes() -> impl Iterator<Item = KeyChange> {
    KeyState::ALL.into_iter().map(KeyChange::State).chain([KeyChange::Archive])
}

fn every_change(backend: &dyn AdminBackend, rotated: bool, of_what: &[Of]) -> Step<()> {
    let mut tried = false;
    for state in KeyState::ALL {
        let mut at_hand: Option<Used> = None;
        for (of, what) in of_what.iter().flat_map(|of| all_changes().map(|change| (*of, change))) {
            let used = match at_hand.take() {
                Some(used) => used,
                None => match reach(backend, state, rotated)? {
                    Some(used) => used,
                    None => break,
                },
            };
            tried = true;
            let unchanged = must_do_as_checked(backend, &used, state, (of, what))?;
            at_hand = unchanged.then_some(used);
        }
    }
    if tried { Ok(()) } else { fails("no state can be reached, not even that of a new key") }
}

/// Returns whether the key is as it was.
fn must_do_as_checked(
    backend: &dyn AdminBackend,
    used: &Used,
    state: KeyState,
    (of, what): (Of, KeyChange),
) -> Step<bool> {
    let before = describe(backend, &used.key)?;
    if let Ok(described) = &before
        && !is_told_as(described, state)
    {
        return fails(format!("{} was made {state}, and is described as {}", used.key, described.state));
    }
    let current = before.as_ref().ok().and_then(KeyDescription::current).map(|it| it.version.clone());
    let version = match of {
        Of::Key => None,
        Of::Unknown => Some(UNKNOWN.to_owned()),
        Of::Current if current.is_some() => current,
        Of::Old if current.is_some() && used.oldest() != current.as_deref() => {
            used.oldest().map(str::to_owned)
        }
        // Destroyed and no longer told, or without a name of its own.
        Of::Current | Of::Old => return Ok(true),
    };
    let version = version.as_deref();
    let name = match version {
        None => format!("{what:?} of a key that is {state}"),
        Some(version) => format!("{what:?} of version {version:?} of a key that is {state}"),
    };
    let checked = wait(backend, backend.admin().check_change(&used.key, version, what))?;
    let after = describe(backend, &used.key)?;
    if facts(&before) != facts(&after) {
        return fails(format!("{name}: the check alone made of {}: {}", facts(&before), facts(&after)));
    }
    let done = change(backend, &used.key, version, what)?;
    must_agree(&name, &checked, &done)?;
    let now = describe(backend, &used.key)?;
    let returned = match done {
        Ok(returned) => returned,
        Err(_) if facts(&now) != facts(&before) => {
            return fails(format!("{name} was refused and made of {}: {}", facts(&before), facts(&now)));
        }
        Err(error) => {
            if matches!(of, Of::Unknown) {
                must_refuse::<()>(&name, Err(error), &[NotFound, Unsupported])?;
            }
            return Ok(true);
        }
    };
    let from = match (version, &before) {
        (None, _) => Some(state),
        (Some(version), Ok(before)) => {
            before.versions.iter().find(|known| known.version == version).map(|known| known.state)
        }
        (Some(_), Err(_)) => None,
    };
    if !from.is_some_and(|from| may_be_done(from, version.is_some(), what)) {
        return fails(format!("{name} was done, which no state permits"));
    }
    let destroys = what == KeyChange::State(KeyState::Destroyed);
    let destroyed = version.is_none() && destroys;
    for described in [Some(&returned), now.as_ref().ok()].into_iter().flatten() {
        must_be_told(&name, version, what, described)?;
        must_leave_the_others(&name, version, before.as_ref().ok(), described)?;
    }
    if let Err(error) = &now
        && !(destroyed && error.kind() == NotFound)
    {
        return fails(format!("{name}: afterwards it is not described: {}", told(error)));
    }
    used.must_be_enforced(backend, &format!("after {name}"))?;
    // What waits for its deletion is not for ever only suspended.
    if destroys && now.is_ok_and(|now| waits(&now, version)) {
        wait(backend, backend.admin().restore_key(&used.key))?.or_else(|error| {
            fails(format!("{name}: it is described as suspended, and is not restored: {}", told(&error)))
        })?;
        if must_describe(backend, &used.key)?.state == KeyState::Destroyed {
            return fails(format!("{name}: restored, it is destroyed"));
        }
    }
    Ok(false)
}

/// Whether a key that was brought to a state is described so. One that waits for
/// its deletion is suspended until that day.
fn is_told_as(described: &KeyDescription, state: KeyState) -> bool {
    described.state == state || (state, described.state) == (KeyState::Destroyed, KeyState::Suspended)
}

/// Whether what was destroyed still waits for that day.
fn waits(now: &KeyDescription, version: Option<&str>) -> bool {
    match version {
        None => now.state != KeyState::Destroyed,
        Some(version) => {
            now.versions.iter().any(|known| known.version == version && known.state != KeyState::Destroyed)
        }
    }
}

/// Whether a key store may do it at all.
fn may_be_done(from: KeyState, of_version: bool, what: KeyChange) -> bool {
    match what {
        KeyChange::State(next) => {
            from == next
                || from.may_become(next)
                || (from, next) == (KeyState::Suspended, KeyState::Destroyed)
        }
        KeyChange::Archive => !of_version && matches!(from, KeyState::Deactivated | KeyState::Compromised),
        // A change of a later version of the core.
        _ => true,
    }
}

fn must_be_told(name: &str, version: Option<&str>, what: KeyChange, now: &KeyDescription) -> Step<()> {
    let of_version = |name: &str| now.versions.iter().find(|known| known.version == name);
    let is_told = match (what, version) {
        (KeyChange::State(next), None) => is_told_as(now, next),
        (KeyChange::State(next), Some(version)) => {
            let is_told =
                |state| state == next || (next, state) == (KeyState::Destroyed, KeyState::Suspended);
            of_version(version).map_or(next == KeyState::Destroyed, |version| is_told(version.state))
        }
        _ => now.archived,
    };
    if is_told { Ok(()) } else { fails(format!("{name} succeeded, and is not told: {now:?}")) }
}

/// Demands that a change of one version changed no other one.
fn must_leave_the_others(
    name: &str,
    version: Option<&str>,
    before: Option<&KeyDescription>,
    now: &KeyDescription,
) -> Step<()> {
    let (Some(version), Some(before)) = (version, before) else { return Ok(()) };
    let changed =
        before.versions.iter().find(|other| other.version != version && !now.versions.contains(other));
    match changed {
        None => Ok(()),
        Some(other) => fails(format!("{name} changed version {:?} too: {now:?}", other.version)),
    }
}

/// The name of a version that no key has.
pub(super) const UNKNOWN: &str = "conformance-suite";
