//! Envelopes with keys of several key stores: a table of all of them.

#[path = "../../../pkcs11/tests/tokens/mod.rs"]
mod tokens;

use envelope_aws::{AwsKms, Credentials};
use envelope_gcp::GcpKms;
use envelope_local::{Keystore, Passphrase};
use envelope_pkcs11::{PinSource, Pkcs11Config, Pkcs11Provider, TokenSelector};
use envelope_sdk::{ContextBinding, DecryptError, Envelope, KeyProvider, Keyring};
use envelope_testkit::{MemoryProvider, gcp_server::GcpServer, http_server::HttpServer, servers};
use tokens::{Kind, PIN};

use super::*;

/// A key and who has it.
type Recipient = (Arc<dyn KeyProvider>, KeyUri);

/// A keystore under a passphrase, a token, and three clouds.
#[test]
fn any_of_five_key_stores_opens_an_envelope_and_rewrap_moves_it_between_any_two() {
    let Some(localstack) = servers::address("LOCALSTACK") else { return };
    let Some(token) = Kind::SoftHsm.token() else { return };
    let (azure, google) = (Azure::new(), Google::new());
    let (_folder, local) = local();
    let keys = [local, of_token(&token), aws(&localstack), google.recipient(), azure.recipient()];
    opens_with_each(&keys);
    moves_between_any_two(&keys);
}

/// The same where there is neither LocalStack nor a token.
#[test]
fn any_of_the_key_stores_at_hand_opens_an_envelope_and_rewrap_moves_it_between_any_two() {
    let (azure, hsm, google) = (Azure::new(), Azure::hsm(), Google::new());
    let (_folder, local) = local();
    let own = MemoryProvider::key("own");
    let memory: Arc<dyn KeyProvider> = Arc::new(MemoryProvider::new().with_key(&own));
    let keys = [local, (memory, own), google.recipient(), azure.recipient(), hsm.recipient()];
    opens_with_each(&keys);
    moves_between_any_two(&keys);
}

/// The vault gives the DEK: RSA takes no context. The envelope does not open.
#[test]
fn an_envelope_of_an_rsa_key_under_another_context_fails_at_the_mac() {
    let azure = Azure::new();
    let (vaults, key) = azure.recipient();
    // A value that the header does not hold, so that nobody sees beforehand that it is another.
    let entries = EncryptionContext::new().withhold("tenant", "42");
    let envelope =
        Envelope::new(Keyring::new().encrypt(vaults.clone(), key.clone()).decrypt(vaults.clone(), key));
    let sealed = block_on(envelope.encrypt(b"attack at dawn", &entries)).unwrap();
    let wrapped = Envelope::inspect(&sealed).unwrap().recipients()[0].clone();
    assert_eq!(wrapped.wrap_algorithm(), "RSA-OAEP-256");
    assert_eq!(vaults.context_binding(&wrapped), ContextBinding::EnvelopeOnly);
    assert_eq!(wrapped.is_post_quantum_safe(), Some(false));
    let another = EncryptionContext::new().withhold("tenant", "43");
    block_on(vaults.unwrap_dek(&wrapped, &another.full().unwrap())).unwrap();
    let before = azure.server.exchanges();
    let refused = block_on(envelope.decrypt(&sealed, &another)).unwrap_err();
    // The vault was asked, and gave the DEK; what refuses is the envelope.
    assert!(azure.server.exchanges() > before);
    assert!(matches!(refused, DecryptError::NotAuthentic), "{refused}");
    assert_eq!(block_on(envelope.decrypt(&sealed, &entries)).unwrap(), b"attack at dawn");
}

