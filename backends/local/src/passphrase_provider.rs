//! Passphrase recipients: a DEK wrapped under a key that Argon2id derives from
//! a passphrase. Never writes parameters below the recommended ones by itself.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use async_trait::async_trait;
use envelope_sdk::{
    ContextBinding, Dek, FullContext, KeyProvider, KeyUri, ProviderError, ProviderErrorKind, WrappedDek,
    crypto::{DefaultEngine, Engine, Key256, cobblestone},
    wrap_binding,
};
use zeroize::Zeroizing;

use crate::{
    Argon2Error, Argon2Params, Passphrase,
    argon2id::{self, SALT_LEN},
    blocking::InTurn,
};

/// Wraps DEKs with one passphrase, for recipients `passphrase:`.
///
/// The wrapped DEK has 129 bytes, integers big-endian:
///
/// ```text
/// m_cost in KiB u32 ‖ t_cost u32 ‖ p_cost u8 ‖ salt 16
///     ‖ Cobblestone-256(Argon2id(passphrase, salt), wrap_binding, DEK) 104
/// ```
///
/// Cobblestone-256 commits to its key, so a crafted header cannot test many
/// passphrases at once.
///
/// # What a file may ask for
///
/// The parameters of a wrapped DEK come from the header, and nobody vouches for
/// them before the hash is done. So a wrap is refused, as
/// [`Unsupported`](ProviderErrorKind::Unsupported), when it asks for more than
/// four times the work or memory of a new one: 256 MiB, or 768 MiB times passes.
/// [`allow_work`](Self::allow_work) raises that, for wraps of writers that are
/// known to take more.
///
/// # Cost
///
/// A provider draws one salt for all that it wraps, and keeps the keys it
/// derived last (32 of them, zeroized): Argon2id runs once for the wraps of a
/// provider and once for each other salt that it meets, one run at a time, some
/// tenths of a second with the recommended parameters. It runs on a thread of its
/// own, so that it holds up no runtime; where no thread is to be had, on the
/// calling one. Dropping the future does not stop a run: its key is kept for the
/// next call.
pub struct PassphraseProvider {
    params: Argon2Params,
    allowed_work: u32,
    wrapping_salt: OnceLock<[u8; SALT_LEN]>,
    keys: Arc<DerivedKeys>,
    /// One run of Argon2id after the other, so that concurrent calls neither derive the same
    /// key twice nor take the memory of several runs at once.
    turns: InTurn,
}

/// A passphrase and the keys that were derived from it last.
struct DerivedKeys {
    passphrase: Passphrase,
    kept: Mutex<Vec<Derived>>,
}

struct Derived {
    params: Argon2Params,
    salt: [u8; SALT_LEN],
    key: Arc<Key256>,
}

impl PassphraseProvider {
    /// How many times the work of a new wrap an old one may ask for, unless
    /// [`allow_work`](Self::allow_work) says another number.
    pub const DEFAULT_ALLOWED_WORK: u32 = 4;

    /// A provider that wraps with [`Argon2Params::RECOMMENDED`].
    #[must_use]
    pub fn new(passphrase: Passphrase) -> Self {
        Self::of(passphrase, Argon2Params::RECOMMENDED)
    }

    /// A provider that wraps with other parameters. It unwraps what takes as much
    /// work as these, also where that is more than the default.
    ///
    /// # Errors
    ///
    /// [`Argon2Error::OutOfBounds`] when the parameters are not within these
    /// bounds.
    pub fn with_params(passphrase: Passphrase, params: Argon2Params) -> Result<Self, Argon2Error> {
        params.check()?;
        Ok(Self::of(passphrase, params))
    }

    /// Unwraps what takes at most `times` the [work](Argon2Params::work) of
    /// [`Argon2Params::RECOMMENDED`], instead of
    /// [`DEFAULT_ALLOWED_WORK`](Self::DEFAULT_ALLOWED_WORK) times. From 86 on, that is
    /// everything within [`Argon2Params::check`]: 1 GiB and 16 passes.
    #[must_use]
    pub fn allow_work(mut self, times: u32) -> Self {
        self.allowed_work = times.max(self.params.work());
        self
    }

