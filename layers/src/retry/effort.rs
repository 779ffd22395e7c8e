//! One call with its attempts: whether there is another one, and when.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use envelope_sdk::{ProviderError, http::find_cause};
use tokio::time::{Instant, sleep};

use super::{
    Retry,
    budget::{RetryBudget, Taken},
};
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
            first_pause: Retry::<()>::FIRST_PAUSE,
            longest_pause: Retry::<()>::LONGEST_PAUSE,
            deadline: Retry::<()>::DEADLINE,
        }
    }
}

/// What all that one call asks for shares: the time, the pauses and the budget.
pub(super) struct Effort<'r> {
    plan: &'r Plan,
    budget: &'r RetryBudget,
    begun: Instant,
    ends: Instant,
    /// Made by the first failure.
    pauses: Option<Jitter>,
}

/// What one wrap of a call, or the call that is about one thing, was told so far.
#[derive(Default)]
pub(super) struct Tries {
    /// Attempts so far, those of the clients below included.
    made: u32,
    /// Those of the dearest one: the next may cost as much.
    dearest: u32,
    /// What the last attempt but one was told.
    before: Option<ProviderError>,
}

pub(super) struct Pause {
    wait: Duration,
    retries: Taken,
}

impl Pause {
    /// How many may be asked for again.
    pub(super) fn retries(&self) -> usize {
        self.retries.count()
    }

    pub(super) async fn wait(self) {
        if !self.wait.is_zero() {
            sleep(self.wait).await;
        }
        self.retries.make();
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
    /// For a call that asks for so many things.
    pub(super) fn begin(plan: &'r Plan, budget: &'r RetryBudget, asked: usize) -> Self {
        budget.pay_in(asked);
        let begun = Instant::now();
        let ends = begun.checked_add(plan.deadline).unwrap_or_else(|| begun + A_DAY);
        Self { plan, budget, begun, ends, pauses: None }
    }

    pub(super) fn ends(&self) -> Instant {
        self.ends
    }

    /// Counts an attempt that failed. The pause that it asks for, if there may be another.
    pub(super) fn judge(&self, tries: &mut Tries, error: &ProviderError) -> Result<Duration, Why> {
        if find_cause::<CircuitOpen>(error).is_some() {
            // Nobody was asked: not by a retry either, if it was one.
            if tries.made > 0 {
                self.budget.give_back();
            }
            return Err(Why::Open);
        }
        tries.made = tries.made.saturating_add(error.attempts());
        tries.dearest = tries.dearest.max(error.attempts());
        let next = tries.made.checked_add(tries.dearest);
        if !error.is_retryable() || next.is_none_or(|attempts| attempts > self.plan.attempts) {
            return Err(Why::Told);
        }
        let asked = error.retry_after().unwrap_or_default();
        if self.is_left(asked) { Ok(asked) } else { Err(Why::LeftAlone(asked)) }
    }

    /// The pause before `count` things are asked for again, or as many of them as the budget has retries for; `asked` is the
    /// longest that the key store wants.
    pub(super) fn pause(&mut self, asked: Duration, count: usize) -> Result<Pause, Why> {
        let wait = self.pauses.get_or_insert_with(|| Jitter::new(self.plan)).next().max(asked);
        if !self.is_left(wait) {
            return Err(Why::NoTime);
        }
        Ok(Pause { wait, retries: self.budget.take(count) })
    }

    fn is_left(&self, wait: Duration) -> bool {
        Instant::now().checked_add(wait).is_some_and(|then| then < self.ends)
    }

    /// The error to tell: the `last`, or what was told before it.
    pub(super) fn told(&self, tries: Tries, last: ProviderError, why: &Why) -> ProviderError {
        let Tries { made, before, .. } = tries;
        let is_first = before.is_none();
        let error = match why {
            // What the breaker knows is what was told before.
            Why::Open => before.unwrap_or(last),
            _ => last,
        };
        let (attempts, time) = (counted(made), shown(self.begun.elapsed()));
        let note = match why {
            Why::Told | Why::Open if is_first => return error,
            Why::Told => format!("after {attempts} in {time}"),
            Why::Open => format!("after {attempts} in {time}; the breaker permits no other"),
            Why::NoBudget => {
                format!("after {attempts} in {time}; not tried again: the process has used up its retries")
            }
            Why::NoTime => format!("after {attempts} in {time}; no time is left for another"),
            Why::LeftAlone(asked) => format!(
                "after {attempts} in {time}; it asks to be left alone for {}, which is too long for this call",
                shown(*asked)
            ),
        };
        error.with_attempts(made).with_note(note)
    }

    /// The error of an attempt that was cut off: what was told before says more.
    pub(super) fn cut_off(&self, tries: Tries, no_answer: impl FnOnce() -> ProviderError) -> ProviderError {
        let attempt = tries.made.saturating_add(1);
        match tries.before {
            None => no_answer(),
            Some(error) => {
                let time = shown(self.plan.deadline);
                error.with_attempts(attempt).with_note(format!("attempt {attempt} was cut off after {time}"))
            }
        }
    }
}

impl Tries {
    /// Another attempt follows the one that was told so.
    pub(super) fn go_on(&mut self, told: ProviderError) {
        self.before = Some(told);
    }
}

/// A time, as people read it.
pub(super) fn shown(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn counted(attempts: u32) -> String {
    format!("{attempts} attempt{}", if attempts == 1 { "" } else { "s" })
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
