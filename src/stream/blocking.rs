//! One thread, blocking reads and writes.

use std::io::{Read, Write};

use super::{
    PayloadSealer, StreamError,
    arriving::Arriving,
    block::{new_block, open_block, plaintext_slots, read_plaintext, room, seal_block},
    parallel::MAX_BLOCK_CHUNKS,
};
use crate::{
    DecryptError, OpenedHeader,
    crypto::cobblestone::{PREFIX_LEN, SEALED_CHUNK_LEN},
    whole_io::{read_full, write_all},
};

/// Encrypts all of `plaintext` and writes the payload: salt, commitment and
/// chunks. Returns the number of plaintext bytes. Memory: 1 MiB.
///
/// # Errors
///
/// [`StreamError`] when reading or writing fails, or the input passes 4 PiB.
/// What was written until then is not a payload: it lacks its end.
pub fn seal(
    sealer: PayloadSealer,
    plaintext: &mut impl Read,
    payload: &mut impl Write,
) -> Result<u64, StreamError> {
    let (sealer, mut numbers) = sealer.into_parts();
    write_all(payload, sealer.prefix()).map_err(StreamError::Write)?;
    let mut block = new_block(MAX_BLOCK_CHUNKS);
    let mut total = 0;
    loop {
        let len = read_plaintext(plaintext, &mut block)?;
        // A full block is never the last: an empty one may follow it.
        let is_last = len < room(&block);
        let sealed = seal_block(&sealer, &mut numbers, &mut block, len, is_last)?;
        write_all(payload, &block[..sealed]).map_err(StreamError::Write)?;
        total += len as u64;
        if is_last {
            break;
        }
    }
    payload.flush().map_err(StreamError::Write)?;
    Ok(total)
}

/// Decrypts the payload of `opened` and writes the plaintext. Returns its
/// length in bytes. Each chunk is written only after it was authenticated, and
/// as soon as it has arrived: an error is not held back by a source that is
/// silent after it. Memory: 1 MiB.
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
    if read_full(payload, &mut prefix).map_err(StreamError::Read)? < PREFIX_LEN {
        return Err(DecryptError::NotAuthentic.into());
    }
    let opener = opened.payload(&prefix).map_err(DecryptError::from)?;
    let mut payload = Arriving::new(payload);
    let mut block = new_block(MAX_BLOCK_CHUNKS);
    let (mut first, mut total) = (0, 0);
    loop {
        let (read, is_last) = payload.read_chunks(&mut block)?;
        let (len, opened) = open_block(&opener, first, &mut block[..read], is_last);
        for chunk in plaintext_slots(&block, len) {
            write_all(plaintext, &chunk).map_err(StreamError::Write)?;
        }
        total += len as u64;
        opened.map_err(DecryptError::from)?;
        if is_last {
            break;
        }
        first += (read / SEALED_CHUNK_LEN) as u64;
    }
    plaintext.flush().map_err(StreamError::Write)?;
    Ok(total)
}
