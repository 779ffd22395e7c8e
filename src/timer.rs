//! The clock of what waits: deadlines and hedging of a [`Keyring`](crate::Keyring).

use std::time::Duration;

use async_trait::async_trait;

/// Tells the time and waits. The core has no runtime of its own, so a caller who wants deadlines
/// brings the clock of theirs: `TokioTimer` with feature `tokio`, or a few lines over another runtime's.
///
/// Times are counted from a moment that the timer chooses once.
#[async_trait]
pub trait Timer: Send + Sync {
    /// The time now. It never goes back.
    fn now(&self) -> Duration;

    /// Returns once [`now`](Self::now) is `time` or later; at once if it is already. Dropping the future
    /// ends the waiting.
    async fn sleep_until(&self, time: Duration);
}

/// The clock of tokio (feature `tokio`). Whatever waits by it must run in a tokio runtime whose time is
/// enabled.
#[cfg(feature = "tokio")]
#[derive(Debug, Clone, Copy)]
pub struct TokioTimer {
    start: tokio::time::Instant,
}

#[cfg(feature = "tokio")]
impl TokioTimer {
    /// A timer that counts from now.
    #[must_use]
    pub fn new() -> Self {
        Self { start: tokio::time::Instant::now() }
    }
}

#[cfg(feature = "tokio")]
impl Default for TokioTimer {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(feature = "tokio")]
#[async_trait]
impl Timer for TokioTimer {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    async fn sleep_until(&self, time: Duration) {
        match self.start.checked_add(time) {
            Some(instant) => tokio::time::sleep_until(instant).await,
            // Later than this clock goes.
            None => std::future::pending().await,
        }
    }
}
