//! Rewrap and reencrypt: what moves, what stays, and that nothing is lost when
//! a key fails.

#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that goes wrong shall stop, and says what it ran"
)]

mod common;

use std::sync::Arc;

use common::{block_on, context, envelope, memory, message, spy};
use envelope_sdk::{
    ContextBinding, DecryptError, Dek, EncryptError, EncryptionContext, Envelope, FormatError, FullContext,
    KeyProvider, KeyUri, Keyring, Kind, ProviderError, ProviderErrorKind, ProviderIdentity, RewrapError,
    WrappedDek,
    crypto::{DefaultEngine, Engine},
};
use envelope_testkit::{AlteredProvider, Fault, FaultProvider, MemoryProvider};

#[test]
fn a_rewrap_moves_the_envelope_to_another_key_and_leaves_the_payload() {
    let (provider, keys) = memory(2);
    let (old, new) = (envelope(&provider, &keys[..1]), envelope(&provider, &keys[1..]));
    let mover = Envelope::new(
        Keyring::new().decrypt(provider.clone(), keys[0].clone()).encrypt(provider.clone(), keys[1].clone()),
    );
    let sealed = block_on(old.encrypt(&message(40_000), &context())).unwrap();
    let before = Envelope::inspect(&sealed).unwrap();
    let moved = block_on(mover.rewrap(&sealed, &context())).unwrap();
    let after = Envelope::inspect(&moved).unwrap();
    assert_eq!(moved[after.len()..], sealed[before.len()..], "payload");
    assert_eq!(after.envelope_id(), before.envelope_id());
    assert_eq!((before.generation(), after.generation()), (0, 1));
    assert_eq!(after.stored_context(), before.stored_context());
    assert_eq!(after.withheld(), before.withheld());
    assert_eq!(block_on(new.decrypt(&moved, &context())).unwrap(), message(40_000));
    let calls = provider.calls();
    let error = block_on(old.decrypt(&moved, &context())).unwrap_err();
    assert!(matches!(error, DecryptError::NoConfiguredKey { .. }), "{error:?}");
    assert_eq!(provider.calls(), calls);
}

#[test]
fn a_detached_header_and_a_data_key_rewrap_too() {
    let (provider, keys) = memory(1);
    let envelope = envelope(&provider, &keys);
    let (header, payload) = block_on(envelope.encrypt_detached(b"attack", &context())).unwrap();
    let header = block_on(envelope.rewrap(&header, &context())).unwrap();
    assert_eq!(block_on(envelope.decrypt_detached(&header, &payload, &context())).unwrap(), b"attack");

    let data_key = block_on(envelope.create_data_key(&context())).unwrap();
    let record = data_key.seal(b"x", &context()).unwrap();
    let moved = block_on(envelope.rewrap(&data_key.header().to_bytes(), &context())).unwrap();
    let reopened = block_on(envelope.open_data_key(&moved, &context())).unwrap();
    assert_eq!(reopened.open(&record, &context()).unwrap(), b"x");
    assert_eq!(reopened.header().generation(), 1);

    for bytes in [&header, &moved] {
        let longer = [bytes.as_slice(), b"x"].concat();
        let error = block_on(envelope.rewrap(&longer, &context())).unwrap_err();
        let trailing = FormatError::TrailingData { what: "the header" };
        assert!(matches!(error, RewrapError::Decrypt(DecryptError::Format(error)) if error == trailing));
    }
}

#[test]
fn a_wrap_that_gives_another_dek_back_changes_nothing() {
    let (provider, keys) = memory(2);
    let faulty = Arc::new(FaultProvider::new(provider.clone()));
    let ring =
        Keyring::new().both(provider.clone(), keys[0].clone()).encrypt(faulty.clone(), keys[1].clone());
    let mover = Envelope::new(ring);
    let sealed = block_on(envelope(&provider, &keys[..1]).encrypt(b"attack", &context())).unwrap();
    for (wrap, unwrap) in [(Some(Fault::OtherDek), None), (None, Some(Fault::OtherDek))] {
        faulty.fault_wraps(wrap);
        faulty.fault_unwraps(unwrap);
        match block_on(mover.rewrap(&sealed, &context())) {
            Err(RewrapError::WrapNotVerified { key }) => assert_eq!(key, keys[1]),
            other => panic!("{other:?}"),
        }
    }
    // A wrap that does not open at all.
    faulty.fault_wraps(None);
    faulty.fault_unwraps(Fault::Fail(ProviderErrorKind::Unauthentic));
    match block_on(mover.rewrap(&sealed, &context())) {
        Err(RewrapError::Encrypt(EncryptError::Provider(error))) => assert_eq!(error.key(), Some(&keys[1])),
        other => panic!("{other:?}"),
    }
    assert_eq!(block_on(mover.decrypt(&sealed, &context())).unwrap(), b"attack");
}

