//! Round trips at the edges of chunks, and every way to damage a message.

#![allow(clippy::cast_possible_truncation, reason = "small numbers of a test")]

use super::*;

on_each_engine!(
    every_size_at_a_chunk_boundary_comes_back,
    every_truncation_of_a_short_message_is_refused,
    truncation_around_every_chunk_boundary_is_refused,
    every_flipped_bit_of_a_short_message_is_refused,
    reordered_duplicated_dropped_and_appended_chunks_are_refused,
    another_key_or_context_is_refused_by_the_commitment,
    chunks_seal_and_open_in_any_order,
    sealing_in_place_and_apart_is_the_same,
    a_message_sealed_in_place_ends_with_its_first_short_chunk,
    a_chunk_that_is_too_long_does_not_open_though_it_is_authentic,
    chunks_are_numbered_once_and_end_with_the_short_one,
    a_chunk_of_a_wrong_length_is_not_sealed_and_uses_no_number,
    a_chunk_beyond_the_last_number_is_neither_sealed_nor_opened,
    a_failed_open_leaves_zeros,
    a_salt_is_never_the_same,
);

const SIZES: [usize; 10] = [
    0,
    1,
    15,
    CHUNK_LEN - 1,
    CHUNK_LEN,
    CHUNK_LEN + 1,
    2 * CHUNK_LEN - 1,
    2 * CHUNK_LEN,
    2 * CHUNK_LEN + 100,
    3 * CHUNK_LEN,
];

fn every_size_at_a_chunk_boundary_comes_back<E: Engine>() {
    for size in SIZES {
        let plaintext = message(size);
        let sealed = seal::<E>(&key(1), b"context", &plaintext).unwrap();
        assert_eq!(sealed.len(), sealed_len(size), "{size} bytes");
        assert_eq!(sealed.len(), PREFIX_LEN + size + 16 * (size / 16384 + 1), "{size} bytes");
        assert_eq!(open::<E>(&key(1), b"context", &sealed).unwrap(), plaintext, "{size} bytes");
    }
}

fn every_truncation_of_a_short_message_is_refused<E: Engine>() {
    let sealed = seal::<E>(&key(1), b"", &message(40)).unwrap();
    for len in 0..sealed.len() {
        assert_eq!(open::<E>(&key(1), b"", &sealed[..len]), Err(Unauthentic), "{len} bytes");
    }
}

fn truncation_around_every_chunk_boundary_is_refused<E: Engine>() {
    for size in [CHUNK_LEN, CHUNK_LEN + 1, 2 * CHUNK_LEN, 2 * CHUNK_LEN + 100] {
        let sealed = seal::<E>(&key(1), b"", &message(size)).unwrap();
        for boundary in (PREFIX_LEN..sealed.len()).step_by(SEALED_CHUNK_LEN) {
            for len in boundary - 20..=(boundary + 20).min(sealed.len() - 1) {
                assert_eq!(open::<E>(&key(1), b"", &sealed[..len]), Err(Unauthentic), "{size}: {len} bytes");
            }
        }
    }
}

fn every_flipped_bit_of_a_short_message_is_refused<E: Engine>() {
    let mut sealed = seal::<E>(&key(1), b"", &message(20)).unwrap();
    for bit in 0..sealed.len() * 8 {
        sealed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(open::<E>(&key(1), b"", &sealed), Err(Unauthentic), "bit {bit}");
        sealed[bit / 8] ^= 1 << (bit % 8);
    }
}

