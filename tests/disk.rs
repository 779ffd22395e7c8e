//! Files, on a disk and in memory (tmpfs): what is written is all that is there,
//! or nothing was touched. Some mistakes show on one of the two alone.

#![cfg(unix)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that goes wrong shall stop"
)]

mod common;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
};

use common::{block_on, context, envelope, memory, message};
use envelope_sdk::{
    Envelope, OpenedHeader, PayloadKind, Started,
    crypto::cobblestone::sealed_len,
    stream::{FileIdentity, Parallel, RangedReader, ReadAt, StreamError, WriteAt, read_header},
};
use tempfile::TempDir;

const CHUNK: usize = 16_384;
const THREADS: [usize; 2] = [1, 32];

/// A folder on the disk, and one in memory where there is such a thing.
fn folders() -> Vec<TempDir> {
    let folders = [env!("CARGO_TARGET_TMPDIR"), "/dev/shm"].map(Path::new);
    let there = folders.into_iter().filter(|folder| folder.is_dir());
    there.map(|folder| tempfile::tempdir_in(folder).unwrap()).collect()
}

fn maker() -> Envelope {
    let (provider, keys) = memory(1);
    envelope(&provider, &keys)
}

fn start(maker: &Envelope) -> Started {
    block_on(maker.start(PayloadKind::Detached, &context())).unwrap()
}

fn sealed(maker: &Envelope, plaintext: &[u8]) -> (OpenedHeader, Vec<u8>) {
    let (header, payload) = block_on(maker.encrypt_detached(plaintext, &context())).unwrap();
    let header = read_header(&mut &header[..]).unwrap();
    (block_on(maker.unlock(header, &context())).unwrap(), payload)
}

fn parallel(threads: usize) -> Parallel<'static> {
    Parallel::new().threads(NonZeroUsize::new(threads).unwrap())
}

/// A file that holds `bytes`, open to read and write.
fn file(folder: &TempDir, name: &str, bytes: &[u8]) -> (PathBuf, File) {
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    (path, file)
}

#[test]
fn files_of_every_length_come_back() {
    let maker = maker();
    for folder in folders() {
        for (size, threads) in
            [0, 1, 3 * CHUNK, 70 * CHUNK + 7].into_iter().flat_map(|size| THREADS.map(|of| (size, of)))
        {
            let plaintext = message(size);
            let (_, input) = file(&folder, "in", &plaintext);
            let started = start(&maker);
            let (sealed, output) = file(&folder, "sealed", &started.header);
            let at = started.header.len() as u64;
            parallel(threads).seal_file(started.payload, &input, &output, at).unwrap();
            assert_eq!(fs::metadata(&sealed).unwrap().len(), at + sealed_len(size) as u64);
            let header = read_header(&mut &started.header[..]).unwrap();
            let opened = block_on(maker.unlock(header, &context())).unwrap();
            let (back, plain) = file(&folder, "back", b"");
            parallel(threads).open_file(&opened, &output, at, &plain).unwrap();
            assert!(fs::read(back).unwrap() == plaintext, "{size} bytes in {}", folder.path().display());
        }
    }
}

#[test]
fn what_stood_behind_the_output_is_cut_off() {
    let maker = maker();
    for folder in folders() {
        let sizes = [0, 1, 100_000, 399_000];
        for (size, threads) in sizes.into_iter().flat_map(|size| THREADS.map(|threads| (size, threads))) {
            let plaintext = message(size);
            let (_, input) = file(&folder, "in", &plaintext);
            for at in [0, 77, 500] {
                let (path, output) = file(&folder, "sealed", &[0xAA; 400_000]);
                let started = start(&maker);
                parallel(threads).seal_file(started.payload, &input, &output, at as u64).unwrap();
                let written = fs::read(path).unwrap();
                assert_eq!(written.len(), at + sealed_len(size), "{} bytes at {at}", folder.path().display());
                assert!(written[..at].iter().all(|byte| *byte == 0xAA), "what stands before stays");
                let opened = block_on(maker.decrypt_detached(&started.header, &written[at..], &context()));
                assert!(opened.unwrap() == plaintext);
            }
            let (opened, payload) = sealed(&maker, &plaintext);
            let (_, input) = file(&folder, "payload", &payload);
            let (path, output) = file(&folder, "plain", &[0xAA; 400_000]);
            parallel(threads).open_file(&opened, &input, 0, &output).unwrap();
            assert!(fs::read(path).unwrap() == plaintext, "{size} bytes in {}", folder.path().display());
        }
    }
}

