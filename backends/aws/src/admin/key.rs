//! What is told of a key of KMS.

use std::fmt;

use aws_sdk_kms::{
    primitives::DateTime,
    types::{KeyMetadata, KeySpec, KeyState as SdkKeyState, KeyUsageType},
};
use envelope_sdk::{
    KeyDescription, KeyState, KeyUri, KeyVersionDescription,
    admin::{Detail, Details},
};

/// What KMS tells of a key. No key material.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AwsKey {
    /// Its ARN.
    pub uri: KeyUri,
    /// Its state in the words of KMS.
    pub state: AwsKeyState,
    /// Its description.
    pub description: String,
    /// Where its key material is from: `AWS_KMS`, `EXTERNAL`, `AWS_CLOUDHSM` or
    /// `EXTERNAL_KEY_STORE`.
    pub origin: String,
    /// When it was made, in seconds since 1970-01-01T00:00:00Z.
    pub created: Option<u64>,
    /// When it will be deleted, if that is scheduled.
    pub deletion: Option<u64>,
    /// When its key material expires, if that was imported and does.
    pub valid_to: Option<u64>,
    /// Whether it has, or may have, replicas in other regions.
    pub multi_region: bool,
    /// Whether it is a symmetric key for encryption and decryption: another one
    /// wraps nothing.
    pub wraps: bool,
    /// Whether AWS made it for a service of its own. Such a key cannot be used
    /// here.
    pub aws_managed: bool,
}

/// The state of a key in the words of KMS, and what NIST SP 800-57 calls it.
///
/// | KMS | SP 800-57 | wrap | unwrap |
/// |---|---|---|---|
/// | `Creating`, `PendingImport` | pre-active | no | no |
/// | `Enabled`, `Updating` | active | yes | yes |
/// | `Disabled` | suspended | no | no |
/// | `Unavailable` (its key store is away) | suspended | no | no |
/// | `PendingDeletion`, `PendingReplicaDeletion` | suspended: it can be cancelled | no | no |
/// | deleted: KMS no longer knows the key | destroyed | no | no |
///
/// KMS has no deactivated and no compromised state, in which a key would
/// unwrap only: a statement in the key's policy that denies kms:Encrypt does
/// that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsKeyState(SdkKeyState);

impl AwsKeyState {
    pub(crate) fn of(state: Option<SdkKeyState>) -> Self {
        // A key without a state is not one to use.
        Self(state.unwrap_or(SdkKeyState::Unavailable))
    }

    /// The word of KMS, such as `Enabled`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.as_str()
    }

    /// The state of NIST SP 800-57. See the table above; a state that is not in
    /// it is suspended.
    #[must_use]
    pub fn standard(&self) -> KeyState {
        match self.0 {
            SdkKeyState::Enabled | SdkKeyState::Updating => KeyState::Active,
            SdkKeyState::Creating | SdkKeyState::PendingImport => KeyState::PreActive,
            _ => KeyState::Suspended,
        }
    }

    /// Whether somebody disabled the key.
    pub(super) fn is_disabled(&self) -> bool {
        self.0 == SdkKeyState::Disabled
    }

    /// Whether the key waits for its deletion.
    #[must_use]
    pub fn is_pending_deletion(&self) -> bool {
        matches!(self.0, SdkKeyState::PendingDeletion | SdkKeyState::PendingReplicaDeletion)
    }
}

impl fmt::Display for AwsKeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl AwsKey {
    /// `None` when the metadata has no ARN of a key.
    pub(crate) fn of(metadata: KeyMetadata) -> Option<Self> {
        let uri = KeyUri::parse(metadata.arn()?).ok().filter(KeyUri::is_resolved)?;
        Some(Self {
            uri,
            wraps: metadata.key_usage() == Some(&KeyUsageType::EncryptDecrypt)
                && metadata.key_spec() == Some(&KeySpec::SymmetricDefault),
            aws_managed: metadata.key_manager().is_some_and(|manager| manager.as_str() == "AWS"),
            origin: metadata.origin().map(|origin| origin.as_str().to_owned()).unwrap_or_default(),
            created: metadata.creation_date().and_then(seconds),
            deletion: metadata.deletion_date().and_then(seconds),
            valid_to: metadata.valid_to().and_then(seconds),
            multi_region: metadata.multi_region().unwrap_or_default(),
            description: metadata.description.unwrap_or_default(),
            state: AwsKeyState::of(metadata.key_state),
        })
    }

