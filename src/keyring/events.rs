//! What a keyring tells of itself while it works.

use std::time::Duration;

use super::{Keyring, configured::ConfiguredKey};
use crate::{KeyUri, ProviderError};

/// What a [`Keyring`] did beyond asking one key and being answered. For counters and logs.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum KeyringEvent<'e> {
    /// A key was not answered for longer than it is used to, and another is asked beside it. Each such hedge ends
    /// by [`HedgeWon`](Self::HedgeWon), [`HedgeLost`](Self::HedgeLost) or [`HedgeFailed`](Self::HedgeFailed),
    /// unless the caller drops the call before.
    HedgeBegun {
        /// The key that is waited for.
        slow: AskedKey<'e>,
        /// The key that is asked too.
        hedge: AskedKey<'e>,
        /// How long the first was waited for.
        after: Duration,
    },
    /// The hedge gave a DEK first, or alone. Whether it is the right one is verified next.
    HedgeWon {
        /// The key that was asked as a hedge.
        hedge: AskedKey<'e>,
    },
    /// The key that was slow gave a DEK first after all.
    HedgeLost {
        /// The key that was asked as a hedge.
        hedge: AskedKey<'e>,
    },
    /// The hedge failed, or was not answered before the [deadline](Keyring::deadline).
    HedgeFailed {
        /// The key that was asked as a hedge.
        hedge: AskedKey<'e>,
        /// Why.
        error: &'e ProviderError,
    },
    /// A call is dropped since the other of two was answered first.
    Cancelled {
        /// The key that had not answered.
        key: AskedKey<'e>,
        /// How long it was waited for.
        after: Duration,
    },
    /// A recipient is tried since another one did not open.
    Failover {
        /// The key that did not open.
        from: AskedKey<'e>,
        /// Why; that a DEK did not fit the header, too.
        error: &'e ProviderError,
        /// The key that is asked now.
        to: AskedKey<'e>,
    },
    /// An envelope or data key is made that does not open with this key, as
    /// [`WrapPolicy::AtLeast`](crate::WrapPolicy::AtLeast) allows.
    WrapMissing {
        /// The key that did not wrap.
        key: AskedKey<'e>,
        /// Why.
        error: &'e ProviderError,
    },
}

/// A key of the keyring in a [`KeyringEvent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AskedKey<'e> {
    /// The [name](crate::KeyProvider::name) of its provider.
    pub provider: &'static str,
    /// The key as configured.
    pub key: &'e KeyUri,
}

/// Hears what a [`Keyring`] does: a function of a [`KeyringEvent`], or a type of its own.
///
/// It is called in the middle of a call, which waits for it: it counts or writes a line, and does not block.
pub trait KeyringListener: Send + Sync {
    /// This happens now.
    fn hear(&self, event: &KeyringEvent<'_>);
}

impl<F: Fn(&KeyringEvent<'_>) + Send + Sync> KeyringListener for F {
    fn hear(&self, event: &KeyringEvent<'_>) {
        self(event);
    }
}

impl Keyring {
    pub(super) fn hear(&self, event: &KeyringEvent<'_>) {
        self.listeners.iter().for_each(|listener| listener.hear(event));
    }
}

impl ConfiguredKey {
    pub(super) fn asked(&self) -> AskedKey<'_> {
        AskedKey { provider: self.provider.name(), key: &self.uri }
    }
}
