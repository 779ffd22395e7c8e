//! The clouds: which domains vaults have, whom tokens are asked of, and for what.
//!
//! A key URI names one of a short list of domains
//! ([`envelope_sdk::key_uri::azure`]), so that no URI leads a token anywhere else.
//! Sources: <https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates#dns-suffixes-for-object-identifiers>,
//! <https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud>.

use envelope_sdk::{ProviderError, ProviderErrorKind::Invalid, key_uri::azure::VaultKey};

use crate::failure::failure;

/// One of Microsoft's clouds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cloud {
    Public,
    China,
    Government,
}

impl Cloud {
    pub(crate) const COUNT: usize = 3;

    fn of(host: &str) -> Self {
        if host.ends_with(".azure.cn") {
            Self::China
        } else if host.ends_with(".usgovcloudapi.net") {
            Self::Government
        } else {
            Self::Public
        }
    }

    fn domain(self) -> &'static str {
        match self {
            Self::Public => "azure.net",
            Self::China => "azure.cn",
            Self::Government => "usgovcloudapi.net",
        }
    }

    /// Where tokens of this cloud are asked for.
    pub(crate) fn authority(self) -> &'static str {
        match self {
            Self::Public => "https://login.microsoftonline.com",
            Self::China => "https://login.chinacloudapi.cn",
            Self::Government => "https://login.microsoftonline.us",
        }
    }
}

/// Where a vault or managed HSM is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) cloud: Cloud,
    /// `https://HOST` or, for a server of tests, `https://HOST:PORT`.
    pub(crate) url: String,
    /// What tokens may be for: a challenge that asks for another is refused.
    pub(crate) audiences: Vec<String>,
}

/// The domain of a server of tests in place of Microsoft's: `localhost` or
/// `localhost:PORT`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Domain(pub(crate) Option<String>);

impl Domain {
    /// The domain, if it is one of this machine.
    pub(crate) fn checked(&self) -> Result<Option<&str>, ProviderError> {
        let Some(domain) = &self.0 else { return Ok(None) };
        // As a URL is shown: without a port that its scheme has by default.
        if domain == "localhost:443" {
            return Ok(Some("localhost"));
        }
        let port = domain.strip_prefix("localhost").map(|rest| rest.strip_prefix(':').unwrap_or(rest));
        let fits = match port {
            Some("") => domain == "localhost",
            Some(text) => {
                domain.contains(':')
                    && text.parse::<u16>().is_ok_and(|port| port > 0 && port.to_string() == text)
            }
            None => false,
        };
        if fits {
            return Ok(Some(domain));
        }
        let message = "the domain in place of Microsoft's is `localhost` or `localhost:PORT`: for anything else key URIs \
                       name the domain themselves";
        Err(failure(Invalid, None, message))
    }

    /// Where the vault of a key is asked.
    pub(crate) fn place(&self, name: VaultKey<'_>) -> Result<Place, ProviderError> {
        let cloud = Cloud::of(name.host);
        let service = if name.is_managed_hsm() { "managedhsm" } else { "vault" };
        let audience = |domain: &str| format!("https://{service}.{domain}/.default");
        Ok(match self.checked()? {
            None => Place {
                cloud,
                url: format!("https://{}", name.host),
                audiences: vec![audience(cloud.domain())],
            },
            Some(domain) => Place {
                cloud,
                url: format!("https://{}.{service}.{domain}", name.vault),
                audiences: vec![audience(domain), audience("localhost")],
            },
        })
    }

    /// Where tokens are asked for, unless the settings say it.
    pub(crate) fn authority(&self, cloud: Cloud) -> Result<String, ProviderError> {
        Ok(match self.checked()? {
            None => cloud.authority().to_owned(),
            Some(domain) => format!("https://login.{domain}"),
        })
    }
}

/// Whether it stands in a host that only this machine answers for.
pub(crate) fn is_local(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use envelope_sdk::KeyUri;

    use super::*;

    fn place(host: &str, domain: Option<&str>) -> Place {
        let uri = KeyUri::parse(&format!("azurekeyvault://{host}/keys/k")).unwrap();
        Domain(domain.map(str::to_owned)).place(VaultKey::of(&uri).unwrap()).unwrap()
    }

    #[test]
    fn each_cloud_has_its_audience_and_its_authority() {
        for (host, audience, authority) in [
            ("a.vault.azure.net", "https://vault.azure.net/.default", "https://login.microsoftonline.com"),
            (
                "a.managedhsm.azure.net",
                "https://managedhsm.azure.net/.default",
                "https://login.microsoftonline.com",
            ),
            ("a.vault.azure.cn", "https://vault.azure.cn/.default", "https://login.chinacloudapi.cn"),
            (
                "a.vault.usgovcloudapi.net",
                "https://vault.usgovcloudapi.net/.default",
                "https://login.microsoftonline.us",
            ),
            (
                "a.managedhsm.usgovcloudapi.net",
                "https://managedhsm.usgovcloudapi.net/.default",
                "https://login.microsoftonline.us",
            ),
        ] {
            let place = place(host, None);
            assert_eq!(place.url, format!("https://{host}"));
            assert_eq!(place.audiences, [audience]);
            assert_eq!(place.cloud.authority(), authority);
        }
    }

    #[test]
    fn a_server_of_tests_is_on_this_machine_by_https() {
        let place = place("a.managedhsm.azure.net", Some("localhost:8443"));
        assert_eq!(place.url, "https://a.managedhsm.localhost:8443");
        let place = self::place("a.vault.azure.net", Some("localhost:443"));
        assert_eq!(place.url, "https://a.vault.localhost");
        for bad in [
            "",
            "localhost:",
            "localhost:0",
            "localhosts",
            "localhost.example",
            "example",
            "localhost:1/x",
            "localhost:01",
            "localhost:+1",
            "localhost1",
        ] {
            let error = Domain(Some(bad.to_owned())).checked().unwrap_err();
            assert!(
                error.kind() == Invalid && error.message().contains("`localhost:PORT`"),
                "{bad}: {error}"
            );
        }
        for good in ["localhost", "localhost:1"] {
            assert!(Domain(Some(good.to_owned())).checked().is_ok(), "{good}");
        }
    }
}
