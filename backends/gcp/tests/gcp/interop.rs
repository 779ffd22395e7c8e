//! What Google's own client, written in Python, wraps opens here, and the reverse.

use envelope_sdk::{KeyAdmin, KeyProvider, WrappedDek};
use envelope_testkit::gcp_server::PythonClient;

use super::*;

#[test]
fn googles_python_client_opens_our_wraps_and_we_open_its() {
    let Some(python) = PythonClient::installed() else { return };
    let gcp = Gcp::new();
    let key = gcp.key();
    let name = key.rest().trim_start_matches('/').to_owned();
    let url = gcp.http.url();
    for version in ["1", "2"] {
        let dek = fresh_dek();
        let wrapped = block_on(gcp.kms.wrap_dek(&key, &dek, &context())).unwrap();
        let opened = python.unwrap(&url, &name, context().as_bytes(), wrapped.ciphertext()).unwrap();
        assert_eq!(opened, dek.expose());
        let refused = python.unwrap(&url, &name, b"another context", wrapped.ciphertext()).unwrap_err();
        assert!(refused.to_string().contains("Decryption failed"), "{refused}");

        let (by, ciphertext) = python.wrap(&url, &name, context().as_bytes(), dek.expose()).unwrap();
        assert_eq!(by, format!("{name}/cryptoKeyVersions/{version}"));
        let theirs = WrappedDek::new(key.clone(), version, "GCP-KMS", ciphertext).unwrap();
        assert_eq!(block_on(gcp.kms.unwrap_dek(&theirs, &context())).unwrap().expose(), dek.expose());
        assert_eq!(wrapped.key_version(), version);
        block_on(gcp.kms.rotate_key(&key)).unwrap();
    }
}
