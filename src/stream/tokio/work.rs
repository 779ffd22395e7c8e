//! What becomes of a block, and on which thread.

use std::{io, sync::Arc};

use ::tokio::runtime::Handle;
use zeroize::Zeroizing;

use super::super::{PayloadSealer, StreamError, parallel::MAX_BLOCK_CHUNKS};
use crate::{
    DecryptError, OpenedHeader,
    crypto::{
        DefaultEngine, TAG_LEN,
        cobblestone::{CHUNK_LEN, ChunkSealer, Numbers, Opener, PREFIX_LEN, SEALED_CHUNK_LEN},
    },
};

/// Turns input into output, a block at a time.
pub(super) trait Work: Send + Unpin + 'static {
    /// Bytes of the largest block.
    fn wanted(&self) -> usize;

    /// How many of `held` bytes, at most `wanted`, can be worked on although
    /// more may follow.
    fn ready(&self, held: usize) -> usize;

    /// Appends to `out` what becomes of `block`.
    fn process(&mut self, block: &[u8], is_last: bool, out: &mut Vec<u8>) -> Result<(), StreamError>;
}

/// Plaintext to payload.
pub(super) struct Seal {
    sealer: ChunkSealer<DefaultEngine>,
    numbers: Numbers,
    begun: bool,
}

impl Seal {
    pub(super) fn new(sealer: PayloadSealer) -> Self {
        let (sealer, numbers) = sealer.into_parts();
        Self { sealer, numbers, begun: false }
    }
}

impl Work for Seal {
    fn wanted(&self) -> usize {
        MAX_BLOCK_CHUNKS * CHUNK_LEN
    }

    fn ready(&self, held: usize) -> usize {
        if held < self.wanted() { 0 } else { held }
    }

    fn process(&mut self, block: &[u8], is_last: bool, out: &mut Vec<u8>) -> Result<(), StreamError> {
        out.reserve(PREFIX_LEN + MAX_BLOCK_CHUNKS * SEALED_CHUNK_LEN);
        if !self.begun {
            out.extend_from_slice(self.sealer.prefix());
            self.begun = true;
        }
        let (full, rest) = block.as_chunks::<CHUNK_LEN>();
        let last = is_last.then_some(rest);
        for chunk in full.iter().map(<[u8; CHUNK_LEN]>::as_slice).chain(last) {
            let start = out.len();
            out.resize(start + chunk.len() + TAG_LEN, 0);
            self.sealer.seal_to(&mut self.numbers, chunk, &mut out[start..])?;
        }
        Ok(())
    }
}

/// Payload to plaintext.
pub(super) enum Open {
    /// Before salt and commitment.
    Begin(Arc<OpenedHeader>),
    /// Before the chunk of that number.
    Chunks(Opener<DefaultEngine>, u64),
}

impl Work for Open {
    fn wanted(&self) -> usize {
        match self {
            Self::Begin(_) => PREFIX_LEN,
            Self::Chunks(..) => MAX_BLOCK_CHUNKS * SEALED_CHUNK_LEN,
        }
    }

    /// Each chunk as soon as it is there: its error is not held back.
    fn ready(&self, held: usize) -> usize {
        match self {
            Self::Begin(_) => held / PREFIX_LEN * PREFIX_LEN,
            Self::Chunks(..) => held / SEALED_CHUNK_LEN * SEALED_CHUNK_LEN,
        }
    }

    fn process(&mut self, block: &[u8], is_last: bool, out: &mut Vec<u8>) -> Result<(), StreamError> {
        match self {
            Self::Begin(opened) => {
                let prefix = block.try_into().map_err(|_| DecryptError::NotAuthentic)?;
                *self = Self::Chunks(opened.payload(prefix).map_err(DecryptError::from)?, 0);
                Ok(())
            }
            Self::Chunks(opener, index) => {
                // The input ended with a whole chunk: the short last one is missing.
                let truncated = is_last && block.len().is_multiple_of(SEALED_CHUNK_LEN);
                // Once: a buffer that grows leaves copies behind.
                out.reserve_exact(block.len());
                let mut plaintext = Zeroizing::new(vec![0; CHUNK_LEN]);
                for chunk in block.chunks(SEALED_CHUNK_LEN) {
                    let len = chunk.len().checked_sub(TAG_LEN).ok_or(DecryptError::NotAuthentic)?;
                    opener.open_chunk_to(*index, chunk, &mut plaintext[..len]).map_err(DecryptError::from)?;
                    out.extend_from_slice(&plaintext[..len]);
                    *index += 1;
                }
                if truncated { Err(DecryptError::NotAuthentic.into()) } else { Ok(()) }
            }
        }
    }
}

/// A block that was worked on.
pub(super) struct Done<W> {
    pub(super) work: W,
    /// Its buffer, as it was.
    pub(super) block: Zeroizing<Vec<u8>>,
    /// How many of its bytes were worked on.
    pub(super) len: usize,
    /// Plaintext, when decrypting: wiped unless it is handed to the caller.
    pub(super) out: Zeroizing<Vec<u8>>,
    pub(super) is_last: bool,
    /// What comes after `out`, if anything.
    pub(super) result: Result<(), StreamError>,
}

/// Works on the first `len` bytes of a block, away from the reactor if it is a large one.
pub(super) async fn run<W: Work>(
    mut work: W,
    block: Zeroizing<Vec<u8>>,
    len: usize,
    is_last: bool,
) -> Result<Done<W>, StreamError> {
    let runtime = runtime()?;
    let is_large = len > LARGE;
    let run = move || {
        let mut out = Zeroizing::new(Vec::new());
        let result = work.process(&block[..len], is_last, &mut out);
        Done { work, block, len, out, is_last, result }
    };
    if is_large {
        // A runtime that shuts down does not run it any more.
        runtime.spawn_blocking(run).await.map_err(|error| StreamError::Thread(io::Error::other(error)))
    } else {
        Ok(run())
    }
}

/// The runtime whose threads work. Asked for whatever the size, so that what
/// works for few bytes does not fail for many.
pub(super) fn runtime() -> Result<Handle, StreamError> {
    Handle::try_current().map_err(|error| StreamError::Thread(io::Error::other(error)))
}

/// Bytes that take longer to hand over than to encrypt: about 15 µs.
const LARGE: usize = 64 * 1024;
