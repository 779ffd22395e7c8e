//! Order, hedging and deadlines of a keyring, in tokio's paused time.

#![allow(
    clippy::cast_possible_truncation,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that goes wrong shall stop"
)]

mod common;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use ::tokio::time::{Instant, sleep};
use common::context;
use envelope_sdk::{
    AskedKey, DecryptError, Dek, EncryptError, Envelope, Hedging, KeyProvider, KeyUri, Keyring, KeyringEvent,
    KeyringListener, Order, ProviderError, ProviderErrorKind, RewrapError, Timer, TokioTimer, WrapPolicy,
    crypto::DefaultEngine,
};
use envelope_testkit::{AlteredProvider, MemoryProvider};

/// What a key store does with an unwrap or a wrap after some milliseconds.
#[derive(Debug, Clone, Copy)]
enum Does {
    Answer(u64),
    Fail(u64, ProviderErrorKind),
    OtherDek(u64),
}

/// What happened to whose calls: `+a` begun, `-a` dropped.
type Log = Arc<Mutex<Vec<String>>>;

struct Rig {
    keys: Vec<KeyUri>,
    does: Arc<Mutex<Vec<Does>>>,
    log: Log,
    providers: Vec<Arc<dyn KeyProvider>>,
    sealed: Vec<u8>,
}

struct Dropped(Option<(Log, String)>);

