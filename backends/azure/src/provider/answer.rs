//! What an answer must hold: of the key that was asked, and of the length that it has.

use azure_security_keyvault_keys::models::KeyOperationResult;
use envelope_sdk::{
    Dek, KeyUri, ProviderError,
    ProviderErrorKind::{Protocol, Unauthentic},
};
use zeroize::Zeroizing;

use super::algorithm::{DEK_LEN, IV_LEN, TAG_LEN, Wrap};
use crate::failure::failure;

/// The version in a key identifier `https://HOST/keys/NAME/VERSION` of that vault and
/// key; `None` when it is none of it. Names of keys have no case.
pub(crate) fn version_of<'k>(url: &str, name: &str, kid: &'k str) -> Option<&'k str> {
    let rest = kid.strip_prefix(url)?.strip_prefix("/keys/")?;
    let (named, version) = rest.split_once('/')?;
    (named.eq_ignore_ascii_case(name) && is_version(version)).then_some(version)
}

/// Azure writes 32 hexadecimal digits, in lower case. What is read goes into a path.
pub(crate) fn is_version(version: &str) -> bool {
    version.len() == VERSION_LEN
        && version.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// The version that answered for the key that was asked.
pub(super) fn of_key(
    key: &KeyUri,
    url: &str,
    name: &str,
    kid: Option<&str>,
) -> Result<String, ProviderError> {
    let version = kid.and_then(|kid| version_of(url, name, kid));
    version.map(str::to_owned).ok_or_else(|| failure(Protocol, key, OTHER_KEY))
}

/// The bytes of a new wrap.
pub(super) fn wrapped(key: &KeyUri, wrap: Wrap, told: KeyOperationResult) -> Result<Vec<u8>, ProviderError> {
    let mut bytes = Vec::new();
    let mut odd = false;
    if wrap.encrypts() {
        let iv = told.iv.unwrap_or_default();
        odd |= iv.len() != IV_LEN;
        bytes.extend_from_slice(&iv);
    }
    let value = told.result.unwrap_or_default();
    odd |= wrap.encrypts() && value.len() != DEK_LEN;
    bytes.extend_from_slice(&value);
    if wrap.encrypts() {
        let tag = told.authentication_tag.unwrap_or_default();
        odd |= tag.len() != TAG_LEN;
        bytes.extend_from_slice(&tag);
    }
    if odd || wrap.split(&bytes).is_none() {
        let message = format!(
            "the vault answered with {} bytes, which are no DEK wrapped by {}: do not trust what stands between",
            bytes.len(),
            wrap.name()
        );
        return Err(failure(Protocol, key, message));
    }
    Ok(bytes)
}

/// The DEK of an answer of that version.
pub(super) fn dek(
    key: &KeyUri,
    asked: &str,
    version: &str,
    told: KeyOperationResult,
) -> Result<Dek, ProviderError> {
    let plaintext = Zeroizing::new(told.result.unwrap_or_default());
    if !version.eq_ignore_ascii_case(asked) {
        return Err(failure(Protocol, key, OTHER_VERSION));
    }
    if plaintext.is_empty() {
        let message = "the vault answered without a plaintext: do not trust what stands between";
        return Err(failure(Protocol, key, message));
    }
    // Wrong bytes in the wrap of another writer, not an answer that is broken.
    Dek::from_slice(&plaintext)
        .map_err(|_| failure(Unauthentic, key, "the plaintext is no DEK, which has 32 bytes"))
}

const VERSION_LEN: usize = 32;
const OTHER_KEY: &str =
    "the vault did not answer for a version of the key that was asked: do not trust what stands between";
const OTHER_VERSION: &str =
    "the vault answered for another version than the one that wrapped: do not trust what stands between";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_one_of_the_vault_and_the_key() {
        let version = "0123456789abcdef0123456789abcdef";
        let url = "https://a.vault.azure.net";
        let of = |kid: &str| version_of(url, "k", kid).map(str::to_owned);
        assert_eq!(of(&format!("{url}/keys/k/{version}")).as_deref(), Some(version));
        assert_eq!(of(&format!("{url}/keys/K/{version}")).as_deref(), Some(version));
        for bad in [
            format!("{url}/keys/k"),
            format!("{url}/keys/k/"),
            format!("{url}/keys/k2/{version}"),
            format!("{url}/keys/k/{version}/"),
            format!("{url}/keys/k/{version}0"),
            format!("{url}/secrets/k/{version}"),
            format!("{url}.example/keys/k/{version}"),
            format!("https://b.vault.azure.net/keys/k/{version}"),
            format!("http://a.vault.azure.net/keys/k/{version}"),
            format!("{url}/keys/k/../{}", &version[3..]),
            String::new(),
        ] {
            assert_eq!(of(&bad), None, "{bad}");
        }
    }
}
