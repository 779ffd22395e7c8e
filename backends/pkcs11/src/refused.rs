//! Tokens that refused a PIN.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cryptoki::slot::Slot;

/// The tokens that refused the PIN they were given, which is not tried again on them.
///
/// Each provider has its own, unless several are given one by
/// [`Pkcs11Config::refused_pins`](crate::Pkcs11Config::refused_pins). Clones are one and the same.
/// Nothing of a PIN is in it.
#[derive(Debug, Clone, Default)]
pub struct RefusedPins(Arc<Mutex<Refusals>>);

/// By module and slot: what the token said.
pub(crate) type Refusals = HashMap<(PathBuf, Slot), String>;

impl RefusedPins {
    /// Held while somebody logs in.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Refusals> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
