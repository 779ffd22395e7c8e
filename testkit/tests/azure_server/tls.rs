//! Names and certificates.

use std::{env, fs, process};

use super::*;

#[test]
fn the_certificate_is_for_vaults_and_hsms_of_any_name_and_for_who_hands_out_tokens() {
    let served = Served::new();
    for host in ["a-b.vault.localhost", "c1.managedhsm.localhost", "login.localhost", "localhost"] {
        let answer = served.ask("GET", host, "/nothing", Some("all"), &Value::Null);
        assert!(answer.head.starts_with("HTTP/1.1 "), "{host}: {answer:?}");
    }
    for wrong in ["a.b.vault.localhost", "vault.localhost", "v.vault.azure.net"] {
        let mut peer = served.connect(wrong);
        let refused = peer.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap_err().to_string();
        assert!(refused.contains("certificate not valid for name"), "{wrong}: {refused}");
    }
}

#[test]
fn each_server_has_a_ca_of_its_own() {
    let (served, mut other) = (Served::new(), Served::new());
    let file = env::temp_dir().join(format!("azure-ca-{}.pem", process::id()));
    served.azure.write_ca(&file).unwrap();
    let written = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    assert_eq!(written, served.azure.ca_pem());
    other.azure = served.azure.clone();
    let refused = other.connect(VAULT).write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap_err().to_string();
    assert!(refused.contains("invalid peer certificate"), "{refused}");
}

#[test]
fn the_addresses_are_those_of_the_port() {
    let served = Served::new();
    let (service, port) = (&served.service, served.service.port());
    assert_eq!(service.vault("v"), format!("https://v.vault.localhost:{port}"));
    assert_eq!(service.managed_hsm("h"), format!("https://h.managedhsm.localhost:{port}"));
    assert_eq!(service.login(), format!("https://login.localhost:{port}"));
    assert_eq!(served.key[..served.key.find("/keys/").unwrap()], service.vault("v"));
    assert_eq!(service.http().count(), 2);
}
