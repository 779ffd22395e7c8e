//! What a [`KeyProvider`](envelope_sdk::KeyProvider) and the code above it are
//! tested with.
//!
//! [`MemoryProvider`] keeps its keys in memory and counts its calls;
//! [`FaultProvider`] stands before another provider and fails or answers
//! wrongly on demand. For tests only: nothing here stores a key.

mod fault;
mod memory;

pub use fault::{Fault, FaultProvider};
pub use memory::MemoryProvider;
