//! The circuits of a breaker, and who may pass.

use std::{
    collections::BTreeMap,
    iter::once,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::events;

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
    pub(super) time_outs: u32,
    pub(super) cool_down: Duration,
    known: Mutex<Known>,
}

/// The circuit without a name is the only one as a rule: it is not looked for.
#[derive(Default)]
struct Known {
    unnamed: Circuit,
    named: BTreeMap<Box<str>, Circuit>,
}

impl Known {
    /// The circuit for this name: the one without a name where there is no room for another. Names may be chosen by
    /// whoever sends wraps, who must neither fill the memory nor have a new circuit each time.
    fn name_for<'n>(&mut self, name: &'n str) -> &'n str {
        if self.named.len() < MANY || self.named.contains_key(name) {
            return name;
        }
        self.named.retain(|_, circuit| circuit.failures > 0 || circuit.open.is_some());
        if self.named.len() < MANY { name } else { "" }
    }

    fn find(&mut self, name: &str) -> Option<&mut Circuit> {
        if name.is_empty() { Some(&mut self.unnamed) } else { self.named.get_mut(name) }
    }

    fn find_or_add(&mut self, name: &str) -> &mut Circuit {
        if name.is_empty() {
            return &mut self.unnamed;
        }
        self.named.entry(name.into()).or_default()
    }
}

/// Closed, and without failures, as long as nothing else is said.
#[derive(Default)]
struct Circuit {
    /// In a row.
    failures: u32,
    /// Of these, the time-outs in which nobody was answered.
    time_outs: u32,
    open: Option<Open>,
    /// How many calls had an answer: who waited in vain sees by it whether others did too.
    answers: u64,
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

/// What became of a call. Of a batch, the first of these that there is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// The key store said something.
    Answered,
    /// It was not there, and that took as long as one waits for an answer.
    TimedOut,
    /// It was not there.
    Failed,
}

impl Circuits {
    pub(super) fn new() -> Self {
        Self { failures: 5, time_outs: 1, cool_down: Duration::from_secs(10), known: Mutex::default() }
    }

    /// The right to one call to `provider`, of the circuit of this name.
    pub(super) fn enter<'c>(&'c self, provider: &'static str, name: &'c str) -> Result<Pass<'c>, Refusal> {
        let now = Instant::now();
        let mut known = self.known();
        let name = known.name_for(name);
        let pass = |answers, is_probe| Pass { circuits: self, provider, name, begun: now, answers, is_probe };
        let Some(circuit) = known.find(name) else { return Ok(pass(0, false)) };
        let (failures, answers) = (circuit.failures, circuit.answers);
        let Some(open) = &mut circuit.open else { return Ok(pass(answers, false)) };
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
        Ok(pass(answers, true))
    }

    pub(super) fn state(&self, name: &str) -> BreakerState {
        let mut known = self.known();
        let name = known.name_for(name);
        known.find(name).map_or(BreakerState::Closed, |circuit| circuit.state())
    }

    pub(super) fn troubled_states(&self) -> Vec<(String, BreakerState)> {
        let known = self.known();
        let named = known.named.iter().map(|(name, circuit)| (name.to_string(), circuit.state()));
        let mut all: Vec<_> = once((String::new(), known.unnamed.state())).chain(named).collect();
        all.retain(|(_, state)| *state != BreakerState::Closed);
        all
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change of it is one step.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Circuit {
    /// Whether it closed.
    fn answered(&mut self, is_probe: bool) -> bool {
        self.answers += 1;
        // An answer of before it opened proves nothing now.
        if self.open.is_some() && !is_probe {
            return false;
        }
        (self.failures, self.time_outs) = (0, 0);
        self.open.take().is_some()
    }

    /// Whether it opened.
    fn failed(&mut self, of: &Circuits, is_probe: bool, timed_out: bool) -> bool {
        if !is_probe && self.open.is_some() {
            return false;
        }
        self.failures = self.failures.saturating_add(1);
        self.time_outs = self.time_outs.saturating_add(u32::from(timed_out));
        let opens = is_probe || self.failures >= of.failures || self.time_outs >= of.time_outs;
        if opens {
            let now = Instant::now();
            let since = self.open.map_or(now, |open| open.since);
            let until = now.checked_add(of.cool_down).unwrap_or(now + A_DAY);
            self.open = Some(Open { since, until, is_probed: false });
        }
        opens
    }

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

/// The right to one call. If it is dropped unsettled the call was too, or told nothing, and nothing was learnt but that there
/// was no answer for so long: there is no other probe for as long again.
pub(super) struct Pass<'c> {
    circuits: &'c Circuits,
    provider: &'static str,
    name: &'c str,
    begun: Instant,
    /// Those that the circuit had had when the call began.
    answers: u64,
    is_probe: bool,
}

impl<'c> Pass<'c> {
    /// Whether the call is a probe.
    pub(super) fn is_probe(&self) -> bool {
        self.is_probe
    }

    /// The name of its circuit.
    pub(super) fn circuit(&self) -> &str {
        self.name
    }

    /// How long the call has taken.
    pub(super) fn took(&self) -> Duration {
        self.begun.elapsed()
    }

    /// What became of the call. Returns the name of the circuit if it closed or opened by it.
    pub(super) fn settle(mut self, outcome: Outcome) -> Option<&'c str> {
        let is_probe = std::mem::take(&mut self.is_probe);
        let mut known = self.circuits.known();
        let circuit = known.find_or_add(self.name);
        let has_changed = match outcome {
            Outcome::Answered => circuit.answered(is_probe),
            Outcome::Failed => circuit.failed(self.circuits, is_probe, false),
            Outcome::TimedOut => {
                let nobody_was_answered = circuit.answers == self.answers;
                circuit.failed(self.circuits, is_probe, nobody_was_answered)
            }
        };
        has_changed.then_some(self.name)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.is_probe {
            let (now, pause) = (Instant::now(), self.took().min(self.circuits.cool_down));
            if let Some(Circuit { open: Some(open), .. }) = self.circuits.known().find(self.name) {
                open.is_probed = false;
                open.until = now.checked_add(pause).unwrap_or(now);
            }
            events::breaker(self.provider, self.name, events::OPEN);
        }
    }
}

/// Circuits with a name. Before there are more, those that have no trouble are forgotten.
const MANY: usize = 1024;
/// For a cool-down that no clock has.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);
