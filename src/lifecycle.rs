//! Key states, what each permits, and the words of a refusal.
//!
//! The states are those of NIST SP 800-57 part 1 revision 5, section 7. Every
//! provider enforces the same table, [`KeyState::permits`].

use std::fmt;

/// The state of a KEK or of one version of it.
///
/// | State | wrap | unwrap | Goes to |
/// |---|---|---|---|
/// | pre-active | no | no | active, destroyed, compromised |
/// | active | yes | yes | suspended, deactivated, compromised |
/// | suspended | no | no | active, deactivated, compromised |
/// | deactivated | no | yes | compromised, destroyed |
/// | compromised | no | yes | destroyed |
/// | destroyed | no | no | |
///
/// A suspended key opens nothing either: a suspension answers the question
/// whether the key is compromised, and a cloud KMS's "disabled" means the same.
/// A compromised key still unwraps, because its data must be moved to another
/// key with `rewrap` or `reencrypt`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum KeyState {
    /// Made, but not to be used yet.
    PreActive,
    /// In use.
    Active,
    /// Held back for the time being; opens nothing.
    Suspended,
    /// Wraps nothing any more; still opens what it wrapped.
    Deactivated,
    /// Known or suspected to be known to others.
    Compromised,
    /// The key material is gone.
    Destroyed,
}

/// What a key may be asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyUse {
    /// Wrap a DEK (apply protection).
    Wrap,
    /// Unwrap a DEK (process what is protected).
    Unwrap,
}

impl KeyState {
    /// Every state, in the order of a key's life.
    pub const ALL: [Self; 6] = [
        Self::PreActive,
        Self::Active,
        Self::Suspended,
        Self::Deactivated,
        Self::Compromised,
        Self::Destroyed,
    ];

    /// True when a key in this state may be used so. See the table above.
    #[must_use]
    pub const fn permits(self, usage: KeyUse) -> bool {
        match (self, usage) {
            (Self::Active, _) | (Self::Deactivated | Self::Compromised, KeyUse::Unwrap) => true,
            (Self::PreActive | Self::Suspended | Self::Destroyed, _)
            | (Self::Deactivated | Self::Compromised, KeyUse::Wrap) => false,
        }
    }

    /// True when a key in this state may go to `next`. See the table above.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::PreActive, Self::Active | Self::Destroyed | Self::Compromised)
                | (Self::Active, Self::Suspended | Self::Deactivated | Self::Compromised)
                | (Self::Suspended, Self::Active | Self::Deactivated | Self::Compromised)
                | (Self::Deactivated, Self::Compromised | Self::Destroyed)
                | (Self::Compromised, Self::Destroyed)
        )
    }

    /// The name of the standard: `pre-active`, `active`, `suspended`,
    /// `deactivated`, `compromised` or `destroyed`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PreActive => "pre-active",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Deactivated => "deactivated",
            Self::Compromised => "compromised",
            Self::Destroyed => "destroyed",
        }
    }

    /// The state of that [`name`](Self::name), spelled exactly.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What [`KeyAdmin::change_key`](crate::KeyAdmin::change_key) changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyChange {
    /// Go to another state, as [`KeyState::may_become`] allows. `Destroyed`
    /// removes the key material for good.
    State(KeyState),
    /// Set the archived flag of a deactivated or compromised key.
    Archive,
}

/// Refuses a use that the state of a key does not permit, in words that say what
/// to do. `what` is the key or the version: `the key`, "version 3".
///
/// # Errors
///
/// Those words.
pub fn check_use(what: &str, state: KeyState, usage: KeyUse) -> Result<(), String> {
    if state.permits(usage) {
        return Ok(());
    }
    let verb = match usage {
        KeyUse::Wrap => "wrap",
        KeyUse::Unwrap => "unwrap",
    };
    let remedy = match (state, usage) {
        (KeyState::PreActive, _) => "activate it first",
        (KeyState::Suspended, _) => "it opens again when it is made active, or deactivated",
        (KeyState::Deactivated | KeyState::Compromised, KeyUse::Wrap) => "encrypt with another key",
        _ => "its key material is gone",
    };
    Err(format!("{what} is {state} and cannot {verb}: {remedy}"))
}

/// Refuses a transition that is not in the table of [`KeyState`], and says which
/// are.
///
/// # Errors
///
/// Those words.
pub fn check_transition(what: &str, from: KeyState, to: KeyState) -> Result<(), String> {
    if from.may_become(to) {
        return Ok(());
    }
    let next: Vec<_> =
        KeyState::ALL.into_iter().filter(|next| from.may_become(*next)).map(KeyState::name).collect();
    let next = match next.as_slice() {
        [] => "it stays so".into(),
        next => format!("it may become {}", next.join(", ")),
    };
    Err(format!("{what} is {from} and cannot become {to}: {next}"))
}

/// Refuses to rotate a key that is not active.
///
/// # Errors
///
/// Those words.
pub fn check_rotation(what: &str, state: KeyState) -> Result<(), String> {
    match state {
        KeyState::Active => Ok(()),
        state => Err(format!("{what} is {state}: only an active key is rotated")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_active_key_wraps_and_held_back_keys_open_nothing() {
        let table: Vec<_> = KeyState::ALL
            .iter()
            .map(|state| (state.name(), state.permits(KeyUse::Wrap), state.permits(KeyUse::Unwrap)))
            .collect();
        assert_eq!(
            table,
            [
                ("pre-active", false, false),
                ("active", true, true),
                ("suspended", false, false),
                ("deactivated", false, true),
                ("compromised", false, true),
                ("destroyed", false, false),
            ]
        );
    }

    #[test]
    fn nothing_comes_back_from_deactivated_compromised_or_destroyed() {
        use KeyState::{Active, Compromised, Deactivated, Destroyed, PreActive, Suspended};
        for state in [Deactivated, Compromised, Destroyed] {
            for earlier in [PreActive, Active, Suspended] {
                assert!(!state.may_become(earlier), "{state} → {earlier}");
            }
        }
        assert!(!Active.may_become(Destroyed), "an active key must be deactivated first");
    }

    #[test]
    fn names_read_back() {
        for state in KeyState::ALL {
            assert_eq!(KeyState::from_name(state.name()), Some(state));
        }
        assert_eq!(KeyState::from_name("Active"), None);
    }
}
