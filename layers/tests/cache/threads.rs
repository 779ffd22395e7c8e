//! Limits under 64 threads.

use std::{
    sync::{Arc, Barrier},
    thread,
};

use envelope_layers::{Cache, CacheLimits, CacheStore};
use envelope_sdk::KeyProvider;
use futures_executor::block_on;

use super::{
    HOUR,
    support::{Spy, context, opens, shared, wrapped},
};

const THREADS: usize = 64;

#[test]
fn sixty_four_threads_use_a_dek_exactly_as_often_as_is_allowed() {
    const ROUNDS: usize = 500;
    const USES: usize = 7;
    let spy = shared(Spy::that_yields(1));
    let cache = Cache::new(Arc::clone(&spy), &CacheStore::new(CacheLimits::new(HOUR, 10).uses(USES as u64)));
    let context = context("acme");
    let (wrapped, dek) = block_on(wrapped(&cache, "one", &context));
    at_once(|_| {
        for _ in 0..ROUNDS {
            block_on(opens(&cache, &wrapped, &context, &dek));
        }
    });
    let (stats, used) = (cache.store().stats(), (THREADS * ROUNDS) as u64);
    assert_eq!(stats.hits + stats.misses + stats.joined, used);
    let calls = spy.unwraps().len();
    // Each call is good for seven at most, and all but those of the last calls under way were used up.
    assert!(calls >= used.div_ceil(USES as u64) as usize, "{calls} calls for {used} uses");
    assert_eq!(stats.calls, calls as u64);
    assert!(stats.kept <= 1 && stats.in_flight == 0, "{stats:?}");
}

#[test]
fn sixty_four_threads_keep_no_more_entries_than_is_allowed_and_mix_up_no_deks() {
    const ENTRIES: usize = 20;
    const WRAPS: usize = 48;
    let spy = shared(Spy::new());
    let store = CacheStore::new(CacheLimits::new(HOUR, ENTRIES));
    let cache = Cache::new(Arc::clone(&spy), &store);
    let contexts: Vec<_> = (0..4).map(|tenant| context(&format!("tenant-{tenant}"))).collect();
    let made: Vec<_> = (0..WRAPS)
        .map(|number| block_on(wrapped(&cache, ["one", "two"][number % 2], &contexts[number % 4])))
        .collect();
    at_once(|thread| {
        for round in 0..400 {
            // Another way through the wraps for each thread.
            let number = (thread * 31 + round * (2 * thread + 1)) % WRAPS;
            let (wrapped, dek) = &made[number];
            block_on(opens(&cache, wrapped, &contexts[number % 4], dek));
            assert!(store.stats().kept <= ENTRIES);
            if round % 100 == 99 {
                store.invalidate(wrapped.key_uri());
            }
        }
    });
    let stats = store.stats();
    assert!(stats.evicted > 0 && stats.hits > 0 && stats.invalidated > 0, "{stats:?}");
    let deks = block_on(cache.unwrap_deks(&[]));
    assert!(deks.is_empty());
}

fn at_once(work: impl Fn(usize) + Sync) {
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (start, work) = (&start, &work);
            scope.spawn(move || {
                start.wait();
                work(thread);
            });
        }
    });
}
