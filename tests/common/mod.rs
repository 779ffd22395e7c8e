//! Keys, contexts and providers that several of the tests use.

#![allow(dead_code, unused_imports, reason = "each test binary uses its own part of this")]

use std::sync::{Arc, Mutex};

use envelope_sdk::{EncryptionContext, Envelope, KeyProvider, KeyUri, Keyring};
use envelope_testkit::{AlteredProvider, MemoryProvider};

pub(crate) use futures_executor::block_on;

/// A provider with the keys `memory:0` to `memory:count-1`, and their URIs.
pub(crate) fn memory(count: usize) -> (Arc<MemoryProvider>, Vec<KeyUri>) {
    let keys: Vec<KeyUri> = (0..count).map(|index| MemoryProvider::key(&index.to_string())).collect();
    let provider = keys.iter().fold(MemoryProvider::new(), MemoryProvider::with_key);
    (Arc::new(provider), keys)
}

/// An envelope that encrypts and decrypts with all of `keys`.
pub(crate) fn envelope(provider: &Arc<impl KeyProvider + 'static>, keys: &[KeyUri]) -> Envelope {
    let keyring = keys.iter().fold(Keyring::new(), |ring, key| ring.both(provider.clone(), key.clone()));
    Envelope::new(keyring)
}

/// One stored and one withheld entry.
pub(crate) fn context() -> EncryptionContext {
    EncryptionContext::new().with("tenant", "42").withhold("patient", "7")
}

/// `len` bytes that differ from chunk to chunk.
pub(crate) fn message(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index % 251) as u8 ^ (index / 16_384) as u8).collect()
}

/// The DEKs that went through a provider.
pub(crate) type Deks = Arc<Mutex<Vec<[u8; 32]>>>;

/// Passes everything on and remembers the DEKs it saw, for tests that check
/// what becomes of one.
pub(crate) fn spy(inner: Arc<MemoryProvider>) -> (Arc<AlteredProvider>, Deks) {
    let deks = Deks::default();
    let seen = Arc::clone(&deks);
    let spy = AlteredProvider::new(inner).named("spy").on_wrap(move |below, key, dek, context| {
        seen.lock().unwrap().push(*dek.expose());
        below.wrap_dek(key, dek, context)
    });
    (Arc::new(spy), deks)
}
