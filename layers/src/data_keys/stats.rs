//! [`DataKeysStats`].

use std::sync::atomic::AtomicU64;

use crate::counter::read;

/// What [`DataKeys`](super::DataKeys) have done so far. Read while calls go on, the numbers may be some calls apart
/// from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DataKeysStats {
    /// Calls to key stores, at most: for each data key that was to be made, one to each key that encrypts, and one for
    /// each that was to be opened. More where the first key of a header fails, and none where the context contradicts
    /// the header.
    pub key_calls: u64,
    /// Data keys that were made and stored.
    pub made: u64,
    /// Data keys that were opened from their stored header.
    pub opened: u64,
    /// Records that were sealed.
    pub sealed: u64,
    /// Bytes of plaintext in them.
    pub sealed_bytes: u64,
    /// Records that were opened.
    pub opened_records: u64,
    /// Contexts that have a current data key now.
    pub current: usize,
    /// Data keys that are held open now.
    pub held_open: usize,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) key_calls: AtomicU64,
    pub(crate) made: AtomicU64,
    pub(crate) opened: AtomicU64,
    pub(crate) sealed: AtomicU64,
    pub(crate) sealed_bytes: AtomicU64,
    pub(crate) opened_records: AtomicU64,
}

impl Counters {
    pub(crate) fn stats(&self, (current, held_open): (usize, usize)) -> DataKeysStats {
        DataKeysStats {
            key_calls: read(&self.key_calls),
            made: read(&self.made),
            opened: read(&self.opened),
            sealed: read(&self.sealed),
            sealed_bytes: read(&self.sealed_bytes),
            opened_records: read(&self.opened_records),
            current,
            held_open,
        }
    }
}
