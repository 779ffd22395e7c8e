//! Which keys encrypt and which may decrypt.

mod configured;
mod deadline;
mod events;
mod hedging;
mod inside;
mod latency;
mod meaning;
mod unlock;
mod wrap;

use std::{ptr, sync::Arc, time::Duration};

use futures_util::future::join_all;

use crate::{KeyProvider, KeyUri, ProviderError, timer::Timer};
use configured::ConfiguredKey;
use deadline::{Deadline, Limit};

pub use events::{AskedKey, KeyringEvent, KeyringListener};
pub use hedging::Hedging;
pub(crate) use inside::RewrappedInside;
pub use unlock::Order;
pub(crate) use wrap::Wraps;
pub use wrap::{MissingKey, WrapPolicy};

/// The keys that an [`Envelope`](crate::Envelope) may use: those that
/// **encrypt**, each of which wraps every DEK, so that any one of them opens;
/// and those that may **decrypt**.
///
/// A recipient of a header is only ever opened with a key that is configured
/// here. There is no way to try all keys one has access to. The reverse holds
/// too: a new wrap that names another key than the configured one is refused.
///
/// # When a key store is slow or away
///
/// A recipient whose key store fails is passed over for the next one, in the [order](Self::order) of the
/// header or of this keyring. Of what fails, all is told if nothing opens. A key store that is away costs each
/// call the time-out of its provider, unless a breaker over the provider refuses at once (crate `envelope-layers`).
/// With [hedging](Self::hedging), the next recipient is asked beside one that is merely slow.
/// To encrypt while a key store is away: [`Envelope::reporting`](crate::Envelope::reporting).
///
/// # Deadlines
///
/// There are none unless you [set one](Self::deadline): a provider that never answers holds up the whole
/// call, and keys after it are not tried. Providers bound the time of their own calls. Dropping a call half-way is
/// safe, at any point: what was wrapped or unwrapped by then is wiped, and nothing goes on.
///
/// ```
/// # use std::sync::Arc;
/// # use envelope_sdk::{KeyProvider, KeyUri, Keyring};
/// # fn keyring(local: Arc<dyn KeyProvider>, cloud: Arc<dyn KeyProvider>) -> Result<Keyring, Box<dyn std::error::Error>> {
/// let keyring = Keyring::new()
///     .both(cloud, KeyUri::parse("awskms:///arn:aws:kms:eu-central-1:111122223333:key/1234abcd")?)
///     .encrypt(local, KeyUri::parse("local:offline-recovery")?);
/// # Ok(keyring) }
/// ```
#[derive(Clone, Default)]
pub struct Keyring {
    encrypting: Vec<ConfiguredKey>,
    decrypting: Vec<ConfiguredKey>,
    order: Order,
    limit: Option<Limit>,
    hedging: Option<Hedging>,
    listeners: Vec<Arc<dyn KeyringListener>>,
}

impl Keyring {
    /// A keyring without keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key that wraps every DEK.
    #[must_use]
    pub fn encrypt(mut self, provider: Arc<dyn KeyProvider>, uri: KeyUri) -> Self {
        let key = self.configured(provider, uri);
        self.encrypting.push(key);
        self
    }

    /// Adds a key that may unwrap. Keys are tried in the order of the
    /// header's recipients, unless [`order`](Self::order) says otherwise.
    #[must_use]
    pub fn decrypt(mut self, provider: Arc<dyn KeyProvider>, uri: KeyUri) -> Self {
        let key = self.configured(provider, uri);
        self.decrypting.push(key);
        self
    }

    /// Adds a key for both.
    #[must_use]
    pub fn both(self, provider: Arc<dyn KeyProvider>, uri: KeyUri) -> Self {
        self.encrypt(Arc::clone(&provider), uri.clone()).decrypt(provider, uri)
    }

    /// Tries the recipients of a header in this order.
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Asks the next recipient while one that may decrypt is slow. The key store of each sees one
    /// unwrap more in ten at most, under the same context.
    ///
    /// Without it, recipients are asked one after the other, and no clock is needed.
    #[must_use]
    pub fn hedging(mut self, hedging: Hedging) -> Self {
        self.hedging = Some(hedging);
        self
    }

    /// Bounds each step of a call, by this clock: the wrapping of a DEK by all keys, the unlocking of a header
    /// with whichever key opens, aliases resolved, or [`resolve`](Self::resolve). Encrypting and decrypting are one step; a reencryption is
    /// two; a rewrap is up to four (inside the key store; unlock, wrap, unwrap again).
    ///
    /// At the deadline the calls under way are dropped, and the error names the keys that were waited
    /// for, as [`Unavailable`](crate::ProviderErrorKind::Unavailable). Make it longer than the time-outs of the
    /// providers, or no second key is reached after a first that is away. Where a DEK is wrapped
    /// [with keys missing](WrapPolicy::AtLeast), a key store that makes the DEK has half of the time, and
    /// the rest is for the others.
    #[must_use]
    pub fn deadline(mut self, time: Duration, timer: Arc<dyn Timer>) -> Self {
        self.limit = Some(Limit { time, timer });
        self
    }

    /// Tells `listener`, too, of hedges, failovers and keys that do not wrap.
    #[must_use]
    pub fn tell(mut self, listener: Arc<dyn KeyringListener>) -> Self {
        self.listeners.push(listener);
        self
    }

    /// A key of one provider has one meaning, whether it encrypts or decrypts.
    fn configured(&self, provider: Arc<dyn KeyProvider>, uri: KeyUri) -> ConfiguredKey {
        let is_it = |key: &&ConfiguredKey| {
            key.uri == uri && ptr::addr_eq(Arc::as_ptr(&key.provider), Arc::as_ptr(&provider))
        };
        let known = self.encrypting.iter().chain(&self.decrypting).find(is_it);
        known.cloned().unwrap_or_else(|| ConfiguredKey::new(provider, uri))
    }

    /// Asks what each configured key means now, where its provider knows aliases
    /// ([`KeyProvider::resolve`]), in place of what was answered before.
    ///
    /// There is no need to: a keyring asks by itself when it first meets a key
    /// that an alias may mean, and keeps the answer. A service that runs for long
    /// calls this at its start, to learn early of a key that is not there, and
    /// then again after an alias was turned to another key.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] of the first key that cannot be resolved, or not before the
    /// [deadline](Self::deadline); what was answered before stays in use for it, and the others are asked all the same.
    pub async fn resolve(&self) -> Result<(), ProviderError> {
        let mut keys: Vec<&ConfiguredKey> = Vec::new();
        for key in self.encrypting.iter().chain(&self.decrypting) {
            if !keys.iter().any(|known| known.meaning.is_that_of(&key.meaning)) {
                keys.push(key);
            }
        }
        let deadline = self.start_of_call();
        let answers = join_all(keys.into_iter().map(|key| deadline.bound(key, key.resolve_anew()))).await;
        answers.into_iter().try_for_each(|answer| answer.map(drop))
    }

    /// The URIs of the keys that encrypt, as configured.
    pub fn encrypting(&self) -> impl Iterator<Item = &KeyUri> {
        self.encrypting.iter().map(|key| &key.uri)
    }

    /// The URIs of the keys that may decrypt, as configured.
    pub fn decrypting(&self) -> impl Iterator<Item = &KeyUri> {
        self.decrypting.iter().map(|key| &key.uri)
    }

    /// The deadline of a call that begins now.
    fn start_of_call(&self) -> Deadline<'_> {
        Deadline::start(self.limit.as_ref())
    }
}
