//! What seals what in a keystore, from the root key down: the keystore key and
//! the KEKs. See the parent module for the hierarchy.
//!
//! ```text
//! keystore_key = Cobblestone-256(root key, "envelope-keystore-v1 keystore key" ‖ 00 ‖ id 32
//!                    ‖ m_cost u32 ‖ t_cost u32 ‖ p_cost u32 ‖ salt 16, keystore key)      104 bytes
//! MAC key      = HKDF-Expand-SHA-256(keystore key, "envelope-keystore-v1 mac", 32)
//! wrapping key = HKDF-Expand-SHA-256(keystore key, "envelope-keystore-v1 wrap", 32)
//! wrapped_kek  = nonce 24 ‖ XAES-256-GCM(wrapping key, nonce, KEK, "envelope-keystore-v1 kek" ‖ 00
//!                    ‖ id 32 ‖ name length u8 ‖ name ‖ version u32)                       72 bytes
//! ```
//!
//! `id` is its 32 hexadecimal digits in ASCII; integers are big-endian.

use envelope_sdk::crypto::{
    DefaultEngine, Engine, Key256, RandomError, TAG_LEN, Unauthentic,
    cobblestone::{self, PREFIX_LEN},
    xaes::{OVERHEAD, XaesKey},
};
use zeroize::Zeroizing;

use super::document::{Argon2Record, Bytes};

/// Bytes of the keystore key under the root key.
pub(super) const SEALED_KEYSTORE_KEY_LEN: usize = PREFIX_LEN + 32 + TAG_LEN;

/// Bytes of a KEK under the wrapping key.
pub(super) const SEALED_KEK_LEN: usize = 32 + OVERHEAD;

pub(super) struct KeystoreKeys {
    /// Kept because a new passphrase wraps it anew.
    keystore: Key256,
    mac: Key256,
    wrapping: XaesKey<DefaultEngine>,
}

impl KeystoreKeys {
    pub(super) fn generate() -> Result<Self, RandomError> {
        Key256::generate::<DefaultEngine>().map(Self::of)
    }

    pub(super) fn open(
        root: &Key256,
        id: &str,
        argon2id: &Argon2Record,
        sealed: &Bytes<SEALED_KEYSTORE_KEY_LEN>,
    ) -> Result<Self, Unauthentic> {
        let binding = root_binding(id, argon2id);
        let opened = cobblestone::open::<DefaultEngine>(root, &binding, &sealed.0).map(Zeroizing::new)?;
        let keystore: &[u8; 32] = opened.as_slice().try_into().map_err(|_| Unauthentic)?;
        Ok(Self::of(Key256::copy_from(keystore)))
    }

    pub(super) fn seal(
        &self,
        root: &Key256,
        id: &str,
        argon2id: &Argon2Record,
    ) -> Result<Bytes<SEALED_KEYSTORE_KEY_LEN>, RandomError> {
        let binding = root_binding(id, argon2id);
        let sealed = cobblestone::seal::<DefaultEngine>(root, &binding, self.keystore.expose())?;
        Ok(Bytes(exactly(&sealed)))
    }

    pub(super) fn mac(&self, body: &[u8]) -> [u8; 32] {
        DefaultEngine::hmac_sha256(self.mac.expose(), &[body])
    }

    pub(super) fn seal_kek(
        &self,
        id: &str,
        name: &str,
        version: u32,
        kek: &Key256,
    ) -> Result<Bytes<SEALED_KEK_LEN>, RandomError> {
        let sealed = self.wrapping.seal(kek.expose(), &kek_binding(id, name, version))?;
        Ok(Bytes(exactly(&sealed)))
    }

    pub(super) fn open_kek(
        &self,
        id: &str,
        name: &str,
        version: u32,
        sealed: &Bytes<SEALED_KEK_LEN>,
    ) -> Result<XaesKey<DefaultEngine>, Unauthentic> {
        let binding = kek_binding(id, name, version);
        let kek = Key256::fill_with(|kek| self.wrapping.open_to(&sealed.0, &binding, kek))?;
        Ok(XaesKey::new(&kek))
    }

    fn of(keystore: Key256) -> Self {
        let mac = expand(&keystore, b"envelope-keystore-v1 mac");
        let wrapping = XaesKey::new(&expand(&keystore, b"envelope-keystore-v1 wrap"));
        Self { keystore, mac, wrapping }
    }
}

fn expand(keystore: &Key256, label: &[u8]) -> Key256 {
    let mut okm = Zeroizing::new([0; 32]);
    DefaultEngine::hkdf_expand_sha256(keystore.expose(), &[label], okm.as_mut_slice());
    Key256::copy_from(&okm)
}

fn root_binding(id: &str, argon2id: &Argon2Record) -> Vec<u8> {
    let params = argon2id.params();
    let mut binding = b"envelope-keystore-v1 keystore key\0".to_vec();
    binding.extend(id.as_bytes());
    for cost in [params.m_cost, params.t_cost, params.p_cost] {
        binding.extend(cost.to_be_bytes());
    }
    binding.extend(argon2id.salt.0);
    binding
}

fn kek_binding(id: &str, name: &str, version: u32) -> Vec<u8> {
    let mut binding = b"envelope-keystore-v1 kek\0".to_vec();
    binding.extend(id.as_bytes());
    // A name has at most 64 bytes.
    let [length, ..] = name.len().to_le_bytes();
    binding.push(length);
    binding.extend(name.as_bytes());
    binding.extend(version.to_be_bytes());
    binding
}

/// The length of what was sealed follows from the construction.
fn exactly<const N: usize>(sealed: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(sealed);
    bytes
}
