//! Asking a second key when the first is slow.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::latency::Latency;
use crate::timer::Timer;

/// When and how often a [`Keyring`](crate::Keyring) asks the next recipient while it waits for one: when
/// that one takes longer than most of its unwraps did. Whichever answers with the right DEK first wins,
/// and the other call is dropped.
///
/// The threshold is the p95 of the key's last 128 unwraps, estimated at its low end, within
/// [bounds](Self::between); before there are 20, the [first delay](Self::first_delay). A call that lost counts with
/// the time after which it was dropped. What is answered within a millisecond was no call to a key store, but a cache: it
/// counts neither here nor among the calls that hedges are a share of.
///
/// At most one call more is in flight for each call, and the calls more are at most
/// [10 %](Self::at_most_percent) of the others, plus ten at the start: on a day on which all is slow, hedges do
/// not double the load. What is counted is shared by all clones.
///
/// Keys for which somebody might have to [type or touch something](crate::KeyProvider::waits_for_a_person)
/// (passphrases, a keystore that is opened on use, PKCS#11 tokens) are never asked as a hedge, and none is asked beside
/// them.
#[derive(Clone)]
pub struct Hedging {
    pub(super) timer: Arc<dyn Timer>,
    first_delay: Duration,
    least: Duration,
    most: Duration,
    percent: u64,
    /// Hundredths of a hedge that may be made.
    credit: Arc<AtomicU64>,
}

impl Hedging {
    /// Hedging by this clock: after 250 ms at first, then after 5 ms to 2 s, at most 10 % more calls.
    #[must_use]
    pub fn new(timer: Arc<dyn Timer>) -> Self {
        Self {
            timer,
            first_delay: Duration::from_millis(250),
            least: Duration::from_millis(5),
            most: Duration::from_secs(2),
            percent: 10,
            credit: Arc::new(AtomicU64::new(MOST_CREDIT)),
        }
    }

    /// How long the first is waited for while there are too few samples of it.
    #[must_use]
    pub fn first_delay(mut self, delay: Duration) -> Self {
        self.first_delay = delay;
        self
    }

    /// The bounds of the threshold, whatever the samples say. `most` wins if it is less than `least`.
    #[must_use]
    pub fn between(mut self, least: Duration, most: Duration) -> Self {
        (self.least, self.most) = (least, most);
        self
    }

    /// How many hedges there may be for 100 calls; more than 100 is 100. At 0 there are the ten of the
    /// start and no more.
    #[must_use]
    pub fn at_most_percent(mut self, percent: u8) -> Self {
        self.percent = u64::from(percent).min(100);
        self
    }

    /// How long a key is waited for before another is asked.
    pub(super) fn delay(&self, latency: &Latency) -> Duration {
        latency.p95().unwrap_or(self.first_delay).max(self.least).min(self.most)
    }

    /// Says that there was a call which is no hedge.
    pub(super) fn count_call(&self) {
        let more = |credit: u64| Some((credit + self.percent).min(MOST_CREDIT));
        // It never fails: `more` is never `None`.
        let _ = self.credit.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// Whether there may be a hedge now, which is counted then.
    pub(super) fn may_hedge(&self) -> bool {
        let less = |credit: u64| credit.checked_sub(ONE_HEDGE);
        self.credit.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

const ONE_HEDGE: u64 = 100;
const MOST_CREDIT: u64 = 10 * ONE_HEDGE;
