//! What several threads gain in memory, and what a range costs.
//!
//! ```text
//! cargo bench --bench stream
//! STREAM_BENCH_MIB=1024 cargo bench --bench stream -- range
//! ```
//!
//! | Group | What | Aim |
//! |---|---|---|
//! | `memory` | a message sealed and opened by one thread and by two | 1.9 × with two cores |
//! | `pipe` | the same through readers that give 64 KiB, as a pipe does, or all that is asked for, as a file does; pieces are opened as they arrive, for which handing over 64 KiB at a time costs more than a second thread gains in memory, and less than a real pipe does | two threads before one, but for `open-64k` |
//! | `range` | one byte in the middle, with the DEK unwrapped: by a reader that is there already, and with a new one, which opens the last chunk first | 1 ms |
//!
//! Whole files and pipes: `scripts/bench-files`.

#![allow(missing_docs, reason = "criterion's macros write public items")]
#![allow(clippy::unwrap_used, reason = "a benchmark that fails shall stop")]

use std::{
    io::{self, Read},
    num::NonZeroUsize,
    sync::Arc,
};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use envelope_sdk::{
    EncryptionContext, Envelope, Keyring, OpenedHeader, PayloadKind,
    stream::{Parallel, RangedReader, read_header},
};
use envelope_testkit::MemoryProvider;
use futures_executor::block_on;

fn memory(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("memory");
    group.throughput(Throughput::Bytes(message_len() as u64)).sample_size(10);
    let envelope = in_memory();
    let plaintext = vec![0x5A; message_len()];
    let (opened, payload) = sealed(&envelope, &plaintext);
    for threads in [1, 2] {
        let parallel = Parallel::new().threads(NonZeroUsize::new(threads).unwrap());
        let (mut out, mut back) = (vec![0; payload.len()], vec![0; plaintext.len()]);
        group.bench_function(format!("seal-{threads}"), |bench| {
            bench.iter_batched(
                || {
                    block_on(envelope.start(PayloadKind::Detached, &EncryptionContext::new()))
                        .unwrap()
                        .payload
                },
                |sealer| parallel.seal_slice(sealer, &plaintext, &mut out).unwrap(),
                BatchSize::PerIteration,
            );
        });
        group.bench_function(format!("open-{threads}"), |bench| {
            bench.iter(|| parallel.open_slice(&opened, &payload, &mut back).unwrap());
        });
    }
    group.finish();
}

fn pipe(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pipe");
    group.throughput(Throughput::Bytes(message_len() as u64)).sample_size(10);
    let envelope = in_memory();
    let (opened, payload) = sealed(&envelope, &vec![0x5A; message_len()]);
    let (plaintext, payload) = (Arc::from(vec![0x5A; message_len()]), Arc::from(payload));
    for (threads, piece) in
        [1, 2].into_iter().flat_map(|threads| [65_536, usize::MAX].map(|of| (threads, of)))
    {
        let parallel = Parallel::new().threads(NonZeroUsize::new(threads).unwrap());
        let name = if piece == usize::MAX { "whole" } else { "64k" };
        group.bench_function(format!("seal-{name}-{threads}"), |bench| {
            bench.iter_batched(
                || {
                    block_on(envelope.start(PayloadKind::Detached, &EncryptionContext::new()))
                        .unwrap()
                        .payload
                },
                |sealer| parallel.seal_pipe(sealer, Pieces::new(&plaintext, piece), &mut io::sink()).unwrap(),
                BatchSize::PerIteration,
            );
        });
        group.bench_function(format!("open-{name}-{threads}"), |bench| {
            bench
                .iter(|| parallel.open_pipe(&opened, Pieces::new(&payload, piece), &mut io::sink()).unwrap());
        });
    }
    group.finish();
}

/// Gives at most so many bytes at once.
struct Pieces {
    bytes: Arc<[u8]>,
    at: usize,
    piece: usize,
}

impl Pieces {
    fn new(bytes: &Arc<[u8]>, piece: usize) -> Self {
        Self { bytes: bytes.clone(), at: 0, piece }
    }
}

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = out.len().min(self.piece);
        let read = (&self.bytes[self.at..]).read(&mut out[..most])?;
        self.at += read;
        Ok(read)
    }
}

fn range(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("range");
    let plaintext = vec![0x5A; message_len()];
    let (opened, payload) = sealed(&in_memory(), &plaintext);
    drop(plaintext);
    let middle = message_len() as u64 / 2;
    let reader = RangedReader::new(&opened, payload.as_slice(), 0).unwrap();
    group.bench_function("one-byte", |bench| {
        bench.iter(|| reader.decrypt_range(middle..middle + 1).unwrap());
    });
    group.bench_function("one-byte-and-reader", |bench| {
        bench.iter(|| {
            let reader = RangedReader::new(&opened, payload.as_slice(), 0).unwrap();
            reader.decrypt_range(middle..middle + 1).unwrap()
        });
    });
    group.finish();
}

fn in_memory() -> Envelope {
    let key = MemoryProvider::key("bench");
    let provider = Arc::new(MemoryProvider::new().with_key(&key));
    Envelope::new(Keyring::new().both(provider, key))
}

fn sealed(envelope: &Envelope, plaintext: &[u8]) -> (OpenedHeader, Vec<u8>) {
    let context = EncryptionContext::new();
    let (header, payload) = block_on(envelope.encrypt_detached(plaintext, &context)).unwrap();
    let header = read_header(&mut header.as_slice()).unwrap();
    (block_on(envelope.unlock(header, &context)).unwrap(), payload)
}

/// 64 MiB, or as many as `STREAM_BENCH_MIB` says.
fn message_len() -> usize {
    let mib: usize = std::env::var("STREAM_BENCH_MIB").map_or(64, |mib| mib.parse().unwrap());
    mib << 20
}

criterion_group!(benches, memory, pipe, range);
criterion_main!(benches);
