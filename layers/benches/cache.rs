//! What a hit costs: `cargo bench -p envelope-layers --bench cache`.
//!
//! A hit hands out a DEK in memory of its own, which is wiped when it is dropped. That copy is measured by itself,
//! so that the cache's share is the difference.

#![allow(missing_docs, clippy::unwrap_used, reason = "a bench stops when lost")]

use std::{convert::Infallible, hint::black_box, sync::Arc, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use envelope_layers::{Cache, CacheLimits, CacheStore};
use envelope_sdk::{Dek, EncryptionContext, KeyProvider, crypto::DefaultEngine};
use envelope_testkit::MemoryProvider;
use futures_executor::block_on;
use futures_util::FutureExt;

fn hit(criterion: &mut Criterion) {
    let key = MemoryProvider::key("one");
    let memory = Arc::new(MemoryProvider::new().with_key(&key));
    let cache =
        Cache::new(memory.clone(), &CacheStore::new(CacheLimits::new(Duration::from_secs(3600), 1000)));
    let context = EncryptionContext::new().with("tenant", "acme").with("purpose", "backup").full().unwrap();
    let dek = Dek::generate::<DefaultEngine>().unwrap();
    let wrapped = block_on(cache.wrap_dek(&key, &dek, &context)).unwrap();
    drop(block_on(cache.unwrap_dek(&wrapped, &context)).unwrap());

    let mut group = criterion.benchmark_group("cache");
    group.bench_function("hit", |bencher| {
        bencher.iter(|| cache.unwrap_dek(black_box(&wrapped), &context).now_or_never().unwrap().unwrap());
    });
    group.bench_function("copy of a DEK alone", |bencher| {
        bencher.iter(|| {
            let Ok(copy) = Dek::fill_with(|bytes| {
                bytes.copy_from_slice(black_box(&dek).expose());
                Ok::<(), Infallible>(())
            });
            copy
        });
    });
    group.bench_function("no cache, a key in memory", |bencher| {
        bencher.iter(|| memory.unwrap_dek(black_box(&wrapped), &context).now_or_never().unwrap().unwrap());
    });
    group.finish();
}

criterion_group!(benches, hit);
criterion_main!(benches);
