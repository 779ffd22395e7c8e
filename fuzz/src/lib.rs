//! What the fuzz targets share: a bound on memory, fixtures, mutations.

#![forbid(unsafe_code)]

pub mod fixtures;
pub mod memory;
pub mod mutate;

use futures_util::FutureExt;

/// The outcome of a future that never waits: no provider here does.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("no provider of the targets ever waits")
}
