//! [`ListenSettings`]: what the table `[mcp.listen]` of a configuration file says of the network.

use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use serde::Deserialize;

use super::{CredentialFiles, Limits, ListenOptions, OptionsError};

/// What the table `[mcp.listen]` of a configuration file says of the network. `docs/mcp.md` explains each setting.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub struct ListenSettings {
    /// Where to listen: `127.0.0.1:8443`.
    pub address: Option<SocketAddr>,
    /// PEM file of the server's certificate and those up to its authority.
    pub certificate: Option<PathBuf>,
    /// PEM file of its private key.
    pub key: Option<PathBuf>,
    /// PEM file of the authorities of clients.
    pub ca: Option<PathBuf>,
    /// PEM file of their revocation lists.
    pub crl: Option<PathBuf>,
    /// Whether a list counts that should have been replaced by now.
    pub accept_stale_crl: bool,
    /// Networks that may connect.
    pub networks: Option<Vec<IpNet>>,
    /// `Host`s of requests.
    pub hosts: Vec<String>,
    /// `Origin`s of requests.
    pub origins: Vec<String>,
    /// Limits that are not the usual ones.
    pub limits: LimitSettings,
}

/// The table `[mcp.listen.limits]`. Times are in seconds.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub struct LimitSettings {
    /// [`Limits::handshakes`].
    pub handshakes: Option<NonZeroUsize>,
    /// [`Limits::connections`].
    pub connections: Option<NonZeroUsize>,
    /// [`Limits::connections_of_client`].
    pub connections_of_client: Option<NonZeroUsize>,
    /// [`Limits::connections_of_address`].
    pub connections_of_address: Option<NonZeroUsize>,
    /// [`Limits::requests_per_second`].
    pub requests_per_second: Option<NonZeroU32>,
    /// [`Limits::burst`]; twice the requests per second unless said.
    pub burst: Option<NonZeroU32>,
    /// [`Limits::header`].
    pub header: Option<usize>,
    /// [`Limits::body`].
    pub body: Option<usize>,
    /// [`Limits::handshake_time`].
    pub handshake_time: Option<NonZeroU32>,
    /// [`Limits::idle_time`].
    pub idle_time: Option<NonZeroU32>,
    /// [`Limits::body_time`].
    pub body_time: Option<NonZeroU32>,
    /// [`Limits::stall_time`].
    pub stall_time: Option<NonZeroU32>,
    /// [`Limits::call_time`].
    pub call_time: Option<NonZeroU32>,
    /// [`Limits::connection_time`].
    pub connection_time: Option<NonZeroU32>,
    /// [`Limits::drain_time`].
    pub drain_time: Option<NonZeroU32>,
}

impl ListenSettings {
    /// Options of these settings.
    ///
    /// # Errors
    ///
    /// [`OptionsError`] with the setting that is missing.
    pub fn options(&self) -> Result<ListenOptions, OptionsError> {
        let missing = |setting| OptionsError { setting, what: "it is not said".into() };
        // A relative path would be another file for each folder that the server is started in.
        let file = |setting, path: &Option<PathBuf>| match path {
            None => Err(missing(setting)),
            Some(path) if path.is_relative() => {
                Err(OptionsError { setting, what: "it is a path from / on".into() })
            }
            Some(path) => Ok(path.clone()),
        };
        let files = CredentialFiles {
            certificate: file("certificate", &self.certificate)?,
            key: file("key", &self.key)?,
            ca: file("ca", &self.ca)?,
            crl: self.crl.as_ref().map(|_| file("crl", &self.crl)).transpose()?,
            accept_stale_crl: self.accept_stale_crl,
        };
        let mut options = ListenOptions::new(self.address.ok_or_else(|| missing("address"))?, files);
        if let Some(networks) = &self.networks {
            options.networks.clone_from(networks);
        }
        options.hosts.clone_from(&self.hosts);
        options.origins.clone_from(&self.origins);
        options.limits = self.limits.over(&options.limits);
        options.check()?;
        Ok(options)
    }
}

impl LimitSettings {
    fn over(&self, limits: &Limits) -> Limits {
        let time = |said: Option<NonZeroU32>, usual| {
            said.map_or(usual, |said| Duration::from_secs(said.get().into()))
        };
        let per_second = self.requests_per_second.unwrap_or(limits.requests_per_second);
        Limits {
            handshakes: self.handshakes.unwrap_or(limits.handshakes),
            connections: self.connections.unwrap_or(limits.connections),
            connections_of_client: self.connections_of_client.unwrap_or(limits.connections_of_client),
            connections_of_address: self.connections_of_address.unwrap_or(limits.connections_of_address),
            requests_per_second: per_second,
            burst: self.burst.unwrap_or_else(|| per_second.saturating_mul(NonZeroU32::MIN.saturating_add(1))),
            header: self.header.unwrap_or(limits.header),
            body: self.body.unwrap_or(limits.body),
            handshake_time: time(self.handshake_time, limits.handshake_time),
            idle_time: time(self.idle_time, limits.idle_time),
            body_time: time(self.body_time, limits.body_time),
            stall_time: time(self.stall_time, limits.stall_time),
            call_time: time(self.call_time, limits.call_time),
            connection_time: time(self.connection_time, limits.connection_time),
            drain_time: time(self.drain_time, limits.drain_time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_is_missing_is_named() {
        let mut settings = ListenSettings::default();
        let named = |settings: &ListenSettings| settings.options().map_err(|error| error.setting);
        assert_eq!(named(&settings).unwrap_err(), "certificate");
        settings.certificate = Some("server.pem".into());
        assert_eq!(
            settings.options().unwrap_err().to_string(),
            "[mcp.listen]: `certificate`: it is a path from / on"
        );
        settings.certificate = Some("/server.pem".into());
        assert_eq!(named(&settings).unwrap_err(), "key");
        settings.key = Some("/server.key".into());
        assert_eq!(named(&settings).unwrap_err(), "ca");
        settings.ca = Some("/ca.pem".into());
        assert_eq!(named(&settings).unwrap_err(), "address");
        settings.address = Some("127.0.0.1:8443".parse().unwrap());
        assert_eq!(named(&settings).unwrap().files.crl, None);
    }

    #[test]
    fn the_burst_follows_the_rate() {
        let settings = LimitSettings { requests_per_second: NonZeroU32::new(5), ..LimitSettings::default() };
        let limits = settings.over(&Limits::default());
        assert_eq!((limits.requests_per_second.get(), limits.burst.get()), (5, 10));
    }
}
