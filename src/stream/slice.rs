//! A message in memory, on several threads.

use std::sync::{Mutex, PoisonError};

use zeroize::Zeroize;

use super::{Parallel, StreamError, parallel::MAX_BLOCK_CHUNKS};
use crate::{
    DecryptError, OpenedHeader,
    crypto::{
        DefaultEngine, TAG_LEN,
        cobblestone::{self, CHUNK_LEN, Opener, PREFIX_LEN, SEALED_CHUNK_LEN, Sealer},
    },
};

impl Parallel<'_> {
    /// Encrypts `plaintext` to `out`, which has
    /// [`sealed_len`](cobblestone::sealed_len) bytes for it.
    ///
    /// # Errors
    ///
    /// [`StreamError::OutputLength`] when `out` has another length;
    /// [`StreamError::Thread`] when no thread could be started.
    #[expect(clippy::needless_pass_by_value, reason = "a sealer is for one message")]
    pub fn seal_slice(
        &self,
        sealer: Sealer<DefaultEngine>,
        plaintext: &[u8],
        out: &mut [u8],
    ) -> Result<(), StreamError> {
        expect_len(out, cobblestone::sealed_len(plaintext.len()))?;
        let (prefix, chunks) = out.split_at_mut(PREFIX_LEN);
        prefix.copy_from_slice(sealer.prefix());
        let blocks = chunks.chunks_mut(SEALED_BLOCK_LEN).enumerate();
        let count = blocks.len() as u64;
        let blocks = Mutex::new(blocks);
        let seal = |(block, sealed): (usize, &mut [u8])| {
            for (chunk, out) in (block * MAX_BLOCK_CHUNKS..).zip(sealed.chunks_mut(SEALED_CHUNK_LEN)) {
                let start = chunk * CHUNK_LEN;
                let message = &plaintext[start..start + out.len() - TAG_LEN];
                sealer.seal_chunk_to(chunk as u64, message, out)?;
                self.done(message.len());
            }
            Ok(())
        };
        self.work_off(count, || next(&blocks), || seal)
    }

    /// Decrypts the payload of `opened` to `out`, which has
    /// [`opened_len`](cobblestone::opened_len) bytes for it.
    ///
    /// # Errors
    ///
    /// [`DecryptError::NotAuthentic`] inside when the payload was changed, cut
    /// or extended; [`StreamError::OutputLength`] when `out` has another length.
    /// `out` is all zero after an error.
    pub fn open_slice(
        &self,
        opened: &OpenedHeader,
        payload: &[u8],
        out: &mut [u8],
    ) -> Result<(), StreamError> {
        self.open_to(opened, payload, out).inspect_err(|_| out.zeroize())
    }

    fn open_to(&self, opened: &OpenedHeader, payload: &[u8], out: &mut [u8]) -> Result<(), StreamError> {
        let len = cobblestone::opened_len(payload.len() as u64).and_then(|len| usize::try_from(len).ok());
        let (prefix, sealed) = payload.split_first_chunk::<PREFIX_LEN>().ok_or(DecryptError::NotAuthentic)?;
        expect_len(out, len.ok_or(DecryptError::NotAuthentic)?)?;
        let opener: Opener<_> = opened.payload(prefix).map_err(DecryptError::from)?;
        // The last sealed block may be a tag alone, with no plaintext left for it.
        let plain = out.chunks_mut(MAX_BLOCK_CHUNKS * CHUNK_LEN).chain([&mut [][..]]);
        let blocks = Mutex::new(sealed.chunks(SEALED_BLOCK_LEN).zip(plain).enumerate());
        let count = sealed.len().div_ceil(SEALED_BLOCK_LEN) as u64;
        let open = |(block, (sealed, plain)): (usize, (&[u8], &mut [u8]))| {
            let mut plain = plain.chunks_mut(CHUNK_LEN);
            for (chunk, sealed) in (block * MAX_BLOCK_CHUNKS..).zip(sealed.chunks(SEALED_CHUNK_LEN)) {
                let out = plain.next().unwrap_or_default();
                opener.open_chunk_to(chunk as u64, sealed, out).map_err(DecryptError::from)?;
                self.done(out.len());
            }
            Ok(())
        };
        self.work_off(count, || next(&blocks), || open)
    }
}

fn expect_len(out: &[u8], expected: usize) -> Result<(), StreamError> {
    if out.len() == expected {
        Ok(())
    } else {
        Err(StreamError::OutputLength { expected, actual: out.len() })
    }
}

fn next<T>(items: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    items.lock().unwrap_or_else(PoisonError::into_inner).next()
}

const SEALED_BLOCK_LEN: usize = MAX_BLOCK_CHUNKS * SEALED_CHUNK_LEN;
