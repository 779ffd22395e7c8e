//! The one joint between the core and the world: [`KeyProvider`].
//!
//! A provider wraps and unwraps 32-byte DEKs under keys that it knows by
//! [`KeyUri`]. Anyone can write one: implement the trait, run the conformance
//! suite of `envelope-testkit` over it, hand it to a
//! [`Keyring`](crate::Keyring).
//!
//! # What a provider promises
//!
//! - It wraps under the key it was asked for, or fails. The [`WrappedDek`] it
//!   returns names that key and version; for an alias, the key behind it. A
//!   [`Keyring`](crate::Keyring) refuses a wrap that names a key which
//!   [`is_same_key`](KeyProvider::is_same_key) does not take for the configured one.
//! - It unwraps only what it wrapped under the key the `WrappedDek` names, with
//!   the same context if its [`ContextBinding`] says so.
//! - It refuses a key whose [`KeyState`](crate::KeyState) does not permit the
//!   use, with [`ProviderErrorKind::State`].
//! - Its errors hold no secret bytes, and neither do its logs.
//! - Dropping one of its futures half-way leaves nothing secret behind and
//!   nothing half-written.
//! - It answers or fails in bounded time, without blocking the thread that polls
//!   it: the caller waits for each call, and sets no deadline of its own.

use std::{error::Error, fmt};

use async_trait::async_trait;
use subtle::ConstantTimeEq;

use crate::{
    FullContext, KeyUri,
    crypto::{DefaultEngine, Engine, Key256, RandomError},
};

/// Wraps and unwraps DEKs under key-encryption keys (KEKs).
///
/// # Example
///
/// A provider outside this repository needs no more than this; a real one calls
/// its key store where this one uses a key from memory.
///
/// ```
/// use async_trait::async_trait;
/// use envelope_sdk::crypto::{DefaultEngine, Key256, xaes::XaesKey};
/// use envelope_sdk::{
///     ContextBinding, Dek, FullContext, KeyProvider, KeyUri, ProviderError, ProviderErrorKind,
///     WrappedDek,
/// };
///
/// struct InMemory(XaesKey<DefaultEngine>);
///
/// #[async_trait]
/// impl KeyProvider for InMemory {
///     fn name(&self) -> &'static str {
///         "in-memory"
///     }
///
///     fn context_binding(&self, _wrapped: &WrappedDek) -> ContextBinding {
///         ContextBinding::Provider
///     }
///
///     async fn wrap_dek(&self, key: &KeyUri, dek: &Dek, context: &FullContext) -> Result<WrappedDek, ProviderError> {
///         let sealed = self.0.seal(dek.expose(), context.as_bytes()).map_err(|error| {
///             ProviderError::new(ProviderErrorKind::Other, self.name(), key, "no randomness").with_source(error)
///         })?;
///         WrappedDek::new(key.clone(), "", "XAES-256-GCM", sealed)
///     }
///
///     async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
///         let refuse = || {
///             ProviderError::new(ProviderErrorKind::Unauthentic, self.name(), wrapped.key_uri(), "does not open")
///         };
///         Dek::fill_with(|dek| self.0.open_to(wrapped.ciphertext(), context.as_bytes(), dek)).map_err(|_| refuse())
///     }
/// }
/// ```
#[async_trait]
pub trait KeyProvider: Send + Sync {
    /// A short name for messages: `local`, `aws`, `pkcs11`, …
    fn name(&self) -> &'static str;

    /// Whether unwrapping `wrapped`, a wrap of this provider, fails when the
    /// context is another one: one key may have wrapped in several ways. The
    /// pessimistic answer is the default; the envelope binds the context in any
    /// case, but for the withheld values of a data key.
    fn context_binding(&self, wrapped: &WrappedDek) -> ContextBinding {
        let _ = wrapped;
        ContextBinding::EnvelopeOnly
    }

    /// Whether `configured`, a key URI that the caller trusts, means the key
    /// that a header, or a new wrap, names as `recipient`. Equality by default; a
    /// provider with aliases says more. It must not widen what the caller
    /// configured. Keys of two schemes are never the same: it is not asked then.
    fn is_same_key(&self, configured: &KeyUri, recipient: &KeyUri) -> bool {
        configured == recipient
    }

