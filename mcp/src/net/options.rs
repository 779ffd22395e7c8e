//! [`ListenOptions`]: where the server listens, and for whom.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{CredentialFiles, Limits, hosts};

/// Where the server listens, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenOptions {
    /// The address. Port 0 is any that is free.
    pub address: SocketAddr,
    /// The files of certificate, key, authorities and revocation lists.
    pub files: CredentialFiles,
    /// The networks that may connect: the loopback ones unless said.
    pub networks: Vec<IpNet>,
    /// `HOST` or `HOST:PORT` of requests: the names in the certificate, at any port, if there are none here.
    pub hosts: Vec<String>,
    /// The origins of web pages that may call, such as `https://app.example`: none unless said.
    pub origins: Vec<String>,
    /// How much of everything.
    pub limits: Limits,
}

/// A setting that is not right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("[mcp.listen]: `{setting}`: {what}")]
pub struct OptionsError {
    /// Its name in the table `[mcp.listen]`.
    pub setting: &'static str,
    /// What is wrong.
    pub what: String,
}

impl ListenOptions {
    /// Listens at `address` with these files.
    #[must_use]
    pub fn new(address: SocketAddr, files: CredentialFiles) -> Self {
        Self {
            address,
            files,
            networks: loopback(),
            hosts: Vec::new(),
            origins: Vec::new(),
            limits: Limits::default(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), OptionsError> {
        let wrong = |setting, what: &str| Err(OptionsError { setting, what: what.into() });
        if self.networks.is_empty() {
            return wrong("networks", "nobody could connect");
        }
        if self.hosts.iter().any(|host| !hosts::is_valid_host(host)) {
            return wrong("hosts", "a host is written `mcp.example` or `mcp.example:8443`, without a star");
        }
        if self.origins.iter().any(|origin| !hosts::is_valid_origin(origin)) {
            return wrong(
                "origins",
                "an origin is written `https://app.example`, with a port unless it is the usual one",
            );
        }
        // What hyper takes.
        if self.limits.header < 8 * 1024 || self.limits.header > 1024 * 1024 {
            return wrong("limits.header", "8 KiB to 1 MiB");
        }
        if self.limits.body == 0 {
            return wrong("limits.body", "at least 1");
        }
        Ok(())
    }

    /// Whether this address is in a network that may connect. An IPv4 address inside of IPv6 is the IPv4 address.
    pub(crate) fn is_of_network(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }
}

fn loopback() -> Vec<IpNet> {
    // 127.0.0.0/8, RFC 1122 section 3.2.1.3; ::1, RFC 4291 section 2.5.3.
    let four = Ipv4Net::new_assert(Ipv4Addr::LOCALHOST, 8).trunc();
    vec![four.into(), Ipv6Net::from(Ipv6Addr::LOCALHOST).into()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(networks: &[&str]) -> ListenOptions {
        let files = CredentialFiles {
            certificate: "c".into(),
            key: "k".into(),
            ca: "a".into(),
            crl: None,
            accept_stale_crl: false,
        };
        let mut options = ListenOptions::new("127.0.0.1:0".parse().unwrap(), files);
        if !networks.is_empty() {
            options.networks = networks.iter().map(|network| network.parse().unwrap()).collect();
        }
        options
    }

    #[test]
    fn without_networks_only_this_machine_may_connect() {
        let options = options(&[]);
        for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(options.is_of_network(address.parse().unwrap()), "{address}");
        }
        for address in ["10.0.0.1", "::2", "::ffff:10.0.0.1", "fe80::1"] {
            assert!(!options.is_of_network(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn an_address_is_of_a_network_by_its_prefix() {
        let options = options(&["192.0.2.0/25", "2001:db8::/32"]);
        for (address, is) in [
            ("192.0.2.127", true),
            ("192.0.2.128", false),
            ("::ffff:192.0.2.1", true),
            ("2001:db8:ffff::1", true),
            ("2001:db9::1", false),
            ("127.0.0.1", false),
        ] {
            assert_eq!(options.is_of_network(address.parse().unwrap()), is, "{address}");
        }
    }

    #[test]
    fn a_setting_that_is_not_right_is_named() {
        let setting = |change: fn(&mut ListenOptions)| {
            let mut options = options(&[]);
            change(&mut options);
            options.check().map_err(|error| error.setting)
        };
        assert_eq!(setting(|_| {}), Ok(()));
        assert_eq!(setting(|options| options.networks.clear()), Err("networks"));
        assert_eq!(setting(|options| options.hosts.push("*".into())), Err("hosts"));
        assert_eq!(setting(|options| options.origins.push("null".into())), Err("origins"));
        assert_eq!(setting(|options| options.limits.header = 1), Err("limits.header"));
        assert_eq!(setting(|options| options.limits.body = 0), Err("limits.body"));
    }
}
