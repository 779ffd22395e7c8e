//! What the crate asks of a cryptographic library, and nothing more.

use core::fmt;

use zeroize::Zeroize;

use crate::crypto::TAG_LEN;

/// A cryptographic library: AES-256-GCM, one AES-256 block, HKDF-Expand,
/// HMAC and the operating system's randomness.
///
/// Engines are chosen at compile time and hold no state. All of them must
/// give identical results; the Wycheproof and C2SP vectors run on each.
pub trait Engine: fmt::Debug + Send + Sync + 'static {
    /// AES-256-GCM with an expanded key (NIST SP 800-38D).
    type Gcm: Aes256Gcm;
    /// The AES-256 block cipher with an expanded key (FIPS 197).
    type Block: Aes256Block;

    /// HKDF-Expand with SHA-256 (RFC 5869, section 2.3). `info` is the
    /// concatenation of its parts; `okm` may hold up to 255 × 32 bytes.
    ///
    /// # Panics
    ///
    /// When `okm` is longer.
    fn hkdf_expand_sha256(prk: &[u8; 32], info: &[&[u8]], okm: &mut [u8]);

    /// HKDF-Expand with SHA-512 (RFC 5869, section 2.3). `info` is the
    /// concatenation of its parts; `okm` may hold up to 255 × 64 bytes.
    ///
    /// # Panics
    ///
    /// When `okm` is longer.
    fn hkdf_expand_sha512(prk: &[u8; 32], info: &[&[u8]], okm: &mut [u8]);

    /// HMAC-SHA-256 (FIPS 198-1) of the concatenation of `parts`: 32 bytes.
    fn hmac_sha256(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32];

    /// Fills `out` from the operating system's generator.
    ///
    /// # Errors
    ///
    /// [`RandomError`] when the system has no randomness to give. Nothing may
    /// be encrypted then.
    fn fill_random(out: &mut [u8]) -> Result<(), RandomError>;
}

/// AES-256-GCM under one key, with 12-byte nonces and 16-byte tags.
///
/// The caller answers for the nonces: only [`cobblestone`](super::cobblestone)
/// and [`xaes`](super::xaes) call this, each under a key of its own message.
pub trait Aes256Gcm: Send + Sync {
    /// Expands `key`.
    fn new(key: &[u8; 32]) -> Self;

    /// Encrypts `in_out` in place and returns the tag.
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], in_out: &mut [u8]) -> [u8; TAG_LEN];

    /// Encrypts `plaintext` into `out`, which is [`TAG_LEN`] bytes longer:
    /// ciphertext, then tag.
    ///
    /// # Panics
    ///
    /// When `out` has another length.
    fn seal_to(&self, nonce: &[u8; 12], aad: &[u8], plaintext: &[u8], out: &mut [u8]);

    /// Decrypts `in_out` (ciphertext, then tag) in place: its first
    /// `in_out.len() - 16` bytes become the plaintext.
    ///
    /// # Errors
    ///
    /// [`Unauthentic`] when the tag does not fit or `in_out` is shorter than a
    /// tag. `in_out` is all zero then: no unauthenticated byte stays behind.
    fn open(&self, nonce: &[u8; 12], aad: &[u8], in_out: &mut [u8]) -> Result<(), Unauthentic>;

    /// Decrypts `sealed` (ciphertext, then tag) into `out`, which is
    /// [`TAG_LEN`] bytes shorter.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); `out` is all zero then.
    fn open_to(&self, nonce: &[u8; 12], aad: &[u8], sealed: &[u8], out: &mut [u8])
    -> Result<(), Unauthentic>;
}

/// The AES-256 block cipher, as XAES-256-GCM derives its subkeys with.
pub trait Aes256Block: Send + Sync {
    /// Expands `key`.
    fn new(key: &[u8; 32]) -> Self;

    /// Encrypts each 16-byte block on its own.
    fn encrypt_blocks(&self, blocks: &mut [[u8; 16]; 2]);
}

/// The tag does not fit: wrong key, nonce, additional data or ciphertext.
/// Says no more, on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("authentication failed")]
pub struct Unauthentic;

/// The operating system gave no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system's random number generator failed")]
pub struct RandomError;

/// A buffer that was decrypted without a fitting tag holds plaintext
/// (RUSTSEC-2023-0096): it is wiped here, whatever the library below does.
pub(super) fn wipe_unless(opened: bool, out: &mut [u8]) -> Result<(), Unauthentic> {
    if opened {
        Ok(())
    } else {
        out.zeroize();
        Err(Unauthentic)
    }
}
