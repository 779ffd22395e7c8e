//! The exact text, and that nothing else is taken for it.

#![allow(clippy::cast_possible_truncation, reason = "small numbers of a test")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

#[test]
fn the_text_is_exactly_this() {
    assert_eq!(encode(b""), "-----BEGIN ENVELOPE-----\n-----END ENVELOPE-----\n");
    assert_eq!(encode(b"attack"), "-----BEGIN ENVELOPE-----\nYXR0YWNr\n-----END ENVELOPE-----\n");
    let bytes: Vec<u8> = (0..50).collect();
    assert_eq!(
        encode(&bytes),
        "-----BEGIN ENVELOPE-----\n\
         AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4v\n\
         MDE=\n\
         -----END ENVELOPE-----\n"
    );
}

#[test]
fn writer_and_reader_agree_with_encode_and_decode_at_every_length() {
    for len in 0..=200_usize {
        let bytes: Vec<u8> = (0..len).map(|index| (index * 7) as u8).collect();
        let text = encode(&bytes);
        assert_eq!(decode(&text).unwrap(), bytes, "{len} bytes");
        assert_eq!(decode(&text.replace('\n', "\r\n")).unwrap(), bytes, "{len} bytes with CRLF");
        for piece in [1, 7, 48, 1000] {
            let mut writer = ArmorWriter::new(Vec::new()).unwrap();
            for part in bytes.chunks(piece) {
                writer.write_all(part).unwrap();
            }
            assert_eq!(writer.finish().unwrap(), text.as_bytes(), "{len} bytes by {piece}");
            let mut reader = ArmorReader::new(io::BufReader::with_capacity(piece, text.as_bytes()));
            let mut read = Vec::new();
            let mut buffer = vec![0; piece];
            loop {
                match reader.read(&mut buffer).unwrap() {
                    0 => break,
                    count => read.extend_from_slice(&buffer[..count]),
                }
            }
            assert_eq!(read, bytes, "{len} bytes by {piece}");
        }
    }
}

#[test]
fn armor_is_told_from_binary_by_its_first_line() {
    assert!(is_armored(encode(b"x").as_bytes()));
    assert!(!is_armored(b"\x89ENV\r\n\x1a\n"));
    assert!(!is_armored(b"-----BEGIN ENVELOPE"));
    assert!(!is_armored(b""));
}

#[test]
fn text_before_the_first_line_is_refused() {
    for text in ["\n", " ", "hello\n", "\u{FEFF}"] {
        refused(&format!("{text}{}", encode(b"x")), "does not begin with -----BEGIN ENVELOPE-----");
    }
}

#[test]
fn another_label_is_refused() {
    let text = encode(b"x");
    refused(&text.replace("ENVELOPE", "MESSAGE"), "does not begin with -----BEGIN ENVELOPE-----");
    refused(
        &text.replace("BEGIN ENVELOPE", "BEGIN envelope"),
        "does not begin with -----BEGIN ENVELOPE-----",
    );
    refused(
        &text.replace("BEGIN ENVELOPE-----", "BEGIN ENVELOPE----- "),
        "does not begin with -----BEGIN ENVELOPE-----",
    );
    refused(&text.replace("END ENVELOPE", "END MESSAGE"), "has a line that is not 64 characters long");
    refused("", "does not begin with -----BEGIN ENVELOPE-----");
}

#[test]
fn text_after_the_last_line_is_refused() {
    for text in ["\n", " ", "x", "\r\n", &encode(b"y"), &"z".repeat(1000)] {
        refused(&format!("{}{text}", encode(b"x")), "is followed by more text");
    }
}

#[test]
fn a_missing_last_line_is_refused() {
    for bytes in [&b""[..], b"x", &[1; 48], &[1; 60]] {
        let text = encode(bytes);
        refused(
            text.strip_suffix("-----END ENVELOPE-----\n").unwrap(),
            "does not end with -----END ENVELOPE-----",
        );
    }
}

#[test]
fn every_line_needs_its_end() {
    let text = encode(&[1; 60]);
    for len in 1..text.len() {
        if text.as_bytes()[len - 1] != b'\n' {
            refused(&text[..len], "has a line without an end");
        }
    }
}

