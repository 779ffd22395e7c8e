//! [`Retry`]: a call that failed for a moment is made again, later and not too often.
//!
//! A retry that is not bounded makes an outage longer. Here it is bounded four times: by the attempts of a call, which
//! count what the provider's own client tried already; by a [`RetryBudget`] of the whole process; by a deadline; and by
//! what the provider calls [retryable](ProviderError::is_retryable).

mod budget;
mod effort;

use std::{fmt, time::Duration};

use async_trait::async_trait;
use envelope_sdk::{Dek, FullContext, KeyProvider, KeyUri, ProviderError, ProviderErrorKind, WrappedDek};
use tokio::time::timeout_at;

use crate::{events, observe::in_attempt};
use effort::{Effort, Pause, Plan, Tries, Why};

pub use budget::RetryBudget;

/// Makes calls to the provider below again while what went wrong may pass.
///
/// Every call of a provider may be repeated. To wrap again makes another wrap of the same DEK, to unwrap or resolve again
/// changes nothing, and a rewrap leaves what it read as it was. Where the answer to
/// [`generate_dek`](KeyProvider::generate_dek) is lost, a DEK was made that nobody has and nothing was encrypted with.
///
/// Between two attempts there is a pause of *full jitter*: a time between nothing and a bound, each as likely, and the
/// bound doubles (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>). Where the key store asks
/// for [a longer one](ProviderError::retry_after), it is that long. A pause that would end behind the deadline is not
/// begun: the error is told at once.
///
/// The error is that of the last attempt that had one: its kind, its key, its words, with the attempts and the time
/// that they took. An attempt that is cut off at the deadline does not hide what an earlier one was told.
///
/// # Attempts do not multiply
/// The clients of AWS, Google, Azure and Vault in this SDK attempt a call three times by themselves, and
/// [say so](ProviderError::attempts). These count: with the default of three attempts nothing is added to them. Whoever
/// wants the budget to hold for all attempts sets the backend's own to one. As long as no call costs more requests than
/// the dearest before it, the key store sees no more than [`attempts`](Self::attempts). A call that a
/// [`Deadline`](crate::Deadline) below cuts off cannot say how many it cost: it counts as as many as
/// [that client makes](crate::Deadline::client_attempts). What a [`Breaker`](crate::Breaker) refuses counts as none.
///
/// # Where it stands
/// Over [`Breaker`](crate::Breaker), whose refusal it does not repeat, over [`Limit`](crate::Limit), so that each attempt
/// counts there, and over [`Deadline`](crate::Deadline), so that one attempt that hangs does not cost the whole time.
///
/// ```
/// # use std::time::Duration;
/// use envelope_layers::{Retry, RetryBudget};
/// use envelope_testkit::MemoryProvider;
///
/// // One for the process, whatever the number of providers.
/// let budget = RetryBudget::default();
/// let provider = Retry::new(MemoryProvider::new(), &budget).attempts(5).deadline(Duration::from_secs(10));
/// # let _ = provider;
/// ```
pub struct Retry<P> {
    below: P,
    plan: Plan,
    budget: RetryBudget,
    whole_batches: bool,
}

impl Retry<()> {
    /// The bound of the first [pause](Retry::pauses) by default.
    pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(100);
    /// The greatest bound by default.
    pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(2);
    /// The [deadline](Retry::deadline) by default.
    pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
}

impl<P> Retry<P> {
    /// Three attempts in 20 seconds, with pauses of up to 100 milliseconds at first and 2 seconds at most: what the cloud
    /// backends of this SDK do by themselves.
    #[must_use]
    pub fn new(below: P, budget: &RetryBudget) -> Self {
        Self { below, plan: Plan::default(), budget: budget.clone(), whole_batches: false }
    }

    /// Attempts of a call in all, those of the provider's own client included; at least 1. Three by default: of the
    /// failures that pass within a second two in a row are rare, and each attempt more is load upon a key store in trouble.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.plan.attempts = attempts.max(1);
        self
    }

    /// The bound of the first pause, by default 100 milliseconds, some five times what a call takes; and the greatest
    /// bound, by default 2 seconds, which a person still waits for.
    #[must_use]
    pub fn pauses(mut self, first: Duration, longest: Duration) -> Self {
        self.plan.first_pause = first.min(longest);
        self.plan.longest_pause = longest;
        self
    }

    /// How long a call may take with all its attempts and pauses. By default 20 seconds, as a call of a cloud backend. An
    /// attempt that is under way then is cut off. A batch is asked for in pieces of 50 wraps, each with this time: a key
    /// store that opens one after the other takes a third of a second for each.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.plan.deadline = deadline;
        self
    }

    /// Asks for a batch whole, however large, with one deadline: for a key store that opens many in one request.
    #[must_use]
    pub fn whole_batches(mut self) -> Self {
        self.whole_batches = true;
        self
    }

    /// The budget that it takes its retries from.
    #[must_use]
    pub fn budget(&self) -> &RetryBudget {
        &self.budget
    }
}

