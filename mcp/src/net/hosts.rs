//! Which `Host` and `Origin` a request may have: what keeps web pages from calling through a browser that has a certificate (DNS
//! rebinding).

use http::{HeaderMap, Uri, header, uri::Authority};

use super::Refusal;

/// Refuses a request that was not meant for one of `hosts`, or that a page of none of `origins` sent.
pub(crate) fn check(
    uri: &Uri,
    headers: &HeaderMap,
    hosts: &[String],
    origins: &[String],
) -> Result<(), Refusal> {
    let mut named = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (named.next(), named.next()) else { return Err(Refusal::Host) };
    let host = Authority::try_from(host.as_bytes()).map_err(|_| Refusal::Host)?;
    let is_known = |authority: &Authority| hosts.iter().any(|known| is_host(known, authority));
    // RFC 9112 section 3.2.2: the authority of an absolute target goes before `Host`.
    if !is_known(&host) || uri.authority().is_some_and(|authority| !is_known(authority)) {
        return Err(Refusal::Host);
    }
    let is_allowed =
        |origin: &[u8]| origins.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(origin));
    match headers.get_all(header::ORIGIN).iter().all(|origin| is_allowed(origin.as_bytes())) {
        true => Ok(()),
        false => Err(Refusal::Origin),
    }
}

/// Whether `known`, `HOST` or `HOST:PORT`, is this authority. Without a port it has any.
fn is_host(known: &str, authority: &Authority) -> bool {
    let Ok(known) = Authority::try_from(known) else { return false };
    // Nobody has a user name here.
    !authority.as_str().contains('@')
        && known.host().eq_ignore_ascii_case(authority.host())
        && (known.port().is_none() || known.port_u16() == authority.port_u16())
}

/// Whether a setting is a host as [`check`] takes it.
pub(crate) fn is_valid_host(text: &str) -> bool {
    Authority::try_from(text).is_ok_and(|host| !host.host().is_empty() && !text.contains(['@', '*']))
}

/// Whether a setting is an origin (RFC 6454 section 6.2): scheme, host, and a port if it is not the scheme's own.
pub(crate) fn is_valid_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    matches!(scheme, "https" | "http")
        && is_valid_host(authority)
        && !authority.contains(['/', '?', '#'])
        && !text.ends_with(match scheme {
            "https" => ":443",
            _ => ":80",
        })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(host: &[&str], origin: &[&str]) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        for value in host {
            headers.append(header::HOST, HeaderValue::from_str(value).unwrap());
        }
        for value in origin {
            headers.append(header::ORIGIN, HeaderValue::from_str(value).unwrap());
        }
        let hosts = ["mcp.example".to_owned(), "two.example:8443".to_owned(), "[::1]".to_owned()];
        check(&"/mcp".parse().unwrap(), &headers, &hosts, &["https://app.example:8080".to_owned()])
    }

    #[test]
    fn a_host_is_one_of_the_list_with_its_port_if_it_has_one() {
        for host in ["mcp.example", "MCP.example", "mcp.example:1", "two.example:8443", "[::1]:9"] {
            assert_eq!(of(&[host], &[]), Ok(()), "{host}");
        }
        for host in [
            "two.example",
            "two.example:8444",
            "other.example",
            "mcp.example.",
            "xmcp.example",
            "",
            "a b",
            "mcp.example@evil.example",
            "user@mcp.example",
            "::1",
        ] {
            assert_eq!(of(&[host], &[]), Err(Refusal::Host), "{host}");
        }
        assert_eq!(of(&[], &[]), Err(Refusal::Host));
        assert_eq!(of(&["mcp.example", "mcp.example"], &[]), Err(Refusal::Host));
    }

    #[test]
    fn an_absolute_target_for_another_host_is_refused() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("mcp.example"));
        let hosts = ["mcp.example".to_owned()];
        let to = |uri: &str| check(&uri.parse().unwrap(), &headers, &hosts, &[]);
        assert_eq!(to("https://mcp.example/mcp"), Ok(()));
        assert_eq!(to("https://evil.example/mcp"), Err(Refusal::Host));
    }

    #[test]
    fn an_origin_is_one_of_the_list_letter_by_letter() {
        assert_eq!(of(&["mcp.example"], &["https://app.example:8080"]), Ok(()));
        for origin in
            ["null", "https://app.example", "http://app.example:8080", "https://app.example:8080/", ""]
        {
            assert_eq!(of(&["mcp.example"], &[origin]), Err(Refusal::Origin), "{origin}");
        }
        let two = ["https://app.example:8080", "https://evil.example"];
        assert_eq!(of(&["mcp.example"], &two), Err(Refusal::Origin));
    }

    #[test]
    fn settings_that_could_match_nothing_or_everything_are_known() {
        assert!(is_valid_host("a.example:1") && is_valid_host("[::1]:8443") && is_valid_host("127.0.0.1"));
        assert!(
            !is_valid_host("")
                && !is_valid_host("*.example")
                && !is_valid_host("u@a")
                && !is_valid_host("a/b")
        );
        assert!(is_valid_origin("https://a.example") && is_valid_origin("http://localhost:3000"));
        for origin in ["null", "*", "a.example", "https://a.example/", "https://a.example:443", "file://a"] {
            assert!(!is_valid_origin(origin), "{origin}");
        }
    }
}
