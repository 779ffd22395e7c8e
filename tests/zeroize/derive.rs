//! From what the searched process told to every key that it derived: done
//! here, in another process, by the page of the format and with the engine
//! alone.

use std::collections::HashMap;

use argon2::{Algorithm, Argon2, Params, Version};
use base64ct::{Base64, Encoding};
use envelope_sdk::{
    Header, KeyUri, Kind,
    crypto::{Aes256Block, DefaultEngine, Engine, Key256, cobblestone, xaes::XaesKey},
    wrap_binding,
};

use super::{MASK, context, memory::Needles};

/// Adds what was told and all that follows from it.
pub(crate) fn add_all(needles: &mut Needles, told: &[(String, Vec<u8>)]) {
    let mut known = Known::default();
    for (word, bytes) in told {
        match word.as_str() {
            "wrap" => known.add_record_key(needles, "the KEK's key of a wrap", known.kek, bytes),
            "record" => known.add_record_key(needles, "record key", known.content_key, bytes),
            "envelope" => known.add_envelope(needles, bytes),
            "keystore" => known.add_keystore(needles, bytes),
            secret => {
                let unmasked: Vec<u8> =
                    bytes.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
                needles.add(secret, &unmasked);
                match secret {
                    "KEK" => known.kek = key(&unmasked),
                    "DEK" => known.deks.push(key(&unmasked)),
                    "passphrase" => known.passphrases.push(unmasked),
                    _ => {}
                }
            }
        }
    }
}

#[derive(Default)]
struct Known {
    kek: [u8; 32],
    content_key: [u8; 32],
    deks: Vec<[u8; 32]>,
    passphrases: Vec<Vec<u8>>,
    /// By passphrase and salt.
    derived: HashMap<(Vec<u8>, Vec<u8>), [u8; 32]>,
}

impl Known {
    fn add_envelope(&mut self, needles: &mut Needles, bytes: &[u8]) {
        let (header, len) = Header::parse(bytes).unwrap();
        let raw = header.to_bytes();
        let (authenticated, mac) = raw.split_at(len - 32);
        let kind = if header.kind() == Kind::DataKey { 2 } else { 1 };
        let mut keys = [0; 64];
        let dek = self.deks.iter().rev().find(|dek| {
            let info: [&[u8]; 3] = [b"envelope-v1 keys", &[0, 0, 1, kind], header.envelope_id()];
            DefaultEngine::hkdf_expand_sha256(dek, &info, &mut keys);
            DefaultEngine::hmac_sha256(&key(&keys[..32]), &[authenticated]) == mac
        });
        assert!(dek.is_some(), "the DEK of every envelope was told");
        needles.add("header key", &keys[..32]);
        needles.add("content key", &keys[32..]);
        self.content_key = key(&keys[32..]);
        let full = context().full().unwrap();
        if kind == 1 {
            let binding: [&[u8]; 4] = [b"envelope-v1\0", &[0, 1, 1], header.envelope_id(), full.as_bytes()];
            let payload_key = cobblestone_key(&self.content_key, &bytes[len..len + 24], &binding.concat());
            needles.add("payload key", &payload_key);
        }
        let passphrases =
            header.recipients().iter().filter(|recipient| recipient.key_uri().scheme() == "passphrase");
        for recipient in passphrases {
            let (salt, sealed) = recipient.ciphertext()[9..].split_at(16);
            let binding = wrap_binding(&KeyUri::passphrase(), "", &full).unwrap();
            for passphrase in self.passphrases.clone() {
                let root = self.argon2id(&passphrase, salt);
                needles.add("Argon2id key", &root);
                needles.add("key of a passphrase's wrap", &cobblestone_key(&root, &sealed[..24], &binding));
            }
        }
    }

