//! Keys of Azure Key Vault and Managed HSM:
//! `azurekeyvault://VAULT.vault.azure.net/keys/NAME`.

use super::{KeyUri, Normalised};

/// The parts of a key identifier without its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct VaultKey<'u> {
    /// The host of the vault or managed HSM.
    pub host: &'u str,
    /// The name of the vault or managed HSM: the first label of the host.
    pub vault: &'u str,
    /// The key.
    pub key: &'u str,
}

impl<'u> VaultKey<'u> {
    /// The parts of a key URI, or `None` when it is not one of Azure.
    #[must_use]
    pub fn of(uri: &'u KeyUri) -> Option<Self> {
        Self::parse(uri.rest().strip_prefix("//").filter(|_| uri.scheme() == SCHEME)?).ok()
    }

    /// Whether the host is a managed HSM.
    #[must_use]
    pub fn is_managed_hsm(&self) -> bool {
        self.host[self.vault.len()..].starts_with(".managedhsm.")
    }

    fn parse(text: &'u str) -> Result<Self, &'static str> {
        let mut parts = text.split('/');
        let (Some(host), Some("keys"), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(FORM);
        };
        if parts.next().is_some() {
            return Err(
                "must not name a key version: the current one wraps, and each header says which one did",
            );
        }
        let vault = SUFFIXES.iter().find_map(|suffix| host.strip_suffix(suffix)).ok_or(FORM)?;
        let label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let named = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let fits = !vault.is_empty() && vault.bytes().all(label) && !key.is_empty() && key.bytes().all(named);
        if fits { Ok(Self { host, vault, key }) } else { Err(FORM) }
    }
}

pub(super) fn normalise(rest: &str) -> Normalised {
    let VaultKey { host, key, .. } = VaultKey::parse(rest)?;
    Ok((format!("{SCHEME}://{host}/keys/{key}"), true))
}

const SCHEME: &str = "azurekeyvault";
pub(super) const FORM: &str =
    "must be azurekeyvault://VAULT.vault.azure.net/keys/NAME, in lower case up to the key's name";
const SUFFIXES: [&str; 6] = [
    ".vault.azure.net",
    ".managedhsm.azure.net",
    ".vault.azure.cn",
    ".managedhsm.azure.cn",
    ".vault.usgovcloudapi.net",
    ".managedhsm.usgovcloudapi.net",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_vault_and_of_a_managed_hsm_are_told_apart() {
        for (host, vault, hsm) in
            [("my-vault.vault.azure.net", "my-vault", false), ("h1.managedhsm.azure.cn", "h1", true)]
        {
            let uri = KeyUri::parse(&format!("azurekeyvault://{host}/keys/Key-1")).unwrap();
            let key = VaultKey::of(&uri).unwrap();
            assert_eq!((key.host, key.vault, key.key, key.is_managed_hsm()), (host, vault, "Key-1", hsm));
        }
        assert_eq!(VaultKey::of(&KeyUri::passphrase()), None);
    }
}
