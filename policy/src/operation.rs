//! [`Operation`]: what somebody wants to do.

use std::fmt;

use envelope_sdk::{KeyChange, KeyState};

/// What a policy allows or denies. A rule names operations as `envctl keys` does, or a group of them: `use`, `look` or
/// `manage`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Operation {
    /// `use`: wraps the DEK of a new envelope.
    Wrap,
    /// `use`: unwraps a DEK to open an envelope or a data key.
    Unwrap,
    /// `use`: unwraps and wraps a DEK, so that other keys or versions open the envelope. It is told from the two others by
    /// what the program says that it does: [`Guard::for_rewrap`](crate::Guard::for_rewrap).
    Rewrap,
    /// `look`: lists the keys of a key store.
    List,
    /// `look`: describes a key, its versions and rotations.
    Describe,
    /// `look`: reads the header of an envelope. Its keys are those of its recipients.
    Inspect,
    /// `look`: tells what there is to be reached, such as the tokens of a module.
    Survey,
    /// `manage`: makes a key.
    Create,
    /// `manage`: adds a version.
    Rotate,
    /// `manage`: to the state active.
    Activate,
    /// `manage`: to the state suspended.
    Suspend,
    /// `manage`: to the state deactivated.
    Deactivate,
    /// `manage`: to the state compromised.
    ReportCompromise,
    /// `manage`: sets the archived flag.
    Archive,
    /// `manage`: to the state destroyed.
    Destroy,
    /// `manage`: takes a destruction back.
    Restore,
    /// `manage`: makes an alias.
    Alias,
    /// `manage`: says when the use of a key ends.
    NotAfter,
    /// `manage`: lets a key rotate by itself, or no longer.
    AutoRotate,
    /// `manage`: changes what opens a keystore.
    ChangePassphrase,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 20] = [
        Self::Wrap,
        Self::Unwrap,
        Self::Rewrap,
        Self::List,
        Self::Describe,
        Self::Inspect,
        Self::Survey,
        Self::Create,
        Self::Rotate,
        Self::Activate,
        Self::Suspend,
        Self::Deactivate,
        Self::ReportCompromise,
        Self::Archive,
        Self::Destroy,
        Self::Restore,
        Self::Alias,
        Self::NotAfter,
        Self::AutoRotate,
        Self::ChangePassphrase,
    ];

    /// Its name in rules: `wrap`, `report-compromise`, …
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wrap => "wrap",
            Self::Unwrap => "unwrap",
            Self::Rewrap => "rewrap",
            Self::List => "list",
            Self::Describe => "describe",
            Self::Inspect => "inspect",
            Self::Survey => "survey",
            Self::Create => "create",
            Self::Rotate => "rotate",
            Self::Activate => "activate",
            Self::Suspend => "suspend",
            Self::Deactivate => "deactivate",
            Self::ReportCompromise => "report-compromise",
            Self::Archive => "archive",
            Self::Destroy => "destroy",
            Self::Restore => "restore",
            Self::Alias => "alias",
            Self::NotAfter => "not-after",
            Self::AutoRotate => "auto-rotate",
            Self::ChangePassphrase => "change-passphrase",
        }
    }

    /// The operation of that [`name`](Self::name), spelled exactly.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }

    /// Its group in rules: `use`, `look` or `manage`.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::Wrap | Self::Unwrap | Self::Rewrap => "use",
            Self::List | Self::Describe | Self::Inspect | Self::Survey => "look",
            _ => "manage",
        }
    }

    /// What a change of a key is.
    #[must_use]
    pub fn of_change(change: KeyChange) -> Self {
        match change {
            KeyChange::State(KeyState::Active) => Self::Activate,
            KeyChange::State(KeyState::Suspended) => Self::Suspend,
            KeyChange::State(KeyState::Deactivated) => Self::Deactivate,
            KeyChange::State(KeyState::Compromised) => Self::ReportCompromise,
            KeyChange::Archive => Self::Archive,
            // What a later version of the core adds is denied unless the worst is allowed.
            _ => Self::Destroy,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_a_name_of_its_own_and_is_found_by_it() {
        for operation in Operation::ALL {
            assert_eq!(Operation::from_name(operation.name()), Some(operation));
        }
        let mut names: Vec<_> = Operation::ALL.iter().map(|operation| operation.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Operation::ALL.len());
    }

    #[test]
    fn every_state_that_a_key_may_be_changed_to_is_an_operation_of_its_own() {
        let of = |state| Operation::of_change(KeyChange::State(state));
        assert_eq!(of(KeyState::Active), Operation::Activate);
        assert_eq!(of(KeyState::Suspended), Operation::Suspend);
        assert_eq!(of(KeyState::Deactivated), Operation::Deactivate);
        assert_eq!(of(KeyState::Compromised), Operation::ReportCompromise);
        assert_eq!(of(KeyState::Destroyed), Operation::Destroy);
        assert_eq!(Operation::of_change(KeyChange::Archive), Operation::Archive);
    }
}
