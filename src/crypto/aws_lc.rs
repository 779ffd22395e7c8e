//! The default engine: AWS-LC through `aws-lc-rs`.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    cipher::{AES_256, EncryptingKey, UnboundCipherKey},
    hkdf, hmac, rand,
};

use super::{
    Aes256Block, Aes256Gcm, Engine, RandomError, TAG_LEN, Unauthentic,
    engine::wipe_unless,
    stack::{KEY_EXPANSION, wiped_after},
};

/// AES-GCM, SHA-2, HMAC and HKDF of AWS-LC.
#[derive(Debug, Clone, Copy)]
pub struct AwsLc;

impl Engine for AwsLc {
    type Gcm = Gcm;
    type Block = Block;

    fn hkdf_expand_sha256(prk: &[u8; 32], info: &[&[u8]], okm: &mut [u8]) {
        hkdf_expand(hkdf::HKDF_SHA256, prk, info, okm);
    }

    fn hkdf_expand_sha512(prk: &[u8; 32], info: &[&[u8]], okm: &mut [u8]) {
        hkdf_expand(hkdf::HKDF_SHA512, prk, info, okm);
    }

    fn hmac_sha256(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
        for part in parts {
            context.update(part);
        }
        let mut mac = [0; 32];
        mac.copy_from_slice(context.sign().as_ref());
        mac
    }

    fn fill_random(out: &mut [u8]) -> Result<(), RandomError> {
        rand::fill(out).map_err(|_| RandomError)
    }
}

/// AES-256-GCM of AWS-LC.
pub struct Gcm(LessSafeKey);

impl Aes256Gcm for Gcm {
    #[expect(clippy::expect_used, reason = "fails only on a wrong key length or without memory")]
    fn new(key: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("AES-256 takes 32 bytes");
        Self(LessSafeKey::new(key))
    }

    #[expect(clippy::expect_used, reason = "fails only beyond 64 GiB, which no caller reaches")]
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], in_out: &mut [u8]) -> [u8; TAG_LEN] {
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce_of(nonce), Aad::from(aad), in_out)
            .expect("message within AES-GCM's limit");
        let mut bytes = [0; TAG_LEN];
        bytes.copy_from_slice(tag.as_ref());
        bytes
    }

    #[expect(clippy::expect_used, reason = "fails only beyond 64 GiB or on wrong lengths of ours")]
    fn seal_to(&self, nonce: &[u8; 12], aad: &[u8], plaintext: &[u8], out: &mut [u8]) {
        // With an empty in_out, "extra_in" is the whole message: one pass, no copy.
        self.0
            .seal_in_place_scatter(nonce_of(nonce), Aad::from(aad), &mut [], plaintext, out)
            .expect("message within AES-GCM's limit, output one tag longer");
    }

    fn open(&self, nonce: &[u8; 12], aad: &[u8], in_out: &mut [u8]) -> Result<(), Unauthentic> {
        let opened = self.0.open_in_place(nonce_of(nonce), Aad::from(aad), in_out).is_ok();
        wipe_unless(opened, in_out)
    }

    fn open_to(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<(), Unauthentic> {
        let Some((ciphertext, tag)) = sealed.split_last_chunk::<TAG_LEN>() else {
            return wipe_unless(false, out);
        };
        let opened =
            self.0.open_separate_gather(nonce_of(nonce), Aad::from(aad), ciphertext, tag, out).is_ok();
        wipe_unless(opened, out)
    }
}

/// The AES-256 block cipher of AWS-LC. Boxed, so that moving it leaves no
/// copies of the expanded key on the stack.
pub struct Block(Box<EncryptingKey>);

impl Aes256Block for Block {
    #[expect(clippy::expect_used, reason = "fails only on a wrong key length or without memory")]
    fn new(key: &[u8; 32]) -> Self {
        Self(wiped_after::<KEY_EXPANSION, _>(|| {
            let key = UnboundCipherKey::new(&AES_256, key).expect("AES-256 takes 32 bytes");
            Box::new(EncryptingKey::ecb(key).expect("AES-256 has an ECB mode"))
        }))
    }

    #[expect(clippy::expect_used, reason = "two whole blocks always encrypt")]
    fn encrypt_blocks(&self, blocks: &mut [[u8; 16]; 2]) {
        self.0.encrypt(blocks.as_flattened_mut()).expect("two whole blocks");
    }
}

fn nonce_of(nonce: &[u8; 12]) -> Nonce {
    Nonce::assume_unique_for_key(*nonce)
}

#[expect(clippy::expect_used, reason = "fails only when okm is longer than 255 hashes")]
fn hkdf_expand(algorithm: hkdf::Algorithm, prk: &[u8; 32], info: &[&[u8]], okm: &mut [u8]) {
    hkdf::Prk::new_less_safe(algorithm, prk)
        .expand(info, Length(okm.len()))
        .and_then(|expanded| expanded.fill(okm))
        .expect("at most 255 hashes of output");
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}
