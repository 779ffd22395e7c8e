//! One thread, blocking reads and writes.

use std::io::{Read, Write};

use super::{
    StreamError,
    block::{new_block, open_block, plaintext_slots, plaintext_slots_mut, seal_block},
    parallel::MAX_BLOCK_CHUNKS,
    read_full, read_full_vectored,
};
use crate::{
    DecryptError, OpenedHeader,
    crypto::{
        DefaultEngine,
        cobblestone::{CHUNK_LEN, PREFIX_LEN, Sealer},
    },
};

/// Encrypts all of `plaintext` and writes the payload: salt, commitment and
/// chunks. Returns the number of plaintext bytes. Memory: 1 MiB.
///
/// # Errors
///
/// [`StreamError`] when reading or writing fails, or the input passes 4 PiB.
/// What was written until then is not a payload: it lacks its end.
#[expect(clippy::needless_pass_by_value, reason = "a sealer is for one message")]
pub fn seal(
    sealer: Sealer<DefaultEngine>,
    plaintext: &mut impl Read,
    payload: &mut impl Write,
) -> Result<u64, StreamError> {
    payload.write_all(sealer.prefix()).map_err(StreamError::Write)?;
    let mut block = new_block(MAX_BLOCK_CHUNKS);
    let room = MAX_BLOCK_CHUNKS * CHUNK_LEN;
    let mut total = 0;
    for first in (0..).step_by(MAX_BLOCK_CHUNKS) {
        let len = read_full_vectored(plaintext, &mut plaintext_slots_mut(&mut block, room))?;
        // A full block is never the last: an empty one may follow it.
        let is_last = len < room;
        let sealed = seal_block(&sealer, first, &mut block, len, is_last)?;
        payload.write_all(&block[..sealed]).map_err(StreamError::Write)?;
        total += len as u64;
        if is_last {
            break;
        }
    }
    payload.flush().map_err(StreamError::Write)?;
    Ok(total)
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
    let mut block = new_block(MAX_BLOCK_CHUNKS);
    let mut total = 0;
    for first in (0..).step_by(MAX_BLOCK_CHUNKS) {
        let read = read_full(payload, &mut block)?;
        let is_last = read < block.len();
        let (len, opened) = open_block(&opener, first, &mut block[..read], is_last);
        for chunk in plaintext_slots(&block, len) {
            plaintext.write_all(&chunk).map_err(StreamError::Write)?;
        }
        total += len as u64;
        opened.map_err(DecryptError::from)?;
        if is_last {
            break;
        }
    }
    plaintext.flush().map_err(StreamError::Write)?;
    Ok(total)
}
