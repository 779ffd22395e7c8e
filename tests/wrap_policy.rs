//! Envelopes that are made while a key store is away, and completed later.

#![allow(
    clippy::cast_possible_truncation,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that goes wrong shall stop"
)]

mod common;

use std::{
    io::Cursor,
    sync::{Arc, Mutex},
};

use common::{block_on, context};
use envelope_sdk::{
    DecryptError, EncryptError, EncryptionContext, Envelope, KeyProvider, KeyUri, Keyring, KeyringEvent,
    PayloadKind, ProviderErrorKind, RewrapError, WrapPolicy, WrappedDek, stream,
};
use envelope_testkit::{AlteredProvider, Fault, FaultProvider, MemoryProvider};

struct Rig {
    providers: Vec<Arc<FaultProvider>>,
    keys: Vec<KeyUri>,
    envelope: Envelope,
}

impl Rig {
    /// Keys a, b and c, each of its own provider.
    fn new(change: fn(MemoryProvider) -> MemoryProvider) -> Self {
        let keys: Vec<_> = ["a", "b", "c"].map(MemoryProvider::key).into();
        let of = |key| Arc::new(FaultProvider::new(Arc::new(change(MemoryProvider::new()).with_key(key))));
        let providers: Vec<_> = keys.iter().map(of).collect();
        let ring = providers
            .iter()
            .zip(&keys)
            .fold(Keyring::new(), |ring, (provider, key)| ring.both(provider.clone(), key.clone()));
        Self { providers, keys, envelope: Envelope::new(ring) }
    }

    fn fail(&self, key: usize, kind: ProviderErrorKind) {
        self.providers[key].fault_wraps(Fault::Fail(kind));
    }

    fn recipients(sealed: &[u8]) -> Vec<KeyUri> {
        let header = Envelope::inspect(sealed).unwrap();
        header.recipients().iter().map(WrappedDek::key_uri).cloned().collect()
    }

