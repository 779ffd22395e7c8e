//! How long the unwraps of a key take.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The last [`SAMPLES`] times of a key, and the p95 that follows from them.
#[derive(Default)]
pub(super) struct Latency(Mutex<Samples>);

#[derive(Default)]
struct Samples {
    times: VecDeque<Duration>,
    p95: Option<Duration>,
}

impl Latency {
    pub(super) fn record(&self, time: Duration) {
        let mut samples = self.lock();
        if samples.times.len() == SAMPLES {
            samples.times.pop_front();
        }
        samples.times.push_back(time);
        samples.p95 = p95(&samples.times);
    }

    /// The p95, once there are [`ENOUGH`] times.
    pub(super) fn p95(&self) -> Option<Duration> {
        self.lock().p95
    }

    fn lock(&self) -> MutexGuard<'_, Samples> {
        // A panic in between leaves times that are all true.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The low end of where the p95 lies by these samples (one-sided, 95 %: the rank less 1.64 standard
/// deviations of it, p92 of 128). Where one call in twenty is slow, the p95 lies between the fast and
/// the slow, and a sample more or less would move it from one to the other.
fn p95(times: &VecDeque<Duration>) -> Option<Duration> {
    let count = times.len();
    if count < ENOUGH {
        return None;
    }
    let mut sorted: Vec<Duration> = times.iter().copied().collect();
    // 1.64² × 0.05 × 0.95 ≈ 0.128; the square root of whole numbers, rounded down.
    let deviations = (count * 128 / 1000).isqrt();
    let rank = (count * 95).div_ceil(100) - deviations;
    Some(*sorted.select_nth_unstable(rank - 1).1)
}

/// Times kept for each key.
const SAMPLES: usize = 128;
/// Times before they say anything.
const ENOUGH: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(times: impl IntoIterator<Item = u64>) -> Option<Duration> {
        let latency = Latency::default();
        times.into_iter().for_each(|time| latency.record(Duration::from_millis(time)));
        latency.p95()
    }

    #[test]
    fn few_times_say_nothing() {
        assert_eq!(of(1..20), None);
        assert!(of(1..=20).is_some());
    }

    #[test]
    fn the_p95_is_taken_at_the_low_end_of_where_it_may_lie() {
        assert_eq!(of(1..=20), Some(Duration::from_millis(18)));
        assert_eq!(of(1..=128), Some(Duration::from_millis(118)));
    }

    #[test]
    fn one_slow_call_in_twenty_does_not_make_the_p95_slow() {
        let times = (0..128).map(|call| if call % 20 == 0 { 1000 } else { 20 });
        assert_eq!(of(times), Some(Duration::from_millis(20)));
    }

    #[test]
    fn old_times_are_forgotten() {
        assert_eq!(of((0..128).map(|_| 1000).chain((0..128).map(|_| 10))), Some(Duration::from_millis(10)));
    }
}
