//! Files and pipes: the same bytes as in memory, whatever the reader does.

#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that goes wrong shall stop, and says what it ran"
)]

mod common;

use std::io::{self, Read, Write};

use common::{block_on, context, envelope, memory, message};
use envelope_sdk::{
    DecryptError, Envelope, FormatError, OpenedHeader, PayloadKind,
    stream::{self, StreamError},
};

/// Returns at most `step` bytes a call and fails after `fail_after` of them.
struct Slow<'a> {
    rest: &'a [u8],
    step: usize,
    fail_after: Option<usize>,
    interrupts: bool,
    taken: usize,
}

impl<'a> Slow<'a> {
    fn new(rest: &'a [u8], step: usize) -> Self {
        Self { rest, step, fail_after: None, interrupts: false, taken: 0 }
    }
}

impl Read for Slow<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.fail_after.is_some_and(|limit| self.taken >= limit) {
            return Err(io::Error::other("the disk is on fire"));
        }
        self.interrupts = !self.interrupts;
        if self.interrupts {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let len = self.step.min(out.len());
        let len = self.fail_after.map_or(len, |limit| len.min(limit - self.taken));
        let read = (&mut self.rest).take(len as u64).read(out)?;
        self.taken += read;
        Ok(read)
    }
}

struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn maker() -> Envelope {
    let (provider, keys) = memory(1);
    envelope(&provider, &keys)
}

fn seal(envelope: &Envelope, plaintext: &[u8], step: usize) -> Vec<u8> {
    let started = block_on(envelope.start(PayloadKind::Attached, &context())).unwrap();
    let mut out = started.header;
    let len = stream::seal(started.payload, &mut Slow::new(plaintext, step), &mut out).unwrap();
    assert_eq!(len, plaintext.len() as u64);
    out
}

fn unlock(envelope: &Envelope, reader: &mut impl Read) -> OpenedHeader {
    let header = stream::read_header(reader).unwrap();
    block_on(envelope.unlock(header, &context())).unwrap()
}

#[test]
fn a_stream_and_a_message_in_memory_read_each_other() {
    let maker = maker();
    let block = 64 * 16_384;
    for size in [0, 1, 16_383, 16_384, 16_385, 40_000, block - 1, block, block + 1, 2 * block] {
        let plaintext = message(size);
        for step in [1000, 16_384, 16_400, usize::MAX] {
            let sealed = seal(&maker, &plaintext, step);
            assert_eq!(block_on(maker.decrypt(&sealed, &context())).unwrap(), plaintext, "{size} by {step}");
            let in_memory = block_on(maker.encrypt(&plaintext, &context())).unwrap();
            assert_eq!(in_memory.len(), sealed.len());
            let mut reader = Slow::new(&in_memory, step);
            let opened = unlock(&maker, &mut reader);
            let mut out = Vec::new();
            assert_eq!(stream::open(&opened, &mut reader, &mut out).unwrap(), size as u64);
            assert_eq!(out, plaintext, "{size} by {step}");
        }
    }
}

#[test]
fn a_reader_of_few_bytes_at_a_time_changes_nothing() {
    let maker = maker();
    let plaintext = message(33_000);
    for step in 1..=9 {
        let sealed = seal(&maker, &plaintext, step);
        let mut reader = Slow::new(&sealed, step);
        let opened = unlock(&maker, &mut reader);
        let mut out = Vec::new();
        stream::open(&opened, &mut reader, &mut out).unwrap();
        assert_eq!(out, plaintext);
    }
}

#[test]
fn a_read_error_in_the_middle_is_a_read_error() {
    let maker = maker();
    let plaintext = message(40_000);
    for limit in [0, 1, 16_384, 39_999] {
        let started = block_on(maker.start(PayloadKind::Attached, &context())).unwrap();
        let mut reader = Slow { fail_after: Some(limit), ..Slow::new(&plaintext, 5000) };
        let error = stream::seal(started.payload, &mut reader, &mut Vec::new()).unwrap_err();
        assert!(matches!(error, StreamError::Read(_)), "{error:?}");
        assert_eq!(error.to_string(), "reading failed: the disk is on fire");
    }
    let sealed = seal(&maker, &plaintext, usize::MAX);
    let header = Envelope::inspect(&sealed).unwrap().len();
    for limit in [0, 15, 16, header - 1] {
        let mut reader = Slow { fail_after: Some(limit), ..Slow::new(&sealed, 5000) };
        assert!(matches!(stream::read_header(&mut reader), Err(StreamError::Read(_))), "{limit}");
    }
    for limit in [header, header + 55, header + 56, header + 20_000, sealed.len()] {
        let mut reader = Slow { fail_after: Some(limit), ..Slow::new(&sealed, 5000) };
        let opened = unlock(&maker, &mut reader);
        let mut out = Vec::new();
        let error = stream::open(&opened, &mut reader, &mut out).unwrap_err();
        assert!(matches!(error, StreamError::Read(_)), "{limit}: {error:?}");
        assert_eq!(out, plaintext[..out.len()]);
    }
}