fn reordered_duplicated_dropped_and_appended_chunks_are_refused<E: Engine>() {
    let sealed = seal::<E>(&key(1), b"", &message(3 * CHUNK_LEN + 7)).unwrap();
    let (prefix, chunks) = sealed.split_at(PREFIX_LEN);
    let (full, last) = chunks.as_chunks::<SEALED_CHUNK_LEN>();
    let [a, b, c] = full else { panic!("three whole chunks") };
    let cases: [(&str, &[&[u8]]); 12] = [
        ("first two swapped", &[b, a, c, last]),
        ("last two whole ones swapped", &[a, c, b, last]),
        ("the second twice", &[a, b, b, c, last]),
        ("the first in the place of the second", &[a, a, c, last]),
        ("the first dropped", &[b, c, last]),
        ("the one in the middle dropped", &[a, c, last]),
        ("the last whole one dropped", &[a, b, last]),
        ("the short one dropped", &[a, b, c]),
        ("only the short one", &[last]),
        ("the short one twice", &[a, b, c, last, last]),
        ("a whole one after the short one", &[a, b, c, last, a]),
        ("a byte after the end", &[a, b, c, last, &[0]]),
    ];
    for (name, chunks) in cases {
        let message = [prefix, &chunks.concat()].concat();
        assert_eq!(open::<E>(&key(1), b"", &message), Err(Unauthentic), "{name}");
    }
    assert_eq!(
        open::<E>(&key(1), b"", &[prefix, a, b, c, last].concat()).unwrap(),
        message(3 * CHUNK_LEN + 7)
    );
}

fn another_key_or_context_is_refused_by_the_commitment<E: Engine>() {
    let sealed = seal::<E>(&key(1), b"context", b"").unwrap();
    let prefix = sealed.first_chunk().unwrap();
    assert!(Opener::<E>::new(&key(1), b"context", prefix).is_ok());
    for (key, context) in
        [(key(2), &b"context"[..]), (key(1), b"contexu"), (key(1), b""), (key(1), b"context\0")]
    {
        assert_eq!(Opener::<E>::new(&key, context, prefix).err(), Some(Unauthentic));
    }
}

fn chunks_seal_and_open_in_any_order<E: Engine>() {
    let (sealer, mut numbers) = ChunkSealer::<E>::new(&key(1), b"").unwrap();
    let mut numbers: Vec<Numbers> = (0..3).map(|_| numbers.take(1)).collect();
    let plaintext = message(2 * CHUNK_LEN + 5);
    let pieces: Vec<&[u8]> = plaintext.chunks(CHUNK_LEN).collect();
    let mut sealed = vec![Vec::new(); 3];
    for index in [2, 0, 1] {
        sealed[index] = vec![0; pieces[index].len() + TAG_LEN];
        sealer.seal_to(&mut numbers[index], pieces[index], &mut sealed[index]).unwrap();
    }
    let message = [sealer.prefix(), sealed.concat().as_slice()].concat();
    assert_eq!(open::<E>(&key(1), b"", &message).unwrap(), plaintext);
    let opener = Opener::<E>::new(&key(1), b"", sealer.prefix()).unwrap();
    for index in [1, 2, 0] {
        let mut chunk = sealed[index].clone();
        opener.open_chunk(index as u64, &mut chunk).unwrap();
        assert_eq!(chunk[..pieces[index].len()], *pieces[index]);
    }
}

fn sealing_in_place_and_apart_is_the_same<E: Engine>() {
    let (sealer, _) = ChunkSealer::<E>::new(&key(1), b"").unwrap();
    for size in [0, 1, 100, CHUNK_LEN] {
        let plaintext = message(size);
        let mut apart = vec![0; size + TAG_LEN];
        sealer.seal_to(&mut Numbers(9..10), &plaintext, &mut apart).unwrap();
        let mut in_place = [plaintext.as_slice(), &[0xEE; TAG_LEN]].concat();
        sealer.seal(&mut Numbers(9..10), &mut in_place).unwrap();
        assert_eq!(apart, in_place);
    }
}

