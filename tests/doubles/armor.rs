//! Armor over readers and writers of all kinds.

use std::io::{self, BufRead, Read, Write};

use envelope_sdk::format::armor::{self, ArmorReader, ArmorWriter};
use proptest::prelude::*;

use crate::{
    pipes::Sink,
    script::{Script, Step, steps, unless_panicked},
};

/// Gives its text in pieces.
struct Text {
    text: Vec<u8>,
    at: usize,
    piece: usize,
    script: Script,
}

impl Read for Text {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = self.fill_buf()?.read(out)?;
        self.consume(len);
        Ok(len)
    }
}

impl BufRead for Text {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.piece == 0 {
            self.piece = match self.script.turn(self.text.len() - self.at) {
                Ok((done, _)) => done,
                Err(error) => return Err(error),
            };
        }
        Ok(&self.text[self.at..self.at + self.piece])
    }

    fn consume(&mut self, len: usize) {
        (self.at, self.piece) = (self.at + len, self.piece - len);
    }
}

proptest! {
    #[test]
    fn a_writer_that_is_asked_again_after_errors_never_finishes_another_text(
        bytes in prop::collection::vec(any::<u8>(), 0..400), writes in steps(), step in 1_usize..80, flush in any::<bool>(),
    ) {
        let sink = Sink { script: Script::new(writes), ..Sink::default() };
        let (written, script) = (sink.bytes.clone(), sink.script.clone());
        let Some(Ok(mut writer)) = unless_panicked(|| ArmorWriter::new(sink)) else {
            prop_assert!(script.has_misled());
            return Ok(());
        };
        let mut failed = false;
        for piece in bytes.chunks(step) {
            let mut rest = piece;
            while !rest.is_empty() {
                match unless_panicked(|| writer.write(rest)) {
                    Some(Ok(taken)) => {
                        prop_assert!(!failed, "what failed keeps failing");
                        rest = &rest[taken..];
                    }
                    Some(Err(_)) | None if failed => break,
                    Some(Err(_)) | None => failed = true,
                }
            }
            if flush && !matches!(unless_panicked(|| writer.flush()), Some(Ok(()))) {
                failed = true;
            }
        }
        match unless_panicked(|| writer.finish()) {
            Some(Ok(_)) => prop_assert!(!failed && *written.lock().unwrap() == armor::encode(&bytes).as_bytes()),
            Some(Err(_)) | None => prop_assert!(failed || script.has_misled()),
        }
    }

    #[test]
    fn a_reader_that_is_asked_again_after_errors_never_ends_with_other_bytes(
        bytes in prop::collection::vec(any::<u8>(), 0..400), reads in steps(), step in 1_usize..80,
    ) {
        let lies = reads.iter().any(|step| matches!(step, Step::Lie(_)));
        let script = Script::new(reads);
        let text = Text { text: armor::encode(&bytes).into(), at: 0, piece: 0, script: script.clone() };
        let (mut reader, mut read, mut buffer) = (ArmorReader::new(text), Vec::new(), vec![0; step]);
        let mut errors = 0;
        while errors < 3 {
            match unless_panicked(|| reader.read(&mut buffer)) {
                Some(Ok(0)) => break,
                Some(Ok(len)) => {
                    prop_assert_eq!(errors, 0, "what failed keeps failing");
                    read.extend_from_slice(&buffer[..len]);
                }
                Some(Err(_)) | None => errors += 1,
            }
        }
        prop_assert!(errors == 0 || (errors == 3 && script.has_misled()), "{errors} errors, lies: {lies}");
        prop_assert!(bytes.starts_with(&read));
        prop_assert!(errors > 0 || read == bytes);
    }
}
