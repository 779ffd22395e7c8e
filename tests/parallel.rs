//! Several threads write and read the same bytes as one, and fail as clearly.

#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that goes wrong shall stop"
)]

mod common;

use std::{
    io::{self, Cursor, Read, Write},
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use common::{block_on, context, envelope, memory, message};
use envelope_sdk::{
    DecryptError, Envelope, OpenedHeader, PayloadKind, Started,
    crypto::cobblestone::{opened_len, sealed_len},
    stream::{self, Parallel, RangedReader, ReadAt, StreamError, WriteAt},
};

const CHUNK: usize = 16_384;
const SEALED: usize = CHUNK + 16;

/// Threads to try: one, two with blocks of 64 chunks, and so many that a block
/// has 4 chunks in a file and 2 in a pipe.
const THREADS: [usize; 3] = [1, 2, 128];

/// A file in memory that notes what was written and may fail.
#[derive(Default)]
struct Place {
    bytes: Mutex<Vec<u8>>,
    fail_beyond: Option<u64>,
    reserved: AtomicU64,
}

impl WriteAt for Place {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let end = offset as usize + bytes.len();
        if self.fail_beyond.is_some_and(|limit| end as u64 > limit) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut held = self.bytes.lock().unwrap();
        if held.len() < end {
            held.resize(end, 0);
        }
        held[offset as usize..end].copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.reserved.store(len, Ordering::SeqCst);
        Ok(())
    }
}

impl Place {
    fn into_bytes(self) -> Vec<u8> {
        self.bytes.into_inner().unwrap()
    }
}

/// A file in memory that says another length than it has, or fails at a byte.
struct Odd {
    bytes: Vec<u8>,
    size: u64,
    fail_at: Option<u64>,
}

impl ReadAt for Odd {
    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.fail_at.is_some_and(|at| offset <= at && at < offset + out.len() as u64) {
            return Err(io::Error::other("the disk is on fire"));
        }
        // Few bytes at a time, as a file may.
        let len = out.len().min(10_000);
        self.bytes.read_at(&mut out[..len], offset)
    }
}

fn maker() -> Envelope {
    let (provider, keys) = memory(1);
    envelope(&provider, &keys)
}

fn start(maker: &Envelope) -> Started {
    block_on(maker.start(PayloadKind::Detached, &context())).unwrap()
}

fn unlock(maker: &Envelope, header: &[u8]) -> OpenedHeader {
    let header = stream::read_header(&mut &*header).unwrap();
    block_on(maker.unlock(header, &context())).unwrap()
}

fn parallel(threads: usize) -> Parallel<'static> {
    Parallel::new().threads(NonZeroUsize::new(threads).unwrap())
}

/// Around every boundary of chunks, and of blocks of 2, 4 and 64 chunks.
fn sizes() -> Vec<usize> {
    let around = [CHUNK, 2 * CHUNK, 4 * CHUNK, 8 * CHUNK, 64 * CHUNK, 128 * CHUNK];
    let around = around.into_iter().flat_map(|boundary| boundary - 1..=boundary + 1);
    [0, 1, 40_000].into_iter().chain(around).collect()
}

fn is_not_authentic(error: &StreamError) -> bool {
    matches!(error, StreamError::Decrypt(DecryptError::NotAuthentic))
}

#[test]
fn what_several_threads_seal_to_a_pipe_one_thread_opens() {
    let maker = maker();
    for (size, threads) in sizes().into_iter().flat_map(|size| THREADS.map(|threads| (size, threads))) {
        let (started, plaintext, mut payload) = (start(&maker), message(size), Vec::new());
        let sealed = parallel(threads)
            .seal_pipe(started.payload, Cursor::new(plaintext.clone()), &mut payload)
            .unwrap();
        assert_eq!(sealed, size as u64, "{threads} threads");
        let opened = block_on(maker.decrypt_detached(&started.header, &payload, &context())).unwrap();
        assert!(opened == plaintext, "{size} bytes, {threads} threads");
    }
}

