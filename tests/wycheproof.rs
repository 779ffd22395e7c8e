//! Project Wycheproof's vectors, on every engine that is compiled in.
//!
//! Three layers:
//!
//! - **Cobblestone-256** and **AES-256-GCM** run through the crate itself.
//! - **HKDF** and **HMAC** run through the crate where its calls take the
//!   vector's lengths (32-byte keys, SHA-256 for HMAC), and all of them run
//!   through the library that the engine calls, which shows that its
//!   SHA-256 and SHA-512 are right at every length.
//! - A property test shows that both engines give the same bytes for the
//!   calls that the crate makes.
//!
//! Each set asserts how many vectors ran and how many were skipped and why, so
//! that an empty set or a filter that grows fails.

#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that goes wrong shall stop, and says what it ran"
)]

use std::io::Read;

use envelope_sdk::crypto::{Aes256Gcm, Engine, Key256, Unauthentic, cobblestone};
use wycheproof::{TestResult, aead, chunked_encryption, hkdf, mac};

/// What the vectors need of the library below an engine.
trait Library {
    type Engine: Engine;

    fn sha512(bytes: &[u8]) -> Vec<u8>;
    fn hmac(hash: Hash, key: &[u8], message: &[u8]) -> Vec<u8>;
    /// HKDF with extract; `None` when `okm` is longer than HKDF can fill.
    fn hkdf(hash: Hash, ikm: &[u8], salt: &[u8], info: &[u8], okm: &mut [u8]) -> Option<()>;
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha512,
}

#[cfg(feature = "aws-lc")]
struct AwsLcLibrary;

#[cfg(feature = "aws-lc")]
impl Library for AwsLcLibrary {
    type Engine = envelope_sdk::crypto::AwsLc;

    fn sha512(bytes: &[u8]) -> Vec<u8> {
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, bytes).as_ref().to_vec()
    }

    fn hmac(hash: Hash, key: &[u8], message: &[u8]) -> Vec<u8> {
        use aws_lc_rs::hmac::{HMAC_SHA256, HMAC_SHA512, Key, sign};

        let algorithm = if hash == Hash::Sha256 { HMAC_SHA256 } else { HMAC_SHA512 };
        sign(&Key::new(algorithm, key), message).as_ref().to_vec()
    }

    fn hkdf(hash: Hash, ikm: &[u8], salt: &[u8], info: &[u8], okm: &mut [u8]) -> Option<()> {
        use aws_lc_rs::hkdf::{HKDF_SHA256, HKDF_SHA512, KeyType, Salt};

        struct Length(usize);
        impl KeyType for Length {
            fn len(&self) -> usize {
                self.0
            }
        }
        let algorithm = if hash == Hash::Sha256 { HKDF_SHA256 } else { HKDF_SHA512 };
        let prk = Salt::new(algorithm, salt).extract(ikm);
        prk.expand(&[info], Length(okm.len())).ok()?.fill(okm).ok()
    }
}

#[cfg(feature = "rustcrypto")]
struct RustCryptoLibrary;

#[cfg(feature = "rustcrypto")]
impl Library for RustCryptoLibrary {
    type Engine = envelope_sdk::crypto::RustCrypto;

    fn sha512(bytes: &[u8]) -> Vec<u8> {
        use sha2::Digest as _;

        ::sha2::Sha512::digest(bytes).to_vec()
    }

    fn hmac(hash: Hash, key: &[u8], message: &[u8]) -> Vec<u8> {
        use ::hmac::{Hmac, KeyInit as _, Mac as _};

        match hash {
            Hash::Sha256 => {
                let mut hmac = Hmac::<sha2::Sha256>::new_from_slice(key).unwrap();
                hmac.update(message);
                hmac.finalize().into_bytes().to_vec()
            }
            Hash::Sha512 => {
                let mut hmac = Hmac::<sha2::Sha512>::new_from_slice(key).unwrap();
                hmac.update(message);
                hmac.finalize().into_bytes().to_vec()
            }
        }
    }

