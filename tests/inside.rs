//! What a key store does by itself: making the DEK of a new envelope, and
//! wrapping an old one anew.

#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that goes wrong shall stop, and says what it ran"
)]

mod common;

use std::sync::Arc;

use common::{block_on, context, envelope, memory, message};
use envelope_sdk::{
    DecryptError, Dek, EncryptError, EncryptionContext, Envelope, KeyProvider, KeyUri, Keyring,
    ProviderErrorKind, ProviderIdentity, RewrapError, WrappedDek,
};
use envelope_testkit::{AlteredProvider, Fault, FaultProvider, MemoryProvider};

/// As [`memory`], of a provider that generates DEKs and rewraps.
fn clever(count: usize) -> (Arc<MemoryProvider>, Vec<KeyUri>) {
    let keys: Vec<KeyUri> = (0..count).map(|at| MemoryProvider::key(&format!("clever-{at}"))).collect();
    let provider = MemoryProvider::new().that_generates_deks().that_rewraps();
    (Arc::new(keys.iter().fold(provider, MemoryProvider::with_key)), keys)
}

/// Generates one and the same DEK.
fn constant(provider: Arc<MemoryProvider>) -> Arc<AlteredProvider> {
    let constant = AlteredProvider::new(provider).generating(true).on_generate(|below, key, context| {
        Box::pin(async move {
            let dek = Dek::from_slice(&[7; 32]).unwrap();
            let wrapped = below.wrap_dek(key, &dek, context).await?;
            Ok((dek, wrapped))
        })
    });
    Arc::new(constant)
}

/// Rewraps another DEK under one of its keys.
fn one_rewrap_holds_another(provider: Arc<MemoryProvider>, key: &KeyUri) -> Arc<AlteredProvider> {
    let of_another = key.clone();
    let altered = AlteredProvider::new(provider).on_rewrap(move |below, wrapped, key, context| {
        let is_of_another = *key == of_another;
        Box::pin(async move {
            if is_of_another {
                let other = Dek::from_slice(&[7; 32]).unwrap();
                return below.wrap_dek(key, &other, context).await.map(Some);
            }
            below.rewrap_dek(wrapped, key, context).await
        })
    });
    Arc::new(altered)
}

fn recipients(envelope: &[u8]) -> Vec<KeyUri> {
    let header = Envelope::inspect(envelope).unwrap();
    header.recipients().iter().map(WrappedDek::key_uri).cloned().collect()
}

// Making the DEK

#[test]
fn the_first_key_that_generates_makes_the_dek_and_all_others_wrap_it() {
    let (plain, plain_keys) = memory(1);
    let (clever, clever_keys) = clever(2);
    let keyring = Keyring::new()
        .both(plain.clone(), plain_keys[0].clone())
        .both(clever.clone(), clever_keys[0].clone())
        .both(clever.clone(), clever_keys[1].clone());
    let sealed = block_on(Envelope::new(keyring).encrypt(&message(40_000), &context())).unwrap();
    assert_eq!((clever.generated(), clever.wraps(), plain.wraps()), (1, 1, 1));
    assert_eq!(recipients(&sealed), [&plain_keys[0], &clever_keys[0], &clever_keys[1]].map(KeyUri::clone));
    for ring in [
        Keyring::new().decrypt(plain, plain_keys[0].clone()),
        Keyring::new().decrypt(clever.clone(), clever_keys[0].clone()),
        Keyring::new().decrypt(clever, clever_keys[1].clone()),
    ] {
        assert_eq!(block_on(Envelope::new(ring).decrypt(&sealed, &context())).unwrap(), message(40_000));
    }
}

#[test]
fn data_keys_and_reencrypted_envelopes_have_a_generated_dek_too() {
    let (provider, keys) = clever(1);
    let envelope = envelope(&provider, &keys);
    let data_key = block_on(envelope.create_data_key(&context())).unwrap();
    let record = data_key.seal(b"x", &context()).unwrap();
    let reopened = block_on(envelope.open_data_key(&data_key.header().to_bytes(), &context())).unwrap();
    assert_eq!(reopened.open(&record, &context()).unwrap(), b"x");
    let sealed = block_on(envelope.encrypt(b"attack", &context())).unwrap();
    let anew = block_on(envelope.reencrypt(&sealed, &context())).unwrap();
    assert_eq!(block_on(envelope.decrypt(&anew, &context())).unwrap(), b"attack");
    assert_eq!((provider.generated(), provider.wraps()), (3, 0));
}