fn a_message_sealed_in_place_ends_with_its_first_short_chunk<E: Engine>() {
    for last_len in [0, 1, CHUNK_LEN - 2 * TAG_LEN, CHUNK_LEN - TAG_LEN, CHUNK_LEN - 1] {
        let mut sealer = Sealer::<E>::new(&key(1), b"").unwrap();
        let plaintext = message(2 * CHUNK_LEN + last_len);
        let mut sealed = sealer.prefix().to_vec();
        for chunk in
            [&plaintext[..CHUNK_LEN], &plaintext[CHUNK_LEN..2 * CHUNK_LEN], &plaintext[2 * CHUNK_LEN..]]
        {
            let mut in_place = [chunk, &[0; TAG_LEN]].concat();
            sealer.seal_next(&mut in_place).unwrap();
            sealed.extend(in_place);
        }
        assert_eq!(sealer.seal_next(&mut [0; TAG_LEN]), Err(ChunkError::Finished), "{last_len} bytes");
        assert_eq!(open::<E>(&key(1), b"", &sealed).unwrap(), plaintext);
    }
}

fn a_chunk_that_is_too_long_does_not_open_though_it_is_authentic<E: Engine>() {
    let (sealer, _) = ChunkSealer::<E>::new(&key(1), b"").unwrap();
    let opener = Opener::<E>::new(&key(1), b"", sealer.prefix()).unwrap();
    // No sealer seals it, but whoever has the key can.
    let mut sealed = vec![7; CHUNK_LEN + 1 + TAG_LEN];
    sealer.chunks.gcm.seal_to(&sealer.chunks.nonce(0).unwrap(), &[], &[7; CHUNK_LEN + 1], &mut sealed);
    let mut out = vec![7; CHUNK_LEN + 1];
    assert_eq!(opener.open_chunk_to(0, &sealed, &mut out), Err(Unauthentic));
    assert!(out.iter().all(|byte| *byte == 0));
    assert_eq!(opener.open_chunk(0, &mut sealed), Err(Unauthentic));
    assert!(sealed.iter().all(|byte| *byte == 0));
}

fn chunks_are_numbered_once_and_end_with_the_short_one<E: Engine>() {
    let mut sealer = Sealer::<E>::new(&key(1), b"").unwrap();
    let plaintext = message(CHUNK_LEN + 5);
    let (mut first, mut last) = (vec![0; SEALED_CHUNK_LEN], plaintext[CHUNK_LEN..].to_vec());
    last.extend([0; TAG_LEN]);
    assert_eq!(sealer.seal_next_to(&plaintext, &mut first), Err(ChunkError::Length));
    sealer.seal_next_to(&plaintext[..CHUNK_LEN], &mut first).unwrap();
    sealer.seal_next(&mut last).unwrap();
    let whole = [sealer.prefix(), first.as_slice(), &last].concat();
    assert_eq!(open::<E>(&key(1), b"", &whole).unwrap(), plaintext);
    for _ in 0..2 {
        assert_eq!(sealer.seal_next(&mut last), Err(ChunkError::Finished));
        assert_eq!(sealer.seal_next_to(b"more", &mut [0; 4 + TAG_LEN]), Err(ChunkError::Finished));
    }
    let mut at_the_limit = Sealer::<E>::new(&key(1), b"").unwrap();
    at_the_limit.numbers.take(usize::MAX);
    assert_eq!(at_the_limit.seal_next(&mut last), Err(ChunkError::TooManyChunks));
}

#[test]
fn numbers_are_given_out_in_order_and_once() {
    let (sealer, mut all) = ChunkSealer::<crate::crypto::DefaultEngine>::new(&key(1), b"").unwrap();
    let (mut first, second) = (all.take(2), all.take(3));
    assert_eq!((first.first(), second.first(), all.first()), (0, 2, 5));
    let mut chunk = [1; 1 + TAG_LEN];
    sealer.seal(&mut first, &mut chunk).unwrap();
    assert_eq!(first.first(), 1);
    sealer.seal_to(&mut first, &[1], &mut chunk).unwrap();
    assert_eq!(sealer.seal(&mut first, &mut chunk), Err(ChunkError::TooManyChunks));
    assert_eq!(sealer.seal_to(&mut first, &[1], &mut chunk), Err(ChunkError::TooManyChunks));
    assert_eq!(first.take(1).0, 2..2);
    assert_eq!(all.take(usize::MAX).0, 5..MAX_CHUNKS);
    assert!(all.0.is_empty());
}