/// Where the settings say so: old data must be read, and moved.
#[test]
fn rsa_keys_are_refused_for_new_wraps_and_new_keys_and_still_unwrap() {
    let refused = |error: envelope_sdk::ProviderError, key: Option<&KeyUri>| {
        assert_eq!((error.kind(), error.key()), (envelope_sdk::ProviderErrorKind::Invalid, key), "{error}");
        let words = ["not post-quantum safe", "post-quantum-safe-only", "still unwrapped"];
        assert!(words.iter().all(|words| error.message().contains(words)), "{error}");
    };
    let (azure, hsm) = (Azure::new(), Azure::hsm());
    let (vaults, key) = azure.recipient();
    let wrapped = block_on(vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap();
    for local in [false, true] {
        let strict = azure.builder().vault(VAULT).post_quantum_safe_only(true).local_wraps(local).build();
        refused(block_on(strict.wrap_dek(&key, &fresh_dek(), &context())).unwrap_err(), Some(&key));
        refused(block_on(strict.generate_dek(&key, &context())).map(drop).unwrap_err(), Some(&key));
        block_on(strict.unwrap_dek(&wrapped, &context())).unwrap();
        for kind in [None, Some("RSA-4096"), Some("RSA-HSM-3072")] {
            let mut new = NewKey::named(fresh_name());
            new.algorithm = kind.map(str::to_owned);
            refused(block_on(strict.check_new_key(&new)).unwrap_err(), None);
            refused(block_on(strict.create_key(&new)).unwrap_err(), None);
        }
        // An envelope with an RSA recipient beside another is not written either.
        let both =
            Keyring::new().encrypt(hsm.recipient().0, hsm.key()).encrypt(Arc::new(strict), key.clone());
        block_on(Envelope::new(both).encrypt(b"attack", &EncryptionContext::new())).unwrap_err();
    }
    let strict = hsm.builder().vault(HSM).post_quantum_safe_only(true).build();
    let new = NewKey::named(fresh_name()).algorithm("RSA-HSM-3072");
    refused(block_on(strict.create_key(&new)).unwrap_err(), None);
    let made = block_on(strict.create_key(&NewKey::named(fresh_name()))).unwrap().uri;
    let wrapped = block_on(strict.wrap_dek(&made, &fresh_dek(), &context())).unwrap();
    assert_eq!(wrapped.is_post_quantum_safe(), Some(true));
}

/// Its key is of a managed HSM, which refuses.
#[test]
fn a_symmetric_key_binds_the_context_itself() {
    let hsm = Azure::hsm();
    let (vaults, key) = hsm.recipient();
    let wrapped = block_on(vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap();
    assert_eq!((wrapped.wrap_algorithm(), wrapped.ciphertext().len()), ("A256GCM", 60));
    assert_eq!(vaults.context_binding(&wrapped), ContextBinding::Provider);
    assert_eq!(wrapped.is_post_quantum_safe(), Some(true));
    let another = EncryptionContext::new().with("tenant", "43").full().unwrap();
    let error = block_on(vaults.unwrap_dek(&wrapped, &another)).unwrap_err();
    assert_eq!(error.kind(), envelope_sdk::ProviderErrorKind::Unauthentic);
}

fn opens_with_each(recipients: &[Recipient]) {
    let keyring = recipients
        .iter()
        .fold(Keyring::new(), |keyring, (provider, key)| keyring.encrypt(provider.clone(), key.clone()));
    let context = EncryptionContext::new().with("tenant", "42").with("table", "orders");
    let sealed = block_on(Envelope::new(keyring).encrypt(b"attack at dawn", &context)).unwrap();
    assert_eq!(Envelope::inspect(&sealed).unwrap().recipients().len(), recipients.len());
    for (provider, key) in recipients {
        let alone = Envelope::new(Keyring::new().decrypt(provider.clone(), key.clone()));
        assert_eq!(block_on(alone.decrypt(&sealed, &context)).unwrap(), b"attack at dawn", "{key}");
    }
}

/// Each row of the table is where an envelope comes from, each column where it goes.
fn moves_between_any_two(recipients: &[Recipient]) {
    let context = EncryptionContext::new().with("tenant", "42");
    for from in recipients {
        let first = Envelope::new(Keyring::new().encrypt(from.0.clone(), from.1.clone()));
        let sealed = block_on(first.encrypt(b"attack at dawn", &context)).unwrap();
        for to in recipients {
            let keyring =
                Keyring::new().encrypt(to.0.clone(), to.1.clone()).decrypt(from.0.clone(), from.1.clone());
            let moved = block_on(Envelope::new(keyring).rewrap(&sealed, &context)).unwrap();
            let header = Envelope::inspect(&moved).unwrap();
            let uris: Vec<_> = header.recipients().iter().map(|it| it.key_uri().scheme()).collect();
            assert_eq!(uris, [to.1.scheme()], "{} to {}", from.1, to.1);
            let alone = Envelope::new(Keyring::new().decrypt(to.0.clone(), to.1.clone()));
            assert_eq!(
                block_on(alone.decrypt(&moved, &context)).unwrap(),
                b"attack at dawn",
                "{} to {}",
                from.1,
                to.1
            );
            if from.1 != to.1 {
                let before = Envelope::new(Keyring::new().decrypt(from.0.clone(), from.1.clone()));
                let error = block_on(before.decrypt(&moved, &context)).unwrap_err();
                assert!(matches!(error, DecryptError::NoConfiguredKey { .. }), "{}: {error:?}", from.1);
            }
        }
    }
}

impl Azure {
    fn recipient(&self) -> Recipient {
        (Arc::new(self.builder().build()), self.key())
    }
}

struct Google {
    http: HttpServer,
}

impl Google {
    fn new() -> Self {
        Self { http: GcpServer::new().serve() }
    }

    fn recipient(&self) -> Recipient {
        let kms = GcpKms::builder().endpoint_url(self.http.url()).anonymous().key_ring(RING).build();
        block_on(kms.create_key_ring(RING)).unwrap();
        let key = block_on(kms.create_key(&NewKey::named(fresh_name()))).unwrap().uri;
        (Arc::new(kms), key)
    }
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

fn of_token(token: &tokens::Token) -> Recipient {
    let config = Pkcs11Config::new(token.module(), TokenSelector::label(&token.label));
    let provider = Pkcs11Provider::open(config.pin(PinSource::pin(tokens::pin(PIN)))).unwrap();
    let key = block_on(provider.create_key(&NewKey::named("table"))).unwrap().uri;
    (Arc::new(provider), key)
}

fn local() -> (TempDir, Recipient) {
    let folder = tempfile::tempdir().unwrap();
    let passphrase = Passphrase::new("correct horse battery staple".into()).unwrap();
    let keystore = Keystore::create(folder.path().join("keys.json"), &passphrase).unwrap();
    let key = block_on(keystore.create_key(&NewKey::named("main"))).unwrap().uri;
    (folder, (Arc::new(keystore), key))
}

const RING: &str = "projects/tests/locations/europe-west3/keyRings/tests";
