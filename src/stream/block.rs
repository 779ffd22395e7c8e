//! A block: chunks that are read, processed and written at once.
//!
//! Chunk `i` of a block has the slot of bytes `i × 16400 ..`. Its plaintext
//! stands at the front of the slot and its tag behind, so that it is encrypted
//! and decrypted where it stands and sealed chunks follow each other without
//! a gap.

use std::io::{IoSlice, IoSliceMut, Read};

use zeroize::Zeroizing;

use super::StreamError;
use crate::{
    crypto::{
        DefaultEngine, TAG_LEN, Unauthentic,
        cobblestone::{CHUNK_LEN, ChunkError, ChunkSealer, Numbers, Opener, SEALED_CHUNK_LEN},
    },
    whole_io::read_full,
};

/// A buffer of whole slots. Wiped when dropped: it holds plaintext.
pub(super) type Block = Zeroizing<Vec<u8>>;

/// A block of `chunks` slots.
pub(super) fn new_block(chunks: usize) -> Block {
    Zeroizing::new(vec![0; chunks * SEALED_CHUNK_LEN])
}

/// Where the first `plaintext_len` bytes of plaintext stand, in order.
pub(super) fn plaintext_slots_mut(block: &mut [u8], plaintext_len: usize) -> Vec<IoSliceMut<'_>> {
    block
        .chunks_exact_mut(SEALED_CHUNK_LEN)
        .enumerate()
        .map_while(|(slot, bytes)| {
            plaintext_in(slot, plaintext_len).map(|len| IoSliceMut::new(&mut bytes[..len]))
        })
        .collect()
}

/// As [`plaintext_slots_mut`], to be written.
pub(super) fn plaintext_slots(block: &[u8], plaintext_len: usize) -> Vec<IoSlice<'_>> {
    block
        .chunks_exact(SEALED_CHUNK_LEN)
        .enumerate()
        .map_while(|(slot, bytes)| plaintext_in(slot, plaintext_len).map(|len| IoSlice::new(&bytes[..len])))
        .collect()
}

fn plaintext_in(slot: usize, plaintext_len: usize) -> Option<usize> {
    plaintext_len.checked_sub(slot * CHUNK_LEN).filter(|&rest| rest > 0).map(|rest| rest.min(CHUNK_LEN))
}

/// Fills the slots of a block with plaintext, or as many as there is plaintext
/// for, and returns its length.
///
/// Slot by slot: `read_vectored` may be the one of the trait, which reads into
/// the first buffer alone, and a count that passes that buffer would be believed.
pub(super) fn read_plaintext(reader: &mut impl Read, block: &mut [u8]) -> Result<usize, StreamError> {
    let mut len = 0;
    for slot in block.chunks_exact_mut(SEALED_CHUNK_LEN) {
        let read = read_full(reader, &mut slot[..CHUNK_LEN]).map_err(StreamError::Read)?;
        len += read;
        if read < CHUNK_LEN {
            break;
        }
    }
    Ok(len)
}

/// How many bytes of plaintext a block has room for.
pub(super) fn room(block: &[u8]) -> usize {
    block.len() / SEALED_CHUNK_LEN * CHUNK_LEN
}

/// Encrypts the `plaintext_len` bytes in the slots of a block as the chunks of
/// the first of `numbers`. If it `is_last`, a short chunk, possibly empty, ends
/// it. Returns how many sealed bytes stand at its front.
pub(super) fn seal_block(
    sealer: &ChunkSealer<DefaultEngine>,
    numbers: &mut Numbers,
    block: &mut [u8],
    plaintext_len: usize,
    is_last: bool,
) -> Result<usize, ChunkError> {
    let full = plaintext_len / CHUNK_LEN;
    let mut sealed = 0;
    for chunk in block[..full * SEALED_CHUNK_LEN].chunks_exact_mut(SEALED_CHUNK_LEN) {
        sealer.seal(numbers, chunk)?;
        sealed += SEALED_CHUNK_LEN;
    }
    if is_last {
        let len = plaintext_len % CHUNK_LEN + TAG_LEN;
        sealer.seal(numbers, &mut block[sealed..sealed + len])?;
        sealed += len;
    }
    Ok(sealed)
}

/// Decrypts the sealed chunks of `block`, the first of which is number `first`.
/// If it `is_last`, it must end with a short chunk: without one it was truncated.
///
/// Returns how many bytes of plaintext stand in its slots, all of them authentic,
/// and whether that was all of it.
pub(super) fn open_block(
    opener: &Opener<DefaultEngine>,
    first: u64,
    block: &mut [u8],
    is_last: bool,
) -> (usize, Result<(), Unauthentic>) {
    let truncated = is_last && block.len().is_multiple_of(SEALED_CHUNK_LEN);
    let mut plaintext_len = 0;
    for (index, chunk) in (first..).zip(block.chunks_mut(SEALED_CHUNK_LEN)) {
        if let Err(error) = opener.open_chunk(index, chunk) {
            return (plaintext_len, Err(error));
        }
        plaintext_len += chunk.len() - TAG_LEN;
    }
    (plaintext_len, if truncated { Err(Unauthentic) } else { Ok(()) })
}
