//! Files written by `tests/golden/make.py`, without this library.

use std::{fs, os::unix::fs::PermissionsExt};

use envelope_local::PassphraseProvider;

use super::*;

struct Golden(serde_json::Value);

impl Golden {
    fn read() -> Self {
        Self(serde_json::from_str(include_str!("../golden/golden.json")).unwrap())
    }

    fn passphrase(&self) -> Passphrase {
        passphrase(self.0["passphrase"].as_str().unwrap())
    }

    fn context(&self) -> FullContext {
        let entries = self.0["context"].as_object().unwrap();
        let add = |context: EncryptionContext, (name, value): (&String, &serde_json::Value)| {
            context.with(name, value.as_str().unwrap())
        };
        entries.iter().fold(EncryptionContext::new(), add).full().unwrap()
    }
}

fn hex(value: &serde_json::Value) -> Vec<u8> {
    let digits = value.as_str().unwrap();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn a_passphrase_recipient_of_another_implementation_opens() {
    let golden = Golden::read();
    let recipient = &golden.0["recipient"];
    let blob = hex(&recipient["wrapped"]);
    let wrapped = WrappedDek::new(KeyUri::passphrase(), "", "ARGON2ID-COBBLESTONE-256", blob).unwrap();
    let provider = PassphraseProvider::new(golden.passphrase());
    let dek = block_on(provider.unwrap_dek(&wrapped, &golden.context())).unwrap();
    assert_eq!(dek.expose().as_slice(), hex(&recipient["dek"]));
}

#[test]
fn a_keystore_of_another_implementation_opens_with_every_version() {
    let golden = Golden::read();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("golden.json");
    fs::write(&path, golden.0["keystore"].as_str().unwrap()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let keystore = Keystore::open(&path, &golden.passphrase()).unwrap();
    let uri = KeyUri::parse(golden.0["uri"].as_str().unwrap()).unwrap();
    for wrapped in golden.0["wrapped"].as_array().unwrap() {
        let version = wrapped["version"].as_str().unwrap();
        let sealed = hex(&wrapped["wrapped"]);
        let recipient = WrappedDek::new(uri.clone(), version, "XAES-256-GCM", sealed).unwrap();
        let dek = block_on(keystore.unwrap_dek(&recipient, &golden.context())).unwrap();
        assert_eq!(dek.expose().as_slice(), hex(&wrapped["dek"]), "version {version}");
    }
}
