//! Google's clients hand plain `http` to a proxy of the environment also where it goes to this
//! machine, and that would read DEKs, tokens and secrets.

use std::str::FromStr;

use envelope_sdk::{ProviderError, ProviderErrorKind::Invalid};
use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

use crate::error::failure;

/// Refuses a URL, which was checked, if it is plain `http` and a proxy would have it: as the client's
/// own code decides that.
pub(crate) fn refuse(url: &str) -> Result<(), ProviderError> {
    refuse_if(&Matcher::from_system(), url)
}

fn refuse_if(proxies: &Matcher, url: &str) -> Result<(), ProviderError> {
    let plain = url.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("http:"));
    if !plain {
        return Ok(());
    }
    let refuse = |message: String| Err(failure(Invalid, None, message));
    let Some((uri, host)) =
        Uri::from_str(url).ok().and_then(|uri| Some((uri.clone(), uri.host()?.to_owned())))
    else {
        return refuse("what is asked by plain http has no host".into());
    };
    if proxies.intercept(&uri).is_none() {
        return Ok(());
    }
    let host = host.trim_matches(['[', ']']);
    refuse(format!(
        "{host} is asked by plain http, and a proxy of the environment (HTTP_PROXY, ALL_PROXY) would read what is sent there: \
         name {host} in NO_PROXY"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_never_reads_plain_http() {
        let with = |no: &str| Matcher::builder().all("http://proxy.example").no(no).build();
        for (except, url, fits) in [
            ("", "http://127.0.0.1:9000/kms", false),
            ("", "HTTP://127.0.0.1:9000/kms", false),
            ("", "https://127.0.0.1:9000/kms", true),
            // A name, which an address is not.
            ("*", "http://127.0.0.1:9000", false),
            ("*", "http://localhost:9000", true),
            ("localhost, 127.0.0.1", "http://127.0.0.1:9000", true),
            ("127.0.0.0/8", "http://127.0.0.1:9000", true),
            ("::1", "http://[::1]:9000", true),
            ("localhost", "http://[::1]:9000", false),
            ("127.0.0.1.example", "http://127.0.0.1:9000", false),
        ] {
            let outcome = refuse_if(&with(except), url);
            assert_eq!(outcome.is_ok(), fits, "{except}: {url}");
            if let Err(error) = outcome {
                assert!(error.kind() == Invalid && error.message().contains("in NO_PROXY"), "{error}");
            }
        }
        refuse_if(&Matcher::builder().build(), "http://127.0.0.1:9000").unwrap();
    }
}
