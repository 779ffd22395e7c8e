//! Which recipient is opened with which key, in which order, and how long the next one waits.

use std::{collections::VecDeque, iter::once, time::Duration};

use futures_util::{
    StreamExt,
    future::{Either, join_all, select},
    stream::FuturesUnordered,
};

use super::{Hedging, Keyring, KeyringEvent, configured::ConfiguredKey, deadline::Deadline};
use crate::{
    DecryptError, Dek, FullContext, Header, KeyUri, OpenedHeader, ProviderError, ProviderErrorKind,
    WrappedDek, schedule,
};

/// In which order the recipients of a header are tried that are configured keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// As the header has them: as the keyring that encrypted had its keys.
    #[default]
    Header,
    /// As this keyring has its keys that decrypt, such as that of the own region first. A key that
    /// its provider must first be asked about (an alias) still comes after those that are known.
    Keyring,
}

/// A recipient and a key that may open it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) recipient: usize,
    pub(super) key: usize,
}

/// What may still be tried and what failed, each with its place in the order.
#[derive(Default)]
struct Trial {
    left: VecDeque<(usize, Pair)>,
    failed: Vec<(usize, ProviderError)>,
    /// The key of the last of `failed`, until another is asked after it.
    failed_key: Option<usize>,
}

impl Keyring {
    /// Opens `header` with the first recipient, in the keyring's [`Order`], that is configured
    /// here and gives a DEK under which the MAC is right (with the first of its
    /// keys that does). Keys that are known to be a recipient come first; only
    /// then are providers asked what the others mean, so that an exact key waits for
    /// no alias. No provider is called for any other.
    pub(crate) async fn unlock(
        &self,
        mut header: Header,
        mut context: FullContext,
    ) -> Result<OpenedHeader, DecryptError> {
        let deadline = self.start_of_call();
        let mut trial = Trial::default();
        let known = self.known_to_open(header.recipients());
        trial.left.extend(known.iter().copied().enumerate());
        match self.try_each(header, context, &mut trial, &deadline).await {
            Ok(opened) => return Ok(opened),
            Err(unverified) => (header, context) = *unverified,
        }
        // What is left was not tried for lack of time, and there is none to ask for more.
        let mut unresolved = Vec::new();
        if trial.left.is_empty() {
            let (found, failed) = self.found_to_open(header.recipients(), &known, &deadline).await;
            trial.left.extend(found.into_iter().enumerate().map(|(place, pair)| (known.len() + place, pair)));
            match self.try_each(header, context, &mut trial, &deadline).await {
                Ok(opened) => return Ok(opened),
                Err(unverified) => (header, _) = *unverified,
            }
            unresolved = failed;
        }
        trial.failed.sort_by_key(|(place, _)| *place);
        let attempts: Vec<_> = trial.failed.into_iter().map(|(_, error)| error).chain(unresolved).collect();
        if attempts.is_empty() {
            let recipients =
                header.recipients().iter().map(|recipient| recipient.key_uri().clone()).collect();
            return Err(DecryptError::NoConfiguredKey { recipients });
        }
        Err(DecryptError::from_attempts(attempts))
    }

    /// Which recipient which key is, in the keyring's order, as far as is known
    /// without asking anybody.
    pub(super) fn known_to_open(&self, recipients: &[WrappedDek]) -> Vec<Pair> {
        let mut known = Vec::new();
        for (key, configured) in self.decrypting.iter().enumerate() {
            let named = recipients.iter().enumerate();
            let its = named.filter(|(_, recipient)| configured.is_known_as(recipient.key_uri()));
            known.extend(its.map(|(recipient, _)| Pair { recipient, key }));
        }
        self.sort(&mut known);
        known
    }

    /// The same but for what is `known`, once providers were asked what those keys mean of
    /// which only they can tell; and why one could not. Who was asked since `known` was put
    /// together, by another call, is not asked again, but counts.
    pub(super) async fn found_to_open(
        &self,
        recipients: &[WrappedDek],
        known: &[Pair],
        deadline: &Deadline<'_>,
    ) -> (Vec<Pair>, Vec<ProviderError>) {
        let may_be = |key: &ConfiguredKey| {
            recipients.iter().any(|recipient| recipient.key_uri().scheme() == key.uri.scheme())
        };
        let asked: Vec<_> = self.decrypting.iter().filter(|key| may_be(key)).collect();
        let ask = |key| async move { resolve(key, deadline).await };
        let answers = join_all(asked.iter().copied().map(ask)).await;
        let failed: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
        let mut found = self.known_to_open(recipients);
        // Once it was asked, a provider may know the alias by itself: what was tried is not tried again.
        found.retain(|pair| !known.contains(pair));
        (found, failed)
    }

