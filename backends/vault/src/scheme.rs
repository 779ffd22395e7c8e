//! [`VaultScheme`]: keys of Transit in a registry.

use std::sync::Arc;

use async_trait::async_trait;
use envelope_sdk::{
    KeyAdmin, KeyProvider, KeyUri, ProviderError,
    ProviderErrorKind::{Invalid, Unsupported},
    admin::Details,
    key_uri::vault::TransitKeyName,
    registry::{Purpose, Scheme},
};

use crate::{
    HashiVault, HashiVaultBuilder,
    failure::{NAME, failure},
};

/// Opens `hashivault:` keys, all of them with one [`HashiVault`].
///
/// Files, programs and sockets are used only if nobody but their owner can have written or read
/// them ([`HashiVaultBuilder::trusted_files_only`]). Nothing is read or asked before a key is
/// used.
pub struct VaultScheme {
    vault: Arc<HashiVault>,
}

impl VaultScheme {
    /// A key store with these settings.
    #[must_use]
    pub fn new(settings: HashiVaultBuilder) -> Self {
        Self { vault: Arc::new(settings.trusted_files_only().build()) }
    }
}

#[async_trait]
impl Scheme for VaultScheme {
    fn provider(&self) -> &'static str {
        NAME
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["hashivault"]
    }

    fn open(&self, key: &KeyUri, _purpose: Purpose) -> Result<Arc<dyn KeyProvider>, ProviderError> {
        name_of(key)?;
        Ok(Arc::clone(&self.vault) as _)
    }

    /// What sops writes as `hc_vault_transit_uri` (`https://HOST:PORT/v1/MOUNT/keys/KEY`) is the key
    /// `hashivault://MOUNT/KEY`, if the server is the one of the settings or of the environment.
    fn key_of_other_tools(&self, name: &str) -> Result<Option<KeyUri>, ProviderError> {
        let Some((server, rest)) = name.rsplit_once("/v1/").filter(|_| is_url(name)) else {
            return Ok(None);
        };
        let Some((mount, key)) = rest.rsplit_once("/keys/") else { return Ok(None) };
        let Ok(uri) = KeyUri::parse(&format!("hashivault://{mount}/{key}")) else { return Ok(None) };
        let known = self.vault.reach().plan().url()?;
        if known.as_deref().is_some_and(|known| is_same_server(known, server)) {
            return Ok(Some(uri));
        }
        let message = match known {
            Some(_) => OTHER_SERVER,
            None => NO_SERVER,
        };
        Err(failure(Invalid, &uri, message))
    }

    fn admin(&self, key: Option<&KeyUri>) -> Result<Arc<dyn KeyAdmin>, ProviderError> {
        key.map(name_of).transpose()?;
        Ok(Arc::clone(&self.vault) as _)
    }

    /// The address of the server, unless it is an agent's socket, and the mount in which keys
    /// are made and listed. Nobody is asked over the network.
    async fn survey(&self) -> Result<Details, ProviderError> {
        Ok(Details::new()
            .with("address", self.vault.reach().plan().url()?)
            .with("mount", self.vault.mount())
            .with("context_binding", self.vault.binding().name()))
    }
}

/// The parts of a key URI of Transit.
pub(crate) fn name_of(key: &KeyUri) -> Result<TransitKeyName<'_>, ProviderError> {
    TransitKeyName::of(key).ok_or_else(|| {
        let message = "a key of Transit is named hashivault://MOUNT/KEY, such as hashivault://transit/orders";
        failure(Unsupported, key, message)
    })
}

fn is_url(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}

/// Scheme and host have no case, and a port that goes without saying may be said.
fn is_same_server(one: &str, other: &str) -> bool {
    let [Ok(one), Ok(other)] = [one, other].map(reqwest::Url::parse) else { return false };
    let path = |url: &reqwest::Url| url.path().trim_end_matches('/').to_owned();
    one.origin() == other.origin()
        && path(&one) == path(&other)
        && [&one, &other].iter().all(|url| {
            url.username().is_empty() && url.password().is_none() && url.query().or(url.fragment()).is_none()
        })
}

const OTHER_SERVER: &str = "that URL names another server than the settings and the environment do (`address`, VAULT_ADDR): a \
                            token goes to no server that only the name of a key says";
const NO_SERVER: &str =
    "the server of that URL is not the one that is configured, since none is: set `address`, or VAULT_ADDR";

#[cfg(test)]
mod tests {
    use super::*;

    fn named(address: &str, name: &str) -> Result<Option<String>, ProviderError> {
        let scheme = VaultScheme::new(HashiVault::builder().address(address));
        scheme.key_of_other_tools(name).map(|key| key.map(|key| key.as_str().to_owned()))
    }

    #[test]
    fn a_transit_uri_of_sops_is_a_key_of_the_server_that_is_configured() {
        for (address, name, key) in [
            (
                "https://vault.example:8200",
                "https://vault.example:8200/v1/transit/keys/orders",
                "transit/orders",
            ),
            ("https://Vault.Example/", "https://vault.example:443/v1/team/sops/keys/a.b", "team/sops/a.b"),
            ("http://127.0.0.1:8200", "http://127.0.0.1:8200/v1/sops/keys/firstkey", "sops/firstkey"),
            ("https://proxy.example/vault", "https://proxy.example/vault/v1/transit/keys/k", "transit/k"),
        ] {
            assert_eq!(named(address, name).unwrap(), Some(format!("hashivault://{key}")), "{name}");
        }
    }

    #[test]
    fn a_transit_uri_of_another_server_is_refused() {
        for name in [
            "https://other.example:8200/v1/transit/keys/orders",
            "https://vault.example/v1/transit/keys/orders",
            "http://vault.example:8200/v1/transit/keys/orders",
            "https://vault.example:8200/other/v1/transit/keys/orders",
            "https://user@vault.example:8200/v1/transit/keys/orders",
            "https://vault.example:8200@evil.example/v1/transit/keys/orders",
            "https://vault.example:8200?x/v1/transit/keys/orders",
            "https://vault.example:8200#x/v1/transit/keys/orders",
            "https://vault.example:8200/v1/team/v1/transit/keys/orders",
        ] {
            let error = named("https://vault.example:8200", name).unwrap_err();
            assert_eq!(error.kind(), Invalid, "{name}");
            assert!(error.message().contains("another server"), "{error}");
        }
    }

    #[test]
    fn what_is_no_transit_uri_is_left_to_others() {
        for name in [
            "orders",
            "https://shop.vault.azure.net/keys/orders",
            "https://vault.example:8200/v1/transit/encrypt/orders",
            "https://vault.example:8200/v1/transit/keys/",
            "https://vault.example:8200/v1/transit/keys/a b",
            "https://vault.example:8200/v1//keys/a",
            "ftp://vault.example:8200/v1/transit/keys/a",
        ] {
            assert_eq!(named("https://vault.example:8200", name).unwrap(), None, "{name}");
        }
    }
}
