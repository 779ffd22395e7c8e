//! A future that is dropped at any of its awaits leaves nothing behind: no call under way, and the next call
//! works. That no secret stays in memory: `zeroize/`.

#![allow(
    clippy::cast_possible_truncation,
    clippy::needless_pass_by_value,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that goes wrong shall stop"
)]

mod common;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use common::{block_on, context};
use envelope_sdk::{Envelope, Hedging, KeyProvider, KeyUri, Keyring, Timer, WrapPolicy};
use envelope_testkit::{MemoryProvider, YieldingProvider, dropped_after};

/// A clock that is as late as somebody waited for, so that each wait is over a poll later.
#[derive(Default)]
struct Jumping(Mutex<Duration>);

#[async_trait]
impl Timer for Jumping {
    fn now(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    async fn sleep_until(&self, time: Duration) {
        let mut is_first = true;
        std::future::poll_fn(|_| {
            if std::mem::take(&mut is_first) {
                return std::task::Poll::Pending;
            }
            std::task::Poll::Ready(())
        })
        .await;
        let mut now = self.0.lock().unwrap();
        *now = time.max(*now);
    }
}

struct Rig {
    providers: [Arc<YieldingProvider>; 2],
    envelope: Envelope,
}

impl Rig {
    /// Two keys of two providers, or of one.
    fn new(change: fn(MemoryProvider) -> MemoryProvider, is_one: bool, hedges: bool) -> Self {
        let keys = ["a", "b"].map(MemoryProvider::key);
        let of = |keys: &[KeyUri]| {
            let memory = keys.iter().fold(change(MemoryProvider::new()), MemoryProvider::with_key);
            Arc::new(YieldingProvider::new(Arc::new(memory), 2))
        };
        let providers = if is_one {
            let one = of(&keys);
            [Arc::clone(&one), one]
        } else {
            [of(&keys[..1]), of(&keys[1..])]
        };
        let ring = providers.iter().zip(&keys).fold(Keyring::new(), |ring, (provider, key)| {
            ring.both(Arc::clone(provider) as Arc<dyn KeyProvider>, key.clone())
        });
        let ring = if hedges { ring.hedging(Hedging::new(Arc::new(Jumping::default()))) } else { ring };
        Self { providers, envelope: Envelope::new(ring) }
    }

    /// Drops `call` at each of its awaits, and returns what it gives at last.
    fn at_each_await<T>(&self, what: &str, call: impl AsyncFn(&Envelope) -> T) -> T {
        let plain = block_on(self.envelope.encrypt(b"before", &context())).unwrap();
        for polls in 0.. {
            let output = dropped_after(polls, call(&self.envelope));
            for provider in &self.providers {
                assert_eq!(provider.in_flight(), 0, "{what} after {polls} polls");
            }
            if let Some(output) = output {
                // A call that hedges polls what has woken it several times at once.
                assert!(polls >= 3, "{what} was pending {polls} times only");
                assert!(self.providers.iter().any(|provider| provider.dropped() > 0), "{what}");
                return output;
            }
            let opened = block_on(self.envelope.decrypt(&plain, &context()));
            assert_eq!(opened.unwrap(), b"before", "{what} after {polls} polls");
        }
        unreachable!("it ends after some polls")
    }

    fn check_verbs(&self) {
        let sealed = self.at_each_await("encrypt", async |it| it.encrypt(b"x", &context()).await).unwrap();
        let opened = self.at_each_await("decrypt", async |it| it.decrypt(&sealed, &context()).await);
        assert_eq!(opened.unwrap(), b"x");
        let rewrapped =
            self.at_each_await("rewrap", async |it| it.rewrap(&sealed, &context()).await).unwrap();
        assert_eq!(block_on(self.envelope.decrypt(&rewrapped, &context())).unwrap(), b"x");
        let anew =
            self.at_each_await("reencrypt", async |it| it.reencrypt(&sealed, &context()).await).unwrap();
        assert_eq!(block_on(self.envelope.decrypt(&anew, &context())).unwrap(), b"x");
        let made = self.at_each_await("data key", async |it| it.create_data_key(&context()).await).unwrap();
        let header = made.header().to_bytes();
        let record = made.seal(b"x", &context()).unwrap();
        let opened = self
            .at_each_await("open data key", async |it| it.open_data_key(&header, &context()).await)
            .unwrap();
        assert_eq!(opened.open(&record, &context()).unwrap(), b"x");
        let reported = self.at_each_await("at least one", async |it| {
            it.reporting(WrapPolicy::AtLeast(1)).encrypt(b"x", &context()).await
        });
        let (sealed, missing) = reported.unwrap().into_parts();
        assert!(missing.is_empty());
        assert_eq!(block_on(self.envelope.decrypt(&sealed, &context())).unwrap(), b"x");
    }
}

#[test]
fn a_call_dropped_at_any_await_leaves_nothing_behind() {
    Rig::new(|memory| memory, false, false).check_verbs();
}

#[test]
fn a_call_that_lets_the_key_store_make_the_dek_dropped_at_any_await_leaves_nothing_behind() {
    Rig::new(MemoryProvider::that_generates_deks, false, false).check_verbs();
}

#[test]
fn a_rewrap_inside_the_key_store_dropped_at_any_await_leaves_nothing_behind() {
    Rig::new(MemoryProvider::that_rewraps, true, false).check_verbs();
}

#[test]
fn a_call_that_hedges_dropped_at_any_await_leaves_nothing_behind() {
    Rig::new(|memory| memory, false, true).check_verbs();
}