    fn sort(&self, pairs: &mut [Pair]) {
        match self.order {
            Order::Header => pairs.sort_unstable_by_key(|pair| (pair.recipient, pair.key)),
            Order::Keyring => pairs.sort_unstable_by_key(|pair| (pair.key, pair.recipient)),
        }
    }

    /// Opens `header` with the first of what is left that does, or gives it back.
    async fn try_each(
        &self,
        mut header: Header,
        mut context: FullContext,
        trial: &mut Trial,
        deadline: &Deadline<'_>,
    ) -> Result<OpenedHeader, Box<(Header, FullContext)>> {
        loop {
            let first = match &self.hedging {
                Some(hedging) => self.raced(hedging, &header, &context, trial, deadline).await,
                None => self.in_turn(&header, &context, trial, deadline).await,
            };
            let Some((place, pair, dek)) = first else { return Err(Box::new((header, context))) };
            let key = &self.decrypting[pair.key];
            let bound = key.binds_context(&header.recipients()[pair.recipient]);
            match schedule::verify(header, dek, context) {
                Ok(opened) => return Ok(opened.with_context_bound(bound)),
                Err(unverified) => (header, context) = (unverified.header, unverified.context),
            }
            let recipient = &header.recipients()[pair.recipient];
            key.provider.refuted(recipient, &context);
            trial.note(place, pair, key.does_not_fit(recipient.key_uri()));
        }
    }

    /// The first DEK that comes, of one key after the other.
    async fn in_turn(
        &self,
        header: &Header,
        context: &FullContext,
        trial: &mut Trial,
        deadline: &Deadline<'_>,
    ) -> Option<(usize, Pair, Dek)> {
        while let Some((place, pair)) = self.next_of(trial) {
            let key = &self.decrypting[pair.key];
            let call = key.unwrap(&header.recipients()[pair.recipient], context);
            match deadline.bound(key, call).await {
                Ok(dek) => return Some((place, pair, dek)),
                Err(error) => {
                    if trial.fail(place, pair, error, deadline) {
                        return None;
                    }
                }
            }
        }
        None
    }

