//! [`Meter`]: what a data key may still seal.

use std::time::Duration;

use tokio::time::Instant;

use super::limits::DataKeyLimits;
use crate::sync::{Mutex, lock};

/// Counts what is sealed, before it is: so no limit is ever passed, and what could not be sealed after all is counted
/// too.
pub(crate) struct Meter {
    records: u64,
    bytes: u64,
    age: Duration,
    since: Instant,
    used: Mutex<Used>,
}

#[derive(Default)]
struct Used {
    records: u64,
    bytes: u64,
    ended: bool,
    /// A record did not fit into the bytes that are left.
    outgrown: bool,
}

impl Meter {
    pub(crate) fn new(limits: &DataKeyLimits, since: Instant) -> Self {
        let DataKeyLimits { records, bytes, age, .. } = *limits;
        Self { records, bytes, age, since, used: Mutex::new(Used::default()) }
    }

    /// Takes one record of so many bytes from what is left, or nothing.
    pub(crate) fn reserve(&self, bytes: u64, now: Instant) -> bool {
        let mut used = lock(&self.used);
        if !self.is_left(&used, now) {
            return false;
        }
        if bytes > self.bytes - used.bytes {
            used.outgrown = true;
            return false;
        }
        used.records += 1;
        used.bytes += bytes;
        true
    }

    /// Whether anything is left.
    pub(crate) fn is_open(&self, now: Instant) -> bool {
        self.is_left(&lock(&self.used), now)
    }

    /// Whether it is still the one to seal with: what was too large for it needs another, though smaller records fit.
    pub(crate) fn is_current(&self, now: Instant) -> bool {
        let used = lock(&self.used);
        !used.outgrown && self.is_left(&used, now)
    }

    /// Nothing is left from now on.
    pub(crate) fn end(&self) {
        lock(&self.used).ended = true;
    }

    fn is_left(&self, used: &Used, now: Instant) -> bool {
        !used.ended && used.records < self.records && now.duration_since(self.since) < self.age
    }
}
