//! Requests per second, and the queue of those who wait.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use envelope_sdk::KeyUri;
use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

use super::FullQueue;

/// All who wait for a limit of one layer.
pub(super) struct Queue {
    most: usize,
    waiting: AtomicUsize,
}

impl Queue {
    pub(super) fn new(most: usize) -> Self {
        Self { most, waiting: AtomicUsize::new(0) }
    }

    pub(super) fn most(&self) -> usize {
        self.most
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// A place, unless the caller has one.
    pub(super) fn enter<'q>(&'q self, place: &mut Option<Place<'q>>) -> Result<(), FullQueue> {
        if place.is_none() {
            let more = |waiting: usize| (waiting < self.most).then_some(waiting + 1);
            let entered = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
            entered.map_err(|_| FullQueue)?;
            *place = Some(Place(self));
        }
        Ok(())
    }
}

/// One who waits, until it is dropped.
pub(super) struct Place<'q>(&'q Queue);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) struct Rate {
    limiter: Limiter,
    /// Whoever has it is the first of those who wait; the others follow as they came.
    turn: Semaphore,
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Duration>>;

impl Rate {
    pub(super) fn new(requests: u32) -> Self {
        let clock = TokioClock(Instant::now());
        Self { limiter: RateLimiter::direct_with_clock(quota(requests), clock), turn: Semaphore::new(1) }
    }

    /// Waits until another request may go.
    pub(super) async fn pass<'q>(
        &self,
        queue: &'q Queue,
        place: &mut Option<Place<'q>>,
    ) -> Result<(), FullQueue> {
        // Whoever waits is first.
        if let Ok(_turn) = self.turn.try_acquire()
            && self.limiter.check().is_ok()
        {
            return Ok(());
        }
        queue.enter(place)?;
        // It is never closed.
        let _turn = self.turn.acquire().await;
        while let Err(not_yet) = self.limiter.check() {
            sleep(not_yet.wait_time_from(self.limiter.clock().now())).await;
        }
        Ok(())
    }
}

/// A rate for each key. Those of keys that nobody asked for in a while are as new ones, and are dropped.
pub(super) struct RateOfKeys {
    requests: u32,
    rates: Mutex<HashMap<KeyUri, (Arc<Rate>, Instant)>>,
}

impl RateOfKeys {
    pub(super) fn new(requests: u32) -> Self {
        Self { requests, rates: Mutex::default() }
    }

    pub(super) fn of(&self, key: &KeyUri) -> Arc<Rate> {
        let now = Instant::now();
        // Each change of it is one step.
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((rate, used)) = rates.get_mut(key) {
            *used = now;
            return Arc::clone(rate);
        }
        if rates.len() >= MANY_KEYS {
            let is_used =
                |rate: &Arc<Rate>, used: Instant| Arc::strong_count(rate) > 1 || now - used < FORGOTTEN;
            rates.retain(|_, (rate, used)| is_used(rate, *used));
        }
        let rate = Arc::new(Rate::new(self.requests));
        rates.insert(key.clone(), (Arc::clone(&rate), now));
        rate
    }
}

/// Some at once, and the rest so that with them no second has more.
fn quota(requests: u32) -> Quota {
    let requests = u64::from(requests.max(1));
    // A timer that is late by its step, a millisecond, must be able to catch up. The slowest rates lose less by that.
    let at_once = if requests < SLOW { 1 } else { 1 + requests.div_ceil(200) };
    // Within a second there are fewer than at_once + 1 s / period requests. A period is never shorter than that.
    let period = Duration::from_nanos(NANOS.div_ceil(requests + 1 - at_once).max(1));
    let at_once = u32::try_from(at_once).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
    // It is not zero.
    Quota::with_period(period).unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(at_once)
}

/// Tokio's clock, which tests stop.
#[derive(Debug, Clone)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A second.
const NANOS: u64 = 1_000_000_000;
/// Requests per second that come a good while apart.
const SLOW: u64 = 40;
/// More keys than a process uses at a time.
const MANY_KEYS: usize = 1024;
/// What a rate remembers is over within a second.
const FORGOTTEN: Duration = Duration::from_secs(2);