    fn of(passphrase: Passphrase, params: Argon2Params) -> Self {
        let allowed_work = Self::DEFAULT_ALLOWED_WORK.max(params.work());
        let keys = Arc::new(DerivedKeys { passphrase, kept: Mutex::default() });
        Self { params, allowed_work, wrapping_salt: OnceLock::new(), keys, turns: InTurn::default() }
    }

    async fn wrap(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        let no_randomness =
            |error| error_of(ProviderErrorKind::Other, key, "no randomness").with_source(error);
        let mut fresh = [0; SALT_LEN];
        DefaultEngine::fill_random(&mut fresh).map_err(no_randomness)?;
        let salt = *self.wrapping_salt.get_or_init(|| fresh);
        let derived = self.derive(key, self.params, salt).await?;
        let sealed =
            cobblestone::seal::<DefaultEngine>(&derived, &wrap_binding(key, "", context)?, dek.expose())
                .map_err(no_randomness)?;
        WrappedDek::new(
            key.clone(),
            "",
            ALGORITHM,
            Blob { params: self.params, salt, sealed: &sealed }.encode(),
        )
    }

    async fn unwrap(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        let key = wrapped.key_uri();
        if wrapped.wrap_algorithm() != ALGORITHM || !wrapped.key_version().is_empty() {
            let message =
                "this is no passphrase recipient of algorithm ARGON2ID-COBBLESTONE-256 without version";
            return Err(error_of(ProviderErrorKind::Unsupported, key, message));
        }
        let blob = Blob::decode(wrapped.ciphertext()).ok_or_else(|| {
            error_of(ProviderErrorKind::Unauthentic, key, "the wrapped DEK does not have 129 bytes")
        })?;
        blob.params.check().map_err(|error| argon2_error(key, error))?;
        if blob.params.work() > self.allowed_work {
            let error = Argon2Error::TooMuchWork { params: blob.params, allowed: self.allowed_work };
            return Err(argon2_error(key, error));
        }
        let derived = self.derive(key, blob.params, blob.salt).await?;
        let wrong = || {
            let message = "wrong passphrase or context, or the wrapped DEK was changed";
            error_of(ProviderErrorKind::Unauthentic, key, message)
        };
        let opened =
            cobblestone::open::<DefaultEngine>(&derived, &wrap_binding(key, "", context)?, blob.sealed)
                .map(Zeroizing::new)
                .map_err(|_| wrong())?;
        Dek::from_slice(&opened).map_err(|_| wrong())
    }

    async fn derive(
        &self,
        key: &KeyUri,
        params: Argon2Params,
        salt: [u8; SALT_LEN],
    ) -> Result<Arc<Key256>, ProviderError> {
        let (known, keys) = (|| self.keys.known(params, &salt).map(Ok), Arc::clone(&self.keys));
        match self.turns.run(known, move || keys.derive(params, &salt)).await {
            Ok(derived) => derived.map_err(|error| argon2_error(key, error)),
            Err(error) => {
                Err(error_of(ProviderErrorKind::Other, key, "the passphrase was not hashed")
                    .with_source(error))
            }
        }
    }
}

impl DerivedKeys {
    fn known(&self, params: Argon2Params, salt: &[u8; SALT_LEN]) -> Option<Arc<Key256>> {
        let same = |known: &&Derived| known.params == params && known.salt == *salt;
        self.lock().iter().find(same).map(|known| Arc::clone(&known.key))
    }

    fn derive(&self, params: Argon2Params, salt: &[u8; SALT_LEN]) -> Result<Arc<Key256>, Argon2Error> {
        // Another call may have derived it while this one waited for its turn.
        if let Some(known) = self.known(params, salt) {
            return Ok(known);
        }
        let key = Arc::new(argon2id::derive(&self.passphrase, params, salt)?);
        let mut kept = self.lock();
        if kept.len() == MAX_DERIVED {
            kept.remove(0);
        }
        kept.push(Derived { params, salt: *salt, key: Arc::clone(&key) });
        Ok(key)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Derived>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl KeyProvider for PassphraseProvider {
    fn name(&self) -> &'static str {
        NAME
    }

    fn context_binding(&self, _wrapped: &WrappedDek) -> ContextBinding {
        ContextBinding::Provider
    }

    fn binding_of_new_wraps(&self, _key: &KeyUri) -> Option<ContextBinding> {
        Some(ContextBinding::Provider)
    }

    /// Who has typed it waits for the work of each call, which fills the cores.
    fn waits_for_a_person(&self, _key: &KeyUri) -> bool {
        true
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        check_key(key)?;
        self.wrap(key, dek, context).await
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        check_key(wrapped.key_uri())?;
        self.unwrap(wrapped, context).await
    }
}

/// A wrapped DEK in its parts.
struct Blob<'a> {
    params: Argon2Params,
    salt: [u8; SALT_LEN],
    sealed: &'a [u8],
}

