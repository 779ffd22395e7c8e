//! How many handshakes and connections there are, and of whom.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

use super::{Limits, Refusal};

/// Counts handshakes and connections.
pub(crate) struct Slots {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    /// The oldest first.
    handshakes: VecDeque<Waiting>,
    connections: usize,
    of_client: HashMap<Box<str>, usize>,
    of_address: HashMap<IpAddr, usize>,
}

struct Waiting {
    id: u64,
    network: IpAddr,
    displaced: CancellationToken,
}

impl Slots {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, state: Mutex::default() })
    }

    /// Begins a handshake. There is always room: the oldest gives way, or the oldest of an address that has many. Whoever means it
    /// needs milliseconds, and whoever opens connections and waits is what goes.
    pub(crate) fn begin(self: &Arc<Self>, address: IpAddr) -> Handshake {
        let network = network_of(address);
        let mut state = self.state();
        let most = self.limits.handshakes.get();
        let mut own = state.handshakes.iter().enumerate().filter(|(_, waiting)| waiting.network == network);
        let oldest_own = own.next().map(|(at, _)| at);
        let has_many = oldest_own.is_some() && own.count() + 1 >= most.div_ceil(4);
        if has_many || state.handshakes.len() >= most {
            let at = oldest_own.filter(|_| has_many).unwrap_or(0);
            if let Some(oldest) = state.handshakes.remove(at) {
                oldest.displaced.cancel();
            }
        }
        let id = state.next;
        state.next += 1;
        let displaced = CancellationToken::new();
        state.handshakes.push_back(Waiting { id, network, displaced: displaced.clone() });
        Handshake { slots: Arc::clone(self), id, network, displaced }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handshake that is under way.
pub(crate) struct Handshake {
    slots: Arc<Slots>,
    id: u64,
    network: IpAddr,
    displaced: CancellationToken,
}

impl Handshake {
    /// Ends when the handshake has to give way.
    pub(crate) async fn displaced(&self) {
        self.displaced.cancelled().await;
    }

    /// Becomes a connection of this client.
    pub(crate) fn connect(self, client: &str) -> Result<Connection, Refusal> {
        let limits = &self.slots.limits;
        let mut state = self.slots.state();
        if state.connections >= limits.connections.get() {
            return Err(Refusal::TooManyConnections);
        }
        if state.of_client.get(client).is_some_and(|count| *count >= limits.connections_of_client.get()) {
            return Err(Refusal::TooManyOfClient);
        }
        if state
            .of_address
            .get(&self.network)
            .is_some_and(|count| *count >= limits.connections_of_address.get())
        {
            return Err(Refusal::TooManyOfAddress);
        }
        state.connections += 1;
        *state.of_client.entry(client.into()).or_default() += 1;
        *state.of_address.entry(self.network).or_default() += 1;
        drop(state);
        Ok(Connection { slots: Arc::clone(&self.slots), client: client.into(), network: self.network })
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.slots.state().handshakes.retain(|waiting| waiting.id != self.id);
    }
}

/// A connection that is open.
pub(crate) struct Connection {
    slots: Arc<Slots>,
    client: Box<str>,
    network: IpAddr,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut state = self.slots.state();
        state.connections -= 1;
        give_back(&mut state.of_client, &self.client);
        give_back(&mut state.of_address, &self.network);
    }
}

fn give_back<K: std::hash::Hash + Eq + Clone>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// An IPv4 address, or the /64 of an IPv6 address, which one machine may have all of.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) >> 64 << 64).into(),
        four => four,
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;

    fn slots(change: impl FnOnce(&mut Limits)) -> Arc<Slots> {
        let mut limits = Limits::default();
        change(&mut limits);
        Slots::new(limits)
    }

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn the_oldest_handshake_gives_way_to_a_new_one() {
        let slots = slots(|limits| limits.handshakes = NonZeroUsize::new(4).unwrap());
        let waiting: Vec<_> = (0..5).map(|last| slots.begin(address(last))).collect();
        let displaced: Vec<_> = waiting.iter().map(|handshake| handshake.displaced.is_cancelled()).collect();
        assert_eq!(displaced, [true, false, false, false, false]);
        drop(waiting);
        assert_eq!(slots.state().handshakes.len(), 0);
    }

    #[test]
    fn an_address_with_many_handshakes_displaces_its_own() {
        let slots = slots(|limits| limits.handshakes = NonZeroUsize::new(8).unwrap());
        let other = slots.begin(address(1));
        let waiting: Vec<_> = (0..100).map(|_| slots.begin(address(2))).collect();
        assert!(!other.displaced.is_cancelled());
        assert_eq!(waiting.iter().filter(|handshake| !handshake.displaced.is_cancelled()).count(), 2);
        assert!(!waiting[99].displaced.is_cancelled());
    }

    #[test]
    fn each_limit_of_connections_says_which_it_is_and_gives_back() {
        let slots = slots(|limits| {
            limits.connections = NonZeroUsize::new(4).unwrap();
            limits.connections_of_client = NonZeroUsize::new(2).unwrap();
            limits.connections_of_address = NonZeroUsize::new(3).unwrap();
        });
        let connect = |last, client| slots.begin(address(last)).connect(client);
        let first = connect(1, "a").unwrap();
        let _second = connect(1, "a").unwrap();
        assert_eq!(connect(2, "a").err(), Some(Refusal::TooManyOfClient));
        let _third = connect(1, "b").unwrap();
        assert_eq!(connect(1, "c").err(), Some(Refusal::TooManyOfAddress));
        let _fourth = connect(2, "c").unwrap();
        assert_eq!(connect(3, "d").err(), Some(Refusal::TooManyConnections));
        drop(first);
        assert!(connect(3, "a").is_ok());
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_are_one() {
        let of = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
