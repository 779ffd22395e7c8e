//! [`Flights`]: the calls that are under way, so that whoever wants the same waits for the one that there is.

use std::{collections::HashMap, hash::Hash, time::Duration};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use hashlink::DefaultHashBuilder;
use tokio::time::Instant;

/// A call that several wait for. Each of them drives it when polled, so it goes on when the one that began it is
/// dropped, and is gone when nobody waits.
pub(crate) type Flight<T> = Shared<BoxFuture<'static, T>>;

/// Calls under way by what they are about. It holds none of them alive.
///
/// To be listed here is the permission to keep what the call returns: what ends a listing (an invalidation, a later
/// call for the same) takes the permission away, and those who wait are told all the same.
pub(crate) struct Flights<K, T> {
    listed: HashMap<K, Listed<T>, DefaultHashBuilder>,
    last: u64,
}

struct Listed<T> {
    number: u64,
    flight: WeakShared<BoxFuture<'static, T>>,
    place: usize,
    passengers: u64,
    begun: Instant,
}

/// One listing, which no later one is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

impl<K: Eq + Hash, T> Flights<K, T> {
    /// No call.
    pub(crate) fn new() -> Self {
        Self { listed: HashMap::default(), last: 0 }
    }

    /// A number for a listing.
    pub(crate) fn ticket(&mut self) -> Ticket {
        self.last += 1;
        Ticket(self.last)
    }

    /// Lists `flight`, begun now, whose answer about `key` is at `place`, with so many who wait for it. An earlier one
    /// about `key` is no longer listed.
    pub(crate) fn list(
        &mut self,
        key: K,
        ticket: Ticket,
        flight: &Flight<T>,
        place: usize,
        passengers: u64,
        now: Instant,
    ) {
        // `None` once it has been polled to its end, which nobody did yet.
        if let Some(flight) = flight.downgrade() {
            self.listed.insert(key, Listed { number: ticket.0, flight, place, passengers, begun: now });
        }
    }

    /// One more waits for the call about `key`, unless `most` do, or it is as old as `age`: what it asked may be
    /// answered otherwise by now.
    pub(crate) fn join(
        &mut self,
        key: &K,
        most: u64,
        age: Duration,
        now: Instant,
    ) -> Option<(Flight<T>, usize)> {
        let may_join =
            |listed: &&mut Listed<T>| listed.passengers < most && now.duration_since(listed.begun) < age;
        let listed = self.listed.get_mut(key).filter(may_join)?;
        let flight = listed.flight.upgrade()?;
        listed.passengers += 1;
        Some((flight, listed.place))
    }

    /// Ends a listing, and tells how many waited; `None` when it had ended before.
    pub(crate) fn end(&mut self, key: &K, ticket: Ticket) -> Option<u64> {
        if self.listed.get(key)?.number != ticket.0 {
            return None;
        }
        self.listed.remove(key).map(|listed| listed.passengers)
    }

    /// Ends the listing of the call about this key, if there is one.
    pub(crate) fn forget(&mut self, key: &K) {
        self.listed.remove(key);
    }

    /// Ends the listing of each call about such a key.
    pub(crate) fn end_where(&mut self, is_such: impl Fn(&K) -> bool) {
        self.listed.retain(|key, _| !is_such(key));
    }

    /// How many are listed.
    pub(crate) fn len(&self) -> usize {
        self.listed.len()
    }
}

/// A call that can be shared.
pub(crate) fn shared<T: Clone>(call: impl Future<Output = T> + Send + 'static) -> Flight<T> {
    call.boxed().shared()
}