    /// The first DEK that comes, where a key that is slow for what it is used to gets a second beside it.
    async fn raced(
        &self,
        hedging: &Hedging,
        header: &Header,
        context: &FullContext,
        trial: &mut Trial,
        deadline: &Deadline<'_>,
    ) -> Option<(usize, Pair, Dek)> {
        let ask = |(place, pair): (usize, Pair)| async move {
            let key = &self.decrypting[pair.key];
            let call = key.unwrap(&header.recipients()[pair.recipient], context);
            (place, deadline.bound(key, call).await)
        };
        let mut calls = FuturesUnordered::new();
        let mut in_flight: Vec<InFlight> = Vec::with_capacity(2);
        loop {
            if in_flight.is_empty() {
                let next = self.next_of(trial)?;
                in_flight.push(InFlight::now(next, hedging, &self.decrypting));
                calls.push(ask(next));
            }
            let hedge_at = match in_flight.as_slice() {
                [only] if only.may_be_hedged && self.hedge_among(&trial.left).is_some() => {
                    Some(only.hedge_at)
                }
                _ => None,
            };
            let answer = match hedge_at {
                None => calls.next().await,
                Some(at) => match select(calls.next(), hedging.timer.sleep_until(at)).await {
                    Either::Left((answer, _)) => answer,
                    Either::Right(((), _)) => {
                        in_flight[0].may_be_hedged = false;
                        if let Some(next) = self.hedge_among(&trial.left).filter(|_| hedging.may_hedge()) {
                            let next = trial.left.remove(next)?;
                            let hedge = InFlight::now(next, hedging, &self.decrypting).hedge();
                            self.hear(&KeyringEvent::HedgeBegun {
                                slow: self.decrypting[in_flight[0].pair.key].asked(),
                                hedge: self.decrypting[hedge.pair.key].asked(),
                                after: hedge.began.saturating_sub(in_flight[0].began),
                            });
                            in_flight.push(hedge);
                            calls.push(ask(next));
                        }
                        continue;
                    }
                },
            };
            // There is a call in flight, so there is an answer.
            let (place, answer) = answer?;
            let at = in_flight.iter().position(|call| call.place == place)?;
            let call = in_flight.swap_remove(at);
            let key = &self.decrypting[call.pair.key];
            let now = hedging.timer.now();
            // What was answered at once was no call to a key store: a cache below had the DEK.
            let is_call = |call: &InFlight| now.saturating_sub(call.began) >= AT_ONCE;
            let asked = once(&call).chain(&in_flight).find(|call| !call.is_hedge);
            if (answer.is_ok() || !call.is_hedge) && asked.is_some_and(is_call) {
                hedging.count_call();
            }
            match answer {
                Ok(dek) => {
                    if is_call(&call) {
                        key.latency.record(now.saturating_sub(call.began));
                    }
                    if call.is_hedge {
                        self.hear(&KeyringEvent::HedgeWon { hedge: key.asked() });
                    }
                    for lost in in_flight {
                        let (key, after) = (&self.decrypting[lost.pair.key], now.saturating_sub(lost.began));
                        // It would have taken longer still. Before its own threshold that says nothing.
                        if now >= lost.hedge_at {
                            key.latency.record(after);
                        }
                        if lost.is_hedge {
                            self.hear(&KeyringEvent::HedgeLost { hedge: key.asked() });
                        }
                        self.hear(&KeyringEvent::Cancelled { key: key.asked(), after });
                        // For the case that the DEK is the wrong one.
                        trial.left.push_front((lost.place, lost.pair));
                    }
                    return Some((call.place, call.pair, dek));
                }
                Err(error) => {
                    if call.is_hedge {
                        self.hear(&KeyringEvent::HedgeFailed { hedge: key.asked(), error: &error });
                    }
                    if trial.fail(place, call.pair, error, deadline) && in_flight.is_empty() {
                        return None;
                    }
                }
            }
        }
    }

    /// The next that is tried, after one that failed or before any.
    fn next_of(&self, trial: &mut Trial) -> Option<(usize, Pair)> {
        let next = trial.left.pop_front()?;
        if let (Some(from), Some((_, error))) = (trial.failed_key.take(), trial.failed.last()) {
            let (from, to) = (self.decrypting[from].asked(), self.decrypting[next.1.key].asked());
            self.hear(&KeyringEvent::Failover { from, error, to });
        }
        Some(next)
    }

    /// The first of what is left that no person might have to do something for.
    fn hedge_among(&self, left: &VecDeque<(usize, Pair)>) -> Option<usize> {
        left.iter().position(|(_, pair)| !self.decrypting[pair.key].waits_for_a_person())
    }
}

impl Trial {
    /// Notes why a key did not open, and says whether there is no time left for others.
    fn fail(&mut self, place: usize, pair: Pair, error: ProviderError, deadline: &Deadline<'_>) -> bool {
        let late = error.kind() == ProviderErrorKind::Unavailable && deadline.is_over();
        self.note(place, pair, error);
        late
    }

    fn note(&mut self, place: usize, pair: Pair, error: ProviderError) {
        self.failed.push((place, error));
        self.failed_key = Some(pair.key);
    }
}

/// An unwrap that was not answered yet.
struct InFlight {
    place: usize,
    pair: Pair,
    began: Duration,
    /// When it is slow for what its key is used to.
    hedge_at: Duration,
    may_be_hedged: bool,
    is_hedge: bool,
}

impl InFlight {
    fn now((place, pair): (usize, Pair), hedging: &Hedging, keys: &[ConfiguredKey]) -> Self {
        let began = hedging.timer.now();
        let hedge_at = began.saturating_add(hedging.delay(&keys[pair.key].latency));
        // Who takes their time to type is not slow.
        let may_be_hedged = !keys[pair.key].waits_for_a_person();
        Self { place, pair, began, hedge_at, may_be_hedged, is_hedge: false }
    }

    fn hedge(self) -> Self {
        Self { is_hedge: true, ..self }
    }
}

async fn resolve(key: &ConfiguredKey, deadline: &Deadline<'_>) -> Result<KeyUri, ProviderError> {
    deadline.bound(key, key.meaning.learn(&key.provider, &key.uri)).await
}

/// No network answers in that time.
const AT_ONCE: Duration = Duration::from_millis(1);
