//! Cobblestone-256: C2SP `chunked-encryption@v1` with AES-256-GCM and SHA-512
//! (<https://c2sp.org/chunked-encryption>).
//!
//! ```text
//! ciphertext = salt 24 ‖ commitment 32 ‖ chunk 0 ‖ chunk 1 ‖ … ‖ last chunk
//! chunk      = 16384 bytes of plaintext, encrypted, and a 16-byte tag
//! last chunk = 0 to 16383 bytes of plaintext, encrypted, and a 16-byte tag
//! ```
//!
//! Key, base nonce and commitment of a message come from HKDF-Expand of the
//! input key, a random salt and the context, so that a nonce never repeats
//! and a ciphertext opens under one key only. The last chunk is always
//! shorter than the others: a truncated message is refused without a flag.
//!
//! [`Opener`] exists only after its commitment was checked.

use core::{mem, ops::Range};

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::{Aes256Gcm, Engine, Key256, RandomError, TAG_LEN, Unauthentic};

/// Plaintext bytes of every chunk but the last, which has fewer.
pub const CHUNK_LEN: usize = 16 * 1024;

/// Bytes of an encrypted chunk other than the last.
pub const SEALED_CHUNK_LEN: usize = CHUNK_LEN + TAG_LEN;

/// Bytes before the first chunk: salt and commitment.
pub const PREFIX_LEN: usize = SALT_LEN + COMMITMENT_LEN;

/// Chunks a message may have: 2³⁸, which is 4 PiB.
pub const MAX_CHUNKS: u64 = 1 << 38;

/// Encrypts the chunks of one message, one after the other.
///
/// Made for each message anew, with its own salt. It numbers the chunks itself,
/// so that no nonce is used twice, and ends with the first short chunk. It is
/// not `Clone`: two copies would encrypt two messages under the same nonces.
pub struct Sealer<E: Engine> {
    chunks: ChunkSealer<E>,
    numbers: Numbers,
    finished: bool,
}

impl<E: Engine> Sealer<E> {
    /// A sealer under `input_key` with a fresh random salt. `context` is bound
    /// and not stored.
    ///
    /// # Errors
    ///
    /// [`RandomError`] when the system gives no randomness for the salt.
    pub fn new(input_key: &Key256, context: &[u8]) -> Result<Self, RandomError> {
        let (chunks, numbers) = ChunkSealer::new(input_key, context)?;
        Ok(Self { chunks, numbers, finished: false })
    }

    /// Salt and commitment, which stand before the first chunk.
    #[must_use]
    pub fn prefix(&self) -> &[u8; PREFIX_LEN] {
        self.chunks.prefix()
    }

    /// Encrypts the next chunk from `plaintext` into `out`, which is
    /// [`TAG_LEN`] bytes longer. [`CHUNK_LEN`] bytes of plaintext are a chunk in
    /// the middle; fewer, or none, are the last one, which every message has.
    ///
    /// # Errors
    ///
    /// [`ChunkError`] when a length does not fit, the last chunk was sealed
    /// before or the message has [`MAX_CHUNKS`] already.
    pub fn seal_next_to(&mut self, plaintext: &[u8], out: &mut [u8]) -> Result<(), ChunkError> {
        self.expect_more()?;
        self.chunks.seal_to(&mut self.numbers, plaintext, out)?;
        self.finished = plaintext.len() < CHUNK_LEN;
        Ok(())
    }

    /// Encrypts the next chunk in place: `chunk` holds the plaintext and, at its
    /// end, [`TAG_LEN`] bytes of room for the tag. See
    /// [`seal_next_to`](Self::seal_next_to).
    ///
    /// # Errors
    ///
    /// As `seal_next_to`.
    pub fn seal_next(&mut self, chunk: &mut [u8]) -> Result<(), ChunkError> {
        self.expect_more()?;
        self.chunks.seal(&mut self.numbers, chunk)?;
        self.finished = chunk.len() < SEALED_CHUNK_LEN;
        Ok(())
    }

    fn expect_more(&self) -> Result<(), ChunkError> {
        if self.finished { Err(ChunkError::Finished) } else { Ok(()) }
    }
}