impl Dropped {
    fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for Dropped {
    fn drop(&mut self) {
        if let Some((log, name)) = self.0.take() {
            log.lock().unwrap().push(format!("-{name}"));
        }
    }
}

impl Rig {
    /// A key store for each name, and an envelope for all of them in this order.
    async fn new(names: &[&'static str]) -> Self {
        let does = Arc::new(Mutex::new(vec![Does::Answer(0); names.len()]));
        let log = Log::default();
        let keys: Vec<_> = names.iter().map(|name| MemoryProvider::key(name)).collect();
        let providers: Vec<Arc<dyn KeyProvider>> = names
            .iter()
            .zip(&keys)
            .enumerate()
            .map(|(number, (name, key))| Self::provider(number, name, key, &does, &log))
            .collect();
        let ring = providers.iter().zip(&keys);
        let ring = ring.fold(Keyring::new(), |ring, (one, key)| ring.encrypt(Arc::clone(one), key.clone()));
        let sealed = Envelope::new(ring).encrypt(b"x", &context()).await.unwrap();
        log.lock().unwrap().clear();
        Self { keys, does, log, providers, sealed }
    }

    fn provider(
        number: usize,
        name: &'static str,
        key: &KeyUri,
        does: &Arc<Mutex<Vec<Does>>>,
        log: &Log,
    ) -> Arc<dyn KeyProvider> {
        let begin = {
            let (does, log) = (Arc::clone(does), Arc::clone(log));
            move || {
                log.lock().unwrap().push(format!("+{name}"));
                (does.lock().unwrap()[number], Dropped(Some((Arc::clone(&log), name.to_owned()))))
            }
        };
        let begin_wrap = begin.clone();
        let wait = async |does: Does, key: &KeyUri| match does {
            Does::Answer(after) | Does::OtherDek(after) => {
                sleep(Duration::from_millis(after)).await;
                Ok(())
            }
            Does::Fail(after, kind) => {
                sleep(Duration::from_millis(after)).await;
                Err(ProviderError::new(kind, "fake", key, "injected"))
            }
        };
        let provider = AlteredProvider::new(Arc::new(MemoryProvider::new().with_key(key)))
            .on_wrap(move |below, key, dek, context| {
                let (does, mut dropped) = begin_wrap();
                Box::pin(async move {
                    let waited = wait(does, key).await;
                    dropped.disarm();
                    waited?;
                    below.wrap_dek(key, dek, context).await
                })
            })
            .on_unwrap(move |below, wrapped, context| {
                let (does, mut dropped) = begin();
                Box::pin(async move {
                    let waited = wait(does, wrapped.key_uri()).await;
                    dropped.disarm();
                    waited?;
                    match does {
                        Does::OtherDek(_) => Ok(Dek::generate::<DefaultEngine>().unwrap()),
                        _ => below.unwrap_dek(wrapped, context).await,
                    }
                })
            });
        Arc::new(provider)
    }

    fn does(&self, does: &[Does]) {
        *self.does.lock().unwrap() = does.to_vec();
    }

    /// The keys of these numbers, in this order.
    fn ring(&self, numbers: &[usize]) -> Keyring {
        numbers.iter().fold(Keyring::new(), |ring, number| {
            ring.both(Arc::clone(&self.providers[*number]), self.keys[*number].clone())
        })
    }

    /// Opens with this keyring: the outcome, the time and the log.
    async fn open(&self, ring: &Keyring) -> (Result<(), DecryptError>, u64, String) {
        self.log.lock().unwrap().clear();
        let began = Instant::now();
        let opened = Envelope::new(ring.clone()).decrypt(&self.sealed, &context()).await;
        let outcome = opened.map(|plaintext| assert_eq!(plaintext, b"x"));
        let log = self.log.lock().unwrap().join(" ");
        (outcome, u64::try_from(began.elapsed().as_millis()).unwrap(), log)
    }

    /// The same where it opens.
    async fn opened(&self, ring: &Keyring) -> (u64, String) {
        let (outcome, time, log) = self.open(ring).await;
        outcome.unwrap();
        (time, log)
    }
}

fn timer() -> Arc<dyn Timer> {
    Arc::new(TokioTimer::new())
}

fn kinds_and_keys(error: DecryptError) -> Vec<(ProviderErrorKind, KeyUri)> {
    match error {
        DecryptError::Keys { attempts } => {
            attempts.into_iter().map(|error| (error.kind(), error.key().unwrap().clone())).collect()
        }
        other => panic!("{other:?}"),
    }
}

const AWAY: ProviderErrorKind = ProviderErrorKind::Unavailable;

// Order

#[::tokio::test(start_paused = true)]
async fn recipients_are_tried_in_the_order_of_the_header_or_of_the_keyring() {
    let rig = Rig::new(&["a", "b"]).await;
    let ring = rig.ring(&[1, 0]);
    assert_eq!(rig.opened(&ring).await.1, "+a");
    assert_eq!(rig.opened(&ring.clone().order(Order::Header)).await.1, "+a");
    assert_eq!(rig.opened(&ring.order(Order::Keyring)).await.1, "+b");
}

#[::tokio::test(start_paused = true)]
async fn a_region_that_is_away_costs_its_time_out_and_nothing_once_a_breaker_refuses() {
    let rig = Rig::new(&["a", "b"]).await;
    let ring = rig.ring(&[0, 1]);
    rig.does(&[Does::Fail(5000, AWAY), Does::Answer(20)]);
    assert_eq!(rig.opened(&ring).await, (5020, "+a +b".into()));
    // What a breaker over it does.
    rig.does(&[Does::Fail(0, AWAY), Does::Answer(20)]);
    let (time, log) = rig.opened(&ring).await;
    assert!((20..22).contains(&time), "{time}");
    assert_eq!(log, "+a +b");
}

// Hedging

#[::tokio::test(start_paused = true)]
async fn a_second_key_is_asked_when_the_first_is_slow_and_the_first_is_dropped_when_it_answers() {
    let rig = Rig::new(&["a", "b"]).await;
    let ring = rig.ring(&[0, 1]).hedging(Hedging::new(timer()));
    rig.does(&[Does::Answer(5000), Does::Answer(20)]);
    assert_eq!(rig.opened(&ring).await, (270, "+a +b -a".into()));
}

#[::tokio::test(start_paused = true)]
async fn the_first_may_still_win_and_the_second_is_dropped_then() {
    let rig = Rig::new(&["a", "b"]).await;
    let ring = rig.ring(&[0, 1]).hedging(Hedging::new(timer()));
    rig.does(&[Does::Answer(260), Does::Answer(20)]);
    assert_eq!(rig.opened(&ring).await, (260, "+a +b -b".into()));
    rig.does(&[Does::Answer(200), Does::Answer(20)]);
    assert_eq!(rig.opened(&ring).await, (200, "+a".into()), "in time");
}

#[::tokio::test(start_paused = true)]
async fn an_error_of_the_first_starts_the_second_at_once() {
    let rig = Rig::new(&["a", "b"]).await;
    let ring = rig.ring(&[0, 1]).hedging(Hedging::new(timer()));
    rig.does(&[Does::Fail(30, ProviderErrorKind::Throttled), Does::Answer(20)]);
    assert_eq!(rig.opened(&ring).await, (50, "+a +b".into()));
}

#[::tokio::test(start_paused = true)]
async fn no_more_than_two_keys_are_asked_at_once() {
    let rig = Rig::new(&["a", "b", "c"]).await;
    let ring = rig.ring(&[0, 1, 2]).hedging(Hedging::new(timer()));
    rig.does(&[Does::Answer(5000), Does::Answer(4000), Does::Answer(0)]);
    assert_eq!(rig.opened(&ring).await, (4250, "+a +b -a".into()));
    rig.does(&[Does::Answer(5000), Does::Fail(50, AWAY), Does::Answer(20)]);
    // The place of the one that failed is not taken again for the same slow call.
    assert_eq!(rig.opened(&ring).await, (5000, "+a +b".into()));
}

#[::tokio::test(start_paused = true)]
async fn the_threshold_is_what_the_key_is_used_to_within_its_bounds() {
    let rig = Rig::new(&["a", "b"]).await;
    let bounds = (Duration::from_millis(30), Duration::from_millis(300));
    for (usual, threshold) in [(50, 50), (10, 30), (400, 300)] {
        let hedging = Hedging::new(timer()).first_delay(Duration::from_secs(1)).between(bounds.0, bounds.1);
        let ring = rig.ring(&[0, 1]).hedging(hedging);
        rig.does(&[Does::Answer(usual), Does::Fail(0, AWAY)]);
        for _ in 0..30 {
            rig.opened(&ring).await;
        }
        rig.does(&[Does::Answer(5000), Does::Answer(7)]);
        assert_eq!(rig.opened(&ring).await, (threshold + 7, "+a +b -a".into()), "used to {usual} ms");
    }
}

#[::tokio::test(start_paused = true)]
async fn hedges_are_ten_percent_of_the_calls_and_ten_more_on_a_day_on_which_all_is_slow() {
    let rig = Rig::new(&["a", "b"]).await;
    let hedging = Hedging::new(timer()).between(Duration::ZERO, Duration::from_millis(1));
    let ring = rig.ring(&[0, 1]).hedging(hedging);
    rig.does(&[Does::Answer(100), Does::Answer(100)]);
    let mut hedges = 0;
    for _ in 0..1000 {
        hedges += usize::from(rig.opened(&ring).await.1.contains("+b"));
    }
    assert!((100..=110).contains(&hedges), "{hedges}");
}

#[::tokio::test(start_paused = true)]
async fn what_a_cache_answers_at_once_makes_no_call_slow_and_pays_for_no_hedge() {
    let rig = Rig::new(&["a", "b"]).await;
    let ring = rig.ring(&[0, 1]).hedging(Hedging::new(timer()));
    let hits = [Does::Answer(0), Does::Answer(20)];
    rig.does(&hits);
    for _ in 0..200 {
        rig.opened(&ring).await;
    }
    // As long as its key store takes as a rule: not slow, however fast the hits were.
    rig.does(&[Does::Answer(100), Does::Answer(20)]);
    assert_eq!(rig.opened(&ring).await, (100, "+a".into()));
    // Once the hedges are used up, hits bring none back.
    rig.does(&[Does::Answer(400), Does::Answer(20)]);
    while rig.opened(&ring).await.1.contains("+b") {}
    rig.does(&hits);
    for _ in 0..200 {
        rig.opened(&ring).await;
    }
    rig.does(&[Does::Answer(400), Does::Answer(20)]);
    assert_eq!(rig.opened(&ring).await, (400, "+a".into()));
}

#[::tokio::test(start_paused = true)]
async fn errors_are_told_in_the_order_of_the_recipients_whoever_failed_first() {
    let rig = Rig::new(&["a", "b"]).await;
    let ring = rig.ring(&[0, 1]).hedging(Hedging::new(timer()));
    rig.does(&[Does::Fail(1000, ProviderErrorKind::AccessDenied), Does::Fail(10, AWAY)]);
    let (outcome, time, log) = rig.open(&ring).await;
    assert_eq!((time, log.as_str()), (1000, "+a +b"));
    let told = [(ProviderErrorKind::AccessDenied, rig.keys[0].clone()), (AWAY, rig.keys[1].clone())];
    assert_eq!(kinds_and_keys(outcome.unwrap_err()), told);
}

#[::tokio::test(start_paused = true)]
async fn a_hedge_that_gives_a_wrong_dek_does_not_keep_the_first_from_opening() {
    let rig = Rig::new(&["a", "b"]).await;
    let ring = rig.ring(&[0, 1]).hedging(Hedging::new(timer()));
    rig.does(&[Does::Answer(400), Does::OtherDek(20)]);
    // The first was dropped when the second answered, and is asked again.
    let (_, log) = rig.opened(&ring).await;
    assert_eq!(log, "+a +b -a +a");
}

#[::tokio::test(start_paused = true)]
async fn a_key_that_somebody_may_have_to_type_for_is_no_hedge() {
    let rig = Rig::new(&["a", "b", "c"]).await;
    let patient = |number: usize| {
        let waits = AlteredProvider::new(Arc::clone(&rig.providers[number])).waiting_for_a_person(true);
        (Arc::new(waits) as Arc<dyn KeyProvider>, rig.keys[number].clone())
    };
    let (b, key) = patient(1);
    let ring = rig.ring(&[0]).both(Arc::clone(&b), key.clone()).hedging(Hedging::new(timer()));
    rig.does(&[Does::Answer(5000), Does::Answer(20), Does::Answer(20)]);
    assert_eq!(rig.opened(&ring).await, (5000, "+a".into()));
    // One after it is none the less.
    let ring = ring.both(Arc::clone(&rig.providers[2]), rig.keys[2].clone());
    assert_eq!(rig.opened(&ring).await, (270, "+a +c -a".into()));
    // It is asked when its turn has come.
    rig.does(&[Does::Fail(10, AWAY), Does::Answer(5000), Does::Answer(20)]);
    assert_eq!(rig.opened(&ring).await, (5010, "+a +b".into()), "and no other beside it");
}

// Deadlines

#[::tokio::test(start_paused = true)]
async fn at_the_deadline_an_unlock_ends_and_names_the_key_that_was_waited_for() {
    let rig = Rig::new(&["a", "b", "c"]).await;
    let ring = rig.ring(&[0, 1, 2]).deadline(Duration::from_secs(3), timer());
    rig.does(&[Does::Fail(1000, AWAY), Does::Answer(60_000), Does::Answer(0)]);
    let (outcome, time, log) = rig.open(&ring).await;
    assert_eq!((time, log.as_str()), (3000, "+a +b -b"));
    let error = outcome.unwrap_err();
    assert!(error.to_string().contains("no answer before the end of the 3s"), "{error}");
    assert_eq!(kinds_and_keys(error), [(AWAY, rig.keys[0].clone()), (AWAY, rig.keys[1].clone())]);
    rig.does(&[Does::Fail(1000, AWAY), Does::Answer(1999), Does::Answer(0)]);
    assert_eq!(rig.opened(&ring).await, (2999, "+a +b".into()), "in time");
}

#[::tokio::test(start_paused = true)]
async fn at_the_deadline_a_hedged_unlock_names_both_keys_that_were_waited_for() {
    let rig = Rig::new(&["a", "b", "c"]).await;
    let ring = rig.ring(&[0, 1, 2]).deadline(Duration::from_secs(3), timer()).hedging(Hedging::new(timer()));
    rig.does(&[Does::Answer(60_000); 3]);
    let (outcome, time, log) = rig.open(&ring).await;
    assert_eq!((time, &log[..5]), (3000, "+a +b"));
    let told = [(AWAY, rig.keys[0].clone()), (AWAY, rig.keys[1].clone())];
    assert_eq!(kinds_and_keys(outcome.unwrap_err()), told);
    assert!(!log.contains("+c"), "{log}");
}

#[::tokio::test(start_paused = true)]
async fn at_the_deadline_a_wrap_ends_and_names_the_key_that_was_waited_for() {
    let rig = Rig::new(&["a", "b"]).await;
    rig.does(&[Does::Answer(20), Does::Answer(60_000)]);
    let envelope = Envelope::new(rig.ring(&[0, 1]).deadline(Duration::from_secs(3), timer()));
    let began = Instant::now();
    match envelope.encrypt(b"x", &context()).await.unwrap_err() {
        EncryptError::Provider(error) => assert_eq!((error.kind(), error.key()), (AWAY, Some(&rig.keys[1]))),
        other => panic!("{other:?}"),
    }
    let made = envelope.reporting(WrapPolicy::AtLeast(1)).encrypt(b"x", &context()).await.unwrap();
    assert_eq!(made.missing().iter().map(|missing| &missing.key).collect::<Vec<_>>(), [&rig.keys[1]]);
    assert_eq!(began.elapsed(), Duration::from_secs(6));
}

#[::tokio::test(start_paused = true)]
async fn a_rewrap_inside_a_key_store_that_falls_silent_has_the_time_of_one_step() {
    let key = MemoryProvider::key("a");
    let memory = Arc::new(MemoryProvider::new().that_rewraps().with_key(&key));
    let silent = AlteredProvider::new(memory.clone())
        .on_rewrap(|below, wrapped, key, context| {
            Box::pin(async move {
                sleep(Duration::from_millis(2900)).await;
                below.rewrap_dek(wrapped, key, context).await
            })
        })
        .on_unwrap(|below, wrapped, context| {
            Box::pin(async move {
                sleep(Duration::from_secs(60)).await;
                below.unwrap_dek(wrapped, context).await
            })
        });
    let writer = Envelope::new(Keyring::new().encrypt(memory, key.clone()));
    let sealed = writer.encrypt(b"x", &context()).await.unwrap();
    let ring = Keyring::new().both(Arc::new(silent), key).deadline(Duration::from_secs(3), timer());
    let began = Instant::now();
    match Envelope::new(ring).rewrap(&sealed, &context()).await.unwrap_err() {
        RewrapError::Decrypt(error) => assert!(kinds_and_keys(error).iter().all(|(kind, _)| *kind == AWAY)),
        other => panic!("{other:?}"),
    }
    assert_eq!(began.elapsed(), Duration::from_secs(6), "inside the key store, and to unlock");
}

#[::tokio::test(start_paused = true)]
async fn nothing_is_called_when_there_is_no_time() {
    let rig = Rig::new(&["a", "b"]).await;
    let (outcome, _, log) = rig.open(&rig.ring(&[0, 1]).deadline(Duration::ZERO, timer())).await;
    assert_eq!(log, "");
    assert_eq!(kinds_and_keys(outcome.unwrap_err()), [(AWAY, rig.keys[0].clone())]);
}

// What is told

/// Each event in a few words, the keys by their names.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn take(&self) -> String {
        std::mem::take(&mut *self.0.lock().unwrap()).join("; ")
    }
}

