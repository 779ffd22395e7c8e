//! The circuits of a breaker, and who may pass.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Whether calls go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BreakerState {
    /// They do.
    Closed,
    /// They are refused.
    Open {
        /// For how long they have been.
        since: Duration,
        /// How long they still are.
        left: Duration,
    },
    /// The cool-down is over: one call is, or will be, a probe, and the others are refused until it has its answer.
    HalfOpen,
}

/// Why a call was not made: the source of the error that tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CircuitOpen {
    /// The cool-down is not over.
    #[error(
        "the key store failed {failures} times in a row, has not been asked for {since:.1?} and is not for another {left:.1?}"
    )]
    CoolingDown {
        /// How often it failed in a row, failed probes included.
        failures: u32,
        /// Since when the circuit is open.
        since: Duration,
        /// When it is half-open.
        left: Duration,
    },
    /// Another call is the probe.
    #[error(
        "the key store failed {failures} times in a row, {since:.1?} ago; another call is trying whether it is back"
    )]
    Probing {
        /// How often it failed in a row, failed probes included.
        failures: u32,
        /// Since when the circuit is open.
        since: Duration,
    },
}

pub(super) struct Circuits {
    pub(super) failures: u32,
    pub(super) cool_down: Duration,
    /// Those with failures; the others are closed and without.
    troubled: Mutex<BTreeMap<String, Trouble>>,
}

struct Trouble {
    failures: u32,
    open: Option<Open>,
}

#[derive(Clone, Copy)]
struct Open {
    since: Instant,
    until: Instant,
    is_probed: bool,
}

/// Why, and how long there is no other answer.
#[derive(Clone, Copy)]
pub(super) struct Refusal {
    pub(super) open: CircuitOpen,
    pub(super) pause: Option<Duration>,
}

impl Circuits {
    pub(super) fn new() -> Self {
        Self { failures: 5, cool_down: Duration::from_secs(10), troubled: Mutex::default() }
    }

    pub(super) fn enter(&self, name: String) -> Result<Pass<'_>, Refusal> {
        let mut troubled = self.troubled();
        let Some(Trouble { failures, open: Some(open) }) = troubled.get_mut(&name) else {
            drop(troubled);
            return Ok(Pass { circuits: self, name, is_probe: false });
        };
        let (failures, now) = (*failures, Instant::now());
        let since = now - open.since;
        if now < open.until {
            let left = open.until - now;
            let open = CircuitOpen::CoolingDown { failures, since, left };
            return Err(Refusal { open, pause: Some(left) });
        }
        if open.is_probed {
            return Err(Refusal { open: CircuitOpen::Probing { failures, since }, pause: None });
        }
        open.is_probed = true;
        drop(troubled);
        Ok(Pass { circuits: self, name, is_probe: true })
    }

    pub(super) fn state(&self, name: &str) -> BreakerState {
        self.troubled().get(name).map_or(BreakerState::Closed, Trouble::state)
    }

    pub(super) fn troubled_states(&self) -> Vec<(String, BreakerState)> {
        let states = |(name, trouble): (&String, &Trouble)| (name.clone(), trouble.state());
        let mut all: Vec<_> = self.troubled().iter().map(states).collect();
        all.retain(|(_, state)| *state != BreakerState::Closed);
        all
    }

    /// Whether the circuit closed.
    fn answered(&self, name: String, is_probe: bool) -> bool {
        if let Entry::Occupied(trouble) = self.troubled().entry(name)
            // An answer of before it opened proves nothing now.
            && (is_probe || trouble.get().open.is_none())
        {
            return trouble.remove().open.is_some();
        }
        false
    }

    /// Whether the circuit opened.
    fn failed(&self, name: String, is_probe: bool) -> bool {
        let mut troubled = self.troubled();
        let trouble = troubled.entry(name).or_insert(Trouble { failures: 0, open: None });
        if !is_probe && trouble.open.is_some() {
            return false;
        }
        trouble.failures = trouble.failures.saturating_add(1);
        let opens = is_probe || trouble.failures >= self.failures;
        if opens {
            let now = Instant::now();
            let since = trouble.open.map_or(now, |open| open.since);
            let until = now.checked_add(self.cool_down).unwrap_or(now + A_DAY);
            trouble.open = Some(Open { since, until, is_probed: false });
        }
        opens
    }

    fn free_probe(&self, name: &str) {
        if let Some(Trouble { open: Some(open), .. }) = self.troubled().get_mut(name) {
            open.is_probed = false;
        }
    }

    fn troubled(&self) -> MutexGuard<'_, BTreeMap<String, Trouble>> {
        // Each change of it is one step.
        self.troubled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trouble {
    fn state(&self) -> BreakerState {
        let now = Instant::now();
        match self.open {
            None => BreakerState::Closed,
            Some(open) if now < open.until => {
                BreakerState::Open { since: now - open.since, left: open.until - now }
            }
            Some(_) => BreakerState::HalfOpen,
        }
    }
}

/// The right to one call. If it is dropped unsettled the call was too, and nothing was learnt.
pub(super) struct Pass<'c> {
    circuits: &'c Circuits,
    name: String,
    is_probe: bool,
}

impl Pass<'_> {
    pub(super) fn circuit(&self) -> &str {
        &self.name
    }

    /// Whether the call is a probe.
    pub(super) fn is_probe(&self) -> bool {
        self.is_probe
    }

    /// What became of the call: whether anything was answered. Returns whether the circuit closed or opened by it.
    pub(super) fn settle(mut self, is_answered: bool) -> bool {
        let (name, is_probe) = (std::mem::take(&mut self.name), std::mem::take(&mut self.is_probe));
        if is_answered {
            self.circuits.answered(name, is_probe)
        } else {
            self.circuits.failed(name, is_probe)
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.is_probe {
            self.circuits.free_probe(&self.name);
        }
    }
}

/// For a cool-down that no clock has.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);
