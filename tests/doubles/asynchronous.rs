//! `AsyncRead`, `AsyncWrite` and `AsyncReadAt`.

use std::{
    io,
    ops::Range,
    pin::Pin,
    sync::{Arc, LazyLock, Mutex},
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::Bytes;
use envelope_sdk::stream::{
    StreamError,
    tokio::{
        AsyncRangedReader, AsyncReadAt, OpenWriter, SealWriter, open_reader, open_stream, seal_reader,
        seal_stream,
    },
};
use futures_util::{Stream, StreamExt};
use proptest::prelude::*;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    runtime::{Builder, Runtime},
};

use crate::{
    CHUNK, opens,
    script::{Script, Step, scripted_panic, steps, unless_panicked},
    sealed, start,
};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_multi_thread().build().unwrap());

struct Source {
    bytes: Vec<u8>,
    given: Arc<Mutex<usize>>,
    script: Script,
}

impl Source {
    fn new(bytes: &[u8], script: &Script) -> Self {
        Self { bytes: bytes.to_vec(), given: Arc::default(), script: script.clone() }
    }
}

impl AsyncRead for Source {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let most = match self.script.next() {
            Step::Whole => usize::MAX,
            Step::Short(most) => most,
            Step::Nothing => 0,
            Step::Stall => {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Step::Interrupted => return Poll::Ready(Err(io::ErrorKind::Interrupted.into())),
            Step::Fail => return Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Step::Panic => scripted_panic(),
            Step::Lie(more) => {
                // Another buffer in the place of the one that it got.
                let len = out.remaining() + more;
                *out = ReadBuf::new(vec![0; len].leak());
                out.set_filled(len);
                return Poll::Ready(Ok(()));
            }
        };
        let mut given = self.given.lock().unwrap();
        let rest = &self.bytes[*given..];
        let len = rest.len().min(most).min(out.remaining());
        out.put_slice(&rest[..len]);
        *given += len;
        Poll::Ready(Ok(()))
    }
}

#[derive(Clone, Default)]
struct Sink {
    bytes: Arc<Mutex<Vec<u8>>>,
    script: Script,
}

impl AsyncWrite for Sink {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let (done, reported) = match self.script.next() {
            Step::Whole => (bytes.len(), bytes.len()),
            Step::Short(most) => (bytes.len().min(most), bytes.len().min(most)),
            Step::Lie(more) => (bytes.len(), bytes.len() + more),
            Step::Nothing => (0, 0),
            Step::Stall | Step::Interrupted => {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Step::Fail => return Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Step::Panic => scripted_panic(),
        };
        self.bytes.lock().unwrap().extend_from_slice(&bytes[..done]);
        Poll::Ready(Ok(reported))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.script.next() {
            Step::Fail => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Step::Panic => scripted_panic(),
            Step::Stall => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}

struct Object {
    bytes: Vec<u8>,
    script: Script,
}

#[async_trait]
impl AsyncReadAt for Object {
    async fn size(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    async fn fetch(&self, range: Range<u64>) -> io::Result<Bytes> {
        let bytes = self.bytes[range.start as usize..range.end as usize].to_vec();
        Ok(match self.script.next() {
            Step::Whole | Step::Interrupted => bytes.into(),
            Step::Short(by) => bytes[..bytes.len().saturating_sub(by)].to_vec().into(),
            Step::Lie(more) => [bytes, vec![0; more]].concat().into(),
            Step::Nothing => Bytes::new(),
            Step::Fail => return Err(io::ErrorKind::TimedOut.into()),
            Step::Panic => scripted_panic(),
            Step::Stall => {
                tokio::task::yield_now().await;
                bytes.into()
            }
        })
    }
}

/// Reads on after errors, as a caller may, until it ends or fails four times
/// one after the other. Returns what was read and whether it ended well.
fn read_on(reader: &mut (impl AsyncRead + Unpin), step: usize) -> (Vec<u8>, bool) {
    let (mut read, mut buffer, mut errors) = (Vec::new(), vec![0; step], 0);
    while errors < 4 {
        match unless_panicked(|| RUNTIME.block_on(reader.read(&mut buffer))) {
            Some(Ok(len)) if errors > 0 => panic!("{len} bytes after an error"),
            Some(Ok(0)) => return (read, true),
            Some(Ok(len)) => read.extend_from_slice(&buffer[..len]),
            Some(Err(_)) | None => errors += 1,
        }
    }
    (read, false)
}

/// As [`read_on`]; a stream is over after an error.
fn collect(stream: impl Stream<Item = Result<Bytes, StreamError>>) -> (Vec<u8>, bool) {
    let (mut stream, mut read) = (Box::pin(stream), Vec::new());
    loop {
        match unless_panicked(|| RUNTIME.block_on(stream.next())) {
            Some(None) => return (read, true),
            Some(Some(Ok(piece))) => read.extend_from_slice(&piece),
            Some(Some(Err(_))) => {
                assert!(RUNTIME.block_on(stream.next()).is_none());
                return (read, false);
            }
            None => return (read, false),
        }
    }
}

/// Writes on after errors. Returns whether all of it went well.
fn write_on(writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8], step: usize, flush: bool) -> bool {
    let mut failed = false;
    for piece in bytes.chunks(step) {
        for again in 0..2 {
            match unless_panicked(|| RUNTIME.block_on(writer.write_all(piece))) {
                Some(Ok(())) => {
                    assert!(!failed, "written after an error, {again}");
                    break;
                }
                Some(Err(_)) | None => failed = true,
            }
        }
        if flush {
            match unless_panicked(|| RUNTIME.block_on(writer.flush())) {
                Some(Ok(())) => assert!(!failed, "flushed after an error"),
                Some(Err(_)) | None => failed = true,
            }
        }
    }
    !failed
}

fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![0_usize..100, 0..5 * CHUNK, Just(64 * CHUNK), 60 * CHUNK..70 * CHUNK]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_sealed_from_an_async_reader_opens_to_what_was_read(
        size in sizes(), reads in steps(), step in 1000_usize..100_000, as_stream in any::<bool>(),
    ) {
        let plaintext = crate::message(size);
        let script = Script::new(reads);
        let source = Source::new(&plaintext, &script);
        let (given, started) = (source.given.clone(), start());
        let (payload, ended) = if as_stream {
            collect(seal_stream(started.payload, source))
        } else {
            read_on(&mut seal_reader(started.payload, source), step)
        };
        let given = *given.lock().unwrap();
        let opened = opens(&started.header, &payload);
        prop_assert_eq!(opened.is_some(), ended, "a payload that is not complete");
        prop_assert!(opened.is_none_or(|opened| opened == plaintext[..given]));
        prop_assert!(ended || script.has_misled());
    }

