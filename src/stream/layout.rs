//! Where the chunks of a payload stand, and the one way to know its length.

use std::ops::Range;

use zeroize::Zeroizing;

use super::{StreamError, at_most};
use crate::{
    DecryptError, OpenedHeader,
    crypto::{
        DefaultEngine, TAG_LEN,
        cobblestone::{self, CHUNK_LEN, ChunkError, MAX_CHUNKS, Opener, PREFIX_LEN, SEALED_CHUNK_LEN},
    },
};

/// Where everything stands if the payload is what its length says.
pub(super) struct Layout {
    pub(super) plaintext_len: u64,
    chunks_at: u64,
}

impl Layout {
    /// Of a payload from offset `at` to `size`.
    ///
    /// # Errors
    ///
    /// [`DecryptError::NotAuthentic`] when no payload has that length.
    pub(super) fn new(at: u64, size: u64) -> Result<Self, DecryptError> {
        let plaintext_len =
            size.checked_sub(at).and_then(cobblestone::opened_len).ok_or(DecryptError::NotAuthentic)?;
        let chunks_at = at.checked_add(PREFIX_LEN as u64).ok_or(DecryptError::NotAuthentic)?;
        Ok(Self { plaintext_len, chunks_at })
    }

    /// Of the payload of `plaintext_len` bytes that begins at offset `at`, and
    /// the offset at which it ends.
    ///
    /// # Errors
    ///
    /// [`ChunkError::TooManyChunks`] when it passes 4 PiB, and
    /// [`StreamError::Offset`] when it passes the last offset.
    pub(super) fn to_seal(at: u64, plaintext_len: u64) -> Result<(Self, u64), StreamError> {
        let full_chunks = plaintext_len / CHUNK_LEN as u64;
        if full_chunks >= MAX_CHUNKS {
            return Err(ChunkError::TooManyChunks.into());
        }
        let sealed_len = plaintext_len + (full_chunks + 1) * TAG_LEN as u64;
        let chunks_at = at.checked_add(PREFIX_LEN as u64);
        let ends = chunks_at.and_then(|chunks_at| Some((chunks_at, chunks_at.checked_add(sealed_len)?)));
        let (chunks_at, end) = ends.ok_or(StreamError::Offset { at })?;
        Ok((Self { plaintext_len, chunks_at }, end))
    }

    /// Chunks before the last one.
    pub(super) fn full_chunks(&self) -> u64 {
        self.plaintext_len / CHUNK_LEN as u64
    }

    /// Where sealed chunk `index` begins.
    pub(super) fn chunk_at(&self, index: u64) -> u64 {
        self.chunks_at + index * SEALED_CHUNK_LEN as u64
    }

    pub(super) fn last_chunk_at(&self) -> u64 {
        self.chunk_at(self.full_chunks())
    }

    /// Bytes of the last chunk, sealed.
    pub(super) fn last_chunk_len(&self) -> usize {
        chunk_of(self.plaintext_len).1 + TAG_LEN
    }
}

/// A payload whose commitment and last chunk, and so its length, are authentic.
pub(super) struct Payload {
    pub(super) layout: Layout,
    pub(super) opener: Opener<DefaultEngine>,
    /// The plaintext of the short chunk at the end.
    pub(super) last_chunk: Zeroizing<Vec<u8>>,
}

impl Payload {
    /// Checks the commitment in `prefix` and opens the last chunk.
    pub(super) fn open(
        opened: &OpenedHeader,
        layout: Layout,
        prefix: &[u8; PREFIX_LEN],
        mut last_chunk: Zeroizing<Vec<u8>>,
    ) -> Result<Self, StreamError> {
        let opener = opened.payload(prefix).map_err(DecryptError::from)?;
        opener.open_chunk(layout.full_chunks(), &mut last_chunk).map_err(DecryptError::from)?;
        let len = last_chunk.len() - TAG_LEN;
        last_chunk.truncate(len);
        Ok(Self { layout, opener, last_chunk })
    }
}

/// The number of the chunk that holds `position`, and where in it.
pub(super) fn chunk_of(position: u64) -> (u64, usize) {
    (position / CHUNK_LEN as u64, at_most(position % CHUNK_LEN as u64, CHUNK_LEN))
}

/// The length of a range that lies within `len` bytes.
pub(super) fn check_range(range: &Range<u64>, len: u64) -> Result<usize, StreamError> {
    let refuse = || StreamError::Range { start: range.start, end: range.end, len };
    let count = range.end.checked_sub(range.start).filter(|_| range.end <= len).ok_or_else(refuse)?;
    usize::try_from(count).map_err(|_| refuse())
}
