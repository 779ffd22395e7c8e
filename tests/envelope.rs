//! The verbs over a keyring: who opens what, who is asked, and what comes of
//! keys that fail.

#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that goes wrong shall stop, and says what it ran"
)]

mod common;

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use common::{block_on, context, envelope, memory, message, spy};
use envelope_sdk::{
    ContextError, DecryptError, Dek, EncryptError, EncryptionContext, Envelope, FormatError, Header, KeyUri,
    Keyring, Kind, PayloadKind, ProviderError, ProviderErrorKind, RECORD_MAX_LEN, RECORD_OVERHEAD,
    WrappedDek, crypto::Unauthentic,
};
use envelope_testkit::{AlteredProvider, Fault, FaultProvider, MemoryProvider};

// Round trips

#[test]
fn an_attached_envelope_comes_back() {
    let (provider, keys) = memory(1);
    let envelope = envelope(&provider, &keys);
    for len in [0, 1, 1024, 16_383, 16_384, 16_385, 100_000] {
        let sealed = block_on(envelope.encrypt(&message(len), &context())).unwrap();
        assert_eq!(block_on(envelope.decrypt(&sealed, &context())).unwrap(), message(len), "{len} bytes");
        assert_eq!(Envelope::inspect(&sealed).unwrap().kind(), Kind::Attached);
    }
}

#[test]
fn a_detached_envelope_comes_back() {
    let (provider, keys) = memory(1);
    let envelope = envelope(&provider, &keys);
    let (header, payload) = block_on(envelope.encrypt_detached(b"attack", &context())).unwrap();
    assert_eq!(block_on(envelope.decrypt_detached(&header, &payload, &context())).unwrap(), b"attack");
    assert_eq!(Header::parse_exact(&header).unwrap().kind(), Kind::Detached);
}

#[test]
fn records_under_a_data_key_come_back_also_after_it_was_stored() {
    let (provider, keys) = memory(1);
    let envelope = envelope(&provider, &keys);
    let data_key = block_on(envelope.create_data_key(&context())).unwrap();
    let row = EncryptionContext::new().with("row", "17");
    let record = data_key.seal(b"jane@example.org", &row).unwrap();
    assert_eq!(record.len(), 16 + RECORD_OVERHEAD);
    assert_eq!(data_key.open(&record, &row).unwrap(), b"jane@example.org");
    let reopened = block_on(envelope.open_data_key(&data_key.header().to_bytes(), &context())).unwrap();
    assert_eq!(reopened.open(&record, &row).unwrap(), b"jane@example.org");
    assert_eq!((provider.wraps(), provider.unwraps()), (1, 1), "one call for all records");
}