impl KeyringListener for Told {
    fn hear(&self, event: &KeyringEvent<'_>) {
        let name = |key: &AskedKey<'_>| {
            assert_eq!(key.provider, "memory");
            key.key.as_str().trim_start_matches("memory:").to_owned()
        };
        let words = match event {
            KeyringEvent::HedgeBegun { slow, hedge, after } => {
                format!("{} beside {} after {after:?}", name(hedge), name(slow))
            }
            KeyringEvent::HedgeWon { hedge } => format!("{} won", name(hedge)),
            KeyringEvent::HedgeLost { hedge } => format!("{} lost", name(hedge)),
            KeyringEvent::HedgeFailed { hedge, error } => {
                format!("{} failed {:?}", name(hedge), error.kind())
            }
            KeyringEvent::Cancelled { key, after } => format!("{} dropped after {after:?}", name(key)),
            KeyringEvent::Failover { from, error, to } => {
                format!("{} after {}: {:?}", name(to), name(from), error.kind())
            }
            KeyringEvent::WrapMissing { key, error } => format!("{} missing: {:?}", name(key), error.kind()),
            other => panic!("{other:?}"),
        };
        self.0.lock().unwrap().push(words);
    }
}

#[::tokio::test(start_paused = true)]
async fn a_listener_hears_of_each_hedge_and_of_its_end_and_of_who_was_dropped() {
    let (rig, told) = (Rig::new(&["a", "b"]).await, Told::default());
    let ring = rig.ring(&[0, 1]).hedging(Hedging::new(timer())).tell(Arc::new(told.clone()));
    rig.does(&[Does::Answer(5000), Does::Answer(20)]);
    rig.opened(&ring).await;
    assert_eq!(told.take(), "b beside a after 250ms; b won; a dropped after 270ms");
    rig.does(&[Does::Answer(260), Does::Answer(20)]);
    rig.opened(&ring).await;
    assert_eq!(told.take(), "b beside a after 250ms; b lost; b dropped after 10ms");
    rig.does(&[Does::Answer(300), Does::Fail(20, AWAY)]);
    rig.opened(&ring).await;
    assert_eq!(told.take(), "b beside a after 250ms; b failed Unavailable");
    rig.does(&[Does::Fail(300, AWAY), Does::Answer(100)]);
    rig.opened(&ring).await;
    assert_eq!(told.take(), "b beside a after 250ms; b won");
    rig.does(&[Does::Answer(20), Does::Answer(20)]);
    rig.opened(&ring).await;
    assert_eq!(told.take(), "", "nothing happened");
}

