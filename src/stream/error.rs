//! Why a stream did not come to its end.

use std::io;

use crate::{DecryptError, FormatError, crypto::cobblestone::ChunkError};

/// Why a stream was not encrypted or decrypted to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The input could not be read.
    #[error("reading failed: {0}")]
    Read(#[source] io::Error),
    /// The output could not be written.
    #[error("writing failed: {0}")]
    Write(#[source] io::Error),
    /// The header or payload is not what it should be.
    #[error(transparent)]
    Decrypt(#[from] DecryptError),
    /// The input passes 4 PiB.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// The input grew or shrank while it was read, so the output would hold
    /// neither what it was nor what it is.
    #[error("the input changed while it was read: it had {expected} bytes and now has {now}")]
    InputChanged {
        /// Bytes at the beginning.
        expected: u64,
        /// `more` or `fewer`.
        now: &'static str,
    },
    /// A range that ends before it begins, or beyond the plaintext.
    #[error("the range {start}..{end} is not within the {len} bytes of the plaintext")]
    Range {
        /// First byte asked for.
        start: u64,
        /// Byte after the last one asked for.
        end: u64,
        /// Bytes of the plaintext.
        len: u64,
    },
    /// A slice to write to that has not the length of what would be written.
    #[error("the output has {actual} bytes and needs {expected}")]
    OutputLength {
        /// Bytes it needs.
        expected: usize,
        /// Bytes it has.
        actual: usize,
    },
    /// The payload would end beyond the last offset that there is.
    #[error("no payload of that length fits behind offset {at}")]
    Offset {
        /// Where the payload would begin.
        at: u64,
    },
    /// The output is the file that the input is read from, under the same or
    /// another name. Nothing was written.
    #[error("input and output are the same file: write to another one, and rename it")]
    SameFile,
    /// There is no thread to work on: the system gave none, or an adapter of
    /// `tokio` was used outside of a runtime.
    #[error("no worker thread could be started: {0}")]
    Thread(#[source] io::Error),
}

impl From<FormatError> for StreamError {
    fn from(error: FormatError) -> Self {
        Self::Decrypt(error.into())
    }
}

impl From<StreamError> for io::Error {
    /// For the adapters, whose traits speak of [`io::Error`]: an error of
    /// reading or writing as it is, everything else as
    /// [`InvalidData`](io::ErrorKind::InvalidData) with the [`StreamError`] inside.
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Read(error) | StreamError::Write(error) | StreamError::Thread(error) => error,
            StreamError::Range { .. }
            | StreamError::OutputLength { .. }
            | StreamError::Offset { .. }
            | StreamError::SameFile => Self::new(io::ErrorKind::InvalidInput, error),
            other => Self::new(io::ErrorKind::InvalidData, other),
        }
    }
}