#[test]
fn a_record_opens_under_its_own_data_key_and_context_only() {
    let (provider, keys) = memory(1);
    let envelope = envelope(&provider, &keys);
    let data_key = block_on(envelope.create_data_key(&context())).unwrap();
    let other = block_on(envelope.create_data_key(&context())).unwrap();
    let row = EncryptionContext::new().with("row", "17");
    let mut record = data_key.seal(b"x", &row).unwrap();
    for (data_key, row) in [
        (&other, row.clone()),
        (&data_key, EncryptionContext::new()),
        (&data_key, EncryptionContext::new().with("row", "18")),
        (&data_key, row.clone().with("more", "")),
        (&data_key, EncryptionContext::new().with("", "a context that cannot be")),
    ] {
        assert!(matches!(data_key.open(&record, &row), Err(DecryptError::NotAuthentic)));
    }
    for len in 0..record.len() {
        assert!(matches!(data_key.open(&record[..len], &row), Err(DecryptError::NotAuthentic)));
    }
    for bit in 0..record.len() * 8 {
        record[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(data_key.open(&record, &row), Err(DecryptError::NotAuthentic)));
        record[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn a_record_has_at_most_16_mib() {
    let (provider, keys) = memory(1);
    let data_key = block_on(envelope(&provider, &keys).create_data_key(&context())).unwrap();
    let none = EncryptionContext::new();
    let mut plaintext = vec![0; RECORD_MAX_LEN];
    let record = data_key.seal(&plaintext, &none).unwrap();
    assert_eq!(data_key.open(&record, &none).unwrap().len(), RECORD_MAX_LEN);
    plaintext.push(0);
    assert!(matches!(data_key.seal(&plaintext, &none), Err(EncryptError::RecordTooLarge)));
    let too_long = vec![0; RECORD_MAX_LEN + RECORD_OVERHEAD + 1];
    assert!(matches!(data_key.open(&too_long, &none), Err(DecryptError::NotAuthentic)));
}

#[test]
fn each_call_takes_its_own_kind_only() {
    let (provider, keys) = memory(1);
    let envelope = envelope(&provider, &keys);
    let attached = block_on(envelope.encrypt(b"x", &context())).unwrap();
    let (detached, payload) = block_on(envelope.encrypt_detached(b"x", &context())).unwrap();
    let data_key = block_on(envelope.create_data_key(&context())).unwrap().header().to_bytes();
    let calls = provider.calls();
    let only_header = attached[..Envelope::inspect(&attached).unwrap().len()].to_vec();
    for bytes in [&[detached.as_slice(), &payload].concat(), &data_key] {
        assert!(matches!(block_on(envelope.decrypt(bytes, &context())), Err(DecryptError::WrongKind { .. })));
    }
    for header in [&only_header, &data_key] {
        let result = block_on(envelope.decrypt_detached(header, &payload, &context()));
        assert!(matches!(result, Err(DecryptError::WrongKind { .. })));
    }
    for header in [&only_header, &detached] {
        let error = block_on(envelope.open_data_key(header, &context())).err().unwrap();
        assert!(matches!(error, DecryptError::WrongKind { expected: "a data key", .. }), "{error:?}");
    }
    let trailing = block_on(envelope.open_data_key(&attached, &context())).err().unwrap();
    assert!(matches!(trailing, DecryptError::Format(FormatError::TrailingData { what: "the header" })));
    assert_eq!(provider.calls(), calls, "no provider was called");
    let opened = block_on(envelope.unlock(Header::parse_exact(&data_key).unwrap(), &context())).unwrap();
    let payload = opened.payload(&[0; 56]).map(drop);
    assert_eq!(payload, Err(Unauthentic), "a data key has no payload");
}

// Recipients

#[test]
fn any_one_of_several_recipients_opens() {
    let (provider, keys) = memory(3);
    let sealed = block_on(envelope(&provider, &keys).encrypt(b"attack", &context())).unwrap();
    assert_eq!(provider.wraps(), 3);
    for (index, key) in keys.iter().enumerate() {
        let one = Envelope::new(Keyring::new().decrypt(provider.clone(), key.clone()));
        assert_eq!(block_on(one.decrypt(&sealed, &context())).unwrap(), b"attack");
        assert_eq!(provider.unwraps(), index + 1, "only the configured one is asked");
    }
}

#[test]
fn sixteen_keys_fit_and_seventeen_do_not() {
    let (provider, keys) = memory(17);
    assert!(block_on(envelope(&provider, &keys[..16]).encrypt(b"", &context())).is_ok());
    let calls = provider.calls();
    let error = block_on(envelope(&provider, &keys).encrypt(b"", &context())).unwrap_err();
    assert!(matches!(error, EncryptError::TooManyKeys(17)), "{error:?}");
    let error = block_on(Envelope::new(Keyring::new()).encrypt(b"", &context())).unwrap_err();
    assert!(matches!(error, EncryptError::NoKey), "{error:?}");
    assert_eq!(provider.calls(), calls);
}

#[test]
fn a_key_configured_twice_makes_no_envelope() {
    let (provider, keys) = memory(1);
    let twice = envelope(&provider, &[keys[0].clone(), keys[0].clone()]);
    let error = block_on(twice.encrypt(b"", &context())).unwrap_err();
    assert!(matches!(error, EncryptError::Format(FormatError::RepeatedRecipient)), "{error:?}");
}

#[test]
fn nothing_is_encrypted_unless_every_key_wrapped() {
    let (provider, keys) = memory(2);
    let faulty = Arc::new(FaultProvider::new(provider.clone()));
    faulty.fault_wraps(Fault::Fail(ProviderErrorKind::Throttled));
    let ring = Keyring::new().encrypt(provider, keys[0].clone()).encrypt(faulty, keys[1].clone());
    match block_on(Envelope::new(ring).encrypt(b"", &context())) {
        Err(EncryptError::Provider(error)) => {
            assert_eq!(error.kind(), ProviderErrorKind::Throttled);
            assert!(error.is_retryable());
            assert_eq!(error.key(), Some(&keys[1]));
            assert_eq!(error.provider(), "memory");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_provider_that_is_not_configured_is_never_called() {
    let (ours, keys) = memory(2);
    let sealed = block_on(envelope(&ours, &keys).encrypt(b"x", &context())).unwrap();
    let (stranger, other) = memory(1);
    let stranger_key = MemoryProvider::key("stranger");
    let ring =
        Keyring::new().decrypt(stranger.clone(), stranger_key).encrypt(stranger.clone(), other[0].clone());
    match block_on(Envelope::new(ring).decrypt(&sealed, &context())) {
        Err(DecryptError::NoConfiguredKey { recipients }) => assert_eq!(recipients, keys),
        other => panic!("{other:?}"),
    }
    assert_eq!(stranger.calls(), 0);
    // A key that only encrypts opens nothing either.
    let wrapping = Envelope::new(Keyring::new().encrypt(ours.clone(), keys[0].clone()));
    let before = ours.calls();
    let error = block_on(wrapping.decrypt(&sealed, &context())).unwrap_err();
    assert!(matches!(error, DecryptError::NoConfiguredKey { .. }));
    assert_eq!(ours.calls(), before);
}

#[test]
fn inspecting_calls_no_provider() {
    let (provider, keys) = memory(2);
    let sealed = block_on(envelope(&provider, &keys).encrypt(b"x", &context())).unwrap();
    let calls = provider.calls();
    let header = Envelope::inspect(&sealed).unwrap();
    assert_eq!(header.stored_context().get("tenant").unwrap(), "42");
    assert_eq!(header.withheld(), ["patient"]);
    assert_eq!(header.generation(), 0);
    let names: Vec<&KeyUri> = header.recipients().iter().map(WrappedDek::key_uri).collect();
    assert_eq!(names, [&keys[0], &keys[1]]);
    assert_eq!(provider.calls(), calls);
}

#[test]
fn a_malformed_header_calls_no_provider() {
    let (provider, keys) = memory(1);
    let envelope = envelope(&provider, &keys);
    let sealed = block_on(envelope.encrypt(b"x", &context())).unwrap();
    let calls = provider.calls();
    // Version, suite, flags, length of the body, threshold, number of recipients.
    let body = [8, 10, 11, 12];
    let count = sealed.windows(8).position(|window| window == b"memory:0").unwrap() - 3;
    for position in body.into_iter().chain([count - 1, count]) {
        let mut changed = sealed.clone();
        changed[position] = 0x7F;
        let error = block_on(envelope.decrypt(&changed, &context())).unwrap_err();
        let DecryptError::Format(refused) = error else { panic!("byte {position}: {error:?}") };
        assert_eq!(Header::parse(&changed).unwrap_err(), refused, "byte {position}");
        let error = block_on(envelope.rewrap(&changed, &context())).unwrap_err();
        let format = matches!(error, envelope_sdk::RewrapError::Decrypt(DecryptError::Format(_)));
        assert!(format, "byte {position}: {error:?}");
    }
    assert_eq!(provider.calls(), calls);
}

// Concurrency and cancellation

/// Counts who waits, and lets nobody through before all are there.
struct Barrier {
    waiting: AtomicUsize,
    size: usize,
}

struct AllHere(Arc<Barrier>, bool);

impl Future for AllHere {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if !self.1 {
            self.1 = true;
            self.0.waiting.fetch_add(1, Ordering::SeqCst);
        }
        if self.0.waiting.load(Ordering::SeqCst) >= self.0.size { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Wraps when so many are there that want to.
fn waits_for(size: usize, inner: Arc<MemoryProvider>) -> (Arc<AlteredProvider>, Arc<Barrier>) {
    let barrier = Arc::new(Barrier { waiting: AtomicUsize::new(0), size });
    let at = Arc::clone(&barrier);
    let provider = AlteredProvider::new(inner).on_wrap(move |below, key, dek, context| {
        let all_here = AllHere(Arc::clone(&at), false);
        Box::pin(async move {
            all_here.await;
            below.wrap_dek(key, dek, context).await
        })
    });
    (Arc::new(provider), barrier)
}

#[test]
fn all_keys_wrap_at_the_same_time() {
    let (inner, keys) = memory(16);
    let (provider, barrier) = waits_for(16, inner);
    let envelope = envelope(&provider, &keys);
    let context = context();
    let mut encrypting = pin!(envelope.encrypt(b"x", &context));
    let mut task = Context::from_waker(Waker::noop());
    // One after the other, the first would wait for the others for ever.
    let first = encrypting.as_mut().poll(&mut task);
    assert_eq!(barrier.waiting.load(Ordering::SeqCst), 16);
    let sealed = match first {
        Poll::Ready(sealed) => sealed,
        Poll::Pending => match encrypting.as_mut().poll(&mut task) {
            Poll::Ready(sealed) => sealed,
            Poll::Pending => panic!("all are there and nobody goes on"),
        },
    };
    assert_eq!(Envelope::inspect(&sealed.unwrap()).unwrap().recipients().len(), 16);
}

#[test]
fn a_dropped_encryption_leaves_nothing_behind() {
    let (inner, keys) = memory(2);
    let (provider, barrier) = waits_for(usize::MAX, inner.clone());
    let (envelope, context) = (envelope(&provider, &keys), context());
    {
        let mut encrypting = pin!(envelope.encrypt(b"x", &context));
        assert!(encrypting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(barrier.waiting.load(Ordering::SeqCst), 2, "both wraps are under way");
    }
    assert_eq!(inner.calls(), 0);
    drop(envelope);
    assert_eq!(Arc::strong_count(&provider), 1, "nobody holds the provider any more");
}

#[test]
fn futures_can_move_between_threads() {
    fn send<T: Send>(_: T) {}
    fn shared<T: Send + Sync>() {}

    let (provider, keys) = memory(1);
    let (envelope, context) = (envelope(&provider, &keys), context());
    let header = || Header::parse_exact(&[]).map_err(DecryptError::from);
    send(envelope.encrypt(b"", &context));
    send(envelope.encrypt_detached(b"", &context));
    send(envelope.decrypt(b"", &context));
    send(envelope.decrypt_detached(b"", b"", &context));
    send(envelope.create_data_key(&context));
    send(envelope.open_data_key(b"", &context));
    send(envelope.rewrap(b"", &context));
    send(envelope.reencrypt(b"", &context));
    send(envelope.start(PayloadKind::Attached, &context));
    if let Ok(header) = header() {
        send(envelope.unlock(header.clone(), &context));
        send(envelope.rewrap_header(header, &context));
    }
    shared::<Envelope>();
    shared::<envelope_sdk::DataKey>();
    shared::<envelope_sdk::OpenedHeader>();
    shared::<envelope_sdk::Started>();
    shared::<Header>();
    shared::<DecryptError>();
    shared::<EncryptError>();
}

// What does not fit together

#[test]
fn a_wrong_dek_is_not_authentic() {
    let (provider, keys) = memory(1);
    let sealed = block_on(envelope(&provider, &keys).encrypt(b"x", &context())).unwrap();
    let faulty = Arc::new(FaultProvider::new(provider));
    faulty.fault_unwraps(Fault::OtherDek);
    let envelope = envelope(&faulty, &keys);
    assert!(matches!(block_on(envelope.decrypt(&sealed, &context())), Err(DecryptError::NotAuthentic)));
    faulty.fault_unwraps(None);
    assert!(block_on(envelope.decrypt(&sealed, &context())).is_ok());
}

#[test]
fn a_changed_header_is_not_authentic() {
    // Without context in the wraps only the envelope itself notices.
    let key = MemoryProvider::key("0");
    let provider = Arc::new(MemoryProvider::new().with_key(&key).without_context_binding());
    let envelope = envelope(&provider, &[key]);
    let sealed = block_on(envelope.encrypt(b"x", &context())).unwrap();
    let value = sealed.windows(2).position(|window| window == b"42").unwrap();
    let mac = Envelope::inspect(&sealed).unwrap().len() - 1;
    // Envelope id, generation, a stored value, MAC.
    for position in [16, 35, value, mac] {
        let mut changed = sealed.clone();
        changed[position] ^= 1;
        let supplied = EncryptionContext::new().with("patient", "7");
        let error = block_on(envelope.decrypt(&changed, &supplied)).unwrap_err();
        assert!(matches!(error, DecryptError::NotAuthentic), "byte {position}: {error:?}");
    }
}

#[test]
fn a_wrong_missing_or_superfluous_context_entry_is_not_authentic() {
    for binds in [true, false] {
        let key = MemoryProvider::key("0");
        let provider = MemoryProvider::new().with_key(&key);
        let provider = Arc::new(if binds { provider } else { provider.without_context_binding() });
        let envelope = envelope(&provider, std::slice::from_ref(&key));
        let sealed = block_on(envelope.encrypt(b"x", &context())).unwrap();
        let contradicting = [
            context().with("tenant", "43"),
            context().with("more", "1"),
            EncryptionContext::new(),
            EncryptionContext::new().with("tenant", "42"),
        ];
        for wrong in contradicting {
            let error = block_on(envelope.decrypt(&sealed, &wrong)).unwrap_err();
            assert!(matches!(error, DecryptError::NotAuthentic), "{wrong:?}: {error:?}");
        }
        assert_eq!(provider.unwraps(), 0, "a contradiction is seen without the provider");
        for value in ["8", "", "77"] {
            let wrong = context().withhold("patient", value);
            let error = block_on(envelope.decrypt(&sealed, &wrong)).unwrap_err();
            assert!(matches!(error, DecryptError::NotAuthentic), "withheld {value:?}: {error:?}");
        }
        for right in [context(), EncryptionContext::new().with("patient", "7")] {
            assert_eq!(block_on(envelope.decrypt(&sealed, &right)).unwrap(), b"x");
        }
    }
}

#[test]
fn a_context_over_its_limits_encrypts_nothing() {
    let (provider, keys) = memory(1);
    let envelope = envelope(&provider, &keys);
    for (context, expected) in [
        (EncryptionContext::new().with("", "x"), ContextError::EmptyName),
        (EncryptionContext::new().with("a", "x".repeat(9000)), ContextError::TooLong),
    ] {
        match block_on(envelope.encrypt(b"x", &context)) {
            Err(EncryptError::Context(error)) => assert_eq!(error, expected),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(provider.calls(), 0);
}

// Failover

#[test]
fn when_the_first_recipient_cannot_be_reached_the_second_opens() {
    let (provider, keys) = memory(2);
    let sealed = block_on(envelope(&provider, &keys).encrypt(b"attack", &context())).unwrap();
    let down = Arc::new(FaultProvider::new(provider.clone()));
    for kind in
        [ProviderErrorKind::Unavailable, ProviderErrorKind::AccessDenied, ProviderErrorKind::Unauthentic]
    {
        down.fault_unwraps(Fault::Fail(kind));
        let ring =
            Keyring::new().decrypt(provider.clone(), keys[1].clone()).decrypt(down.clone(), keys[0].clone());
        assert_eq!(block_on(Envelope::new(ring).decrypt(&sealed, &context())).unwrap(), b"attack");
    }
}

#[test]
fn when_all_recipients_fail_each_is_listed() {
    let (provider, keys) = memory(2);
    let sealed = block_on(envelope(&provider, &keys).encrypt(b"attack", &context())).unwrap();
    let (one, two) =
        (Arc::new(FaultProvider::new(provider.clone())), Arc::new(FaultProvider::new(provider.clone())));
    one.fault_unwraps(Fault::Fail(ProviderErrorKind::Unavailable));
    two.fault_unwraps(Fault::Fail(ProviderErrorKind::Unauthentic));
    let ring = Keyring::new().decrypt(one, keys[0].clone()).decrypt(two, keys[1].clone());
    let error = block_on(Envelope::new(ring).decrypt(&sealed, &context())).unwrap_err();
    let shown = error.to_string();
    match error {
        DecryptError::Keys { attempts } => {
            let said: Vec<_> =
                attempts.iter().map(|error| (error.key(), error.kind(), error.is_retryable())).collect();
            assert_eq!(
                said,
                [
                    (Some(&keys[0]), ProviderErrorKind::Unavailable, true),
                    (Some(&keys[1]), ProviderErrorKind::Unauthentic, false)
                ]
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        shown,
        "no configured key opened this: memory key memory:0: injected fault; memory key memory:1: the key or passphrase is wrong, a context entry is wrong or missing, or the data was changed"
    );
}

#[test]
fn when_no_recipient_fits_it_is_not_authentic() {
    let (provider, keys) = memory(2);
    let sealed = block_on(envelope(&provider, &keys).encrypt(b"attack", &context())).unwrap();
    let faulty = Arc::new(FaultProvider::new(provider));
    faulty.fault_unwraps(Fault::Fail(ProviderErrorKind::Unauthentic));
    let error = block_on(envelope(&faulty, &keys).decrypt(&sealed, &context())).unwrap_err();
    assert!(matches!(error, DecryptError::NotAuthentic), "{error:?}");
}

// Secrets

#[test]
fn no_public_type_shows_a_dek() {
    let (inner, keys) = memory(1);
    let (spy, deks) = spy(inner);
    let envelope = envelope(&spy, &keys);
    let sealed = block_on(envelope.encrypt(b"CANARY", &context())).unwrap();
    let dek = deks.lock().unwrap()[0];
    assert!(!sealed.windows(32).any(|window| window == dek));
    assert!(!sealed.windows(6).any(|window| window == b"CANARY"));
    let header = Envelope::inspect(&sealed).unwrap();
    let error = ProviderError::new(ProviderErrorKind::Other, "spy", &keys[0], "failed");
    let attempts = DecryptError::Keys { attempts: vec![error] };
    let shown = [
        format!("{header:?}"),
        format!("{:?}", Dek::from_slice(&dek).unwrap()),
        format!("{:?}", Dek::from_slice(&dek[1..]).unwrap_err()),
        format!("{attempts:?} {attempts}"),
        format!("{:?} {:?}", context(), context().full().unwrap()),
        format!("{:?}", block_on(envelope.decrypt(&sealed[..sealed.len() - 1], &context())).unwrap_err()),
        format!("{:?}", envelope.keyring().decrypting().collect::<Vec<_>>()),
    ];
    let decimal = format!("{:?}", &dek[..4]);
    let decimal = decimal.trim_matches(['[', ']']);
    let hex: String = dek[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    for text in shown {
        let lower = text.to_lowercase();
        assert!(!lower.contains(decimal) && !lower.contains(&hex) && !lower.contains("canary"), "{text}");
    }
}
