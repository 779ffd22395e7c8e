//! [`CacheStats`].

use std::sync::atomic::AtomicU64;

use crate::counter::read;

/// What a [`CacheStore`](super::CacheStore) has done so far. Read while calls go on, the numbers may be some calls
/// apart from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CacheStats {
    /// Wraps whose DEK was kept.
    pub hits: u64,
    /// Wraps for which the key store had to be asked.
    pub misses: u64,
    /// Wraps whose DEK came from a call that was under way for another.
    pub joined: u64,
    /// Calls to the provider below that unwrap. One may be for several misses.
    pub calls: u64,
    /// DEKs dropped to make room.
    pub evicted: u64,
    /// DEKs dropped for their age.
    pub expired: u64,
    /// DEKs dropped after their last permitted use.
    pub used_up: u64,
    /// DEKs dropped since their key was invalidated, or refused by its key store.
    pub invalidated: u64,
    /// DEKs that are kept now.
    pub kept: usize,
    /// Wraps that are being unwrapped now.
    pub in_flight: usize,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) hits: AtomicU64,
    pub(crate) misses: AtomicU64,
    pub(crate) joined: AtomicU64,
    pub(crate) calls: AtomicU64,
    pub(crate) evicted: AtomicU64,
    pub(crate) expired: AtomicU64,
    pub(crate) used_up: AtomicU64,
    pub(crate) invalidated: AtomicU64,
}

impl Counters {
    pub(crate) fn stats(&self, (kept, in_flight): (usize, usize)) -> CacheStats {
        CacheStats {
            hits: read(&self.hits),
            misses: read(&self.misses),
            joined: read(&self.joined),
            calls: read(&self.calls),
            evicted: read(&self.evicted),
            expired: read(&self.expired),
            used_up: read(&self.used_up),
            invalidated: read(&self.invalidated),
            kept,
            in_flight,
        }
    }
}
