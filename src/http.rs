//! What every key store behind HTTP demands of the way to it: no plain text off
//! this machine, and no answer without an end in size or time.
//!
//! And what their errors have in common: what a status means, and what may be
//! shown of the causes of an error.
//!
//! Rules, numbers and words only: this crate speaks no HTTP. A backend applies them
//! where its requests leave and its answers come in, so that no setting of the
//! environment, of a profile or of a client that was made elsewhere goes past
//! them.

use std::{
    error::Error,
    net::{Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use crate::{ProviderErrorKind, printable};

/// Refuses an endpoint to which a DEK must not be sent: one that is neither
/// `https` nor, for tests and proxies on this machine, plain `http` to
/// `127.0.0.0/8`, `::1` or `localhost`. Names that merely resolve to these are
/// refused, since whoever answers for the name chooses the machine.
///
/// `url` is the endpoint, or a whole request's URL.
///
/// ```
/// use envelope_sdk::http::check_endpoint;
///
/// assert!(check_endpoint("https://kms.eu-central-1.amazonaws.com").is_ok());
/// assert!(check_endpoint("http://127.0.0.1:4566").is_ok());
/// assert!(check_endpoint("http://kms.example").is_err());
/// ```
///
/// # Errors
///
/// [`EndpointError`]; it shows the host alone, never the rest of the URL.
pub fn check_endpoint(url: &str) -> Result<(), EndpointError> {
    check(url, is_loopback)
}

/// As [`check_endpoint`] for the source of a cloud's credentials. Where these
/// come from the metadata of an instance or the agent of a container, plain
/// `http` to a link-local address is how the cloud does it: `169.254.0.0/16`,
/// `fe80::/10` and `fd00:ec2::/32` are permitted too.
///
/// # Errors
///
/// As [`check_endpoint`].
pub fn check_credential_endpoint(url: &str) -> Result<(), EndpointError> {
    check(url, |host| is_loopback(host) || is_link_local(host))
}

/// Why an endpoint is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// It has no scheme and host, or a host or port that cannot be.
    #[error("the endpoint is no URL of the form https://HOST:PORT")]
    NotAnEndpoint,
    /// It has a user name or password, which would hide the host from a reader and end up in logs.
    #[error("the endpoint holds a user name or password: remove what stands before the @")]
    Userinfo,
    /// It is plain `http` to another machine.
    #[error(
        "plain http to {host} would show keys to whoever is on the way: use https, or http on loopback \
         (127.0.0.1, ::1, localhost) alone"
    )]
    PlainHttp {
        /// The host, safe to show.
        host: String,
    },
}

/// What a status means where a key store says no more, or nothing that is known.
///
/// | Status | Kind |
/// |---|---|
/// | 200–299 | `Protocol`: what came is no answer |
/// | 400 | `Invalid` |
/// | 401, 403 | `AccessDenied` |
/// | 404, 410 | `NotFound` |
/// | 408, 500–599 but 501 | `Unavailable` |
/// | 409, 412 | `State` |
/// | 429 | `Throttled` |
/// | 501 | `Unsupported` |
/// | others | `Other` |
#[must_use]
pub const fn kind_of_status(status: u16) -> ProviderErrorKind {
    match status {
        200..=299 => ProviderErrorKind::Protocol,
        400 => ProviderErrorKind::Invalid,
        401 | 403 => ProviderErrorKind::AccessDenied,
        404 | 410 => ProviderErrorKind::NotFound,
        409 | 412 => ProviderErrorKind::State,
        429 => ProviderErrorKind::Throttled,
        NOT_IMPLEMENTED => ProviderErrorKind::Unsupported,
        408 | 500..=599 => ProviderErrorKind::Unavailable,
        _ => ProviderErrorKind::Other,
    }
}

/// The pause that a `Retry-After` asks for, from its value. `None` for a date, which is for people: nobody's
/// clock is asked; and for what is no number of seconds (RFC 9110, section 10.2.3).
#[must_use]
pub fn retry_after(value: &str) -> Option<Duration> {
    value.trim().parse().ok().map(Duration::from_secs)
}