#[test]
fn a_line_of_another_length_is_refused() {
    let wrong = "has a line that is not 64 characters long";
    let line = Base64::encode_string(&[1; 48]);
    let armored = |lines: &[&str]| format!("{BEGIN}\n{}\n{END}\n", lines.join("\n"));
    assert_eq!(decode(&armored(&[&line, &line])).unwrap(), [1; 96]);
    refused(&armored(&["AQEB", &line]), wrong);
    refused(&armored(&[&line, "AQEB", "AQEB"]), wrong);
    refused(&armored(&[&line, "AQ==", &line]), wrong);
    // 64 characters, but padded: the last line has to follow.
    let padded = Base64::encode_string(&[1; 47]);
    assert_eq!(padded.len(), 64);
    assert_eq!(decode(&armored(&[&padded])).unwrap(), [1; 47]);
    refused(&armored(&[&padded, &line]), wrong);
    refused(&armored(&[&line, ""]), wrong);
    refused(&armored(&["", &line]), wrong);
    refused(&armored(&[&format!("{line}AQEB")]), wrong);
    refused(&armored(&[&"A".repeat(100_000)]), wrong);
    // Refused for its length before it is compared with anything: 66 with a line end are the most.
    refused(&format!("{}\n", "A".repeat(65)), "does not begin with -----BEGIN ENVELOPE-----");
    refused(&format!("{}\n", "A".repeat(66)), wrong);
    refused(&format!("{BEGIN}\n{line}"), "has a line without an end");
}

#[test]
fn base64_that_is_not_canonical_is_refused() {
    let wrong = "has a line that is not canonical base64";
    for line in
        ["AQ", "AQE", "AQ=", "AR==", "AQF=", "A===", "====", "AQ==AQ==", " AQ==", "AQ== ", "AQ-_", "A\u{e9}"]
    {
        refused(&format!("{BEGIN}\n{line}\n{END}\n"), wrong);
    }
    refused(&format!("{BEGIN}\nAQ==\r\r\n{END}\n"), wrong);
}

#[test]
fn a_reader_that_failed_keeps_failing() {
    let good = Base64::encode_string(&[1; 48]);
    let text = format!("{BEGIN}\n{good}\n{}\n{good}\n{END}\n", "*".repeat(64));
    let mut reader = ArmorReader::new(text.as_bytes());
    let mut line = [0; 48];
    reader.read_exact(&mut line).unwrap();
    for reason in
        ["has a line that is not canonical base64", "was already found damaged", "was already found damaged"]
    {
        let error = reader.read(&mut line).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let inner = error.into_inner().unwrap().downcast::<FormatError>().unwrap();
        assert_eq!(*inner, FormatError::Armor(reason));
    }
}

#[test]
fn an_interrupted_read_loses_no_half_line() {
    struct Interrupted<'a> {
        rest: &'a [u8],
        interrupt: bool,
    }

    impl Read for Interrupted<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.interrupt = !self.interrupt;
            if self.interrupt {
                return Err(io::ErrorKind::Interrupted.into());
            }
            self.rest.read(out)
        }
    }

    let text = encode(&[7; 100]);
    // Each read, the last one at the end too, is interrupted before or after.
    for (capacity, interrupt) in (9..13).flat_map(|capacity| [(capacity, false), (capacity, true)]) {
        let source = Interrupted { rest: text.as_bytes(), interrupt };
        let mut read = Vec::new();
        ArmorReader::new(io::BufReader::with_capacity(capacity, source)).read_to_end(&mut read).unwrap();
        assert_eq!(read, [7; 100]);
    }
}

#[test]
fn a_source_that_fails_is_reported_as_it_failed_at_the_end_too() {
    struct Failing<'a>(&'a [u8]);

    impl Read for Failing<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() { Err(io::ErrorKind::TimedOut.into()) } else { self.0.read(out) }
        }
    }

    let text = encode(&[7; 100]);
    for length in [0, 10, 100, text.len()] {
        let source = io::BufReader::new(Failing(&text.as_bytes()[..length]));
        let error = ArmorReader::new(source).read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "after {length} bytes");
    }
}

#[test]
fn a_reader_whose_source_failed_says_so_and_not_that_the_text_is_damaged() {
    /// Holds all of the text, and fails at one call for it.
    struct FailsOnce<'a> {
        text: &'a [u8],
        calls_before: usize,
    }

    impl Read for FailsOnce<'_> {
        fn read(&mut self, _out: &mut [u8]) -> io::Result<usize> {
            unreachable!("armor is read by its lines");
        }
    }

    impl BufRead for FailsOnce<'_> {
        fn fill_buf(&mut self) -> io::Result<&[u8]> {
            let calls = self.calls_before;
            self.calls_before = calls.wrapping_sub(1);
            if calls == 0 { Err(io::ErrorKind::TimedOut.into()) } else { Ok(self.text) }
        }

        fn consume(&mut self, amount: usize) {
            self.text = &self.text[amount..];
        }
    }

    let bytes = [7; 500];
    let text = encode(&bytes);
    // The third call is for lines that are held already.
    for calls_before in 0..6 {
        let mut reader = ArmorReader::new(FailsOnce { text: text.as_bytes(), calls_before });
        let mut read = Vec::new();
        let error = loop {
            let mut piece = [0; 200];
            match reader.read(&mut piece) {
                Ok(len) => {
                    assert_ne!(len, 0, "it failed at call {calls_before}");
                    read.extend_from_slice(&piece[..len]);
                }
                Err(error) => break error,
            }
        };
        assert!(bytes.starts_with(&read));
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "at call {calls_before}");
        for _ in 0..2 {
            let error = reader.read(&mut [0; 200]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe, "at call {calls_before}");
            assert!(error.to_string().contains("failed before"), "{error}");
        }
    }
}