fn a_chunk_of_a_wrong_length_is_not_sealed_and_uses_no_number<E: Engine>() {
    let (sealer, mut numbers) = ChunkSealer::<E>::new(&key(1), b"").unwrap();
    let long = vec![0; CHUNK_LEN + 1];
    let mut out = vec![0; CHUNK_LEN + 1 + TAG_LEN];
    assert_eq!(sealer.seal_to(&mut numbers, &long, &mut out), Err(ChunkError::Length));
    assert_eq!(sealer.seal(&mut numbers, &mut out), Err(ChunkError::Length));
    assert_eq!(sealer.seal(&mut numbers, &mut [0; TAG_LEN - 1]), Err(ChunkError::Length));
    for len in [0, 9 + TAG_LEN, 11 + TAG_LEN] {
        assert_eq!(sealer.seal_to(&mut numbers, &[0; 10], &mut out[..len]), Err(ChunkError::Length));
    }
    assert!(out.iter().all(|byte| *byte == 0));
    assert_eq!(numbers.first(), 0);
}

fn a_chunk_beyond_the_last_number_is_neither_sealed_nor_opened<E: Engine>() {
    let (sealer, mut numbers) = ChunkSealer::<E>::new(&key(1), b"").unwrap();
    let opener = Opener::<E>::new(&key(1), b"", sealer.prefix()).unwrap();
    let mut chunk = [1; 1 + TAG_LEN];
    numbers.0.start = MAX_CHUNKS - 1;
    sealer.seal(&mut numbers, &mut chunk).unwrap();
    opener.open_chunk(MAX_CHUNKS - 1, &mut chunk).unwrap();
    assert_eq!(chunk[0], 1);
    let mut chunk = [1; 1 + TAG_LEN];
    assert_eq!(sealer.seal(&mut numbers, &mut chunk), Err(ChunkError::TooManyChunks));
    assert_eq!(sealer.seal_to(&mut numbers, &[1], &mut chunk), Err(ChunkError::TooManyChunks));
    assert_eq!(chunk, [1; 1 + TAG_LEN], "not touched");
    for index in [MAX_CHUNKS, MAX_CHUNKS + 1, u64::MAX] {
        assert_eq!(opener.open_chunk(index, &mut chunk), Err(Unauthentic));
        assert_eq!(chunk, [0; 1 + TAG_LEN]);
        let mut out = [1];
        assert_eq!(opener.open_chunk_to(index, &[1; 1 + TAG_LEN], &mut out), Err(Unauthentic));
        assert_eq!(out, [0]);
    }
}

fn a_failed_open_leaves_zeros<E: Engine>() {
    let (sealer, _) = ChunkSealer::<E>::new(&key(1), b"").unwrap();
    let opener = Opener::<E>::new(&key(1), b"", sealer.prefix()).unwrap();
    for size in [0, 1, 100, CHUNK_LEN] {
        let mut sealed = vec![0; size + TAG_LEN];
        sealer.seal_to(&mut Numbers(0..1), &message(size), &mut sealed).unwrap();
        for (index, flip) in [(1, None), (0, Some(0)), (0, Some(size)), (0, Some(size + TAG_LEN - 1))] {
            let mut damaged = sealed.clone();
            if let Some(position) = flip {
                damaged[position] ^= 0x80;
            }
            let mut apart = vec![0xAA; size];
            assert_eq!(opener.open_chunk_to(index, &damaged, &mut apart), Err(Unauthentic));
            assert!(apart.iter().all(|byte| *byte == 0), "apart, {size} bytes");
            assert_eq!(opener.open_chunk(index, &mut damaged), Err(Unauthentic));
            assert!(damaged.iter().all(|byte| *byte == 0), "in place, {size} bytes");
        }
    }
    // Lengths that no chunk has.
    for len in [0, 1, TAG_LEN - 1, SEALED_CHUNK_LEN + 1] {
        let mut chunk = vec![0xAA; len];
        assert_eq!(opener.open_chunk(0, &mut chunk), Err(Unauthentic));
        assert!(chunk.iter().all(|byte| *byte == 0), "{len} bytes");
        let mut out = vec![0xAA; 5];
        assert_eq!(opener.open_chunk_to(0, &vec![0xAA; len], &mut out), Err(Unauthentic));
        assert_eq!(out, [0; 5], "{len} bytes");
    }
}