#[test]
fn an_unavailable_key_says_so_and_whether_to_try_again() {
    let (provider, keys) = memory(1);
    let sealed = block_on(envelope(&provider, &keys).encrypt(b"attack", &context())).unwrap();
    let faulty = Arc::new(FaultProvider::new(provider));
    let mover = envelope(&faulty, &keys);
    for (kind, retryable) in [
        (ProviderErrorKind::Unavailable, true),
        (ProviderErrorKind::Throttled, true),
        (ProviderErrorKind::State, false),
        (ProviderErrorKind::AccessDenied, false),
    ] {
        faulty.fault_wraps(Fault::Fail(kind));
        match block_on(mover.rewrap(&sealed, &context())) {
            Err(RewrapError::Encrypt(EncryptError::Provider(error))) => {
                assert_eq!((error.kind(), error.is_retryable()), (kind, retryable));
            }
            other => panic!("{other:?}"),
        }
        faulty.fault_wraps(None);
        faulty.fault_unwraps(Fault::Fail(kind));
        match block_on(mover.rewrap(&sealed, &context())) {
            Err(RewrapError::Decrypt(DecryptError::Keys { attempts })) => {
                assert_eq!((attempts[0].kind(), attempts[0].is_retryable()), (kind, retryable));
            }
            other => panic!("{other:?}"),
        }
        faulty.fault_unwraps(None);
    }
}

#[test]
fn a_damaged_header_or_wrong_context_is_not_rewrapped() {
    let (provider, keys) = memory(1);
    let envelope = envelope(&provider, &keys);
    let sealed = block_on(envelope.encrypt(b"attack", &context())).unwrap();
    let wraps = provider.wraps();
    let mut damaged = sealed.clone();
    damaged[35] ^= 1;
    for (bytes, context) in [
        (&damaged, context()),
        (&sealed, context().with("patient", "8")),
        (&sealed, context().with("tenant", "1")),
    ] {
        let error = block_on(envelope.rewrap(bytes, &context)).unwrap_err();
        assert!(matches!(error, RewrapError::Decrypt(DecryptError::NotAuthentic)), "{error:?}");
        let error = block_on(envelope.reencrypt(bytes, &context)).unwrap_err();
        assert!(matches!(error, RewrapError::Decrypt(DecryptError::NotAuthentic)), "{error:?}");
    }
    assert_eq!(provider.wraps(), wraps, "nothing was wrapped");
}

/// An envelope whose one key binds no context, moved to a key that does, by somebody who gives a
/// wrong withheld value: the old wrap opens, and the new one would open under that value alone,
/// under which the payload opens for nobody.
#[test]
fn no_new_wrap_binds_a_withheld_value_that_nothing_verified() {
    let (from, to) = (MemoryProvider::key("from"), MemoryProvider::key("to"));
    let unbound = Arc::new(MemoryProvider::new().with_key(&from).without_context_binding());
    let bound = Arc::new(MemoryProvider::new().with_key(&to));
    let old = Envelope::new(Keyring::new().both(unbound.clone(), from.clone()));
    let new = Envelope::new(Keyring::new().both(bound.clone(), to.clone()));
    let mover = Envelope::new(Keyring::new().decrypt(unbound, from).encrypt(bound, to));
    let right = EncryptionContext::new().with("tenant", "42").withhold("patient", "7");
    let wrong = EncryptionContext::new().withhold("patient", "8");

    let sealed = block_on(old.encrypt(&message(100), &right)).unwrap();
    let error = block_on(mover.rewrap(&sealed, &wrong)).unwrap_err();
    assert!(matches!(error, RewrapError::Decrypt(DecryptError::NotAuthentic)), "{error:?}");
    let moved = block_on(mover.rewrap(&sealed, &right)).unwrap();
    assert_eq!(block_on(new.decrypt(&moved, &right)).unwrap(), message(100));

    let (header, payload) = block_on(old.encrypt_detached(&message(100), &right)).unwrap();
    let prefix = payload.first_chunk().unwrap();
    let header = Envelope::inspect(&header).unwrap();
    let error = block_on(mover.rewrap_header_of(prefix, header.clone(), &wrong)).unwrap_err();
    assert!(matches!(error, RewrapError::Decrypt(DecryptError::NotAuthentic)), "{error:?}");
    let moved = block_on(mover.rewrap_header_of(prefix, header.clone(), &right)).unwrap();
    assert_eq!(block_on(new.decrypt_detached(&moved.to_bytes(), &payload, &right)).unwrap(), message(100));

    // Without a payload nothing shows which value is right, and nothing is bound.
    for context in [&right, &wrong] {
        let error = block_on(mover.rewrap_header(header.clone(), context)).unwrap_err();
        assert!(matches!(error, RewrapError::ContextNotVerified), "{error:?}");
    }
    // Where the new key binds nothing either, or nothing is withheld, there is nothing to lose.
    block_on(old.rewrap_header(header, &wrong)).unwrap();
    let stored = EncryptionContext::new().with("tenant", "42");
    let data_key = block_on(old.create_data_key(&stored)).unwrap();
    block_on(mover.rewrap_header(data_key.header().clone(), &stored)).unwrap();
}

