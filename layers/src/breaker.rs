//! [`Breaker`]: a key store that is away is not asked, so that nobody waits for it.

mod circuit;

use std::{collections::BTreeMap, fmt, time::Duration};

use async_trait::async_trait;
use envelope_sdk::{
    Dek, FullContext, KeyProvider, KeyUri, ProviderError, ProviderErrorKind, WrappedDek,
    http::{ATTEMPT_TIMEOUT, find_cause},
};

use crate::{TimedOut, events, limit::FullQueue};
use circuit::{Circuits, Outcome, Pass, Refusal};

pub use circuit::{BreakerState, CircuitOpen};

/// Refuses calls to a provider that has failed several times in a row, or let somebody wait in vain, for a while, at once.
///
/// - **Closed**: calls go through. What counts as a failure is [`Unavailable`](ProviderErrorKind::Unavailable) alone, of
///   which time-outs are: whoever denies, throttles or finds a wrap wrong is there. Any answer ends the row. None are what a
///   [`Limit`](crate::Limit) below refuses, and what a provider says without its key store: that a key is no alias, or that
///   nothing is rewrapped inside.
/// - **Open**: calls are refused with an error of kind `Unavailable` and the source [`CircuitOpen`], which says since when
///   and for how long.
/// - **Half-open**, when the cool-down is over: one call goes through, as a probe, and the others are refused until its
///   answer is there. An answer closes the circuit; a failure opens it for another cool-down. If the call is dropped,
///   as one that a hedge overtakes, another is the probe after a pause as long as that one had waited.
///
/// Failures that come at once cost nothing, and five in a row are waited for. A **time-out** costs its whole time: one is
/// enough, unless the key store answered somebody else meanwhile, and then it counts as any failure. A time-out is a call
/// that a [`Deadline`](crate::Deadline) below cut off, or a failure that took 5 seconds or longer.
///
/// There is one circuit for the provider, or one for each region or the like: [`by`](Self::by). A keyring that asks
/// another recipient when one fails needs nothing else: a dead region costs one time-out, and then one probe in each
/// cool-down.
///
/// # Where it stands
/// Over [`Deadline`](crate::Deadline) and [`Limit`](crate::Limit): it does not hear of a call that is dropped from above.
pub struct Breaker<P> {
    below: P,
    circuits: Circuits,
    by: Option<By>,
}

type By = Box<dyn Fn(&KeyUri) -> &str + Send + Sync>;

impl<P> Breaker<P> {
    /// Opens after 5 failures in a row or one time-out, for 10 seconds.
    #[must_use]
    pub fn new(below: P) -> Self {
        Self { below, circuits: Circuits::new(), by: None }
    }

    /// How many failures in a row open the circuit, at least 1. 5 by default: more than one unlucky call with its three
    /// attempts, and few enough to wait for. Failures of calls at the same time are in a row too.
    #[must_use]
    pub fn failures(mut self, failures: u32) -> Self {
        self.circuits.failures = failures.max(1);
        self
    }

    /// How many time-outs in a row open the circuit, of which none saw the key store answer anybody; at least 1. 1 by
    /// default: a dead region costs one time-out. More are for a key store that few ask and whose network loses calls.
    #[must_use]
    pub fn time_outs(mut self, time_outs: u32) -> Self {
        self.circuits.time_outs = time_outs.max(1);
        self
    }

    /// How long an open circuit refuses. 10 seconds by default, in which what a key store restarts or a network routes
    /// anew comes back: a probe in that time costs nothing.
    #[must_use]
    pub fn cool_down(mut self, cool_down: Duration) -> Self {
        self.circuits.cool_down = cool_down;
        self
    }

    /// A circuit for each of the names that `name` gives keys, such as their region. There should be few: of more than
    /// 1024 those without failures are forgotten, and where all have some, the others share the circuit without a name.
    #[must_use]
    pub fn by(mut self, name: impl Fn(&KeyUri) -> &str + Send + Sync + 'static) -> Self {
        self.by = Some(Box::new(name));
        self
    }

    /// The state of the circuit of a key.
    #[must_use]
    pub fn state(&self, key: &KeyUri) -> BreakerState {
        self.circuits.state(self.name_of(key))
    }

    /// The circuits that are not closed, by their names. That of a breaker without [`by`](Self::by) is the empty name.
    #[must_use]
    pub fn troubled(&self) -> Vec<(String, BreakerState)> {
        self.circuits.troubled_states()
    }

    fn name_of<'k>(&self, key: &'k KeyUri) -> &'k str {
        self.by.as_ref().map_or("", |name| name(key))
    }
}

impl<P: KeyProvider> Breaker<P> {
    async fn guarded<T>(
        &self,
        key: &KeyUri,
        call: impl Future<Output = Result<T, ProviderError>>,
        was_asked: impl FnOnce(&T) -> bool,
    ) -> Result<T, ProviderError> {
        let pass = self.enter(self.name_of(key)).map_err(|refusal| self.refused(key, refusal))?;
        let answer = call.await;
        // Otherwise the pass is dropped, and a probe is free for another call.
        if answer.as_ref().map_or_else(|error| !is_of_the_queue(error), was_asked) {
            let outcome = outcome_of(answer.as_ref().err(), &pass);
            self.settle(pass, outcome);
        }
        answer
    }

