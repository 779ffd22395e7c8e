//! Files and pipes of any length, in constant memory.
//!
//! Keys come first, from [`Envelope::start`](crate::Envelope::start) or
//! [`Envelope::unlock`](crate::Envelope::unlock); everything here is synchronous
//! and needs no runtime.
//!
//! [`open`] writes each chunk after it was authenticated, and reports an error
//! if the end is missing: a writer that must not show partial plaintext (a
//! file) has to stay invisible until it returns `Ok`.

mod blocking;
mod header;

pub use blocking::{StreamError, open, seal};
pub use header::read_header;
