//! Google's own client.

use envelope_testkit::gcp_server::PythonClient;

use super::*;

#[test]
fn googles_client_does_here_what_it_does_with_googles_service() {
    let Some(python) = PythonClient::installed() else { return };
    let served = Served::new();
    let said = python.scenarios(&served.http.url()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(said.lines().filter(|line| line.starts_with("ok ")).count(), 11, "{said}");
    assert!(served.gcp.exchanges() > 150, "{}", served.gcp.exchanges());
    assert!(served.gcp.is_checked(), "the discovery document comes with the client");
    assert_eq!(served.gcp.violations(), [] as [&str; 0]);
}

#[test]
fn what_googles_client_wraps_opens_and_the_reverse() {
    let Some(python) = PythonClient::installed() else { return };
    let served = Served::new();
    let url = served.http.url();
    let (version, ciphertext) = python.wrap(&url, KEY, b"\0context\xff", b"secret").unwrap();
    assert_eq!(version, format!("{KEY}/cryptoKeyVersions/1"));
    assert_eq!(python.unwrap(&url, KEY, b"\0context\xff", &ciphertext).unwrap(), b"secret");
    let refused = python.unwrap(&url, KEY, b"another", &ciphertext).unwrap_err().to_string();
    assert!(
        refused.starts_with("BadRequest: ")
            && refused.ends_with("Decryption failed: the ciphertext is invalid."),
        "{refused}"
    );
}
