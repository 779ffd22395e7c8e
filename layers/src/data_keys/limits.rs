//! [`DataKeyLimits`].

use std::time::Duration;

/// How long and for how much [`DataKeys`](crate::DataKeys) use one data key, and how many they hold. How much is lost
/// with one data key, and how long it is used after its key was taken away, is decided by whoever runs the service: so
/// age and records have no defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataKeyLimits {
    pub(crate) age: Duration,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) contexts: usize,
    pub(crate) opened: usize,
    pub(crate) opened_age: Duration,
}

impl DataKeyLimits {
    /// A data key seals for so long after its key stores were asked to wrap it (a second at least), and so many records
    /// (one at least). The
    /// format itself allows 2⁸⁰ records for a data key, more than can be counted here.
    ///
    /// By default there is no limit to the bytes, 1000 contexts have a current data key, and 1000 data keys are held
    /// open for `age`.
    #[must_use]
    pub fn new(age: Duration, records: u64) -> Self {
        let age = age.max(Duration::from_secs(1));
        let records = records.max(1);
        Self { age, records, bytes: u64::MAX, contexts: 1000, opened: 1000, opened_age: age }
    }

    /// A data key seals so many bytes of plaintext. A record that is longer by itself is refused.
    #[must_use]
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// So many contexts (one at least) have a current data key at one time. The one that sealed least recently makes
    /// room, and is given a new data key when it seals again.
    #[must_use]
    pub fn contexts(mut self, contexts: usize) -> Self {
        self.contexts = contexts.max(1);
        self
    }

    /// So many data keys are held to open records, each for so long after its key store was asked. A data key that
    /// still seals opens its records as long as it is held.
    #[must_use]
    pub fn opened(mut self, data_keys: usize, age: Duration) -> Self {
        (self.opened, self.opened_age) = (data_keys, age);
        self
    }
}
