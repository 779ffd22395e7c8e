//! What Microsoft's own client, written in Python, wraps opens here, and the reverse.

use envelope_sdk::{KeyProvider, WrappedDek};
use envelope_testkit::azure_server::{PythonClient, Wrapped};

use super::*;

#[test]
fn microsofts_python_client_opens_our_wraps_and_we_open_its() {
    let Some(python) = PythonClient::installed() else { return };
    for (azure, algorithm) in [(Azure::new(), "RSA-OAEP-256"), (Azure::hsm(), "A256GCM")] {
        let key = azure.key();
        let ca = azure.server.ca_pem();
        let vault = if algorithm == "A256GCM" {
            azure.service.managed_hsm("tests")
        } else {
            azure.service.vault("tests")
        };
        let name = key.as_str().rsplit_once('/').unwrap().1;
        let aad = if algorithm == "A256GCM" { context().as_bytes().to_vec() } else { Vec::new() };
        for local in [false, true] {
            let dek = fresh_dek();
            let ours = azure.builder().local_wraps(local).build();
            let wrapped = block_on(ours.wrap_dek(&key, &dek, &context())).unwrap();
            let kid = format!("{vault}/keys/{name}/{}", wrapped.key_version());
            let bytes = wrapped.ciphertext();
            let parts = if algorithm == "A256GCM" {
                Wrapped::new(&kid, &bytes[12..44], &bytes[..12], &bytes[44..])
            } else {
                Wrapped::new(&kid, bytes, &[], &[])
            };
            assert_eq!(python.unwrap(ca, algorithm, &aad, &parts).unwrap(), dek.expose());
            let theirs = if local && aad.is_empty() {
                python.wrap_locally(ca, &kid, algorithm, dek.expose()).unwrap()
            } else {
                python.wrap(ca, &kid, algorithm, &aad, dek.expose()).unwrap()
            };
            let bytes = [theirs.iv, theirs.ciphertext, theirs.tag].concat();
            let theirs = WrappedDek::new(key.clone(), wrapped.key_version(), algorithm, bytes).unwrap();
            assert_eq!(
                block_on(azure.vaults.unwrap_dek(&theirs, &context())).unwrap().expose(),
                dek.expose()
            );
        }
    }
}
