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
//! | `range` | one byte in the middle, with the DEK unwrapped: by a reader that is there already, and with a new one, which opens the last chunk first | 1 ms |
//!
//! Whole files and pipes: `scripts/bench-files`.

#![allow(missing_docs, reason = "criterion's macros write public items")]
#![allow(clippy::unwrap_used, reason = "a benchmark that fails shall stop")]

use std::{num::NonZeroUsize, sync::Arc};

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

criterion_group!(benches, memory, range);
criterion_main!(benches);
