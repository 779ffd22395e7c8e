//! What is told of a key.

use azure_security_keyvault_keys::models::{JsonWebKey, KeyType};
use envelope_sdk::{
    KeyDescription, KeyState, KeyUri,
    admin::{Detail, Details},
};

use super::{now, tags, version::AzureVersion};

/// What Azure tells of a key and its versions. No key material.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AzureKey {
    /// Its key URI.
    pub uri: KeyUri,
    /// Its versions, oldest first and the current one last. Of a deleted key Azure tells
    /// the last one alone.
    pub versions: Vec<AzureVersion>,
    /// The type of the current version: `RSA`, `RSA-HSM`, `oct-HSM`, `EC`, …
    pub kind: String,
    /// The bits of the modulus of an RSA key.
    pub bits: Option<u32>,
    /// What the current version is permitted to do (`key_ops`).
    pub operations: Vec<String>,
    /// Whether something else of the vault manages it, such as the certificate that it belongs to: it is then
    /// neither wrapped with nor changed here.
    pub managed: bool,
    /// When it was deleted, and when it will be purged, if it is deleted. In seconds
    /// since 1970.
    pub deleted: Option<(Option<u64>, Option<u64>)>,
}

impl AzureKey {
    pub(super) fn new(uri: KeyUri, key: &JsonWebKey, versions: Vec<AzureVersion>) -> Self {
        Self {
            uri,
            versions,
            kind: key.kty.as_ref().map_or("unknown", AsRef::as_ref).to_owned(),
            bits: Self::bits_of(key),
            operations: key.key_ops.clone().unwrap_or_default(),
            managed: false,
            deleted: None,
        }
    }

    /// The bits of the modulus of an RSA key.
    pub(super) fn bits_of(key: &JsonWebKey) -> Option<u32> {
        let modulus = key.n.as_deref().unwrap_or_default();
        let modulus = &modulus[modulus.iter().take_while(|byte| **byte == 0).count()..];
        let bits = modulus.first().map(|first| modulus.len() as u64 * 8 - u64::from(first.leading_zeros()));
        bits.and_then(|bits| u32::try_from(bits).ok())
    }

    /// Whether it is a key that wraps DEKs: by its type, and by what it is permitted to
    /// do. Keys that only sign are others' business.
    #[must_use]
    pub fn wraps(&self) -> bool {
        let kinds = [KeyType::Rsa, KeyType::RsaHsm, KeyType::OctHsm, KeyType::Oct];
        let uses = ["wrapKey", "unwrapKey", "encrypt", "decrypt"];
        kinds.iter().any(|kind| kind.as_ref() == self.kind)
            && (self.operations.is_empty()
                || self.operations.iter().any(|known| uses.contains(&known.as_str())))
    }

    /// The current version.
    #[must_use]
    pub fn current(&self) -> Option<&AzureVersion> {
        self.versions.last()
    }

    /// The version of that name.
    #[must_use]
    pub fn version(&self, name: &str) -> Option<&AzureVersion> {
        self.versions.iter().find(|version| version.version == name)
    }

    /// The state of the key as a whole: what its versions still do at that moment, in
    /// seconds since 1970. A deleted key is suspended until it is purged.
    #[must_use]
    pub fn state(&self, now: u64) -> KeyState {
        if self.deleted.is_some() {
            return KeyState::Suspended;
        }
        let states: Vec<KeyState> = self.versions.iter().map(|version| version.standard(now)).collect();
        let order = [KeyState::Active, KeyState::Deactivated, KeyState::Suspended, KeyState::PreActive];
        order.into_iter().find(|state| states.contains(state)).unwrap_or(KeyState::Destroyed)
    }

    /// The description that every key store has. The details are `kind`, `bits`,
    /// `operations`, `description`, `tags`, `managed`, `deleted`, `purge`, and of each
    /// version `version`, `enabled`, `not_before`, `expires` and `updated`.
    #[must_use]
    pub fn describe(&self) -> KeyDescription {
        let now = now();
        let mut versions: Vec<_> = self.versions.iter().map(|version| version.describe(now)).collect();
        let mut details = Details::new().with("kind", self.kind.as_str());
        if let Some(bits) = self.bits {
            details = details.with("bits", bits);
        }
        if self.kind.starts_with("RSA") || self.kind.starts_with("EC") {
            details = details.with("post_quantum_safe", false);
        }
        if !self.operations.is_empty() {
            details = details.with("operations", self.operations.iter().cloned().collect::<Detail>());
        }
        if let Some(current) = self.current() {
            if let Some(words) = current.tags.get(tags::DESCRIPTION) {
                details = details.with("description", words.as_str());
            }
            let shown: Vec<String> =
                tags::shown(&current.tags).map(|(name, value)| format!("{name}={value}")).collect();
            if !shown.is_empty() {
                details = details.with("tags", shown.into_iter().collect::<Detail>());
            }
        }
        if self.managed {
            details = details.with("managed", true);
        }
        if let Some((deleted, purge)) = self.deleted {
            for version in &mut versions {
                version.state = KeyState::Suspended;
            }
            details = details
                .with("deleted", deleted.map_or(Detail::Nothing, Detail::Time))
                .with("purge", purge.map_or(Detail::Nothing, Detail::Time));
        }
        let told = self.versions.iter().map(AzureVersion::details).collect::<Detail>();
        KeyDescription::new(self.uri.clone(), self.state(now), false, versions)
            .details(details.with("versions", told))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_of_a_modulus_are_counted_without_zeros() {
        let uri = KeyUri::parse("azurekeyvault://a.vault.azure.net/keys/k").unwrap();
        let of = |n: &[u8]| {
            let key = JsonWebKey { n: Some(n.to_vec()), kty: Some(KeyType::RsaHsm), ..Default::default() };
            AzureKey::new(uri.clone(), &key, Vec::new())
        };
        assert_eq!(of(&[0, 0x80, 0]).bits, Some(16));
        assert_eq!(of(&[0x01, 0]).bits, Some(9));
        assert_eq!(of(&[]).bits, None);
        assert!(of(&[1]).wraps() && of(&[1]).kind == "RSA-HSM");
    }
}
