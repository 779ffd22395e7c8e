//! [`Instances`]: one decorator for each provider that a key store opens.

use std::sync::{Arc, Mutex, PoisonError};

use crate::KeyProvider;

/// What a decorated [`Scheme`](super::Scheme) has put over the providers below: one decorator for each, however many keys are opened with it. So a
/// breaker knows of all failures, and a keyring sees that two keys are of one provider, which may
/// [rewrap](KeyProvider::rewrap_dek) between them.
///
/// Two providers of one [identity](KeyProvider::identity) reach the same keys with the same permissions, and are one
/// instance here; those without one are told apart by where they are in memory.
#[derive(Default)]
pub struct Instances(Mutex<Vec<Instance>>);

struct Instance {
    below: Arc<dyn KeyProvider>,
    top: Arc<dyn KeyProvider>,
}

impl Instances {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What stands over `provider`, made by `make` for the first of its keys.
    pub fn over(
        &self,
        provider: Arc<dyn KeyProvider>,
        make: impl FnOnce(Arc<dyn KeyProvider>) -> Arc<dyn KeyProvider>,
    ) -> Arc<dyn KeyProvider> {
        let mut instances = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = instances.iter().find(|known| are_one(&known.below, &provider)) {
            return Arc::clone(&known.top);
        }
        // A key store that opens a new one for each key must not fill the memory.
        if instances.len() >= MANY {
            instances.retain(|known| Arc::strong_count(&known.top) > 1);
        }
        let top = make(Arc::clone(&provider));
        instances.push(Instance { below: provider, top: Arc::clone(&top) });
        top
    }
}

fn are_one(one: &Arc<dyn KeyProvider>, other: &Arc<dyn KeyProvider>) -> bool {
    match (one.identity(), other.identity()) {
        (Some(one), Some(other)) => one == other,
        (None, None) => Arc::ptr_eq(one, other),
        _ => false,
    }
}

/// Instances before those that nobody uses are dropped.
const MANY: usize = 64;