/// Encrypts the chunks of one message in any order, on several threads at once.
///
/// It has no counter: each chunk uses up one of the [`Numbers`] that were made
/// with it, so that none seals twice.
pub(crate) struct ChunkSealer<E: Engine> {
    chunks: Chunks<E>,
    prefix: [u8; PREFIX_LEN],
}

impl<E: Engine> ChunkSealer<E> {
    /// With a fresh random salt.
    fn new(input_key: &Key256, context: &[u8]) -> Result<(Self, Numbers), RandomError> {
        let mut salt = [0; SALT_LEN];
        E::fill_random(&mut salt)?;
        Ok(Self::with_salt(input_key, context, salt))
    }

    /// For callers that draw all their randomness at once. A salt must never be
    /// used twice under one key.
    pub(crate) fn with_salt(input_key: &Key256, context: &[u8], salt: [u8; SALT_LEN]) -> (Self, Numbers) {
        let (chunks, commitment) = Chunks::derive(input_key, context, &salt);
        let mut prefix = [0; PREFIX_LEN];
        prefix[..SALT_LEN].copy_from_slice(&salt);
        prefix[SALT_LEN..].copy_from_slice(&commitment);
        (Self { chunks, prefix }, Numbers(0..MAX_CHUNKS))
    }

    pub(crate) fn prefix(&self) -> &[u8; PREFIX_LEN] {
        &self.prefix
    }

    /// Encrypts the chunk of the next of `numbers`.
    pub(crate) fn seal_to(
        &self,
        numbers: &mut Numbers,
        plaintext: &[u8],
        out: &mut [u8],
    ) -> Result<(), ChunkError> {
        if plaintext.len() > CHUNK_LEN || out.len() != plaintext.len() + TAG_LEN {
            return Err(ChunkError::Length);
        }
        self.chunks.gcm.seal_to(&self.next_nonce(numbers)?, &[], plaintext, out);
        Ok(())
    }

    /// As [`seal_to`](Self::seal_to), in place.
    pub(crate) fn seal(&self, numbers: &mut Numbers, chunk: &mut [u8]) -> Result<(), ChunkError> {
        if chunk.len() > SEALED_CHUNK_LEN {
            return Err(ChunkError::Length);
        }
        let (message, tag) = chunk.split_last_chunk_mut::<TAG_LEN>().ok_or(ChunkError::Length)?;
        *tag = self.chunks.gcm.seal(&self.next_nonce(numbers)?, &[], message);
        Ok(())
    }

    fn next_nonce(&self, numbers: &mut Numbers) -> Result<[u8; NONCE_LEN], ChunkError> {
        self.chunks.nonce(numbers.0.next().ok_or(ChunkError::TooManyChunks)?)
    }
}

/// Numbers of chunks that follow each other, none of them used yet. Made with
/// their [`ChunkSealer`] alone, and not `Clone`.
pub(crate) struct Numbers(Range<u64>);

impl Numbers {
    /// Takes the first `count` of them away; fewer when there are not so many.
    pub(crate) fn take(&mut self, count: usize) -> Self {
        let end = self.0.start.saturating_add(count as u64).min(self.0.end);
        Self(mem::replace(&mut self.0.start, end)..end)
    }

    /// The number that the next chunk gets.
    pub(crate) fn first(&self) -> u64 {
        self.0.start
    }
}

/// Decrypts the chunks of one message whose commitment was found right.
pub struct Opener<E: Engine> {
    chunks: Chunks<E>,
}

impl<E: Engine> Opener<E> {
    /// Derives the keys of the message that begins with `prefix` and checks
    /// its commitment in constant time.
    ///
    /// # Errors
    ///
    /// [`Unauthentic`] when the key, the context or the prefix is not the one
    /// of the encryption.
    pub fn new(input_key: &Key256, context: &[u8], prefix: &[u8; PREFIX_LEN]) -> Result<Self, Unauthentic> {
        let (salt, commitment) = prefix.split_at(SALT_LEN);
        let mut salt_bytes = [0; SALT_LEN];
        salt_bytes.copy_from_slice(salt);
        let (chunks, expected) = Chunks::derive(input_key, context, &salt_bytes);
        if bool::from(expected.as_slice().ct_eq(commitment)) { Ok(Self { chunks }) } else { Err(Unauthentic) }
    }