/// Passes writes on and forgets the rest, as a wrapper may.
struct WritesAlone<'a>(&'a File);

impl WriteAt for WritesAlone<'_> {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        WriteAt::write_at(self.0, bytes, offset)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_file_that_is_open_to_append_is_refused_before_a_byte_is_written() {
    let maker = maker();
    let plaintext = message(5 * CHUNK);
    let refused = |result: Result<u64, StreamError>, path: &Path| {
        let error = result.unwrap_err();
        assert!(
            matches!(&error, StreamError::Write(error) if error.kind() == ErrorKind::InvalidInput),
            "{error:?}"
        );
        assert!(error.to_string().contains("open for appending (O_APPEND)"), "{error}");
        assert_eq!(fs::read(path).unwrap(), b"before");
    };
    for folder in folders() {
        let (opened, payload) = sealed(&maker, &plaintext);
        for threads in THREADS {
            let (path, _) = file(&folder, "log", b"before");
            let log = OpenOptions::new().read(true).append(true).open(&path).unwrap();
            refused(parallel(threads).seal_file(start(&maker).payload, &plaintext, &log, 6), &path);
            refused(parallel(threads).open_file(&opened, &payload, 0, &log), &path);
            let log = WritesAlone(&log);
            refused(parallel(threads).seal_file(start(&maker).payload, &plaintext, &log, 6), &path);
            refused(parallel(threads).open_file(&opened, &payload, 0, &log), &path);
        }
    }
}

#[test]
fn a_file_is_not_written_while_it_is_the_input_whatever_its_name() {
    let maker = maker();
    for folder in folders() {
        let (opened, payload) = sealed(&maker, &message(5 * CHUNK));
        let (path, input) = file(&folder, "one", &payload);
        let link = folder.path().join("other");
        fs::hard_link(&path, &link).unwrap();
        let open = |path: &Path| OpenOptions::new().read(true).write(true).open(path).unwrap();
        let input = Arc::new(input);
        for (threads, output) in THREADS.into_iter().zip([open(&path), open(&link)]) {
            let sealed = parallel(threads).seal_file(start(&maker).payload, &input, &output, 0);
            let opening = parallel(threads).open_file(&opened, &input, 0, &output);
            for result in [sealed, opening, parallel(threads).open_file(&opened, &input, 0, &*input)] {
                let error = result.unwrap_err();
                assert!(matches!(error, StreamError::SameFile), "{error:?}");
            }
            assert!(fs::read(&path).unwrap() == payload, "nothing was touched");
        }
        let (_, another) = file(&folder, "another", &payload);
        assert_ne!(FileIdentity::of(&another).unwrap(), FileIdentity::of(&input).unwrap());
        parallel(2).open_file(&opened, &input, 0, &another).unwrap();
    }
}

#[test]
fn a_source_without_a_file_is_never_the_same_as_its_output() {
    assert_eq!(ReadAt::identity(&vec![1, 2, 3]).unwrap(), None);
    let maker = maker();
    for folder in folders() {
        let (_, output) = file(&folder, "out", b"");
        parallel(2).seal_file(start(&maker).payload, &message(CHUNK), &output, 0).unwrap();
    }
}

#[test]
fn ranges_of_a_file_are_those_of_the_plaintext() {
    let maker = maker();
    for folder in folders() {
        let plaintext = message(3 * CHUNK + 5);
        let (opened, payload) = sealed(&maker, &plaintext);
        let (_, source) = file(&folder, "payload", &[b"header", &payload[..]].concat());
        let reader = RangedReader::new(&opened, &source, 6).unwrap();
        for range in [0..1, CHUNK - 1..CHUNK + 1, 3 * CHUNK..3 * CHUNK + 5, 0..plaintext.len()] {
            let read = reader.decrypt_range(range.start as u64..range.end as u64).unwrap();
            assert!(read == plaintext[range]);
        }
    }
}
