//! What is told of a version of a key.

use std::collections::{BTreeMap, HashMap};

use azure_security_keyvault_keys::models::KeyAttributes;
use envelope_sdk::{
    KeyState, KeyVersionDescription,
    admin::{Detail, Details},
};

use super::{seconds, tags};

/// What Azure tells of a version of a key. No key material.
///
/// | Azure | SP 800-57 | wrap | unwrap |
/// |---|---|---|---|
/// | not enabled | suspended | no | no |
/// | enabled, `nbf` to come | pre-active | no | yes, as Azure has it |
/// | enabled, `exp` past | deactivated | no | yes |
/// | enabled, not the current version | deactivated | no, here | yes |
/// | enabled, the current version | active | yes | yes |
///
/// <https://learn.microsoft.com/azure/key-vault/keys/about-keys-details#date-time-controlled-operations>
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AzureVersion {
    /// Its name: 32 hexadecimal digits.
    pub version: String,
    /// Whether it is the current one, under which the key wraps.
    pub current: bool,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Before that it wraps nothing (`nbf`), in seconds since 1970.
    pub not_before: Option<u64>,
    /// From then on it wraps nothing (`exp`), in seconds since 1970.
    pub expires: Option<u64>,
    /// When it was made, in seconds since 1970.
    pub created: Option<u64>,
    /// When it was last changed, in seconds since 1970.
    pub updated: Option<u64>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl AzureVersion {
    pub(super) fn of(
        version: &str,
        attributes: Option<&KeyAttributes>,
        tags: Option<&HashMap<String, String>>,
    ) -> Self {
        let attributes = attributes.cloned().unwrap_or_default();
        Self {
            version: version.to_owned(),
            current: false,
            // What is not told is not taken for enabled.
            enabled: attributes.enabled.unwrap_or(false),
            not_before: attributes.not_before.and_then(seconds),
            expires: attributes.expires.and_then(seconds),
            created: attributes.created.and_then(seconds),
            updated: attributes.updated.and_then(seconds),
            tags: tags.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect(),
        }
    }

    /// What NIST SP 800-57 calls its state at that moment, in seconds since 1970.
    #[must_use]
    pub fn standard(&self, now: u64) -> KeyState {
        if !self.enabled {
            KeyState::Suspended
        } else if self.expires.is_some_and(|end| end <= now) {
            KeyState::Deactivated
        } else if self.not_before.is_some_and(|start| start > now) {
            KeyState::PreActive
        } else if self.current {
            KeyState::Active
        } else {
            KeyState::Deactivated
        }
    }

    /// When its cryptoperiod ends: the date that was set here, or `exp`.
    #[must_use]
    pub fn not_after(&self) -> Option<u64> {
        tags::not_after(&self.tags, &self.version).or(self.expires)
    }

    pub(super) fn describe(&self, now: u64) -> KeyVersionDescription {
        KeyVersionDescription::new(self.version.clone(), self.standard(now), self.created)
            .not_after(self.not_after())
    }

    pub(super) fn details(&self) -> Details {
        let mut details = Details::new().with("version", self.version.as_str()).with("enabled", self.enabled);
        for (name, date) in
            [("not_before", self.not_before), ("expires", self.expires), ("updated", self.updated)]
        {
            if let Some(date) = date {
                details = details.with(name, Detail::Time(date));
            }
        }
        details
    }
}

#[cfg(test)]
mod tests {
    use envelope_sdk::KeyUse;

    use super::*;

    #[test]
    fn the_states_of_azure_are_those_of_the_table() {
        use KeyState::{Active, Deactivated, PreActive, Suspended};
        const NOW: u64 = 1000;
        for (enabled, start, end, current, other) in [
            (true, None, None, Active, Deactivated),
            (true, Some(1000), Some(1001), Active, Deactivated),
            (true, None, Some(1000), Deactivated, Deactivated),
            (true, Some(1001), None, PreActive, PreActive),
            (true, Some(1001), Some(999), Deactivated, Deactivated),
            (false, None, None, Suspended, Suspended),
            (false, Some(1001), Some(999), Suspended, Suspended),
        ] {
            let version = AzureVersion {
                enabled,
                not_before: start,
                expires: end,
                ..AzureVersion::of("v", None, None)
            };
            assert_eq!(version.standard(NOW), other, "{version:?}");
            assert!(!version.standard(NOW).permits(KeyUse::Wrap));
            assert_eq!(AzureVersion { current: true, ..version }.standard(NOW), current);
        }
    }
}
