//! What is told of a key.

use std::collections::BTreeMap;

use envelope_sdk::{
    KeyDescription, KeyState, KeyUri, KeyVersionDescription,
    admin::{Detail, Details},
};
use serde::Deserialize;
use serde_json::Value;

/// What Transit tells of a key and its versions. No key material.
///
/// | Version | SP 800-57 | wrap | unwrap |
/// |---|---|---|---|
/// | the latest one | active | yes | yes |
/// | an older one, from `min_decryption_version` on | deactivated | no, here | yes |
/// | one below `min_decryption_version` | suspended | no | no |
/// | one below `min_available_version`: trimmed | destroyed | no | no |
/// | any that is not trimmed, of a key that is soft-deleted, as OpenBao has it | suspended | no | no |
///
/// A key as a whole is active as long as it is there and not soft-deleted: Vault has nothing that holds it back. Other programs
/// may ask Transit to encrypt under an older version, unless it is below `min_encryption_version`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransitKey {
    /// Its key URI.
    pub uri: KeyUri,
    /// Its type: `aes256-gcm96`, `chacha20-poly1305`, …
    pub kind: String,
    /// The number of its latest version, under which it wraps. The first one is 1.
    pub latest_version: u32,
    /// Versions below this encrypt for nobody. 0: not set.
    pub min_encryption_version: u32,
    /// Versions below this open nothing: they are held back.
    pub min_decryption_version: u32,
    /// Versions below this are trimmed: gone for good. 0: none is.
    pub min_available_version: u32,
    /// When versions were made, in seconds since 1970. Of those that are held back it is not told.
    pub created: BTreeMap<u32, u64>,
    /// After how many seconds it rotates by itself. 0: never.
    pub auto_rotate_period: u64,
    /// Whether it may be deleted.
    pub deletion_allowed: bool,
    /// Whether a key of its own is derived for each context.
    pub derived: bool,
    /// Whether equal plaintexts have equal ciphertexts. Transit has that for derived keys.
    pub convergent: bool,
    /// Whether its key material may be exported. Once set, that stays.
    pub exportable: bool,
    /// Whether its key material may be backed up in plain text. Once set, that stays.
    pub plaintext_backup: bool,
    /// Whether its key material was imported, so that others may have it.
    pub imported: bool,
    /// Whether it may be rotated: an imported key, only if whoever imported it said so.
    pub may_rotate: bool,
    /// Whether it is soft-deleted, as OpenBao has it: it does nothing until it is restored.
    pub soft_deleted: bool,
}

#[derive(Deserialize)]
pub(super) struct Told {
    pub(super) name: String,
    #[serde(rename = "type")]
    kind: String,
    latest_version: u32,
    #[serde(default)]
    min_encryption_version: u32,
    #[serde(default)]
    min_decryption_version: u32,
    #[serde(default)]
    min_available_version: u32,
    #[serde(default)]
    keys: BTreeMap<String, Value>,
    #[serde(default)]
    auto_rotate_period: Value,
    // What is not told is not taken for harmless: these must be there.
    deletion_allowed: bool,
    derived: bool,
    exportable: bool,
    allow_plaintext_backup: bool,
    #[serde(default)]
    convergent_encryption: bool,
    #[serde(default)]
    imported_key: bool,
    #[serde(default)]
    imported_key_allow_rotation: bool,
    /// Vault has no such thing.
    #[serde(default)]
    soft_deleted: bool,
}

impl TransitKey {
    /// `None` for numbers that contradict each other, or are without measure.
    pub(super) fn read(uri: KeyUri, told: Told) -> Option<Self> {
        let created =
            told.keys.iter().filter_map(|(version, date)| Some((version.parse().ok()?, date.as_u64()?)));
        let key = Self {
            uri,
            kind: told.kind,
            latest_version: told.latest_version,
            min_encryption_version: told.min_encryption_version,
            min_decryption_version: told.min_decryption_version.max(1),
            min_available_version: told.min_available_version,
            created: created.collect(),
            auto_rotate_period: told.auto_rotate_period.as_u64().unwrap_or_default(),
            deletion_allowed: told.deletion_allowed,
            derived: told.derived,
            convergent: told.convergent_encryption,
            exportable: told.exportable,
            plaintext_backup: told.allow_plaintext_backup,
            imported: told.imported_key,
            may_rotate: !told.imported_key || told.imported_key_allow_rotation,
            soft_deleted: told.soft_deleted,
        };
        let latest = key.latest_version;
        let is_sound = (1..=MOST_VERSIONS).contains(&latest)
            && key.min_encryption_version <= latest
            && (key.first_available()..=latest).contains(&key.min_decryption_version);
        is_sound.then_some(key)
    }

    /// Whether it is a key that wraps DEKs. Keys that only sign are others' business.
    #[must_use]
    pub fn wraps(&self) -> bool {
        WRAPPING.contains(&self.kind.as_str())
    }

    /// The oldest version whose key material is there.
    #[must_use]
    pub fn first_available(&self) -> u32 {
        self.min_available_version.max(1)
    }

    /// What NIST SP 800-57 calls the state of a version. `None` for one that there never was.
    #[must_use]
    pub fn state_of(&self, version: u32) -> Option<KeyState> {
        if !(1..=self.latest_version).contains(&version) {
            None
        } else if version < self.first_available() {
            Some(KeyState::Destroyed)
        } else if self.soft_deleted || version < self.min_decryption_version {
            Some(KeyState::Suspended)
        } else if version < self.latest_version {
            Some(KeyState::Deactivated)
        } else {
            Some(KeyState::Active)
        }
    }

