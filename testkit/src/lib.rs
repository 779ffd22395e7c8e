//! What a [`KeyProvider`](envelope_sdk::KeyProvider) and the code above it are
//! tested with.
//!
//! - [`conformance`]: the suites that every provider passes, and who manages its
//!   keys, and what opens it by settings. How to write these and run the suites:
//!   [docs/write-a-provider.md](https://github.com/envelope-sdk/envelope-sdk/blob/main/docs/write-a-provider.md).
//! - [`AlteredProvider`] stands before another provider, with single methods
//!   replaced.
//! - [`MemoryProvider`] keeps its keys in memory and counts its calls.
//! - [`FaultProvider`] stands before another provider and fails or answers
//!   wrongly on demand.
//! - [`fault_matrix`] makes twelve kinds of trouble between a provider and its server.
//! - [`YieldingProvider`] is pending at each step, and [`dropped_after`] drops a future at each.
//! - [`servers`] tells a test where a real server is, or skips it by name;
//!   [`http_server`] is one whose answers a test writes down.
//! - `gcp_server` (feature `gcp-server`) stands in for Google Cloud KMS,
//!   `azure_server` (feature `azure-server`) for Azure Key Vault and Managed HSM.
//! - [`secrets`] looks for a secret in all forms in which it might be printed.
//!
//! For tests only: nothing here stores a key.

mod altered;
#[cfg(feature = "azure-server")]
pub mod azure_server;
#[cfg(any(feature = "azure-server", feature = "gcp-server"))]
mod clock;
pub mod conformance;
mod fault;
pub mod fault_matrix;
#[cfg(feature = "gcp-server")]
pub mod gcp_server;
pub mod http_server;
pub mod listener;
mod memory;
#[cfg(any(feature = "azure-server", feature = "gcp-server"))]
mod python;
pub mod secrets;
pub mod servers;
pub mod sources;
mod yielding;

pub use altered::{AlteredProvider, Answer};
pub use fault::{Fault, FaultProvider};
pub use memory::MemoryProvider;
pub use yielding::{YieldingProvider, dropped_after};

/// The examples of the page compile and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/write-a-provider.md")]
struct WriteAProvider;