    /// Wraps `dek` under the current version of `key`, with `context` bound if
    /// the backend can.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] with the reason and whether trying again may help.
    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError>;

    /// Unwraps what [`wrap_dek`](Self::wrap_dek) returned.
    ///
    /// # Errors
    ///
    /// [`ProviderError`]; its kind is [`ProviderErrorKind::Unauthentic`] when
    /// key, context or ciphertext do not fit together.
    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError>;

    /// Whether the DEK of a new envelope shall come from
    /// [`generate_dek`](Self::generate_dek) if `key` encrypts: the key store
    /// makes and wraps it in one call. The first such key of a keyring is asked
    /// before all others wrap its DEK. Otherwise, and by default, the DEK comes
    /// from this machine's generator and every key wraps it at the same time.
    fn generates_deks(&self, key: &KeyUri) -> bool {
        let _ = key;
        false
    }

    /// Makes a fresh DEK and wraps it under the current version of `key`, with
    /// `context` bound if the backend can. Each call returns another DEK, from a
    /// generator fit for keys. By default one of this machine, wrapped by
    /// [`wrap_dek`](Self::wrap_dek).
    ///
    /// # Errors
    ///
    /// As [`wrap_dek`](Self::wrap_dek).
    async fn generate_dek(
        &self,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<(Dek, WrappedDek), ProviderError> {
        let dek = Dek::generate::<DefaultEngine>().map_err(|error| {
            let message = "the operating system gave no randomness";
            ProviderError::new(ProviderErrorKind::Other, self.name(), key, message).with_source(error)
        })?;
        let wrapped = self.wrap_dek(key, &dek, context).await?;
        Ok((dek, wrapped))
    }

    /// Wraps under the current version of `key` what `wrapped` holds, inside the
    /// key store, in one call and without handing out the DEK. `context` is that
    /// of both wraps. `None`, the default, where the key store cannot, or where
    /// it would save no call: the caller then unwraps and wraps.
    ///
    /// A caller must not trust the new wrap before it gave back the same DEK.
    ///
    /// # Errors
    ///
    /// As [`wrap_dek`](Self::wrap_dek) and [`unwrap_dek`](Self::unwrap_dek).
    async fn rewrap_dek(
        &self,
        wrapped: &WrappedDek,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        let _ = (wrapped, key, context);
        Ok(None)
    }
}

/// Where a provider's wraps bind the encryption context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ContextBinding {
    /// The provider itself refuses to unwrap under another context.
    Provider,
    /// The provider takes no context (RSA-OAEP, AES key wrap): the envelope's
    /// own derivation alone binds it.
    EnvelopeOnly,
}

/// A data-encryption key: 32 random bytes, one per envelope or data key.
///
/// Zeroized on drop, compared in constant time, neither `Clone` nor printable.
pub struct Dek(Key256);

impl Dek {
    /// Bytes of a DEK.
    pub const LEN: usize = 32;

    /// A fresh DEK from the operating system's generator.
    ///
    /// # Errors
    ///
    /// [`RandomError`] when the system has no randomness to give.
    pub fn generate<E: Engine>() -> Result<Self, RandomError> {
        Key256::generate::<E>().map(Self)
    }

    /// A DEK that `fill` writes in place, so that no copy is left elsewhere.
    ///
    /// # Errors
    ///
    /// Whatever `fill` returns.
    pub fn fill_with<R>(fill: impl FnOnce(&mut [u8; 32]) -> Result<(), R>) -> Result<Self, R> {
        Key256::fill_with(fill).map(Self)
    }

    /// Copies a DEK that a KMS returned. Wiping `bytes` stays with the caller.
    ///
    /// # Errors
    ///
    /// [`DekLengthError`] when there are not exactly 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, DekLengthError> {
        let bytes: &[u8; 32] = bytes.try_into().map_err(|_| DekLengthError { actual: bytes.len() })?;
        Ok(Self(Key256::copy_from(bytes)))
    }

    /// The DEK itself: for wrapping only.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }
}

impl ConstantTimeEq for Dek {
    fn ct_eq(&self, other: &Self) -> subtle::Choice {
        self.0.ct_eq(&other.0)
    }
}

impl fmt::Debug for Dek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dek(..)")
    }
}

