//! From key URIs to providers: [`Registry`].
//!
//! A registry is a value that a program makes; there is no global one. It knows
//! no key store: each comes as a [`Scheme`], made of settings that are the
//! operator's and never of words in a key URI. The crate `envelope-providers`
//! makes one from a configuration file, with every key store of this repository
//! and those that a program adds.

mod instances;
mod settings;

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    KeyAdmin, KeyProvider, KeyUri, Keyring, ProviderError, ProviderErrorKind,
    admin::{Details, cannot},
};

pub use instances::Instances;
pub use settings::{
    MissingSetting, SecretOption, SettingError, SettingOption, Settings, Surroundings, SurveyOption, text,
};

/// A kind of key store and how to reach it: opens the keys of some schemes.
///
/// Opening is lazy. Neither [`open`](Self::open) nor [`admin`](Self::admin) asks a
/// network, a token or a person for anything: that is done when a key is used,
/// in the asynchronous calls of what they return. And one instance is opened for
/// each set of credentials, however many keys are opened: what is learned once
/// (a session, a passphrase, an alias) is learned for all of them.
#[async_trait]
pub trait Scheme: Send + Sync {
    /// Its name, which is unique in a registry: that of its provider
    /// ([`KeyProvider::name`]), or of the main one: `local`, `aws`, …
    fn provider(&self) -> &'static str;

    /// The schemes of the key URIs that it opens, in lower case without the
    /// colon.
    fn schemes(&self) -> &'static [&'static str];

    /// The provider of `key`, which the operator named: never a key that only a
    /// header names.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when the settings lack something or contradict
    /// themselves or the key.
    fn open(&self, key: &KeyUri, purpose: Purpose) -> Result<Arc<dyn KeyProvider>, ProviderError>;

    /// The key that a bare name, without a scheme, means here, if there is one:
    /// found without any secret. `None` by default.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when the names cannot be looked at. That there are none yet is none.
    fn key_named(&self, name: &str) -> Result<Option<KeyUri>, ProviderError> {
        let _ = name;
        Ok(None)
    }

    /// The key that `text`, which is no [`KeyUri`], means here as other tools write keys of this key store, such as
    /// an address with a path. `None` by default. Nobody is asked.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when it is such a text, and names what the settings do not, such as another server.
    fn key_of_other_tools(&self, text: &str) -> Result<Option<KeyUri>, ProviderError> {
        let _ = text;
        Ok(None)
    }

    /// Who manages `key`; without a key, who makes and lists keys where the
    /// settings say.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] as in [`open`](Self::open), or by default, since this
    /// key store manages no keys.
    fn admin(&self, key: Option<&KeyUri>) -> Result<Arc<dyn KeyAdmin>, ProviderError> {
        Err(cannot(self.provider(), key, "manage keys: use its own tools"))
    }

    /// What there is to be reached: the tokens of a module, the region and
    /// account of the credentials. Needs no key and no secret.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when it cannot be asked, or by default, since there is
    /// nothing to tell.
    async fn survey(&self) -> Result<Details, ProviderError> {
        Err(cannot(self.provider(), None, "tell what there is to be reached"))
    }
}

/// What a provider will be used for. It matters only where a person is asked for
/// a secret: a new passphrase is typed twice, an old one once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// To wrap the DEKs of new envelopes.
    Encrypt,
    /// To unwrap.
    Decrypt,
    /// To wrap in place of a key of before: in a rewrap.
    Replace,
}

/// The key stores of a program.
///
/// ```
/// # use std::sync::Arc;
/// # use envelope_sdk::{KeyProvider, KeyUri, ProviderError};
/// use envelope_sdk::registry::{Purpose, Registry, Scheme};
///
/// # struct Example(Arc<dyn KeyProvider>);
/// impl Scheme for Example {
///     fn provider(&self) -> &'static str {
///         "example"
///     }
///     fn schemes(&self) -> &'static [&'static str] {
///         &["example"]
///     }
///     fn open(&self, _key: &KeyUri, _: Purpose) -> Result<Arc<dyn KeyProvider>, ProviderError> {
///         Ok(Arc::clone(&self.0))
///     }
/// }
///
/// # fn keyring(example: Example) -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Registry::new().with(example);
/// let key = KeyUri::parse("example:orders")?;
/// let keyring = registry.keyring(&[key.clone()], &[key])?;
/// # let _ = keyring; Ok(()) }
/// ```
#[derive(Clone, Default)]
pub struct Registry {
    schemes: Vec<Arc<dyn Scheme>>,
}

impl Registry {
    /// A registry of no key store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key store. One that has a provider's name, or a scheme, of an
    /// earlier one takes its place for that.
    #[must_use]
    pub fn with(self, scheme: impl Scheme + 'static) -> Self {
        self.with_arc(Arc::new(scheme))
    }

