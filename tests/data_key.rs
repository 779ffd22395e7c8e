//! Withheld values of a data key: it has no commitment, so that a wrong one is told by a wrap that
//! binds the context, by a record, or not at all.

#![allow(
    clippy::cast_possible_truncation,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that goes wrong shall stop"
)]

mod common;

use std::sync::Arc;

use common::{block_on, context, memory};
use envelope_sdk::{
    ContextBinding, DecryptError, EncryptError, EncryptionContext, Envelope, KeyUri, Keyring, RewrapError,
    stream::StreamError,
};
use envelope_testkit::{AlteredProvider, MemoryProvider};

#[test]
fn no_data_key_is_made_whose_withheld_values_a_wrap_does_not_verify() {
    let (bound, bound_keys) = memory(1);
    let (unbound, unbound_key) = unbound();
    let one = Keyring::new().both(unbound.clone(), unbound_key.clone());
    let both = Keyring::new().both(bound, bound_keys[0].clone()).both(unbound, unbound_key.clone());
    for keyring in [one, both] {
        let envelope = Envelope::new(keyring);
        match block_on(envelope.create_data_key(&context())).map(drop) {
            Err(EncryptError::ContextNotBound { key }) => assert_eq!(key, unbound_key),
            other => panic!("{other:?}"),
        }
        let stored = EncryptionContext::new().with("tenant", "42");
        let header = block_on(envelope.create_data_key(&stored)).unwrap().header().to_bytes();
        block_on(envelope.open_data_key(&header, &stored)).unwrap();
    }
}

#[test]
fn no_data_key_opens_under_a_withheld_value_that_nothing_verified() {
    let (provider, key) = unbound();
    let before = says_it_binds(provider.clone());
    let made = Envelope::new(Keyring::new().both(before, key.clone()));
    let data_key = block_on(made.create_data_key(&context())).unwrap();
    let row = EncryptionContext::new().with("row", "17");
    let record = data_key.seal(b"jane", &row).unwrap();
    let header = data_key.header().to_bytes();

    let envelope = Envelope::new(Keyring::new().both(provider.clone(), key.clone()));
    let wrong = context().withhold("patient", "8");
    for context in [&wrong, &context()] {
        let error = block_on(envelope.open_data_key(&header, context)).map(drop).unwrap_err();
        assert!(matches!(error, DecryptError::ContextNotVerified), "{error:?}");
    }
    // A record tells.
    let opened = block_on(envelope.open_data_key_of(&record, &row, &header, &context())).unwrap();
    assert_eq!(opened.open(&record, &row).unwrap(), b"jane");
    for (row, context) in [(&row, &wrong), (&EncryptionContext::new(), &context())] {
        let error = block_on(envelope.open_data_key_of(&record, row, &header, context)).map(drop);
        assert!(matches!(error, Err(DecryptError::NotAuthentic)), "{error:?}");
    }
    // It is no worse under another such key, and never bound to what nothing verified.
    block_on(envelope.rewrap(&header, &context())).unwrap();
    let (bound, bound_keys) = memory(1);
    let mover = Envelope::new(Keyring::new().decrypt(provider, key).encrypt(bound, bound_keys[0].clone()));
    let error = block_on(mover.rewrap(&header, &context())).unwrap_err();
    assert!(matches!(error, RewrapError::ContextNotVerified), "{error:?}");
}

#[test]
fn no_rewrap_takes_from_a_data_key_what_verifies_its_withheld_values() {
    let (bound, bound_keys) = memory(1);
    let (unbound, unbound_key) = unbound();
    let made = Envelope::new(Keyring::new().both(bound.clone(), bound_keys[0].clone()));
    let mover = Keyring::new().decrypt(bound, bound_keys[0].clone()).encrypt(unbound, unbound_key.clone());
    let mover = Envelope::new(mover);
    let data_key = block_on(made.create_data_key(&context())).unwrap();
    match block_on(mover.rewrap(&data_key.header().to_bytes(), &context())) {
        Err(RewrapError::Encrypt(EncryptError::ContextNotBound { key })) => assert_eq!(key, unbound_key),
        other => panic!("{other:?}"),
    }
    // The commitment of an envelope stays, whatever wraps its DEK.
    let sealed = block_on(made.encrypt(b"attack", &context())).unwrap();
    block_on(mover.rewrap(&sealed, &context())).unwrap();
}

#[test]
fn an_envelope_tells_a_wrong_withheld_value_by_its_commitment() {
    let (provider, key) = unbound();
    let envelope = Envelope::new(Keyring::new().both(provider, key));
    let wrong = context().withhold("patient", "8");
    let sealed = block_on(envelope.encrypt(b"attack", &context())).unwrap();
    let (header, payload) = block_on(envelope.encrypt_detached(b"attack", &context())).unwrap();
    for error in [
        block_on(envelope.decrypt(&sealed, &wrong)).unwrap_err(),
        block_on(envelope.decrypt_detached(&header, &payload, &wrong)).unwrap_err(),
    ] {
        assert!(matches!(error, DecryptError::NotAuthentic), "{error:?}");
    }
    let error = block_on(envelope.reencrypt(&sealed, &wrong)).unwrap_err();
    assert!(matches!(error, RewrapError::Decrypt(DecryptError::NotAuthentic)), "{error:?}");
    let error = block_on(envelope.decrypt_range(sealed.as_slice(), 0..1, &wrong)).unwrap_err();
    assert!(matches!(error, StreamError::Decrypt(DecryptError::NotAuthentic)), "{error:?}");
}

fn unbound() -> (Arc<MemoryProvider>, KeyUri) {
    let key = MemoryProvider::key("unbound");
    (Arc::new(MemoryProvider::new().with_key(&key).without_context_binding()), key)
}

/// Makes the data keys that were possible before it mattered what a key binds.
fn says_it_binds(provider: Arc<MemoryProvider>) -> Arc<AlteredProvider> {
    Arc::new(AlteredProvider::new(provider).binding(|_, _| ContextBinding::Provider))
}