/// What came back as a DEK has not 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a DEK has 32 bytes, not {actual}")]
pub struct DekLengthError {
    /// How many there were.
    pub actual: usize,
}

/// A wrapped DEK with the names needed to unwrap it: one recipient of a header.
/// Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedDek {
    key_uri: KeyUri,
    key_version: String,
    wrap_algorithm: String,
    ciphertext: Vec<u8>,
}

impl WrappedDek {
    /// Most bytes of a wrapped DEK.
    pub const MAX_CIPHERTEXT_LEN: usize = 4096;
    /// Most bytes of a key version.
    pub const MAX_VERSION_LEN: usize = 512;

    /// A wrapped DEK, for providers.
    ///
    /// `key_version` is the version as the KMS names it, or empty;
    /// `wrap_algorithm` is a name from the format's registry, 1 to 255
    /// characters of `A–Z a–z 0–9 - _ . +`.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] of kind [`ProviderErrorKind::Protocol`] when the key
    /// URI is not resolved, the ciphertext is empty or longer than 4096 bytes,
    /// or a name does not fit: a header could not hold it.
    pub fn new(
        key_uri: KeyUri,
        key_version: impl Into<String>,
        wrap_algorithm: impl Into<String>,
        ciphertext: Vec<u8>,
    ) -> Result<Self, ProviderError> {
        let (key_version, wrap_algorithm) = (key_version.into(), wrap_algorithm.into());
        let problem = if !key_uri.is_resolved() {
            "the key URI is an alias or short form"
        } else if ciphertext.is_empty() || ciphertext.len() > Self::MAX_CIPHERTEXT_LEN {
            "the wrapped DEK must have 1 to 4096 bytes"
        } else if key_version.len() > Self::MAX_VERSION_LEN {
            "the key version is longer than 512 bytes"
        } else if !is_algorithm_name(&wrap_algorithm) {
            "the wrap algorithm is not a name of the registry's form"
        } else {
            return Ok(Self { key_uri, key_version, wrap_algorithm, ciphertext });
        };
        Err(ProviderError::new(ProviderErrorKind::Protocol, "core", &key_uri, problem))
    }

    /// The key that wrapped it.
    #[must_use]
    pub fn key_uri(&self) -> &KeyUri {
        &self.key_uri
    }

    /// The version of that key, as its KMS names it; may be empty.
    #[must_use]
    pub fn key_version(&self) -> &str {
        &self.key_version
    }

    /// How it was wrapped, a name of the format's registry.
    #[must_use]
    pub fn wrap_algorithm(&self) -> &str {
        &self.wrap_algorithm
    }

    /// The wrapped DEK.
    #[must_use]
    pub fn ciphertext(&self) -> &[u8] {
        &self.ciphertext
    }
}

pub(crate) fn is_algorithm_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte);
    (1..=255).contains(&name.len()) && name.bytes().all(allowed)
}

/// Why a provider did not wrap or unwrap.
#[derive(Debug)]
pub struct ProviderError {
    kind: ProviderErrorKind,
    provider: &'static str,
    key: KeyUri,
    message: String,
    retryable: bool,
    source: Option<Box<dyn Error + Send + Sync>>,
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
    /// An error. It is retryable if its kind is `Unavailable` or `Throttled`;
    /// see [`retryable`](Self::retryable) for the exceptions. `message` says
    /// what failed and what to do, without secret bytes.
    #[must_use]
    pub fn new(
        kind: ProviderErrorKind,
        provider: &'static str,
        key: &KeyUri,
        message: impl Into<String>,
    ) -> Self {
        let retryable = matches!(kind, ProviderErrorKind::Unavailable | ProviderErrorKind::Throttled);
        Self { kind, provider, key: key.clone(), message: message.into(), retryable, source: None }
    }

    /// Adds the error below. It must not print secret bytes.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
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

    /// The provider's [`name`](KeyProvider::name).
    #[must_use]
    pub fn provider(&self) -> &'static str {
        self.provider
    }

    /// The key it was about.
    #[must_use]
    pub fn key(&self) -> &KeyUri {
        &self.key
    }

    /// What failed, without provider and key.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} key {}: {}", self.provider, self.key, self.message)
    }
}

impl Error for ProviderError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
