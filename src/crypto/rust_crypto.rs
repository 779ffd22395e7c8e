//! The pure-Rust engine: RustCrypto's `aes-gcm`, `sha2`, `hmac`, `hkdf`.
//!
//! For targets without a C compiler (`wasm32-unknown-unknown` among them) and
//! as the second opinion in tests.
//!
//! These crates keep keys on the stack while they work and clean up less than
//! AWS-LC does, so every call that sees a key runs in `wiped_after`.

use aes::cipher::{BlockCipherEncrypt, KeyInit as _};
use aes_gcm::aead::AeadInOut;
use hmac::{Hmac, Mac};
use sha2::{Sha256, Sha512};
use zeroize::Zeroizing;

use super::{
    Aes256Block, Aes256Gcm, Engine, RandomError, TAG_LEN, Unauthentic,
    engine::wipe_unless,
    stack::{KEY_EXPANSION, wiped_after},
};

/// AES-GCM, SHA-2, HMAC and HKDF in Rust, randomness of the operating system.
#[derive(Debug, Clone, Copy)]
pub struct RustCrypto;

impl Engine for RustCrypto {
    type Gcm = Gcm;
    type Block = Block;

    #[expect(clippy::expect_used, reason = "fails only when okm is longer than 255 hashes")]
    fn hkdf_expand_sha256(prk: &[u8; 32], info: &[&[u8]], okm: &mut [u8]) {
        wiped_after::<KEY_EXPANSION, _>(|| {
            hkdf::Hkdf::<Sha256>::from_prk(prk)
                .expect("32 bytes are a whole SHA-256 output")
                .expand_multi_info(info, okm)
                .expect("at most 255 hashes of output");
        });
    }

    #[expect(clippy::expect_used, reason = "fails only when okm is longer than 255 hashes")]
    fn hkdf_expand_sha512(prk: &[u8; 32], info: &[&[u8]], okm: &mut [u8]) {
        // `from_prk` wants a whole hash of key. HMAC pads a short key with
        // zeros to the block length (RFC 2104), so this is the same key.
        let mut padded = Zeroizing::new([0; 64]);
        padded[..32].copy_from_slice(prk);
        wiped_after::<KEY_EXPANSION, _>(|| {
            hkdf::Hkdf::<Sha512>::from_prk(padded.as_slice())
                .expect("64 bytes are a whole SHA-512 output")
                .expand_multi_info(info, okm)
                .expect("at most 255 hashes of output");
        });
    }

    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    fn hmac_sha256(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
        wiped_after::<KEY_EXPANSION, _>(|| {
            let mut hmac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes any key");
            for part in parts {
                hmac.update(part);
            }
            hmac.finalize().into_bytes().into()
        })
    }

    fn fill_random(out: &mut [u8]) -> Result<(), RandomError> {
        getrandom::fill(out).map_err(|_| RandomError)
    }
}

/// AES-256-GCM of the `aes-gcm` crate. Boxed, so that moving it leaves no
/// copies of the expanded key on the stack.
pub struct Gcm(Box<aes_gcm::Aes256Gcm>);

impl Aes256Gcm for Gcm {
    fn new(key: &[u8; 32]) -> Self {
        Self(wiped_after::<KEY_EXPANSION, _>(|| Box::new(aes_gcm::Aes256Gcm::new(key.into()))))
    }

    #[expect(clippy::expect_used, reason = "fails only beyond 64 GiB, which no caller reaches")]
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], in_out: &mut [u8]) -> [u8; TAG_LEN] {
        wiped_after::<KEY_EXPANSION, _>(|| {
            self.0
                .encrypt_inout_detached(nonce.into(), aad, in_out.into())
                .expect("message within AES-GCM's limit")
                .into()
        })
    }

    fn seal_to(&self, nonce: &[u8; 12], aad: &[u8], plaintext: &[u8], out: &mut [u8]) {
        let (ciphertext, tag) = out.split_at_mut(plaintext.len());
        ciphertext.copy_from_slice(plaintext);
        tag.copy_from_slice(&self.seal(nonce, aad, ciphertext));
    }

    fn open(&self, nonce: &[u8; 12], aad: &[u8], in_out: &mut [u8]) -> Result<(), Unauthentic> {
        let opened = in_out
            .split_last_chunk_mut::<TAG_LEN>()
            .is_some_and(|(message, tag)| self.decrypt(nonce, aad, message, tag));
        wipe_unless(opened, in_out)
    }

    fn open_to(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<(), Unauthentic> {
        let opened = sealed.split_last_chunk::<TAG_LEN>().is_some_and(|(ciphertext, tag)| {
            out.copy_from_slice(ciphertext);
            self.decrypt(nonce, aad, out, tag)
        });
        wipe_unless(opened, out)
    }
}

impl Gcm {
    /// True when `tag` fits.
    fn decrypt(&self, nonce: &[u8; 12], aad: &[u8], message: &mut [u8], tag: &[u8; TAG_LEN]) -> bool {
        wiped_after::<KEY_EXPANSION, _>(|| {
            self.0.decrypt_inout_detached(nonce.into(), aad, message.into(), tag.into()).is_ok()
        })
    }
}

/// The AES-256 block cipher of the `aes` crate, boxed as [`Gcm`] is.
pub struct Block(Box<aes::Aes256>);

impl Aes256Block for Block {
    fn new(key: &[u8; 32]) -> Self {
        Self(wiped_after::<KEY_EXPANSION, _>(|| Box::new(aes::Aes256::new(key.into()))))
    }

    fn encrypt_blocks(&self, blocks: &mut [[u8; 16]; 2]) {
        wiped_after::<KEY_EXPANSION, _>(|| {
            for block in blocks {
                self.0.encrypt_block(block.into());
            }
        });
    }
}