impl<'a> Blob<'a> {
    fn encode(&self) -> Vec<u8> {
        let mut blob = Vec::with_capacity(BLOB_LEN);
        blob.extend(self.params.m_cost.to_be_bytes());
        blob.extend(self.params.t_cost.to_be_bytes());
        let [.., p_cost] = self.params.p_cost.to_be_bytes();
        blob.push(p_cost);
        blob.extend(self.salt);
        blob.extend(self.sealed);
        blob
    }

    fn decode(blob: &'a [u8]) -> Option<Self> {
        if blob.len() != BLOB_LEN {
            return None;
        }
        let (m_cost, rest) = blob.split_first_chunk()?;
        let (t_cost, rest) = rest.split_first_chunk()?;
        let (p_cost, rest) = rest.split_first()?;
        let (salt, sealed) = rest.split_first_chunk()?;
        let params = Argon2Params {
            m_cost: u32::from_be_bytes(*m_cost),
            t_cost: u32::from_be_bytes(*t_cost),
            p_cost: u32::from(*p_cost),
        };
        Some(Self { params, salt: *salt, sealed })
    }
}

/// Refuses a key of another kind of key store.
pub(crate) fn check_key(key: &KeyUri) -> Result<(), ProviderError> {
    if *key == KeyUri::passphrase() {
        Ok(())
    } else {
        let message = "a passphrase opens only the key URI `passphrase:`";
        Err(error_of(ProviderErrorKind::Unsupported, key, message))
    }
}

fn argon2_error(key: &KeyUri, error: Argon2Error) -> ProviderError {
    let kind = match error {
        Argon2Error::OutOfBounds { .. } | Argon2Error::TooMuchWork { .. } => ProviderErrorKind::Unsupported,
        _ => ProviderErrorKind::Other,
    };
    error_of(kind, key, &error.to_string()).with_source(error)
}

fn error_of(kind: ProviderErrorKind, key: &KeyUri, message: &str) -> ProviderError {
    ProviderError::new(kind, NAME, key, message)
}

/// The name of passphrases as a provider, and their scheme.
pub(crate) const NAME: &str = "passphrase";
const ALGORITHM: &str = "ARGON2ID-COBBLESTONE-256";
const MAX_DERIVED: usize = 32;
const BLOB_LEN: usize =
    4 + 4 + 1 + SALT_LEN + cobblestone::PREFIX_LEN + Dek::LEN + envelope_sdk::crypto::TAG_LEN;

#[cfg(test)]
mod tests {
    use futures_executor::block_on;

    use super::*;

    #[test]
    fn argon2id_runs_once_for_each_salt_and_the_keys_kept_are_bounded() {
        let passphrase = || Passphrase::new("x".into()).unwrap();
        let fast = || PassphraseProvider::with_params(passphrase(), Argon2Params::MINIMUM).unwrap();
        let (provider, key, context) = (fast(), KeyUri::passphrase(), FullContext::empty());
        let dek = Dek::generate::<DefaultEngine>().unwrap();
        let kept = || provider.keys.lock().len();
        for _ in 0..3 {
            let own = block_on(provider.wrap_dek(&key, &dek, &context)).unwrap();
            block_on(provider.unwrap_dek(&own, &context)).unwrap();
            assert_eq!(kept(), 1);
        }
        for others in 1..=MAX_DERIVED + 2 {
            let theirs = block_on(fast().wrap_dek(&key, &dek, &context)).unwrap();
            for _ in 0..2 {
                block_on(provider.unwrap_dek(&theirs, &context)).unwrap();
                assert_eq!(kept(), (1 + others).min(MAX_DERIVED));
            }
        }
    }
}