    /// Decrypts chunk `index` in place. The first `chunk.len() - 16` bytes
    /// become the plaintext. A chunk shorter than [`SEALED_CHUNK_LEN`] is the
    /// last one, and the message must end with such a chunk: the caller checks
    /// that, as [`open`] and [`stream`](crate::stream) do.
    ///
    /// # Errors
    ///
    /// [`Unauthentic`] when the chunk was changed, moved or cut; it is all
    /// zero then.
    pub fn open_chunk(&self, index: u64, chunk: &mut [u8]) -> Result<(), Unauthentic> {
        match self.chunks.nonce(index) {
            Ok(nonce) if chunk.len() <= SEALED_CHUNK_LEN => self.chunks.gcm.open(&nonce, &[], chunk),
            _ => {
                chunk.zeroize();
                Err(Unauthentic)
            }
        }
    }

    /// Decrypts chunk `index` from `sealed` into `out`, which is [`TAG_LEN`]
    /// bytes shorter. See [`open_chunk`](Self::open_chunk).
    ///
    /// # Errors
    ///
    /// [`Unauthentic`], as `open_chunk`; `out` is all zero then.
    pub fn open_chunk_to(&self, index: u64, sealed: &[u8], out: &mut [u8]) -> Result<(), Unauthentic> {
        match self.chunks.nonce(index) {
            Ok(nonce) if sealed.len() <= SEALED_CHUNK_LEN && sealed.len() == out.len() + TAG_LEN => {
                self.chunks.gcm.open_to(&nonce, &[], sealed, out)
            }
            _ => {
                out.zeroize();
                Err(Unauthentic)
            }
        }
    }
}

/// Encrypts a whole message in memory: [`sealed_len`] bytes.
///
/// # Errors
///
/// [`RandomError`] when the system gives no randomness for the salt.
pub fn seal<E: Engine>(input_key: &Key256, context: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, RandomError> {
    let (sealer, numbers) = ChunkSealer::<E>::new(input_key, context)?;
    let mut sealed = Vec::with_capacity(sealed_len(plaintext.len()));
    seal_after(&sealer, numbers, plaintext, &mut sealed);
    Ok(sealed)
}

/// Appends a whole message to `out`, under all the numbers that the sealer has.
pub(crate) fn seal_after<E: Engine>(
    sealer: &ChunkSealer<E>,
    numbers: Numbers,
    plaintext: &[u8],
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(sealer.prefix());
    let start = out.len();
    out.resize(start + sealed_len(plaintext.len()) - PREFIX_LEN, 0);
    let (full, last) = plaintext.as_chunks::<CHUNK_LEN>();
    let (sealed_full, sealed_last) = out[start..].as_chunks_mut::<SEALED_CHUNK_LEN>();
    // A message in memory is far below 2³⁸ chunks, so the numbers do not run out.
    let chunks = full.iter().map(<[u8; CHUNK_LEN]>::as_slice).chain([last]);
    let outputs = sealed_full.iter_mut().map(<[u8; SEALED_CHUNK_LEN]>::as_mut_slice).chain([sealed_last]);
    for ((number, chunk), out) in numbers.0.zip(chunks).zip(outputs) {
        sealer.chunks.gcm.seal_to(&nonce(&sealer.chunks.base_nonce, number), &[], chunk, out);
    }
}

/// Decrypts a whole message in memory.
///
/// # Errors
///
/// [`Unauthentic`] when the message is truncated, extended or changed, or the
/// key or context is another one. No plaintext leaves then: what was
/// decrypted is wiped.
pub fn open<E: Engine>(
    input_key: &Key256,
    context: &[u8],
    ciphertext: &[u8],
) -> Result<Vec<u8>, Unauthentic> {
    let (prefix, chunks) = ciphertext.split_first_chunk::<PREFIX_LEN>().ok_or(Unauthentic)?;
    open_chunks(&Opener::<E>::new(input_key, context, prefix)?, chunks)
}

/// Decrypts all the chunks of a message.
pub(crate) fn open_chunks<E: Engine>(opener: &Opener<E>, sealed: &[u8]) -> Result<Vec<u8>, Unauthentic> {
    let (full, last) = sealed.as_chunks::<SEALED_CHUNK_LEN>();
    // A message ends with a short chunk, at the least a tag.
    let last_len = last.len().checked_sub(TAG_LEN).ok_or(Unauthentic)?;
    let mut plaintext = Zeroizing::new(vec![0; full.len() * CHUNK_LEN + last_len]);
    let (plain_full, plain_last) = plaintext.as_chunks_mut::<CHUNK_LEN>();
    let mut index = 0;
    for (chunk, out) in full.iter().zip(plain_full) {
        opener.open_chunk_to(index, chunk, out)?;
        index += 1;
    }
    opener.open_chunk_to(index, last, plain_last)?;
    Ok(mem::take(&mut *plaintext))
}

/// Bytes of the ciphertext of `plaintext_len` bytes: `usize::MAX`, as which no
/// buffer is long, where that passes it.
#[must_use]
pub const fn sealed_len(plaintext_len: usize) -> usize {
    plaintext_len.saturating_add(PREFIX_LEN + (plaintext_len / CHUNK_LEN + 1) * TAG_LEN)
}

/// Bytes of plaintext in a ciphertext of `sealed_len` bytes, or `None` when no
/// message has that length: it was truncated.
#[must_use]
pub const fn opened_len(sealed_len: u64) -> Option<u64> {
    let Some(chunks) = sealed_len.checked_sub(PREFIX_LEN as u64) else { return None };
    let (full, last) = (chunks / SEALED_CHUNK_LEN as u64, chunks % SEALED_CHUNK_LEN as u64);
    match last.checked_sub(TAG_LEN as u64) {
        Some(last) if full < MAX_CHUNKS => Some(full * CHUNK_LEN as u64 + last),
        _ => None,
    }
}

/// A chunk that cannot be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// The chunk is longer than [`CHUNK_LEN`], or its buffer does not fit.
    #[error("a chunk has at most 16384 bytes and a buffer of 16 bytes more")]
    Length,
    /// A chunk shorter than [`CHUNK_LEN`] was sealed before: it was the last.
    #[error("the last chunk of the message was sealed already")]
    Finished,
    /// The message has 2³⁸ chunks already.
    #[error("a message has at most 2^38 chunks (4 PiB)")]
    TooManyChunks,
}

