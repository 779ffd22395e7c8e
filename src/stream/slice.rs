//! A message in memory, on several threads.

use std::sync::{Mutex, PoisonError};

use zeroize::Zeroizing;

use super::{Parallel, StreamError, parallel::MAX_BLOCK_CHUNKS};
use crate::{
    DecryptError, OpenedHeader,
    crypto::{
        DefaultEngine, TAG_LEN,
        cobblestone::{self, CHUNK_LEN, PREFIX_LEN, SEALED_CHUNK_LEN, Sealer},
    },
};

impl Parallel<'_> {
    /// Encrypts `plaintext` and appends the payload to `out`.
    ///
    /// # Errors
    ///
    /// [`StreamError`] when no thread could be started.
    #[expect(clippy::needless_pass_by_value, reason = "a sealer is for one message")]
    pub fn seal_slice(
        &self,
        sealer: Sealer<DefaultEngine>,
        plaintext: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), StreamError> {
        out.extend_from_slice(sealer.prefix());
        let start = out.len();
        out.resize(start + cobblestone::sealed_len(plaintext.len()) - PREFIX_LEN, 0);
        let blocks = out[start..].chunks_mut(SEALED_BLOCK_LEN).enumerate();
        let count = blocks.len() as u64;
        let blocks = Mutex::new(blocks);
        let sealer = &sealer;
        self.work_off(
            count,
            || next(&blocks),
            || {
                move |(block, sealed): (usize, &mut [u8])| {
                    for (chunk, out) in (block * MAX_BLOCK_CHUNKS..).zip(sealed.chunks_mut(SEALED_CHUNK_LEN))
                    {
                        let start = chunk * CHUNK_LEN;
                        let message = &plaintext[start..start + out.len() - TAG_LEN];
                        sealer.seal_chunk_to(chunk as u64, message, out)?;
                        self.done(message.len());
                    }
                    Ok(())
                }
            },
        )
    }

    /// Decrypts the payload of `opened`.
    ///
    /// # Errors
    ///
    /// [`DecryptError::NotAuthentic`] inside when the payload was changed, cut
    /// or extended. No plaintext leaves then.
    pub fn open_slice(&self, opened: &OpenedHeader, payload: &[u8]) -> Result<Vec<u8>, StreamError> {
        let not_authentic = || StreamError::from(DecryptError::NotAuthentic);
        let len = cobblestone::opened_len(payload.len() as u64).ok_or_else(not_authentic)?;
        let len = usize::try_from(len).map_err(|_| not_authentic())?;
        let (prefix, sealed) = payload.split_first_chunk::<PREFIX_LEN>().ok_or_else(not_authentic)?;
        let opener = &opened.payload(prefix).map_err(DecryptError::from)?;
        let mut plaintext = Zeroizing::new(vec![0; len]);
        // The last sealed block may be a tag alone, with no plaintext left for it.
        let plain_blocks = plaintext.chunks_mut(MAX_BLOCK_CHUNKS * CHUNK_LEN).chain([&mut [][..]]);
        let blocks = sealed.chunks(SEALED_BLOCK_LEN).zip(plain_blocks).enumerate();
        let count = sealed.len().div_ceil(SEALED_BLOCK_LEN) as u64;
        let blocks = Mutex::new(blocks);
        let result = self.work_off(
            count,
            || next(&blocks),
            || {
                move |(block, (sealed, plain)): (usize, (&[u8], &mut [u8]))| {
                    let mut plain = plain.chunks_mut(CHUNK_LEN);
                    for (chunk, sealed) in (block * MAX_BLOCK_CHUNKS..).zip(sealed.chunks(SEALED_CHUNK_LEN)) {
                        let out = plain.next().unwrap_or_default();
                        opener.open_chunk_to(chunk as u64, sealed, out).map_err(DecryptError::from)?;
                        self.done(out.len());
                    }
                    Ok(())
                }
            },
        );
        drop(blocks);
        result?;
        Ok(std::mem::take(&mut *plaintext))
    }
}

fn next<T>(items: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    items.lock().unwrap_or_else(PoisonError::into_inner).next()
}

const SEALED_BLOCK_LEN: usize = MAX_BLOCK_CHUNKS * SEALED_CHUNK_LEN;
