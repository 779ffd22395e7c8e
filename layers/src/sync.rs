//! The lock of what several threads share.
//!
//! Code that takes it from here is compiled a second time by `tests/orders.rs`, where this module is shuttle's lock and
//! the threads run in every order.

pub(crate) use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks. A panic of another thread does not make the value unusable: each change of what is locked so is whole.
pub(crate) fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