    #[test]
    fn what_is_opened_from_an_async_reader_is_the_plaintext(
        size in sizes(), reads in steps(), step in 1000_usize..100_000, as_stream in any::<bool>(),
    ) {
        let plaintext = crate::message(size);
        let script = Script::new(reads);
        let (opened, payload) = sealed(&plaintext);
        let source = Source::new(&payload, &script);
        let (read, ended) = if as_stream {
            collect(open_stream(opened, source))
        } else {
            read_on(&mut open_reader(opened, source), step)
        };
        prop_assert!(plaintext.starts_with(&read), "not a byte that is not authentic");
        let right = if ended { read == plaintext } else { script.has_misled() };
        prop_assert!(right, "ended: {ended}");
    }

    #[test]
    fn what_is_sealed_to_an_async_writer_opens_or_it_fails_to_its_end(
        size in sizes(), writes in steps(), step in 1000_usize..100_000, flush in any::<bool>(),
    ) {
        let plaintext = crate::message(size);
        let sink = Sink { script: Script::new(writes), ..Sink::default() };
        let (bytes, script, started) = (sink.bytes.clone(), sink.script.clone(), start());
        let mut writer = SealWriter::new(started.payload, sink);
        let written = write_on(&mut writer, &plaintext, step, flush);
        let finished = matches!(unless_panicked(|| RUNTIME.block_on(writer.finish())), Some(Ok(_)));
        prop_assert!(written || !finished, "what failed keeps failing");
        prop_assert!(finished || script.has_misled());
        let opened = opens(&started.header, &bytes.lock().unwrap());
        prop_assert!(!finished || opened.is_some_and(|opened| opened == plaintext));
    }

    #[test]
    fn what_is_opened_to_an_async_writer_is_the_plaintext_or_it_fails_to_its_end(
        size in sizes(), writes in steps(), step in 1000_usize..100_000, flush in any::<bool>(),
    ) {
        let plaintext = crate::message(size);
        let sink = Sink { script: Script::new(writes), ..Sink::default() };
        let (bytes, script) = (sink.bytes.clone(), sink.script.clone());
        let (opened, payload) = sealed(&plaintext);
        let mut writer = OpenWriter::new(opened, sink);
        let written = write_on(&mut writer, &payload, step, flush);
        let finished = matches!(unless_panicked(|| RUNTIME.block_on(writer.finish())), Some(Ok(_)));
        prop_assert!(written || !finished, "what failed keeps failing");
        prop_assert!(finished || script.has_misled());
        let bytes = bytes.lock().unwrap();
        prop_assert!(plaintext.starts_with(&bytes), "not a byte that is not authentic");
        prop_assert!(!finished || *bytes == plaintext);
    }

    #[test]
    fn an_async_reader_of_ranges_that_is_asked_again_after_errors_never_skips_or_ends_early(
        size in sizes(), fetches in steps(), step in 1000_usize..100_000,
    ) {
        let plaintext = crate::message(size);
        let (opened, payload) = sealed(&plaintext);
        let script = Script::default();
        let object = Object { bytes: payload, script: script.clone() };
        let mut reader = RUNTIME.block_on(AsyncRangedReader::new(&opened, object, 0)).unwrap();
        script.add(fetches);
        let (mut read, mut buffer) = (Vec::new(), vec![0; step]);
        // Each error uses up a step of the script.
        loop {
            match unless_panicked(|| RUNTIME.block_on(reader.read(&mut buffer))) {
                Some(Ok(0)) => break,
                Some(Ok(len)) => read.extend_from_slice(&buffer[..len]),
                Some(Err(_)) | None => {}
            }
        }
        prop_assert!(read == plaintext);
        if let Some(Ok(range)) = unless_panicked(|| RUNTIME.block_on(reader.decrypt_range(0..size as u64))) {
            prop_assert!(range == plaintext);
        }
    }

    #[test]
    fn an_object_that_fails_or_lies_at_the_beginning_is_an_error_or_the_right_length(fetches in steps()) {
        let (opened, payload) = sealed(&crate::message(2 * CHUNK));
        let object = Object { bytes: payload, script: Script::new(fetches) };
        if let Some(Ok(reader)) = unless_panicked(|| RUNTIME.block_on(AsyncRangedReader::new(&opened, object, 0))) {
            prop_assert_eq!(reader.len(), 2 * CHUNK as u64);
        }
    }
}
