//! What is told of a version of a key.

use std::fmt;

use envelope_sdk::{
    KeyState, KeyVersionDescription,
    admin::{Detail, Details},
};
use google_cloud_kms_v1::model::{CryptoKeyVersion, crypto_key_version::CryptoKeyVersionState as SdkState};
use google_cloud_wkt::Timestamp;

use crate::{Protection, provider::version_of};

/// What Cloud KMS tells of a version of a key. No key material.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GcpVersion {
    /// Its number, as it stands in headers.
    pub version: String,
    /// Its state in the words of KMS.
    pub state: GcpVersionState,
    /// Whether it is the primary version, under which the key wraps.
    pub primary: bool,
    /// Where its material is; `None` for a level that this version of the crate does not know.
    pub protection: Option<Protection>,
    /// The algorithm, such as `GOOGLE_SYMMETRIC_ENCRYPTION`.
    pub algorithm: String,
    /// When it was made, in seconds since 1970-01-01T00:00:00Z.
    pub created: Option<u64>,
    /// When its material will be destroyed, if that is scheduled.
    pub destruction: Option<u64>,
    /// When its material was destroyed.
    pub destroyed: Option<u64>,
    /// The import job by which its material came, by resource name.
    pub import_job: Option<String>,
    /// Why its material was not imported, in the words of KMS.
    pub import_failure: Option<String>,
    /// Why its material was not generated, in the words of KMS.
    pub generation_failure: Option<String>,
    /// The key in the external key manager: a URI, or a path of the connection.
    pub external_key: Option<String>,
}

/// The state of a version in the words of KMS, and what NIST SP 800-57 calls it
/// (<https://cloud.google.com/kms/docs/key-states>).
///
/// | KMS | SP 800-57 | wrap | unwrap |
/// |---|---|---|---|
/// | `PENDING_GENERATION`, `PENDING_IMPORT` | pre-active | no | no |
/// | `ENABLED`, the primary version | active | yes | yes |
/// | `ENABLED`, another one | deactivated | no | yes |
/// | `DISABLED` | suspended | no | no |
/// | `DESTROY_SCHEDULED` | suspended: it can be restored | no | no |
/// | `DESTROYED`, `PENDING_EXTERNAL_DESTRUCTION`, `EXTERNAL_DESTRUCTION_FAILED` | destroyed | no | no |
/// | `IMPORT_FAILED`, `GENERATION_FAILED`: there is no material | destroyed | no | no |
#[derive(Debug, Clone, PartialEq)]
pub struct GcpVersionState(SdkState);

/// Each state is one word, which equals itself.
impl Eq for GcpVersionState {}

impl GcpVersionState {
    /// The word of KMS, such as `ENABLED`; `UNKNOWN` for a state that is none that this version knows.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name().unwrap_or("UNKNOWN")
    }

    /// The state of NIST SP 800-57 of a version that is, or is not, the primary
    /// one. See the table above; a state that is not in it is suspended.
    #[must_use]
    pub fn standard(&self, primary: bool) -> KeyState {
        match self.0 {
            SdkState::Enabled if primary => KeyState::Active,
            SdkState::Enabled => KeyState::Deactivated,
            SdkState::PendingGeneration | SdkState::PendingImport => KeyState::PreActive,
            SdkState::Destroyed
            | SdkState::PendingExternalDestruction
            | SdkState::ExternalDestructionFailed
            | SdkState::ImportFailed
            | SdkState::GenerationFailed => KeyState::Destroyed,
            _ => KeyState::Suspended,
        }
    }

    /// Whether it may be used.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.0 == SdkState::Enabled
    }

    /// Whether somebody disabled it.
    #[must_use]
    pub fn is_disabled(&self) -> bool {
        self.0 == SdkState::Disabled
    }

    /// Whether it waits for its destruction, and can be restored.
    #[must_use]
    pub fn is_scheduled_for_destruction(&self) -> bool {
        self.0 == SdkState::DestroyScheduled
    }

    /// Whether KMS is still making its material.
    pub(super) fn is_pending(&self) -> bool {
        self.0 == SdkState::PendingGeneration
    }
}

impl fmt::Display for GcpVersionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl GcpVersion {
    /// `None` when it is no version of that key.
    pub(super) fn of(key: &str, version: CryptoKeyVersion, primary: Option<&str>) -> Option<Self> {
        let number = version_of(key, &version.name)?.to_owned();
        let text = |text: String| Some(text).filter(|text| !text.is_empty());
        let external = version.external_protection_level_options.and_then(|options| {
            text(options.external_key_uri).or_else(|| text(options.ekm_connection_key_path))
        });
        Some(Self {
            primary: primary == Some(version.name.as_str()),
            version: number,
            protection: Protection::of(&version.protection_level),
            algorithm: version.algorithm.name().unwrap_or("UNKNOWN").to_owned(),
            state: GcpVersionState(version.state),
            created: version.create_time.and_then(seconds),
            destruction: version.destroy_time.and_then(seconds),
            destroyed: version.destroy_event_time.and_then(seconds),
            import_job: text(version.import_job),
            import_failure: text(version.import_failure_reason),
            generation_failure: text(version.generation_failure_reason),
            external_key: external,
        })
    }

