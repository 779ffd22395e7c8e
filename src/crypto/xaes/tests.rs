//! The C2SP vectors, and what must be refused.

use serde_json::Value;
use shake::{ExtendableOutput, Shake128, Update, XofReader};

use super::*;

on_each_engine!(
    first_vector_of_the_specification,
    second_vector_of_the_specification,
    accumulated_vectors_10_000,
    accumulated_vectors_1_000_000,
    every_flipped_bit_is_refused_and_leaves_zeros,
    every_truncation_is_refused,
    an_output_of_the_wrong_length_is_refused_and_zeroed,
    other_key_and_other_additional_data_are_refused,
    a_fresh_nonce_each_time,
);

fn first_vector_of_the_specification<E: Engine>() {
    check_vector::<E>(0);
}

fn second_vector_of_the_specification<E: Engine>() {
    check_vector::<E>(1);
}

fn check_vector<E: Engine>(position: usize) {
    let vectors = vectors();
    assert_eq!(vectors["vectors"].as_array().unwrap().len(), 2);
    let vector = &vectors["vectors"][position];
    let field = |name: &str| hex(vector[name].as_str().unwrap());
    let key = key::<E>(&field("key"));
    let nonce: [u8; NONCE_LEN] = field("nonce").try_into().unwrap();
    let sealed = key.seal_with_nonce(&nonce, &field("plaintext"), &field("aad"));
    assert_eq!(sealed[..NONCE_LEN], nonce);
    assert_eq!(sealed[NONCE_LEN..], field("ciphertext"));
    assert_eq!(key.open(&sealed, &field("aad")).unwrap(), field("plaintext"));
}

fn accumulated_vectors_10_000<E: Engine>() {
    accumulated::<E>(0, 10_000);
}

fn accumulated_vectors_1_000_000<E: Engine>() {
    accumulated::<E>(1, 1_000_000);
}

/// "Accumulated Randomized" of the page: one SHAKE-128 makes the inputs,
/// another takes the outputs.
fn accumulated<E: Engine>(position: usize, iterations: u64) {
    let vectors = vectors();
    let vector = &vectors["accumulated"][position];
    assert_eq!(vector["iterations"].as_u64(), Some(iterations));
    let mut random = Shake128::default().finalize_xof();
    let mut outputs = Shake128::default();
    let mut next = |bytes: &mut [u8]| random.read(bytes);
    for _ in 0..iterations {
        let mut key_bytes = [0; 32];
        let mut nonce = [0; NONCE_LEN];
        next(&mut key_bytes);
        next(&mut nonce);
        let mut variable = || {
            let mut length = [0];
            next(&mut length);
            let mut bytes = vec![0; length[0].into()];
            next(&mut bytes);
            bytes
        };
        let (plaintext, aad) = (variable(), variable());
        let key = key::<E>(&key_bytes);
        let sealed = key.seal_with_nonce(&nonce, &plaintext, &aad);
        outputs.update(&sealed[NONCE_LEN..]);
        assert_eq!(key.open(&sealed, &aad).unwrap(), plaintext);
    }
    let mut result = [0; 32];
    outputs.finalize_xof().read(&mut result);
    assert_eq!(result[..], hex(vector["result"].as_str().unwrap()));
}

fn every_flipped_bit_is_refused_and_leaves_zeros<E: Engine>() {
    let key = key::<E>(&[7; 32]);
    let mut sealed = key.seal(b"attack at dawn", b"aad").unwrap();
    for bit in 0..sealed.len() * 8 {
        sealed[bit / 8] ^= 1 << (bit % 8);
        let mut out = [0xAA; 14];
        assert_eq!(key.open_to(&sealed, b"aad", &mut out), Err(Unauthentic), "bit {bit}");
        assert_eq!(out, [0; 14], "bit {bit}");
        sealed[bit / 8] ^= 1 << (bit % 8);
    }
    assert_eq!(key.open(&sealed, b"aad").unwrap(), b"attack at dawn");
}

fn every_truncation_is_refused<E: Engine>() {
    let key = key::<E>(&[7; 32]);
    let sealed = key.seal(b"attack at dawn", b"").unwrap();
    for len in 0..sealed.len() {
        assert_eq!(key.open(&sealed[..len], b""), Err(Unauthentic), "{len} bytes");
    }
}

fn an_output_of_the_wrong_length_is_refused_and_zeroed<E: Engine>() {
    let key = key::<E>(&[7; 32]);
    let sealed = key.seal(b"attack at dawn", b"").unwrap();
    for len in [0, 13, 15, 64] {
        let mut out = vec![0xAA; len];
        assert_eq!(key.open_to(&sealed, b"", &mut out), Err(Unauthentic), "{len} bytes");
        assert!(out.iter().all(|byte| *byte == 0));
    }
    let mut out = [0xAA; 8];
    assert_eq!(key.open_to(&sealed[..NONCE_LEN - 1], b"", &mut out), Err(Unauthentic));
    assert_eq!(out, [0; 8]);
}

fn other_key_and_other_additional_data_are_refused<E: Engine>() {
    let sealed = key::<E>(&[7; 32]).seal(b"", b"one").unwrap();
    assert_eq!(key::<E>(&[7; 32]).open(&sealed, b"one").unwrap(), b"");
    assert_eq!(key::<E>(&[7; 32]).open(&sealed, b"two"), Err(Unauthentic));
    assert_eq!(key::<E>(&[8; 32]).open(&sealed, b"one"), Err(Unauthentic));
}

fn a_fresh_nonce_each_time<E: Engine>() {
    let key = key::<E>(&[7; 32]);
    let (one, two) = (key.seal(b"same", b"").unwrap(), key.seal(b"same", b"").unwrap());
    assert_ne!(one[..NONCE_LEN], two[..NONCE_LEN]);
    assert_ne!(one[NONCE_LEN..], two[NONCE_LEN..]);
}

/// The deterministic generator is the one the page describes.
#[test]
fn the_input_stream_is_shake_128_of_nothing() {
    let mut start = [0; 16];
    Shake128::default().finalize_xof().read(&mut start);
    assert_eq!(start[..], hex("7f9c2ba4e88f827d616045507605853e"));
}

fn key<E: Engine>(bytes: &[u8]) -> XaesKey<E> {
    XaesKey::new(&Key256::copy_from(bytes.try_into().unwrap()))
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../tests/data/xaes-256-gcm.json")).unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    let (digits, _) = text.as_bytes().as_chunks::<2>();
    digits.iter().map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
