//! A key store that is not of envelope-sdk: keys in memory, under the scheme
//! `example:`, as an example of what another crate writes to add one.
//!
//! - [`ExampleProvider`] wraps and unwraps ([`KeyProvider`](envelope_sdk::KeyProvider))
//!   and manages its keys ([`KeyAdmin`](envelope_sdk::KeyAdmin)).
//! - [`ExampleSettings`] is the table `[example]` of a configuration, and the one
//!   registration of it all.
//!
//! Keys are `example:NAME`, aliases `example:alias/NAME`. They live as long as the provider:
//! never use it for data that shall be read again.

mod admin;
mod keys;
mod provider;
mod settings;

pub use provider::ExampleProvider;
pub use settings::{ExampleScheme, ExampleSettings};
