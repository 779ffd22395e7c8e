//! Tests of the cache and of data keys in every order of their threads' steps, as far as chance finds them.
//!
//! The modules of the crate are compiled here once more, with shuttle's locks in place of those of the standard
//! library: this file stands beside them, so that they are found where they are. Whatever they use of the crate is
//! listed here, too.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "modules of the crate, of which a part is used"
)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]

mod cache;
mod counter;
mod data_keys;
mod events;
mod flights;
mod key_states;
mod sync {
    pub(crate) use std::sync::PoisonError;

    pub(crate) use shuttle::sync::{Mutex, MutexGuard};

    pub(crate) fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
        what.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

use std::{
    collections::HashMap,
    convert::Infallible,
    future::{pending, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use async_trait::async_trait;
use envelope_sdk::{
    Dek, EncryptionContext, Envelope, FullContext, KeyProvider, KeyState, KeyUri, Keyring, ProviderError,
    ProviderErrorKind, WrappedDek, crypto::DefaultEngine,
};
use shuttle::{
    Config, Runner,
    future::{block_on, yield_now},
    scheduler::{PctScheduler, RandomScheduler},
    thread,
};

use cache::{
    Cache, CacheLimits, CacheStore,
    key::{Asked, Source},
    store::{Found, Store},
};
use data_keys::{DataKeyLimits, DataKeys, DataKeysError, MemoryDataKeyStore};
use key_states::{KeyStateListener, ReportingAdmin};
use tokio::time::Instant;

/// Tells in each DEK which call it came from, and how often its key had been changed when that call began.
#[derive(Default)]
struct Numbered {
    calls: AtomicU64,
    changes: AtomicU64,
    /// Refuses from now on.
    refuses: AtomicU64,
}

impl Numbered {
    async fn answer(&self) -> Result<(u64, u64), ProviderError> {
        let (call, change) = (self.calls.fetch_add(1, Ordering::SeqCst), self.changes.load(Ordering::SeqCst));
        yield_now().await;
        if self.refuses.load(Ordering::SeqCst) > 0 {
            return Err(ProviderError::new(ProviderErrorKind::State, self.name(), &key(), "suspended"));
        }
        Ok((call, change))
    }
}

#[async_trait]
impl KeyProvider for Numbered {
    fn name(&self) -> &'static str {
        "numbered"
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        _dek: &Dek,
        _context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        let (call, _) = self.answer().await?;
        WrappedDek::new(key.clone(), "", "NUMBER", call.to_be_bytes().to_vec())
    }

    async fn unwrap_dek(&self, _wrapped: &WrappedDek, _context: &FullContext) -> Result<Dek, ProviderError> {
        let (call, change) = self.answer().await?;
        let Ok(dek) = Dek::fill_with(|bytes| {
            bytes[..8].copy_from_slice(&call.to_be_bytes());
            bytes[8..16].copy_from_slice(&change.to_be_bytes());
            Ok::<(), Infallible>(())
        });
        Ok(dek)
    }
}

#[test]
fn no_answer_of_the_key_store_is_handed_out_more_often_than_is_allowed() {
    const USES: u64 = 2;
    orders(|| {
        let (below, cache) = cached(CacheLimits::new(HOUR, 10).uses(USES));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let cache = cache.clone();
                thread::spawn(move || [unwrap(&cache, 0), unwrap(&cache, 0)].map(|dek| dek.unwrap().0))
            })
            .collect();
        let mut handed_out: HashMap<u64, u64> = HashMap::new();
        for call in threads.into_iter().flat_map(|thread| thread.join().unwrap()) {
            *handed_out.entry(call).or_default() += 1;
        }
        assert!(handed_out.values().all(|uses| *uses <= USES), "{handed_out:?}");
        assert_eq!(handed_out.len() as u64, below.calls.load(Ordering::SeqCst), "each call was for somebody");
        assert_eq!(cache.store().stats().in_flight, 0);
    });
}

#[test]
fn after_an_invalidation_nobody_is_given_what_was_asked_for_before_it() {
    orders(|| {
        let (below, cache) = cached(CacheLimits::new(HOUR, 10));
        let others: Vec<_> = (0..2)
            .map(|_| {
                let cache = cache.clone();
                thread::spawn(move || {
                    unwrap(&cache, 0).unwrap();
                    unwrap(&cache, 0).unwrap();
                })
            })
            .collect();
        below.changes.fetch_add(1, Ordering::SeqCst);
        cache.store().invalidate(&key());
        assert_eq!(unwrap(&cache, 0).unwrap().1, 1, "at once");
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(unwrap(&cache, 0).unwrap().1, 1, "and when those of before are done");
    });
}

