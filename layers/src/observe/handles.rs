//! [`Handles`]: counters and histograms that a recorder was asked for once, and not with each call.

use std::{array::from_fn, sync::OnceLock};

use metrics::{Counter, Histogram};

use super::{
    Operation, Stage,
    call::{OPERATIONS, OUTCOMES},
};

/// Those of all providers, of which a process has a few: they are looked for one after the other.
#[derive(Default)]
pub(super) struct Handles(OnceLock<Box<OfProvider>>);

struct OfProvider {
    name: &'static str,
    calls: [OfOperation; OPERATIONS],
    attempts: [OfOperation; OPERATIONS],
    next: OnceLock<Box<OfProvider>>,
}

/// Each is made when it is needed first.
#[derive(Default)]
pub(super) struct OfOperation {
    pub(super) seconds: OnceLock<Histogram>,
    pub(super) outcomes: [OnceLock<Counter>; OUTCOMES],
}

impl Handles {
    pub(super) fn of(&self, provider: &'static str, stage: Stage, operation: Operation) -> &OfOperation {
        let mut place = &self.0;
        loop {
            let of = place.get_or_init(|| Box::new(OfProvider::new(provider)));
            if of.name == provider {
                let operations = if stage == Stage::Call { &of.calls } else { &of.attempts };
                return &operations[operation as usize];
            }
            place = &of.next;
        }
    }
}

impl OfProvider {
    fn new(name: &'static str) -> Self {
        let all = || from_fn(|_| OfOperation::default());
        Self { name, calls: all(), attempts: all(), next: OnceLock::new() }
    }
}
