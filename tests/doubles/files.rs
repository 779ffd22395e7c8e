//! `ReadAt` and `WriteAt`, from several threads.

use std::{
    io::{self, IoSlice, IoSliceMut, Read, Seek, SeekFrom},
    sync::Mutex,
};

use envelope_sdk::stream::{RangedReader, ReadAt, StreamError, WriteAt, read_header_at};
use proptest::prelude::*;

use crate::{
    CHUNK, opens, parallel,
    script::{Script, Step, steps, unless_panicked},
    sealed, sizes, start, threads,
};

/// Says that it is longer or shorter than it is, and follows its script.
struct Store {
    bytes: Vec<u8>,
    size: u64,
    script: Script,
    /// Fills several buffers in one call.
    vectored: bool,
}

impl Store {
    fn new(bytes: &[u8], longer: i64, script: &Script, vectored: bool) -> Self {
        let size = (bytes.len() as u64).saturating_add_signed(longer);
        Self { bytes: bytes.to_vec(), size, script: script.clone(), vectored }
    }
}

impl ReadAt for Store {
    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let (done, reported) = self.script.turn(out.len())?;
        let done = self.bytes.read_at(&mut out[..done], offset)?;
        Ok(if reported > out.len() { reported } else { done })
    }

    fn read_vectored_at(&self, out: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<usize> {
        if !self.vectored {
            // As the trait has it, which this one cannot call.
            return Plain(self).read_vectored_at(out, offset);
        }
        let room: usize = out.iter().map(|buffer| buffer.len()).sum();
        let (done, reported) = self.script.turn(room)?;
        let (mut read, mut left) = (0, done);
        for buffer in out {
            let len = buffer.len().min(left);
            left -= len;
            let now = self.bytes.read_at(&mut buffer[..len], offset + read as u64)?;
            read += now;
            if now < len {
                break;
            }
        }
        Ok(if reported > room { reported } else { read })
    }
}

/// Reads a store by `read_at` alone.
struct Plain<'a>(&'a Store);

impl ReadAt for Plain<'_> {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(out, offset)
    }
}

/// Takes what its script says.
struct Place {
    bytes: Mutex<Vec<u8>>,
    script: Script,
}

impl WriteAt for Place {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let (done, reported) = self.script.turn(bytes.len())?;
        let (mut held, at) = (self.bytes.lock().unwrap(), offset as usize);
        held[at..at + done].copy_from_slice(&bytes[..done]);
        Ok(reported)
    }

    fn write_vectored_at(&self, bytes: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let all: Vec<u8> = bytes.iter().flat_map(|buffer| buffer.iter().copied()).collect();
        self.write_at(&all, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        match self.script.next() {
            Step::Fail => return Err(io::ErrorKind::StorageFull.into()),
            Step::Panic => crate::script::scripted_panic(),
            _ => self.bytes.lock().unwrap().resize(len as usize, 0xAA),
        }
        Ok(())
    }
}

/// A place that holds more than will be written.
fn place(script: &Script) -> Place {
    Place { bytes: Mutex::new(vec![0xAA; 100 * CHUNK]), script: script.clone() }
}