#[test]
fn what_several_threads_seal_to_a_file_one_thread_opens() {
    let maker = maker();
    for (size, threads) in sizes().into_iter().flat_map(|size| THREADS.map(|threads| (size, threads))) {
        let (started, plaintext, place) = (start(&maker), message(size), Place::default());
        place.write_at(b"header", 0).unwrap();
        let sealed = parallel(threads).seal_file(started.payload, &plaintext, &place, 6).unwrap();
        assert_eq!(sealed, size as u64);
        let reserved = place.reserved.load(Ordering::SeqCst);
        let bytes = place.into_bytes();
        assert_eq!(reserved, bytes.len() as u64, "{size} bytes, {threads} threads");
        assert_eq!(&bytes[..6], b"header");
        let opened = block_on(maker.decrypt_detached(&started.header, &bytes[6..], &context())).unwrap();
        assert!(opened == plaintext, "{size} bytes, {threads} threads");
    }
}

#[test]
fn what_one_thread_seals_several_threads_open_from_pipe_file_and_slice() {
    let maker = maker();
    for size in sizes() {
        let plaintext = message(size);
        let (header, payload) = block_on(maker.encrypt_detached(&plaintext, &context())).unwrap();
        let opened = unlock(&maker, &header);
        let with_header = [&header[..], &payload].concat();
        for threads in THREADS {
            let parallel = parallel(threads);
            let (mut pipe, place) = (Vec::new(), Place::default());
            assert_eq!(
                parallel.open_pipe(&opened, Cursor::new(payload.clone()), &mut pipe).unwrap(),
                size as u64
            );
            assert!(pipe == plaintext, "pipe, {size} bytes, {threads} threads");
            let at = header.len() as u64;
            assert_eq!(parallel.open_file(&opened, &with_header, at, &place).unwrap(), size as u64);
            assert!(place.into_bytes() == plaintext, "file, {size} bytes, {threads} threads");
            let mut slice = vec![7; size];
            parallel.open_slice(&opened, &payload, &mut slice).unwrap();
            assert!(slice == plaintext, "slice, {size} bytes, {threads} threads");
        }
    }
}

#[test]
fn what_several_threads_seal_in_memory_one_thread_opens() {
    let maker = maker();
    for (size, threads) in sizes().into_iter().flat_map(|size| THREADS.map(|threads| (size, threads))) {
        let (started, plaintext) = (start(&maker), message(size));
        let mut payload = vec![7; sealed_len(size)];
        parallel(threads).seal_slice(started.payload, &plaintext, &mut payload).unwrap();
        let opened = block_on(maker.decrypt_detached(&started.header, &payload, &context())).unwrap();
        assert!(opened == plaintext, "{size} bytes, {threads} threads");
    }
}

#[test]
fn a_slice_of_another_length_is_refused() {
    let maker = maker();
    let plaintext = message(CHUNK + 1);
    let (header, payload) = block_on(maker.encrypt_detached(&plaintext, &context())).unwrap();
    let opened = unlock(&maker, &header);
    for by in [0, 2] {
        let mut out = vec![7; payload.len() - 1 + by];
        let error = parallel(2).seal_slice(start(&maker).payload, &plaintext, &mut out).unwrap_err();
        let said = format!("the output has {} bytes and needs {}", out.len(), payload.len());
        assert_eq!(error.to_string(), said);
        let mut out = vec![7; plaintext.len() - 1 + by];
        let error = parallel(2).open_slice(&opened, &payload, &mut out).unwrap_err();
        let said = format!("the output has {} bytes and needs {}", out.len(), plaintext.len());
        assert_eq!(error.to_string(), said);
    }
}