/// The first error of this type among an error and its causes.
#[must_use]
pub fn find_cause<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// What an error and its causes say, on one line, cut to a readable length and
/// safe to show. For errors of connections, settings and files. Never for one
/// that may hold a request or an answer: a server, or who stands before one, may
/// repeat the DEK that it was sent, and SDKs show requests.
#[must_use]
pub fn causes(error: &dyn Error) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let said = printable::cut(error.to_string().trim_end_matches('.'), SHOWN_OF_A_CAUSE);
        if words.last() != Some(&said) {
            words.push(said);
        }
        next = error.source();
    }
    words.join(": ")
}

fn check(url: &str, may_be_plain: impl Fn(&str) -> bool) -> Result<(), EndpointError> {
    let (scheme, rest) = url.split_once("://").ok_or(EndpointError::NotAnEndpoint)?;
    // Some readers of URLs take a backslash for a slash, and drop blanks and line ends.
    if url.contains('\\') || url.chars().any(|character| character.is_control() || character == ' ') {
        return Err(EndpointError::NotAnEndpoint);
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(EndpointError::Userinfo);
    }
    let host = host_of(authority).ok_or(EndpointError::NotAnEndpoint)?;
    if scheme.eq_ignore_ascii_case("https") {
        return Ok(());
    }
    if !scheme.eq_ignore_ascii_case("http") {
        return Err(EndpointError::NotAnEndpoint);
    }
    if may_be_plain(host) {
        return Ok(());
    }
    Err(EndpointError::PlainHttp { host: printable::cut(host, SHOWN) })
}

/// The host, without the brackets of IPv6.
fn host_of(authority: &str) -> Option<&str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let is_port = |port: &str| port.is_empty() || port.parse::<u16>().is_ok();
    (!host.is_empty() && port.is_none_or(is_port)).then_some(host)
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || host.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
}

fn is_link_local(host: &str) -> bool {
    host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_link_local())
        || host.parse::<Ipv6Addr>().is_ok_and(|address| {
            address.segments()[0] & 0xffc0 == 0xfe80 || address.segments()[..2] == [0xfd00, 0x0ec2]
        })
}

/// Most bytes of an answer: 1 MiB. What a KMS says of a thousand keys is a
/// quarter of that; an answer without an end would fill the memory.
pub const MAX_ANSWER_LEN: usize = 1024 * 1024;

/// How long one attempt of a call may take, from its first byte to the last one
/// of the answer, unless the caller says otherwise.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// A call with its retries may take as long as this many attempts, unless the
/// caller says otherwise.
pub const ATTEMPTS_OF_A_CALL: u32 = 4;

/// Most pages of a list. At a hundred entries each that is more than a cloud
/// permits of anything here; a list without an end would fill the memory.
pub const MAX_PAGES: usize = 2_000;

/// What emulators answer for what they do not emulate.
pub const NOT_IMPLEMENTED: u16 = 501;

/// Characters of one cause that are shown.
const SHOWN_OF_A_CAUSE: usize = 300;

