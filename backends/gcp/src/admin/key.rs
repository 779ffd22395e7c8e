//! What is told of a key.

use std::{cmp::Ordering, collections::BTreeMap};

use envelope_sdk::{
    KeyDescription, KeyState, KeyUri,
    admin::{Detail, Details},
};
use google_cloud_kms_v1::model::{
    CryptoKey,
    crypto_key::{CryptoKeyPurpose, RotationSchedule},
};

use super::version::{GcpVersion, seconds};
use crate::Protection;

/// What Cloud KMS tells of a key. No key material.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GcpKey {
    /// The key.
    pub uri: KeyUri,
    /// Its versions: by number, with the primary one last.
    pub versions: Vec<GcpVersion>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Where the material of new versions is made.
    pub protection: Option<Protection>,
    /// When it was made, in seconds since 1970-01-01T00:00:00Z.
    pub created: Option<u64>,
    /// After how many seconds it rotates by itself, if it does.
    pub rotation_period: Option<u64>,
    /// When it rotates by itself next.
    pub next_rotation: Option<u64>,
    /// How many seconds a version waits for its destruction.
    pub destroy_delay: Option<u64>,
    /// Whether its material can only be imported.
    pub import_only: bool,
    /// Whether it is a symmetric key for encryption and decryption
    /// (`ENCRYPT_DECRYPT`): another one wraps nothing here.
    pub wraps: bool,
}

impl GcpKey {
    /// `None` when the answer names no key.
    pub(super) fn of(key: CryptoKey) -> Option<Self> {
        let uri = KeyUri::parse(&key.name).ok().filter(|uri| uri.scheme() == "gcpkms")?;
        let versions = key.primary.and_then(|primary| {
            let name = primary.name.clone();
            GcpVersion::of(&key.name, primary, Some(&name))
        });
        let template = key.version_template;
        Some(Self {
            uri,
            versions: versions.into_iter().collect(),
            labels: key.labels.into_iter().collect(),
            protection: template.and_then(|template| Protection::of(&template.protection_level)),
            created: key.create_time.and_then(seconds),
            rotation_period: key.rotation_schedule.and_then(|schedule| match schedule {
                RotationSchedule::RotationPeriod(period) => u64::try_from(period.seconds()).ok(),
                _ => None,
            }),
            next_rotation: key.next_rotation_time.and_then(seconds),
            destroy_delay: key
                .destroy_scheduled_duration
                .and_then(|delay| u64::try_from(delay.seconds()).ok()),
            import_only: key.import_only,
            wraps: key.purpose == CryptoKeyPurpose::EncryptDecrypt,
        })
    }

    /// With all of its versions.
    pub(super) fn with_versions(mut self, mut versions: Vec<GcpVersion>) -> Self {
        versions.sort_by(|one, other| match one.primary.cmp(&other.primary) {
            Ordering::Equal => number(&one.version).cmp(&number(&other.version)),
            order => order,
        });
        self.versions = versions;
        self
    }

    /// The version under which it wraps, whatever its state.
    #[must_use]
    pub fn primary(&self) -> Option<&GcpVersion> {
        self.versions.iter().find(|version| version.primary)
    }

    /// The state of the key as a whole. KMS has none, only those of its versions.
    /// With an enabled primary version the key is active. Without, it is deactivated as
    /// long as another version opens what it wrapped; otherwise suspended, if one
    /// may come back; pre-active, if one is still made; or destroyed. A key without a
    /// version is pre-active.
    #[must_use]
    pub fn state(&self) -> KeyState {
        let states: Vec<KeyState> = self.versions.iter().map(GcpVersion::standard).collect();
        let order = [KeyState::Active, KeyState::Deactivated, KeyState::Suspended, KeyState::PreActive];
        let state = order.into_iter().find(|state| states.contains(state));
        state.unwrap_or(if states.is_empty() { KeyState::PreActive } else { KeyState::Destroyed })
    }

    /// The version of that number.
    #[must_use]
    pub fn version(&self, number: &str) -> Option<&GcpVersion> {
        self.versions.iter().find(|version| version.version == number)
    }