proptest! {
    #[test]
    fn what_is_sealed_from_file_to_file_opens_to_what_was_read(
        size in sizes(), threads in threads(), reads in steps(), writes in steps(), vectored in any::<bool>(),
        longer in prop_oneof![6 => Just(0_i64), 1 => -40_000_i64..40_000], at in 0_u64..100,
    ) {
        let plaintext = crate::message(size);
        let (reads, writes) = (Script::new(reads), Script::new(writes));
        let input = Store::new(&plaintext, longer, &reads, vectored);
        let (output, started) = (place(&writes), start());
        match unless_panicked(|| parallel(threads).seal_file(started.payload, &input, &output, at)) {
            Some(Ok(len)) => {
                // One that says it is shorter and ends there is as long as it says.
                prop_assert_eq!(len, input.size);
                prop_assert!(len == size as u64 || reads.has_misled());
                let bytes = output.bytes.into_inner().unwrap();
                let opened = opens(&started.header, &bytes[at as usize..]);
                prop_assert!(opened.is_some_and(|opened| opened == plaintext[..len as usize]));
            }
            Some(Err(StreamError::InputChanged { .. })) if input.size != size as u64 => {}
            Some(Err(StreamError::InputChanged { .. } | StreamError::Read(_))) | None if reads.has_misled() => {}
            Some(Err(StreamError::Write(_))) | None if writes.has_misled() => {}
            Some(Err(error)) => prop_assert!(false, "{error:?}"),
            None => prop_assert!(false, "a panic that nothing explains"),
        }
    }

    #[test]
    fn what_is_opened_from_file_to_file_is_the_plaintext(
        size in sizes(), threads in threads(), reads in steps(), writes in steps(), vectored in any::<bool>(),
        longer in prop_oneof![6 => Just(0_i64), 1 => -40_000_i64..40_000], at in 0_usize..100,
    ) {
        let plaintext = crate::message(size);
        let (opened, payload) = sealed(&plaintext);
        let (reads, writes) = (Script::new(reads), Script::new(writes));
        let input = Store::new(&[&vec![0x55; at], &payload[..]].concat(), longer, &reads, vectored);
        let output = place(&writes);
        match unless_panicked(|| parallel(threads).open_file(&opened, &input, at as u64, &output)) {
            Some(Ok(len)) => {
                prop_assert_eq!((len, input.size), (size as u64, input.bytes.len() as u64));
                prop_assert!(output.bytes.into_inner().unwrap() == plaintext);
            }
            Some(Err(StreamError::InputChanged { .. } | StreamError::Decrypt(_)))
                if input.size != input.bytes.len() as u64 => {}
            Some(Err(StreamError::InputChanged { .. } | StreamError::Read(_))) | None if reads.has_misled() => {}
            Some(Err(StreamError::Write(_))) | None if writes.has_misled() => {}
            Some(Err(error)) => prop_assert!(false, "{error:?}"),
            None => prop_assert!(false, "a panic that nothing explains"),
        }
    }

    #[test]
    fn a_reader_of_ranges_that_is_asked_again_after_errors_never_skips_or_ends_early(
        size in 0_usize..4 * CHUNK, reads in steps(), start in any::<prop::sample::Index>(), step in 1_usize..50_000,
    ) {
        let plaintext = crate::message(size);
        let (opened, payload) = sealed(&plaintext);
        let script = Script::default();
        let Ok(mut reader) = RangedReader::new(&opened, Store::new(&payload, 0, &script, false), 0) else {
            return Err(TestCaseError::fail("nothing is wrong yet"));
        };
        script.add(reads);
        let start = start.index(size + 1);
        reader.seek(SeekFrom::Start(start as u64)).unwrap();
        let (mut read, mut buffer) = (Vec::new(), vec![0; step]);
        // Each error uses up a step of the script.
        loop {
            match unless_panicked(|| reader.read(&mut buffer)) {
                Some(Ok(0)) => break,
                Some(Ok(len)) => read.extend_from_slice(&buffer[..len]),
                Some(Err(_)) | None => prop_assert!(script.has_misled()),
            }
        }
        prop_assert!(read == plaintext[start..]);
    }

    #[test]
    fn a_header_is_read_from_a_file_or_refused(reads in steps()) {
        let (started, script) = (start(), Script::new(reads));
        let store = Store::new(&started.header, 0, &script, true);
        match unless_panicked(|| read_header_at(&store)) {
            Some(Ok(header)) => prop_assert_eq!(header.to_bytes(), started.header),
            Some(Err(StreamError::Read(_) | StreamError::Decrypt(_))) | None => prop_assert!(script.has_misled()),
            Some(Err(error)) => prop_assert!(false, "{error:?}"),
        }
    }
}
