//! Microsoft's own client.

use envelope_testkit::azure_server::{PythonClient, Wrapped};

use super::*;

#[test]
fn microsofts_client_does_here_what_it_does_with_azures_service() {
    let Some(python) = PythonClient::installed() else { return };
    let served = Served::new();
    let said = python.scenarios(served.azure.ca_pem(), served.service.port());
    let said = said.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(said.lines().filter(|line| line.starts_with("ok ")).count(), 12, "{said}");
    assert!(served.azure.exchanges() > 250, "{}", served.azure.exchanges());
    assert_eq!(served.azure.violations(), [] as [&str; 0]);
}

#[test]
fn what_microsofts_client_wraps_opens_and_the_reverse() {
    let Some(python) = PythonClient::installed() else { return };
    let served = Served::new();
    let ca = served.azure.ca_pem();
    let key = served.key.rsplit_once('/').unwrap().0;
    for wrapped in [
        python.wrap(ca, key, "RSA-OAEP-256", b"", b"secret").unwrap(),
        python.wrap_locally(ca, key, "RSA-OAEP-256", b"secret").unwrap(),
    ] {
        assert_eq!((&wrapped.kid, wrapped.ciphertext.len()), (&served.key, 256));
        assert_eq!(python.unwrap(ca, "RSA-OAEP-256", b"", &wrapped).unwrap(), b"secret");
    }
    let sealed = python.wrap(ca, &served.oct, "A256GCM", b"\0context\xff", b"secret").unwrap();
    assert_eq!((&sealed.kid, sealed.iv.len(), sealed.tag.len()), (&served.oct, 12, 16));
    assert_eq!(python.unwrap(ca, "A256GCM", b"\0context\xff", &sealed).unwrap(), b"secret");
    let refused = python.unwrap(ca, "A256GCM", b"another", &sealed).unwrap_err().to_string();
    assert!(
        refused.starts_with("HttpResponseError: (BadParameter) The authentication tag is not valid."),
        "{refused}"
    );
    let other = Wrapped::new(&served.oct, &[0; 40], b"", b"");
    let refused = python.unwrap(ca, "A256KW", b"", &other).unwrap_err().to_string();
    assert!(refused.starts_with("HttpResponseError: (BadParameter) Property value"), "{refused}");
    assert_eq!(served.azure.violations(), [] as [&str; 0]);
}

#[test]
fn the_api_is_as_the_installed_client_has_it() {
    let Some(python) = PythonClient::installed() else { return };
    let described: Value = serde_json::from_str(&python.describe().unwrap()).unwrap();
    let kept: Value = serde_json::from_str(include_str!("../../azure/api.json")).unwrap();
    assert_eq!(described, kept, "testkit/azure/describe.py writes api.json anew");
}
