//! What the fuzz targets share: a bound on memory, fixtures, mutations.

#![forbid(unsafe_code)]

pub mod fixtures;
#[cfg(feature = "mcp")]
#[path = "../../mcp/benches/facade.rs"]
pub mod mcp;
pub mod memory;
pub mod mutate;

/// Waits for a future. A provider may do its work on a thread of its own.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    futures_executor::block_on(future)
}