#[test]
fn progress_adds_up_to_the_length() {
    let maker = maker();
    let plaintext = message(9 * CHUNK + 5);
    let (header, payload) = block_on(maker.encrypt_detached(&plaintext, &context())).unwrap();
    let opened = unlock(&maker, &header);
    for threads in THREADS {
        let done = AtomicU64::new(0);
        let count = |bytes| {
            done.fetch_add(bytes, Ordering::SeqCst);
        };
        let parallel = parallel(threads).on_progress(&count);
        let total = || done.swap(0, Ordering::SeqCst);
        let mut out = Vec::new();
        parallel.seal_pipe(start(&maker).payload, Cursor::new(plaintext.clone()), &mut out).unwrap();
        assert_eq!(total(), plaintext.len() as u64, "seal_pipe, {threads} threads");
        parallel.open_pipe(&opened, Cursor::new(payload.clone()), &mut Vec::new()).unwrap();
        assert_eq!(total(), plaintext.len() as u64, "open_pipe, {threads} threads");
        parallel.seal_file(start(&maker).payload, &plaintext, &Place::default(), 0).unwrap();
        assert_eq!(total(), plaintext.len() as u64, "seal_file, {threads} threads");
        parallel.open_file(&opened, &payload, 0, &Place::default()).unwrap();
        assert_eq!(total(), plaintext.len() as u64, "open_file, {threads} threads");
        let mut sealed = vec![0; payload.len()];
        parallel.seal_slice(start(&maker).payload, &plaintext, &mut sealed).unwrap();
        assert_eq!(total(), plaintext.len() as u64, "seal_slice, {threads} threads");
        parallel.open_slice(&opened, &payload, &mut vec![0; plaintext.len()]).unwrap();
        assert_eq!(total(), plaintext.len() as u64, "open_slice, {threads} threads");
    }
}

#[test]
fn a_payload_that_was_changed_cut_or_extended_opens_nowhere() {
    let maker = maker();
    let plaintext = message(9 * CHUNK + 5);
    let (header, payload) = block_on(maker.encrypt_detached(&plaintext, &context())).unwrap();
    let opened = unlock(&maker, &header);
    let flipped = |at: usize| {
        let mut changed = payload.clone();
        changed[at] ^= 1;
        changed
    };
    let swapped = {
        let mut changed = payload.clone();
        changed[56..56 + 2 * SEALED].rotate_left(SEALED);
        changed
    };
    let cut = |len: usize| payload[..len].to_vec();
    let cases = [
        flipped(0),
        flipped(55),
        flipped(56),
        flipped(56 + 5 * SEALED),
        flipped(payload.len() - 1),
        swapped,
        cut(0),
        cut(55),
        cut(56),
        cut(57),
        cut(56 + 15),
        cut(56 + 16),
        cut(56 + SEALED),
        cut(56 + 4 * SEALED),
        cut(56 + 8 * SEALED + 16),
        cut(payload.len() - 1),
        [&payload[..], &[0]].concat(),
        [&payload[..], &payload[56..]].concat(),
    ];
    for (number, changed) in cases.iter().enumerate() {
        for threads in THREADS {
            let parallel = parallel(threads);
            let mut out = Vec::new();
            let error = parallel.open_pipe(&opened, Cursor::new(changed.clone()), &mut out).unwrap_err();
            assert!(is_not_authentic(&error), "case {number}, {threads} threads: {error:?}");
            assert_eq!(out, plaintext[..out.len()], "case {number}: only authentic chunks, in order");
            assert_eq!(out.len() % CHUNK, 0, "case {number}");
            let error = parallel.open_file(&opened, changed, 0, &Place::default()).unwrap_err();
            assert!(is_not_authentic(&error), "case {number}, {threads} threads: {error:?}");
            let len = opened_len(changed.len() as u64).unwrap_or(5);
            let mut out = vec![7; len as usize];
            let error = parallel.open_slice(&opened, changed, &mut out).unwrap_err();
            assert!(is_not_authentic(&error), "case {number}, {threads} threads: {error:?}");
            assert!(out.iter().all(|byte| *byte == 0), "case {number}: nothing is left of it");
        }
    }
}

#[test]
fn a_truncated_file_is_refused_before_anything_is_written() {
    let maker = maker();
    let (header, payload) = block_on(maker.encrypt_detached(&message(9 * CHUNK), &context())).unwrap();
    let opened = unlock(&maker, &header);
    for len in [56 + 9 * SEALED, 56 + 8 * SEALED + 100, 56 + 16] {
        let place = Place::default();
        let error = parallel(2).open_file(&opened, &payload[..len], 0, &place).unwrap_err();
        assert!(is_not_authentic(&error), "{error:?}");
        assert_eq!((place.reserved.load(Ordering::SeqCst), place.into_bytes().len()), (0, 0), "{len}");
    }
}

