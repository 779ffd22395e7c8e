//! [`ProviderIdentity`]: telling providers apart.

use std::sync::atomic::{AtomicU64, Ordering};

/// Tells one provider from another, also behind decorators: what has the same
/// identity reaches the same keys with the same permissions.
///
/// A provider makes one when it is made and keeps it; a decorator hands on that
/// of the provider below. Identities are never used twice in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProviderIdentity(u64);

impl ProviderIdentity {
    /// One that no other provider of this process has.
    #[must_use]
    pub fn unique() -> Self {
        // A counter of 64 bits does not come round.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}
