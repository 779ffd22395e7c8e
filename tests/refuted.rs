//! A DEK that is not the one is told to the provider that gave it, whichever verb finds it out, and no other is.

#![allow(
    clippy::cast_possible_truncation,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that goes wrong shall stop"
)]

mod common;

use std::{io::Cursor, sync::Arc};

use common::{block_on, context};
use envelope_sdk::{Envelope, KeyProvider, KeyUri, Keyring, PayloadKind, RewrapError, WrappedDek, stream};
use envelope_testkit::{Fault, FaultProvider, MemoryProvider};

/// Two key stores with a key each, or one with both; what faults are injected into counts what is refuted.
struct Rig {
    bad: Arc<FaultProvider>,
    good: Arc<FaultProvider>,
    keys: [KeyUri; 2],
    envelope: Envelope,
}

impl Rig {
    fn new() -> Self {
        let keys = ["bad", "good"].map(MemoryProvider::key);
        let of = |key: &KeyUri| Arc::new(FaultProvider::new(Arc::new(MemoryProvider::new().with_key(key))));
        let (bad, good) = (of(&keys[0]), of(&keys[1]));
        let ring = Keyring::new().both(bad.clone(), keys[0].clone()).both(good.clone(), keys[1].clone());
        Self { bad, good, keys, envelope: Envelope::new(ring) }
    }

    /// Both keys in one key store that rewraps by itself.
    fn of_one_store() -> Self {
        let keys = ["bad", "good"].map(MemoryProvider::key);
        let memory = keys.iter().fold(MemoryProvider::new().that_rewraps(), MemoryProvider::with_key);
        let store = Arc::new(FaultProvider::new(Arc::new(memory)));
        let ring = keys.iter().fold(Keyring::new(), |ring, key| ring.both(store.clone(), key.clone()));
        Self { bad: store.clone(), good: store, keys, envelope: Envelope::new(ring) }
    }

    /// Runs `verb` over a key store that gives another DEK for the first recipient. It opens with the second.
    fn opens_beside_a_wrong_dek<T>(
        &self,
        what: &str,
        sealed: &[u8],
        verb: impl AsyncFnOnce(&Envelope) -> T,
    ) -> T {
        self.bad.fault_unwraps(Fault::OtherDek);
        let before = self.bad.refuted_wraps().len();
        let output = block_on(verb(&self.envelope));
        self.bad.fault_unwraps(None);
        let wrapped = Envelope::inspect(sealed).unwrap().recipients()[0].clone();
        assert_eq!(self.bad.refuted_wraps()[before..], [wrapped], "{what}");
        assert_eq!(self.good.refuted_wraps(), [], "{what}");
        output
    }
}

#[test]
fn every_verb_that_unlocks_tells_of_the_wrong_dek_once() {
    let rig = Rig::new();
    let sealed = block_on(rig.envelope.encrypt(b"x", &context())).unwrap();
    let opened =
        rig.opens_beside_a_wrong_dek("decrypt", &sealed, async |it| it.decrypt(&sealed, &context()).await);
    assert_eq!(opened.unwrap(), b"x");
    let range = rig.opens_beside_a_wrong_dek("decrypt_range", &sealed, async |it| {
        it.decrypt_range(sealed.as_slice(), 0..1, &context()).await
    });
    assert_eq!(range.unwrap(), b"x");
    let anew = rig
        .opens_beside_a_wrong_dek("reencrypt", &sealed, async |it| it.reencrypt(&sealed, &context()).await);
    assert_eq!(block_on(rig.envelope.decrypt(&anew.unwrap(), &context())).unwrap(), b"x");

    let (header, payload) = block_on(rig.envelope.encrypt_detached(b"x", &context())).unwrap();
    let opened = rig.opens_beside_a_wrong_dek("decrypt_detached", &header, async |it| {
        it.decrypt_detached(&header, &payload, &context()).await
    });
    assert_eq!(opened.unwrap(), b"x");
}

#[test]
fn streams_tell_of_the_wrong_dek_once() {
    let rig = Rig::new();
    let started = block_on(rig.envelope.start(PayloadKind::Attached, &context())).unwrap();
    let mut sealed = started.header;
    stream::seal(started.payload, &mut Cursor::new(b"x"), &mut sealed).unwrap();
    let mut source = Cursor::new(&sealed);
    let header = stream::read_header(&mut source).unwrap();
    let opened = rig
        .opens_beside_a_wrong_dek("unlock", &sealed, async |it| it.unlock(header.clone(), &context()).await);
    let mut plaintext = Vec::new();
    stream::open(&opened.unwrap(), &mut source, &mut plaintext).unwrap();
    assert_eq!(plaintext, b"x");
}