    /// In the words of NIST SP 800-57.
    #[must_use]
    pub fn standard(&self) -> KeyState {
        self.state.standard(self.primary)
    }

    pub(super) fn describe(&self) -> KeyVersionDescription {
        KeyVersionDescription::new(self.version.clone(), self.standard(), self.created)
    }

    /// What KMS alone tells of it.
    pub(super) fn details(&self) -> Details {
        let mut details = Details::new()
            .with("version", self.version.as_str())
            .with("gcp_state", self.state.name())
            .with("protection", self.protection.map(Protection::name))
            .with("algorithm", self.algorithm.as_str());
        for (name, date) in [("destruction", self.destruction), ("destroyed", self.destroyed)] {
            if let Some(date) = date {
                details = details.with(name, Detail::Time(date));
            }
        }
        for (name, text) in [
            ("import_job", &self.import_job),
            ("import_failure", &self.import_failure),
            ("generation_failure", &self.generation_failure),
            ("external_key", &self.external_key),
        ] {
            if let Some(text) = text {
                details = details.with(name, text.as_str());
            }
        }
        details
    }
}

/// Seconds since 1970; nothing before.
pub(super) fn seconds(date: Timestamp) -> Option<u64> {
    u64::try_from(date.seconds()).ok()
}

#[cfg(test)]
mod tests {
    use envelope_sdk::KeyUse;

    use super::*;

    #[test]
    fn the_states_of_kms_are_those_of_the_table() {
        use KeyState::{Active, Deactivated, Destroyed, PreActive, Suspended};
        for (state, primary, other) in [
            (SdkState::PendingGeneration, PreActive, PreActive),
            (SdkState::PendingImport, PreActive, PreActive),
            (SdkState::Enabled, Active, Deactivated),
            (SdkState::Disabled, Suspended, Suspended),
            (SdkState::DestroyScheduled, Suspended, Suspended),
            (SdkState::Destroyed, Destroyed, Destroyed),
            (SdkState::ImportFailed, Destroyed, Destroyed),
            (SdkState::GenerationFailed, Destroyed, Destroyed),
            (SdkState::PendingExternalDestruction, Destroyed, Destroyed),
            (SdkState::ExternalDestructionFailed, Destroyed, Destroyed),
            (SdkState::Unspecified, Suspended, Suspended),
            (SdkState::from(99), Suspended, Suspended),
        ] {
            let enabled = state == SdkState::Enabled;
            let state = GcpVersionState(state);
            assert_eq!((state.standard(true), state.standard(false)), (primary, other), "{state}");
            assert_eq!(state.standard(true).permits(KeyUse::Wrap), enabled, "{state}");
            assert_eq!(state.standard(false).permits(KeyUse::Unwrap), enabled, "{state}");
            assert!(!state.standard(false).permits(KeyUse::Wrap), "{state}");
        }
        assert_eq!(GcpVersionState(SdkState::from(99)).name(), "UNKNOWN");
    }

    #[test]
    fn what_is_told_of_a_version_has_its_names_in_their_order() {
        let key = "projects/p/locations/l/keyRings/r/cryptoKeys/k";
        let name = format!("{key}/cryptoKeyVersions/3");
        let sdk = CryptoKeyVersion::new()
            .set_name(&name)
            .set_state(SdkState::DestroyScheduled)
            .set_protection_level(Protection::Hsm.level())
            .set_create_time(Timestamp::clamp(7, 0))
            .set_destroy_time(Timestamp::clamp(9, 0))
            .set_import_job("a job")
            .set_import_failure_reason("words");
        assert_eq!(GcpVersion::of("another", sdk.clone(), None), None);
        let version = GcpVersion::of(key, sdk, Some(&name)).unwrap();
        assert!(version.primary && version.created == Some(7), "{version:?}");
        let expected = Details::new()
            .with("version", "3")
            .with("gcp_state", "DESTROY_SCHEDULED")
            .with("protection", "hsm")
            .with("algorithm", "CRYPTO_KEY_VERSION_ALGORITHM_UNSPECIFIED")
            .with("destruction", Detail::Time(9))
            .with("import_job", "a job")
            .with("import_failure", "words");
        assert_eq!(version.details(), expected);
    }
}
