//! The data keys in memory and those that are being made or opened, behind one lock.

use std::sync::{Arc, Weak};

use envelope_sdk::{ContextError, DataKey, EncryptionContext, KeyUri, WrappedDek};
use hashlink::LinkedHashMap;
use tokio::time::Instant;

use super::{DataKeyId, DataKeysError, limits::DataKeyLimits, meter::Meter};
use crate::{
    flights::{Flight, Flights, Ticket},
    key_states::may_stand_for,
    sync::{Mutex, lock},
};

/// A data key in memory. Its DEK is wiped with it.
pub(crate) struct HeldKey {
    pub(crate) id: DataKeyId,
    pub(crate) data_key: DataKey,
    pub(crate) meter: Meter,
}

impl HeldKey {
    /// Seals nothing more if it has such a wrap, and says whether it has.
    fn ends_if(&self, is_such: impl Fn(&WrappedDek) -> bool) -> bool {
        let has = self.data_key.header().recipients().iter().any(is_such);
        if has {
            self.meter.end();
        }
        has
    }
}

/// What a data key that is made or opened comes to.
pub(crate) type Outcome = Result<Arc<HeldKey>, DataKeysError>;

/// A context as keys of a map: all that is bound, and which entries are withheld.
pub(crate) type ContextKey = Arc<[u8]>;

pub(crate) fn context_key(context: &EncryptionContext) -> Result<ContextKey, ContextError> {
    let mut key = context.full()?.as_bytes().to_vec();
    key.extend(context.iter().map(|(_, _, withheld)| u8::from(withheld)));
    Ok(key.into())
}

/// What is to be had.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Wanted {
    /// A new data key for a context.
    New(ContextKey),
    /// A stored one, as somebody who demands this context opens it.
    Stored(DataKeyId, ContextKey),
}

pub(crate) struct Held {
    limits: DataKeyLimits,
    state: Mutex<State>,
}

/// Both maps are from what was used least recently to what was used last.
struct State {
    current: LinkedHashMap<ContextKey, Arc<HeldKey>>,
    /// What was made here and may still seal: whoever holds one does so also when it has left both maps.
    sealing: Vec<Weak<HeldKey>>,
    opened: LinkedHashMap<(DataKeyId, ContextKey), (Arc<HeldKey>, Instant)>,
    flights: Flights<Wanted, Outcome>,
    purged: Instant,
}

/// A data key that is there, or is coming.
pub(crate) enum Found {
    Here(Arc<HeldKey>),
    Flying(Flight<Outcome>),
}

impl Held {
    pub(crate) fn new(limits: DataKeyLimits, now: Instant) -> Self {
        let state = State {
            current: LinkedHashMap::new(),
            sealing: Vec::new(),
            opened: LinkedHashMap::new(),
            flights: Flights::new(),
            purged: now,
        };
        Self { limits, state: Mutex::new(state) }
    }

    /// What is `wanted`; begun if it is not there, nor on its way. Not `spent`, which its caller found to have
    /// nothing left.
    pub(crate) fn find(
        self: &Arc<Self>,
        wanted: &Wanted,
        spent: Option<DataKeyId>,
        now: Instant,
        begin: impl FnOnce(Landing) -> Flight<Outcome>,
    ) -> Found {
        let mut state = lock(&self.state);
        if let Some(held) = self.here(&mut state, wanted, spent, now) {
            return Found::Here(held);
        }
        let age = match wanted {
            Wanted::New(_) => self.limits.age,
            Wanted::Stored(..) => self.limits.opened_age,
        };
        if let Some((flight, _)) = state.flights.join(wanted, u64::MAX, age, now) {
            return Found::Flying(flight);
        }
        let ticket = state.flights.ticket();
        let landing = Landing { held: Arc::clone(self), wanted: wanted.clone(), ticket, begun: now };
        let flight = begin(landing);
        state.flights.list(wanted.clone(), ticket, &flight, 0, 1, now);
        Found::Flying(flight)
    }

