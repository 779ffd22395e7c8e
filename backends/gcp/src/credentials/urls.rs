//! A file of credentials says whom to ask for tokens, and with which secrets. It
//! may ask them by `https`, or on this machine and then by no proxy.

use envelope_sdk::{ProviderError, ProviderErrorKind::Invalid, http::check_credential_endpoint};
use serde_json::Value;

use crate::{error::failure, proxies};

/// Refuses an endpoint of tokens to which no secret must be sent.
pub(super) fn check(url: &str) -> Result<(), ProviderError> {
    check_credential_endpoint(url).map_err(|error| {
        failure(Invalid, None, format!("the source of the credentials is not asked: {error}"))
    })
}

/// The same of each that such a file names, at whatever depth: credentials may be
/// those of a source within.
pub(super) fn check_all(json: &Value) -> Result<(), ProviderError> {
    match json {
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| match value {
            Value::String(url) if ENDPOINTS.contains(&name.as_str()) => {
                let url = with_host(url);
                check(&url).and_then(|()| proxies::refuse(&url))
            }
            value => check_all(value),
        }),
        Value::Array(values) => values.iter().try_for_each(check_all),
        _ => Ok(()),
    }
}

/// The metadata server of another cloud is asked at a template of an address.
fn with_host(url: &str) -> String {
    url.replace("{region}", "region")
}

/// The fields whose words are asked for tokens. Those that only name somebody, such as an issuer, are none.
const ENDPOINTS: [&str; 9] = [
    "token_uri",
    "token_url",
    "token_info_url",
    "revoke_url",
    "service_account_impersonation_url",
    "url",
    "region_url",
    "regional_cred_verification_url",
    "imdsv2_session_token_url",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tokens_are_asked_for_by_https_or_on_this_machine_or_a_metadata_server() {
        for fits in [
            json!({"token_uri": "https://oauth2.googleapis.com/token", "auth_uri": "http://names.nobody.example"}),
            json!({"credential_source": {"url": "http://169.254.169.254/latest", "headers": {"a": "b"}}}),
            json!({"regional_cred_verification_url": "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity"}),
            json!({"token_url": "http://127.0.0.1:8080/token"}),
            json!({"url": {"not": "text"}}),
        ] {
            assert!(check_all(&fits).is_ok(), "{fits}");
        }
        for bad in [
            json!({"token_uri": "http://oauth2.example/token"}),
            json!({"source_credentials": {"token_url": "http://sts.example"}}),
            json!({"credential_source": [{"url": "http://10.0.0.1/token"}]}),
            json!({"service_account_impersonation_url": "https://user:canary-4711@iam.example"}),
            json!({"token_url": ""}),
        ] {
            let error = check_all(&bad).unwrap_err();
            assert_eq!((error.kind(), error.key()), (Invalid, None), "{bad}");
            assert!(!error.to_string().contains("4711"), "{error}");
        }
    }
}
