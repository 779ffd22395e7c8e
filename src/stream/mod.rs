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
//! file) has to stay invisible until it returns `Ok`.

mod at;
mod block;
mod blocking;
mod error;
mod file;
mod header;
mod layout;
mod parallel;
mod pipe;
mod ranged;
mod slice;
#[cfg(feature = "tokio")]
pub mod tokio;

use std::io::{self, IoSliceMut, Read};

pub use at::{ReadAt, WriteAt};
pub use blocking::{open, seal};
pub use error::StreamError;
pub use header::{read_header, read_header_at};
pub use parallel::{MAX_THREADS, Parallel};
pub use ranged::RangedReader;

/// `count`, or `limit` if that is less.
fn at_most(count: u64, limit: usize) -> usize {
    usize::try_from(count).map_or(limit, |count| count.min(limit))
}

/// Reads until `buffer` is full or the input ends.
fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> Result<usize, StreamError> {
    read_full_vectored(reader, &mut [IoSliceMut::new(buffer)])
}

/// Reads until all the buffers are full or the input ends.
fn read_full_vectored(
    reader: &mut impl Read,
    mut buffers: &mut [IoSliceMut<'_>],
) -> Result<usize, StreamError> {
    let mut filled = 0;
    while !buffers.is_empty() {
        match reader.read_vectored(buffers) {
            Ok(0) => break,
            Ok(read) => {
                filled += read;
                IoSliceMut::advance_slices(&mut buffers, read);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(StreamError::Read(error)),
        }
    }
    Ok(filled)
}
