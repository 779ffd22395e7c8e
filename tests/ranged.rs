//! Any part of a payload is what that part of the plaintext is.

#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that goes wrong shall stop"
)]

mod common;

use std::{
    io::{self, ErrorKind, Read, Seek, SeekFrom},
    sync::atomic::{AtomicU64, Ordering},
};

use common::{block_on, context, envelope, memory, message};
use envelope_sdk::{
    DecryptError, Envelope, Kind, OpenedHeader,
    stream::{RangedReader, ReadAt, StreamError, read_header},
};
use proptest::prelude::*;

const CHUNK: usize = 16_384;
const SEALED: usize = CHUNK + 16;

/// Counts the bytes that are read.
struct Counting<'a> {
    bytes: &'a [u8],
    read: AtomicU64,
}

impl ReadAt for Counting<'_> {
    fn size(&self) -> io::Result<u64> {
        self.bytes.size()
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = self.bytes.read_at(out, offset)?;
        self.read.fetch_add(read as u64, Ordering::SeqCst);
        Ok(read)
    }
}

fn maker() -> Envelope {
    let (provider, keys) = memory(1);
    envelope(&provider, &keys)
}

/// A detached payload of `plaintext` and its opened header.
fn sealed(maker: &Envelope, plaintext: &[u8]) -> (OpenedHeader, Vec<u8>) {
    let (header, payload) = block_on(maker.encrypt_detached(plaintext, &context())).unwrap();
    let header = read_header(&mut &header[..]).unwrap();
    assert_eq!(header.kind(), Kind::Detached);
    (block_on(maker.unlock(header, &context())).unwrap(), payload)
}

#[test]
fn every_range_around_the_boundaries_is_that_part_of_the_plaintext() {
    let maker = maker();
    for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 5] {
        let plaintext = message(size);
        let (opened, payload) = sealed(&maker, &plaintext);
        let reader = RangedReader::new(&opened, payload, 0).unwrap();
        assert_eq!((reader.len(), reader.is_empty()), (size as u64, size == 0));
        let boundaries = [0, CHUNK, 2 * CHUNK, 3 * CHUNK, size];
        let mut points: Vec<usize> =
            boundaries.iter().flat_map(|at| at.saturating_sub(1)..=at + 1).filter(|at| *at <= size).collect();
        points.sort_unstable();
        points.dedup();
        for (start, end) in points.iter().flat_map(|start| points.iter().map(move |end| (*start, *end))) {
            let range = reader.decrypt_range(start as u64..end as u64);
            if start <= end {
                assert!(range.unwrap() == plaintext[start..end], "{start}..{end} of {size}");
            } else {
                let error = range.unwrap_err();
                assert!(matches!(error, StreamError::Range { .. }), "{start}..{end}: {error:?}");
            }
        }
        let error = reader.decrypt_range(0..size as u64 + 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("the range 0..{} is not within the {size} bytes of the plaintext", size + 1)
        );
    }
}

#[test]
fn one_byte_of_many_reads_two_chunks_and_the_header() {
    let maker = maker();
    let plaintext = message(100 * CHUNK);
    let sealed = block_on(maker.encrypt(&plaintext, &context())).unwrap();
    let header = Envelope::inspect(&sealed).unwrap().len() as u64;
    let source = Counting { bytes: &sealed, read: AtomicU64::new(0) };
    let byte = block_on(maker.decrypt_range(&source, 555_555..555_556, &context())).unwrap();
    assert_eq!(byte, plaintext[555_555..555_556]);
    // The last chunk is empty: its tag, the prefix, and the one chunk.
    assert_eq!(source.read.load(Ordering::SeqCst), header + 56 + 16 + SEALED as u64);
}