#[test]
fn nothing_is_encrypted_and_nobody_else_asked_when_no_dek_is_generated() {
    let (plain, plain_keys) = memory(1);
    let (clever, keys) = clever(1);
    let faulty = Arc::new(FaultProvider::new(clever));
    faulty.fault_wraps(Fault::Fail(ProviderErrorKind::AccessDenied));
    let ring = Keyring::new().encrypt(plain.clone(), plain_keys[0].clone()).encrypt(faulty, keys[0].clone());
    match block_on(Envelope::new(ring).encrypt(b"x", &context())) {
        Err(EncryptError::Provider(error)) => {
            assert_eq!((error.kind(), error.key()), (ProviderErrorKind::AccessDenied, Some(&keys[0])));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(plain.calls(), 0);
}

#[test]
fn no_dek_is_generated_for_more_recipients_than_a_header_has() {
    let (provider, keys) = clever(17);
    let error = block_on(envelope(&provider, &keys).encrypt(b"", &context())).unwrap_err();
    assert!(matches!(error, EncryptError::TooManyKeys(17)), "{error:?}");
    assert_eq!(provider.calls(), 0);
    let sealed = block_on(envelope(&provider, &keys[..16]).encrypt(b"", &context())).unwrap();
    assert_eq!(recipients(&sealed), keys[..16]);
}

#[test]
fn a_dek_that_is_given_out_twice_repeats_no_key() {
    let (provider, keys) = memory(1);
    let envelope = envelope(&constant(provider), &keys);
    let seal = || block_on(envelope.encrypt_detached(&message(40_000), &context())).unwrap();
    let ((one, payload), (other, other_payload)) = (seal(), seal());
    // With one key and nonce, the two payloads would be the same.
    let equal = payload.iter().zip(&other_payload).filter(|(one, other)| one == other).count();
    assert!(equal < payload.len() / 100, "{equal} of {} bytes are equal", payload.len());
    for (header, payload) in [(&one, &other_payload), (&other, &payload)] {
        let error = block_on(envelope.decrypt_detached(header, payload, &context())).unwrap_err();
        assert!(matches!(error, DecryptError::NotAuthentic), "{error:?}");
    }
    assert_eq!(block_on(envelope.decrypt_detached(&one, &payload, &context())).unwrap(), message(40_000));
}

// Wrapping anew

#[test]
fn a_rewrap_inside_takes_a_rewrap_and_an_unwrap_for_each_new_key() {
    let (provider, keys) = clever(4);
    let sealed = block_on(envelope(&provider, &keys[..1]).encrypt(&message(40_000), &context())).unwrap();
    for new in [&keys[1..2], &keys[2..], &keys[..1]] {
        let ring = new.iter().fold(Keyring::new(), |ring, key| ring.encrypt(provider.clone(), key.clone()));
        let mover = Envelope::new(ring.decrypt(provider.clone(), keys[0].clone()));
        let before = (provider.rewraps(), provider.unwraps(), provider.wraps());
        let moved = block_on(mover.rewrap(&sealed, &context())).unwrap();
        let count = new.len();
        assert_eq!(
            (provider.rewraps(), provider.unwraps(), provider.wraps()),
            (before.0 + count, before.1 + count, before.2)
        );
        assert_eq!(recipients(&moved), new);
        let (old, header) = (Envelope::inspect(&sealed).unwrap(), Envelope::inspect(&moved).unwrap());
        assert_eq!(header.generation(), 1);
        assert_eq!(moved[header.len()..], sealed[old.len()..], "payload");
        for key in new {
            let one = Envelope::new(Keyring::new().decrypt(provider.clone(), key.clone()));
            assert_eq!(block_on(one.decrypt(&moved, &context())).unwrap(), message(40_000));
        }
    }
}

#[test]
fn keys_of_two_providers_are_rewrapped_through_this_machine() {
    let (one, keys) = clever(2);
    let sealed = block_on(envelope(&one, &keys[..1]).encrypt(b"attack", &context())).unwrap();
    // Also where the second has the same keys, as another login of one KMS has.
    let same_keys = AlteredProvider::new(one.clone()).identified(Some(ProviderIdentity::unique()));
    let nobody = AlteredProvider::new(one.clone()).identified(None);
    let (foreign, foreign_keys) = memory(1);
    for ring in [
        Keyring::new().encrypt(Arc::new(same_keys), keys[1].clone()),
        Keyring::new().encrypt(Arc::new(nobody), keys[1].clone()),
        Keyring::new().encrypt(foreign.clone(), foreign_keys[0].clone()),
        Keyring::new().encrypt(one.clone(), keys[1].clone()).encrypt(foreign, foreign_keys[0].clone()),
    ] {
        let mover = Envelope::new(ring.decrypt(one.clone(), keys[0].clone()));
        let moved = block_on(mover.rewrap(&sealed, &context())).unwrap();
        assert_eq!(Envelope::inspect(&moved).unwrap().generation(), 1);
    }
    assert_eq!(one.rewraps(), 0);
}

/// What may decrypt stands behind a decorator, what may encrypt behind two, and a pointer.
#[test]
fn keys_of_one_provider_behind_decorators_are_rewrapped_inside() {
    let (one, keys) = clever(2);
    let sealed = block_on(envelope(&one, &keys[..1]).encrypt(b"attack", &context())).unwrap();
    let once = || Arc::new(FaultProvider::new(one.clone()));
    let twice: Arc<dyn KeyProvider> = Arc::new(FaultProvider::new(once()));
    let ring = Keyring::new().decrypt(once(), keys[0].clone()).encrypt(Arc::new(twice), keys[1].clone());
    let moved = block_on(Envelope::new(ring).rewrap(&sealed, &context())).unwrap();
    // Each of the two ways to the key store was asked, and the DEK not handed out to be wrapped.
    assert_eq!((one.rewraps(), one.wraps()), (2, 0));
    assert_eq!(recipients(&moved), keys[1..]);
    assert_eq!(block_on(envelope(&one, &keys[1..]).decrypt(&moved, &context())).unwrap(), b"attack");
}

/// A policy that lets nothing be opened, before the key that opens or before the one that wraps.
#[test]
fn a_decorator_that_refuses_is_not_passed_by() {
    let (one, keys) = clever(2);
    let sealed = block_on(envelope(&one, &keys[..1]).encrypt(b"attack", &context())).unwrap();
    let refuses = || -> Arc<dyn KeyProvider> {
        let policy = FaultProvider::new(one.clone());
        policy.fault_unwraps(Fault::Fail(ProviderErrorKind::AccessDenied));
        policy.fault_wraps(Fault::Fail(ProviderErrorKind::AccessDenied));
        policy.fault_rewraps(Fault::Fail(ProviderErrorKind::AccessDenied));
        Arc::new(policy)
    };
    for (opens, wraps) in [(refuses(), one.clone() as _), (one.clone() as _, refuses())] {
        let ring = Keyring::new().decrypt(opens, keys[0].clone()).encrypt(wraps, keys[1].clone());
        let error = block_on(Envelope::new(ring).rewrap(&sealed, &context())).unwrap_err();
        assert!(error.to_string().contains("injected fault"), "{error}");
    }
}

#[test]
fn two_providers_without_identity_are_not_one() {
    let (one, keys) = clever(2);
    let sealed = block_on(envelope(&one, &keys[..1]).encrypt(b"attack", &context())).unwrap();
    let nobody = Arc::new(AlteredProvider::new(one.clone()).identified(None));
    let ring = Keyring::new().decrypt(nobody.clone(), keys[0].clone()).encrypt(nobody, keys[1].clone());
    block_on(Envelope::new(ring).rewrap(&sealed, &context())).unwrap();
    assert_eq!((one.rewraps(), one.wraps()), (0, 1));
}

#[test]
fn a_rewrap_inside_that_holds_another_dek_is_not_taken() {
    let (provider, keys) = clever(2);
    let sealed = block_on(envelope(&provider, &keys).encrypt(b"attack", &context())).unwrap();
    let faulty = Arc::new(FaultProvider::new(provider.clone()));
    let envelope = envelope(&faulty, &keys);
    for fault in [
        Fault::OtherDek,
        Fault::Fail(ProviderErrorKind::Unavailable),
        Fault::Fail(ProviderErrorKind::Unauthentic),
    ] {
        faulty.fault_rewraps(fault);
        let wraps = provider.wraps();
        let moved = block_on(envelope.rewrap(&sealed, &context())).unwrap();
        assert!(provider.wraps() > wraps, "{fault:?}: the long way was taken");
        assert_eq!(block_on(envelope.decrypt(&moved, &context())).unwrap(), b"attack", "{fault:?}");
    }
}

/// The first of two new wraps holds the DEK, the second does not.
#[test]
fn each_of_several_rewraps_inside_must_hold_the_dek() {
    let (provider, keys) = clever(2);
    let sealed = block_on(envelope(&provider, &keys).encrypt(b"attack", &context())).unwrap();
    for at in 0..2 {
        let faulty = one_rewrap_holds_another(provider.clone(), &keys[at]);
        let envelope = envelope(&faulty, &keys);
        let wraps = provider.wraps();
        let moved = block_on(envelope.rewrap(&sealed, &context())).unwrap();
        assert_eq!(provider.wraps(), wraps + 3, "one of the fault, two of the long way");
        for key in &keys {
            let one = Envelope::new(Keyring::new().decrypt(provider.clone(), key.clone()));
            assert_eq!(block_on(one.decrypt(&moved, &context())).unwrap(), b"attack");
        }
    }
}

#[test]
fn a_changed_header_is_not_made_authentic_by_a_rewrap_inside() {
    // Without context in the wraps only the envelope itself notices.
    let key = MemoryProvider::key("0");
    let provider = MemoryProvider::new().without_context_binding().that_rewraps().with_key(&key);
    let envelope = envelope(&Arc::new(provider), &[key]);
    let sealed = block_on(envelope.encrypt(b"x", &context())).unwrap();
    assert!(block_on(envelope.rewrap(&sealed, &context())).is_ok());
    let value = sealed.windows(2).position(|window| window == b"42").unwrap();
    let mac = Envelope::inspect(&sealed).unwrap().len() - 1;
    // Envelope id, generation, a stored value, MAC.
    for position in [16, 35, value, mac] {
        let mut changed = sealed.clone();
        changed[position] ^= 1;
        let supplied = EncryptionContext::new().with("patient", "7");
        let error = block_on(envelope.rewrap(&changed, &supplied)).unwrap_err();
        let not_authentic = matches!(error, RewrapError::Decrypt(DecryptError::NotAuthentic));
        assert!(not_authentic, "byte {position}: {error:?}");
    }
}

#[test]
fn a_rewrap_inside_asks_for_configured_keys_and_the_right_context_alone() {
    let (provider, keys) = clever(2);
    let sealed = block_on(envelope(&provider, &keys[..1]).encrypt(b"x", &context())).unwrap();
    let calls = provider.calls();
    let other = envelope(&provider, &keys[1..]);
    let error = block_on(other.rewrap(&sealed, &context())).unwrap_err();
    let unknown = matches!(error, RewrapError::Decrypt(DecryptError::NoConfiguredKey { .. }));
    assert!(unknown, "{error:?}");
    let right = envelope(&provider, &keys[..1]);
    let error = block_on(right.rewrap(&sealed, &context().with("tenant", "43"))).unwrap_err();
    assert!(matches!(error, RewrapError::Decrypt(DecryptError::NotAuthentic)), "{error:?}");
    assert_eq!(provider.calls(), calls, "no provider was called");
    let error = block_on(right.rewrap(&sealed, &context().withhold("patient", "8"))).unwrap_err();
    assert!(matches!(error, RewrapError::Decrypt(DecryptError::NotAuthentic)), "{error:?}");
}
