//! What a keyring believes of a provider's answers, and what it does when one
//! is wrong.

#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that goes wrong shall stop, and says what it ran"
)]

mod common;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use common::{block_on, context, envelope, memory, message};
use envelope_sdk::{
    DecryptError, Dek, EncryptError, Envelope, FullContext, KeyProvider, KeyUri, Keyring, ProviderError,
    ProviderErrorKind, RewrapError, WrappedDek,
};
use envelope_testkit::{AlteredProvider, Fault, FaultProvider, MemoryProvider};

/// What a provider answers wrongly, and is otherwise right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    /// Wraps, generated DEKs and rewraps are under `memory:mallory`.
    NamesMallory,
    /// Only rewraps inside are.
    RewrapsUnderMallory,
    /// What it calls a wrap holds the DEK as it is.
    ShowsTheDek,
    /// It makes DEKs of zeros.
    GeneratesZeros,
    /// Every key of every scheme is its own.
    TakesEveryKey,
}

struct Liar {
    provider: Arc<AlteredProvider>,
    below: Arc<MemoryProvider>,
    unwraps_of_mallory: Arc<AtomicUsize>,
}

impl Liar {
    fn new(lie: Lie, generates: bool) -> (Self, KeyUri) {
        let key = MemoryProvider::key("alice");
        let below = Arc::new(MemoryProvider::new().that_rewraps().with_key(&key).with_key(&mallory()));
        let unwraps_of_mallory = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&unwraps_of_mallory);
        let provider = AlteredProvider::new(below.clone())
            .named("liar")
            .generating(generates)
            .same_key(move |below, configured, named| {
                lie == Lie::TakesEveryKey || below.is_same_key(configured, named)
            })
            .on_wrap(move |below, key, dek, context| Box::pin(wrap(lie, below, key, dek, context)))
            .on_unwrap(move |below, wrapped, context| {
                counted.fetch_add((*wrapped.key_uri() == mallory()).into(), Ordering::SeqCst);
                below.unwrap_dek(wrapped, context)
            })
            .on_generate(move |below, key, context| {
                Box::pin(async move {
                    let byte = if lie == Lie::GeneratesZeros { 0 } else { 7 };
                    let dek = Dek::from_slice(&[byte; 32]).unwrap();
                    let wrapped = wrap(lie, below, key, &dek, context).await?;
                    Ok((dek, wrapped))
                })
            })
            .on_rewrap(move |below, wrapped, key, context| {
                Box::pin(async move {
                    let to = if lie == Lie::RewrapsUnderMallory { mallory() } else { key.clone() };
                    below.rewrap_dek(wrapped, &to, context).await
                })
            });
        (Self { provider: Arc::new(provider), below, unwraps_of_mallory }, key)
    }
}

async fn wrap(
    lie: Lie,
    below: &dyn KeyProvider,
    key: &KeyUri,
    dek: &Dek,
    context: &FullContext,
) -> Result<WrappedDek, ProviderError> {
    match lie {
        Lie::NamesMallory => below.wrap_dek(&mallory(), dek, context).await,
        Lie::ShowsTheDek => {
            let shown = [&[1; 8], dek.expose().as_slice(), &[2; 8]].concat();
            WrappedDek::new(key.clone(), MemoryProvider::VERSION, MemoryProvider::ALGORITHM, shown)
        }
        _ => below.wrap_dek(key, dek, context).await,
    }
}

fn mallory() -> KeyUri {
    MemoryProvider::key("mallory")
}