/// Does at each call what the script says, and then what a `Vec` does.
struct Scripted {
    written: Vec<u8>,
    script: Vec<Step>,
}

#[derive(Clone, Copy)]
enum Step {
    Fail,
    Lie,
    Panic,
    Take(usize),
}

impl Write for Scripted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let step = if self.script.is_empty() { Step::Take(bytes.len()) } else { self.script.remove(0) };
        match step {
            Step::Fail => Err(io::ErrorKind::TimedOut.into()),
            Step::Lie => Ok(bytes.len() + 1),
            Step::Panic => panic!("the writer panicked"),
            Step::Take(most) => self.written.write(&bytes[..bytes.len().min(most)]),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.script.is_empty() { Ok(()) } else { self.write(b"").map(drop) }
    }
}

#[test]
fn a_writer_that_failed_keeps_failing_and_gives_no_byte_of_a_failed_write_on() {
    for step in [Step::Fail, Step::Lie, Step::Panic, Step::Take(0)] {
        for taken in [0, 1, 64] {
            let mut writer = ArmorWriter::new(Scripted { written: Vec::new(), script: Vec::new() }).unwrap();
            writer.write_all(&[1; 47]).unwrap();
            writer.inner.script = if taken == 0 { vec![step] } else { vec![Step::Take(taken), step] };
            let failed = catch_unwind(AssertUnwindSafe(|| writer.write(&[2])));
            match step {
                Step::Fail => assert_eq!(failed.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut),
                Step::Take(_) => assert_eq!(failed.unwrap().unwrap_err().kind(), io::ErrorKind::WriteZero),
                Step::Lie => {
                    let said = failed.unwrap().unwrap_err().to_string();
                    let (reported, asked) = (66 - taken, 65 - taken);
                    let expected =
                        format!("{reported} bytes were reported as done where {asked} were asked for");
                    assert_eq!(said, expected);
                }
                Step::Panic => assert!(failed.is_err()),
            }
            let held = writer.inner.written.clone();
            for error in [writer.write(&[3]).unwrap_err(), writer.flush().unwrap_err()] {
                assert_eq!(error.to_string(), "it failed before, and cannot go on");
            }
            assert_eq!(writer.inner.written, held, "nothing more is written");
            assert_eq!(writer.finish().err().unwrap().kind(), io::ErrorKind::BrokenPipe);
        }
    }
}

#[test]
fn a_first_line_or_a_last_one_that_cannot_be_written_is_an_error() {
    for step in [Step::Fail, Step::Lie, Step::Take(0)] {
        let new = ArmorWriter::new(Scripted { written: Vec::new(), script: vec![Step::Take(5), step] });
        assert!(new.is_err());
        let mut writer = ArmorWriter::new(Scripted { written: Vec::new(), script: Vec::new() }).unwrap();
        writer.inner.script = vec![Step::Take(5), step];
        assert!(writer.finish().is_err());
    }
}

#[test]
fn a_reader_whose_source_panicked_does_not_go_on_in_the_middle_of_a_line() {
    /// Panics once, behind so many bytes.
    struct Panicking<'a> {
        text: &'a [u8],
        after: usize,
    }

    impl Read for Panicking<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let left = self.after;
            self.after = left.wrapping_sub(1);
            assert_ne!(left, 0, "the source panicked");
            self.text.read(&mut out[..1])
        }
    }

    let text = encode(&[7; 60]);
    for after in 0..text.len() {
        let source = Panicking { text: text.as_bytes(), after };
        let mut reader = ArmorReader::new(io::BufReader::with_capacity(1, source));
        let mut read = Vec::new();
        assert!(catch_unwind(AssertUnwindSafe(|| reader.read_to_end(&mut read))).is_err(), "{after}");
        let error = reader.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe, "{after}");
        assert!(error.to_string().contains("failed before"), "{error}");
    }
}

#[test]
fn flushing_the_writer_flushes_the_one_below() {
    #[derive(Default)]
    struct Flushed(usize);

    impl Write for Flushed {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0 += 1;
            Ok(())
        }
    }

    let mut writer = ArmorWriter::new(Flushed::default()).unwrap();
    writer.flush().unwrap();
    assert_eq!(writer.finish().unwrap().0, 2, "once when asked, once at the end");
}

#[track_caller]
fn refused(text: &str, reason: &'static str) {
    assert_eq!(decode(text), Err(FormatError::Armor(reason)), "{text:?}");
}
