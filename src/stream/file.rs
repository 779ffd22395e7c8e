//! File to file: several threads read, work and write at offsets of their own.

use std::sync::atomic::{AtomicU64, Ordering};

use zeroize::Zeroizing;

use super::{
    Parallel, ReadAt, StreamError, WriteAt,
    at::{read_full_at, read_full_vectored_at, write_all_at, write_all_vectored_at},
    at_most,
    block::{new_block, open_block, plaintext_slots, plaintext_slots_mut, seal_block},
    layout::{Layout, Payload},
};
use crate::{
    DecryptError, OpenedHeader,
    crypto::{
        DefaultEngine, TAG_LEN,
        cobblestone::{CHUNK_LEN, ChunkError, MAX_CHUNKS, PREFIX_LEN, SEALED_CHUNK_LEN, Sealer},
    },
};

impl Parallel<'_> {
    /// Encrypts all of `input` and writes the payload to `output` from offset
    /// `at` on, behind the header that the caller writes. Returns the number of
    /// plaintext bytes.
    ///
    /// # Errors
    ///
    /// [`StreamError`] when reading or writing fails, when the input grows or
    /// shrinks meanwhile, or passes 4 PiB. What was written until then is
    /// not a payload, and may have holes.
    #[expect(clippy::needless_pass_by_value, reason = "a sealer is for one message")]
    pub fn seal_file(
        &self,
        sealer: Sealer<DefaultEngine>,
        input: &(impl ReadAt + Sync + ?Sized),
        output: &(impl WriteAt + Sync + ?Sized),
        at: u64,
    ) -> Result<u64, StreamError> {
        let len = input.size().map_err(StreamError::Read)?;
        let full_chunks = len / CHUNK_LEN as u64;
        if full_chunks >= MAX_CHUNKS {
            return Err(ChunkError::TooManyChunks.into());
        }
        let chunks_at = at + PREFIX_LEN as u64;
        let sealed_len = len + (full_chunks + 1) * TAG_LEN as u64;
        output.reserve(chunks_at + sealed_len).map_err(StreamError::Write)?;
        write_all_at(output, sealer.prefix(), at).map_err(StreamError::Write)?;

        // The last block is never full: it ends with the short chunk.
        let block_chunks = Self::block_chunks(self.thread_count());
        let blocks = full_chunks / block_chunks as u64 + 1;
        self.for_each_block(blocks, block_chunks, |index, block| {
            let first = index * block_chunks as u64;
            let start = first * CHUNK_LEN as u64;
            let is_last = index + 1 == blocks;
            let expected = at_most(len - start, block_chunks * CHUNK_LEN);
            let mut slots = plaintext_slots_mut(block, expected);
            let read = read_full_vectored_at(input, &mut slots, start).map_err(StreamError::Read)?;
            if read < expected {
                return Err(StreamError::InputChanged { expected: len, now: "fewer" });
            }
            let sealed = seal_block(&sealer, first, block, expected, is_last)?;
            write_all_at(output, &block[..sealed], chunks_at + first * SEALED_CHUNK_LEN as u64)
                .map_err(StreamError::Write)?;
            self.done(expected);
            Ok(())
        })?;
        expect_end(input, len)?;
        Ok(len)
    }

    /// Decrypts the payload of `opened`, which stands in `input` from offset
    /// `at` to the end, and writes the plaintext to `output` from its beginning.
    /// Returns its length in bytes.
    ///
    /// The last chunk is opened first, so that a truncated input is refused
    /// before anything else is done.
    ///
    /// # Errors
    ///
    /// [`StreamError`] when reading or writing fails or the input changes its
    /// length meanwhile; with [`DecryptError::NotAuthentic`] inside when the
    /// payload was changed, cut or extended. `output` then holds some chunks,
    /// each of them authentic, and must not be shown to anybody.
    pub fn open_file(
        &self,
        opened: &OpenedHeader,
        input: &(impl ReadAt + Sync + ?Sized),
        at: u64,
        output: &(impl WriteAt + Sync + ?Sized),
    ) -> Result<u64, StreamError> {
        let size = input.size().map_err(StreamError::Read)?;
        let payload = read_payload(opened, input, at, size)?;
        let layout = &payload.layout;
        output.reserve(layout.plaintext_len).map_err(StreamError::Write)?;
        let (full_chunks, last) = (layout.full_chunks(), &payload.last_chunk);
        write_all_at(output, last, full_chunks * CHUNK_LEN as u64).map_err(StreamError::Write)?;
        self.done(last.len());

        let block_chunks = Self::block_chunks(self.thread_count());
        let blocks = full_chunks.div_ceil(block_chunks as u64);
        self.for_each_block(blocks, block_chunks, |index, block| {
            let first = index * block_chunks as u64;
            let chunks = at_most(full_chunks - first, block_chunks);
            let block = &mut block[..chunks * SEALED_CHUNK_LEN];
            let read = read_full_at(input, block, layout.chunk_at(first)).map_err(StreamError::Read)?;
            if read < block.len() {
                return Err(StreamError::InputChanged { expected: size, now: "fewer" });
            }
            let (len, opened) = open_block(&payload.opener, first, block, false);
            opened.map_err(DecryptError::from)?;
            write_all_vectored_at(output, &mut plaintext_slots(block, len), first * CHUNK_LEN as u64)
                .map_err(StreamError::Write)?;
            self.done(len);
            Ok(())
        })?;
        expect_end(input, size)?;
        Ok(layout.plaintext_len)
    }

    /// Calls `work` once for each of `blocks` numbers, each thread with a buffer
    /// of its own.
    fn for_each_block(
        &self,
        blocks: u64,
        block_chunks: usize,
        work: impl Fn(u64, &mut [u8]) -> Result<(), StreamError> + Sync,
    ) -> Result<(), StreamError> {
        let next = AtomicU64::new(0);
        let next = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&index| index < blocks);
        self.work_off(blocks, next, || {
            let mut block = new_block(block_chunks);
            let work = &work;
            move |index| work(index, &mut block)
        })
    }
}

/// Reads and opens commitment and last chunk of the payload from `at` to `size`.
pub(super) fn read_payload(
    opened: &OpenedHeader,
    input: &(impl ReadAt + ?Sized),
    at: u64,
    size: u64,
) -> Result<Payload, StreamError> {
    let layout = Layout::new(at, size)?;
    let mut prefix = [0; PREFIX_LEN];
    let mut last = Zeroizing::new(vec![0; layout.last_chunk_len()]);
    for (out, at) in [(&mut prefix[..], at), (&mut last, layout.last_chunk_at())] {
        if read_full_at(input, out, at).map_err(StreamError::Read)? < out.len() {
            return Err(StreamError::InputChanged { expected: size, now: "fewer" });
        }
    }
    Payload::open(opened, layout, &prefix, last)
}

/// Refuses an input that has more bytes now than the `expected` ones at the
/// beginning.
fn expect_end(input: &(impl ReadAt + ?Sized), expected: u64) -> Result<(), StreamError> {
    match read_full_at(input, &mut [0], expected) {
        Ok(0) => Ok(()),
        Ok(_) => Err(StreamError::InputChanged { expected, now: "more" }),
        Err(error) => Err(StreamError::Read(error)),
    }
}
