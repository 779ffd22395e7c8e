//! [`ProviderError`]: what went wrong, for which key, and whether to try again.

use std::{error::Error, fmt, sync::Arc};

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
        Self { kind, provider, key: None, message: message.into(), retryable, source: None }
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
