//! Counters that say what was done. Nothing is decided by them, so nothing need be seen in their order.

use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

pub(crate) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