#[test]
fn an_input_that_grows_or_shrinks_is_refused_and_said_so() {
    let maker = maker();
    let plaintext = message(9 * CHUNK);
    let odd = |bytes: &[u8], size: usize| Odd { bytes: bytes.to_vec(), size: size as u64, fail_at: None };
    let (header, payload) = block_on(maker.encrypt_detached(&plaintext, &context())).unwrap();
    let opened = unlock(&maker, &header);
    for threads in THREADS {
        let parallel = parallel(threads);
        for (size, expected) in [
            (9 * CHUNK - 1, "it had 147455 bytes and now has more"),
            (9 * CHUNK + 1, "it had 147457 bytes and now has fewer"),
            (10 * CHUNK, "it had 163840 bytes and now has fewer"),
        ] {
            let input = odd(&plaintext, size);
            let error = parallel.seal_file(start(&maker).payload, &input, &Place::default(), 0).unwrap_err();
            assert!(matches!(error, StreamError::InputChanged { .. }), "{error:?}");
            assert!(error.to_string().ends_with(expected), "{error}");
        }
        let grown = odd(&[&payload[..], b"x"].concat(), payload.len());
        let error = parallel.open_file(&opened, &grown, 0, &Place::default()).unwrap_err();
        assert!(matches!(error, StreamError::InputChanged { now: "more", .. }), "{error:?}");
        let shrunk = odd(&payload[..payload.len() - 16], payload.len());
        let error = parallel.open_file(&opened, &shrunk, 0, &Place::default()).unwrap_err();
        assert!(matches!(error, StreamError::InputChanged { now: "fewer", .. }), "{error:?}");
    }
}

#[test]
fn a_read_error_half_way_is_a_read_error() {
    let maker = maker();
    let plaintext = message(9 * CHUNK + 5);
    let (header, payload) = block_on(maker.encrypt_detached(&plaintext, &context())).unwrap();
    let opened = unlock(&maker, &header);
    let broken = |bytes: &[u8], at: usize| Odd {
        bytes: bytes.to_vec(),
        size: bytes.len() as u64,
        fail_at: Some(at as u64),
    };
    for threads in THREADS {
        let parallel = parallel(threads);
        for at in [0, 5 * CHUNK, plaintext.len() - 1] {
            let input = broken(&plaintext, at);
            let error = parallel.seal_file(start(&maker).payload, &input, &Place::default(), 0).unwrap_err();
            assert_eq!(error.to_string(), "reading failed: the disk is on fire", "{at}, {threads} threads");
            let pipe = Cursor::new(plaintext[..at].to_vec()).chain(Broken);
            let error = parallel.seal_pipe(start(&maker).payload, pipe, &mut Vec::new()).unwrap_err();
            assert_eq!(error.to_string(), "reading failed: the disk is on fire", "{at}, {threads} threads");
        }
        for at in [0, 60, 5 * SEALED, payload.len() - 1] {
            let input = broken(&payload, at);
            let error = parallel.open_file(&opened, &input, 0, &Place::default()).unwrap_err();
            assert_eq!(error.to_string(), "reading failed: the disk is on fire", "{at}, {threads} threads");
            let (pipe, mut out) = (Cursor::new(payload[..at].to_vec()).chain(Broken), Vec::new());
            let error = parallel.open_pipe(&opened, pipe, &mut out).unwrap_err();
            assert_eq!(error.to_string(), "reading failed: the disk is on fire", "{at}, {threads} threads");
            assert_eq!(out, plaintext[..out.len()]);
        }
    }
}