    /// The key and the kind that the error of a call names.
    fn refused(&self, policy: WrapPolicy) -> (KeyUri, ProviderErrorKind) {
        match block_on(self.envelope.reporting(policy).encrypt(b"x", &context())).unwrap_err() {
            EncryptError::Provider(error) => (error.key().unwrap().clone(), error.kind()),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_key_that_is_away_is_reported_and_a_later_rewrap_adds_it() {
    for change in [|memory| memory, MemoryProvider::that_generates_deks] {
        for (away, kind) in [(0, ProviderErrorKind::Unavailable), (1, ProviderErrorKind::Throttled)] {
            let rig = Rig::new(change);
            rig.fail(away, kind);
            let made = block_on(rig.envelope.reporting(WrapPolicy::AtLeast(2)).encrypt(b"x", &context()));
            let (sealed, missing) = made.unwrap().into_parts();
            let told: Vec<_> = missing.iter().map(|missing| (&missing.key, missing.error.kind())).collect();
            assert_eq!(told, [(&rig.keys[away], kind)]);
            let mut there = rig.keys.clone();
            there.remove(away);
            assert_eq!(Rig::recipients(&sealed), there, "the order of the keys stays");

            let refused = block_on(rig.envelope.rewrap(&sealed, &context())).unwrap_err();
            assert!(
                matches!(&refused, RewrapError::Encrypt(EncryptError::Provider(error)) if error.kind() == kind),
                "while it is away: {refused:?}"
            );
            rig.providers[away].fault_wraps(None);
            let complete = block_on(rig.envelope.rewrap(&sealed, &context())).unwrap();
            assert_eq!(Rig::recipients(&complete), rig.keys);
            let own = Keyring::new().decrypt(rig.providers[away].clone(), rig.keys[away].clone());
            let own = Envelope::new(own);
            assert_eq!(block_on(own.decrypt(&complete, &context())).unwrap(), b"x");
            let before = block_on(own.decrypt(&sealed, &context())).unwrap_err();
            assert!(matches!(before, DecryptError::NoConfiguredKey { .. }), "{before:?}");
        }
    }
}

#[test]
fn nothing_is_missing_where_every_key_wraps() {
    let rig = Rig::new(|memory| memory);
    for policy in [WrapPolicy::All, WrapPolicy::AtLeast(0), WrapPolicy::AtLeast(3)] {
        let made = block_on(rig.envelope.reporting(policy).encrypt_detached(b"x", &context())).unwrap();
        assert!(made.missing().is_empty());
        let ((header, payload), _) = made.into_parts();
        assert_eq!(Rig::recipients(&header), rig.keys);
        assert_eq!(block_on(rig.envelope.decrypt_detached(&header, &payload, &context())).unwrap(), b"x");
    }
}

#[test]
fn the_verbs_that_do_not_report_let_no_key_be_missing() {
    let rig = Rig::new(|memory| memory);
    rig.fail(1, ProviderErrorKind::Unavailable);
    let error = block_on(rig.envelope.encrypt(b"x", &context())).unwrap_err();
    assert!(
        matches!(&error, EncryptError::Provider(error) if error.key() == Some(&rig.keys[1])),
        "{error:?}"
    );
    assert_eq!(rig.refused(WrapPolicy::All), (rig.keys[1].clone(), ProviderErrorKind::Unavailable));
}

#[test]
fn what_does_not_pass_by_itself_fails_the_call_however_many_keys_wrapped() {
    for kind in [
        ProviderErrorKind::AccessDenied,
        ProviderErrorKind::State,
        ProviderErrorKind::NotFound,
        ProviderErrorKind::Protocol,
        ProviderErrorKind::Other,
    ] {
        let rig = Rig::new(|memory| memory);
        rig.fail(2, kind);
        assert_eq!(rig.refused(WrapPolicy::AtLeast(1)), (rig.keys[2].clone(), kind));
    }
}

#[test]
fn fewer_wraps_than_asked_for_are_refused_with_the_error_of_the_first_key() {
    let rig = Rig::new(|memory| memory);
    rig.fail(0, ProviderErrorKind::Throttled);
    rig.fail(2, ProviderErrorKind::Unavailable);
    assert_eq!(rig.refused(WrapPolicy::AtLeast(2)), (rig.keys[0].clone(), ProviderErrorKind::Throttled));
    rig.fail(1, ProviderErrorKind::Unavailable);
    assert_eq!(rig.refused(WrapPolicy::AtLeast(0)), (rig.keys[0].clone(), ProviderErrorKind::Throttled));
}

#[test]
fn more_wraps_than_there_are_keys_are_refused_before_any_call() {
    let rig = Rig::new(|memory| memory);
    rig.fail(0, ProviderErrorKind::AccessDenied);
    let error = block_on(rig.envelope.reporting(WrapPolicy::AtLeast(4)).create_data_key(&context()));
    let error = error.map(|_| ()).unwrap_err();
    assert!(matches!(error, EncryptError::TooFewKeys { at_least: 4, configured: 3 }), "{error:?}");
}

#[test]
fn withheld_values_of_a_data_key_need_the_keys_that_are_there_to_bind_the_context() {
    let loose = Arc::new(MemoryProvider::new().without_context_binding().with_key(&MemoryProvider::key("a")));
    let away =
        Arc::new(FaultProvider::new(Arc::new(MemoryProvider::new().with_key(&MemoryProvider::key("b")))));
    away.fault_wraps(Fault::Fail(ProviderErrorKind::Unavailable));
    let ring =
        Keyring::new().encrypt(away, MemoryProvider::key("b")).encrypt(loose, MemoryProvider::key("a"));
    let envelope = Envelope::new(ring);
    let error = block_on(envelope.reporting(WrapPolicy::AtLeast(1)).create_data_key(&context()));
    let error = error.map(|_| ()).unwrap_err();
    let named = MemoryProvider::key("a");
    assert!(matches!(&error, EncryptError::ContextNotBound { key } if *key == named), "{error:?}");
}

/// A key that wraps, and one whose key store is away.
struct Pair {
    there: Arc<dyn KeyProvider>,
    away: Arc<FaultProvider>,
    keys: [KeyUri; 2],
}

impl Pair {
    /// Whether each binds the context; `None` where only its wraps tell that they do.
    fn new(there: Option<bool>, away: Option<bool>) -> Self {
        let keys = ["there", "away"].map(MemoryProvider::key);
        let of = |key, binds: Option<bool>| -> Arc<dyn KeyProvider> {
            let memory = MemoryProvider::new().with_key(key);
            match binds {
                Some(true) => Arc::new(memory),
                Some(false) => Arc::new(memory.without_context_binding()),
                None => Arc::new(
                    AlteredProvider::new(Arc::new(memory))
                        .binding(|below, wrapped| below.context_binding(wrapped)),
                ),
            }
        };
        let away = Arc::new(FaultProvider::new(of(&keys[1], away)));
        Self { there: of(&keys[0], there), away, keys }
    }

    fn envelope(&self) -> Envelope {
        let ring = Keyring::new().both(self.there.clone(), self.keys[0].clone());
        Envelope::new(ring.both(self.away.clone(), self.keys[1].clone()))
    }

    /// What `make` makes while the second key is away.
    fn made<T>(&self, make: impl AsyncFnOnce(&Envelope) -> T) -> T {
        self.away.fault_wraps(Fault::Fail(ProviderErrorKind::Unavailable));
        let made = block_on(make(&self.envelope()));
        self.away.fault_wraps(None);
        made
    }

    /// Opens with the key that was away, and no other.
    fn only_away(&self) -> Envelope {
        Envelope::new(Keyring::new().decrypt(self.away.clone(), self.keys[1].clone()))
    }
}

fn contexts() -> [EncryptionContext; 2] {
    [EncryptionContext::new().with("tenant", "42"), context()]
}

const POLICY: WrapPolicy = WrapPolicy::AtLeast(1);

#[test]
fn a_later_rewrap_completes_files_whatever_the_keys_bind() {
    for (there, away) in [(true, true), (true, false), (false, true), (false, false)] {
        let pair = Pair::new(Some(there), Some(away));
        for context in contexts() {
            let made = pair.made(async |it| it.reporting(POLICY).encrypt(b"x", &context).await).unwrap();
            assert_eq!(made.missing().len(), 1);
            let complete = block_on(pair.envelope().rewrap(&made.into_parts().0, &context)).unwrap();
            assert_eq!(Rig::recipients(&complete), pair.keys, "{there} {away}");
            assert_eq!(block_on(pair.only_away().decrypt(&complete, &context)).unwrap(), b"x");
        }
    }
}

#[test]
fn a_later_rewrap_completes_detached_headers_and_streams_with_the_payload_at_hand() {
    for (there, away) in [(true, true), (true, false), (false, true), (false, false)] {
        let pair = Pair::new(Some(there), Some(away));
        for context in contexts() {
            let start =
                async |it: &Envelope| it.reporting(POLICY).start(PayloadKind::Detached, &context).await;
            let (started, missing) = pair.made(start).unwrap().into_parts();
            assert_eq!(missing.len(), 1);
            let mut payload = Vec::new();
            stream::seal(started.payload, &mut Cursor::new(b"x"), &mut payload).unwrap();
            let header = Envelope::inspect(&started.header).unwrap();
            let complete = block_on(pair.envelope().rewrap_header_of(
                payload.first_chunk().unwrap(),
                header.clone(),
                &context,
            ));
            let complete = complete.unwrap().to_bytes();
            assert_eq!(Rig::recipients(&complete), pair.keys, "{there} {away}");
            let opened = block_on(pair.only_away().decrypt_detached(&complete, &payload, &context));
            assert_eq!(opened.unwrap(), b"x");
            // Without it nothing shows that the withheld value is right, if the key that opens binds none.
            let alone = block_on(pair.envelope().rewrap_header(header, &context));
            match alone {
                Ok(_) => assert!(there || !away || context == contexts()[0]),
                Err(error) => {
                    assert!(matches!(error, RewrapError::ContextNotVerified), "{error:?}");
                    assert!(!there && away);
                }
            }
        }
    }
}

#[test]
fn a_later_rewrap_completes_each_data_key_that_is_made() {
    let [stored, withheld] = contexts();
    let cases = [
        (Some(true), Some(true), &withheld),
        (None, Some(true), &withheld),
        (Some(true), Some(false), &stored),
        (Some(false), None, &stored),
        (Some(false), Some(false), &stored),
    ];
    for (there, away, context) in cases {
        let pair = Pair::new(there, away);
        let made = pair.made(async |it| it.reporting(POLICY).create_data_key(context).await).unwrap();
        let (data_key, missing) = made.into_parts();
        assert_eq!(missing.len(), 1);
        let record = data_key.seal(b"x", context).unwrap();
        let complete = block_on(pair.envelope().rewrap(&data_key.header().to_bytes(), context)).unwrap();
        assert_eq!(Rig::recipients(&complete), pair.keys);
        let opened = block_on(pair.only_away().open_data_key(&complete, context)).unwrap();
        assert_eq!(opened.open(&record, context).unwrap(), b"x");
    }
}

#[test]
fn a_data_key_with_withheld_values_that_no_rewrap_could_complete_is_not_made() {
    for away in [Some(false), None] {
        let pair = Pair::new(Some(true), away);
        let heard = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&heard);
        let made = pair.made(async |it| {
            let counted = Arc::clone(&counted);
            let listener = move |_: &KeyringEvent<'_>| *counted.lock().unwrap() += 1;
            let it = Envelope::new(it.keyring().clone().tell(Arc::new(listener)));
            it.reporting(POLICY).create_data_key(&context()).await.map(drop)
        });
        let error = made.unwrap_err();
        assert!(
            matches!(&error, EncryptError::NotCompletable(missing) if missing.key == pair.keys[1]),
            "{error:?}"
        );
        assert!(error.to_string().contains("injected fault"), "why it did not wrap: {error}");
        assert_eq!(*heard.lock().unwrap(), 0, "nothing is made without a key");
    }
}
