//! [`CacheLimits`].

use std::time::Duration;

use tokio::time::Instant;

/// How long, how often and how many DEKs a [`CacheStore`](super::CacheStore) keeps. There are no defaults for age and
/// number: how long a DEK may be used after its key was taken away is a decision of whoever runs the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLimits {
    pub(crate) age: Duration,
    pub(crate) entries: usize,
    pub(crate) uses: u64,
    pub(crate) keeps_generated: bool,
}

impl CacheLimits {
    /// Keeps at most so many DEKs, and hands out none of them to a call that comes `age` or more after the key store was
    /// asked for it. With no entries nothing is kept, and calls at the same time for the same wrap still share one
    /// answer; with an age of zero they do not.
    ///
    /// Time stands still while the machine sleeps, where its monotonic clock does: Linux, not Windows.
    #[must_use]
    pub fn new(age: Duration, entries: usize) -> Self {
        Self { age, entries, uses: u64::MAX, keeps_generated: false }
    }

    /// Hands out a DEK at most so often for each time that the key store was asked, those who waited for the answer
    /// and who had it generated included. 1 keeps nothing; 0 is taken for 1. No limit by default.
    #[must_use]
    pub fn uses(mut self, uses: u64) -> Self {
        self.uses = uses.max(1);
        self
    }

    /// Keeps also the DEKs that the key store [generates](envelope_sdk::KeyProvider::generate_dek), so that what was
    /// just sealed opens without a call. Off by default: what is written is often not read soon, and takes the place
    /// of what is.
    ///
    /// DEKs that are handed to [`wrap_dek`](envelope_sdk::KeyProvider::wrap_dek) are never kept. A rewrap unwraps
    /// each new wrap to see that the key store can open it before the old one is dropped, and the cache would answer
    /// in its place.
    #[must_use]
    pub fn keep_generated(mut self, keep: bool) -> Self {
        self.keeps_generated = keep;
        self
    }

    pub(crate) fn is_over(&self, since: Instant, now: Instant) -> bool {
        now.duration_since(since) >= self.age
    }
}