    fn hkdf(hash: Hash, ikm: &[u8], salt: &[u8], info: &[u8], okm: &mut [u8]) -> Option<()> {
        match hash {
            Hash::Sha256 => ::hkdf::Hkdf::<sha2::Sha256>::new(Some(salt), ikm).expand(info, okm).ok(),
            Hash::Sha512 => ::hkdf::Hkdf::<sha2::Sha512>::new(Some(salt), ikm).expand(info, okm).ok(),
        }
    }
}

macro_rules! on_each_library {
    ($($name:ident),+ $(,)?) => {
        #[cfg(feature = "aws-lc")]
        mod aws_lc {
            $(#[test] fn $name() { super::$name::<super::AwsLcLibrary>(); })+
        }
        #[cfg(feature = "rustcrypto")]
        mod rust_crypto {
            $(#[test] fn $name() { super::$name::<super::RustCryptoLibrary>(); })+
        }
    };
}

on_each_library!(
    cobblestone_256,
    aes_256_gcm,
    hkdf_sha_256,
    hkdf_sha_512,
    hmac_sha_256,
    hmac_sha_512,
    expand_of_a_short_key_is_hmac_of_it,
);

fn cobblestone_256<L: Library>() {
    use chunked_encryption::{TestName, TestSet};

    let set = TestSet::load(TestName::Cobblestone256).unwrap();
    let (mut valid, mut invalid, mut wrong_key_size, mut derived, mut prefixes) = (0, 0, 0, 0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let name = format!("vector {}: {}", test.tc_id, test.comment);
        let mut ciphertext = Vec::new();
        flate2::read::ZlibDecoder::new(&test.ct[..]).read_to_end(&mut ciphertext).unwrap();
        let Ok(key) = <&[u8; 32]>::try_from(&test.key[..]) else {
            // The type of a key leaves no room for these.
            assert!(test.result.must_fail(), "{name}");
            wrong_key_size += 1;
            continue;
        };
        if let (Some(aead_key), Some(base_nonce)) = (&test.aead_key, &test.base_nonce) {
            let mut okm = [0; 32 + 12 + 32];
            let label = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0";
            L::Engine::hkdf_expand_sha512(key, &[label, &ciphertext[..24], &test.ctx], &mut okm);
            assert_eq!(okm[..32], aead_key[..], "{name}: key");
            assert_eq!(okm[32..44], base_nonce[..], "{name}: nonce");
            assert_eq!(okm[44..], ciphertext[24..56], "{name}: commitment");
            derived += 1;
        }
        let key = Key256::copy_from(key);
        let opened = cobblestone::open::<L::Engine>(&key, &test.ctx, &ciphertext);
        if test.result == TestResult::Valid {
            let plaintext = opened.expect(&name);
            assert_eq!(Some(plaintext.len()), test.msg_length, "{name}");
            assert_eq!(L::sha512(&plaintext), test.msg_sha512.as_ref().unwrap()[..], "{name}");
            assert_eq!(ciphertext.len(), cobblestone::sealed_len(plaintext.len()), "{name}");
            valid += 1;
        } else {
            assert!(opened == Err(Unauthentic), "{name}");
            invalid += 1;
            // What a streaming reader may have released by then, and no byte more.
            let released = released_before_the_error::<L::Engine>(&key, &test.ctx, &ciphertext);
            assert_eq!(released.len(), test.msg_length.unwrap_or(0), "{name}");
            if let Some(digest) = &test.msg_sha512 {
                assert_eq!(L::sha512(&released), digest[..], "{name}");
                prefixes += 1;
            }
        }
    }
    println!(
        "Cobblestone-256: {valid} valid, {invalid} invalid ({prefixes} with an authentic beginning), \
         {derived} with their derived keys; {wrong_key_size} have a key that is not 32 bytes, which no type holds"
    );
    assert_eq!((valid, invalid, wrong_key_size), (10, 23, 2));
    assert_eq!((derived, prefixes), (25, 9));
}

/// Opens chunk after chunk, as a stream does.
fn released_before_the_error<E: Engine>(key: &Key256, context: &[u8], ciphertext: &[u8]) -> Vec<u8> {
    let Some((prefix, chunks)) = ciphertext.split_first_chunk::<{ cobblestone::PREFIX_LEN }>() else {
        return Vec::new();
    };
    let Ok(opener) = cobblestone::Opener::<E>::new(key, context, prefix) else { return Vec::new() };
    let mut released = Vec::new();
    for (index, chunk) in (0..).zip(chunks.chunks(cobblestone::SEALED_CHUNK_LEN)) {
        let mut chunk = chunk.to_vec();
        if opener.open_chunk(index, &mut chunk).is_err() {
            assert!(chunk.iter().all(|byte| *byte == 0));
            break;
        }
        released.extend_from_slice(&chunk[..chunk.len() - 16]);
    }
    released
}

fn aes_256_gcm<L: Library>() {
    use aead::{TestName, TestSet};

    let set = TestSet::load(TestName::AesGcm).unwrap();
    let (mut valid, mut invalid, mut other_key, mut other_nonce, mut other_tag) = (0, 0, 0, 0, 0);
    for group in &set.test_groups {
        for test in &group.tests {
            let name = format!("vector {}: {}", test.tc_id, test.comment);
            let Ok(key) = <&[u8; 32]>::try_from(&test.key[..]) else {
                other_key += 1;
                continue;
            };
            let Ok(nonce) = <&[u8; 12]>::try_from(&test.nonce[..]) else {
                other_nonce += 1;
                continue;
            };
            if test.tag.len() != 16 {
                other_tag += 1;
                continue;
            }
            let gcm = <L::Engine as Engine>::Gcm::new(key);
            let sealed = [&test.ct[..], &test.tag[..]].concat();
            let mut in_place = sealed.clone();
            let mut apart = vec![0xAA; test.ct.len()];
            if test.result == TestResult::Valid {
                gcm.open(nonce, &test.aad, &mut in_place).expect(&name);
                gcm.open_to(nonce, &test.aad, &sealed, &mut apart).expect(&name);
                assert_eq!(in_place[..test.pt.len()], test.pt[..], "{name}");
                assert_eq!(apart, test.pt[..], "{name}");
                let tag = gcm.seal(nonce, &test.aad, &mut apart);
                assert_eq!([apart.as_slice(), &tag].concat(), sealed, "{name}");
                let mut resealed = vec![0; sealed.len()];
                gcm.seal_to(nonce, &test.aad, &test.pt, &mut resealed);
                assert_eq!(resealed, sealed, "{name}");
                valid += 1;
            } else {
                assert_eq!(gcm.open(nonce, &test.aad, &mut in_place), Err(Unauthentic), "{name}");
                assert_eq!(gcm.open_to(nonce, &test.aad, &sealed, &mut apart), Err(Unauthentic), "{name}");
                assert!(
                    in_place.iter().chain(&apart).all(|byte| *byte == 0),
                    "{name}: plaintext left behind"
                );
                invalid += 1;
            }
        }
    }
    println!(
        "AES-256-GCM: {valid} valid, {invalid} invalid; skipped: {other_key} with another key size, \
         {other_nonce} with a nonce other than 12 bytes, {other_tag} with a tag other than 16: \
         the engine's types hold none of them"
    );
    assert_eq!((valid, invalid), (39, 27));
    assert_eq!((other_key, other_nonce, other_tag), (211, 39, 0));
}

fn hkdf_sha_256<L: Library>() {
    let counts = hkdf_set::<L>(Hash::Sha256);
    println!(
        "HKDF-SHA-256: {} valid, {} of them through the engine's own expand; {} refused as too long",
        counts.valid, counts.by_engine, counts.too_long
    );
    assert_eq!(counts, HkdfCounts { valid: 83, by_engine: 83, too_long: 3 });
}

fn hkdf_sha_512<L: Library>() {
    let counts = hkdf_set::<L>(Hash::Sha512);
    println!(
        "HKDF-SHA-512: {} valid, through the engine's library; the engine's own expand takes a 32-byte \
         key and the extracted ones have 64, see the test of short keys; {} refused as too long",
        counts.valid, counts.too_long
    );
    assert_eq!(counts, HkdfCounts { valid: 80, by_engine: 0, too_long: 3 });
}

#[derive(Debug, Default, PartialEq, Eq)]
struct HkdfCounts {
    valid: usize,
    by_engine: usize,
    too_long: usize,
}

fn hkdf_set<L: Library>(hash: Hash) -> HkdfCounts {
    use hkdf::{TestName, TestSet};

    let set = TestSet::load(match hash {
        Hash::Sha256 => TestName::HkdfSha256,
        Hash::Sha512 => TestName::HkdfSha512,
    });
    let mut counts = HkdfCounts::default();
    for test in set.unwrap().test_groups.iter().flat_map(|group| &group.tests) {
        let name = format!("vector {}: {}", test.tc_id, test.comment);
        let mut okm = vec![0; test.size];
        let filled = L::hkdf(hash, &test.ikm, &test.salt, &test.info, &mut okm);
        if test.result != TestResult::Valid {
            assert_eq!(filled, None, "{name}");
            counts.too_long += 1;
            continue;
        }
        assert_eq!(filled, Some(()), "{name}");
        assert_eq!(okm, test.okm[..], "{name}");
        counts.valid += 1;
        if hash == Hash::Sha256 {
            // RFC 5869, section 2.2: extract is HMAC with the salt as its key.
            let prk = L::hmac(hash, &test.salt, &test.ikm);
            let mut okm = vec![0; test.size];
            let (front, back) = test.info.split_at(test.info.len() / 2);
            L::Engine::hkdf_expand_sha256(prk[..].try_into().unwrap(), &[front, back], &mut okm);
            assert_eq!(okm, test.okm[..], "{name}: engine");
            counts.by_engine += 1;
        }
    }
    counts
}

/// The engine's HKDF-SHA-512 takes a key of 32 bytes, shorter than any that
/// extract makes. RFC 5869, section 2.3 written out over HMAC, whose vectors
/// run below, says what must come out.
fn expand_of_a_short_key_is_hmac_of_it<L: Library>() {
    let mut compared = 0;
    for (hash, digest_len) in [(Hash::Sha256, 32), (Hash::Sha512, 64)] {
        for seed in 0..=20_u8 {
            let key: [u8; 32] = std::array::from_fn(|index| seed.wrapping_mul(29) ^ index as u8);
            let info: Vec<u8> = (0..usize::from(seed) * 9).map(|index| index as u8).collect();
            let len = [0, 1, 31, 32, 33, 63, 64, 65, 76, 128, 255 * digest_len][usize::from(seed) % 11];
            let mut expected = Vec::new();
            let mut block = Vec::new();
            let mut counter = 0;
            while expected.len() < len {
                counter += 1;
                block = L::hmac(hash, &key, &[&block[..], &info, &[counter]].concat());
                expected.extend_from_slice(&block);
            }
            expected.truncate(len);
            let mut okm = vec![0; len];
            let (front, back) = info.split_at(info.len() / 3);
            match hash {
                Hash::Sha256 => L::Engine::hkdf_expand_sha256(&key, &[front, b"", back], &mut okm),
                Hash::Sha512 => L::Engine::hkdf_expand_sha512(&key, &[front, b"", back], &mut okm),
            }
            assert_eq!(okm, expected, "{len} bytes");
            compared += 1;
        }
    }
    assert_eq!(compared, 42);
}

fn hmac_sha_256<L: Library>() {
    let counts = hmac_set::<L>(Hash::Sha256);
    println!(
        "HMAC-SHA-256: {} valid, {} invalid, {} of them through the engine as well; \
         {} have a key that is not 32 bytes and ran through its library alone",
        counts.valid, counts.invalid, counts.by_engine, counts.other_key
    );
    assert_eq!(counts, HmacCounts { valid: 66, invalid: 108, by_engine: 162, other_key: 12 });
}

fn hmac_sha_512<L: Library>() {
    let counts = hmac_set::<L>(Hash::Sha512);
    println!(
        "HMAC-SHA-512: {} valid, {} invalid, through the engine's library; the crate makes no \
         HMAC-SHA-512 of its own, only inside HKDF",
        counts.valid, counts.invalid
    );
    assert_eq!(counts, HmacCounts { valid: 66, invalid: 108, by_engine: 0, other_key: 0 });
}

#[derive(Debug, Default, PartialEq, Eq)]
struct HmacCounts {
    valid: usize,
    invalid: usize,
    by_engine: usize,
    other_key: usize,
}

fn hmac_set<L: Library>(hash: Hash) -> HmacCounts {
    use mac::{TestName, TestSet};

    let set = TestSet::load(match hash {
        Hash::Sha256 => TestName::HmacSha256,
        Hash::Sha512 => TestName::HmacSha512,
    });
    let mut counts = HmacCounts::default();
    for group in set.unwrap().test_groups {
        // Vectors with a short tag hold the beginning of the MAC.
        let tag_len = group.tag_size / 8;
        for test in group.tests {
            let name = format!("vector {}: {}", test.tc_id, test.comment);
            let valid = test.result == TestResult::Valid;
            let mac = L::hmac(hash, &test.key, &test.msg);
            assert_eq!(mac[..tag_len] == test.tag[..], valid, "{name}");
            if valid {
                counts.valid += 1;
            } else {
                counts.invalid += 1;
            }
            if hash == Hash::Sha512 {
                continue;
            }
            let Ok(key) = <&[u8; 32]>::try_from(&test.key[..]) else {
                counts.other_key += 1;
                continue;
            };
            let (front, back) = test.msg.split_at(test.msg.len() / 2);
            let mac = L::Engine::hmac_sha256(key, &[front, back]);
            assert_eq!(mac[..tag_len] == test.tag[..], valid, "{name}: engine");
            counts.by_engine += 1;
        }
    }
    counts
}

#[cfg(all(feature = "aws-lc", feature = "rustcrypto"))]
mod agreement {
    use envelope_sdk::crypto::{Aes256Block, Aes256Gcm, AwsLc, Engine, RustCrypto};
    use proptest::{collection::vec, prelude::*};

    type One = AwsLc;
    type Two = RustCrypto;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

        #[test]
        fn engines_derive_and_authenticate_alike(
            key: [u8; 32],
            parts in vec(vec(any::<u8>(), 0..200), 0..4),
            len in 0_usize..300,
        ) {
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let (mut one, mut two) = (vec![0; len], vec![0; len]);
            One::hkdf_expand_sha256(&key, &parts, &mut one);
            Two::hkdf_expand_sha256(&key, &parts, &mut two);
            prop_assert_eq!(&one, &two);
            One::hkdf_expand_sha512(&key, &parts, &mut one);
            Two::hkdf_expand_sha512(&key, &parts, &mut two);
            prop_assert_eq!(&one, &two);
            prop_assert_eq!(One::hmac_sha256(&key, &parts), Two::hmac_sha256(&key, &parts));
        }

        #[test]
        fn engines_encrypt_alike_and_read_each_other(
            key: [u8; 32],
            nonce: [u8; 12],
            aad in vec(any::<u8>(), 0..100),
            plaintext in vec(any::<u8>(), 0..3000),
            blocks: [[u8; 16]; 2],
        ) {
            let (one, two) = (<One as Engine>::Gcm::new(&key), <Two as Engine>::Gcm::new(&key));
            let mut by_one = vec![0; plaintext.len() + 16];
            let mut by_two = by_one.clone();
            one.seal_to(&nonce, &aad, &plaintext, &mut by_one);
            two.seal_to(&nonce, &aad, &plaintext, &mut by_two);
            prop_assert_eq!(&by_one, &by_two);
            let mut opened = vec![0; plaintext.len()];
            prop_assert!(one.open_to(&nonce, &aad, &by_two, &mut opened).is_ok());
            prop_assert_eq!(&opened, &plaintext);
            prop_assert!(two.open(&nonce, &aad, &mut by_one).is_ok());
            prop_assert_eq!(&by_one[..plaintext.len()], &plaintext);
            let (mut one, mut two) = (blocks, blocks);
            <One as Engine>::Block::new(&key).encrypt_blocks(&mut one);
            <Two as Engine>::Block::new(&key).encrypt_blocks(&mut two);
            prop_assert_eq!(one, two);
        }
    }
}
