//! [`ProviderError`]: what went wrong, for which key, and whether to try again.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use crate::KeyUri;

/// Why a provider did not wrap or unwrap. Clones share the error below: one answer may be
/// told to many.
#[derive(Debug, Clone)]
pub struct ProviderError {
    kind: ProviderErrorKind,
    provider: &'static str,
    key: Option<KeyUri>,
    message: String,
    retryable: bool,
    retry_after: Option<Duration>,
    attempts: u32,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// What a [`ProviderError`] means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProviderErrorKind {
    /// Key, context and wrapped DEK do not fit together: wrong passphrase,
    /// wrong key, wrong context, or the wrapped DEK was changed.
    Unauthentic,
    /// There is no such key or version.
    NotFound,
    /// The caller may not use the key (permission, policy, credentials).
    AccessDenied,
    /// The key's state does not permit the use.
    State,
    /// The provider cannot be reached or did not answer in time.
    Unavailable,
    /// The provider wants fewer requests.
    Throttled,
    /// The provider does not know the algorithm, the scheme or the parameters.
    Unsupported,
    /// The provider's answer breaks its own protocol.
    Protocol,
    /// The request cannot be right: a name taken, a transition not allowed.
    Invalid,
    /// Anything else.
    Other,
}

impl ProviderError {
    /// An error about a key. It is retryable if its kind is `Unavailable` or
    /// `Throttled`; see [`retryable`](Self::retryable) for the exceptions.
    /// `message` says what failed and what to do, without secret bytes.
    #[must_use]
    pub fn new(
        kind: ProviderErrorKind,
        provider: &'static str,
        key: &KeyUri,
        message: impl Into<String>,
    ) -> Self {
        Self::without_key(kind, provider, message).about(key)
    }

    /// An error about no key: of settings, of a list, of a key that is not made
    /// yet. Otherwise as [`new`](Self::new).
    #[must_use]
    pub fn without_key(kind: ProviderErrorKind, provider: &'static str, message: impl Into<String>) -> Self {
        let retryable = matches!(kind, ProviderErrorKind::Unavailable | ProviderErrorKind::Throttled);
        let message = message.into();
        Self { kind, provider, key: None, message, retryable, retry_after: None, attempts: 1, source: None }
    }

    /// Says which key it is about, unless that is known already.
    #[must_use]
    pub fn about(mut self, key: &KeyUri) -> Self {
        self.key.get_or_insert_with(|| key.clone());
        self
    }

    /// Adds the error below. It must not print secret bytes.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// Says whether the same call may succeed later without anybody acting.
    #[must_use]
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.retryable = retryable;
        self
    }

    /// Says how long the key store asks to be left alone (HTTP's `Retry-After`, Google's `RetryInfo`). More
    /// than a day counts as a day: what a server says must not overflow anybody's clock.
    #[must_use]
    pub fn with_retry_after(mut self, wait: impl Into<Option<Duration>>) -> Self {
        self.retry_after = wait.into().map(|wait| wait.min(LONGEST_RETRY_AFTER));
        self
    }

    /// Says how many requests this call has cost already, such as by the retries of a cloud's own client. At
    /// least 1.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Adds what a layer over the provider knows to the end of the message. No secret bytes.
    #[must_use]
    pub fn with_note(mut self, note: impl fmt::Display) -> Self {
        self.message = format!("{} ({note})", self.message);
        self
    }

    /// What it means.
    #[must_use]
    pub fn kind(&self) -> ProviderErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later without anybody acting.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }

    /// How long the key store asks to be left alone, if it does; at most a day. It is for whoever tries again to
    /// decide whether that is too long: nothing here has waited for it.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// How many times the provider, or a layer over it, asked the key store in this call. 1 where it asks once,
    /// and where nobody was asked. Whoever tries again counts these, so that attempts do not multiply.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The provider's [`name`](crate::KeyProvider::name).
    #[must_use]
    pub fn provider(&self) -> &'static str {
        self.provider
    }

    /// The key it was about, if it was about one.
    #[must_use]
    pub fn key(&self) -> Option<&KeyUri> {
        self.key.as_ref()
    }

    /// What failed, without provider and key.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{} key {key}: {}", self.provider, self.message),
            None => write!(f, "{}: {}", self.provider, self.message),
        }
    }
}

impl Error for ProviderError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// The longest [`ProviderError::retry_after`].
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    fn throttled() -> ProviderError {
        ProviderError::without_key(ProviderErrorKind::Throttled, "test", "too many requests")
    }

    #[test]
    fn an_error_is_of_one_attempt_and_asks_for_no_pause_unless_it_says_so() {
        let error = throttled();
        assert_eq!((error.attempts(), error.retry_after()), (1, None));
        let error = throttled().with_attempts(3).with_retry_after(Duration::from_secs(7));
        assert_eq!((error.attempts(), error.retry_after()), (3, Some(Duration::from_secs(7))));
        assert_eq!(throttled().with_attempts(0).attempts(), 1);
        assert_eq!(error.with_retry_after(None).retry_after(), None);
    }

    #[test]
    fn a_pause_without_measure_is_a_day() {
        let error = throttled().with_retry_after(Duration::MAX);
        assert_eq!(error.retry_after(), Some(LONGEST_RETRY_AFTER));
    }

    #[test]
    fn a_note_changes_the_message_alone() {
        let error = throttled().with_attempts(2).with_note("3 attempts in 1 s");
        assert_eq!(error.to_string(), "test: too many requests (3 attempts in 1 s)");
        assert_eq!(
            (error.kind(), error.is_retryable(), error.attempts()),
            (ProviderErrorKind::Throttled, true, 2)
        );
    }
}
