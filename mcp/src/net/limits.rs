//! [`Limits`]: how much of everything, and how long.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

/// How much of everything, and how long. The defaults suit a handful of agents.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Handshakes at a time, 128. When another comes, the oldest gives way; of an address that has more than a quarter of them, its own.
    pub handshakes: NonZeroUsize,
    /// Connections at a time, 512.
    pub connections: NonZeroUsize,
    /// Connections of one client at a time, by its name, 32.
    pub connections_of_client: NonZeroUsize,
    /// Connections of one address at a time, 128. An IPv6 address stands for its /64.
    pub connections_of_address: NonZeroUsize,
    /// Requests of one client per second, 100, by its name. A connection counts as one.
    pub requests_per_second: NonZeroU32,
    /// Requests of one client at once, 200.
    pub burst: NonZeroU32,
    /// Bytes of a request's header, 16 KiB.
    pub header: usize,
    /// Bytes of a request's body, 1 MiB.
    pub body: usize,
    /// Time of a handshake, 10 s.
    pub handshake_time: Duration,
    /// Time until the header of the next request has come, with the wait for it, 60 s.
    pub idle_time: Duration,
    /// Time of a body, 30 s.
    pub body_time: Duration,
    /// Time in which a client takes some of an answer, 30 s.
    pub stall_time: Duration,
    /// Time of a call, 5 min, with its answer.
    pub call_time: Duration,
    /// Time of a connection, 1 h. What is under way ends first.
    pub connection_time: Duration,
    /// Time that is left to calls when the server ends, 10 s.
    pub drain_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshakes: count(128),
            connections: count(512),
            connections_of_client: count(32),
            connections_of_address: count(128),
            requests_per_second: NonZeroU32::MIN.saturating_add(99),
            burst: NonZeroU32::MIN.saturating_add(199),
            header: 16 * 1024,
            body: 1024 * 1024,
            handshake_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(60),
            body_time: Duration::from_secs(30),
            stall_time: Duration::from_secs(30),
            call_time: Duration::from_secs(5 * 60),
            connection_time: Duration::from_secs(60 * 60),
            drain_time: Duration::from_secs(10),
        }
    }
}

const fn count(of: usize) -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(of - 1)
}
