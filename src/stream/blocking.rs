//! One thread, blocking reads and writes.

use std::io::{Read, Write};

use super::{StreamError, block::new_block, read_full};
use crate::{
    DecryptError, OpenedHeader,
    crypto::{
        DefaultEngine, TAG_LEN,
        cobblestone::{CHUNK_LEN, PREFIX_LEN, SEALED_CHUNK_LEN, Sealer},
    },
};

/// Encrypts all of `plaintext` and writes the payload: salt, commitment and
/// chunks. Returns the number of plaintext bytes. Memory: 1 MiB.
///
/// # Errors
///
/// [`StreamError`] when reading or writing fails, or the input passes 4 PiB.
/// What was written until then is not a payload: it lacks its end.
pub fn seal(
    mut sealer: Sealer<DefaultEngine>,
    plaintext: &mut impl Read,
    payload: &mut impl Write,
) -> Result<u64, StreamError> {
    payload.write_all(sealer.prefix()).map_err(StreamError::Write)?;
    // Each plaintext chunk is read where its ciphertext will stand.
    let mut block = new_block(BLOCK_CHUNKS);
    let mut total = 0;
    loop {
        let mut filled = 0;
        let mut last = false;
        for slot in block.chunks_exact_mut(SEALED_CHUNK_LEN) {
            let len = read_full(plaintext, &mut slot[..CHUNK_LEN])?;
            sealer.seal_next(&mut slot[..len + TAG_LEN])?;
            total += len as u64;
            filled += len + TAG_LEN;
            last = len < CHUNK_LEN;
            if last {
                break;
            }
        }
        payload.write_all(&block[..filled]).map_err(StreamError::Write)?;
        if last {
            payload.flush().map_err(StreamError::Write)?;
            return Ok(total);
        }
    }
}

/// Decrypts the payload of `opened` and writes the plaintext. Returns its
/// length in bytes. Each chunk is written only after it was authenticated.
/// Memory: 1 MiB.
///
/// # Errors
///
/// [`StreamError`] when reading or writing fails; with
/// [`DecryptError::NotAuthentic`] inside when the payload was changed, cut or
/// extended. What was written until then is authentic but incomplete.
pub fn open(
    opened: &OpenedHeader,
    payload: &mut impl Read,
    plaintext: &mut impl Write,
) -> Result<u64, StreamError> {
    let mut prefix = [0; PREFIX_LEN];
    if read_full(payload, &mut prefix)? < PREFIX_LEN {
        return Err(DecryptError::NotAuthentic.into());
    }
    let opener = opened.payload(&prefix).map_err(DecryptError::from)?;
    let mut block = new_block(BLOCK_CHUNKS);
    let mut index = 0;
    let mut total = 0;
    loop {
        let read = read_full(payload, &mut block)?;
        let mut last = false;
        for chunk in block[..read].chunks_mut(SEALED_CHUNK_LEN) {
            opener.open_chunk(index, chunk).map_err(DecryptError::from)?;
            index += 1;
            last = chunk.len() < SEALED_CHUNK_LEN;
            let message = &chunk[..chunk.len() - TAG_LEN];
            plaintext.write_all(message).map_err(StreamError::Write)?;
            total += message.len() as u64;
        }
        if last {
            plaintext.flush().map_err(StreamError::Write)?;
            return Ok(total);
        }
        if read < block.len() {
            // The input ended with a whole chunk: the short last one is missing.
            return Err(DecryptError::NotAuthentic.into());
        }
    }
}

/// Chunks that are read, processed and written at once: 1 MiB.
const BLOCK_CHUNKS: usize = 64;
