//! Wrapping and unwrapping DEKs on a token.

use std::{fmt, sync::Arc, time::Instant};

use async_trait::async_trait;
use envelope_sdk::{
    ContextBinding, Dek, FullContext, KeyProvider, KeyUri, KeyUriError, KeyUse, ProviderError,
    ProviderErrorKind, WrappedDek, key_uri::pkcs11::Pkcs11Attributes, printable,
};

use crate::{
    algorithm::Algorithm,
    config::Pkcs11Config,
    error::{Failure, ModuleError, NAME},
    keys::Which,
    module,
    names::{self, KeyName},
    pool::Pool,
    selector::TokenSelector,
    session::{Open, Shared},
    weakness::{Accepted, AllAccepted, Weakness},
};

/// The keys of one token.
///
/// A key is named by an RFC 7512 URI: `pkcs11:token=LABEL;object=NAME` for a key
/// with versions, whose current one wraps, or `pkcs11:token=LABEL;id=%01` for
/// exactly one key. The URI chooses among the keys of the configured token and
/// nothing else: neither module, nor slot, nor PIN.
///
/// The token is looked for, and the PIN asked for, at the first use. All calls
/// of the token run on threads of the provider's own, one for each session and one for changes;
/// dropping the provider waits for the calls that were begun, and closes the
/// sessions.
pub struct Pkcs11Provider {
    pub(crate) shared: Arc<Shared>,
    pool: Pool,
    changes: Pool,
}

impl Pkcs11Provider {
    /// Loads the module. No token is used yet; but some modules connect to
    /// their device here, so that this may block.
    ///
    /// # Errors
    ///
    /// [`ModuleError`] when the path is not absolute, there is no such file, it
    /// is not a module, or it does not start.
    pub fn open(config: Pkcs11Config) -> Result<Self, ModuleError> {
        let module = module::load(&config.module)?;
        let sessions = config.sessions;
        let shared = Arc::new(Shared::new(module, config));
        let (pool, changes) = (Pool::start(&shared, sessions)?, Pool::start(&shared, 1)?);
        Ok(Self { shared, pool, changes })
    }

    /// The URI `pkcs11:token=…;object=NAME` of a key of this token, whether it
    /// exists or not. Its token attributes are those of the configuration.
    ///
    /// # Errors
    ///
    /// [`KeyUriError`] when the configuration names the token neither by label
    /// nor by serial number, or the name is empty or too long.
    pub fn key_uri(&self, name: &str) -> Result<KeyUri, KeyUriError> {
        names::uri_of(&self.shared.token, Some(name.into()), None)
    }

    /// [`ContextBinding::Provider`] for a wrap with AES-GCM; AES key wrap and RSA-OAEP take no context.
    /// Asks no token.
    #[must_use]
    pub fn binding_of(wrapped: &WrappedDek) -> ContextBinding {
        Algorithm::from_name(wrapped.wrap_algorithm())
            .map_or(ContextBinding::EnvelopeOnly, Algorithm::binding)
    }

    /// The weaknesses that the configuration accepts for this key.
    pub fn accepted(&self, key: &KeyUri) -> impl Iterator<Item = Weakness> + use<> {
        let accepted = self.shared.accepted.of(key);
        Weakness::ALL.into_iter().filter(move |weakness| accepted.has(*weakness))
    }

    /// Runs a job on a thread that has, or gets, a session. `about` is the key that
    /// an error is about, if it is about one.
    pub(crate) async fn with_session<T: Send + 'static>(
        &self,
        about: Option<&KeyUri>,
        mut job: impl FnMut(&mut Open) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, ProviderError> {
        let outcome = self.pool.run(move |worker| worker.read(&mut job)).await;
        outcome.map_err(|failure| failure.about(about))
    }

    /// As [`with_session`](Self::with_session) for what changes something on the
    /// token: one change after the other, on a thread that may have to wait for other programs while
    /// those of the pool serve on.
    pub(crate) async fn with_writing_session<T: Send + 'static>(
        &self,
        about: Option<&KeyUri>,
        job: impl FnOnce(&Open) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, ProviderError> {
        // Others do not wait until somebody has typed a PIN.
        self.with_session(about, |open| open.check_alive()).await?;
        let called = Instant::now();
        let outcome = self.changes.run(move |worker| worker.change(called, job)).await;
        outcome.map_err(|failure| failure.about(about))
    }
}

/// A provider has nothing more to show that is of use in a log.
impl fmt::Debug for Pkcs11Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pkcs11Provider(token with {})", self.shared.token)
    }
}