#[test]
fn data_keys_tell_of_the_wrong_dek_once() {
    let rig = Rig::new();
    let data_key = block_on(rig.envelope.create_data_key(&context())).unwrap();
    let header = data_key.header().to_bytes();
    let record = data_key.seal(b"x", &context()).unwrap();
    let opened = rig.opens_beside_a_wrong_dek("open_data_key", &header, async |it| {
        it.open_data_key(&header, &context()).await
    });
    assert_eq!(opened.unwrap().open(&record, &context()).unwrap(), b"x");
    let opened = rig.opens_beside_a_wrong_dek("open_data_key_of", &header, async |it| {
        it.open_data_key_of(&record, &context(), &header, &context()).await
    });
    assert_eq!(opened.unwrap().open(&record, &context()).unwrap(), b"x");
}

#[test]
fn a_rewrap_tells_of_the_old_wrap_and_of_each_new_one_that_gives_another_dek() {
    let rig = Rig::new();
    let sealed = block_on(rig.envelope.encrypt(b"x", &context())).unwrap();
    let old = Envelope::inspect(&sealed).unwrap().recipients()[0].clone();
    rig.bad.fault_unwraps(Fault::OtherDek);
    let error = block_on(rig.envelope.rewrap(&sealed, &context())).unwrap_err();
    assert!(matches!(&error, RewrapError::WrapNotVerified { key } if *key == rig.keys[0]), "{error:?}");
    let told = rig.bad.refuted_wraps();
    assert_eq!((told.len(), &told[0]), (2, &old), "the old wrap, then the new one");
    assert_ne!(told[1], old);
    assert_eq!(told[1].key_uri(), &rig.keys[0]);
    assert_eq!(rig.good.refuted_wraps(), []);
}

#[test]
fn a_rewrap_inside_the_key_store_tells_of_each_new_wrap_that_gives_another_dek() {
    let rig = Rig::of_one_store();
    let sealed = block_on(rig.envelope.encrypt(b"x", &context())).unwrap();
    rig.bad.fault_rewraps(Fault::OtherDek);
    // What goes wrong on the short cut is done through this machine.
    let rewrapped = block_on(rig.envelope.rewrap(&sealed, &context())).unwrap();
    assert_eq!(block_on(rig.envelope.decrypt(&rewrapped, &context())).unwrap(), b"x");
    let told = rig.bad.refuted_wraps();
    assert_eq!(told.iter().map(WrappedDek::key_uri).collect::<Vec<_>>(), rig.keys.iter().collect::<Vec<_>>());
    let kept = Envelope::inspect(&rewrapped).unwrap();
    assert!(told.iter().all(|told| !kept.recipients().contains(told)), "they are not in the new header");
}

#[test]
fn a_changed_header_is_told_too_and_what_does_not_unwrap_is_not() {
    let rig = Rig::new();
    let sealed = block_on(rig.envelope.encrypt(b"x", &context())).unwrap();
    let header = Envelope::inspect(&sealed).unwrap();
    let mut changed = sealed.clone();
    changed[header.len() - 1] ^= 1;
    block_on(rig.envelope.decrypt(&changed, &context())).unwrap_err();
    assert_eq!(
        [rig.bad.refuted_wraps(), rig.good.refuted_wraps()].concat(),
        header.recipients(),
        "each gave a DEK"
    );
    let other = context().withhold("patient", "8");
    block_on(rig.envelope.decrypt(&sealed, &other)).unwrap_err();
    assert_eq!(rig.bad.refuted_wraps().len() + rig.good.refuted_wraps().len(), 2, "neither gave a DEK");
}

#[test]
fn pointers_and_decorators_hand_on_what_is_refuted() {
    let rig = Rig::new();
    let sealed = block_on(rig.envelope.encrypt(b"x", &context())).unwrap();
    let wrapped = Envelope::inspect(&sealed).unwrap().recipients()[0].clone();
    let full = context().full().unwrap();
    let boxed: Box<dyn KeyProvider> = Box::new(rig.bad.clone());
    let yielding = envelope_testkit::YieldingProvider::new(Arc::new(boxed), 1);
    envelope_testkit::AlteredProvider::new(Arc::new(yielding)).refuted(&wrapped, &full);
    assert_eq!(rig.bad.refuted_wraps(), [wrapped]);
}
