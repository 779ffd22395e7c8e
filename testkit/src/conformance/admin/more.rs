//! What not every key store has: cryptoperiods, aliases, rotation by itself, and
//! keys that come back.

use envelope_sdk::{
    KeyChange, KeyState,
    ProviderErrorKind::{Invalid, NotFound, State, Unsupported},
    admin::AutoRotation,
};

use super::super::{
    Outcome,
    ask::{context, decide, fails, must_refuse, must_resolve, not_run, told, wait},
};
use super::ask::{
    change, is_unsupported, must, must_agree, must_create, must_describe, must_list, must_open, must_use,
};
use super::{AdminBackend, END};
use super::{
    change::UNKNOWN,
    used::{Used, reach},
};

/// Ends the cryptoperiod of a key: that is told by the description and the list,
/// the key is due from then on and not before, and wraps all the same. An end that
/// is taken away is no longer told.
#[must_use]
pub fn the_end_of_a_cryptoperiod_is_told_and_its_key_is_due(backend: &dyn AdminBackend) -> Outcome {
    decide(|| {
        let admin = backend.admin();
        let key = must_create(backend, &backend.new_key())?.uri;
        for end in [Some(PAST), Some(END), None] {
            let what = format!("a cryptoperiod that ends at {end:?}");
            let returned = must(&what, wait(backend, admin.set_not_after(&key, None, end))?)?;
            let listed = must_list(backend)?.into_iter().find(|listed| listed.uri == key);
            let described = must_describe(backend, &key)?;
            for told in [Some(&returned), Some(&described), listed.as_ref()].into_iter().flatten() {
                let is = told.current().and_then(|version| version.not_after);
                if is != end {
                    return fails(format!("{what} is told as {is:?}"));
                }
                let due = |now: u64| told.is_due(now);
                let is_due = end.is_some_and(|end| due(end) && !due(end - 1));
                if is_due != end.is_some() || (end.is_none() && due(u64::MAX)) {
                    return fails(format!("{what}: the key is not due then, or before"));
                }
            }
            must_use(backend, &key)?;
        }
        let outcome = wait(backend, admin.set_not_after(&key, Some(UNKNOWN), Some(END)))?;
        must_refuse("the end of a version that is not there", outcome, &[NotFound]).map(drop)
    })
}

/// Rotates a key and ends the cryptoperiods of its old version and of its current
/// one, by name and without: each time that of this version changes, and no other
/// one. The check permits it, and refuses a version that is not there, as the change
/// does.
#[must_use]
pub fn the_end_of_a_cryptoperiod_is_of_the_version_it_was_set_for(backend: &dyn AdminBackend) -> Outcome {
    decide(|| {
        let admin = backend.admin();
        let mut used = Used::new(backend)?;
        must("ending a cryptoperiod", wait(backend, admin.set_not_after(&used.key, None, Some(END)))?)?;
        used.rotate(backend)?;
        let mut expected = must_describe(backend, &used.key)?.versions;
        let last = expected.len().saturating_sub(1);
        let names: Vec<_> = expected.iter().map(|version| version.version.clone()).collect();
        let (old, current) = (names.first().map(String::as_str), names.last().map(String::as_str));
        for (at, version, end) in [
            (0, old, Some(PAST)),
            (last, current, Some(END)),
            (last, None, None),
            (last, current, Some(PAST)),
            (0, old, None),
        ] {
            let what = format!("the end of version {version:?}");
            let checked = wait(backend, admin.check_set_not_after(&used.key, version, end))?;
            if must_describe(backend, &used.key)?.versions != expected {
                return fails(format!("{what}: the check alone changed a version"));
            }
            let done = wait(backend, admin.set_not_after(&used.key, version, end))?;
            must_agree(&what, &checked, &done)?;
            let returned = must(&what, done)?;
            expected.get_mut(at).into_iter().for_each(|version| version.not_after = end);
            for told in [returned, must_describe(backend, &used.key)?] {
                if told.versions != expected {
                    let told = told.versions;
                    return fails(format!("{what}: the versions must be {expected:?}, and are {told:?}"));
                }
            }
            used.must_be_enforced(backend, &what)?;
        }
        let checked = wait(backend, admin.check_set_not_after(&used.key, Some(UNKNOWN), Some(END)))?;
        must_refuse("the check of a version that is not there", checked, &[NotFound]).map(drop)
    })
}

