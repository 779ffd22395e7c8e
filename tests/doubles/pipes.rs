//! `Read` and `Write`.

use std::{
    io::{self, Read, Write},
    sync::{Arc, Mutex},
};

use envelope_sdk::{
    PayloadKind,
    stream::{self, StreamError},
};
use proptest::prelude::*;

use crate::{
    MAKER, block_on, context, opens, parallel,
    script::{Script, Step, steps, unless_panicked},
    sealed, sizes, start, threads,
};

/// A reader that keeps count of what it really gave.
pub(crate) struct Source {
    pub(crate) bytes: Vec<u8>,
    pub(crate) given: Arc<Mutex<usize>>,
    pub(crate) script: Script,
}

impl Source {
    pub(crate) fn new(bytes: &[u8], script: &Script) -> Self {
        Self { bytes: bytes.to_vec(), given: Arc::default(), script: script.clone() }
    }
}

impl Read for Source {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        // A lie at the end too: it is one about the buffer.
        let (done, reported) = self.script.turn(out.len())?;
        let mut given = self.given.lock().unwrap();
        let rest = &self.bytes[*given..];
        let done = done.min(rest.len());
        out[..done].copy_from_slice(&rest[..done]);
        *given += done;
        Ok(if reported > out.len() { reported } else { done })
    }
}

/// A writer that keeps what it was really given.
#[derive(Clone, Default)]
pub(crate) struct Sink {
    pub(crate) bytes: Arc<Mutex<Vec<u8>>>,
    pub(crate) script: Script,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (done, reported) = self.script.turn(bytes.len())?;
        self.bytes.lock().unwrap().extend_from_slice(&bytes[..done]);
        Ok(reported)
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.script.next() {
            Step::Fail => Err(io::ErrorKind::TimedOut.into()),
            Step::Panic => crate::script::scripted_panic(),
            _ => Ok(()),
        }
    }
}

proptest! {
    #[test]
    fn what_is_sealed_from_a_reader_to_a_writer_opens_to_what_was_read(
        size in sizes(), threads in threads(), reads in steps(), writes in steps(), plainly in any::<bool>(),
    ) {
        let plaintext = crate::message(size);
        let (reads, writes) = (Script::new(reads), Script::new(writes));
        let mut source = Source::new(&plaintext, &reads);
        let given = source.given.clone();
        let mut sink = Sink { script: writes.clone(), ..Sink::default() };
        let (bytes, started) = (sink.bytes.clone(), start());
        let done = unless_panicked(|| if plainly {
            stream::seal(started.payload, &mut source, &mut sink)
        } else {
            parallel(threads).seal_pipe(started.payload, source, &mut sink)
        });
        let given = *given.lock().unwrap();
        match done {
            Some(Ok(len)) => {
                prop_assert_eq!(len, given as u64);
                let opened = opens(&started.header, &bytes.lock().unwrap());
                prop_assert!(opened.is_some_and(|opened| opened == plaintext[..given]));
            }
            Some(Err(StreamError::Read(_))) | None if reads.has_misled() => {}
            Some(Err(StreamError::Write(_))) | None if writes.has_misled() => {}
            Some(Err(error)) => prop_assert!(false, "{error:?}"),
            None => prop_assert!(false, "a panic that nothing explains"),
        }
    }

    #[test]
    fn what_is_opened_from_a_reader_to_a_writer_is_the_plaintext(
        size in sizes(), threads in threads(), reads in steps(), writes in steps(), plainly in any::<bool>(),
        flipped in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let plaintext = crate::message(size);
        let (opened, mut payload) = sealed(&plaintext);
        if let Some(flipped) = flipped {
            let at = flipped.index(payload.len());
            payload[at] ^= 1;
        }
        let (reads, writes) = (Script::new(reads), Script::new(writes));
        let mut source = Source::new(&payload, &reads);
        let mut sink = Sink { script: writes.clone(), ..Sink::default() };
        let bytes = sink.bytes.clone();
        let done = unless_panicked(|| if plainly {
            stream::open(&opened, &mut source, &mut sink)
        } else {
            parallel(threads).open_pipe(&opened, source, &mut sink)
        });
        let bytes = bytes.lock().unwrap();
        prop_assert!(plaintext.starts_with(&bytes), "not a byte that is not authentic");
        match done {
            Some(Ok(len)) => {
                prop_assert_eq!(len, size as u64);
                prop_assert!(*bytes == plaintext && flipped.is_none());
            }
            Some(Err(StreamError::Decrypt(_))) if flipped.is_some() => {}
            Some(Err(StreamError::Decrypt(_) | StreamError::Read(_))) | None if reads.has_misled() => {}
            Some(Err(StreamError::Write(_))) | None if writes.has_misled() => {}
            Some(Err(error)) => prop_assert!(false, "{error:?}"),
            None => prop_assert!(false, "a panic that nothing explains"),
        }
    }

    #[test]
    fn a_header_is_read_or_refused_and_leaves_the_reader_behind_it(reads in steps(), size in 0_usize..50) {
        let started = block_on(MAKER.start(PayloadKind::Attached, &context())).unwrap();
        let envelope = [&started.header[..], &crate::message(size)].concat();
        let script = Script::new(reads);
        let mut source = Source::new(&envelope, &script);
        match unless_panicked(|| stream::read_header(&mut source)) {
            Some(Ok(header)) => {
                prop_assert_eq!(header.to_bytes(), started.header);
                prop_assert_eq!(*source.given.lock().unwrap(), header.len());
            }
            Some(Err(StreamError::Read(_) | StreamError::Decrypt(_))) | None => prop_assert!(script.has_misled()),
            Some(Err(error)) => prop_assert!(false, "{error:?}"),
        }
    }
}