    /// The key as every key store describes one. `details` are `labels`,
    /// `protection`, `rotation_period_days`, `next_rotation`, `destroy_delay_days`,
    /// `import_only`, and `versions` with what KMS alone tells of each.
    #[must_use]
    pub fn describe(&self) -> KeyDescription {
        let versions = self.versions.iter().map(GcpVersion::describe).collect();
        let mut details = Details::new().with("protection", self.protection.map(Protection::name));
        if !self.labels.is_empty() {
            let labels = self.labels.iter().map(|(name, value)| format!("{name}={value}"));
            details = details.with("labels", labels.collect::<Detail>());
        }
        if let Some(period) = self.rotation_period {
            details = details.with("rotation_period_days", period / DAY);
        }
        if let Some(date) = self.next_rotation {
            details = details.with("next_rotation", Detail::Time(date));
        }
        if let Some(delay) = self.destroy_delay {
            details = details.with("destroy_delay_days", delay / DAY);
        }
        if self.import_only {
            details = details.with("import_only", true);
        }
        let told = self.versions.iter().map(GcpVersion::details).collect::<Detail>();
        KeyDescription::new(self.uri.clone(), self.state(), false, versions)
            .details(details.with("versions", told))
    }
}

fn number(version: &str) -> u64 {
    version.parse().unwrap_or(u64::MAX)
}

/// Seconds of a day.
pub(super) const DAY: u64 = 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use google_cloud_kms_v1::model::{
        CryptoKeyVersion, crypto_key_version::CryptoKeyVersionState as SdkState,
    };

    use super::*;

    const KEY: &str = "projects/p/locations/l/keyRings/r/cryptoKeys/k";

    fn key(states: &[(&str, SdkState)], primary: Option<&str>) -> GcpKey {
        let primary = primary.map(|number| format!("{KEY}/cryptoKeyVersions/{number}"));
        let versions = states.iter().map(|(number, state)| {
            let version = CryptoKeyVersion::new()
                .set_name(format!("{KEY}/cryptoKeyVersions/{number}"))
                .set_state(state.clone());
            GcpVersion::of(KEY, version, primary.as_deref()).unwrap()
        });
        GcpKey::of(CryptoKey::new().set_name(KEY)).unwrap().with_versions(versions.collect())
    }

    #[test]
    fn the_state_of_a_key_is_that_of_what_its_versions_still_do() {
        use SdkState::{DestroyScheduled, Destroyed, Disabled, Enabled, PendingGeneration};
        for (states, primary, expected) in [
            (vec![("1", Enabled)], Some("1"), KeyState::Active),
            (vec![("1", Disabled), ("2", Enabled)], Some("2"), KeyState::Active),
            (vec![("1", Enabled), ("2", Disabled)], Some("2"), KeyState::Deactivated),
            (vec![("1", Enabled)], None, KeyState::Deactivated),
            (vec![("1", Disabled)], Some("1"), KeyState::Suspended),
            (vec![("1", Destroyed), ("2", DestroyScheduled)], Some("2"), KeyState::Suspended),
            (vec![("1", PendingGeneration)], None, KeyState::PreActive),
            (vec![("1", Destroyed)], Some("1"), KeyState::Destroyed),
            (vec![], None, KeyState::PreActive),
        ] {
            assert_eq!(key(&states, primary).state(), expected, "{states:?} {primary:?}");
        }
    }

    #[test]
    fn versions_are_told_by_number_and_the_primary_one_last() {
        let states = [("10", SdkState::Enabled), ("2", SdkState::Enabled), ("9", SdkState::Enabled)];
        let told = key(&states, Some("2"));
        let numbers: Vec<_> = told.versions.iter().map(|version| version.version.as_str()).collect();
        assert_eq!(numbers, ["9", "10", "2"]);
        assert_eq!(told.describe().current().unwrap().version, "2");
        assert_eq!(told.primary().unwrap().version, "2");
    }

    #[test]
    fn an_answer_that_names_no_key_is_none() {
        assert_eq!(GcpKey::of(CryptoKey::new()), None);
        assert_eq!(GcpKey::of(CryptoKey::new().set_name("local://x/y")), None);
    }
}
