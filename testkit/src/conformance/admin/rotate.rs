//! Rotations and their dry runs.

use envelope_sdk::KeyState;

use super::super::{
    Outcome,
    ask::{decide, fails, wait},
};
use super::AdminBackend;
use super::ask::{describe, facts, must_agree, must_describe};
use super::used::reach;

/// Brings a new key to every state that the key store has, and rotates it, an
/// active one twice. The check permits it if, and only if, it then succeeds. A
/// rotated key is active with a new version, under which it wraps; the old ones are
/// deactivated and still unwrap. Versions of a key store may have no names, as those
/// of AWS KMS, where each wrap finds its own: then one version is described.
#[must_use]
pub fn a_check_of_a_rotation_says_what_the_rotation_does(backend: &dyn AdminBackend) -> Outcome {
    decide(|| {
        for state in KeyState::ALL {
            let Some(mut used) = reach(backend, state, false)? else { continue };
            for _ in 0..2 {
                let before = describe(backend, &used.key)?;
                let checked = wait(backend, backend.admin().check_rotation(&used.key))?;
                let after = describe(backend, &used.key)?;
                if facts(&before) != facts(&after) {
                    return fails(format!("the check alone made of {}: {}", facts(&before), facts(&after)));
                }
                let done = wait(backend, backend.admin().rotate_key(&used.key))?;
                must_agree(&format!("rotating a key that is {state}"), &checked, &done)?;
                let Ok(returned) = done else { break };
                if state != KeyState::Active {
                    return fails(format!("a key that is {state} was rotated"));
                }
                let now = must_describe(backend, &used.key)?;
                if facts(&Ok(returned.clone())) != facts(&Ok(now.clone())) {
                    return fails(format!("it was rotated as {returned:?}, and is described as {now:?}"));
                }
                let current = now.current().map_or("", |current| current.version.as_str());
                if now.state != KeyState::Active || (used.latest() == Some(current) && !current.is_empty()) {
                    return fails(format!("rotated, it is described as {now:?}"));
                }
                let mut old = now.versions.iter().rev().skip(1);
                if let Some(old) = old.find(|old| old.state != KeyState::Deactivated) {
                    return fails(format!("rotated, its old version {:?} is {}", old.version, old.state));
                }
                let is_told = |version: &str| now.versions.iter().any(|known| known.version == version);
                if used.oldest().is_some_and(|oldest| !is_told(oldest)) {
                    return fails(format!("rotated, its first version is no longer told: {now:?}"));
                }
                used.wrap(backend)?;
                used.must_be_enforced(backend, "rotated")?;
            }
        }
        Ok(())
    })
}