#[test]
fn a_truncated_payload_is_refused_whatever_the_range() {
    let maker = maker();
    let (opened, payload) = sealed(&maker, &message(3 * CHUNK + 5));
    for len in [0, 55, 56, 71, 56 + 16, 56 + SEALED, 56 + 3 * SEALED, 56 + 3 * SEALED + 16, payload.len() - 1]
    {
        let error = RangedReader::new(&opened, &payload[..len], 0).err().unwrap();
        assert!(matches!(error, StreamError::Decrypt(DecryptError::NotAuthentic)), "{len}: {error:?}");
    }
    let extended = [&payload[..], b"x"].concat();
    assert!(matches!(
        RangedReader::new(&opened, &extended[..], 0).err().unwrap(),
        StreamError::Decrypt(DecryptError::NotAuthentic)
    ));
}

#[test]
fn a_changed_chunk_spoils_the_ranges_that_touch_it_and_no_others() {
    let maker = maker();
    let plaintext = message(3 * CHUNK + 5);
    let (opened, mut payload) = sealed(&maker, &plaintext);
    payload[56 + SEALED + 100] ^= 1;
    let mut reader = RangedReader::new(&opened, &payload[..], 0).unwrap();
    let chunk = CHUNK as u64;
    assert!(reader.decrypt_range(0..chunk).unwrap() == plaintext[..CHUNK]);
    assert!(reader.decrypt_range(2 * chunk..3 * chunk + 5).unwrap() == plaintext[2 * CHUNK..]);
    for range in [0..chunk + 1, chunk..chunk + 1, 2 * chunk - 1..2 * chunk] {
        let error = reader.decrypt_range(range).unwrap_err();
        assert!(matches!(error, StreamError::Decrypt(DecryptError::NotAuthentic)), "{error:?}");
    }
    let mut out = Vec::new();
    let error = reader.read_to_end(&mut out).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<StreamError>());
    assert!(matches!(inner, Some(StreamError::Decrypt(DecryptError::NotAuthentic))), "{inner:?}");
    assert!(out == plaintext[..CHUNK]);
}

#[test]
fn another_header_does_not_open_it() {
    let maker = maker();
    let (_, payload) = sealed(&maker, b"one");
    let (other, _) = sealed(&maker, b"two");
    let error = RangedReader::new(&other, payload, 0).err().unwrap();
    assert!(matches!(error, StreamError::Decrypt(DecryptError::NotAuthentic)), "{error:?}");
}

#[test]
fn seeking_follows_the_rules_of_files() {
    let maker = maker();
    let (opened, payload) = sealed(&maker, &message(CHUNK + 10));
    let mut reader = RangedReader::new(&opened, payload, 0).unwrap();
    assert_eq!(reader.seek(SeekFrom::End(-5)).unwrap(), CHUNK as u64 + 5);
    assert_eq!(reader.seek(SeekFrom::Current(2)).unwrap(), CHUNK as u64 + 7);
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, message(CHUNK + 10)[CHUNK + 7..]);
    assert_eq!(reader.seek(SeekFrom::Start(1 << 60)).unwrap(), 1 << 60);
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    assert_eq!(reader.seek(SeekFrom::End(-(CHUNK as i64) - 11)).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(reader.stream_position().unwrap(), 1 << 60, "a seek that fails moves nothing");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn reads_and_seeks_give_what_a_cursor_over_the_plaintext_gives(
        size in 0_usize..4 * CHUNK,
        steps in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..2 * CHUNK), 1..20),
    ) {
        let plaintext = message(size);
        let (opened, payload) = sealed(&maker(), &plaintext);
        let mut reader = RangedReader::new(&opened, payload, 0).unwrap();
        let mut cursor = io::Cursor::new(&plaintext);
        for (start, len) in steps {
            let to = SeekFrom::Start(start.index(size + 1) as u64);
            prop_assert_eq!(reader.seek(to).unwrap(), cursor.seek(to).unwrap());
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            (&mut reader).take(len as u64).read_to_end(&mut ours).unwrap();
            (&mut cursor).take(len as u64).read_to_end(&mut theirs).unwrap();
            prop_assert_eq!(ours, theirs);
        }
    }
}
