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
///
/// Each wrap of a batch counts as a call, and as a retry when it is asked for again: a batch of a thousand that is made
/// again is a thousand unwraps for most key stores.
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
    /// Of the calls by default: as in Google's SRE book, chapter 21.
    pub(crate) const PERCENT: u32 = 10;
    pub(crate) const RESERVE: u32 = 10;

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

    /// Calls that paid in, each once, however often it was attempted, and each wrap of a batch.
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

    pub(super) fn pay_in(&self, calls: usize) {
        let calls = calls as u64;
        add(&self.0.calls, calls);
        self.add(self.0.share.saturating_mul(calls));
    }

    /// So many retries that are not made yet, or as many as are left.
    pub(super) fn take(&self, wanted: usize) -> Taken {
        let (wanted, mut taken) = (wanted as u64, 0);
        let less = |balance: u64| {
            taken = wanted.min(balance / WHOLE);
            Some(balance - taken * WHOLE)
        };
        // It never fails: there always is a rest.
        let _ = self.0.balance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        add(&self.0.refused, wanted - taken);
        Taken { budget: self.clone(), count: taken }
    }

    /// A retry that was made and did not reach the key store was none.
    pub(super) fn give_back(&self) {
        self.0.retries.fetch_sub(1, Ordering::Relaxed);
        self.add(WHOLE);
    }

    fn add(&self, more: u64) {
        let most = self.0.most;
        // A day without trouble, on which there is nothing to add, costs no more than a look.
        if self.0.balance.load(Ordering::Relaxed) >= most {
            return;
        }
        let sum = |balance: u64| Some(balance.saturating_add(more).min(most));
        // It never fails: there always is a sum.
        let _ = self.0.balance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum);
    }
}

impl Default for RetryBudget {
    /// 10 % of the calls, as in Google's SRE book, chapter 21, and a reserve of 10.
    fn default() -> Self {
        Self::new(Self::PERCENT, Self::RESERVE)
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
pub(super) struct Taken {
    budget: RetryBudget,
    count: u64,
}

impl Taken {
    pub(super) fn count(&self) -> usize {
        usize::try_from(self.count).unwrap_or(usize::MAX)
    }

    pub(super) fn make(mut self) {
        add(&self.budget.0.retries, std::mem::take(&mut self.count));
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.count > 0 {
            self.budget.add(self.count * WHOLE);
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
        /// 0: a call, or a batch; 1: retries; 2: retries that are dropped before they are made.
        #[test]
        fn retries_are_never_more_than_the_reserve_and_the_share_of_the_calls(
            percent in 0_u32..=100,
            reserve in 0_u32..20,
            steps in prop::collection::vec((0_u8..3, 1_usize..40), 0..2000),
        ) {
            let budget = RetryBudget::new(percent, reserve);
            for (step, count) in steps {
                match step {
                    0 => budget.pay_in(count),
                    1 => budget.take(count).make(),
                    _ => drop(budget.take(count)),
                }
                let allowed = u64::from(reserve) * 100 + budget.calls() * u64::from(percent);
                prop_assert!(budget.retries() * 100 <= allowed, "{budget:?}");
            }
        }
    }

    fn take(budget: &RetryBudget, wanted: usize) -> usize {
        let taken = budget.take(wanted);
        let count = taken.count();
        taken.make();
        count
    }

    #[test]
    fn ten_calls_pay_for_one_retry_and_what_is_saved_has_an_end() {
        let budget = RetryBudget::new(10, 0);
        budget.pay_in(9);
        assert_eq!(take(&budget, 1), 0);
        budget.pay_in(1);
        assert_eq!(take(&budget, 1), 1);
        assert_eq!(take(&budget, 1), 0);
        (0..100).for_each(|_| budget.pay_in(1000));
        assert_eq!(take(&budget, 101), 100);
        assert_eq!((budget.calls(), budget.retries(), budget.refused()), (100_010, 101, 3));
    }

    #[test]
    fn retries_that_are_not_made_go_back() {
        let budget = RetryBudget::new(0, 2);
        drop(budget.take(2));
        assert_eq!(take(&budget, 5), 2);
        assert_eq!((budget.retries(), budget.refused()), (2, 3));
    }
}