#[test]
fn the_length_of_a_ciphertext_tells_that_of_its_plaintext_or_that_it_was_cut() {
    let (prefix, tag, chunk, sealed_chunk) = (56_u64, 16_u64, 16_384_u64, 16_400_u64);
    for size in SIZES {
        assert_eq!(opened_len(sealed_len(size) as u64), Some(size as u64));
    }
    for cut in (0..prefix + tag).chain(prefix + sealed_chunk..prefix + sealed_chunk + tag) {
        assert_eq!(opened_len(cut), None, "{cut} bytes");
    }
    for full in [0, 1, 2, 1000, MAX_CHUNKS - 1] {
        for last in [0, 1, chunk - 1] {
            let sealed = prefix + full * sealed_chunk + tag + last;
            assert_eq!(opened_len(sealed), Some(full * chunk + last), "{full} whole chunks and {last} bytes");
        }
        assert_eq!(
            opened_len(prefix + full * sealed_chunk + tag - 1),
            None,
            "{full} whole chunks and no tag"
        );
    }
    // 2³⁸ whole chunks leave no number for the last one.
    for last in [0, 1, chunk - 1] {
        assert_eq!(opened_len(prefix + MAX_CHUNKS * sealed_chunk + tag + last), None);
    }
    assert_eq!(opened_len(u64::MAX), None);
}

#[test]
fn no_length_of_a_plaintext_gives_a_length_that_is_too_short_for_it() {
    for size in [0, 1, CHUNK_LEN, usize::MAX / 2, usize::MAX - PREFIX_LEN, usize::MAX - 1, usize::MAX] {
        let expected = size as u128 + 56 + (size as u128 / 16_384 + 1) * 16;
        assert_eq!(sealed_len(size) as u128, expected.min(usize::MAX as u128), "{size} bytes");
    }
}

fn a_salt_is_never_the_same<E: Engine>() {
    let (one, two) = (seal::<E>(&key(1), b"", b"same").unwrap(), seal::<E>(&key(1), b"", b"same").unwrap());
    assert_ne!(one[..SALT_LEN], two[..SALT_LEN]);
    assert_ne!(one[PREFIX_LEN..], two[PREFIX_LEN..]);
}

#[cfg(all(feature = "aws-lc", feature = "rustcrypto"))]
#[test]
fn the_engines_write_the_same_bytes_and_read_each_other() {
    use crate::crypto::{AwsLc, RustCrypto};

    for size in SIZES {
        let plaintext = message(size);
        let (one, first) = ChunkSealer::<AwsLc>::with_salt(&key(1), b"context", [5; SALT_LEN]);
        let (two, second) = ChunkSealer::<RustCrypto>::with_salt(&key(1), b"context", [5; SALT_LEN]);
        let (mut by_one, mut by_two) = (Vec::new(), Vec::new());
        seal_after(&one, first, &plaintext, &mut by_one);
        seal_after(&two, second, &plaintext, &mut by_two);
        assert_eq!(by_one, by_two, "{size} bytes");
        assert_eq!(open::<RustCrypto>(&key(1), b"context", &by_one).unwrap(), plaintext);
        assert_eq!(open::<AwsLc>(&key(1), b"context", &by_two).unwrap(), plaintext);
    }
}

fn key(byte: u8) -> Key256 {
    Key256::copy_from(&[byte; 32])
}

fn message(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index % 251 + index / CHUNK_LEN) as u8).collect()
}
