//! What is told of keys and their versions.

use super::Details;
use crate::{KeyState, KeyUri};

/// What a key store tells of a key. No key material.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyDescription {
    /// The key's URI.
    pub uri: KeyUri,
    /// The state of the key as a whole.
    pub state: KeyState,
    /// A deactivated (or compromised) key that is kept only for old data.
    pub archived: bool,
    /// Every version, oldest first. The last one wraps while the key is active.
    pub versions: Vec<KeyVersionDescription>,
    /// What this key store alone tells. [`list_keys`](super::KeyAdmin::list_keys)
    /// may leave out what takes further calls.
    pub details: Details,
}

impl KeyDescription {
    /// A description, for key stores.
    #[must_use]
    pub fn new(uri: KeyUri, state: KeyState, archived: bool, versions: Vec<KeyVersionDescription>) -> Self {
        Self { uri, state, archived, versions, details: Details::new() }
    }

    /// Adds what this key store alone tells.
    #[must_use]
    pub fn details(mut self, details: Details) -> Self {
        self.details = details;
        self
    }

    /// The version that wraps while the key is active.
    #[must_use]
    pub fn current(&self) -> Option<&KeyVersionDescription> {
        self.versions.last()
    }

    /// Whether the key wraps and its current version's cryptoperiod is over at
    /// `now`, in seconds since 1970: rotate it, and rewrap what it protects.
    #[must_use]
    pub fn is_due(&self, now: u64) -> bool {
        self.state == KeyState::Active && self.current().is_some_and(|version| version.is_due(now))
    }
}

/// What a key store tells of one version of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyVersionDescription {
    /// The version as it stands in headers.
    pub version: String,
    /// The state of this version. A version is usable as far as both its own
    /// state and the key's permit.
    pub state: KeyState,
    /// When it was made, in seconds since 1970-01-01T00:00:00Z, if known.
    pub created: Option<u64>,
    /// When its cryptoperiod ends, in seconds since 1970: after that it should
    /// wrap nothing more. `None`, unless somebody set it.
    ///
    /// NIST SP 800-57 part 1 revision 5, table 1 suggests at most 2 years of
    /// use for wrapping, and up to 3 years more for unwrapping, of a symmetric
    /// key-wrapping key. It is told and warned of, and refuses nothing: a key
    /// that stops at midnight stops whoever depends on it.
    pub not_after: Option<u64>,
}

impl KeyVersionDescription {
    /// A description, for key stores.
    #[must_use]
    pub fn new(version: String, state: KeyState, created: Option<u64>) -> Self {
        Self { version, state, created, not_after: None }
    }

    /// Says when its cryptoperiod ends.
    #[must_use]
    pub fn not_after(mut self, not_after: Option<u64>) -> Self {
        self.not_after = not_after;
        self
    }

    /// Whether it may wrap and its cryptoperiod is over at `now`, in seconds
    /// since 1970.
    #[must_use]
    pub fn is_due(&self, now: u64) -> bool {
        self.state == KeyState::Active && self.not_after.is_some_and(|end| end <= now)
    }
}

/// Some of the keys of a key store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyPage {
    /// The keys.
    pub keys: Vec<KeyDescription>,
    /// What [`list_keys`](super::KeyAdmin::list_keys) takes to go on, or `None`
    /// at the end. Opaque, and of this key store alone.
    pub next: Option<String>,
}

impl KeyPage {
    /// A page, and where the list goes on.
    #[must_use]
    pub fn new(keys: Vec<KeyDescription>, next: Option<String>) -> Self {
        Self { keys, next }
    }
}

/// How a key rotates by itself, and the rotations that were done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RotationStatus {
    /// Whether it rotates by itself.
    pub automatic: bool,
    /// After how many days, if it rotates by itself and the key store says so.
    pub period_days: Option<u32>,
    /// When next, in seconds since 1970-01-01T00:00:00Z.
    pub next: Option<u64>,
    /// The rotations that were done, oldest first.
    pub past: Vec<Rotation>,
    /// What this key store alone tells.
    pub details: Details,
}

/// A rotation that was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rotation {
    /// When, in seconds since 1970-01-01T00:00:00Z, if the key store says so.
    pub date: Option<u64>,
    /// By its period or by a call, if the key store says so.
    pub automatic: Option<bool>,
}

impl Rotation {
    /// A rotation, for key stores.
    #[must_use]
    pub fn new(date: Option<u64>, automatic: Option<bool>) -> Self {
        Self { date, automatic }
    }
}
