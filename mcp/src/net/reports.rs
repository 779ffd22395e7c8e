//! What happens, told to the audit log, to metrics and to `tracing`.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use envelope_sdk::printable;
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use metrics::counter;

use crate::{Denial, Event, Failure, Kind, Recorder};

use super::{
    Client, Refusal,
    metrics::{CONNECTIONS, RELOADS, REQUESTS, UNRECORDED},
    slots::network_of,
};

/// Tells of what happens.
pub(crate) struct Reports {
    recorder: Arc<dyn Recorder>,
    /// Whoever is refused could otherwise fill the disk with that. Nobody uses up what is for the others.
    of_address: DefaultKeyedRateLimiter<IpAddr>,
    of_all: DefaultDirectRateLimiter,
    unrecorded: AtomicU64,
}

/// Whom it is about.
#[derive(Clone, Copy)]
pub(crate) struct Peer<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) client: Option<&'a Client>,
}

/// Why somebody was refused.
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    /// In words, for the log.
    pub(crate) why: Option<String>,
    /// The decision, where a policy was the reason.
    pub(crate) denial: Option<Denial>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, why: None, denial: None }
    }
}

impl Refused {
    /// Says it in words.
    pub(crate) fn since(self, why: String) -> Self {
        Self { why: Some(why), ..self }
    }
}

/// Where somebody was refused.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    Connection,
    Request,
}

impl Reports {
    pub(crate) fn new(recorder: Arc<dyn Recorder>) -> Self {
        let quota = |per_second: u32, burst: u32| {
            let at_least_one = |count: u32| NonZeroU32::MIN.saturating_add(count - 1);
            Quota::per_second(at_least_one(per_second)).allow_burst(at_least_one(burst))
        };
        Self {
            recorder,
            of_address: RateLimiter::keyed(quota(1, 20)),
            of_all: RateLimiter::direct(quota(50, 500)),
            unrecorded: AtomicU64::new(0),
        }
    }

    /// Somebody was refused. The record has how many came before it without one.
    pub(crate) async fn refused(&self, peer: Peer<'_>, at: At, refused: impl Into<Refused>) {
        let Refused { refusal, why, denial } = refused.into();
        let (operation, metric) = match at {
            At::Connection => (CONNECT, CONNECTIONS),
            At::Request => (REQUEST, REQUESTS),
        };
        counter!(metric, "outcome" => refusal.name()).increment(1);
        let client = peer.client.map(Client::name);
        tracing::info!(address = %peer.address, client, reason = refusal.name(), why, "{operation} refused");
        if !self.may_record(peer.address.ip()) {
            self.unrecorded.fetch_add(1, Ordering::Relaxed);
            counter!(UNRECORDED).increment(1);
            return;
        }
        let kind = if refusal.is_limit() { Kind::Other } else { Kind::KeyRefused };
        let mut event = about(peer, operation, Some(kind)).with("reason", refusal.name()).denied(denial);
        if let Some(why) = why {
            event = event.with("why", printable::cut(&why, 256));
        }
        let unrecorded = self.unrecorded.swap(0, Ordering::Relaxed);
        if unrecorded > 0 {
            event = event.with("unrecorded-before", unrecorded.to_string());
        }
        if let Err(error) = self.recorder.record(&event).await {
            self.unrecorded.fetch_add(unrecorded + 1, Ordering::Relaxed);
            tracing::error!(%error, "a refusal is not in the audit log");
        }
    }

    /// A client connects.
    pub(crate) async fn connected(&self, client: &Client, resumed: bool) -> Result<(), Failure> {
        let peer = Peer { address: client.address(), client: Some(client) };
        let event = about(peer, CONNECT, None).with("resumed", resumed.to_string());
        self.recorder.record(&event).await?;
        counter!(CONNECTIONS, "outcome" => "ok").increment(1);
        tracing::info!(address = %client.address(), client = client.name(), resumed, "connected");
        Ok(())
    }

    /// Files were read again, or could not be.
    pub(crate) async fn reloaded(&self, outcome: Result<(), &str>) {
        let event = match outcome {
            Ok(()) => Event::new(SERVER, RELOAD, None),
            Err(why) => {
                tracing::error!(
                    why,
                    "certificates are not as they must be: what was there before stays in use"
                );
                Event::new(SERVER, RELOAD, Some(Kind::InputOutput)).with("why", printable::cut(why, 512))
            }
        };
        counter!(RELOADS, "outcome" => if outcome.is_ok() { "ok" } else { "failed" }).increment(1);
        if let Err(error) = self.recorder.record(&event).await {
            tracing::error!(%error, "a change of certificates is not in the audit log");
        }
    }

    /// The server begins or ends.
    pub(crate) async fn server(&self, operation: &'static str, address: SocketAddr) -> Result<(), Failure> {
        self.recorder.record(&Event::new(SERVER, operation, None).with("address", address.to_string())).await
    }

    fn may_record(&self, address: IpAddr) -> bool {
        if self.of_address.len() > MANY {
            // Full buckets are as good as none.
            self.of_address.retain_recent();
        }
        let is_known = self.of_address.len() <= MANY;
        is_known && self.of_address.check_key(&network_of(address)).is_ok() && self.of_all.check().is_ok()
    }
}

fn about(peer: Peer<'_>, operation: &'static str, failure: Option<Kind>) -> Event {
    let actor = peer.client.map_or(UNIDENTIFIED, |client| client.caller().actor());
    let event = Event::new(actor, operation, failure);
    match peer.client {
        Some(client) => Event { details: client.facts(), ..event },
        None => event.with("address", peer.address.to_string()),
    }
}

pub(crate) const START: &str = "mcp-start";
pub(crate) const STOP: &str = "mcp-stop";
/// Who has no certificate that is believed. No client has that name.
const UNIDENTIFIED: &str = "mcp:unidentified";
/// The server itself: no name of a client is empty.
const SERVER: &str = "mcp:";
const CONNECT: &str = "mcp-connect";
const REQUEST: &str = "mcp-request";
const RELOAD: &str = "mcp-reload";

/// Addresses of which it is known how often they were refused.
const MANY: usize = 16 * 1024;
