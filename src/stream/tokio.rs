//! Asynchronous readers, writers and streams of `tokio` (feature `tokio`).
//!
//! | | encrypt | decrypt |
//! |---|---|---|
//! | `AsyncRead` → `Stream<Bytes>` | [`seal_stream`] | [`open_stream`] |
//! | `AsyncRead` → `AsyncRead` | [`seal_reader`] | [`open_reader`] |
//! | `AsyncWrite` → `AsyncWrite` | [`SealWriter`] | [`OpenWriter`] |
//! | [`AsyncReadAt`] → ranges, `AsyncRead`, `AsyncSeek` | | [`AsyncRangedReader`] |
//!
//! The bytes are those of [`seal`](super::seal) and [`open`](super::open). Blocks
//! of 1 MiB go through; larger ones than 64 KiB are encrypted and decrypted by
//! `spawn_blocking`, so that the threads of the reactor are not held up. Outside
//! of a tokio runtime everything here fails with
//! [`StreamError::Thread`](super::StreamError::Thread), whatever the size.
//! Memory: 2 MiB each.
//!
//! What failed once keeps failing: a reader that had an error never reports a
//! clean end, and a writer takes nothing more.
//!
//! A `Stream<Bytes>` as input: `tokio_util::io::StreamReader` makes it an
//! `AsyncRead`.

mod ranged;
mod read;
mod work;
mod write;

pub use ranged::{AsyncRangedReader, AsyncReadAt, Blocking};
pub use read::{open_reader, open_stream, seal_reader, seal_stream};
pub use write::{OpenWriter, SealWriter};
