//! What the layers cost, in one run: `cargo bench -p envelope-layers --bench layers`.
//!
//! Each line is the median of some batches of unwraps over a provider that answers at once, and what it costs more than
//! that provider alone. The time is that of the thread on its processor, so that what else the machine does counts little.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program that prints a table")]

use std::{convert::Infallible, hint::black_box, sync::Arc, time::Duration};

use async_trait::async_trait;
use envelope_layers::{
    Breaker, Cache, CacheLimits, CacheStore, Concurrency, Deadline, Limit, Metrics, Observe, Retry,
    RetryBudget, Stack,
};
use envelope_sdk::{
    ContextBinding, Dek, EncryptionContext, FullContext, KeyProvider, KeyUri, ProviderError, WrappedDek,
};
use rustix::time::{ClockId, clock_gettime};

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let wrapped = WrappedDek::new(KeyUri::parse("memory:key").unwrap(), "1", "NONE", vec![7; 64]).unwrap();
    let context = EncryptionContext::new().with("tenant", "42").with("table", "orders").full().unwrap();
    let budget = RetryBudget::default();
    let store = || CacheStore::new(CacheLimits::new(Duration::from_secs(3600), 10_000));
    let alone: Arc<dyn KeyProvider> = Arc::new(AtOnce);
    let time = |provider: &Arc<dyn KeyProvider>| {
        runtime.block_on(median(async || {
            drop(black_box(provider.unwrap_dek(&wrapped, &context).await.unwrap()));
        }))
    };
    let copied = dek();
    let copy = runtime.block_on(median(async || drop(black_box(copy_of(&copied)))));

    let below = |stack: Stack| stack.over(alone.clone());
    let retry = {
        let budget = budget.clone();
        move |below| Retry::new(below, &budget)
    };
    let limit = |below| Limit::new(below).requests_per_second(u32::MAX).concurrency(Concurrency::default());
    let without_cache =
        || Stack::new().retry(retry.clone()).breaker(Breaker::new).limit(limit).deadline(Deadline::new);
    let whole = || without_cache().observe(Arc::new(Metrics::new()));
    let rows: Vec<(&str, Arc<dyn KeyProvider>)> = vec![
        ("observed, nobody listens", Arc::new(Observe::attempts(alone.clone()))),
        ("retry", below(Stack::new().retry(retry.clone()))),
        ("breaker", below(Stack::new().breaker(Breaker::new))),
        ("limit (rate and concurrency)", below(Stack::new().limit(limit))),
        ("deadline", below(Stack::new().deadline(Deadline::new))),
        ("retry, breaker, limit, deadline", below(without_cache())),
        ("the same, with spans and metrics", below(whole())),
        (
            "the whole stack, always a miss",
            below(whole().cache(&CacheStore::new(CacheLimits::new(Duration::ZERO, 0)))),
        ),
        ("cache, a hit", Arc::new(Cache::new(alone.clone(), &store()))),
        ("the whole stack, a hit", below(whole().cache(&store()))),
    ];
    let base = time(&alone);
    println!("{:42} {:>9} {:>9}", "", "ns a call", "ns more");
    println!("{:42} {base:9.0}", "the provider alone");
    println!("{:42} {copy:9.0}", "a copy of a DEK (new memory, wiped)");
    let mut hit = 0.0;
    for (name, provider) in &rows {
        let took = time(provider);
        println!("{name:42} {took:9.0} {:9.0}", took - base);
        if *name == "cache, a hit" {
            hit = took;
        }
    }
    println!("{:42} {:9.0}", "cache, a hit without the copy of its DEK", hit - copy);
}

/// Nanoseconds of one call.
async fn median(call: impl AsyncFn()) -> f64 {
    let mut batches = Vec::with_capacity(BATCHES);
    for batch in 0..=BATCHES {
        let begun = on_the_processor();
        for _ in 0..CALLS {
            // No task may keep the thread for ever: here it may.
            tokio::task::unconstrained(call()).await;
        }
        // The first warms up.
        if batch > 0 {
            batches.push((on_the_processor() - begun).as_secs_f64() * 1e9 / f64::from(CALLS));
        }
    }
    batches.sort_by(f64::total_cmp);
    batches[BATCHES / 2]
}

/// How long this thread has worked.
fn on_the_processor() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

fn dek() -> Dek {
    let Ok(dek) = Dek::fill_with(|bytes| {
        bytes.fill(7);
        Ok::<(), Infallible>(())
    });
    dek
}

fn copy_of(dek: &Dek) -> Dek {
    let Ok(copy) = Dek::fill_with(|bytes| {
        bytes.copy_from_slice(dek.expose());
        Ok::<(), Infallible>(())
    });
    copy
}

/// A provider without any work.
struct AtOnce;

#[async_trait]
impl KeyProvider for AtOnce {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn context_binding(&self, _: &WrappedDek) -> ContextBinding {
        ContextBinding::Provider
    }

    async fn wrap_dek(&self, key: &KeyUri, _: &Dek, _: &FullContext) -> Result<WrappedDek, ProviderError> {
        WrappedDek::new(key.clone(), "1", "NONE", vec![7; 64])
    }

    async fn unwrap_dek(&self, _: &WrappedDek, _: &FullContext) -> Result<Dek, ProviderError> {
        Ok(dek())
    }
}

const BATCHES: usize = 21;
const CALLS: u32 = 20_000;
