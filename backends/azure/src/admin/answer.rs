//! What a vault says that it made, compared with what was asked of it.

use std::collections::{BTreeSet, HashMap};

use azure_security_keyvault_keys::models::{CreateKeyParameters, Key, KeyType};

use super::key::AzureKey;

/// What of a new key is not as it was asked for. Who asks for a key of an HSM is not content
/// with one in software.
pub(super) fn differs(asked: &CreateKeyParameters, told: &Key) -> Option<&'static str> {
    let key = told.key.clone().unwrap_or_default();
    let is_rsa = matches!(asked.kty, Some(KeyType::Rsa | KeyType::RsaHsm));
    let bits = || AzureKey::bits_of(&key).and_then(|bits| i32::try_from(bits).ok());
    let attributes = told.attributes.clone().unwrap_or_default();
    let wanted = asked.key_attributes.clone().unwrap_or_default();
    let permitted: BTreeSet<&str> = key.key_ops.iter().flatten().map(String::as_str).collect();
    let tags = |tags: &Option<HashMap<String, String>>| tags.clone().unwrap_or_default();
    if key.kty != asked.kty {
        Some("its kind, or whether it is in an HSM,")
    } else if (is_rsa && bits() != asked.key_size) || (!is_rsa && key.n.is_some()) {
        Some("its size")
    } else if is_rsa
        && key.e.as_deref().is_none_or(|e| e.iter().copied().skip_while(|byte| *byte == 0).ne(F4))
    {
        Some("its public exponent")
    } else if key.crv.is_some() {
        Some("its curve")
    } else if permitted != asked.key_ops.iter().flatten().map(AsRef::as_ref).collect() {
        Some("what it is permitted to do")
    } else if attributes.exportable == Some(true) || told.release_policy.is_some() {
        Some("that it can be exported")
    } else if told.managed == Some(true) {
        Some("that another object manages it")
    } else if attributes.enabled != wanted.enabled {
        Some("whether it is enabled")
    } else if attributes.not_before != wanted.not_before {
        Some("its beginning")
    } else if attributes.expires != wanted.expires {
        Some("its expiry")
    } else if tags(&told.tags) != tags(&asked.tags) {
        Some("its tags or description")
    } else {
        None
    }
}

/// What of a new version is not as the one before it.
pub(super) fn differs_from(before: &AzureKey, told: &Key) -> Option<&'static str> {
    let key = told.key.clone().unwrap_or_default();
    let attributes = told.attributes.clone().unwrap_or_default();
    if key.kty.as_ref().map(AsRef::as_ref) != Some(before.kind.as_str()) {
        Some("its kind, or whether it is in an HSM,")
    } else if AzureKey::bits_of(&key) != before.bits {
        Some("its size")
    } else if attributes.exportable == Some(true) || told.release_policy.is_some() {
        Some("that it can be exported")
    } else {
        None
    }
}

/// The exponent of each key of Azure that is made without another one.
const F4: [u8; 3] = [1, 0, 1];