/// As above, in a key store that rewraps by itself and has keys of both sorts.
#[test]
fn no_rewrap_inside_binds_a_withheld_value_that_nothing_verified() {
    let (from, to) = (MemoryProvider::key("from"), MemoryProvider::key("to"));
    let inside = Arc::new(BindsForOneKey {
        identity: ProviderIdentity::unique(),
        unbound: MemoryProvider::new().with_key(&from).without_context_binding(),
        bound: MemoryProvider::new().with_key(&to),
    });
    let old = Envelope::new(Keyring::new().both(inside.clone(), from.clone()));
    let mover = Envelope::new(Keyring::new().decrypt(inside.clone(), from).encrypt(inside, to));
    let right = EncryptionContext::new().withhold("patient", "7");
    let wrong = EncryptionContext::new().withhold("patient", "8");
    let sealed = block_on(old.encrypt(&message(100), &right)).unwrap();
    let error = block_on(mover.rewrap(&sealed, &wrong)).unwrap_err();
    assert!(matches!(error, RewrapError::Decrypt(DecryptError::NotAuthentic)), "{error:?}");
    block_on(mover.rewrap(&sealed, &right)).unwrap();
}

struct BindsForOneKey {
    identity: ProviderIdentity,
    unbound: MemoryProvider,
    bound: MemoryProvider,
}

impl BindsForOneKey {
    fn of(&self, key: &KeyUri) -> &MemoryProvider {
        if *key == MemoryProvider::key("to") { &self.bound } else { &self.unbound }
    }
}

#[async_trait::async_trait]
impl KeyProvider for BindsForOneKey {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn identity(&self) -> Option<ProviderIdentity> {
        Some(self.identity)
    }

    fn context_binding(&self, wrapped: &WrappedDek) -> ContextBinding {
        self.of(wrapped.key_uri()).context_binding(wrapped)
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        self.of(key).wrap_dek(key, dek, context).await
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        self.of(wrapped.key_uri()).unwrap_dek(wrapped, context).await
    }

    async fn rewrap_dek(
        &self,
        wrapped: &WrappedDek,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        let dek = self.unwrap_dek(wrapped, context).await?;
        self.wrap_dek(key, &dek, context).await.map(Some)
    }
}

#[test]
fn a_rewrap_that_fits_keeps_the_length_of_the_header() {
    let (provider, keys) = memory(3);
    let one = envelope(&provider, &keys[..1]).pad_headers_to(512);
    let sealed = block_on(one.encrypt(b"x", &context())).unwrap();
    let header = Envelope::inspect(&sealed).unwrap();
    assert_eq!(header.len(), 512);
    let all = envelope(&provider, &keys);
    let moved = block_on(all.rewrap(&sealed, &context())).unwrap();
    assert_eq!(moved.len(), sealed.len());
    assert_eq!(Envelope::inspect(&moved).unwrap().recipients().len(), 3);
    let back = block_on(one.rewrap(&moved, &context())).unwrap();
    assert_eq!(back.len(), sealed.len());
    assert_eq!(Envelope::inspect(&back).unwrap().generation(), 2);
    assert_eq!(block_on(one.decrypt(&back, &context())).unwrap(), b"x");
}

#[test]
fn padding_never_passes_the_limit_of_a_body() {
    let (provider, keys) = memory(1);
    let envelope = envelope(&provider, &keys).pad_headers_to(usize::MAX);
    let sealed = block_on(envelope.encrypt(b"x", &context())).unwrap();
    assert_eq!(Envelope::inspect(&sealed).unwrap().len(), 65_536);
    assert_eq!(block_on(envelope.decrypt(&sealed, &context())).unwrap(), b"x");
}