#[::tokio::test(start_paused = true)]
async fn a_hedge_that_is_cut_by_the_deadline_is_told_as_failed() {
    let (rig, told) = (Rig::new(&["a", "b"]).await, Told::default());
    let ring = rig.ring(&[0, 1]).deadline(Duration::from_secs(3), timer()).hedging(Hedging::new(timer()));
    rig.does(&[Does::Answer(60_000); 2]);
    rig.open(&ring.tell(Arc::new(told.clone()))).await.0.unwrap_err();
    assert_eq!(told.take(), "b beside a after 250ms; b failed Unavailable");
}

#[::tokio::test(start_paused = true)]
async fn a_listener_hears_of_each_failover_and_why_with_hedging_and_without() {
    let (rig, told) = (Rig::new(&["a", "b", "c"]).await, Told::default());
    let ring = rig.ring(&[0, 1, 2]).tell(Arc::new(told.clone()));
    for ring in [ring.clone().hedging(Hedging::new(timer())), ring] {
        rig.does(&[Does::Fail(20, AWAY), Does::OtherDek(20), Does::Answer(20)]);
        rig.opened(&ring).await;
        assert_eq!(told.take(), "b after a: Unavailable; c after b: Unauthentic");
        rig.does(&[Does::Fail(20, AWAY); 3]);
        rig.open(&ring).await.0.unwrap_err();
        assert_eq!(
            told.take(),
            "b after a: Unavailable; c after b: Unavailable",
            "after the last there is none"
        );
    }
}

