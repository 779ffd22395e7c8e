//! One call with its attempts: whether there is another one, and when.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use envelope_sdk::{ProviderError, http::find_cause};
use tokio::time::{Instant, sleep};

use super::budget::{RetryBudget, Taken};
use crate::CircuitOpen;

#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) attempts: u32,
    pub(super) first_pause: Duration,
    pub(super) longest_pause: Duration,
    pub(super) deadline: Duration,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            attempts: 3,
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(2),
            deadline: Duration::from_secs(20),
        }
    }
}

pub(super) struct Effort<'r> {
    plan: &'r Plan,
    budget: &'r RetryBudget,
    begun: Instant,
    ends: Instant,
    /// Made by the first failure.
    pauses: Option<Jitter>,
    /// Attempts so far, those of the clients below included.
    attempts: u32,
    /// Those of the dearest call: the next one may cost as much.
    dearest: u32,
}

/// What comes after a failure.
pub(super) enum Verdict {
    Again(Pause),
    Enough(Why),
}

pub(super) struct Pause {
    wait: Duration,
    retry: Taken,
}

impl Pause {
    pub(super) async fn wait(self) {
        if !self.wait.is_zero() {
            sleep(self.wait).await;
        }
        self.retry.make();
    }
}

/// Why there is no other attempt.
pub(super) enum Why {
    /// The last one says enough: it is not worth a retry, or there were as many as there may be.
    Told,
    NoBudget,
    NoTime,
    LeftAlone(Duration),
    Open,
}

impl<'r> Effort<'r> {
    pub(super) fn begin(plan: &'r Plan, budget: &'r RetryBudget) -> Self {
        budget.pay_in();
        let begun = Instant::now();
        let ends = begun.checked_add(plan.deadline).unwrap_or_else(|| begun + A_DAY);
        Self { plan, budget, begun, ends, pauses: None, attempts: 0, dearest: 1 }
    }

    pub(super) fn ends(&self) -> Instant {
        self.ends
    }

    /// After an attempt in which these, of those that were asked for together, failed and may be asked for again.
    pub(super) fn after<'e>(&mut self, errors: impl Iterator<Item = &'e ProviderError> + Clone) -> Verdict {
        let cost = errors.clone().map(ProviderError::attempts).max().unwrap_or(1);
        self.attempts = self.attempts.saturating_add(cost);
        self.dearest = self.dearest.max(cost);
        if errors.clone().any(|error| find_cause::<CircuitOpen>(error).is_some()) {
            return Verdict::Enough(Why::Open);
        }
        let is_hopeless = !errors.clone().any(ProviderError::is_retryable);
        let next = self.attempts.checked_add(self.dearest);
        if is_hopeless || next.is_none_or(|attempts| attempts > self.plan.attempts) {
            return Verdict::Enough(Why::Told);
        }
        let asked = errors.filter_map(ProviderError::retry_after).max().unwrap_or_default();
        let wait = self.pauses.get_or_insert_with(|| Jitter::new(self.plan)).next().max(asked);
        if Instant::now().checked_add(wait).is_none_or(|then| then >= self.ends) {
            return Verdict::Enough(if asked < wait { Why::NoTime } else { Why::LeftAlone(asked) });
        }
        match self.budget.take() {
            Some(retry) => Verdict::Again(Pause { wait, retry }),
            None => Verdict::Enough(Why::NoBudget),
        }
    }

    /// The error to tell, of the last attempt or of that `before`.
    pub(super) fn told(
        &self,
        before: Option<ProviderError>,
        last: ProviderError,
        why: &Why,
    ) -> ProviderError {
        let is_first = before.is_none();
        let why = match why {
            // Of a batch: the breaker refused another wrap, and what was told of this one stands.
            Why::Open if find_cause::<CircuitOpen>(&last).is_none() => &Why::Told,
            why => why,
        };
        let error = match why {
            // What the breaker knows is what was told before.
            Why::Open => before.unwrap_or(last),
            _ => last,
        };
        let (attempts, time) = (self.attempts, shown(self.begun.elapsed()));
        let note = match why {
            Why::Told | Why::Open if is_first => return error,
            Why::Told => format!("after {attempts} attempts in {time}"),
            Why::Open => format!("after {attempts} attempts in {time}; the breaker permits no other"),
            Why::NoBudget => {
                format!(
                    "attempts: {attempts}, in {time}; not tried again: the process has used up its retries"
                )
            }
            Why::NoTime => format!("attempts: {attempts}, in {time}; no time is left for another"),
            Why::LeftAlone(asked) => format!(
                "attempts: {attempts}, in {time}; it asks to be left alone for {}, which is too long for this call",
                shown(*asked)
            ),
        };
        error.with_attempts(attempts).with_note(note)
    }

    /// The error of an attempt that was cut off: what was told before says more.
    pub(super) fn cut_off(
        &self,
        before: Option<ProviderError>,
        no_answer: impl FnOnce() -> ProviderError,
    ) -> ProviderError {
        let attempts = self.attempts.saturating_add(1);
        match before {
            None => no_answer(),
            Some(error) => {
                let time = shown(self.plan.deadline);
                error
                    .with_attempts(attempts)
                    .with_note(format!("attempt {attempts} was cut off after {time}"))
            }
        }
    }
}

/// A time, as people read it.
pub(super) fn shown(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// Pauses of full jitter. `backon` adds to each of its pauses a random part of it; without what that was added to, it is
/// full jitter.
struct Jitter {
    jittered: ExponentialBackoff,
    bounds: ExponentialBackoff,
}

impl Jitter {
    fn new(plan: &Plan) -> Self {
        let bounds = ExponentialBuilder::new()
            .with_min_delay(plan.first_pause)
            .with_max_delay(plan.longest_pause)
            .without_max_times();
        Self { jittered: bounds.with_jitter().build(), bounds: bounds.build() }
    }

    fn next(&mut self) -> Duration {
        let (jittered, bound) = (self.jittered.next(), self.bounds.next());
        jittered.zip(bound).map_or(Duration::ZERO, |(jittered, bound)| jittered.saturating_sub(bound))
    }
}

/// For a deadline that no clock has.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_anywhere_below_a_bound_that_doubles_up_to_its_end() {
        let plan = Plan {
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_millis(300),
            ..Plan::default()
        };
        let bounds = [100, 200, 300, 300];
        let (mut lowest, mut greatest) = ([f64::MAX; 4], [0.0_f64; 4]);
        for _ in 0..1000 {
            let mut jitter = Jitter::new(&plan);
            for place in 0..bounds.len() {
                let share = jitter.next().as_secs_f64() * 1000.0 / f64::from(bounds[place]);
                assert!((0.0..=1.0).contains(&share), "pause {place} is {share} of its bound");
                lowest[place] = lowest[place].min(share);
                greatest[place] = greatest[place].max(share);
            }
        }
        // Of a thousand, all above 5 % has a chance of 1 in 10^22, as has all below 95 %.
        assert!(lowest.iter().all(|share| *share < 0.05), "{lowest:?}");
        assert!(greatest.iter().all(|share| *share > 0.95), "{greatest:?}");
    }
}
