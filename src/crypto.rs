//! The cryptography, over one small [`Engine`] trait.
//!
//! Two constructions, both published by C2SP and both built from AES-256-GCM:
//! [`cobblestone`] (payloads and passphrase wraps: chunked, committing) and
//! [`xaes`] (records and keystore wraps: short messages, 24-byte random
//! nonces). No primitive is implemented here; the engines call AWS-LC or
//! RustCrypto.
//!
//! Applications use [`Envelope`](crate::Envelope) and never need this module.
//! It is public for backend authors, who wrap DEKs with the same two
//! constructions. Nothing in it takes a nonce from the caller or logs
//! anything.

#[cfg(test)]
#[macro_use]
mod on_each_engine;

pub mod cobblestone;
mod engine;
mod secret;
mod stack;
pub mod xaes;

#[cfg(feature = "aws-lc")]
mod aws_lc;
#[cfg(feature = "rustcrypto")]
mod rust_crypto;

#[cfg(feature = "aws-lc")]
pub use aws_lc::AwsLc;
pub use engine::{Engine, RandomError, Unauthentic};
// They take nonces and raw keys: for the vectors of this project's own tests, and
// not part of the API.
#[doc(hidden)]
pub use engine::{Aes256Block, Aes256Gcm};
#[cfg(feature = "rustcrypto")]
pub use rust_crypto::RustCrypto;
pub use secret::Key256;
// For the backends of this repository, and not part of the API.
#[doc(hidden)]
pub use stack::wiped_after;

/// The engine that [`Envelope`](crate::Envelope) uses: [`AwsLc`] when the
/// feature `aws-lc` is on (the default), `RustCrypto` otherwise. Both produce
/// and read the same bytes.
#[cfg(feature = "aws-lc")]
pub type DefaultEngine = AwsLc;
/// The engine that [`Envelope`](crate::Envelope) uses: the pure-Rust one,
/// because the feature `aws-lc` is off.
#[cfg(all(feature = "rustcrypto", not(feature = "aws-lc")))]
pub type DefaultEngine = RustCrypto;

/// Bytes of an AES-GCM tag, and so what sealing one message adds.
pub const TAG_LEN: usize = 16;
