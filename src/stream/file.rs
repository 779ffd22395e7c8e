//! File to file: several threads read, work and write at offsets of their own.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use zeroize::Zeroizing;

use super::{
    Parallel, PayloadSealer, ReadAt, StreamError, WriteAt,
    at::{read_full_at, read_full_vectored_at, write_all_at, write_all_vectored_at},
    at_most,
    block::{new_block, open_block, plaintext_slots, plaintext_slots_mut, seal_block},
    layout::{Layout, Payload},
};
use crate::{
    DecryptError, OpenedHeader,
    crypto::cobblestone::{CHUNK_LEN, PREFIX_LEN, SEALED_CHUNK_LEN},
};

impl Parallel<'_> {
    /// Encrypts all of `input` and writes the payload to `output` from offset
    /// `at` on, behind the header that the caller writes. Returns the number of
    /// plaintext bytes.
    ///
    /// # Errors
    ///
    /// [`StreamError`] when reading or writing fails, when the input grows or
    /// shrinks meanwhile, or passes 4 PiB; before anything is written,
    /// [`StreamError::SameFile`] when `output` is the file that `input` is, and
    /// [`StreamError::Offset`] when the payload would pass the last offset.
    /// What was written until then is not a payload, and may have holes.
    pub fn seal_file(
        &self,
        sealer: PayloadSealer,
        input: &(impl ReadAt + Sync + ?Sized),
        output: &(impl WriteAt + Sync + ?Sized),
        at: u64,
    ) -> Result<u64, StreamError> {
        expect_two_files(input, output)?;
        let len = input.size().map_err(StreamError::Read)?;
        let (layout, end) = Layout::to_seal(at, len)?;
        output.set_len(end).map_err(StreamError::Write)?;
        let (sealer, numbers) = sealer.into_parts();
        write_all_at(output, sealer.prefix(), at).map_err(StreamError::Write)?;

        // The last block is never full: it ends with the short chunk.
        let block_chunks = Self::block_chunks(self.thread_count());
        let blocks = layout.full_chunks() / block_chunks as u64 + 1;
        let numbers = Mutex::new(numbers);
        let next = || {
            let numbers = numbers.lock().unwrap_or_else(PoisonError::into_inner).take(block_chunks);
            (numbers.first() <= layout.full_chunks()).then_some(numbers)
        };
        self.for_each_block(blocks, block_chunks, next, |mut numbers, block| {
            let first = numbers.first();
            let start = first * CHUNK_LEN as u64;
            let room = block_chunks * CHUNK_LEN;
            let expected = at_most(len - start, room);
            let mut slots = plaintext_slots_mut(block, expected);
            let read = read_full_vectored_at(input, &mut slots, start).map_err(StreamError::Read)?;
            if read < expected {
                return Err(StreamError::InputChanged { expected: len, now: "fewer" });
            }
            let is_last = expected < room;
            let sealed = seal_block(&sealer, &mut numbers, block, expected, is_last)?;
            write_all_at(output, &block[..sealed], layout.chunk_at(first)).map_err(StreamError::Write)?;
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
    /// length meanwhile; before anything is written, [`StreamError::SameFile`]
    /// when `output` is the file that `input` is; with [`DecryptError::NotAuthentic`] inside when the
    /// payload was changed, cut or extended. `output` then holds some chunks,
    /// each of them authentic, and must not be shown to anybody.
    pub fn open_file(
        &self,
        opened: &OpenedHeader,
        input: &(impl ReadAt + Sync + ?Sized),
        at: u64,
        output: &(impl WriteAt + Sync + ?Sized),
    ) -> Result<u64, StreamError> {
        expect_two_files(input, output)?;
        let size = input.size().map_err(StreamError::Read)?;
        let payload = read_payload(opened, input, at, size)?;
        let layout = &payload.layout;
        output.set_len(layout.plaintext_len).map_err(StreamError::Write)?;
        let (full_chunks, last) = (layout.full_chunks(), &payload.last_chunk);
        write_all_at(output, last, full_chunks * CHUNK_LEN as u64).map_err(StreamError::Write)?;
        self.done(last.len());

        let block_chunks = Self::block_chunks(self.thread_count());
        let blocks = full_chunks.div_ceil(block_chunks as u64);
        let next = AtomicU64::new(0);
        let next = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&index| index < blocks);
        self.for_each_block(blocks, block_chunks, next, |index, block| {
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

    /// Calls `work` for each of the `blocks` that `next` gives, each thread with
    /// a buffer of its own.
    fn for_each_block<T>(
        &self,
        blocks: u64,
        block_chunks: usize,
        next: impl Fn() -> Option<T> + Sync,
        work: impl Fn(T, &mut [u8]) -> Result<(), StreamError> + Sync,
    ) -> Result<(), StreamError> {
        self.work_off(blocks, next, || {
            let mut block = new_block(block_chunks);
            let work = &work;
            move |item| work(item, &mut block)
        })
    }
}

/// Refuses an output that is the input: cutting or writing it destroys what is
/// to be read.
fn expect_two_files(
    input: &(impl ReadAt + ?Sized),
    output: &(impl WriteAt + ?Sized),
) -> Result<(), StreamError> {
    let input = input.identity().map_err(StreamError::Read)?;
    let output = output.identity().map_err(StreamError::Write)?;
    if input.is_some() && input == output { Err(StreamError::SameFile) } else { Ok(()) }
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
