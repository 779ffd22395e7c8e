//! [`Session`]: a token, and how long it lives.

use std::time::Duration;

use envelope_sdk::ProviderError;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use crate::{
    call::{Call, Failed},
    error::refusal,
    reach::{Inner, Opened},
};

/// What is known of a token that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Unknown,
    /// It is a token: what it may do does not suffice.
    Alive,
    /// It has expired, was revoked, or never was one; or may not even look at itself.
    Dead,
}

/// A token that is used until it is refused, or over.
pub(crate) struct Session {
    token: Option<HeaderValue>,
    number: u64,
    life: Option<Life>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Life {
    /// When to see to it that it goes on.
    due: Instant,
    ends: Instant,
    /// How long it was at first, which a renewal reaches unless the end of all renewals is near.
    whole: Duration,
    is_renewable: bool,
    is_short: bool,
}

impl Life {
    /// `None` for one without an end.
    fn of(seconds: u64, is_renewable: bool, whole: Option<Duration>) -> Option<Self> {
        if seconds == 0 {
            return None;
        }
        let (now, left) = (Instant::now(), Duration::from_secs(seconds));
        let whole = whole.unwrap_or(left);
        // Beyond what the clock can say it has no end.
        let ends = now.checked_add(left)?;
        Some(Self { due: now + left / 3 * 2, ends, whole, is_renewable, is_short: left <= whole / 2 })
    }
}

#[derive(Deserialize)]
struct LookedUp {
    ttl: u64,
    #[serde(default)]
    renewable: bool,
}

#[derive(Deserialize)]
struct Renewed {
    auth: Lease,
}

#[derive(Deserialize)]
pub(super) struct Lease {
    pub(super) lease_duration: u64,
    #[serde(default)]
    pub(super) renewable: bool,
}

impl Session {
    pub(crate) fn look_up() -> Call {
        Call::read("auth/token/lookup-self")
    }

    pub(super) fn without_token(number: u64) -> Self {
        Self { token: None, number, life: None }
    }

    pub(super) fn of_lease(token: HeaderValue, number: u64, lease: &Lease) -> Self {
        let life = Life::of(lease.lease_duration, lease.renewable, None);
        Self { token: Some(token), number, life }
    }

    /// Asks how long the token lives. One that may not look at itself is used as it is.
    pub(super) async fn of_token(
        token: HeaderValue,
        number: u64,
        inner: &Inner,
        opened: &Opened,
    ) -> Result<Self, ProviderError> {
        let call = Self::look_up();
        let life = match inner.ask(opened, &call, Some(&token)).await {
            Ok(answer) => answer.data::<LookedUp>().and_then(|told| Life::of(told.ttl, told.renewable, None)),
            // The call that wanted the token is refused too if it is none, and says more.
            Err(Failed::Refused(refused))
                if (400..500).contains(&refused.status) && refused.status != 429 =>
            {
                None
            }
            Err(failed) => return Err(refusal(&call, None, &failed)),
        };
        Ok(Self { token: Some(token), number, life })
    }

    pub(crate) fn token(&self) -> Option<&HeaderValue> {
        self.token.as_ref()
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Whether it is as it should be.
    pub(crate) fn serves(&self, stale: Option<u64>) -> bool {
        stale != Some(self.number) && self.life.is_none_or(|life| Instant::now() < life.due)
    }

    pub(super) fn is_over(&self) -> bool {
        self.life.is_some_and(|life| Instant::now() >= life.ends)
    }

    /// Whether renewals will soon not help any more.
    pub(super) fn is_at_its_end(&self) -> bool {
        self.life.is_some_and(|life| life.is_short)
    }

    /// The same, to be looked at later: it serves as long as the server says so.
    pub(super) fn later(&self) -> Self {
        let life = self.life.and_then(|mut life| {
            let now = Instant::now();
            let left = life.ends.saturating_duration_since(now);
            // Over: nothing that could be renewed.
            if left.is_zero() {
                return None;
            }
            life.due = now + (left / 2).max(SHORTEST_REST);
            Some(life)
        });
        Self { token: self.token.clone(), number: self.number, life }
    }

    /// The same, renewed. `Err` when it cannot be.
    pub(super) async fn renew(&self, inner: &Inner, opened: &Opened) -> Result<Self, ()> {
        let Some(life) = self.life.filter(|life| life.is_renewable) else { return Err(()) };
        if self.is_over() {
            return Err(());
        }
        let call = Call::write("auth/token/renew-self").json(&json!({})).repeatable();
        let answer = inner.ask(opened, &call, self.token()).await.map_err(drop)?;
        let Renewed { auth } = answer.read().ok_or(())?;
        let life = Life::of(auth.lease_duration, auth.renewable, Some(life.whole));
        Ok(Self { token: self.token.clone(), number: self.number, life })
    }
}

/// Between two tries to renew.
const SHORTEST_REST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_renewed_at_two_thirds_and_one_without_end_never() {
        assert_eq!(Life::of(0, true, None), None);
        let life = Life::of(90, true, None).unwrap();
        assert_eq!(life.ends - life.due, Duration::from_secs(30));
        assert!(!life.is_short);
        assert_eq!(Life::of(u64::MAX, true, None), None);
    }

    #[test]
    fn a_renewal_that_reaches_no_more_than_half_of_the_first_life_is_near_the_end() {
        let of = |seconds| Life::of(seconds, true, Some(Duration::from_secs(100))).unwrap().is_short;
        assert!(of(50) && !of(51) && !of(100));
    }
}