/// Key and base nonce of a message.
struct Chunks<E: Engine> {
    gcm: E::Gcm,
    base_nonce: [u8; NONCE_LEN],
}

impl<E: Engine> Chunks<E> {
    fn derive(input_key: &Key256, context: &[u8], salt: &[u8; SALT_LEN]) -> (Self, [u8; COMMITMENT_LEN]) {
        let mut okm = Zeroizing::new([0; KEY_LEN + NONCE_LEN + COMMITMENT_LEN]);
        E::hkdf_expand_sha512(input_key.expose(), &[LABEL, salt, context], okm.as_mut_slice());
        let mut key = Zeroizing::new([0; KEY_LEN]);
        key.copy_from_slice(&okm[..KEY_LEN]);
        let mut base_nonce = [0; NONCE_LEN];
        base_nonce.copy_from_slice(&okm[KEY_LEN..KEY_LEN + NONCE_LEN]);
        let mut commitment = [0; COMMITMENT_LEN];
        commitment.copy_from_slice(&okm[KEY_LEN + NONCE_LEN..]);
        (Self { gcm: E::Gcm::new(&key), base_nonce }, commitment)
    }

    fn nonce(&self, index: u64) -> Result<[u8; NONCE_LEN], ChunkError> {
        if index >= MAX_CHUNKS {
            return Err(ChunkError::TooManyChunks);
        }
        Ok(nonce(&self.base_nonce, index))
    }
}

/// The base nonce with the chunk number, big-endian, combined into its end by XOR.
fn nonce(base: &[u8; NONCE_LEN], index: u64) -> [u8; NONCE_LEN] {
    let mut nonce = *base;
    for (byte, counter) in nonce[NONCE_LEN - 8..].iter_mut().zip(index.to_be_bytes()) {
        *byte ^= counter;
    }
    nonce
}

/// Bytes of a salt.
pub(crate) const SALT_LEN: usize = 24;
const COMMITMENT_LEN: usize = 32;
const KEY_LEN: usize = 32;
const NONCE_LEN: usize = 12;
const LABEL: &[u8] = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0";

#[cfg(test)]
mod tests;
