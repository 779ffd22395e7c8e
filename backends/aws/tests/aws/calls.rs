//! Which calls of KMS each verb makes, as somebody between this and LocalStack
//! sees them.

use std::sync::Arc;

use envelope_sdk::{Envelope, KeyProvider, Keyring, WrappedDek};
use envelope_testkit::{FaultProvider, MemoryProvider, servers::Recorder};

use super::*;

#[test]
fn the_first_key_makes_the_dek_and_the_others_wrap_it() {
    let Some(kms) = Recorded::localstack() else { return };
    let (one, two, own) = (kms.key(), kms.key(), MemoryProvider::key("own"));
    let memory: Arc<dyn KeyProvider> = Arc::new(MemoryProvider::new().with_key(&own));
    let (of_one, of_both) = (kms.keyring([&one]), kms.keyring([&one, &two]));
    let beside = Keyring::new().encrypt(memory, own).encrypt(kms.provider.clone(), two);
    for (keyring, expected) in [
        (of_one, vec!["GenerateDataKey"]),
        (of_both, vec!["Encrypt", "GenerateDataKey"]),
        (beside, vec!["GenerateDataKey"]),
    ] {
        let count = keyring.encrypting().count();
        let sealed = kms.expect(&expected, Envelope::new(keyring).encrypt(b"attack", &entries())).unwrap();
        assert_eq!(Envelope::inspect(&sealed).unwrap().recipients().len(), count);
    }
}

#[test]
fn decrypting_is_one_call_and_each_recipient_opens() {
    let Some(kms) = Recorded::localstack() else { return };
    let (one, two) = (kms.key(), kms.key());
    let sealed = block_on(Envelope::new(kms.keyring([&one, &two])).encrypt(b"attack", &entries())).unwrap();
    for key in [&one, &two] {
        let envelope = Envelope::new(kms.keyring([key]));
        assert_eq!(kms.expect(&["Decrypt"], envelope.decrypt(&sealed, &entries())).unwrap(), b"attack");
    }
}

#[test]
fn a_rewrap_between_keys_of_one_region_saves_a_round_trip() {
    let Some(kms) = Recorded::localstack() else { return };
    let (one, two) = (kms.key(), kms.key());
    let sealed = block_on(Envelope::new(kms.keyring([&one])).encrypt(b"attack", &entries())).unwrap();
    for (new, calls) in [
        (vec![&two], vec!["Decrypt", "ReEncrypt"]),
        // After a rotation a key is rewrapped to itself.
        (vec![&one], vec!["Decrypt", "ReEncrypt"]),
        (vec![&one, &two], vec!["Decrypt", "Decrypt", "ReEncrypt", "ReEncrypt"]),
    ] {
        let ring = new
            .iter()
            .fold(Keyring::new(), |ring, key| ring.encrypt(kms.provider.clone(), KeyUri::clone(key)));
        let mover = Envelope::new(ring.decrypt(kms.provider.clone(), one.clone()));
        let moved = kms.expect(&calls, mover.rewrap(&sealed, &entries())).unwrap();
        let header = Envelope::inspect(&moved).unwrap();
        assert_eq!(header.generation(), 1);
        assert_eq!(header.recipients().iter().map(WrappedDek::key_uri).collect::<Vec<_>>(), new);
        for key in new {
            let one = Envelope::new(kms.keyring([key]));
            assert_eq!(block_on(one.decrypt(&moved, &entries())).unwrap(), b"attack");
        }
    }
}