    /// Adds a key store that is shared.
    #[must_use]
    pub fn with_arc(mut self, scheme: Arc<dyn Scheme>) -> Self {
        self.schemes.retain(|known| known.provider() != scheme.provider());
        self.schemes.insert(0, scheme);
        self
    }

    /// The names of the providers, in alphabetical order.
    #[must_use]
    pub fn providers(&self) -> Vec<&'static str> {
        sorted(self.schemes.iter().map(|scheme| scheme.provider()))
    }

    /// The schemes of the key URIs that can be opened, in alphabetical order.
    #[must_use]
    pub fn schemes(&self) -> Vec<&'static str> {
        sorted(self.schemes.iter().flat_map(|scheme| scheme.schemes()).copied())
    }

    /// The key store of that name.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] of kind [`ProviderErrorKind::Unsupported`] when there is none.
    pub fn named(&self, provider: &str) -> Result<&Arc<dyn Scheme>, ProviderError> {
        self.schemes.iter().find(|scheme| scheme.provider() == provider).ok_or_else(|| {
            let message =
                format!("there is no provider of that name; there are: {}", self.providers().join(", "));
            ProviderError::without_key(ProviderErrorKind::Unsupported, NAME, message)
        })
    }

    /// The key store of a key.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] of kind [`ProviderErrorKind::Unsupported`] when the
    /// scheme is of none. It repeats the key only if the scheme is one of
    /// [`KeyUri`]'s own: a passphrase with a colon in it reads as a key of an
    /// unknown scheme.
    pub fn of(&self, key: &KeyUri) -> Result<&Arc<dyn Scheme>, ProviderError> {
        let opens = |scheme: &&Arc<dyn Scheme>| scheme.schemes().contains(&key.scheme());
        self.schemes.iter().find(opens).ok_or_else(|| {
            let here =
                self.schemes().iter().map(|scheme| format!("{scheme}:")).collect::<Vec<_>>().join(", ");
            let unsupported =
                |message| ProviderError::without_key(ProviderErrorKind::Unsupported, NAME, message);
            if key.has_known_scheme() {
                let scheme = key.scheme();
                unsupported(format!(
                    "there is no provider for {scheme}: keys here; there are those for {here}"
                ))
                .about(key)
            } else {
                unsupported(format!(
                    "there is no provider for a key that was named ({} bytes): its scheme is none of {here}",
                    key.as_str().len()
                ))
            }
        })
    }

    /// The provider of a key that the operator named.
    ///
    /// # Errors
    ///
    /// As [`of`](Self::of) and [`Scheme::open`].
    pub fn provider(&self, key: &KeyUri, purpose: Purpose) -> Result<Arc<dyn KeyProvider>, ProviderError> {
        self.of(key)?.open(key, purpose)
    }

    /// Who manages a key that the operator named.
    ///
    /// # Errors
    ///
    /// As [`of`](Self::of) and [`Scheme::admin`].
    pub fn admin(&self, key: &KeyUri) -> Result<Arc<dyn KeyAdmin>, ProviderError> {
        self.of(key)?.admin(Some(key))
    }

    /// The key that a bare name means to one of the key stores
    /// ([`Scheme::key_named`]).
    ///
    /// # Errors
    ///
    /// As there, if no other key store knows the name.
    pub fn key_named(&self, name: &str) -> Result<Option<KeyUri>, ProviderError> {
        let mut failed = None;
        for scheme in &self.schemes {
            match scheme.key_named(name) {
                // Another key store may have taken the scheme over.
                Ok(Some(key)) if self.of(&key).is_ok_and(|of| Arc::ptr_eq(of, scheme)) => {
                    return Ok(Some(key));
                }
                Ok(_) => {}
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        failed.map_or(Ok(None), Err)
    }

    /// The key that a text of another tool means to one of the key stores
    /// ([`Scheme::key_of_other_tools`]).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn key_of_other_tools(&self, text: &str) -> Result<Option<KeyUri>, ProviderError> {
        for scheme in &self.schemes {
            if let Some(key) = scheme.key_of_other_tools(text)? {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    /// A keyring of these keys.
    ///
    /// # Errors
    ///
    /// As [`provider`](Self::provider), for the first key that cannot be opened.
    pub fn keyring(&self, encrypt: &[KeyUri], decrypt: &[KeyUri]) -> Result<Keyring, ProviderError> {
        let keyring = encrypt.iter().try_fold(Keyring::new(), |keyring, key| {
            Ok(keyring.encrypt(self.provider(key, Purpose::Encrypt)?, key.clone()))
        })?;
        decrypt.iter().try_fold(keyring, |keyring, key| {
            Ok(keyring.decrypt(self.provider(key, Purpose::Decrypt)?, key.clone()))
        })
    }
}

fn sorted(names: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// What errors name where no provider is at hand.
const NAME: &str = "registry";
