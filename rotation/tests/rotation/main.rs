//! Jobs over envelopes in memory and in files: one binary, since each links for seconds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]

mod checkpoint;
mod conformance;
mod figures;
mod files;
mod goal;
mod job;
mod key_stores;
mod reencrypt;
mod report;

use std::sync::Arc;

use envelope_rotation::{Control, Goal, Item, Job, Key, Memory, Report};
use envelope_sdk::{EncryptionContext, Envelope, KeyProvider, KeyUri, Keyring};
use envelope_testkit::MemoryProvider;

/// Keys in memory, called by one letter.
struct Keys(Arc<MemoryProvider>);

impl Keys {
    fn new() -> Self {
        Self(Arc::new(
            "abc".chars().map(uri).fold(MemoryProvider::new(), |provider, key| provider.with_key(&key)),
        ))
    }

    /// The keys that `letters` names.
    fn keys(&self, letters: &str) -> Vec<Key> {
        letters.chars().map(|letter| Key::new(self.provider(), uri(letter))).collect()
    }

    fn provider(&self) -> Arc<dyn KeyProvider> {
        Arc::clone(&self.0) as _
    }

    /// Encrypts for, and decrypts with, the keys that `letters` names.
    fn envelope(&self, letters: &str) -> Envelope {
        let both = |keyring: Keyring, letter| keyring.both(self.provider(), uri(letter));
        Envelope::new(letters.chars().fold(Keyring::new(), both))
    }

    /// `count` envelopes of their own names, `0` and up, for these keys.
    async fn source(&self, count: usize, letters: &str) -> Arc<Memory> {
        let (source, envelope) = (Memory::new(), self.envelope(letters));
        for number in 0..count {
            let name = number.to_string();
            let sealed = envelope.encrypt(name.as_bytes(), &EncryptionContext::new()).await.unwrap();
            source.put(name, sealed);
        }
        Arc::new(source)
    }

    /// That each envelope of [`source`](Self::source) opens with each of these keys and no other.
    async fn check(&self, source: &Memory, count: usize, letters: &str) {
        for number in 0..count {
            let name = number.to_string();
            let sealed = source.envelope(&name).unwrap();
            for letter in ["a", "b", "c"] {
                let opened = self.envelope(letter).decrypt(&sealed, &EncryptionContext::new()).await;
                assert_eq!(
                    opened.ok(),
                    letters.contains(letter).then(|| name.clone().into_bytes()),
                    "{name} {letter}"
                );
            }
        }
    }
}

fn uri(letter: char) -> KeyUri {
    MemoryProvider::key(&letter.to_string())
}

async fn run(job: Job) -> Report {
    job.run(&Control::new(), |_| {}).await.unwrap()
}

/// From `a` to `b`.
fn a_to_b(keys: &Keys) -> Goal {
    Goal::only(keys.keys("b")).open_with(keys.keys("a"))
}

/// The generation of each envelope.
fn generations(source: &Memory, count: usize) -> Vec<u32> {
    let generation = |number: usize| {
        Envelope::inspect(&source.envelope(number.to_string()).unwrap()).unwrap().generation()
    };
    (0..count).map(generation).collect()
}

fn name(item: &Item) -> String {
    item.to_string()
}
