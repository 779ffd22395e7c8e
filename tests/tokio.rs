//! The asynchronous adapters give the bytes of the blocking ones and refuse
//! what they refuse.

#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that goes wrong shall stop"
)]

mod common;

use std::{
    io::{self, ErrorKind, SeekFrom},
    ops::Range,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::Bytes;
use common::{block_on, context, envelope, memory, message};
use envelope_sdk::{
    DecryptError, Envelope, OpenedHeader, PayloadKind, Started,
    stream::{
        StreamError, read_header,
        tokio::{
            AsyncRangedReader, AsyncReadAt, Blocking, OpenWriter, SealWriter, open_reader, open_stream,
            seal_reader, seal_stream,
        },
    },
};
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt, AsyncWrite, AsyncWriteExt, ReadBuf};

const CHUNK: usize = 16_384;
const SEALED: usize = CHUNK + 16;
const BLOCK: usize = 64 * CHUNK;

/// Gives and takes a few bytes at a time and is often not ready.
struct Slow<T> {
    inner: T,
    step: usize,
    ready: bool,
}

impl<T> Slow<T> {
    fn new(inner: T, step: usize) -> Self {
        Self { inner, step, ready: false }
    }

    fn is_ready(&mut self, context: &Context<'_>) -> bool {
        self.ready = !self.ready;
        if !self.ready {
            context.waker().wake_by_ref();
        }
        self.ready
    }
}

impl AsyncRead for Slow<&'static [u8]> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_ready(context) {
            return Poll::Pending;
        }
        let len = self.step.min(out.remaining()).min(self.inner.len());
        let (now, rest) = self.inner.split_at(len);
        out.put_slice(now);
        self.inner = rest;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Slow<Vec<u8>> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.is_ready(context) {
            return Poll::Pending;
        }
        let len = self.step.min(bytes.len());
        self.inner.extend_from_slice(&bytes[..len]);
        Poll::Ready(Ok(len))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn maker() -> Envelope {
    let (provider, keys) = memory(1);
    envelope(&provider, &keys)
}

async fn start(maker: &Envelope) -> Started {
    maker.start(PayloadKind::Detached, &context()).await.unwrap()
}

async fn sealed(maker: &Envelope, plaintext: &[u8]) -> (Arc<OpenedHeader>, Vec<u8>) {
    let (header, payload) = maker.encrypt_detached(plaintext, &context()).await.unwrap();
    let header = read_header(&mut &header[..]).unwrap();
    (Arc::new(maker.unlock(header, &context()).await.unwrap()), payload)
}

fn leak(bytes: &[u8]) -> &'static [u8] {
    bytes.to_vec().leak()
}

fn sizes() -> Vec<usize> {
    let around = [CHUNK, BLOCK, 2 * BLOCK];
    [0, 1].into_iter().chain(around.into_iter().flat_map(|at| at - 1..=at + 1)).collect()
}

fn inner(error: &io::Error) -> &StreamError {
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error:?}");
    error.get_ref().unwrap().downcast_ref().unwrap()
}

fn is_not_authentic(error: &StreamError) -> bool {
    matches!(error, StreamError::Decrypt(DecryptError::NotAuthentic))
}

#[tokio::test]
async fn streams_readers_and_writers_seal_what_opens_in_memory() {
    let maker = maker();
    for size in sizes() {
        let plaintext = message(size);
        for step in [1 + size / 50, usize::MAX] {
            let opens = async |started: &[u8], payload: &[u8]| {
                maker.decrypt_detached(started, payload, &context()).await.unwrap() == plaintext
            };
            let reader = || Slow::new(leak(&plaintext), step);

            let started = start(&maker).await;
            let pieces: Vec<Bytes> = seal_stream(started.payload, reader()).try_collect().await.unwrap();
            assert!(opens(&started.header, &pieces.concat()).await, "seal_stream, {size} by {step}");

            let started = start(&maker).await;
            let mut payload = Vec::new();
            seal_reader(started.payload, reader()).read_to_end(&mut payload).await.unwrap();
            assert!(opens(&started.header, &payload).await, "seal_reader, {size} by {step}");

            let started = start(&maker).await;
            let mut writer = SealWriter::new(started.payload, Slow::new(Vec::new(), step));
            for piece in plaintext.chunks(step.min(100_000)) {
                writer.write_all(piece).await.unwrap();
                writer.flush().await.unwrap();
            }
            let written = writer.finish().await.unwrap().inner;
            assert!(opens(&started.header, &written).await, "SealWriter, {size} by {step}");
        }
    }
}