/// What stands before a provider is no other provider.
#[test]
fn a_decorated_provider_still_rewraps_inside_kms() {
    let Some(kms) = Recorded::localstack() else { return };
    let (one, two) = (kms.key(), kms.key());
    let decorated: Arc<dyn KeyProvider> = Arc::new(FaultProvider::new(kms.provider.clone()));
    let sealed = block_on(Envelope::new(kms.keyring([&one])).encrypt(b"attack", &entries())).unwrap();
    let plain: Arc<dyn KeyProvider> = kms.provider.clone();
    for (opens, wraps, calls) in [
        // Each of two ways to one key store is asked.
        (plain, decorated.clone(), ["Decrypt", "ReEncrypt", "ReEncrypt"].as_slice()),
        (decorated.clone(), decorated, &["Decrypt", "ReEncrypt"]),
    ] {
        let ring = Keyring::new().encrypt(wraps, two.clone()).decrypt(opens, one.clone());
        let mover = Envelope::new(ring);
        let moved = kms.expect(calls, mover.rewrap(&sealed, &entries())).unwrap();
        let new = Envelope::new(kms.keyring([&two]));
        assert_eq!(block_on(new.decrypt(&moved, &entries())).unwrap(), b"attack");
    }
    // Another provider may be of another account: the DEK goes through this machine.
    let other: Arc<dyn KeyProvider> = Arc::new(at(&kms.address).build());
    let ring = Keyring::new().encrypt(other, two).decrypt(kms.provider.clone(), one);
    let mover = Envelope::new(ring);
    kms.expect(&["Decrypt", "Decrypt", "Encrypt"], mover.rewrap(&sealed, &entries())).unwrap();
}

#[test]
fn a_rewrap_to_another_region_goes_through_this_machine() {
    let Some(kms) = Recorded::localstack() else { return };
    let here = kms.key();
    let there = at(&kms.address).region("us-east-1").build();
    let elsewhere = create(&there).0.uri;
    let sealed = block_on(Envelope::new(kms.keyring([&here])).encrypt(b"attack", &entries())).unwrap();
    let ring = Keyring::new().encrypt(kms.provider.clone(), elsewhere.clone());
    let mover = Envelope::new(ring.decrypt(kms.provider.clone(), here));
    let moved = kms.expect(&["Decrypt", "Decrypt", "Encrypt"], mover.rewrap(&sealed, &entries())).unwrap();
    let there = Envelope::new(kms.keyring([&elsewhere]));
    assert_eq!(block_on(there.decrypt(&moved, &entries())).unwrap(), b"attack");
}

#[test]
fn a_wrong_context_is_not_rewrapped() {
    let Some(kms) = Recorded::localstack() else { return };
    let key = kms.key();
    let wrapped = block_on(kms.provider.generate_dek(&key, &context())).unwrap().1;
    let wrong = EncryptionContext::new().with("tenant", "43").full().unwrap();
    let error = block_on(kms.provider.rewrap_dek(&wrapped, &key, &wrong)).unwrap_err();
    assert_eq!(error.kind(), envelope_sdk::ProviderErrorKind::Unauthentic, "{error}");
    let right = block_on(kms.provider.rewrap_dek(&wrapped, &key, &context())).unwrap().unwrap();
    let [old, new] = [wrapped, right]
        .map(|wrapped| *block_on(kms.provider.unwrap_dek(&wrapped, &context())).unwrap().expose());
    assert_eq!(old, new);
}

fn entries() -> EncryptionContext {
    EncryptionContext::new().with("tenant", "42").withhold("patient", "7")
}

/// LocalStack behind a recorder.
struct Recorded {
    provider: Arc<AwsKms>,
    address: String,
    recorder: Recorder,
}

impl Recorded {
    fn localstack() -> Option<Self> {
        let server = servers::address("LOCALSTACK")?;
        let recorder = Recorder::before(server.strip_prefix("http://").unwrap()).unwrap();
        let address = format!("http://{}", recorder.address());
        let provider = Arc::new(at(&address).build());
        Some(Self { provider, address, recorder })
    }

    fn key(&self) -> KeyUri {
        create(&self.provider).0.uri
    }

    /// One that encrypts and decrypts with all of `keys`.
    fn keyring<'k>(&self, keys: impl IntoIterator<Item = &'k KeyUri>) -> Keyring {
        keys.into_iter().fold(Keyring::new(), |ring, key| ring.both(self.provider.clone(), key.clone()))
    }

    /// Demands that `future` makes these calls, which are sorted, and no other.
    fn expect<T>(&self, calls: &[&str], future: impl Future<Output = T>) -> T {
        self.recorder.take();
        let outcome = block_on(future);
        let calls: Vec<String> = calls.iter().map(|call| format!("TrentService.{call}")).collect();
        assert_eq!(self.recorder.take_header("x-amz-target"), calls);
        outcome
    }
}
