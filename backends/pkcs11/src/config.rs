//! What the operator says: module, token, PIN, sessions.

use std::path::PathBuf;

use envelope_sdk::KeyUri;

use crate::{
    pin::PinSource,
    refused::RefusedPins,
    selector::TokenSelector,
    weakness::{AllAccepted, Weakness},
};

/// How to reach one token.
///
/// ```
/// use envelope_pkcs11::{PinSource, Pkcs11Config, TokenSelector};
///
/// let config = Pkcs11Config::new("/usr/lib/softhsm/libsofthsm2.so", TokenSelector::label("envelopes"))
///     .pin(PinSource::file("/run/secrets/pin"))
///     .sessions(8);
/// # let _ = config;
/// ```
#[derive(Debug)]
pub struct Pkcs11Config {
    pub(crate) module: PathBuf,
    pub(crate) token: TokenSelector,
    pub(crate) pin: PinSource,
    pub(crate) sessions: usize,
    pub(crate) accepted: AllAccepted,
    pub(crate) refused: RefusedPins,
}

impl Pkcs11Config {
    /// Sessions, and threads, unless [`sessions`](Self::sessions) says
    /// otherwise.
    pub const DEFAULT_SESSIONS: usize = 4;
    /// Most sessions.
    pub const MAX_SESSIONS: usize = 256;

    /// A token of the module, a shared library, at this absolute path. It is
    /// code that will run in this process: the path comes from whoever runs the
    /// program, never from a key URI.
    #[must_use]
    pub fn new(module: impl Into<PathBuf>, token: TokenSelector) -> Self {
        let (accepted, refused) = Default::default();
        let sessions = Self::DEFAULT_SESSIONS;
        Self { module: module.into(), token, pin: PinSource::none(), sessions, accepted, refused }
    }

    /// Where the user PIN comes from. Without this, only tokens that need no
    /// login can be used.
    #[must_use]
    pub fn pin(mut self, pin: PinSource) -> Self {
        self.pin = pin;
        self
    }

    /// What other providers with the same PIN know of tokens that refused it: for a
    /// program that may name one token in two ways, each for a provider of its own.
    #[must_use]
    pub fn refused_pins(mut self, refused: &RefusedPins) -> Self {
        self.refused = refused.clone();
        self
    }

    /// How many sessions are open at most, each on a thread of its own: 1 to
    /// [`MAX_SESSIONS`](Self::MAX_SESSIONS), other numbers become the nearest
    /// of these.
    #[must_use]
    pub fn sessions(mut self, sessions: usize) -> Self {
        self.sessions = sessions.clamp(1, Self::MAX_SESSIONS);
        self
    }

    /// Uses `key` although it has this weakness: a decision about one key, under
    /// exactly this URI. May be called again for other weaknesses and keys.
    #[must_use]
    pub fn accept(mut self, key: &KeyUri, weakness: Weakness) -> Self {
        self.accepted.insert(key, weakness);
        self
    }
}
