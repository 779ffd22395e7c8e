//! How often a client may ask: a token bucket for each.

use std::num::NonZeroU32;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// Requests of each client.
pub(crate) struct Requests(DefaultKeyedRateLimiter<Box<str>>);

impl Requests {
    pub(crate) fn new(per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        Self(RateLimiter::keyed(Quota::per_second(per_second).allow_burst(burst)))
    }

    /// Takes one from what this client has left, if there is one.
    pub(crate) fn take(&self, client: &str) -> bool {
        if self.0.len() > MANY_CLIENTS {
            // Full buckets are as good as none.
            self.0.retain_recent();
        }
        self.0.check_key(&client.into()).is_ok()
    }
}

/// A certificate that can be issued for any name is a matter of the authority, but memory is one of ours.
const MANY_CLIENTS: usize = 10_000;
