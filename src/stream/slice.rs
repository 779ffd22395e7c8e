//! A message in memory, on several threads.

use std::sync::{Mutex, PoisonError};

use zeroize::Zeroize;

use super::{Parallel, PayloadSealer, StreamError, parallel::MAX_BLOCK_CHUNKS};
use crate::{
    DecryptError, OpenedHeader,
    crypto::cobblestone::{self, CHUNK_LEN, Numbers, Opener, PREFIX_LEN, SEALED_CHUNK_LEN},
};

impl Parallel<'_> {
    /// Encrypts `plaintext` to `out`, which has
    /// [`sealed_len`](cobblestone::sealed_len) bytes for it.
    ///
    /// # Errors
    ///
    /// [`StreamError::OutputLength`] when `out` has another length;
    /// [`StreamError::Thread`] when no thread could be started.
    pub fn seal_slice(
        &self,
        sealer: PayloadSealer,
        plaintext: &[u8],
        out: &mut [u8],
    ) -> Result<(), StreamError> {
        expect_len(out, cobblestone::sealed_len(plaintext.len()))?;
        let (sealer, numbers) = sealer.into_parts();
        let (prefix, sealed) = out.split_at_mut(PREFIX_LEN);
        prefix.copy_from_slice(sealer.prefix());
        // The last block may be a tag alone, with no plaintext left for it.
        let plain = plaintext.chunks(MAX_BLOCK_CHUNKS * CHUNK_LEN).chain([&[][..]]);
        let count = sealed.len().div_ceil(SEALED_BLOCK_LEN) as u64;
        let blocks = Mutex::new((numbers, sealed.chunks_mut(SEALED_BLOCK_LEN).zip(plain)));
        let next = || {
            let (numbers, blocks) = &mut *blocks.lock().unwrap_or_else(PoisonError::into_inner);
            blocks.next().map(|(sealed, plain)| (numbers.take(MAX_BLOCK_CHUNKS), sealed, plain))
        };
        let seal = |(mut numbers, sealed, plain): (Numbers, &mut [u8], &[u8])| {
            let mut plain = plain.chunks(CHUNK_LEN);
            for out in sealed.chunks_mut(SEALED_CHUNK_LEN) {
                let message = plain.next().unwrap_or_default();
                sealer.seal_to(&mut numbers, message, out)?;
                self.done(message.len());
            }
            Ok(())
        };
        self.work_off(count, next, || seal)
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