/// Destroys a key and restores it, each time as the check says: it is no longer destroyed, and made active it
/// opens what it wrapped before. A key that was not destroyed is not restored.
#[must_use]
pub fn a_destroyed_key_is_back_when_it_is_restored(backend: &dyn AdminBackend) -> Outcome {
    decide(|| {
        let admin = backend.admin();
        let key = must_create(backend, &backend.new_key())?.uri;
        let wrapped = must_use(backend, &key)?;
        let checked = wait(backend, admin.check_restore_key(&key))?;
        let done = wait(backend, admin.restore_key(&key))?;
        must_agree("restoring an active key", &checked, &done)?;
        match done {
            Err(error) if is_unsupported(&error) => return not_run(error.to_string()),
            outcome => {
                must_refuse("restoring an active key", outcome, &[State, Invalid])?;
            }
        }
        let mut way = [KeyState::Deactivated, KeyState::Destroyed];
        if let Err(error) = change(backend, &key, None, KeyChange::State(way[0]))? {
            if !is_unsupported(&error) {
                return fails(format!("deactivating failed: {}", told(&error)));
            }
            way[0] = KeyState::Suspended;
            must("suspending", change(backend, &key, None, KeyChange::State(way[0]))?)?;
        }
        must("destroying", change(backend, &key, None, KeyChange::State(way[1]))?)?;
        let outcome = wait(backend, backend.provider().unwrap_dek(&wrapped, &context()))?;
        must_refuse("unwrapping with a destroyed key", outcome, &[State, NotFound])?;
        let checked = wait(backend, admin.check_restore_key(&key))?;
        let outcome = wait(backend, backend.provider().unwrap_dek(&wrapped, &context()))?;
        must_refuse("unwrapping with a key that a check alone restored", outcome, &[State, NotFound])?;
        let done = wait(backend, admin.restore_key(&key))?;
        must_agree("restoring a destroyed key", &checked, &done)?;
        let restored = must("restoring", done)?;
        let described = must_describe(backend, &key)?;
        if restored.state != described.state || described.state == KeyState::Destroyed {
            return fails(format!("restored as {}, and described as {}", restored.state, described.state));
        }
        if described.state == KeyState::Suspended {
            must("activating", change(backend, &key, None, KeyChange::State(KeyState::Active))?)?;
        }
        must_open(backend, &wrapped)
    })
}

/// Makes an alias and turns it to another key, as the check permits: a wrap for the alias is always one
/// under the key behind it, the provider resolves it to that key, and what
/// was wrapped before still opens.
#[must_use]
pub fn an_alias_is_the_key_it_was_made_for(backend: &dyn AdminBackend) -> Outcome {
    decide(|| {
        let (admin, provider) = (backend.admin(), backend.provider());
        let name = backend.new_key().name;
        let mut before = None;
        for _ in 0..2 {
            let key = must_create(backend, &backend.new_key())?.uri;
            let checked = wait(backend, admin.check_set_alias(&name, &key))?;
            let done = wait(backend, admin.set_alias(&name, &key))?;
            must_agree("setting an alias", &checked, &done)?;
            let alias = must("setting an alias", done)?;
            let meant = must_resolve(backend, &*provider, &alias)?;
            if meant != key {
                return fails(format!("the alias {alias} of {key} means {meant}"));
            }
            let wrapped = must_use(backend, &alias)?;
            if *wrapped.key_uri() != key {
                return fails(format!("the alias {alias} of {key} wraps under {}", wrapped.key_uri()));
            }
            let described = must_describe(backend, &alias)?;
            if described.uri != key {
                return fails(format!("the alias {alias} of {key} is described as {}", described.uri));
            }
            if let Some(before) = before.replace(wrapped) {
                must_open(backend, &before)?;
            }
        }
        Ok(())
    })
}

/// Lets a key rotate by itself, and stops that, as the check permits: the status tells it each time. A
/// key that is not active rotates by itself as little as by a call.
#[must_use]
pub fn rotation_by_itself_is_told_as_it_was_set(backend: &dyn AdminBackend) -> Outcome {
    decide(|| {
        let admin = backend.admin();
        let key = must_create(backend, &backend.new_key())?.uri;
        for rotation in [AutoRotation::Default, AutoRotation::Off, AutoRotation::Days(180), AutoRotation::Off]
        {
            let what = format!("rotation {rotation:?}");
            let checked = wait(backend, admin.check_set_rotation(&key, rotation))?;
            let done = wait(backend, admin.set_rotation(&key, rotation))?;
            must_agree(&what, &checked, &done)?;
            match done {
                // It may know one period alone.
                Err(error) if is_unsupported(&error) && matches!(rotation, AutoRotation::Days(_)) => continue,
                outcome => must(&what, outcome)?,
            }
            let status = must("the status of rotation", wait(backend, admin.rotation_status(&key))?)?;
            if status.automatic != (rotation != AutoRotation::Off) {
                return fails(format!("{what} is told as {status:?}"));
            }
            if matches!((rotation, status.period_days), (AutoRotation::Days(days), Some(told)) if days != told)
            {
                return fails(format!("{what} is told as {status:?}"));
            }
        }
        if let Some(used) = reach(backend, KeyState::Suspended, false)? {
            let outcome = wait(backend, admin.set_rotation(&used.key, AutoRotation::Default))?;
            let kinds = [State, Unsupported, Invalid];
            must_refuse("rotation of a suspended key", outcome, &kinds)?;
        }
        Ok(())
    })
}

/// In the year 2001, at the end of a day.
const PAST: u64 = 1_009_843_199;
