//! Key states and what each permits, and the trait of backends that manage keys.
//!
//! The states are those of NIST SP 800-57 part 1 revision 5, section 7. Every
//! provider enforces the same table, [`KeyState::permits`].

use std::fmt;

use async_trait::async_trait;

use crate::{KeyProvider, KeyUri, ProviderError};

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

/// What a backend tells of a key. No key material.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyDescription {
    /// The key's URI.
    pub uri: KeyUri,
    /// The state of the key as a whole.
    pub state: KeyState,
    /// A deactivated (or compromised) key that is kept only for old data.
    pub archived: bool,
    /// Every version, oldest first. The last one wraps while the key is active.
    pub versions: Vec<KeyVersionDescription>,
}

impl KeyDescription {
    /// A description, for backends.
    #[must_use]
    pub fn new(uri: KeyUri, state: KeyState, archived: bool, versions: Vec<KeyVersionDescription>) -> Self {
        Self { uri, state, archived, versions }
    }
}

/// What a backend tells of one version of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyVersionDescription {
    /// The version as it stands in headers.
    pub version: String,
    /// The state of this version. A version is usable as far as both its own
    /// state and the key's permit.
    pub state: KeyState,
    /// When it was made, in seconds since 1970-01-01T00:00:00Z, if known.
    pub created: Option<u64>,
}

impl KeyVersionDescription {
    /// A description, for backends.
    #[must_use]
    pub fn new(version: String, state: KeyState, created: Option<u64>) -> Self {
        Self { version, state, created }
    }
}

/// What `KeyAdmin::set_state` changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyChange {
    /// Go to another state, as [`KeyState::may_become`] allows. `Destroyed`
    /// removes the key material for good.
    State(KeyState),
    /// Set the archived flag of a deactivated or compromised key.
    Archive,
}

/// A key provider that also creates keys and moves them through their life.
#[async_trait]
pub trait KeyAdmin: KeyProvider {
    /// Creates a key named `name` with one version, active, or pre-active if
    /// `pre_active`.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when the name is taken or not allowed, or the backend
    /// refuses.
    async fn create_key(&self, name: &str, pre_active: bool) -> Result<KeyDescription, ProviderError>;

    /// Describes one key.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when there is no such key or the backend refuses.
    async fn describe_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError>;

    /// Describes every key, by name.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when the backend refuses.
    async fn list_keys(&self) -> Result<Vec<KeyDescription>, ProviderError>;

    /// Adds a version, which wraps from now on. The old ones are deactivated:
    /// they still unwrap.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when there is no such key, it is not active, or the
    /// backend refuses.
    async fn rotate_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError>;

    /// Changes the state of a key, or of one `version` of it.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when there is no such key or version, the change is
    /// not allowed from its state, or the backend refuses.
    async fn change_key(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<KeyDescription, ProviderError>;
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
