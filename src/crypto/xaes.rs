//! XAES-256-GCM: AES-256-GCM with 24-byte random nonces
//! (<https://c2sp.org/XAES-256-GCM>).
//!
//! Each message is encrypted under an AES-256 key derived from the input key
//! and the first half of its nonce (NIST SP 800-108r1 counter mode with
//! CMAC-AES256), so that random nonces may be used for 2⁸⁰ messages a key.
//! It is **not** key-committing: use it where the key is committed to
//! elsewhere, or chosen by name and not from the message.

use super::{Aes256Block, Aes256Gcm, Engine, Key256, RandomError, TAG_LEN, Unauthentic};

/// Bytes of a nonce, which is random and stands before the ciphertext.
pub const NONCE_LEN: usize = 24;

/// What sealing adds to a message: nonce and tag, 40 bytes.
pub const OVERHEAD: usize = NONCE_LEN + TAG_LEN;

/// A key for XAES-256-GCM, with the part of the derivation that does not
/// depend on the nonce already done.
pub struct XaesKey<E: Engine> {
    block: E::Block,
    /// CMAC subkey K1 (NIST SP 800-38B, section 6.1).
    k1: u128,
}

impl<E: Engine> XaesKey<E> {
    /// Expands `key`.
    #[must_use]
    pub fn new(key: &Key256) -> Self {
        let block = E::Block::new(key.expose());
        let mut zero = [[0; 16]; 2];
        block.encrypt_blocks(&mut zero);
        let l = u128::from_be_bytes(zero[0]);
        // Doubling in GF(2¹²⁸), without a branch on the secret top bit.
        let k1 = (l << 1) ^ ((l >> 127) * 0b1000_0111);
        Self { block, k1 }
    }

    /// Encrypts `plaintext` under a fresh random nonce: nonce ‖ ciphertext ‖
    /// tag, [`OVERHEAD`] bytes longer than the plaintext. `aad` is
    /// authenticated and not stored.
    ///
    /// # Errors
    ///
    /// [`RandomError`] when the system gives no randomness for the nonce.
    pub fn seal(&self, plaintext: &[u8], aad: &[u8]) -> Result<Vec<u8>, RandomError> {
        let mut nonce = [0; NONCE_LEN];
        E::fill_random(&mut nonce)?;
        Ok(self.seal_with_nonce(&nonce, plaintext, aad))
    }

    /// Decrypts what [`seal`](Self::seal) returned.
    ///
    /// # Errors
    ///
    /// [`Unauthentic`] when `sealed` is shorter than [`OVERHEAD`], was changed,
    /// or was sealed under another key or other additional data.
    pub fn open(&self, sealed: &[u8], aad: &[u8]) -> Result<Vec<u8>, Unauthentic> {
        let length = sealed.len().checked_sub(OVERHEAD).ok_or(Unauthentic)?;
        let mut plaintext = vec![0; length];
        self.open_to(sealed, aad, &mut plaintext)?;
        Ok(plaintext)
    }

    /// Decrypts into `out`, which is [`OVERHEAD`] bytes shorter than `sealed`.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), also when `out` has another length; `out` is
    /// all zero then.
    pub fn open_to(&self, sealed: &[u8], aad: &[u8], out: &mut [u8]) -> Result<(), Unauthentic> {
        let Some((nonce, sealed)) = sealed.split_first_chunk::<NONCE_LEN>() else {
            out.fill(0);
            return Err(Unauthentic);
        };
        if sealed.len() != out.len() + TAG_LEN {
            out.fill(0);
            return Err(Unauthentic);
        }
        let (gcm, nonce) = self.derive(nonce);
        gcm.open_to(nonce, aad, sealed, out)
    }

    /// For the vectors alone: nobody outside chooses a nonce.
    pub(crate) fn seal_with_nonce(&self, nonce: &[u8; NONCE_LEN], plaintext: &[u8], aad: &[u8]) -> Vec<u8> {
        let mut sealed = vec![0; plaintext.len() + OVERHEAD];
        let (prefix, out) = sealed.split_at_mut(NONCE_LEN);
        prefix.copy_from_slice(nonce);
        let (gcm, nonce) = self.derive(nonce);
        gcm.seal_to(nonce, aad, plaintext, out);
        sealed
    }

    /// Steps 3 to 6 of the page: the AES-256-GCM key and nonce of one message.
    fn derive<'n>(&self, nonce: &'n [u8; NONCE_LEN]) -> (E::Gcm, &'n [u8; 12]) {
        let mut message = [0, 1, b'X', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let (context, nonce) = halves(nonce);
        message[4..].copy_from_slice(context);
        let m1 = u128::from_be_bytes(message) ^ self.k1;
        message[1] = 2;
        let m2 = u128::from_be_bytes(message) ^ self.k1;
        let mut derived = zeroize::Zeroizing::new([m1.to_be_bytes(), m2.to_be_bytes()]);
        self.block.encrypt_blocks(&mut derived);
        let mut key = zeroize::Zeroizing::new([0; 32]);
        key.copy_from_slice(derived.as_flattened());
        (E::Gcm::new(&key), nonce)
    }
}

impl<E: Engine> Drop for XaesKey<E> {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.k1);
    }
}

fn halves(nonce: &[u8; NONCE_LEN]) -> (&[u8; 12], &[u8; 12]) {
    let (halves, _) = nonce.as_chunks::<12>();
    (&halves[0], &halves[1])
}

#[cfg(test)]
mod tests;