    fn enter<'b>(&'b self, circuit: &'b str) -> Result<Pass<'b>, Refusal> {
        let pass = self.circuits.enter(self.name(), circuit)?;
        if pass.is_probe() {
            events::breaker(self.name(), pass.circuit(), events::HALF_OPEN);
        }
        Ok(pass)
    }

    fn settle(&self, pass: Pass<'_>, outcome: Outcome) {
        if let Some(circuit) = pass.settle(outcome) {
            let state = if outcome == Outcome::Answered { events::CLOSED } else { events::OPEN };
            events::breaker(self.name(), circuit, state);
        }
    }

    fn refused(&self, key: &KeyUri, refusal: Refusal) -> ProviderError {
        events::breaker_refused(self.name());
        let Refusal { open, pause } = refusal;
        let kind = ProviderErrorKind::Unavailable;
        ProviderError::new(kind, self.name(), key, open.to_string()).with_retry_after(pause).with_source(open)
    }
}

/// What became of a call that was told this error, if any.
fn outcome_of(error: Option<&ProviderError>, pass: &Pass<'_>) -> Outcome {
    match error {
        Some(error) if is_failure(error) => {
            let timed_out = find_cause::<TimedOut>(error).is_some() || pass.took() >= ATTEMPT_TIMEOUT;
            if timed_out { Outcome::TimedOut } else { Outcome::Failed }
        }
        _ => Outcome::Answered,
    }
}

/// Whether the key store was not there.
fn is_failure(error: &ProviderError) -> bool {
    error.kind() == ProviderErrorKind::Unavailable
}

/// Whether a limit of this process refused, and the key store was not asked.
fn is_of_the_queue(error: &ProviderError) -> bool {
    find_cause::<FullQueue>(error).is_some()
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<P: KeyProvider> KeyProvider for Breaker<P> {
    envelope_sdk::hand_on!(below);

    async fn resolve(&self, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        // A key that is no alias is told without the key store.
        self.guarded(key, self.below.resolve(key), |meant| meant != key).await
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        self.guarded(key, self.below.wrap_dek(key, dek, context), |_| true).await
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        self.guarded(wrapped.key_uri(), self.below.unwrap_dek(wrapped, context), |_| true).await
    }

    /// One call for each circuit. It has failed if all that was asked of that circuit failed.
    async fn unwrap_deks(&self, wraps: &[(&WrappedDek, &FullContext)]) -> Vec<Result<Dek, ProviderError>> {
        let mut by_circuit: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (place, (wrapped, _)) in wraps.iter().enumerate() {
            by_circuit.entry(self.name_of(wrapped.key_uri())).or_default().push(place);
        }
        let mut told: Vec<Result<Dek, ProviderError>> = wraps
            .iter()
            .map(|(wrapped, _)| {
                let (kind, key) = (ProviderErrorKind::Other, wrapped.key_uri());
                Err(ProviderError::new(kind, self.name(), key, "the provider told nothing of this wrap"))
            })
            .collect();
        for (circuit, places) in by_circuit {
            let pass: Pass<'_> = match self.enter(circuit) {
                Ok(pass) => pass,
                Err(refusal) => {
                    for place in places {
                        told[place] = Err(self.refused(wraps[place].0.key_uri(), refusal));
                    }
                    continue;
                }
            };
            let batch: Vec<_> = places.iter().map(|&place| wraps[place]).collect();
            let answers = self.below.unwrap_deks(&batch).await;
            let is_asked =
                |answer: &&Result<Dek, ProviderError>| !answer.as_ref().is_err_and(is_of_the_queue);
            // Of those that were asked for, one that was answered tells that the key store is there.
            let asked =
                answers.iter().filter(is_asked).map(|answer| outcome_of(answer.as_ref().err(), &pass));
            let outcome = asked.min();
            if let Some(outcome) = outcome.or(answers.is_empty().then_some(Outcome::Failed)) {
                self.settle(pass, outcome);
            }
            for (place, answer) in places.into_iter().zip(answers) {
                told[place] = answer;
            }
        }
        told
    }

    async fn generate_dek(
        &self,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<(Dek, WrappedDek), ProviderError> {
        self.guarded(key, self.below.generate_dek(key, context), |_| true).await
    }

    async fn rewrap_dek(
        &self,
        wrapped: &WrappedDek,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        // `None` is no answer of the key store, but what the provider knows of it.
        self.guarded(key, self.below.rewrap_dek(wrapped, key, context), Option::is_some).await
    }
}

impl<P> fmt::Debug for Breaker<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").field("troubled", &self.troubled()).finish_non_exhaustive()
    }
}