/// A header that has not much room left is padded to the last byte that it may have, and not beyond; one that has room
/// is padded to the multiple that was asked for.
#[test]
fn padding_fills_what_room_is_left_and_no_more() {
    let (inner, keys) = memory(12);
    // 12 of these are more than 40000 bytes.
    let long = AlteredProvider::new(inner).on_wrap(|below, key, dek, context| {
        Box::pin(async move {
            let wrapped = below.wrap_dek(key, dek, context).await?;
            let padded = [wrapped.ciphertext(), &[7; 3500]].concat();
            WrappedDek::new(key.clone(), wrapped.key_version(), wrapped.wrap_algorithm(), padded)
        })
    });
    let plain = envelope(&Arc::new(long), &keys);
    let most = 16 + 65_536 + 32;
    let sealed_len = |envelope: &Envelope| {
        let sealed = block_on(envelope.encrypt(b"", &EncryptionContext::new())).unwrap();
        Envelope::inspect(&sealed).unwrap().len()
    };
    let len = sealed_len(&plain);
    assert!((40_000..60_000).contains(&len), "{len}");
    for (multiple, padded) in [
        (2, len.next_multiple_of(2)),
        (len, len),
        (len + 1, len + 1),
        (60_000, 60_000),
        (65_536, 65_536),
        (40_000, most),
        (len - 1, most),
    ] {
        assert_eq!(sealed_len(&plain.clone().pad_headers_to(multiple)), padded, "multiples of {multiple}");
    }
}

#[test]
fn reencrypting_changes_dek_id_and_payload_and_keeps_the_context() {
    let (inner, keys) = memory(1);
    let (spy, deks) = spy(inner);
    let envelope = envelope(&spy, &keys);
    let sealed = block_on(envelope.encrypt(b"attack", &context())).unwrap();
    let moved = block_on(envelope.rewrap(&sealed, &context())).unwrap();
    let supplied = EncryptionContext::new().with("patient", "7");
    let fresh = block_on(envelope.reencrypt(&moved, &supplied)).unwrap();
    let (before, after) = (Envelope::inspect(&moved).unwrap(), Envelope::inspect(&fresh).unwrap());
    assert_ne!(after.envelope_id(), before.envelope_id());
    assert_eq!((before.generation(), after.generation()), (1, 0));
    assert_eq!(after.stored_context(), before.stored_context());
    assert_eq!(after.withheld(), before.withheld());
    assert_ne!(fresh[after.len()..], moved[before.len()..]);
    assert_eq!(block_on(envelope.decrypt(&fresh, &context())).unwrap(), b"attack");
    let deks = deks.lock().unwrap();
    assert_eq!(deks[0], deks[1], "a rewrap wraps the same DEK");
    assert_ne!(deks[1], deks[2], "a reencryption makes a new one");
}

#[test]
fn reencrypting_takes_an_attached_envelope_only() {
    let (provider, keys) = memory(1);
    let envelope = envelope(&provider, &keys);
    let (header, _) = block_on(envelope.encrypt_detached(b"x", &context())).unwrap();
    let error = block_on(envelope.reencrypt(&header, &context())).unwrap_err();
    assert!(matches!(error, RewrapError::Decrypt(DecryptError::WrongKind { .. })), "{error:?}");
}

#[test]
fn the_last_generation_is_not_rewrapped() {
    let (inner, keys) = memory(1);
    let (spy, deks) = spy(inner.clone());
    let envelope = envelope(&spy, &keys);
    let sealed = block_on(envelope.encrypt(b"attack", &context())).unwrap();
    let dek = deks.lock().unwrap()[0];
    let rewrapped = |generation: u32| {
        let mut aged = sealed.clone();
        aged[32..36].copy_from_slice(&generation.to_be_bytes());
        authenticate(&mut aged, &dek);
        assert_eq!(block_on(envelope.decrypt(&aged, &context())).unwrap(), b"attack");
        block_on(envelope.rewrap(&aged, &context()))
    };
    let last = rewrapped(u32::MAX - 1).unwrap();
    assert_eq!(Envelope::inspect(&last).unwrap().generation(), u32::MAX);
    let wraps = inner.wraps();
    assert!(matches!(rewrapped(u32::MAX), Err(RewrapError::GenerationsExhausted)));
    assert_eq!(inner.wraps(), wraps, "no key wrapped");
}

/// The header's MAC as the specification says it, written anew.
fn authenticate(envelope: &mut [u8], dek: &[u8; 32]) {
    let header = Envelope::inspect(envelope).unwrap();
    assert_eq!(header.kind(), Kind::Attached);
    let mut keys = [0; 64];
    let info: [&[u8]; 2] = [b"envelope-v1 keys\0\0\x01\x01", header.envelope_id()];
    DefaultEngine::hkdf_expand_sha256(dek, &info, &mut keys);
    let (authenticated, rest) = envelope.split_at_mut(header.len() - 32);
    let mac = DefaultEngine::hmac_sha256(keys.first_chunk().unwrap(), &[authenticated]);
    rest[..32].copy_from_slice(&mac);
}
