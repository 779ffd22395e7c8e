//! Rotations and changes of state: what they would do, and whether they may. A dry
//! run asks the same and stops there.

use cryptoki::session::Session;
use envelope_sdk::{KeyChange, KeyState, KeyUri, ProviderErrorKind, admin, lifecycle};

use super::{describe, make, objects};
use crate::{
    error::Failure,
    keys::{self, Kek},
    names::{self, KeyName},
    session::Open,
    weakness::Accepted,
};

/// Makes the next version of a key, and deactivates the older ones.
pub(super) fn rotate(open: &Open, name: &KeyName, accepted: Accepted) -> Result<(), Failure> {
    let session = &open.session;
    let keks = keys::all_versions(session, name, accepted)?;
    let (label, number) = next_version(open, name, &keks)?;
    make::version(open, label, number, None)?;
    for old in keks.iter().filter(|kek| kek.attributes.state() == KeyState::Active) {
        match objects::go(session, old, KeyState::Deactivated) {
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

/// The name and number of the version that a rotation makes.
pub(super) fn next_version<'n>(
    open: &Open,
    name: &'n KeyName,
    keks: &[Kek],
) -> Result<(&'n [u8], u32), Failure> {
    let unsupported = |message: &str| Failure::new(ProviderErrorKind::Unsupported, message);
    let KeyName::Versions(label) = name else {
        return Err(unsupported(
            "a key named by id= is one object and has no versions: name it by object= only",
        ));
    };
    let current = current(keks)?;
    if current.attributes.rsa {
        return Err(unsupported("an RSA key pair has no versions: make another one and rewrap for it"));
    }
    lifecycle::check_rotation("the key", current.attributes.state())
        .map_err(|message| Failure::new(ProviderErrorKind::State, message))?;
    objects::check_can_generate(open)?;
    let number = names::decimal(&current.attributes.version).and_then(|number| number.checked_add(1));
    let number =
        number.ok_or_else(|| Failure::new(ProviderErrorKind::Invalid, "the key has too many versions"))?;
    make::check_free(&open.session, label, number)?;
    Ok((label, number))
}

/// What is to be done to which version, in this order.
pub(super) fn steps<'k>(
    key: &KeyUri,
    keks: &'k [Kek],
    version: Option<&str>,
    change: KeyChange,
) -> Result<Vec<(&'k Kek, KeyState)>, Failure> {
    let unsupported = |message: String| Failure::new(ProviderErrorKind::Unsupported, message);
    let KeyChange::State(next) = change else {
        return Err(unsupported("a token has no mark for archived keys: deactivate the key".into()));
    };
    admin::check_change(&describe::description(keks, key.clone()), version, change)
        .map_err(|(kind, message)| Failure::new(kind, message))?;
    if !matches!(next, KeyState::Active | KeyState::Suspended | KeyState::Deactivated | KeyState::Destroyed) {
        return Err(unsupported(format!(
            "a token has no mark for {next} keys: deactivate the key, and rewrap what it wrapped"
        )));
    }
    let steps = match version {
        None => steps_of_all(keks, next),
        Some(version) => vec![step_of_one(keks, version, next)?],
    };
    steps.iter().try_for_each(|(kek, state)| objects::check_may_go(kek, *state))?;
    Ok(steps)
}

/// Takes the steps. Where one fails, those before it are not taken back, and the error says so.
pub(super) fn take(session: &Session, steps: &[(&Kek, KeyState)]) -> Result<(), Failure> {
    for (at, (kek, state)) in steps.iter().enumerate() {
        objects::go(session, kek, *state).map_err(|failure| {
            let version = |kek: &Kek| kek.attributes.version.clone();
            let changed = match &steps[..at] {
                [] => return failure,
                [(one, state)] => format!("version {} is {state}", version(one)),
                [(first, state), .., (last, _)] => {
                    format!("versions {} to {} are {state}", version(first), version(last))
                }
            };
            failure.while_doing(&format!("{changed} by now, and version {} is not", version(kek)))
        })?;
    }
    Ok(())
}

/// The version that is named, or the current one.
pub(super) fn one_version<'k>(keks: &'k [Kek], version: Option<&str>) -> Result<&'k Kek, Failure> {
    let Some(version) = version else { return current(keks) };
    keks.iter().find(|kek| kek.attributes.version == version).ok_or_else(|| {
        Failure::new(ProviderErrorKind::NotFound, format!("the key has no version {version:?}"))
    })
}

/// Only the current version is ever active.
fn steps_of_all(keks: &[Kek], next: KeyState) -> Vec<(&Kek, KeyState)> {
    let last = keks.len().saturating_sub(1);
    let state = |at| match next {
        KeyState::Active if at != last => KeyState::Deactivated,
        next => next,
    };
    keks.iter().enumerate().map(|(at, kek)| (kek, state(at))).collect()
}

fn step_of_one<'k>(keks: &'k [Kek], version: &str, next: KeyState) -> Result<(&'k Kek, KeyState), Failure> {
    let kek = one_version(keks, Some(version))?;
    let invalid = |message: String| Err(Failure::new(ProviderErrorKind::Invalid, message));
    let is_current = current(keks)?.attributes.version == version;
    let state = kek.attributes.state();
    if is_current
        && matches!(state, KeyState::Active | KeyState::Suspended)
        && matches!(next, KeyState::Deactivated | KeyState::Destroyed)
    {
        return invalid(format!(
            "version {version} is the current one of an {state} key: rotate the key first, or change the whole key"
        ));
    }
    if keks.len() == 1 && next == KeyState::Destroyed {
        return invalid(format!(
            "version {version} is the only one: destroy the whole key, which frees its name"
        ));
    }
    if !is_current && next == KeyState::Active {
        return invalid(format!(
            "version {version} is not the current one: make it deactivated, so that it unwraps"
        ));
    }
    Ok((kek, next))
}

fn current(keks: &[Kek]) -> Result<&Kek, Failure> {
    keks.last().ok_or_else(|| Failure::new(ProviderErrorKind::NotFound, "the token has no such key"))
}