    /// The key as every key store describes one, without its aliases, which take
    /// a further call. A KMS key has one version here, whose name is empty as in
    /// headers: KMS finds the key material itself.
    #[must_use]
    pub fn describe(&self) -> KeyDescription {
        self.with_aliases(None)
    }

    /// As [`describe`](Self::describe), with its aliases if they are known.
    pub(super) fn with_aliases(&self, aliases: Option<&[KeyUri]>) -> KeyDescription {
        let state = self.state.standard();
        let version = KeyVersionDescription::new(String::new(), state, self.created).not_after(self.valid_to);
        let mut details = Details::new().with("aws_state", self.state.name());
        if !self.description.is_empty() {
            details = details.with("description", self.description.as_str());
        }
        details = details.with("origin", self.origin.as_str()).with("multi_region", self.multi_region);
        if let Some(aliases) = aliases {
            details = details.with("aliases", aliases.iter().map(KeyUri::as_str).collect::<Detail>());
        }
        if let Some(date) = self.deletion {
            details = details.with("deletion", Detail::Time(date));
        }
        KeyDescription::new(self.uri.clone(), state, false, vec![version]).details(details)
    }
}

/// Seconds since 1970; nothing before.
pub(crate) fn seconds(date: &DateTime) -> Option<u64> {
    u64::try_from(date.secs()).ok()
}

#[cfg(test)]
mod tests {
    use envelope_sdk::KeyUse;

    use super::*;

    #[test]
    fn the_states_of_kms_are_those_of_the_table() {
        for (word, standard, usable) in [
            ("Creating", KeyState::PreActive, false),
            ("PendingImport", KeyState::PreActive, false),
            ("Enabled", KeyState::Active, true),
            ("Updating", KeyState::Active, true),
            ("Disabled", KeyState::Suspended, false),
            ("Unavailable", KeyState::Suspended, false),
            ("PendingDeletion", KeyState::Suspended, false),
            ("PendingReplicaDeletion", KeyState::Suspended, false),
            ("SomethingOfTomorrow", KeyState::Suspended, false),
        ] {
            let state = AwsKeyState::of(Some(SdkKeyState::from(word)));
            assert_eq!((state.name(), state.standard()), (word, standard));
            assert_eq!(state.standard().permits(KeyUse::Wrap), usable, "{word}");
            assert_eq!(state.standard().permits(KeyUse::Unwrap), usable, "{word}");
            assert_eq!(state.is_pending_deletion(), word.ends_with("Deletion"), "{word}");
        }
        assert_eq!(AwsKeyState::of(None).standard(), KeyState::Suspended);
    }

    #[test]
    fn what_is_told_of_a_key_has_its_names_in_their_order() {
        let arn = "arn:aws:kms:eu-central-1:111122223333:key/1a";
        let metadata = |description: &str| {
            KeyMetadata::builder()
                .key_id("1a")
                .arn(arn)
                .description(description)
                .origin(aws_sdk_kms::types::OriginType::External)
                .key_state(SdkKeyState::PendingDeletion)
                .creation_date(DateTime::from_secs(7))
                .deletion_date(DateTime::from_secs(9))
                .valid_to(DateTime::from_secs(8))
                .build()
                .unwrap()
        };
        let key = AwsKey::of(metadata("words")).unwrap();
        let alias = KeyUri::parse("arn:aws:kms:eu-central-1:111122223333:alias/a").unwrap();
        let described = key.with_aliases(Some(std::slice::from_ref(&alias)));
        let expected = Details::new()
            .with("aws_state", "PendingDeletion")
            .with("description", "words")
            .with("origin", "EXTERNAL")
            .with("multi_region", false)
            .with("aliases", [alias.as_str()].into_iter().collect::<Detail>())
            .with("deletion", Detail::Time(9));
        assert_eq!(described.details, expected);
        let version = described.current().unwrap();
        assert_eq!((version.created, version.not_after), (Some(7), Some(8)));
        let short = AwsKey::of(metadata("")).unwrap().describe();
        let names: Vec<_> = short.details.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["aws_state", "origin", "multi_region", "deletion"]);
    }
}