    fn here(
        &self,
        state: &mut State,
        wanted: &Wanted,
        spent: Option<DataKeyId>,
        now: Instant,
    ) -> Option<Arc<HeldKey>> {
        match wanted {
            Wanted::New(context) => {
                let held = state.current.to_back(context)?;
                (Some(held.id) != spent && held.meter.is_current(now)).then(|| Arc::clone(held))
            }
            Wanted::Stored(id, context) => {
                if let Some(current) = state.current.get(context).filter(|current| current.id == *id)
                    && current.meter.is_open(now)
                {
                    return Some(Arc::clone(current));
                }
                let (held, since) = state.opened.to_back(&(*id, Arc::clone(context)))?;
                (now.duration_since(*since) < self.limits.opened_age).then(|| Arc::clone(held))
            }
        }
    }

    /// Drops what is too old, or has nothing left to seal.
    pub(crate) fn purge_expired(&self, now: Instant) -> usize {
        self.purge(&mut lock(&self.state), now)
    }

    fn purge(&self, state: &mut State, now: Instant) -> usize {
        let before = state.current.len() + state.opened.len();
        state.current.retain(|_, held| held.meter.is_open(now));
        state.opened.retain(|_, (_, since)| now.duration_since(*since) < self.limits.opened_age);
        state.purged = now;
        before - state.current.len() - state.opened.len()
    }

    /// Drops every data key that has such a wrap, and keeps nothing that is under way. Who holds one seals nothing more.
    pub(crate) fn drop_those(&self, is_such: impl Fn(&WrappedDek) -> bool) {
        let mut state = lock(&self.state);
        let stays = |held: &Arc<HeldKey>| !held.ends_if(&is_such);
        state.current.retain(|_, held| stays(held));
        state.opened.retain(|_, (held, _)| stays(held));
        state.sealing.retain(|held| held.upgrade().is_some_and(|held| stays(&held)));
        state.flights.end_where(|_| true);
    }

    /// No data key that has such a wrap seals anything more, nor one that is under way.
    pub(crate) fn end_sealing(&self, is_such: impl Fn(&WrappedDek) -> bool) {
        let mut state = lock(&self.state);
        let stays = |held: &Arc<HeldKey>| !held.ends_if(&is_such);
        state.current.retain(|_, held| stays(held));
        state.sealing.retain(|held| held.upgrade().is_some_and(|held| stays(&held)));
        state.flights.end_where(|wanted| matches!(wanted, Wanted::New(_)));
    }

    /// How many contexts have a current data key, and how many are held open.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        let state = lock(&self.state);
        (state.current.len(), state.opened.len())
    }
}

/// What is done when a data key was made or opened, and when that is dropped before.
pub(crate) struct Landing {
    held: Arc<Held>,
    wanted: Wanted,
    ticket: Ticket,
    begun: Instant,
}

impl Landing {
    /// Keeps the data key, unless something was invalidated meanwhile.
    pub(crate) fn land(self, outcome: Outcome) -> Outcome {
        let (limits, now) = (&self.held.limits, Instant::now());
        let mut state = lock(&self.held.state);
        let listed = state.flights.end(&self.wanted, self.ticket).is_some();
        let held = outcome?;
        if !listed {
            held.meter.end();
            return Ok(held);
        }
        if now.duration_since(state.purged) >= limits.opened_age / 2 {
            self.held.purge(&mut state, now);
        }
        let opened = match &self.wanted {
            Wanted::New(context) => {
                // Before it would grow, so that it has at most twice as many as can still seal.
                if state.sealing.len() == state.sealing.capacity() {
                    let may_seal = |held: Arc<HeldKey>| held.meter.is_open(now);
                    state.sealing.retain(|held| held.upgrade().is_some_and(may_seal));
                }
                state.sealing.push(Arc::downgrade(&held));
                state.current.insert(Arc::clone(context), Arc::clone(&held));
                (held.id, Arc::clone(context))
            }
            Wanted::Stored(id, context) => (*id, Arc::clone(context)),
        };
        state.opened.insert(opened, (Arc::clone(&held), self.begun));
        while state.current.len() > limits.contexts {
            state.current.pop_front();
        }
        while state.opened.len() > limits.opened {
            state.opened.pop_front();
        }
        drop(state);
        Ok(held)
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        // When it has landed, there is no such listing any more.
        lock(&self.held.state).flights.end(&self.wanted, self.ticket);
    }
}

/// Whether a wrap may be of the key that `key` means.
pub(crate) fn may_be(key: &KeyUri, wrapped: &WrappedDek) -> bool {
    let named = wrapped.key_uri();
    named == key || may_stand_for(key, named)
}
