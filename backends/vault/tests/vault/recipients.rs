//! Envelopes with keys of several key stores.

use std::sync::Arc;

use envelope_aws::{AwsKms, Credentials};
use envelope_local::{Keystore, Passphrase};
use envelope_sdk::{DecryptError, Envelope, KeyAdmin, Keyring, NewKey};
use envelope_testkit::servers;

use super::*;

/// A key and who has it.
type Recipient = (Arc<dyn KeyProvider>, KeyUri);

#[test]
fn an_envelope_of_vault_aws_and_a_keystore_opens_with_each_and_moves_between_any_two() {
    let Some(server) = Server::shared() else { return };
    let Some(localstack) = servers::address("LOCALSTACK") else { return };
    let folder = tempfile::tempdir().unwrap();
    works_for(&[
        vault(&server, server.key()),
        aws(&localstack),
        local(&folder),
        vault(&server, server.derived_key()),
    ]);
}

/// The same where there is no LocalStack.
#[test]
fn an_envelope_of_vault_and_a_keystore_opens_with_each_and_moves_between_any_two() {
    let Some(server) = Server::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    works_for(&[vault(&server, server.key()), local(&folder), vault(&server, server.derived_key())]);
}

/// After a rotation the wrap is another one, and the payload the same.
#[test]
fn a_rewrap_moves_an_envelope_to_the_version_of_now() {
    let Some(server) = Server::shared() else { return };
    for key in [server.key(), server.derived_key()] {
        let vault: Arc<dyn KeyProvider> = Arc::new(server.vault());
        let envelope = Envelope::new(Keyring::new().both(vault, key.clone()));
        let context = EncryptionContext::new().with("tenant", "42");
        let sealed = block_on(envelope.encrypt(b"attack at dawn", &context)).unwrap();
        server.does("POST", &format!("transit/keys/{}/rotate", server::name(&key)), &json!({}));
        let moved = block_on(envelope.rewrap(&sealed, &context)).unwrap();
        let version =
            |sealed: &[u8]| Envelope::inspect(sealed).unwrap().recipients()[0].key_version().to_owned();
        assert_eq!((version(&sealed), version(&moved)), ("1".to_owned(), "2".to_owned()));
        server.does(
            "POST",
            &format!("transit/keys/{}/config", server::name(&key)),
            &json!({"min_decryption_version": 2}),
        );
        assert_eq!(block_on(envelope.decrypt(&moved, &context)).unwrap(), b"attack at dawn");
        let error = block_on(envelope.decrypt(&sealed, &context)).unwrap_err();
        let DecryptError::Keys { .. } = &error else { panic!("{error}") };
        assert!(envelope_testkit::secrets::shown(&error).contains("min_decryption_version"), "{error}");
    }
}

fn works_for(recipients: &[Recipient]) {
    let context = EncryptionContext::new().with("tenant", "42").with("table", "orders");
    let keyring = recipients
        .iter()
        .fold(Keyring::new(), |keyring, (provider, key)| keyring.encrypt(provider.clone(), key.clone()));
    let sealed = block_on(Envelope::new(keyring).encrypt(b"attack at dawn", &context)).unwrap();
    assert_eq!(Envelope::inspect(&sealed).unwrap().recipients().len(), recipients.len());
    for (provider, key) in recipients {
        let alone = Envelope::new(Keyring::new().decrypt(provider.clone(), key.clone()));
        assert_eq!(block_on(alone.decrypt(&sealed, &context)).unwrap(), b"attack at dawn", "{key}");
        let other = EncryptionContext::new().with("tenant", "43").with("table", "orders");
        block_on(alone.decrypt(&sealed, &other)).unwrap_err();
    }
    for from in recipients {
        let first = Envelope::new(Keyring::new().encrypt(from.0.clone(), from.1.clone()));
        let sealed = block_on(first.encrypt(b"attack at dawn", &context)).unwrap();
        for to in recipients {
            let keyring =
                Keyring::new().encrypt(to.0.clone(), to.1.clone()).decrypt(from.0.clone(), from.1.clone());
            let moved = block_on(Envelope::new(keyring).rewrap(&sealed, &context)).unwrap();
            let alone = Envelope::new(Keyring::new().decrypt(to.0.clone(), to.1.clone()));
            let opened = block_on(alone.decrypt(&moved, &context)).unwrap();
            assert_eq!(opened, b"attack at dawn", "{} to {}", from.1, to.1);
        }
    }
}

fn vault(server: &Server, key: KeyUri) -> Recipient {
    (Arc::new(server.vault()), key)
}

fn aws(address: &str) -> Recipient {
    let kms = AwsKms::builder()
        .endpoint_url(address)
        .region("eu-central-1")
        .credentials(Credentials::new("test", "test", None, None, "tests"))
        .build();
    let made = block_on(kms.create_key(&NewKey::named(format!("tests/{}", fresh_name())))).unwrap();
    (Arc::new(kms), made.uri)
}

fn local(folder: &tempfile::TempDir) -> Recipient {
    let passphrase = Passphrase::new("correct horse battery staple".into()).unwrap();
    let keystore = Keystore::create(folder.path().join("keys.json"), &passphrase).unwrap();
    let key = block_on(keystore.create_key(&NewKey::named("main"))).unwrap().uri;
    (Arc::new(keystore), key)
}
