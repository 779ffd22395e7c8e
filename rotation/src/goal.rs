//! What a job shall bring about: for which keys each envelope is wrapped.

use std::{sync::Arc, time::SystemTime};

use envelope_sdk::{EncryptionContext, KeyProvider, KeyUri};

/// A key and the provider that answers for it.
#[derive(Clone)]
pub struct Key {
    pub(crate) provider: Arc<dyn KeyProvider>,
    pub(crate) uri: KeyUri,
}

impl Key {
    /// The key `uri`, which may be an alias, of `provider`.
    #[must_use]
    pub fn new(provider: Arc<dyn KeyProvider>, uri: KeyUri) -> Self {
        Self { provider, uri }
    }

    /// Its URI, as configured.
    #[must_use]
    pub fn uri(&self) -> &KeyUri {
        &self.uri
    }
}

/// For which keys each envelope shall be wrapped, which keys may open it before, and whether its DEK is
/// replaced too.
///
/// An envelope is **in the target state** when its header names the wanted keys in their current versions.
/// That is read from the header alone: no key store is asked. Where a key store does not tell versions in
/// its wraps (AWS KMS, a passphrase), a new version cannot be seen: [`older_than`](Self::older_than) goes by time
/// instead, and a wanted passphrase is always wrapped anew.
#[derive(Clone)]
pub struct Goal {
    pub(crate) to: Vec<Key>,
    pub(crate) remove: Vec<Key>,
    pub(crate) keeps_others: bool,
    pub(crate) open: Vec<Key>,
    pub(crate) reencrypts: bool,
    pub(crate) older_than: Option<SystemTime>,
    pub(crate) context: EncryptionContext,
    /// Of a key, or of one version of it.
    pub(crate) concerns: Vec<(KeyUri, Option<String>, Concern)>,
}

/// What is wrong with a key version, as whoever manages the key says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Concern {
    /// Others may have it.
    Compromised,
    /// Its cryptoperiod is over.
    Due,
}

impl Goal {
    /// These keys and no others. They may open, too.
    #[must_use]
    pub fn only(to: Vec<Key>) -> Self {
        Self {
            to,
            remove: Vec::new(),
            keeps_others: false,
            open: Vec::new(),
            reencrypts: false,
            older_than: None,
            context: EncryptionContext::new(),
            concerns: Vec::new(),
        }
    }

    /// The keys that an envelope has, with those of `add` and without those of `remove`.
    ///
    /// Keys that stay wrap anew as well, so each of them must be configured: as one to
    /// [open with](Self::open_with) or one to add. A header cannot bring in a key that the caller did not
    /// name.
    #[must_use]
    pub fn edit(add: Vec<Key>, remove: Vec<Key>) -> Self {
        Self { remove, keeps_others: true, ..Self::only(add) }
    }

    /// Further keys that may open the envelopes as they are.
    #[must_use]
    pub fn open_with(mut self, keys: Vec<Key>) -> Self {
        self.open.extend(keys);
        self
    }

    /// Decrypts and encrypts under a new DEK, instead of wrapping the old one anew: whoever saw the old DEK
    /// cannot open what is written. Everything is reencrypted, or what is
    /// [older](Self::older_than) or not in the target state.
    #[must_use]
    pub fn reencrypting(mut self) -> Self {
        self.reencrypts = true;
        self
    }

    /// Changes what was last written before `time`, whatever its keys.
    #[must_use]
    pub fn older_than(mut self, time: SystemTime) -> Self {
        self.older_than = Some(time);
        self
    }

    /// Says what is wrong with `key`, by its full URI, or with one version of it: where an envelope has it and is to lose it, this is
    /// among the [reasons](crate::Reason). It is none by itself: what is in the target state stays as it is.
    #[must_use]
    pub fn concerned_about(mut self, key: KeyUri, version: Option<String>, concern: Concern) -> Self {
        self.concerns.push((key, version, concern));
        self
    }

    /// Context entries that hold for each envelope, and the values of withheld ones.
    #[must_use]
    pub fn with_context(mut self, context: EncryptionContext) -> Self {
        self.context = context;
        self
    }
}
