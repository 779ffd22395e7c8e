//! Jobs over tables of a real PostgreSQL, which scripts/with-servers starts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]

mod conformance;
mod connection;
mod database;
mod kept;
mod records;
mod refused;
mod rows;

use std::sync::Arc;

use envelope_rotation::{Control, Goal, ItemReport, Job, Key, Report, Source};
use envelope_sdk::{EncryptionContext, Envelope, KeyProvider, KeyUri, Keyring};
use envelope_testkit::MemoryProvider;

pub(crate) use database::Database;

/// Keys in memory, called by one letter.
#[derive(Clone)]
pub(crate) struct Keys(Arc<MemoryProvider>);

impl Keys {
    pub(crate) fn new() -> Self {
        let keys = "abc".chars().map(uri);
        Self(Arc::new(keys.fold(MemoryProvider::new(), |provider, key| provider.with_key(&key))))
    }

    pub(crate) fn keys(&self, letters: &str) -> Vec<Key> {
        letters.chars().map(|letter| Key::new(self.provider(), uri(letter))).collect()
    }

    fn provider(&self) -> Arc<dyn KeyProvider> {
        Arc::clone(&self.0) as _
    }

    /// Encrypts for, and decrypts with, the keys that `letters` names.
    pub(crate) fn envelope(&self, letters: &str) -> Envelope {
        let both = |keyring: Keyring, letter| keyring.both(self.provider(), uri(letter));
        Envelope::new(letters.chars().fold(Keyring::new(), both))
    }

    /// From `a` to `b`.
    pub(crate) fn a_to_b(&self) -> Goal {
        Goal::only(self.keys("b")).open_with(self.keys("a"))
    }

    pub(crate) async fn seal(&self, letters: &str, text: &str) -> Vec<u8> {
        self.envelope(letters).encrypt(text.as_bytes(), &EncryptionContext::new()).await.unwrap()
    }

    /// Whether a cell opens with `letters` and holds `text`.
    pub(crate) async fn opens(&self, letters: &str, cell: &[u8], text: &str) -> bool {
        let opened = self.envelope(letters).decrypt(cell, &EncryptionContext::new()).await;
        opened.is_ok_and(|opened| opened == text.as_bytes())
    }
}

fn uri(letter: char) -> KeyUri {
    MemoryProvider::key(&letter.to_string())
}

/// Runs a job, and collects the reports of items that failed.
pub(crate) async fn run(job: Job) -> (Report, Vec<String>) {
    let mut failed = Vec::new();
    let report = job.run(&Control::new(), |item| failed.extend(failure(&item))).await.unwrap();
    (report, failed)
}

/// Runs a job in which nothing fails.
pub(crate) async fn run_well(source: impl Source, goal: Goal) -> Report {
    let (report, failed) = run(Job::new(Arc::new(source), goal)).await;
    assert!(failed.is_empty(), "{failed:?}");
    report
}

fn failure(item: &ItemReport) -> Option<String> {
    match &item.outcome {
        envelope_rotation::Outcome::Failed(error) => Some(format!("{}: {error}", item.item)),
        _ => None,
    }
}

/// Polls a future at most `polls` times, as its runtime wakes it, and drops it; its output if it came to its end.
pub(crate) async fn dropped_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = Box::pin(future);
    let mut left = polls;
    std::future::poll_fn(move |context| {
        if left == 0 {
            return std::task::Poll::Ready(None);
        }
        left -= 1;
        let polled = future.as_mut().poll(context).map(Some);
        if polled.is_pending() && left == 0 { std::task::Poll::Ready(None) } else { polled }
    })
    .await
}
