//! [`RetryBudget`]: how many retries a process may make of its calls.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::counter::{add, read};

/// A share of a process's calls that may be made again. Clones are the same budget: hand it to every
/// [`Retry`](crate::Retry) of the process.
///
/// When a key store is in trouble every call fails, and retries would multiply its load just then. Each call pays a share
/// of a retry in, each retry takes a whole one out, and there is a small reserve to begin with: gRPC and Finagle do it so.
/// At any time there have been at most `reserve + share × calls` retries, of which at most a hundred can be saved for later.
#[derive(Clone)]
pub struct RetryBudget(Arc<Account>);

struct Account {
    share: u64,
    most: u64,
    /// In thousandths of a retry.
    balance: AtomicU64,
    calls: AtomicU64,
    retries: AtomicU64,
    refused: AtomicU64,
}

impl RetryBudget {
    /// `percent` of the calls, up to 100, and at once a `reserve` of retries, without which a process that has just begun
    /// could repeat none.
    #[must_use]
    pub fn new(percent: u32, reserve: u32) -> Self {
        let reserve = u64::from(reserve) * WHOLE;
        Self(Arc::new(Account {
            share: u64::from(percent.min(100)) * WHOLE / 100,
            most: reserve.max(MOST_SAVED),
            balance: AtomicU64::new(reserve),
            calls: AtomicU64::default(),
            retries: AtomicU64::default(),
            refused: AtomicU64::default(),
        }))
    }

    /// Calls that paid in, each once, however often it was attempted.
    #[must_use]
    pub fn calls(&self) -> u64 {
        read(&self.0.calls)
    }

    /// Retries that were made.
    #[must_use]
    pub fn retries(&self) -> u64 {
        read(&self.0.retries)
    }

    /// Retries that were not made since nothing was left.
    #[must_use]
    pub fn refused(&self) -> u64 {
        read(&self.0.refused)
    }

    pub(super) fn pay_in(&self) {
        add(&self.0.calls, 1);
        self.add(self.0.share);
    }

    /// A retry that is not made yet. `None` when nothing is left.
    pub(super) fn take(&self) -> Option<Taken> {
        let less = |balance: u64| balance.checked_sub(WHOLE);
        if self.0.balance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_err() {
            add(&self.0.refused, 1);
            return None;
        }
        Some(Taken(Some(self.clone())))
    }

    fn add(&self, more: u64) {
        let most = self.0.most;
        let sum = |balance: u64| Some(balance.saturating_add(more).min(most));
        // It never fails: there always is a sum.
        let _ = self.0.balance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum);
    }
}

impl Default for RetryBudget {
    /// 10 % of the calls, as in Google's SRE book, chapter 21, and a reserve of 10.
    fn default() -> Self {
        Self::new(10, 10)
    }
}

impl fmt::Debug for RetryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryBudget")
            .field("calls", &self.calls())
            .field("retries", &self.retries())
            .field("refused", &self.refused())
            .finish_non_exhaustive()
    }
}

/// Goes back into the budget unless it is made: whoever waits for it may be dropped.
pub(super) struct Taken(Option<RetryBudget>);

impl Taken {
    pub(super) fn make(mut self) {
        if let Some(budget) = self.0.take() {
            add(&budget.0.retries, 1);
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(budget) = self.0.take() {
            budget.add(WHOLE);
        }
    }
}

const WHOLE: u64 = 1000;
/// A day without trouble must not pay for a storm.
const MOST_SAVED: u64 = 100 * WHOLE;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// 0: a call; 1: a retry; 2: a retry that is dropped before it is made.
        #[test]
        fn retries_are_never_more_than_the_reserve_and_the_share_of_the_calls(
            percent in 0_u32..=100,
            reserve in 0_u32..20,
            steps in prop::collection::vec(0_u8..3, 0..2000),
        ) {
            let budget = RetryBudget::new(percent, reserve);
            for step in steps {
                match step {
                    0 => budget.pay_in(),
                    1 => if let Some(taken) = budget.take() { taken.make() },
                    _ => drop(budget.take()),
                }
                let allowed = u64::from(reserve) * 100 + budget.calls() * u64::from(percent);
                prop_assert!(budget.retries() * 100 <= allowed, "{budget:?}");
            }
        }
    }

    #[test]
    fn ten_calls_pay_for_one_retry_and_what_is_saved_has_an_end() {
        let budget = RetryBudget::new(10, 0);
        (0..9).for_each(|_| budget.pay_in());
        assert!(budget.take().is_none());
        budget.pay_in();
        budget.take().unwrap().make();
        assert!(budget.take().is_none());
        (0..100_000).for_each(|_| budget.pay_in());
        let mut saved = 0;
        while let Some(taken) = budget.take() {
            taken.make();
            saved += 1;
        }
        assert_eq!((saved, budget.retries(), budget.refused()), (100, 101, 3));
    }

    #[test]
    fn a_retry_that_is_not_made_goes_back() {
        let budget = RetryBudget::new(0, 1);
        drop(budget.take().unwrap());
        budget.take().unwrap().make();
        assert!(budget.take().is_none());
        assert_eq!(budget.retries(), 1);
    }
}