/// Wraps with `PKCS11-AES-256-GCM`, `PKCS11-AES-KWP` or `PKCS11-RSA-OAEP-256`,
/// the first of these that token and key allow.
///
/// The key version is the decimal number of the label's `#vN`, `1` for a label
/// without it, and empty for a key named by `id=`.
#[async_trait]
impl KeyProvider for Pkcs11Provider {
    fn name(&self) -> &'static str {
        NAME
    }

    fn context_binding(&self, wrapped: &WrappedDek) -> ContextBinding {
        Self::binding_of(wrapped)
    }

    /// For a touch, or at a pad of its own: which tokens do, nothing tells beforehand.
    fn waits_for_a_person(&self, _key: &KeyUri) -> bool {
        true
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        let named = Named::of(key, &self.shared.accepted)?;
        // The job outlives a future that is dropped, so it has its own copy.
        let copy = Dek::fill_with(|copy| {
            copy.copy_from_slice(dek.expose());
            Ok::<_, ProviderError>(())
        })?;
        let context = context.clone();
        let wrap = move |open: &mut Open| {
            named.check_token(open)?;
            let kek = open.kek(&named.key, Which::Current, named.accepted)?;
            // What the attributes forbid is looked up anew: another program may have changed them.
            kek.permit(KeyUse::Wrap, named.accepted).map_err(Failure::or_look_again)?;
            let (algorithm, wrapped) = open.wrap(&kek, &copy, context.as_bytes())?;
            Ok((kek.attributes.version, algorithm, wrapped))
        };
        let (version, algorithm, wrapped) = self.with_session(Some(key), wrap).await?;
        WrappedDek::new(key.clone(), version, algorithm.name(), wrapped)
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        let key = wrapped.key_uri();
        let named = Named::of(key, &self.shared.accepted)?;
        let Some(algorithm) = Algorithm::from_name(wrapped.wrap_algorithm()) else {
            let message = "a token wraps only with PKCS11-AES-256-GCM, PKCS11-AES-KWP or PKCS11-RSA-OAEP-256";
            return Err(ProviderError::new(ProviderErrorKind::Unsupported, NAME, key, message));
        };
        let which = named.version(wrapped.key_version()).map_err(|failure| failure.about(Some(key)))?;
        let (context, ciphertext) = (context.clone(), wrapped.ciphertext().to_vec());
        let unwrap = move |open: &mut Open| {
            named.check_token(open)?;
            let kek = open.kek(&named.key, which, named.accepted)?;
            kek.permit(KeyUse::Unwrap, named.accepted).map_err(Failure::or_look_again)?;
            open.unwrap(&kek, algorithm, &ciphertext, context.as_bytes())
        };
        self.with_session(Some(key), unwrap).await
    }
}

/// What a key URI names.
pub(crate) struct Named {
    pub(crate) key: KeyName,
    pub(crate) accepted: Accepted,
    token: TokenSelector,
}

impl Named {
    pub(crate) fn of(key: &KeyUri, accepted: &AllAccepted) -> Result<Self, ProviderError> {
        let error = |kind, message: &str| ProviderError::new(kind, NAME, key, message);
        let attributes = Pkcs11Attributes::of(key).ok_or_else(|| {
            error(ProviderErrorKind::Unsupported, "a token holds only keys of the scheme pkcs11:")
        })?;
        let name = KeyName::of(attributes.object.clone(), attributes.id.clone())
            .map_err(|reason| error(ProviderErrorKind::Invalid, reason))?;
        Ok(Self { key: name, accepted: accepted.of(key), token: TokenSelector::of_attributes(attributes) })
    }

    /// Whether it may be a key of this token.
    pub(crate) fn is_of(&self, open: &Open) -> bool {
        self.token.fits(&open.token)
    }

    /// Refuses a key of another token than the configured one.
    pub(crate) fn check_token(&self, open: &Open) -> Result<(), Failure> {
        if self.is_of(open) {
            return Ok(());
        }
        let label = printable::text(open.token.label());
        let message = format!("it is a key of another token; this one is \"{label}\"");
        Err(Failure::new(ProviderErrorKind::NotFound, message))
    }

    /// The version that a header, or a caller, names.
    pub(crate) fn version(&self, version: &str) -> Result<Which, Failure> {
        match (&self.key, names::decimal(version)) {
            (KeyName::Versions(_), Some(number)) => Ok(Which::Number(number)),
            (KeyName::Object { .. }, None) if version.is_empty() => Ok(Which::Current),
            _ => {
                let message =
                    "the key has no such version: those of object= keys are numbers, id= keys have none";
                Err(Failure::new(ProviderErrorKind::NotFound, message))
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]
mod tests {
    use super::*;

    #[test]
    fn what_a_wrap_binds_is_said_of_each_wrap_and_not_of_its_key() {
        let key = KeyUri::parse("pkcs11:token=t;object=db").unwrap();
        for (algorithm, binding) in [
            ("PKCS11-AES-256-GCM", ContextBinding::Provider),
            ("PKCS11-AES-KWP", ContextBinding::EnvelopeOnly),
            ("PKCS11-RSA-OAEP-256", ContextBinding::EnvelopeOnly),
            ("ANOTHER", ContextBinding::EnvelopeOnly),
        ] {
            let wrapped = WrappedDek::new(key.clone(), "1", algorithm, vec![7; 60]).unwrap();
            assert_eq!(Pkcs11Provider::binding_of(&wrapped), binding, "{algorithm}");
        }
    }
}
