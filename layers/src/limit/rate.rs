//! Requests per second, and the queue of those who wait.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
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
    time::{Instant, sleep, timeout},
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
    /// Nanoseconds of the limiter's clock at which the last one passed.
    passed: AtomicU64,
    /// How many wait, or are about to.
    waiting: AtomicUsize,
    /// Nanoseconds of the limiter's clock at which the first of them is to look again.
    due: AtomicU64,
    /// Whoever has it is the first of those who wait; the others follow as they came.
    turn: Semaphore,
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Duration>>;

impl Rate {
    pub(super) fn new(requests: u32) -> Self {
        let clock = TokioClock(Instant::now());
        let limiter = RateLimiter::direct_with_clock(quota(requests), clock);
        Self {
            limiter,
            passed: AtomicU64::default(),
            waiting: AtomicUsize::default(),
            due: AtomicU64::default(),
            turn: Semaphore::new(1),
        }
    }

    /// Whether it would pass as many at once as a new one.
    fn is_as_new(&self) -> bool {
        self.now().saturating_sub(self.passed.load(Ordering::Relaxed)) > NANOS
    }

    fn now(&self) -> u64 {
        u64::try_from(self.limiter.clock().now().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Waits until another request may go.
    pub(super) async fn pass<'q>(
        &self,
        queue: &'q Queue,
        place: &mut Option<Place<'q>>,
    ) -> Result<(), FullQueue> {
        // Whoever waits is first.
        if self.waiting.load(Ordering::Relaxed) == 0 && self.limiter.check().is_ok() {
            return Ok(());
        }
        queue.enter(place)?;
        if self.waiting.load(Ordering::Relaxed) == 0 {
            self.is_due_after(Duration::ZERO);
        }
        let _waits = Waits::one_of(&self.waiting);
        let mut turn = pin!(self.turn.acquire());
        let _turn = loop {
            match timeout(PATIENCE, &mut turn).await {
                // It is never closed.
                Ok(turn) => break turn.ok(),
                // Whoever is first is not polled, such as one of a set of futures whose owner does something else.
                Err(_) if self.is_overdue() => break None,
                Err(_) => {}
            }
        };
        while let Err(not_yet) = self.limiter.check() {
            let wait = not_yet.wait_time_from(self.limiter.clock().now());
            self.is_due_after(wait);
            sleep(wait).await;
        }
        self.is_due_after(Duration::ZERO);
        Ok(())
    }

    fn is_due_after(&self, wait: Duration) {
        let wait = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        self.due.store(self.now().saturating_add(wait), Ordering::Relaxed);
    }

    fn is_overdue(&self) -> bool {
        let patience = u64::try_from(PATIENCE.as_nanos()).unwrap_or(u64::MAX);
        self.now().saturating_sub(self.due.load(Ordering::Relaxed)) >= patience
    }
}

/// One who waits for a rate, until it is dropped.
struct Waits<'r>(&'r AtomicUsize);

impl<'r> Waits<'r> {
    fn one_of(waiting: &'r AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A rate for each key. A rate that is not used up in any part is as a new one, and is dropped: what is kept are those that
/// were asked for within the last second, and at most as many of before.
pub(super) struct RateOfKeys {
    requests: u32,
    rates: Mutex<Rates>,
}

struct Rates {
    of: HashMap<KeyUri, Arc<Rate>>,
    /// How many there may be before those that are as new are dropped.
    room: usize,
}

impl RateOfKeys {
    pub(super) fn new(requests: u32) -> Self {
        Self { requests, rates: Mutex::new(Rates { of: HashMap::new(), room: FEW_KEYS }) }
    }

    /// Waits until another request for `key` may go.
    pub(super) async fn pass<'q>(
        &self,
        key: &KeyUri,
        queue: &'q Queue,
        place: &mut Option<Place<'q>>,
    ) -> Result<(), FullQueue> {
        let rate = self.of(key);
        rate.pass(queue, place).await?;
        rate.passed.store(rate.now(), Ordering::Relaxed);
        Ok(())
    }

    fn of(&self, key: &KeyUri) -> Arc<Rate> {
        // Each change of it is one step.
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rate) = rates.of.get(key) {
            return Arc::clone(rate);
        }
        if rates.of.len() >= rates.room {
            rates.of.retain(|_, rate| Arc::strong_count(rate) > 1 || !rate.is_as_new());
            // So that each call pays for a part of that, however many keys there are.
            rates.room = (2 * rates.of.len()).max(FEW_KEYS);
        }
        let rate = Arc::new(Rate::new(self.requests));
        rates.of.insert(key.clone(), Arc::clone(&rate));
        rate
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.rates.lock().unwrap().of.len()
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

/// How late the first of those who wait may be before the others go past it.
const PATIENCE: Duration = Duration::from_millis(250);
/// A second.
const NANOS: u64 = 1_000_000_000;
/// Requests per second that come a good while apart.
const SLOW: u64 = 40;
/// Rates that are kept without a look at them.
const FEW_KEYS: usize = 64;

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_is_first_and_is_not_polled_any_more_holds_up_no_other() {
        let (rate, queue) = (Rate::new(10), Queue::new(100));
        while rate.pass(&queue, &mut None).now_or_never().is_some() {}
        let mut places = [None, None];
        let [one, two] = &mut places;
        let mut first = Box::pin(rate.pass(&queue, one));
        let mut second = Box::pin(rate.pass(&queue, two));
        // The one has the turn, and the other is the next to have it.
        assert!((&mut first).now_or_never().is_none());
        assert!((&mut second).now_or_never().is_none());
        let begun = Instant::now();
        for _ in 0..20 {
            rate.pass(&queue, &mut None).await.unwrap();
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        // They pass as before, and no faster than all others.
        let begun = Instant::now();
        first.await.unwrap();
        second.await.unwrap();
        for _ in 0..8 {
            rate.pass(&queue, &mut None).await.unwrap();
        }
        assert!(begun.elapsed() > Duration::from_millis(800), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn rates_of_keys_that_nobody_asks_for_any_more_are_dropped_and_no_other() {
        let (rates, queue) = (RateOfKeys::new(1), Queue::new(10));
        let key = |number| KeyUri::parse(&format!("memory:{number}")).unwrap();
        let busy = key(0);
        let mut passed = 0;
        // A hundred others in each second, and one that is always asked for.
        for number in 1..=10_000 {
            // Whoever cannot pass at once is dropped, and was not there.
            passed += usize::from(rates.pass(&busy, &queue, &mut None).now_or_never().is_some());
            rates.pass(&key(number), &queue, &mut None).await.unwrap();
            tokio::time::advance(Duration::from_millis(10)).await;
            assert!(rates.len() <= 2 * 102 + 1, "{} rates after {number} keys", rates.len());
        }
        assert_eq!(passed, 100, "one each second: its rate was never forgotten");
    }
}
