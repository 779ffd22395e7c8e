//! What the cache keeps and what is under way, behind one lock: each limit is checked where it is counted.

use std::{hash::BuildHasher, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use envelope_sdk::{
    Dek, KeyUri, ProviderError,
    ProviderErrorKind::{self, AccessDenied, NotFound, State as KeyIsInState},
    ProviderIdentity,
};
use futures_util::{FutureExt, future::BoxFuture};
use hashlink::{DefaultHashBuilder, LinkedHashMap, linked_hash_map::RawEntryMut};
use tokio::time::Instant;

use super::{
    key::{Asked, Key, Source},
    limits::CacheLimits,
    stats::Counters,
};
use crate::{
    counter::add,
    flights::{Flight, Flights, Ticket, shared},
    sync::{Mutex, lock},
};

/// What a wrap came to: the DEK, or why there is none.
pub(crate) type Told = Result<Arc<Dek>, ProviderError>;

/// What the wraps of one call came to, in their order.
pub(crate) type Answers = Arc<[Told]>;

/// A call that unwraps what its keys say, with a result for each in their order.
pub(crate) type Call = BoxFuture<'static, Vec<Result<Dek, ProviderError>>>;

/// Where the DEK of a wrap is to be had.
pub(crate) enum Found {
    /// It was kept, for so long.
    Kept(Arc<Dek>, Duration),
    /// From a call that is under way: at this place of its answers.
    Flying(Flight<Answers>, usize),
}

pub(crate) struct Store {
    limits: CacheLimits,
    hasher: DefaultHashBuilder,
    pub(crate) counters: Counters,
    state: Mutex<State>,
}

struct State {
    /// From the one that was used least recently to the one that was used last.
    kept: LinkedHashMap<Arc<Key>, Kept, DefaultHashBuilder>,
    flights: Flights<Arc<Key>, Answers>,
    invalidations: u64,
    purged: Instant,
}

/// The DEK wipes itself when it is dropped here and no call is copying from it.
struct Kept {
    dek: Arc<Dek>,
    since: Instant,
    uses: u64,
}

impl Store {
    pub(crate) fn new(limits: CacheLimits, now: Instant) -> Self {
        let kept = LinkedHashMap::with_hasher(DefaultHashBuilder::default());
        let state = State { kept, flights: Flights::new(), invalidations: 0, purged: now };
        Self {
            limits,
            hasher: DefaultHashBuilder::default(),
            counters: Counters::default(),
            state: Mutex::new(state),
        }
    }

    pub(crate) fn limits(&self) -> &CacheLimits {
        &self.limits
    }

    /// Where the DEK of a wrap is to be had. If it is neither kept nor under way, a call for its key is begun.
    pub(crate) fn find_one<C>(
        self: &Arc<Self>,
        asked: &Asked<'_>,
        now: Instant,
        begin: impl FnOnce(Arc<Key>) -> C,
    ) -> Found
    where
        C: Future<Output = Result<Dek, ProviderError>> + Send + 'static,
    {
        let hash = asked.hash_by(&self.hasher);
        let mut state = lock(&self.state);
        if let Some((dek, age)) = self.take_use(&mut state, asked, hash, now) {
            return Found::Kept(dek, age);
        }
        let key = Arc::new(Key::new(asked, hash));
        if let Some(found) = self.join_flight(&mut state, &key, now) {
            return found;
        }
        let misses = [Miss { key: Arc::clone(&key), passengers: 1 }];
        let call = || begin(key).map(|answer| [answer]);
        Found::Flying(self.take_off(&mut state, &misses, now, call), 0)
    }

    /// Where the DEK of each wrap is to be had. For those that are neither kept nor under way, one call is begun with
    /// their keys.
    pub(crate) fn find(
        self: &Arc<Self>,
        asked: &[Asked<'_>],
        now: Instant,
        begin: impl FnOnce(Vec<Arc<Key>>) -> Call,
    ) -> Vec<Found> {
        let mut state = lock(&self.state);
        let mut misses: Vec<Miss> = Vec::new();
        let mut found = Vec::with_capacity(asked.len());
        for asked in asked {
            let hash = asked.hash_by(&self.hasher);
            found.push(match self.take_use(&mut state, asked, hash, now) {
                Some((dek, age)) => Ok(Found::Kept(dek, age)),
                None => self.join(&mut state, Arc::new(Key::new(asked, hash)), now, &mut misses),
            });
        }
        let begin = || begin(misses.iter().map(|miss| Arc::clone(&miss.key)).collect());
        let flight = (!misses.is_empty()).then(|| self.take_off(&mut state, &misses, now, begin));
        drop(state);
        let flying = |place| flight.clone().map(|flight| Found::Flying(flight, place));
        // There is a flight if there is a miss.
        found.into_iter().filter_map(|found| found.map_or_else(flying, Some)).collect()
    }

    /// A flight that is listed or, as an error, the place among the misses: the same wrap may be asked for twice.
    fn join(
        &self,
        state: &mut State,
        key: Arc<Key>,
        now: Instant,
        misses: &mut Vec<Miss>,
    ) -> Result<Found, usize> {
        if let Some(found) = self.join_flight(state, &key, now) {
            return Ok(found);
        }
        let same = |miss: &Miss| miss.key == key && miss.passengers < self.limits.uses;
        if let Some(place) = misses.iter().position(same) {
            add(&self.counters.joined, 1);
            misses[place].passengers += 1;
            return Err(place);
        }
        misses.push(Miss { key, passengers: 1 });
        Err(misses.len() - 1)
    }

    fn join_flight(&self, state: &mut State, key: &Arc<Key>, now: Instant) -> Option<Found> {
        let (flight, place) = state.flights.join(key, self.limits.uses, self.limits.age, now)?;
        add(&self.counters.joined, 1);
        Some(Found::Flying(flight, place))
    }

    fn take_off<C, A>(
        self: &Arc<Self>,
        state: &mut State,
        misses: &[Miss],
        now: Instant,
        begin: impl FnOnce() -> C,
    ) -> Flight<Answers>
    where
        C: Future<Output = A> + Send + 'static,
        A: IntoIterator<Item = Result<Dek, ProviderError>>,
    {
        add(&self.counters.misses, misses.len() as u64);
        add(&self.counters.calls, 1);
        let listings: Arc<[_]> =
            misses.iter().map(|miss| (Arc::clone(&miss.key), state.flights.ticket())).collect();
        let landing = Landing {
            store: Arc::clone(self),
            listings: Arc::clone(&listings),
            begun: now,
            has_landed: false,
        };
        let call = AssertUnwindSafe(begin()).catch_unwind();
        let flight = shared(async move { landing.land(call.await.ok()) });
        for (place, ((key, ticket), miss)) in listings.iter().zip(misses).enumerate() {
            state.flights.list(Arc::clone(key), *ticket, &flight, place, miss.passengers, now);
        }
        flight
    }

    fn take_use(
        &self,
        state: &mut State,
        asked: &Asked<'_>,
        hash: u64,
        now: Instant,
    ) -> Option<(Arc<Dek>, Duration)> {
        let in_map = state.kept.hasher().hash_one(hash);
        let RawEntryMut::Occupied(mut entry) =
            state.kept.raw_entry_mut().from_hash(in_map, |key| key.is_found_by(hash, asked))
        else {
            return None;
        };
        let kept = entry.get_mut();
        if self.limits.is_over(kept.since, now) {
            entry.remove();
            add(&self.counters.expired, 1);
            return None;
        }
        let age = now.duration_since(kept.since);
        kept.uses += 1;
        add(&self.counters.hits, 1);
        if kept.uses < self.limits.uses {
            let dek = Arc::clone(&kept.dek);
            entry.to_back();
            return Some((dek, age));
        }
        add(&self.counters.used_up, 1);
        Some((entry.remove().dek, age))
    }

    /// A mark for [`keep_unless`](Self::keep_unless).
    pub(crate) fn invalidations(&self) -> u64 {
        lock(&self.state).invalidations
    }

    /// Keeps a DEK that was asked for at `since` unless anything was invalidated after `mark` was taken.
    pub(crate) fn keep_unless(
        &self,
        mark: u64,
        asked: &Asked<'_>,
        dek: Arc<Dek>,
        since: Instant,
        now: Instant,
    ) {
        let key = Arc::new(Key::new(asked, asked.hash_by(&self.hasher)));
        let mut state = lock(&self.state);
        if state.invalidations == mark {
            // Who had it generated is the first that it was handed out to.
            self.keep(&mut state, key, Kept { dek, since, uses: 1 }, now);
        }
    }

    fn keep(&self, state: &mut State, key: Arc<Key>, kept: Kept, now: Instant) {
        if kept.uses >= self.limits.uses {
            add(&self.counters.used_up, 1);
            return;
        }
        if self.limits.is_over(kept.since, now) {
            add(&self.counters.expired, 1);
            return;
        }
        state.kept.insert(key, kept);
        // Often enough that nothing stays for long, and seldom enough to cost nothing.
        if now.duration_since(state.purged) >= self.limits.age / 2 {
            self.purge(state, now);
        }
        while state.kept.len() > self.limits.entries {
            state.kept.pop_front();
            add(&self.counters.evicted, 1);
        }
    }

    fn purge(&self, state: &mut State, now: Instant) -> usize {
        let before = state.kept.len();
        state.kept.retain(|_, kept| !self.limits.is_over(kept.since, now));
        state.purged = now;
        let purged = before - state.kept.len();
        add(&self.counters.expired, purged as u64);
        purged
    }

    /// Drops what is too old, and tells how much that was.
    pub(crate) fn purge_expired(&self, now: Instant) -> usize {
        self.purge(&mut lock(&self.state), now)
    }

    /// Drops every DEK of the key, and what is under way for it is not kept. Of the keys of `identity` only, if one
    /// is given.
    pub(crate) fn invalidate(&self, key: &KeyUri, identity: Option<ProviderIdentity>) {
        self.invalidate_where(&mut lock(&self.state), |kept| kept.is_of(key, identity));
    }

    /// Drops the DEK of one wrap, and what is under way for it is not kept. Nothing else is looked at: whoever changes
    /// headers can have it called as often as they like.
    pub(crate) fn drop_one(&self, asked: &Asked<'_>) {
        let key = Arc::new(Key::new(asked, asked.hash_by(&self.hasher)));
        let mut state = lock(&self.state);
        state.flights.forget(&key);
        if state.kept.remove(&key).is_some() {
            add(&self.counters.invalidated, 1);
        }
    }

    /// Drops all.
    pub(crate) fn clear(&self) {
        self.invalidate_where(&mut lock(&self.state), |_| true);
    }

    fn invalidate_where(&self, state: &mut State, is_such: impl Fn(&Key) -> bool) {
        state.invalidations += 1;
        state.flights.end_where(|key| is_such(key));
        let before = state.kept.len();
        state.kept.retain(|key, _| !is_such(key));
        add(&self.counters.invalidated, (before - state.kept.len()) as u64);
    }

    /// Drops what a refusal of the key store says may no longer be used.
    pub(crate) fn heed(&self, error: &ProviderError, key: &KeyUri, source: &Source) {
        self.heed_in(&mut lock(&self.state), error, key, source);
    }

    fn heed_in(&self, state: &mut State, error: &ProviderError, key: &KeyUri, source: &Source) {
        let identity = match error.kind() {
            // Of the key itself, whoever asks.
            KeyIsInState => None,
            // Of what these credentials may use.
            NotFound | AccessDenied => Some(source.identity),
            _ => return,
        };
        if let Some(key) = source.meant_by(key) {
            self.invalidate_where(state, |kept| kept.is_of(&key, identity));
        }
    }

    /// How many DEKs are kept, and how many wraps are being unwrapped.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        let state = lock(&self.state);
        (state.kept.len(), state.flights.len())
    }
}

struct Miss {
    key: Arc<Key>,
    passengers: u64,
}

/// What is done when a call has ended, and when it is dropped before.
struct Landing {
    store: Arc<Store>,
    listings: Arc<[(Arc<Key>, Ticket)]>,
    begun: Instant,
    has_landed: bool,
}

impl Landing {
    fn land(mut self, answers: Option<impl IntoIterator<Item = Result<Dek, ProviderError>>>) -> Answers {
        self.has_landed = true;
        let listings = Arc::clone(&self.listings);
        let problem = if answers.is_none() { PANICKED } else { TOO_FEW };
        let mut answers = answers.into_iter().flatten();
        let tell = |(key, _): &(Arc<Key>, Ticket)| match answers.next() {
            Some(answer) => answer.map(Arc::new),
            None => Err(key.error(problem.0, problem.1)),
        };
        let told: Answers = listings.iter().map(tell).collect();

        let (store, now) = (&self.store, Instant::now());
        let mut state = lock(&store.state);
        for ((key, ticket), told) in listings.iter().zip(&*told) {
            let listed = state.flights.end(key, *ticket);
            if let (Some(uses), Ok(dek)) = (listed, told) {
                let kept = Kept { dek: Arc::clone(dek), since: self.begun, uses };
                store.keep(&mut state, Arc::clone(key), kept, now);
            }
        }
        // After the others: they may be of the same key.
        for ((key, _), told) in listings.iter().zip(&*told) {
            if let Err(error) = told {
                store.heed_in(&mut state, error, key.wrapped.key_uri(), key.source());
            }
        }
        drop(state);
        told
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        if !self.has_landed {
            let mut state = lock(&self.store.state);
            for (key, ticket) in &*self.listings {
                state.flights.end(key, *ticket);
            }
        }
    }
}

const PANICKED: (ProviderErrorKind, &str) = (ProviderErrorKind::Other, "the call panicked, and gave no DEK");
const TOO_FEW: (ProviderErrorKind, &str) = (
    ProviderErrorKind::Protocol,
    "it gave fewer results than there were wraps: do not trust what answers for this key",
);
