//! Tokens that refused a PIN.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use cryptoki::slot::Slot;

/// The tokens that refused the PIN they were given. A stored one is not tried again on them;
/// a person is asked again, by calls that began afterwards.
///
/// Each provider has its own, unless several are given one by
/// [`Pkcs11Config::refused_pins`](crate::Pkcs11Config::refused_pins). Clones are one and the same.
/// Nothing of a PIN is in it.
#[derive(Debug, Clone, Default)]
pub struct RefusedPins(Arc<Refusals>);

#[derive(Debug, Default)]
struct Refusals {
    by_token: Mutex<HashMap<TokenHere, Refusal>>,
    /// Counts the refusals.
    count: AtomicU64,
}

/// Module, slot and serial number: another token may come into a slot.
pub(crate) type TokenHere = (PathBuf, Slot, String);

#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    /// What the token said.
    pub(crate) said: String,
    /// Which of all refusals it is, from 1 on.
    pub(crate) number: u64,
}

impl RefusedPins {
    /// Held while somebody logs in.
    pub(crate) fn lock(&self) -> MutexGuard<'_, HashMap<TokenHere, Refusal>> {
        self.0.by_token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.0.count.load(Ordering::SeqCst)
    }

    /// The next one.
    pub(crate) fn next(&self, said: String) -> Refusal {
        Refusal { said, number: self.0.count.fetch_add(1, Ordering::SeqCst) + 1 }
    }
}