    fn add_keystore(&mut self, needles: &mut Needles, text: &[u8]) {
        let document: serde_json::Value = serde_json::from_slice(text).unwrap();
        let bytes = |value: &serde_json::Value| Base64::decode_vec(value.as_str().unwrap()).unwrap();
        let id = document["id"].as_str().unwrap();
        let argon2id = &document["argon2id"];
        let salt = bytes(&argon2id["salt"]);
        let mut binding = b"envelope-keystore-v1 keystore key\0".to_vec();
        binding.extend(id.as_bytes());
        for cost in ["m_cost", "t_cost", "p_cost"] {
            binding.extend(u32::try_from(argon2id[cost].as_u64().unwrap()).unwrap().to_be_bytes());
        }
        binding.extend(&salt);
        let sealed = bytes(&document["keystore_key"]);
        let mut opened = Vec::new();
        for passphrase in self.passphrases.clone() {
            let root = self.argon2id(&passphrase, &salt);
            needles.add("root key of the keystore", &root);
            needles.add("key of the keystore key's wrap", &cobblestone_key(&root, &sealed[..24], &binding));
            let keystore_key =
                cobblestone::open::<DefaultEngine>(&Key256::copy_from(&root), &binding, &sealed);
            opened.extend(keystore_key);
        }
        let [keystore_key] = opened.as_slice() else { panic!("one passphrase opens a keystore") };
        needles.add("keystore key", keystore_key);
        let mut expand = |name: &str, label: &[u8]| {
            let mut expanded = [0; 32];
            DefaultEngine::hkdf_expand_sha256(&key(keystore_key), &[label], &mut expanded);
            needles.add(name, &expanded);
            expanded
        };
        expand("MAC key of the keystore", b"envelope-keystore-v1 mac");
        let wrapping = expand("wrapping key of the keystore", b"envelope-keystore-v1 wrap");
        for (name, record) in document["keys"].as_object().unwrap() {
            for version in record["versions"].as_array().unwrap() {
                let number = u32::try_from(version["version"].as_u64().unwrap()).unwrap();
                let length = [u8::try_from(name.len()).unwrap()];
                let binding: [&[u8]; 5] = [
                    b"envelope-keystore-v1 kek\0",
                    id.as_bytes(),
                    &length,
                    name.as_bytes(),
                    &number.to_be_bytes(),
                ];
                let sealed = bytes(&version["wrapped_kek"]);
                let wrapping_key = XaesKey::<DefaultEngine>::new(&Key256::copy_from(&wrapping));
                needles.add("KEK of the keystore", &wrapping_key.open(&sealed, &binding.concat()).unwrap());
                self.add_record_key(needles, "key of a KEK's wrap", wrapping, &sealed);
            }
        }
    }

    /// The key of one XAES-256-GCM message (C2SP XAES-256-GCM, steps 1 to 5).
    fn add_record_key(&self, needles: &mut Needles, name: &str, input_key: [u8; 32], sealed: &[u8]) {
        let block = <DefaultEngine as Engine>::Block::new(&input_key);
        let mut zero = [[0; 16]; 2];
        block.encrypt_blocks(&mut zero);
        let l = u128::from_be_bytes(zero[0]);
        let k1 = (l << 1) ^ if l >> 127 == 1 { 0b1000_0111 } else { 0 };
        let mut blocks = [1, 2].map(|counter| {
            let mut message = [0, counter, b'X', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            message[4..].copy_from_slice(&sealed[..12]);
            (u128::from_be_bytes(message) ^ k1).to_be_bytes()
        });
        block.encrypt_blocks(&mut blocks);
        needles.add(name, blocks.as_flattened());
    }

    fn argon2id(&mut self, passphrase: &[u8], salt: &[u8]) -> [u8; 32] {
        let derive = || {
            let params = Params::new(19 * 1024, 1, 4, Some(32)).unwrap();
            let mut derived = [0; 32];
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                .hash_password_into(passphrase, salt, &mut derived)
                .unwrap();
            derived
        };
        *self.derived.entry((passphrase.to_vec(), salt.to_vec())).or_insert_with(derive)
    }
}

/// The AES key of a message (C2SP chunked-encryption).
fn cobblestone_key(input_key: &[u8; 32], salt: &[u8], context: &[u8]) -> [u8; 32] {
    let mut okm = [0; 76];
    let label = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0";
    DefaultEngine::hkdf_expand_sha512(input_key, &[label, salt, context], &mut okm);
    key(&okm[..32])
}

fn key(bytes: &[u8]) -> [u8; 32] {
    bytes.try_into().unwrap()
}
