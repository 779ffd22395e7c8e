//! The envelope format, version 1: strict parse and canonical write.
//!
//! No cryptography and no I/O here: bytes in, a [`Header`] out, and back. The
//! specification is `docs/spec/envelope-v1.md`.
//!
//! Everything has one encoding. A header is parsed with limits checked before
//! anything is allocated, then encoded again and compared.

pub mod armor;
mod header;
mod stored;

pub use crate::wire::FormatError;
pub(crate) use header::HeaderDraft;
pub use header::{Header, Kind, MAC_LEN, MAX_BODY_LEN, MAX_RECIPIENTS, PREAMBLE_LEN, Preamble, Suite};

/// What the strings that keys are derived from, and wraps bound to, begin with.
pub(crate) const LABEL: &[u8] = b"envelope-v1\0";