/// Characters of a host that are shown.
const SHOWN: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_stays_on_loopback() {
        for url in [
            "http://127.0.0.1:4566",
            "http://127.255.0.9/",
            "http://[::1]:80/path",
            "http://localhost",
            "HTTP://LocalHost:1/?q",
            "https://kms.eu-central-1.amazonaws.com",
            "https://10.0.0.1:8443/kms",
        ] {
            assert_eq!(check_endpoint(url), Ok(()), "{url}");
            assert_eq!(check_credential_endpoint(url), Ok(()), "{url}");
        }
        for (url, host) in [
            ("http://kms.example", "kms.example"),
            ("http://10.0.0.1:80/127.0.0.1", "10.0.0.1"),
            ("http://127.0.0.1.example/", "127.0.0.1.example"),
            ("http://localhost.example", "localhost.example"),
            ("http://localhost.localstack.cloud:4566", "localhost.localstack.cloud"),
            ("http://127.1", "127.1"),
            ("http://0.0.0.0", "0.0.0.0"),
            ("http://[::ffff:127.0.0.1]", "::ffff:127.0.0.1"),
            ("http://[fe80::1]x", ""),
            ("http://2130706433", "2130706433"),
            ("http://evil?@127.0.0.1", "evil"),
            ("http://evil#@localhost/", "evil"),
        ] {
            let expected = match host {
                "" => EndpointError::NotAnEndpoint,
                host => EndpointError::PlainHttp { host: host.into() },
            };
            assert_eq!(check_endpoint(url), Err(expected), "{url}");
        }
    }

    #[test]
    fn only_credentials_come_over_plain_http_from_a_link_local_address() {
        for url in [
            "http://169.254.169.254/latest/meta-data/",
            "http://169.254.170.2/v2/credentials",
            "http://[fd00:ec2::254]/latest",
            "http://[fe80::a9fe:a9fe]/",
        ] {
            assert_eq!(check_credential_endpoint(url), Ok(()), "{url}");
            assert!(matches!(check_endpoint(url), Err(EndpointError::PlainHttp { .. })), "{url}");
        }
        for url in ["http://sts.example", "http://169.255.0.1", "http://[fd01::1]"] {
            assert!(matches!(check_credential_endpoint(url), Err(EndpointError::PlainHttp { .. })), "{url}");
        }
    }

    #[test]
    fn a_status_has_its_kind() {
        use ProviderErrorKind::{
            AccessDenied, Invalid, NotFound, Other, Protocol, State, Throttled, Unavailable, Unsupported,
        };
        for (status, kind) in [
            (200, Protocol),
            (302, Other),
            (400, Invalid),
            (401, AccessDenied),
            (403, AccessDenied),
            (404, NotFound),
            (408, Unavailable),
            (409, State),
            (412, State),
            (418, Other),
            (429, Throttled),
            (500, Unavailable),
            (501, Unsupported),
            (503, Unavailable),
        ] {
            assert_eq!(kind_of_status(status), kind, "{status}");
        }
    }

    #[test]
    fn a_pause_is_asked_for_in_whole_seconds() {
        for (value, seconds) in [("7", Some(7)), (" 0 ", Some(0)), ("18446744073709551615", Some(u64::MAX))] {
            assert_eq!(retry_after(value), seconds.map(Duration::from_secs), "{value}");
        }
        for value in ["", "-1", "1.5", "Wed, 21 Oct 2026 07:28:00 GMT", "99999999999999999999999"] {
            assert_eq!(retry_after(value), None, "{value}");
        }
    }

    #[test]
    fn words_from_outside_are_on_one_line_and_not_long() {
        let shown = causes(&std::io::Error::other(format!("a\r\nb\u{1b}[2J{}", "x".repeat(600))));
        assert!(shown.starts_with("a\\u{d}\\u{a}b\\u{1b}[2Jx") && shown.chars().count() < 330, "{shown}");
    }

    #[test]
    fn what_is_no_endpoint_is_refused_without_repeating_it() {
        for url in [
            "",
            "kms.example",
            "//kms.example",
            "ftp://localhost",
            "http://",
            "https://:443",
            "https:///x",
            "http://localhost:port",
            "http://localhost:99999",
            "http://[::1",
            "http://[x]",
            "http://a b",
            "http:\\\\localhost",
            "http://localhost\\@evil",
            "http://localhost\n.evil",
            "https://[::1]x",
        ] {
            assert_eq!(check_endpoint(url), Err(EndpointError::NotAnEndpoint), "{url:?}");
        }
        for url in
            ["http://localhost@evil", "https://user:canary-4711@kms.example", "http://localhost:80@evil"]
        {
            let error = check_endpoint(url).unwrap_err();
            assert_eq!(error, EndpointError::Userinfo, "{url}");
            assert!(!format!("{error} {error:?}").contains("4711"));
        }
    }
}