#[track_caller]
fn broken(error: &ProviderError, key: &KeyUri, words: &str) {
    assert_eq!((error.kind(), error.key()), (ProviderErrorKind::Protocol, Some(key)), "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

// What a new wrap must be

#[test]
fn a_wrap_under_another_key_than_the_configured_one_is_refused_and_both_are_named() {
    for generates in [false, true] {
        let (liar, key) = Liar::new(Lie::NamesMallory, generates);
        let encrypted = envelope(&liar.provider, std::slice::from_ref(&key));
        let (plain, keys) = memory(1);
        let among_others = Envelope::new(
            Keyring::new().both(plain.clone(), keys[0].clone()).both(liar.provider.clone(), key.clone()),
        );
        for error in [
            block_on(encrypted.encrypt(b"attack", &context())).unwrap_err(),
            block_on(among_others.encrypt(b"attack", &context())).unwrap_err(),
            block_on(encrypted.create_data_key(&context())).map(drop).unwrap_err(),
        ] {
            match error {
                EncryptError::Provider(error) => broken(&error, &key, "memory:mallory"),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_rewrap_to_another_key_than_the_configured_one_is_refused_and_both_are_named() {
    let (plain, keys) = memory(1);
    let sealed = block_on(envelope(&plain, &keys).encrypt(b"attack", &context())).unwrap();
    let (liar, key) = Liar::new(Lie::NamesMallory, false);
    let mover = Envelope::new(
        Keyring::new().decrypt(plain, keys[0].clone()).encrypt(liar.provider.clone(), key.clone()),
    );
    match block_on(mover.rewrap(&sealed, &context())).unwrap_err() {
        RewrapError::Encrypt(EncryptError::Provider(error)) => broken(&error, &key, "memory:mallory"),
        other => panic!("{other:?}"),
    }
    assert_eq!(liar.unwraps_of_mallory.load(Ordering::SeqCst), 0, "and it is not asked to unwrap it");
}

#[test]
fn a_rewrap_inside_to_another_key_than_the_configured_one_is_not_taken() {
    let (liar, key) = Liar::new(Lie::RewrapsUnderMallory, false);
    let envelope = envelope(&liar.provider, std::slice::from_ref(&key));
    let sealed = block_on(envelope.encrypt(b"attack", &context())).unwrap();
    let moved = block_on(envelope.rewrap(&sealed, &context())).unwrap();
    assert_eq!(liar.below.rewraps(), 1, "the short way was tried");
    let header = Envelope::inspect(&moved).unwrap();
    assert_eq!(header.recipients().iter().map(WrappedDek::key_uri).collect::<Vec<_>>(), [&key]);
    assert_eq!(liar.unwraps_of_mallory.load(Ordering::SeqCst), 0);
}

#[test]
fn a_wrap_that_holds_the_dek_in_the_clear_is_refused() {
    for generates in [false, true] {
        let (liar, key) = Liar::new(Lie::ShowsTheDek, generates);
        match block_on(envelope(&liar.provider, std::slice::from_ref(&key)).encrypt(b"attack", &context())) {
            Err(EncryptError::Provider(error)) => broken(&error, &key, "holds the DEK in the clear"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_generated_dek_of_zeros_is_refused() {
    let (liar, key) = Liar::new(Lie::GeneratesZeros, true);
    match block_on(envelope(&liar.provider, std::slice::from_ref(&key)).encrypt(b"attack", &context())) {
        Err(EncryptError::Provider(error)) => broken(&error, &key, "a DEK of zeros"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_provider_opens_keys_of_another_scheme_than_the_configured_one() {
    let (plain, keys) = memory(1);
    let sealed = block_on(envelope(&plain, &keys).encrypt(b"attack", &context())).unwrap();
    let (liar, _) = Liar::new(Lie::TakesEveryKey, false);
    let other = KeyUri::parse("other:alice").unwrap();
    let error = block_on(
        Envelope::new(Keyring::new().decrypt(liar.provider.clone(), other)).decrypt(&sealed, &context()),
    );
    assert!(matches!(error, Err(DecryptError::NoConfiguredKey { .. })), "{error:?}");
    assert_eq!(liar.below.calls(), 0);
}

// A DEK that does not fit the header

/// Two keys of two providers; the first gives another DEK back than it wrapped.
fn first_gives_another_dek() -> (Envelope, Vec<KeyUri>, Arc<FaultProvider>, Arc<MemoryProvider>) {
    let (one, keys) = memory(2);
    let (good, bad) = (Arc::new(FaultProvider::new(one.clone())), Arc::new(FaultProvider::new(one.clone())));
    let ring = Keyring::new().both(bad.clone(), keys[0].clone()).both(good, keys[1].clone());
    (Envelope::new(ring), keys, bad, one)
}

#[test]
fn a_recipient_that_gives_a_wrong_dek_does_not_block_a_good_one() {
    let (envelope, _, bad, provider) = first_gives_another_dek();
    let sealed = block_on(envelope.encrypt(&message(40_000), &context())).unwrap();
    let (header, payload) = block_on(envelope.encrypt_detached(b"attack", &context())).unwrap();
    let data_key = block_on(envelope.create_data_key(&context())).unwrap();
    let record = data_key.seal(b"record", &context()).unwrap();
    bad.fault_unwraps(Fault::OtherDek);
    let unwraps = provider.unwraps();
    assert_eq!(block_on(envelope.decrypt(&sealed, &context())).unwrap(), message(40_000));
    assert_eq!(provider.unwraps(), unwraps + 1, "the good key is asked once");
    assert_eq!(block_on(envelope.decrypt_detached(&header, &payload, &context())).unwrap(), b"attack");
    let opened = block_on(envelope.open_data_key(&data_key.header().to_bytes(), &context())).unwrap();
    assert_eq!(opened.open(&record, &context()).unwrap(), b"record");
    let range = block_on(envelope.decrypt_range(sealed.as_slice(), 16_380..16_390, &context())).unwrap();
    assert_eq!(range, message(40_000)[16_380..16_390]);
}

#[test]
fn an_envelope_with_a_wrong_dek_before_a_good_one_is_moved_to_another_key() {
    let (envelope, keys, bad, provider) = first_gives_another_dek();
    let sealed = block_on(envelope.encrypt(b"attack", &context())).unwrap();
    bad.fault_unwraps(Fault::OtherDek);
    let (new, new_keys) = memory(1);
    let ring = envelope.keyring().decrypting().cloned().collect::<Vec<_>>();
    assert_eq!(ring, keys);
    let mover = Envelope::new(
        Keyring::new()
            .decrypt(bad, keys[0].clone())
            .decrypt(provider, keys[1].clone())
            .both(new, new_keys[0].clone()),
    );
    let moved = block_on(mover.rewrap(&sealed, &context())).unwrap();
    assert_eq!(block_on(mover.decrypt(&moved, &context())).unwrap(), b"attack");
    let anew = block_on(mover.reencrypt(&sealed, &context())).unwrap();
    assert_eq!(block_on(mover.decrypt(&anew, &context())).unwrap(), b"attack");
}

#[test]
fn wrong_deks_of_all_recipients_are_not_authentic_and_each_is_asked_once() {
    let (provider, keys) = memory(16);
    let faulty = Arc::new(FaultProvider::new(provider));
    let envelope = envelope(&faulty, &keys);
    let sealed = block_on(envelope.encrypt(b"attack", &context())).unwrap();
    faulty.fault_unwraps(Fault::OtherDek);
    let error = block_on(envelope.decrypt(&sealed, &context())).unwrap_err();
    assert!(matches!(error, DecryptError::NotAuthentic), "{error:?}");
    assert_eq!(faulty.unwraps(), 16);
}

/// Beside a key that was refused for another reason the attempts are told: a
/// wrap that does not open and a DEK that does not fit read alike.
#[test]
fn a_wrong_dek_and_a_wrap_that_does_not_open_are_told_in_the_same_words() {
    let (envelope, keys, bad, _) = first_gives_another_dek();
    let sealed = block_on(envelope.encrypt(b"attack", &context())).unwrap();
    let refusing = Arc::new(FaultProvider::new(memory(2).0));
    refusing.fault_unwraps(Fault::Fail(ProviderErrorKind::AccessDenied));
    let ring = Keyring::new().decrypt(bad.clone(), keys[0].clone()).decrypt(refusing, keys[1].clone());
    let reader = Envelope::new(ring);
    let told = [Fault::OtherDek, Fault::Fail(ProviderErrorKind::Unauthentic)].map(|fault| {
        bad.fault_unwraps(fault);
        match block_on(reader.decrypt(&sealed, &context())).unwrap_err() {
            DecryptError::Keys { attempts } => {
                let kinds: Vec<_> = attempts.iter().map(ProviderError::kind).collect();
                assert_eq!(kinds, [ProviderErrorKind::Unauthentic, ProviderErrorKind::AccessDenied]);
                format!("{attempts:?}")
            }
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(told[0], told[1]);
}
