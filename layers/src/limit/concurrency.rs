//! [`Concurrency`]: how many calls go at a time, by what the key store says to it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use envelope_sdk::{ProviderError, ProviderErrorKind};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    FullQueue, is_throttled,
    rate::{Place, Queue},
};

/// How many calls go at a time: as TCP does it, by additive increase and multiplicative decrease.
///
/// After as many successes as there may be calls at a time, there may be one more. When the key store
/// [throttles](ProviderErrorKind::Throttled), half of them; once, for the calls that began before. What fails
/// otherwise changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concurrency {
    start: usize,
    least: usize,
    most: usize,
}

impl Concurrency {
    /// From `least`, at least 1, to `most` calls, and at first `start`. The default is 16 at first, 1 to 256: at
    /// 20 milliseconds a call that is 800 in a second to begin with, never none, and never more than half of the
    /// file descriptors of a process if each has a connection.
    #[must_use]
    pub fn new(start: usize, least: usize, most: usize) -> Self {
        // Tokio's semaphores have an end.
        let least = least.clamp(1, Semaphore::MAX_PERMITS);
        let most = most.clamp(least, Semaphore::MAX_PERMITS);
        Self { start: start.clamp(least, most), least, most }
    }

    /// Always so many.
    #[must_use]
    pub fn fixed(calls: usize) -> Self {
        Self::new(calls, calls, calls)
    }
}

impl Default for Concurrency {
    fn default() -> Self {
        Self::new(16, 1, 256)
    }
}

pub(super) struct Adaptive {
    bounds: Concurrency,
    semaphore: Semaphore,
    window: Mutex<Window>,
}

struct Window {
    limit: usize,
    in_flight: usize,
    /// Since the limit changed last.
    successes: usize,
    /// Permits to be thrown away when they come back.
    owed: usize,
    /// How often the limit was lowered: a call of before has no say in it again.
    era: u64,
}

impl Adaptive {
    pub(super) fn new(bounds: Concurrency) -> Self {
        let window = Window { limit: bounds.start, in_flight: 0, successes: 0, owed: 0, era: 0 };
        Self { bounds, semaphore: Semaphore::new(bounds.start), window: Mutex::new(window) }
    }

    pub(super) fn limit(&self) -> usize {
        self.window().limit
    }

    pub(super) fn in_flight(&self) -> usize {
        self.window().in_flight
    }

    pub(super) async fn enter<'q>(
        &self,
        queue: &'q Queue,
        place: &mut Option<Place<'q>>,
    ) -> Result<Slot<'_>, FullQueue> {
        let permit = match self.semaphore.try_acquire() {
            Ok(permit) => Some(permit),
            Err(_) => {
                queue.enter(place)?;
                // It is never closed.
                self.semaphore.acquire().await.ok()
            }
        };
        let mut window = self.window();
        window.in_flight += 1;
        let era = window.era;
        drop(window);
        Ok(Slot { adaptive: self, permit, era, told: Told::Nothing })
    }

    fn succeeded(&self, window: &mut Window) {
        window.successes += 1;
        if window.successes < window.limit || window.limit >= self.bounds.most {
            return;
        }
        window.successes = 0;
        window.limit += 1;
        if window.owed > 0 {
            window.owed -= 1;
        } else {
            self.semaphore.add_permits(1);
        }
    }

    fn throttled(&self, window: &mut Window) {
        window.era += 1;
        window.successes = 0;
        let lower = (window.limit / 2).max(self.bounds.least);
        let less = window.limit.saturating_sub(lower);
        window.limit = lower;
        window.owed += less - self.semaphore.forget_permits(less);
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        // Each change of it is one step.
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the calls that go. Dropped, it is free for another, whatever became of the call.
pub(super) struct Slot<'a> {
    adaptive: &'a Adaptive,
    permit: Option<SemaphorePermit<'a>>,
    era: u64,
    told: Told,
}

/// What a call says of the key store.
enum Told {
    Nothing,
    Success,
    Throttled,
}

impl Slot<'_> {
    pub(super) fn settle(mut self, answer: Result<(), &ProviderError>) {
        self.told = match answer {
            Err(error) if is_throttled(error) => Told::Throttled,
            Err(error) if error.kind() == ProviderErrorKind::Unavailable => Told::Nothing,
            // A refusal is an answer too.
            _ => Told::Success,
        };
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut window = self.adaptive.window();
        match self.told {
            Told::Success => self.adaptive.succeeded(&mut window),
            Told::Throttled if self.era == window.era => self.adaptive.throttled(&mut window),
            Told::Throttled | Told::Nothing => {}
        }
        window.in_flight -= 1;
        if window.owed > 0
            && let Some(permit) = self.permit.take()
        {
            window.owed -= 1;
            permit.forget();
        }
    }
}
