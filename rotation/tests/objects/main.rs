//! Envelopes in object stores: LocalStack's S3, Azurite, and fake-gcs-server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]

mod bucket;
mod conformance;
mod faults;
mod killed;
mod names;
mod rotation;

use std::sync::Arc;

use envelope_rotation::{Control, Goal, ItemReport, Job, Key, Objects, Outcome, Report};
use envelope_sdk::{EncryptionContext, Envelope, KeyProvider, KeyUri, Keyring};
use envelope_testkit::MemoryProvider;

use bucket::Bucket;

/// Makes a test for each store of a function that takes a bucket.
macro_rules! on_each_store {
    ($($name:ident),* $(,)?) => {
        mod s3 { $(#[tokio::test(flavor = "multi_thread")] async fn $name() {
            if let Some(bucket) = crate::bucket::Bucket::s3().await { super::$name(bucket).await }
        })* }
        mod azure { $(#[tokio::test(flavor = "multi_thread")] async fn $name() {
            if let Some(bucket) = crate::bucket::Bucket::azure().await { super::$name(bucket).await }
        })* }
        mod google { $(#[tokio::test(flavor = "multi_thread")] async fn $name() {
            if let Some(bucket) = crate::bucket::Bucket::google().await { super::$name(bucket).await }
        })* }
    };
}
pub(crate) use on_each_store;

/// Keys in memory, called by one letter.
struct Keys(Arc<MemoryProvider>);

impl Keys {
    fn new() -> Self {
        Self(Arc::new("abc".chars().map(uri).fold(MemoryProvider::new(), |all, key| all.with_key(&key))))
    }

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

    /// From `a` to `b`.
    fn a_to_b(&self) -> Goal {
        Goal::only(self.keys("b")).open_with(self.keys("a"))
    }

    async fn seal(&self, plaintext: &[u8], letters: &str) -> Vec<u8> {
        self.envelope(letters).encrypt(plaintext, &EncryptionContext::new()).await.unwrap()
    }

    /// What key opens the envelope, `a` or `b`, and its plaintext.
    async fn open(&self, sealed: &[u8]) -> Option<(char, Vec<u8>)> {
        for letter in ['a', 'b'] {
            let opened = self.envelope(&letter.to_string()).decrypt(sealed, &EncryptionContext::new()).await;
            if let Ok(plaintext) = opened {
                return Some((letter, plaintext));
            }
        }
        None
    }
}

fn uri(letter: char) -> KeyUri {
    MemoryProvider::key(&letter.to_string())
}

/// Runs a job, and demands that nothing fails.
async fn run(source: Objects, goal: Goal) -> Report {
    let (report, failed) = try_run(source, goal).await;
    assert!(failed.is_empty(), "{failed:?}");
    report
}

async fn try_run(source: Objects, goal: Goal) -> (Report, Vec<ItemReport>) {
    let mut failed = Vec::new();
    let job = Job::new(Arc::new(source), goal).concurrency(4);
    let control = Control::new();
    let report = job.run(&control, |item| {
        if matches!(item.outcome, Outcome::Failed(_)) {
            failed.push(item);
        }
    });
    (report.await.unwrap(), failed)
}

/// Plaintext of this length that repeats nowhere.
fn plaintext(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(len).collect()
}

const MIB: usize = 1024 * 1024;
/// More than is written by one request.
const LARGE: usize = 9 * MIB;
