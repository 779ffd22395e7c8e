//! Envelopes that are made while a key store is away, and completed later.

#![allow(
    clippy::cast_possible_truncation,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that goes wrong shall stop"
)]

mod common;

use std::sync::Arc;

use common::{block_on, context};
use envelope_sdk::{
    DecryptError, EncryptError, Envelope, KeyUri, Keyring, ProviderErrorKind, RewrapError, WrapPolicy,
    WrappedDek,
};
use envelope_testkit::{Fault, FaultProvider, MemoryProvider};

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