#[tokio::test]
async fn streams_readers_and_writers_open_what_was_sealed_in_memory() {
    let maker = maker();
    for size in sizes() {
        let plaintext = message(size);
        let (opened, payload) = sealed(&maker, &plaintext).await;
        for step in [1 + size / 50, usize::MAX] {
            let reader = || Slow::new(leak(&payload), step);
            let pieces: Vec<Bytes> = open_stream(opened.clone(), reader()).try_collect().await.unwrap();
            assert!(pieces.concat() == plaintext, "open_stream, {size} by {step}");

            let mut out = Vec::new();
            open_reader(opened.clone(), reader()).read_to_end(&mut out).await.unwrap();
            assert!(out == plaintext, "open_reader, {size} by {step}");

            let mut writer = OpenWriter::new(opened.clone(), Slow::new(Vec::new(), step));
            for piece in payload.chunks(step.min(100_000)) {
                writer.write_all(piece).await.unwrap();
            }
            writer.shutdown().await.unwrap();
            writer.shutdown().await.unwrap();
            assert!(writer.finish().await.unwrap().inner == plaintext, "OpenWriter, {size} by {step}");
        }
    }
}

#[tokio::test]
async fn a_payload_that_was_changed_cut_or_extended_ends_with_an_error() {
    let maker = maker();
    let plaintext = message(BLOCK + 2 * CHUNK + 5);
    let (opened, payload) = sealed(&maker, &plaintext).await;
    let flipped = |at: usize| {
        let mut changed = payload.clone();
        changed[at] ^= 1;
        changed
    };
    let cases = [
        flipped(0),
        flipped(55),
        flipped(56 + SEALED),
        flipped(56 + 65 * SEALED),
        flipped(payload.len() - 1),
        payload[..0].to_vec(),
        payload[..55].to_vec(),
        payload[..56].to_vec(),
        payload[..60].to_vec(),
        payload[..56 + SEALED].to_vec(),
        payload[..56 + 64 * SEALED].to_vec(),
        payload[..56 + 66 * SEALED].to_vec(),
        payload[..payload.len() - 1].to_vec(),
        [&payload[..], b"x"].concat(),
    ];
    for (number, changed) in cases.iter().enumerate() {
        let mut pieces = Box::pin(open_stream(opened.clone(), Slow::new(leak(changed), 100_000)));
        let mut out = Vec::new();
        let error = loop {
            match pieces.next().await {
                Some(Ok(piece)) => out.extend_from_slice(&piece),
                Some(Err(error)) => break error,
                None => panic!("case {number} ended well"),
            }
        };
        assert!(is_not_authentic(&error), "case {number}: {error:?}");
        assert!(pieces.next().await.is_none(), "nothing comes after an error");
        assert!(out == plaintext[..out.len()], "case {number}: only what is authentic");

        let mut read = Vec::new();
        let mut reader = open_reader(opened.clone(), Slow::new(leak(changed), 100_000));
        let error = reader.read_to_end(&mut read).await.unwrap_err();
        assert!(is_not_authentic(inner(&error)), "case {number}: {error:?}");

        let mut written = Vec::new();
        let mut writer = OpenWriter::new(opened.clone(), &mut written);
        let writing = async {
            writer.write_all(changed).await?;
            writer.shutdown().await
        };
        let error = writing.await.unwrap_err();
        assert!(is_not_authentic(inner(&error)), "case {number}: {error:?}");
        assert_eq!(writer.shutdown().await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(writer.finish().await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert!(written == plaintext[..written.len()], "case {number}");
    }
}

#[tokio::test]
async fn a_writer_that_fails_and_a_write_after_the_end_are_errors() {
    let maker = maker();
    let (inner, reader) = tokio::io::duplex(10);
    drop(reader);
    let mut writer = SealWriter::new(start(&maker).await.payload, inner);
    writer.write_all(b"x").await.unwrap();
    assert_eq!(writer.shutdown().await.unwrap_err().kind(), ErrorKind::BrokenPipe);

    let mut writer = SealWriter::new(start(&maker).await.payload, Vec::new());
    writer.shutdown().await.unwrap();
    assert_eq!(writer.write_all(b"x").await.unwrap_err().to_string(), "written to after its end");
}

/// Not to be read.
struct Untouched;

impl AsyncRead for Untouched {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        panic!("read outside of a runtime")
    }
}

#[test]
fn outside_of_a_runtime_everything_fails_at_once_whatever_the_size() {
    let maker = maker();
    let no_runtime = |error: &StreamError| {
        assert!(matches!(error, StreamError::Thread(_)), "{error:?}");
        assert!(error.to_string().contains("there is no reactor running"), "{error}");
    };
    let no_runtime_io = |error: io::Error| {
        assert!(error.to_string().contains("there is no reactor running"), "{error}");
    };
    for size in [0, 60_000, 70_000, 3 * BLOCK] {
        let plaintext = message(size);
        let (opened, payload) = block_on(sealed(&maker, &plaintext));
        let start = || block_on(start(&maker)).payload;
        no_runtime(&block_on(Box::pin(seal_stream(start(), Untouched)).next()).unwrap().unwrap_err());
        no_runtime(&block_on(Box::pin(open_stream(opened.clone(), Untouched)).next()).unwrap().unwrap_err());
        let mut out = Vec::new();
        no_runtime_io(block_on(seal_reader(start(), Untouched).read_to_end(&mut out)).unwrap_err());
        no_runtime_io(block_on(open_reader(opened.clone(), Untouched).read_to_end(&mut out)).unwrap_err());
        let mut sealing = SealWriter::new(start(), &mut out);
        no_runtime_io(
            block_on(async {
                sealing.write_all(&plaintext).await?;
                sealing.shutdown().await
            })
            .unwrap_err(),
        );
        assert_eq!(block_on(sealing.shutdown()).unwrap_err().kind(), ErrorKind::BrokenPipe);
        let mut opening = OpenWriter::new(opened.clone(), &mut out);
        no_runtime_io(
            block_on(async {
                opening.write_all(&payload).await?;
                opening.shutdown().await
            })
            .unwrap_err(),
        );
        assert_eq!(block_on(opening.shutdown()).unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(out, b"");
        no_runtime(&block_on(AsyncRangedReader::new(&opened, object(payload.clone()), 0)).err().unwrap());
        no_runtime_io(block_on(Blocking::new(payload.clone()).size()).unwrap_err());
        no_runtime_io(block_on(Blocking::new(payload.clone()).fetch(0..1)).unwrap_err());

        // Made inside of one and used when it is gone.
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut reader = runtime.block_on(AsyncRangedReader::new(&opened, object(payload), 0)).unwrap();
        drop(runtime);
        if size > 0 {
            no_runtime(&block_on(reader.decrypt_range(0..1)).unwrap_err());
            no_runtime_io(block_on(reader.read_to_end(&mut out)).unwrap_err());
        }
    }
}

#[test]
fn a_reader_that_failed_never_reports_a_clean_end() {
    /// Times out after its bytes, and has ended when it is asked again.
    struct TimesOut(&'static [u8], bool);

    impl AsyncRead for TimesOut {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            out: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let len = self.0.len().min(out.remaining());
            out.put_slice(&self.0[..len]);
            self.0 = &self.0[len..];
            if len == 0 && !std::mem::replace(&mut self.1, true) {
                return Poll::Ready(Err(ErrorKind::TimedOut.into()));
            }
            Poll::Ready(Ok(()))
        }
    }

    let maker = maker();
    let plaintext = message(3 * CHUNK);
    let (opened, payload) = block_on(sealed(&maker, &plaintext));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for cut in [0, 56, 56 + SEALED, payload.len() - 16] {
        let sealing = seal_reader(block_on(start(&maker)).payload, TimesOut(leak(&plaintext), false));
        let opening = open_reader(opened.clone(), TimesOut(leak(&payload[..cut]), false));
        let readers: [Pin<Box<dyn AsyncRead>>; 2] = [Box::pin(sealing), Box::pin(opening)];
        for mut reader in readers {
            let error = runtime.block_on(reader.read_to_end(&mut Vec::new())).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            for _ in 0..3 {
                let error = runtime.block_on(reader.read(&mut [0; 10])).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::BrokenPipe);
                assert_eq!(error.to_string(), "it failed before, and cannot go on");
            }
        }
    }
}

#[test]
fn a_changed_chunk_is_reported_though_the_source_is_silent_after_it() {
    /// Gives its bytes and is never ready again.
    struct Silent(&'static [u8]);

    impl AsyncRead for Silent {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            out: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let len = self.0.len().min(out.remaining());
            out.put_slice(&self.0[..len]);
            self.0 = &self.0[len..];
            if len == 0 { Poll::Pending } else { Poll::Ready(Ok(())) }
        }
    }

    let maker = maker();
    let (opened, mut payload) = block_on(sealed(&maker, &message(10 * CHUNK)));
    payload[56 + SEALED] ^= 1;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _inside = runtime.enter();
    for more in [0, 100] {
        // Few enough chunks that they are opened where they are read: no waiting explains itself.
        let arrived = leak(&payload[..56 + 2 * SEALED + more]);
        let mut reader = open_reader(opened.clone(), Silent(arrived));
        let mut out = vec![0; 10 * CHUNK];
        assert_eq!(reader.read(&mut out).now_or_never().unwrap().unwrap(), CHUNK, "what is authentic");
        let error = reader.read(&mut out).now_or_never().expect("waits for the source").unwrap_err();
        assert!(is_not_authentic(inner(&error)), "{error:?}");
        let mut writer = OpenWriter::new(opened.clone(), Vec::new());
        writer.write_all(arrived).now_or_never().unwrap().unwrap();
        let error = writer.flush().now_or_never().unwrap().unwrap_err();
        assert!(is_not_authentic(inner(&error)), "{error:?}");
    }
}

/// An object of a store, which counts its requests.
struct Object {
    bytes: Bytes,
    requests: AtomicUsize,
    fetched: AtomicUsize,
}

#[async_trait]
impl AsyncReadAt for Object {
    async fn size(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    async fn fetch(&self, range: Range<u64>) -> io::Result<Bytes> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        self.fetched.fetch_add((range.end - range.start) as usize, Ordering::SeqCst);
        tokio::task::yield_now().await;
        if range.end > self.bytes.len() as u64 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(self.bytes.slice(range.start as usize..range.end as usize))
    }
}

fn object(bytes: Vec<u8>) -> Arc<Object> {
    Arc::new(Object { bytes: bytes.into(), requests: AtomicUsize::new(0), fetched: AtomicUsize::new(0) })
}

#[tokio::test]
async fn ranges_of_an_object_are_those_of_the_plaintext() {
    let maker = maker();
    for size in [0, 1, CHUNK, 3 * CHUNK + 5, 20 * CHUNK] {
        let plaintext = message(size);
        let (opened, payload) = sealed(&maker, &plaintext).await;
        let reader =
            AsyncRangedReader::new(&opened, object([b"header", &payload[..]].concat()), 6).await.unwrap();
        assert_eq!((reader.len(), reader.is_empty()), (size as u64, size == 0));
        let points = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 5, 19 * CHUNK, size];
        for (start, end) in points.iter().flat_map(|start| points.iter().map(move |end| (*start, *end))) {
            let range = reader.decrypt_range(start as u64..end as u64).await;
            if start <= end && end <= size {
                assert!(range.unwrap() == plaintext[start..end], "{start}..{end} of {size}");
            } else {
                let error = range.unwrap_err();
                assert!(matches!(error, StreamError::Range { .. }), "{start}..{end}: {error:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_range_is_one_request_for_the_chunks_that_hold_it() {
    let maker = maker();
    let (opened, payload) = sealed(&maker, &message(20 * CHUNK + 5)).await;
    let object = object(payload);
    let reader = AsyncRangedReader::new(&opened, object.clone(), 0).await.unwrap();
    assert_eq!(object.requests.swap(0, Ordering::SeqCst), 2);
    object.fetched.store(0, Ordering::SeqCst);
    reader.decrypt_range(5 * CHUNK as u64 - 1..5 * CHUNK as u64 + 1).await.unwrap();
    assert_eq!(object.requests.swap(0, Ordering::SeqCst), 1);
    assert_eq!(object.fetched.load(Ordering::SeqCst), 2 * SEALED);
    reader.decrypt_range(20 * CHUNK as u64..20 * CHUNK as u64 + 5).await.unwrap();
    assert_eq!(object.requests.load(Ordering::SeqCst), 0, "the last chunk is there already");
}

#[tokio::test]
async fn a_truncated_or_changed_object_is_refused() {
    let maker = maker();
    let (opened, payload) = sealed(&maker, &message(3 * CHUNK + 5)).await;
    for len in [0, 56, 56 + 16, 56 + SEALED, payload.len() - 1] {
        let error = AsyncRangedReader::new(&opened, object(payload[..len].to_vec()), 0).await.err().unwrap();
        assert!(is_not_authentic(&error), "{len}: {error:?}");
    }
    let mut changed = payload.clone();
    changed[56 + SEALED] ^= 1;
    let reader = AsyncRangedReader::new(&opened, object(changed), 0).await.unwrap();
    let error = reader.decrypt_range(CHUNK as u64..CHUNK as u64 + 1).await.unwrap_err();
    assert!(is_not_authentic(&error), "{error:?}");
}

#[tokio::test]
async fn reading_and_seeking_in_a_file_give_the_plaintext() {
    let maker = maker();
    let plaintext = message(40 * CHUNK + 7);
    let (opened, payload) = sealed(&maker, &plaintext).await;
    let mut file = tempfile::tempfile().unwrap();
    io::Write::write_all(&mut file, &payload).unwrap();
    let mut reader = AsyncRangedReader::new(&opened, Blocking::new(file), 0).await.unwrap();
    let mut out = Vec::new();
    reader.read_to_end(&mut out).await.unwrap();
    assert!(out == plaintext);
    for at in [0, 5, CHUNK, 16 * CHUNK - 1, 16 * CHUNK, 40 * CHUNK, plaintext.len() - 1, plaintext.len()] {
        assert_eq!(reader.seek(SeekFrom::Start(at as u64)).await.unwrap(), at as u64);
        let mut out = Vec::new();
        (&mut reader).take(50_000).read_to_end(&mut out).await.unwrap();
        assert!(out == plaintext[at..plaintext.len().min(at + 50_000)], "from {at}");
    }
    assert_eq!(reader.seek(SeekFrom::End(1)).await.unwrap(), plaintext.len() as u64 + 1);
    assert_eq!(reader.read(&mut [0]).await.unwrap(), 0);
    let error = reader.seek(SeekFrom::End(-(1 << 40))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}
