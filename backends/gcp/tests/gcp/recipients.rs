//! Envelopes with keys of several key stores.

use std::sync::Arc;

use envelope_aws::{AwsKms, Credentials};
use envelope_local::{Keystore, Passphrase};
use envelope_sdk::{DecryptError, Envelope, KeyProvider, Keyring};
use envelope_testkit::{MemoryProvider, servers};

use super::*;

/// A key and who has it.
type Recipient = (Arc<dyn KeyProvider>, KeyUri);

#[test]
fn an_envelope_of_a_local_an_aws_and_a_google_key_opens_with_any_of_them() {
    let Some(address) = servers::address("LOCALSTACK") else { return };
    let (_folder, local) = local();
    opens_with_each(&[local, aws(&address), google()]);
}

/// The same where there is no LocalStack.
#[test]
fn an_envelope_of_a_local_and_a_google_key_opens_with_either() {
    let (_folder, local) = local();
    let own = MemoryProvider::key("own");
    let memory: Arc<dyn KeyProvider> = Arc::new(MemoryProvider::new().with_key(&own));
    opens_with_each(&[local, (memory, own), google()]);
}

#[test]
fn rewrap_moves_an_envelope_from_aws_to_google_and_back() {
    let Some(address) = servers::address("LOCALSTACK") else { return };
    goes_there_and_back(&aws(&address), &google());
}

#[test]
fn rewrap_moves_an_envelope_from_one_google_key_to_another_and_to_a_local_one_and_back() {
    let gcp = Gcp::new();
    let keys = (gcp.key(), gcp.key());
    let kms: Arc<dyn KeyProvider> = Arc::new(at(&gcp.http.url()).build());
    goes_there_and_back(&(kms.clone(), keys.0), &(kms.clone(), keys.1.clone()));
    let (_folder, local) = local();
    goes_there_and_back(&(kms, keys.1), &local);
}

#[test]
fn an_envelope_does_not_open_with_another_key_or_under_another_context() {
    let (kms, key) = google();
    let context = EncryptionContext::new().with("tenant", "42");
    let sealed =
        block_on(Envelope::new(Keyring::new().encrypt(kms.clone(), key.clone())).encrypt(b"x", &context))
            .unwrap();
    let (other_kms, other) = google();
    let with_other = Envelope::new(Keyring::new().decrypt(other_kms, other));
    let refused = block_on(with_other.decrypt(&sealed, &context)).unwrap_err();
    assert!(matches!(refused, DecryptError::NoConfiguredKey { .. }), "{refused}");
    let with_own = Envelope::new(Keyring::new().decrypt(kms, key));
    let another = EncryptionContext::new().with("tenant", "43");
    let refused = block_on(with_own.decrypt(&sealed, &another)).unwrap_err();
    assert!(matches!(refused, DecryptError::NotAuthentic), "{refused:?}");
    assert_eq!(block_on(with_own.decrypt(&sealed, &context)).unwrap(), b"x");
}

fn opens_with_each(recipients: &[Recipient]) {
    let keyring = recipients
        .iter()
        .fold(Keyring::new(), |keyring, (kms, key)| keyring.encrypt(kms.clone(), key.clone()));
    let context = EncryptionContext::new().with("tenant", "42").withhold("patient", "7");
    let sealed = block_on(Envelope::new(keyring).encrypt(b"attack at dawn", &context)).unwrap();
    assert_eq!(Envelope::inspect(&sealed).unwrap().recipients().len(), recipients.len());
    for (kms, key) in recipients {
        let alone = Envelope::new(Keyring::new().decrypt(kms.clone(), key.clone()));
        assert_eq!(block_on(alone.decrypt(&sealed, &context)).unwrap(), b"attack at dawn", "{key}");
    }
}

fn goes_there_and_back(one: &Recipient, other: &Recipient) {
    let context = EncryptionContext::new().with("tenant", "42");
    let first = Envelope::new(Keyring::new().encrypt(one.0.clone(), one.1.clone()));
    let sealed = block_on(first.encrypt(b"attack at dawn", &context)).unwrap();
    let mut moved = sealed;
    for (from, to) in [(one, other), (other, one)] {
        let keyring =
            Keyring::new().encrypt(to.0.clone(), to.1.clone()).decrypt(from.0.clone(), from.1.clone());
        moved = block_on(Envelope::new(keyring).rewrap(&moved, &context)).unwrap();
        let recipients = Envelope::inspect(&moved).unwrap();
        let uris: Vec<_> = recipients.recipients().iter().map(|it| it.key_uri().clone()).collect();
        assert_eq!(uris.len(), 1);
        assert_eq!(uris[0].scheme(), to.1.scheme());
        let alone = Envelope::new(Keyring::new().decrypt(to.0.clone(), to.1.clone()));
        assert_eq!(block_on(alone.decrypt(&moved, &context)).unwrap(), b"attack at dawn");
        if from.1 != to.1 {
            let before = Envelope::new(Keyring::new().decrypt(from.0.clone(), from.1.clone()));
            let error = block_on(before.decrypt(&moved, &context)).unwrap_err();
            assert!(matches!(error, DecryptError::NoConfiguredKey { .. }), "{}: {error:?}", from.1);
        }
    }
}

fn google() -> Recipient {
    let gcp = Gcp::new();
    let key = gcp.key();
    (Arc::new(at(&gcp.http.url()).build()), key)
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

fn local() -> (tempfile::TempDir, Recipient) {
    let folder = tempfile::tempdir().unwrap();
    let passphrase = Passphrase::new("correct horse battery staple".into()).unwrap();
    let keystore = Keystore::create(folder.path().join("keys.json"), &passphrase).unwrap();
    let key = block_on(keystore.create_key(&NewKey::named("main"))).unwrap().uri;
    (folder, (Arc::new(keystore), key))
}
