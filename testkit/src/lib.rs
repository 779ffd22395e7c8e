//! What a [`KeyProvider`](envelope_sdk::KeyProvider) and the code above it are
//! tested with.
//!
//! - [`conformance`]: the suite that every provider passes. How to write a
//!   provider and run it:
//!   [docs/write-a-provider.md](https://github.com/envelope-sdk/envelope-sdk/blob/main/docs/write-a-provider.md).
//! - [`MemoryProvider`] keeps its keys in memory and counts its calls.
//! - [`FaultProvider`] stands before another provider and fails or answers
//!   wrongly on demand.
//! - [`servers`] tells a test where a real server is, or skips it by name.
//! - [`secrets`] looks for a secret in all forms in which it might be printed.
//!
//! For tests only: nothing here stores a key.

pub mod conformance;
mod fault;
mod memory;
pub mod secrets;
pub mod servers;

pub use fault::{Fault, FaultProvider};
pub use memory::MemoryProvider;

/// The examples of the page compile and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/write-a-provider.md")]
struct WriteAProvider;
