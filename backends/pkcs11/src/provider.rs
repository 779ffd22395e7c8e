//! Wrapping and unwrapping DEKs on a token.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use envelope_sdk::{
    ContextBinding, Dek, FullContext, KeyProvider, KeyUri, KeyUriError, KeyUse, ProviderError,
    ProviderErrorKind, WrappedDek, printable,
};

use crate::{
    ModuleError, Pkcs11Config, Weakness,
    error::{Failure, NAME},
    keys::Which,
    mechanism::Algorithm,
    module,
    names::{self, Attributes, KeyName},
    pool::Pool,
    session::{Open, Shared},
    weakness::{Accepted, AllAccepted},
};

/// The keys of one token.
///
/// A key is named by an RFC 7512 URI: `pkcs11:token=LABEL;object=NAME` for a key
/// with versions, whose current one wraps, or `pkcs11:token=LABEL;id=%01` for
/// exactly one key. The URI chooses among the keys of the configured token and
/// nothing else: neither module, nor slot, nor PIN.
///
/// The token is looked for, and the PIN asked for, at the first use. All calls
/// of the token run on threads of the provider's own, one for each session;
/// dropping the provider waits for the calls that were begun, and closes the
/// sessions.
pub struct Pkcs11Provider {
    pub(crate) shared: Arc<Shared>,
    pub(crate) own_uri: KeyUri,
    pool: Pool,
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
        let (own_uri, sessions) = (own_uri(&config)?, config.sessions);
        let shared = Arc::new(Shared::new(module, config));
        let pool = Pool::start(&shared, sessions)?;
        Ok(Self { shared, own_uri, pool })
    }

    /// The URI `pkcs11:token=…;object=NAME` of a key of this token, whether it
    /// exists or not. Its token attributes are those of the configuration.
    ///
    /// # Errors
    ///
    /// [`KeyUriError`] when the configuration names the token neither by label
    /// nor by serial number, or the name is empty or too long.
    pub fn key_uri(&self, name: &str) -> Result<KeyUri, KeyUriError> {
        names::uri_of(&self.shared.token, Some(name.as_bytes()), None)
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

    /// Runs a job on a thread that has, or gets, a session.
    pub(crate) async fn with_session<T: Send + 'static>(
        &self,
        key: &KeyUri,
        mut job: impl FnMut(&mut Open) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, ProviderError> {
        let outcome = self.pool.run(move |worker| worker.read(&mut job)).await;
        outcome.map_err(|failure| failure.into_provider_error(key))
    }

    /// Runs a job that changes something on the token.
    pub(crate) async fn with_writing_session<T: Send + 'static>(
        &self,
        key: &KeyUri,
        job: impl FnOnce(&Open, &cryptoki::session::Session) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, ProviderError> {
        let outcome = self.pool.run(move |worker| worker.change(job)).await;
        outcome.map_err(|failure| failure.into_provider_error(key))
    }
}

/// A provider has nothing to show that is of use in a log.
impl fmt::Debug for Pkcs11Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pkcs11Provider({})", self.own_uri)
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
        let (version, algorithm, wrapped) = self.with_session(key, wrap).await?;
        WrappedDek::new(key.clone(), version, algorithm.name(), wrapped)
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        let key = wrapped.key_uri();
        let named = Named::of(key, &self.shared.accepted)?;
        let which =
            named.version(wrapped.key_version()).map_err(|failure| failure.into_provider_error(key))?;
        let Some(algorithm) = Algorithm::from_name(wrapped.wrap_algorithm()) else {
            let message =
                "a token wraps with PKCS11-AES-256-GCM, PKCS11-AES-KWP or PKCS11-RSA-OAEP-256 alone";
            return Err(ProviderError::new(ProviderErrorKind::Unsupported, NAME, key, message));
        };
        let (context, ciphertext) = (context.clone(), wrapped.ciphertext().to_vec());
        let unwrap = move |open: &mut Open| {
            named.check_token(open)?;
            let kek = open.kek(&named.key, which, named.accepted)?;
            kek.permit(KeyUse::Unwrap, named.accepted).map_err(Failure::or_look_again)?;
            open.unwrap(&kek, algorithm, &ciphertext, context.as_bytes())
        };
        self.with_session(key, unwrap).await
    }
}

/// What a key URI names.
pub(crate) struct Named {
    pub(crate) key: KeyName,
    pub(crate) accepted: Accepted,
    token: crate::TokenSelector,
}

impl Named {
    pub(crate) fn of(key: &KeyUri, accepted: &AllAccepted) -> Result<Self, ProviderError> {
        let error = |kind, message: &str| ProviderError::new(kind, NAME, key, message);
        let attributes = Attributes::of(key).ok_or_else(|| {
            error(ProviderErrorKind::Unsupported, "a token holds keys of the scheme pkcs11: alone")
        })?;
        let name = KeyName::of(attributes.object, attributes.id)
            .map_err(|reason| error(ProviderErrorKind::Invalid, reason))?;
        Ok(Self { key: name, accepted: accepted.of(key), token: attributes.token })
    }

    /// Refuses a key of another token than the configured one.
    pub(crate) fn check_token(&self, open: &Open) -> Result<(), Failure> {
        if self.token.fits(&open.token) {
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

/// Names the token in errors that are about no key of it.
fn own_uri(config: &Pkcs11Config) -> Result<KeyUri, ModuleError> {
    let any = || names::uri_of(&crate::TokenSelector::label("*"), Some(b"*"), None);
    names::uri_of(&config.token, Some(b"*"), None).or_else(|_| any()).map_err(|error| {
        // A label of more than 2000 bytes; tokens have at most 32.
        ModuleError::Threads(std::io::Error::new(std::io::ErrorKind::InvalidInput, error))
    })
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