#[test]
fn a_full_disk_half_way_is_a_write_error() {
    let maker = maker();
    let plaintext = message(9 * CHUNK + 5);
    let (header, payload) = block_on(maker.encrypt_detached(&plaintext, &context())).unwrap();
    let opened = unlock(&maker, &header);
    for (threads, limit) in THREADS.into_iter().flat_map(|threads| [0, 55, 5 * CHUNK].map(|at| (threads, at)))
    {
        let parallel = parallel(threads);
        let full = || Place { fail_beyond: Some(limit as u64), ..Place::default() };
        let is_full = |error: &StreamError| matches!(error, StreamError::Write(error) if error.kind() == io::ErrorKind::StorageFull);
        let error = parallel.seal_file(start(&maker).payload, &plaintext, &full(), 0).unwrap_err();
        assert!(is_full(&error), "{error:?}");
        let error = parallel.open_file(&opened, &payload, 0, &full()).unwrap_err();
        assert!(is_full(&error), "{error:?}");
        let mut pipe = Upto(limit);
        let error =
            parallel.seal_pipe(start(&maker).payload, Cursor::new(plaintext.clone()), &mut pipe).unwrap_err();
        assert!(is_full(&error), "{error:?}");
        let error = parallel.open_pipe(&opened, Cursor::new(payload.clone()), &mut Upto(limit)).unwrap_err();
        assert!(is_full(&error), "{error:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_without_room_for_all_of_it_is_refused_at_the_beginning() {
    // A length that no file system has: fallocate says so, nothing is read.
    let maker = maker();
    let file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let huge = Odd { bytes: Vec::new(), size: (1 << 38) * 16_384 - 1, fail_at: Some(0) };
    let error = parallel(2).seal_file(start(&maker).payload, &huge, &file, 0).unwrap_err();
    assert!(matches!(error, StreamError::Write(_)), "{error:?}");
}

#[test]
fn more_than_four_pebibytes_are_refused_at_the_beginning() {
    let maker = maker();
    let huge = Odd { bytes: Vec::new(), size: (1 << 38) * 16_384, fail_at: Some(0) };
    let error = parallel(2).seal_file(start(&maker).payload, &huge, &Place::default(), 0).unwrap_err();
    assert_eq!(error.to_string(), "a message has at most 2^38 chunks (4 PiB)");
}

#[test]
fn an_offset_that_leaves_no_room_is_refused_before_anything_is_written() {
    let maker = maker();
    let (header, payload) = block_on(maker.encrypt_detached(b"text", &context())).unwrap();
    let opened = unlock(&maker, &header);
    let most = u64::MAX - (56 + 4 + 16);
    for at in [u64::MAX, u64::MAX - 55, u64::MAX - 56, most + 1] {
        let place = Place::default();
        let error = parallel(2).seal_file(start(&maker).payload, &b"text"[..], &place, at).unwrap_err();
        assert_eq!(error.to_string(), format!("no payload of that length fits behind offset {at}"));
        assert_eq!((place.reserved.load(Ordering::SeqCst), place.into_bytes().len()), (0, 0));
        let error = parallel(2).open_file(&opened, &payload, at, &Place::default()).unwrap_err();
        assert!(is_not_authentic(&error), "{error:?}");
        let error = RangedReader::new(&opened, &payload, at).err().unwrap();
        assert!(is_not_authentic(&error), "{error:?}");
    }
    // The last one at which it fits: refused by the place, not here.
    let full = Place { fail_beyond: Some(0), ..Place::default() };
    let error = parallel(2).seal_file(start(&maker).payload, &b"text"[..], &full, most).unwrap_err();
    assert!(matches!(error, StreamError::Write(_)), "{error:?}");
    assert_eq!(full.reserved.load(Ordering::SeqCst), u64::MAX);
}

#[test]
fn a_panic_in_a_progress_callback_stops_the_other_threads_and_keeps_its_words() {
    /// As long as an input can be: nobody waits for its end.
    struct Endless;

    impl ReadAt for Endless {
        fn size(&self) -> io::Result<u64> {
            Ok((1 << 38) * 16_384 - 1)
        }

        fn read_at(&self, out: &mut [u8], _: u64) -> io::Result<usize> {
            Ok(out.len())
        }
    }

    struct Nowhere;

    impl WriteAt for Nowhere {
        fn write_at(&self, bytes: &[u8], _: u64) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn set_len(&self, _: u64) -> io::Result<()> {
            Ok(())
        }
    }

    let maker = maker();
    for threads in [1, 2, 8] {
        for panics_in_another in [false, true] {
            let caller = thread::current().id();
            let progress = |_| {
                let here = thread::current().id() == caller;
                assert!(here == panics_in_another && threads > 1, "the bar is broken");
            };
            let parallel = parallel(threads).on_progress(&progress);
            let seal = || parallel.seal_file(start(&maker).payload, &Endless, &Nowhere, 0);
            let panic = catch_unwind(AssertUnwindSafe(seal)).unwrap_err();
            assert_eq!(panic.downcast_ref::<&str>(), Some(&"the bar is broken"), "{threads} threads");
        }
    }
}

/// Fails when it is read.
struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the disk is on fire"))
    }
}

/// Takes so many bytes and no more.
struct Upto(usize);

impl Write for Upto {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0 -= bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
