//! A clock that tests can move.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

/// The clock of the computer, and how far a test has moved it.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    ahead_seconds: AtomicU64,
}

impl Clock {
    pub(crate) fn now(&self) -> SystemTime {
        SystemTime::now() + Duration::from_secs(self.ahead_seconds.load(Ordering::SeqCst))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.ahead_seconds.fetch_add(by.as_secs(), Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_ahead_only() {
        let (clock, day) = (Clock::default(), Duration::from_secs(24 * 60 * 60));
        let before = clock.now();
        clock.advance(day);
        assert!(clock.now() >= before + day);
    }
}
