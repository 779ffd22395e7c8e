//! Every single-bit flip and every truncation of an envelope is refused, and
//! nothing that was not authenticated leaves.

#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that goes wrong shall stop, and says what it ran"
)]

mod common;

use std::{io, ops::Range, thread};

use common::{block_on, context, envelope, memory, message};
use envelope_sdk::{
    DecryptError, EncryptionContext, Envelope,
    stream::{self, StreamError},
};

/// Two whole chunks and a short one.
const LEN: usize = 2 * 16_384 + 300;

#[test]
fn every_flipped_bit_and_truncation_with_1_recipient_is_refused() {
    everything_is_refused(1);
}

#[test]
fn every_flipped_bit_and_truncation_with_2_recipients_is_refused() {
    everything_is_refused(2);
}

#[test]
fn every_flipped_bit_and_truncation_with_16_recipients_is_refused() {
    everything_is_refused(16);
}

fn everything_is_refused(recipients: usize) {
    let (provider, keys) = memory(recipients);
    let envelope = envelope(&provider, &keys);
    let sealed = block_on(envelope.encrypt(&message(LEN), &context())).unwrap();
    assert_eq!(block_on(envelope.decrypt(&sealed, &context())).unwrap(), message(LEN));

    let half = sealed.len() * 4;
    let flips = thread::scope(|scope| {
        let (envelope, sealed) = (&envelope, &sealed);
        let other = scope.spawn(move || flip_all(envelope, sealed.clone(), half..sealed.len() * 8));
        flip_all(envelope, sealed.clone(), 0..half) + other.join().unwrap()
    });
    assert_eq!(flips, sealed.len() * 8);
    for len in 0..sealed.len() {
        refused(block_on(envelope.decrypt(&sealed[..len], &context())), || format!("{len} bytes"));
    }
    println!("{recipients} recipients: {flips} flipped bits and {} truncations refused", sealed.len());
}

fn flip_all(envelope: &Envelope, mut sealed: Vec<u8>, bits: Range<usize>) -> usize {
    let context = context();
    let count = bits.len();
    for bit in bits {
        sealed[bit / 8] ^= 1 << (bit % 8);
        refused(block_on(envelope.decrypt(&sealed, &context)), || format!("bit {bit}"));
        sealed[bit / 8] ^= 1 << (bit % 8);
    }
    count
}

fn refused(result: Result<Vec<u8>, DecryptError>, what: impl Fn() -> String) {
    match result {
        Err(
            DecryptError::NotAuthentic
            | DecryptError::Format(_)
            | DecryptError::WrongKind { .. }
            | DecryptError::NoConfiguredKey { .. }
            | DecryptError::Keys { .. },
        ) => {}
        other => panic!("{}: {:?}", what(), other.map(|plaintext| plaintext.len())),
    }
}

#[test]
fn a_stream_releases_only_the_authentic_beginning_of_a_damaged_envelope() {
    let (provider, keys) = memory(2);
    let envelope = envelope(&provider, &keys);
    let plaintext = message(LEN);
    let mut sealed = block_on(envelope.encrypt(&plaintext, &context())).unwrap();
    let len = Envelope::inspect(&sealed).unwrap().len();
    // All of header and prefix once in a while, every edge of a chunk closely.
    let edges = [len + 56, len + 56 + 16_400, len + 56 + 32_800, sealed.len()];
    let near = |byte: usize| edges.iter().any(|edge| byte.abs_diff(*edge) < 20);
    let mut tried = 0;
    for bit in (0..sealed.len() * 8).filter(|bit| near(bit / 8) || bit % 199 == 0) {
        sealed[bit / 8] ^= 1 << (bit % 8);
        let (result, written) = open_stream(&envelope, &sealed, &context());
        sealed[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(result, Err(StreamError::Decrypt(_))), "bit {bit}: {result:?}");
        assert_eq!(written, plaintext[..written.len()], "bit {bit}");
        let whole_chunks = (bit / 8).saturating_sub(len + 56) / 16_400;
        assert_eq!(written.len(), whole_chunks.min(2) * 16_384, "bit {bit}");
        tried += 1;
    }
    assert!(tried > 2000, "{tried}");
    for cut in (0..sealed.len()).filter(|cut| near(*cut) || cut % 499 == 0) {
        let (result, written) = open_stream(&envelope, &sealed[..cut], &context());
        assert!(matches!(result, Err(StreamError::Decrypt(_))), "{cut} bytes: {result:?}");
        assert_eq!(written, plaintext[..written.len()], "{cut} bytes");
        assert_eq!(written.len() % 16_384, 0, "{cut} bytes");
    }
}

#[test]
fn data_after_the_end_is_refused() {
    let (provider, keys) = memory(1);
    let envelope = envelope(&provider, &keys);
    for len in [0, 1, 16_383, 16_384, LEN] {
        let sealed = block_on(envelope.encrypt(&message(len), &context())).unwrap();
        for extra in [&[0][..], &[0; 16], &[0; 40], &[1; 16_400], &sealed[sealed.len() - 16..], &sealed] {
            let extended = [sealed.as_slice(), extra].concat();
            let error = block_on(envelope.decrypt(&extended, &context())).unwrap_err();
            assert!(matches!(error, DecryptError::NotAuthentic), "{len} and {} bytes", extra.len());
            let (result, _) = open_stream(&envelope, &extended, &context());
            assert!(matches!(result, Err(StreamError::Decrypt(DecryptError::NotAuthentic))));
        }
    }
}

#[test]
fn a_payload_under_another_header_is_refused() {
    let (provider, keys) = memory(1);
    let envelope = envelope(&provider, &keys);
    let (header, payload) = block_on(envelope.encrypt_detached(b"one", &context())).unwrap();
    let (other_header, other_payload) = block_on(envelope.encrypt_detached(b"two", &context())).unwrap();
    for (header, payload) in [(&header, &other_payload), (&other_header, &payload)] {
        let error = block_on(envelope.decrypt_detached(header, payload, &context())).unwrap_err();
        assert!(matches!(error, DecryptError::NotAuthentic), "{error:?}");
    }
    assert_eq!(block_on(envelope.decrypt_detached(&header, &payload, &context())).unwrap(), b"one");
}

fn open_stream(
    envelope: &Envelope,
    mut sealed: &[u8],
    context: &EncryptionContext,
) -> (Result<u64, StreamError>, Vec<u8>) {
    let mut written = Vec::new();
    let result = (|| {
        let header = stream::read_header(&mut sealed)?;
        let opened = block_on(envelope.unlock(header, context))?;
        stream::open(&opened, &mut io::Read::by_ref(&mut sealed), &mut written)
    })();
    (result, written)
}