    /// The description that every key store has. The details are `kind`, `derived`, `convergent`, `exportable`,
    /// `plaintext_backup`, `imported`, `deletion_allowed`, `min_encryption_version`, `min_decryption_version`,
    /// `min_available_version`, `auto_rotate_seconds`, and `soft_deleted` of a key that is.
    #[must_use]
    pub fn describe(&self) -> KeyDescription {
        let set = |number: u32| (number > 0).then_some(number);
        let details = Details::new()
            .with("kind", self.kind.as_str())
            .with("derived", self.derived)
            .with("convergent", self.convergent)
            .with("exportable", self.exportable)
            .with("plaintext_backup", self.plaintext_backup)
            .with("imported", self.imported)
            .with("deletion_allowed", self.deletion_allowed)
            .with("min_encryption_version", set(self.min_encryption_version))
            .with("min_decryption_version", self.min_decryption_version)
            .with("min_available_version", set(self.min_available_version))
            .with(
                "auto_rotate_seconds",
                match self.auto_rotate_period {
                    0 => Detail::Nothing,
                    seconds => Detail::Number(seconds),
                },
            );
        let (whole, details) = if self.soft_deleted {
            (KeyState::Suspended, details.with("soft_deleted", true))
        } else {
            (KeyState::Active, details)
        };
        self.with_states(whole, |version| self.state_of(version).unwrap_or(KeyState::Destroyed))
            .details(details)
    }

    /// As it is after its deletion.
    pub(super) fn describe_deleted(&self) -> KeyDescription {
        self.with_states(KeyState::Destroyed, |_| KeyState::Destroyed)
    }

    fn with_states(&self, whole: KeyState, state: impl Fn(u32) -> KeyState) -> KeyDescription {
        let versions = (1..=self.latest_version).map(|version| {
            let created = self.created.get(&version).copied();
            KeyVersionDescription::new(version.to_string(), state(version), created)
        });
        KeyDescription::new(self.uri.clone(), whole, false, versions.collect())
    }
}

/// Types that wrap DEKs. `xchacha20-poly1305` is OpenBao's; of 128 bits none is made here.
pub(super) const WRAPPING: [&str; 4] =
    ["aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305", "aes128-gcm96"];
/// Each is told, so that there must be an end. It is one for each hour of eleven years.
const MOST_VERSIONS: u32 = 100_000;

#[cfg(test)]
pub(super) use tests::key as of_numbers;

#[cfg(test)]
mod tests {
    use envelope_sdk::KeyUse;
    use serde_json::json;

    use super::*;

    pub(crate) fn key(latest: u32, encryption: u32, decryption: u32, available: u32) -> Option<TransitKey> {
        let told = json!({
            "name": "k", "type": "aes256-gcm96", "latest_version": latest, "min_encryption_version": encryption,
            "min_decryption_version": decryption, "min_available_version": available, "keys": {"3": 1000},
            "deletion_allowed": false, "derived": false, "exportable": false, "allow_plaintext_backup": false,
            "later": "of a later server"
        });
        let uri = KeyUri::parse("hashivault://transit/k").unwrap();
        TransitKey::read(uri, serde_json::from_value(told).unwrap())
    }

    #[test]
    fn the_states_of_transit_are_those_of_the_table() {
        use KeyState::{Active, Deactivated, Destroyed, Suspended};
        let told = key(4, 3, 3, 2).unwrap();
        let states = [1, 2, 3, 4].map(|version| told.state_of(version).unwrap());
        assert_eq!(states, [Destroyed, Suspended, Deactivated, Active]);
        let permitted = |usage| states.map(|state| state.permits(usage));
        assert_eq!(permitted(KeyUse::Wrap), [false, false, false, true]);
        assert_eq!(permitted(KeyUse::Unwrap), [false, false, true, true]);
        assert_eq!((told.state_of(0), told.state_of(5)), (None, None));
        let described = told.describe();
        assert_eq!(described.versions.iter().map(|version| version.state).collect::<Vec<_>>(), states);
        assert_eq!((described.versions[2].created, described.versions[3].created), (Some(1000), None));
    }

    #[test]
    fn a_key_that_is_soft_deleted_does_nothing() {
        use KeyState::{Destroyed, Suspended};
        let told = TransitKey { soft_deleted: true, ..key(3, 2, 2, 2).unwrap() };
        let states = [1, 2, 3].map(|version| told.state_of(version).unwrap());
        assert_eq!(states, [Destroyed, Suspended, Suspended]);
        let described = told.describe();
        assert_eq!((described.state, described.details.get("soft_deleted")), (Suspended, Some(&true.into())));
        assert_eq!(key(3, 2, 2, 2).unwrap().describe().details.get("soft_deleted"), None);
    }

    #[test]
    fn numbers_that_cannot_be_are_no_key() {
        for (latest, encryption, decryption, available) in
            [(0, 0, 1, 0), (100_001, 0, 1, 0), (2, 3, 1, 0), (2, 0, 3, 0), (3, 2, 1, 2)]
        {
            assert_eq!(key(latest, encryption, decryption, available), None);
        }
        assert!(key(1, 0, 0, 0).is_some_and(|key| key.min_decryption_version == 1));
    }

    #[test]
    fn what_says_nothing_of_its_export_is_no_key() {
        let told = json!({"name": "k", "type": "aes256-gcm96", "latest_version": 1, "derived": false, "deletion_allowed": false});
        let refused = serde_json::from_value::<Told>(told).err().unwrap();
        assert_eq!(refused.to_string(), "missing field `exportable`");
    }
}