#[::tokio::test(start_paused = true)]
async fn a_listener_hears_of_the_keys_that_an_envelope_misses_once_it_is_made() {
    let (rig, told) = (Rig::new(&["a", "b", "c"]).await, Told::default());
    let envelope = Envelope::new(rig.ring(&[0, 1, 2]).tell(Arc::new(told.clone())));
    rig.does(&[Does::Fail(20, AWAY), Does::Answer(20), Does::Fail(10, ProviderErrorKind::Throttled)]);
    let made = envelope.reporting(WrapPolicy::AtLeast(1)).encrypt(b"x", &context()).await.unwrap();
    assert_eq!(made.missing().len(), 2);
    assert_eq!(told.take(), "a missing: Unavailable; c missing: Throttled");
    envelope.reporting(WrapPolicy::AtLeast(2)).encrypt(b"x", &context()).await.map(drop).unwrap_err();
    assert_eq!(told.take(), "", "no envelope, and the error says why");
}

#[::tokio::test(start_paused = true)]
async fn at_the_deadline_keys_are_not_waited_for_that_are_not_resolved() {
    let rig = Rig::new(&["a", "b"]).await;
    let resolved = Arc::new(Mutex::new(0));
    let slow = |name: &'static str, time: u64| {
        let resolved = Arc::clone(&resolved);
        let slow = AlteredProvider::new(Arc::new(MemoryProvider::new())).on_resolve(move |_, key| {
            let resolved = Arc::clone(&resolved);
            Box::pin(async move {
                sleep(Duration::from_millis(time)).await;
                *resolved.lock().unwrap() += 1;
                Ok(key.clone())
            })
        });
        (Arc::new(slow) as Arc<dyn KeyProvider>, MemoryProvider::key(name))
    };
    let ((one, one_key), (other, other_key)) = (slow("one", 60_000), slow("other", 20));
    let ring = rig.ring(&[0]).decrypt(one, one_key.clone()).decrypt(other, other_key);
    let began = Instant::now();
    let error = ring.deadline(Duration::from_secs(3), timer()).resolve().await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (AWAY, Some(&one_key)));
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    assert_eq!(*resolved.lock().unwrap(), 1, "the others are asked all the same");
}