impl<P: KeyProvider> Retry<P> {
    async fn run<T, F>(&self, key: &KeyUri, mut call: impl FnMut() -> F) -> Result<T, ProviderError>
    where
        F: Future<Output = Result<T, ProviderError>>,
    {
        let mut effort = Effort::begin(&self.plan, &self.budget, 1);
        let (mut tries, mut attempt) = (Tries::default(), 1);
        loop {
            let error = match timeout_at(effort.ends(), in_attempt(attempt, call())).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => error,
                Err(_) => return Err(effort.cut_off(tries, || self.no_answer(key))),
            };
            let pause = effort.judge(&mut tries, &error).and_then(|asked| effort.pause(asked, 1));
            let why = match pause {
                Ok(pause) if pause.retries() > 0 => {
                    pause.wait().await;
                    attempt += 1;
                    events::retry(self.below.name(), error.kind(), attempt);
                    tries.go_on(error);
                    continue;
                }
                Ok(_) => {
                    events::retries_refused(self.below.name(), 1);
                    Why::NoBudget
                }
                Err(why) => why,
            };
            return Err(effort.told(tries, error, &why));
        }
    }

    /// With one deadline; and whether all answers came within it.
    async fn unwrap_piece(
        &self,
        wraps: &[(&WrappedDek, &FullContext)],
    ) -> (Vec<Result<Dek, ProviderError>>, bool) {
        let mut effort = Effort::begin(&self.plan, &self.budget, wraps.len());
        let mut told: Vec<Option<Result<Dek, ProviderError>>> = wraps.iter().map(|_| None).collect();
        let mut asked: Vec<(usize, Tries)> =
            (0..wraps.len()).map(|place| (place, Tries::default())).collect();
        let (mut attempt, mut in_time) = (1, true);
        loop {
            let batch: Vec<_> = asked.iter().map(|(place, _)| wraps[*place]).collect();
            let call = in_attempt(attempt, self.below.unwrap_deks(&batch));
            let Ok(answers) = timeout_at(effort.ends(), call).await else {
                for (place, tries) in asked {
                    let no_answer = || self.no_answer(wraps[place].0.key_uri());
                    told[place] = Some(Err(effort.cut_off(tries, no_answer)));
                }
                in_time = false;
                break;
            };
            let mut again = Vec::new();
            let mut pause = Duration::ZERO;
            for ((place, mut tries), answer) in asked.into_iter().zip(answers) {
                let error = match answer {
                    Ok(dek) => {
                        told[place] = Some(Ok(dek));
                        continue;
                    }
                    Err(error) => error,
                };
                match effort.judge(&mut tries, &error) {
                    Ok(wanted) => {
                        pause = pause.max(wanted);
                        again.push((place, tries, error));
                    }
                    Err(why) => told[place] = Some(Err(effort.told(tries, error, &why))),
                }
            }
            if again.is_empty() {
                break;
            }
            let (pause, why) = match effort.pause(pause, again.len()) {
                Ok(pause) => (Some(pause), Why::NoBudget),
                Err(why) => (None, why),
            };
            let given_up = again.split_off(pause.as_ref().map_or(0, Pause::retries));
            if matches!(why, Why::NoBudget) {
                events::retries_refused(self.below.name(), given_up.len() as u64);
            }
            for (place, tries, error) in given_up {
                told[place] = Some(Err(effort.told(tries, error, &why)));
            }
            let Some(pause) = pause.filter(|_| !again.is_empty()) else { break };
            pause.wait().await;
            attempt += 1;
            asked = Vec::with_capacity(again.len());
            for (place, mut tries, error) in again {
                events::retry(self.below.name(), error.kind(), attempt);
                tries.go_on(error);
                asked.push((place, tries));
            }
        }
        let missing = |place: usize| {
            let (kind, key) = (ProviderErrorKind::Other, wraps[place].0.key_uri());
            Err(ProviderError::new(kind, self.below.name(), key, "the provider told nothing of this wrap"))
        };
        let told = told.into_iter().enumerate();
        (told.map(|(place, answer)| answer.unwrap_or_else(|| missing(place))).collect(), in_time)
    }

    fn not_asked(&self, key: &KeyUri) -> ProviderError {
        let message = "it was not asked for, since the wraps of the batch before it had no answer in time";
        ProviderError::new(ProviderErrorKind::Unavailable, self.below.name(), key, message)
    }

    fn no_answer(&self, key: &KeyUri) -> ProviderError {
        let message = format!("no answer within {}", effort::shown(self.plan.deadline));
        ProviderError::new(ProviderErrorKind::Unavailable, self.below.name(), key, message)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<P: KeyProvider> KeyProvider for Retry<P> {
    envelope_sdk::hand_on!(below);

    async fn resolve(&self, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        self.run(key, || self.below.resolve(key)).await
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        self.run(key, || self.below.wrap_dek(key, dek, context)).await
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        self.run(wrapped.key_uri(), || self.below.unwrap_dek(wrapped, context)).await
    }

    /// Those that failed for a moment are asked for again, together; the others are told as they were. Each is judged by
    /// itself: what a breaker refuses or the budget lacks for one keeps no other from its attempts.
    async fn unwrap_deks(&self, wraps: &[(&WrappedDek, &FullContext)]) -> Vec<Result<Dek, ProviderError>> {
        let size = if self.whole_batches { wraps.len().max(1) } else { PIECE };
        let mut told = Vec::with_capacity(wraps.len());
        let mut pieces = wraps.chunks(size);
        for piece in pieces.by_ref() {
            let (answers, in_time) = self.unwrap_piece(piece).await;
            told.extend(answers);
            // Whoever gave no answer in all that time is not asked for the rest.
            if !in_time {
                break;
            }
        }
        told.extend(pieces.flatten().map(|(wrapped, _)| Err(self.not_asked(wrapped.key_uri()))));
        told
    }

    async fn generate_dek(
        &self,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<(Dek, WrappedDek), ProviderError> {
        self.run(key, || self.below.generate_dek(key, context)).await
    }

    async fn rewrap_dek(
        &self,
        wrapped: &WrappedDek,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        self.run(key, || self.below.rewrap_dek(wrapped, key, context)).await
    }
}

impl<P> fmt::Debug for Retry<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("plan", &self.plan)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

/// Wraps of a batch that are asked for together.
const PIECE: usize = 50;