#[test]
fn a_write_error_is_a_write_error() {
    let maker = maker();
    let started = block_on(maker.start(PayloadKind::Attached, &context())).unwrap();
    let error = stream::seal(started.payload, &mut &b"x"[..], &mut Full).unwrap_err();
    assert!(matches!(error, StreamError::Write(_)), "{error:?}");
    let sealed = seal(&maker, b"x", 1);
    let mut reader = sealed.as_slice();
    let opened = unlock(&maker, &mut reader);
    let error = stream::open(&opened, &mut reader, &mut Full).unwrap_err();
    assert!(matches!(error, StreamError::Write(_)), "{error:?}");
}

#[test]
fn reading_a_header_leaves_the_reader_at_the_payload() {
    let maker = maker();
    let sealed = seal(&maker, b"attack at dawn", 1);
    let mut reader = sealed.as_slice();
    let header = stream::read_header(&mut reader).unwrap();
    assert_eq!(header, Envelope::inspect(&sealed).unwrap());
    assert_eq!(reader, &sealed[header.len()..]);
}

#[test]
fn a_detached_header_or_a_data_key_ends_where_its_reader_does() {
    let maker = maker();
    let (detached, payload) = block_on(maker.encrypt_detached(b"attack at dawn", &context())).unwrap();
    let data_key = block_on(maker.create_data_key(&context())).unwrap().header().to_bytes();
    for header in [detached, data_key] {
        for step in [1, usize::MAX] {
            assert!(stream::read_header(&mut Slow::new(&header, step)).is_ok());
            assert!(stream::read_header_at(&header).is_ok());
            for after in [&b"\0"[..], &payload] {
                let long = [&header[..], after].concat();
                let streamed = stream::read_header(&mut Slow::new(&long, step)).unwrap_err();
                for error in [streamed, stream::read_header_at(&long).unwrap_err()] {
                    let StreamError::Decrypt(DecryptError::Format(error)) = error else {
                        panic!("{error:?}");
                    };
                    assert_eq!(error, FormatError::TrailingData { what: "the header" });
                }
            }
        }
        // An error where the end should be is not the end.
        let mut failing = Slow { fail_after: Some(header.len()), ..Slow::new(&header, usize::MAX) };
        assert!(matches!(stream::read_header(&mut failing), Err(StreamError::Read(_))));
    }
}

#[test]
fn a_short_or_foreign_input_is_called_what_it_is() {
    let sealed = seal(&maker(), b"", 1);
    let format = |mut input: &[u8]| match stream::read_header(&mut input) {
        Err(StreamError::Decrypt(DecryptError::Format(error))) => error,
        other => panic!("{other:?}"),
    };
    for len in 0..16 {
        assert_eq!(format(&sealed[..len]), FormatError::Truncated { what: "preamble" }, "{len} bytes");
    }
    for len in [16, 17, 100] {
        assert_eq!(format(&sealed[..len]), FormatError::Truncated { what: "header" }, "{len} bytes");
    }
    for input in [&b"hello"[..], b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n 0123456789", &[0; 1000]] {
        assert_eq!(format(input), FormatError::NotAnEnvelope);
    }
    let damaged_by_text_mode = [b"\x89ENV\n\x1a\n", &sealed[8..]].concat();
    assert_eq!(format(&damaged_by_text_mode), FormatError::NotAnEnvelope);
}

#[test]
fn no_more_than_64_kib_and_48_bytes_are_read_for_a_header() {
    let sealed = seal(&maker(), b"", 1);
    let zeros = vec![0; 1 << 20];
    for (body_len, limit) in [(u32::MAX, 16), (65_537, 16), (65_536, 65_584), (1000, 1048)] {
        let mut input = sealed[..16].to_vec();
        input[12..].copy_from_slice(&body_len.to_be_bytes());
        input.extend_from_slice(&zeros);
        let mut reader = Slow::new(&input, usize::MAX);
        let error = stream::read_header(&mut reader).unwrap_err();
        assert!(
            matches!(error, StreamError::Decrypt(DecryptError::Format(_))),
            "body of {body_len}: {error:?}"
        );
        assert_eq!(reader.taken, limit, "body of {body_len}");
    }
    // Unknown versions, suites and flags need the preamble alone.
    for position in [0, 8, 9, 10, 11] {
        let mut input = sealed.clone();
        input[position] = 0x7F;
        let mut reader = Slow::new(&input, usize::MAX);
        let error = stream::read_header(&mut reader).unwrap_err();
        assert!(matches!(error, StreamError::Decrypt(DecryptError::Format(_))), "byte {position}: {error:?}");
        assert_eq!(reader.taken, 16);
    }
}
