//! Files and pipes of any length, in constant memory.
//!
//! Keys come first, from [`Envelope::start`](crate::Envelope::start) or
//! [`Envelope::unlock`](crate::Envelope::unlock); everything here but the
//! adapters of the feature `tokio` is synchronous and needs no runtime.
//!
//! - [`seal`] and [`open`]: one thread, any `Read` and `Write`.
//! - [`Parallel`]: the same bytes on every core, for pipes, files and memory.
//! - [`RangedReader`]: any part of a payload without the rest, `Read` and `Seek`.
//!
//! Decryption writes each chunk after it was authenticated, and reports an error
//! if the end is missing: a writer that must not show partial plaintext (a
//! file) has to stay invisible until it returns `Ok`. A chunk that is wrong is
//! reported as soon as it has arrived, although its source be silent after it;
//! a source that is silent with nothing wrong is waited for, and needs a
//! time-out of its own.
//!
//! What failed once keeps failing. A count of a reader or writer that passes
//! what was asked for is an error. That an output is the input is seen where
//! both can be read and written at an offset; between a `Read` and a `Write` it
//! is the caller who knows.

mod arriving;
mod at;
mod block;
mod blocking;
mod error;
mod file;
mod header;
mod identity;
mod layout;
mod parallel;
mod pipe;
mod ranged;
mod sealer;
mod slice;
#[cfg(feature = "tokio")]
pub mod tokio;

pub use at::{ReadAt, WriteAt};
pub use blocking::{open, seal};
pub use error::StreamError;
pub use header::{read_header, read_header_at};
pub use identity::FileIdentity;
pub use parallel::{MAX_THREADS, Parallel};
pub use ranged::RangedReader;
pub use sealer::PayloadSealer;

/// `count`, or `limit` if that is less.
fn at_most(count: u64, limit: usize) -> usize {
    usize::try_from(count).map_or(limit, |count| count.min(limit))
}