#[test]
fn who_was_told_that_a_key_is_refused_is_given_no_dek_of_it_any_more() {
    orders(|| {
        let (below, cache) = cached(CacheLimits::new(HOUR, 10));
        let threads: Vec<_> = (0..3)
            .map(|thread| {
                let (below, cache) = (Arc::clone(&below), cache.clone());
                thread::spawn(move || {
                    if thread == 0 {
                        below.refuses.fetch_add(1, Ordering::SeqCst);
                    }
                    // Of another wrap of the same key, which may be kept.
                    if unwrap(&cache, thread % 2).is_err() {
                        for wrap in [0, 1] {
                            assert_eq!(unwrap(&cache, wrap).unwrap_err().kind(), ProviderErrorKind::State);
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn when_one_who_waits_is_dropped_the_others_are_answered_and_nothing_stays_under_way() {
    orders(|| {
        let (below, cache) = cached(CacheLimits::new(HOUR, 10));
        let dropped = {
            let cache = cache.clone();
            thread::spawn(move || block_on(polled_once(cache.unwrap_dek(&wrapped(0), &FullContext::empty()))))
        };
        let waiting = {
            let cache = cache.clone();
            thread::spawn(move || unwrap(&cache, 0).unwrap())
        };
        unwrap(&cache, 0).unwrap();
        waiting.join().unwrap();
        dropped.join().unwrap();
        assert_eq!(cache.store().stats().in_flight, 0);
        assert!(below.calls.load(Ordering::SeqCst) <= 2, "one, and one more if it was dropped before");
    });
}

#[test]
fn no_more_is_kept_than_there_is_room_for_and_each_wrap_gives_its_own() {
    const ROOM: usize = 2;
    orders(|| {
        let (_, cache) = cached(CacheLimits::new(HOUR, ROOM));
        let threads: Vec<_> = (0..3)
            .map(|thread| {
                let cache = cache.clone();
                thread::spawn(move || {
                    for round in 0..3 {
                        unwrap(&cache, thread + round).unwrap();
                        assert!(cache.store().stats().kept <= ROOM);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(cache.store().stats().kept, ROOM);
    });
}

#[test]
fn a_batch_and_single_calls_ask_for_each_wrap_once() {
    orders(|| {
        let (below, cache) = cached(CacheLimits::new(HOUR, 10));
        let singles: Vec<_> = (0..2)
            .map(|number| {
                let cache = cache.clone();
                thread::spawn(move || unwrap(&cache, number).unwrap())
            })
            .collect();
        let (one, two, empty) = (wrapped(0), wrapped(1), FullContext::empty());
        let both = block_on(cache.unwrap_deks(&[(&one, &empty), (&two, &empty), (&one, &empty)]));
        let both: Vec<_> = both.into_iter().map(|dek| number(&dek.unwrap())).collect();
        let singles: Vec<_> = singles.into_iter().map(|single| single.join().unwrap().0).collect();
        assert_eq!(both, [singles[0], singles[1], singles[0]]);
        assert_eq!(below.calls.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn no_data_key_seals_more_than_is_allowed_and_each_is_used_up() {
    const RECORDS: u64 = 2;
    orders(|| {
        let data_keys = data_keys(&Arc::default(), RECORDS);
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let data_keys = data_keys.clone();
                thread::spawn(move || [seal(&data_keys).unwrap(), seal(&data_keys).unwrap()])
            })
            .collect();
        let mut sealed: HashMap<_, u64> = HashMap::new();
        for id in threads.into_iter().flat_map(|thread| thread.join().unwrap()) {
            *sealed.entry(id).or_default() += 1;
        }
        assert!(sealed.values().all(|records| *records <= RECORDS), "{sealed:?}");
        assert_eq!(data_keys.stats().made, 3, "six records, two for each");
    });
}

#[test]
fn after_a_report_nothing_is_sealed_under_a_data_key_of_before() {
    orders(|| {
        let below = Arc::<Numbered>::default();
        let data_keys = data_keys(&below, 100);
        let other = {
            let data_keys = data_keys.clone();
            thread::spawn(move || [seal(&data_keys), seal(&data_keys)].map(drop))
        };
        below.refuses.fetch_add(1, Ordering::SeqCst);
        data_keys.report(&key(), KeyState::Suspended);
        let refused = seal(&data_keys).unwrap_err();
        assert!(matches!(refused, DataKeysError::Make(_)), "{refused}");
        other.join().unwrap();
        assert!(matches!(seal(&data_keys), Err(DataKeysError::Make(_))));
        assert_eq!(data_keys.stats().current, 0);
    });
}

/// Makes the first leave the store; the second is another one.
type Leave = fn(&Arc<Store>, &Asked<'_>, &Asked<'_>, Instant);

/// A DEK wipes itself when it is dropped, which its own tests show.
#[test]
fn a_dek_is_dropped_whatever_the_reason_it_leaves_the_store_for() {
    shuttle::check_random(
        || {
            let limits = CacheLimits::new(HOUR, 1).uses(3);
            let source = Arc::new(Source::new(Arc::<Numbered>::default()));
            let (partition, context, wraps) = (Arc::from(""), FullContext::empty(), [0, 1].map(wrapped));
            let [one, other] = wraps.each_ref().map(|wrapped| Asked {
                source: &source,
                partition: &partition,
                wrapped,
                context: &context,
            });
            let now = Instant::now();
            let reasons: [(&str, Leave); 6] = [
                ("invalidated", |store, _, _, _| store.invalidate(&key(), None)),
                ("cleared", |store, _, _, _| store.clear()),
                ("too old", |store, one, _, now| assert!(!is_hit(store, one, now + HOUR))),
                ("purged", |store, _, _, now| assert_eq!(store.purge_expired(now + HOUR), 1)),
                ("used up", |store, one, _, now| {
                    assert!(is_hit(store, one, now) && is_hit(store, one, now));
                }),
                ("evicted", |store, _, other, now| {
                    store.keep_unless(store.invalidations(), other, fresh(), now, now);
                }),
            ];
            for (reason, leave) in reasons {
                let (store, dek) = (Arc::new(Store::new(limits, now)), fresh());
                let left = Arc::downgrade(&dek);
                store.keep_unless(store.invalidations(), &one, dek, now, now);
                assert_eq!(left.strong_count(), 1, "kept");
                leave(&store, &one, &other, now);
                assert_eq!(left.strong_count(), 0, "{reason}");
            }
            let (store, dek) = (Arc::new(Store::new(limits, now)), fresh());
            let left = Arc::downgrade(&dek);
            store.keep_unless(store.invalidations(), &one, dek, now, now);
            drop(store);
            assert_eq!(left.strong_count(), 0, "with the store");
        },
        1,
    );
}

/// Uses the DEK once, if it is kept.
fn is_hit(store: &Arc<Store>, asked: &Asked<'_>, now: Instant) -> bool {
    matches!(store.find_one(asked, now, |_| pending()), Found::Kept(..))
}

fn fresh() -> Arc<Dek> {
    Arc::new(Dek::generate::<DefaultEngine>().unwrap())
}

fn cached(limits: CacheLimits) -> (Arc<Numbered>, Cache<Arc<Numbered>>) {
    let below = Arc::<Numbered>::default();
    (Arc::clone(&below), Cache::new(below, &CacheStore::new(limits)))
}

/// Which call its DEK came from, and after how many changes.
fn unwrap(cache: &Cache<Arc<Numbered>>, which: u8) -> Result<(u64, u64), ProviderError> {
    let dek = block_on(cache.unwrap_dek(&wrapped(which), &FullContext::empty()))?;
    let (change, _) = dek.expose()[8..].split_first_chunk().unwrap();
    Ok((number(&dek), u64::from_be_bytes(*change)))
}

fn number(dek: &Dek) -> u64 {
    u64::from_be_bytes(*dek.expose().first_chunk().unwrap())
}

fn wrapped(which: u8) -> WrappedDek {
    WrappedDek::new(key(), "", "NUMBER", vec![which]).unwrap()
}

fn data_keys(below: &Arc<Numbered>, records: u64) -> DataKeys {
    let keyring = Keyring::new().encrypt(below.clone(), key());
    DataKeys::new(Envelope::new(keyring), MemoryDataKeyStore::new(), DataKeyLimits::new(HOUR, records))
}

fn seal(data_keys: &DataKeys) -> Result<data_keys::DataKeyId, DataKeysError> {
    let context = EncryptionContext::new();
    block_on(data_keys.seal(&context, b"", &context)).map(|sealed| sealed.data_key)
}

async fn polled_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|task| match future.as_mut().poll(task) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

fn key() -> KeyUri {
    KeyUri::parse("numbered:one").unwrap()
}

/// In orders by chance, and in those where few switches matter. What fails prints its order, which `shuttle::replay`
/// runs again.
fn orders(test: impl Fn() + Send + Sync + Clone + 'static) {
    let mut config = Config::new();
    // Cryptography needs more than shuttle gives its threads.
    config.stack_size = 256 * 1024;
    Runner::new(RandomScheduler::new(ORDERS), config.clone()).run(test.clone());
    Runner::new(PctScheduler::new(3, ORDERS), config).run(test);
}

const ORDERS: usize = 400;
const HOUR: Duration = Duration::from_secs(3600);
