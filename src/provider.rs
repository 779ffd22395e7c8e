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
//!   it: the caller waits for each call, and a deadline of the
//!   [`Keyring`](crate::Keyring) is optional.

mod dek;
mod delegate;
mod error;
mod hand_on;
mod identity;
mod wrapped;

use async_trait::async_trait;

use crate::{FullContext, KeyUri, crypto::DefaultEngine};

pub use dek::{Dek, DekLengthError};
pub use error::{ProviderError, ProviderErrorKind};
pub use identity::ProviderIdentity;
pub use wrapped::WrappedDek;
pub(crate) use wrapped::is_algorithm_name;

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

    /// Tells this provider from others, also behind a decorator, which hands on
    /// the identity of the provider below. `None`, the default, is the same as no
    /// other: then nothing is [rewrapped](Self::rewrap_dek) inside the key store,
    /// since what may open and what may encrypt would not be known to be one. Where
    /// two providers have one identity, a rewrap asks both: a decorator that may refuse
    /// refuses in its own `rewrap_dek`.
    fn identity(&self) -> Option<ProviderIdentity> {
        None
    }

    /// The key that `key`, as it is configured, means now: what an alias stands
    /// for, the full form of a short one. The key itself by default. A
    /// [`Keyring`](crate::Keyring) asks once for each configured key, and only
    /// when something that may be that key is to be opened; it asks again when
    /// a wrap names another key than the answer of before.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when there is no such key, or the key store does not
    /// tell. Then the configured key opens nothing this time.
    async fn resolve(&self, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        Ok(key.clone())
    }

    /// Whether unwrapping `wrapped`, a wrap of this provider, fails when the
    /// context is another one: one key may have wrapped in several ways. The
    /// pessimistic answer is the default; the envelope binds the context in any
    /// case, but for the withheld values of a data key.
    fn context_binding(&self, wrapped: &WrappedDek) -> ContextBinding {
        let _ = wrapped;
        ContextBinding::EnvelopeOnly
    }

    /// Where the next wrap of `key` will bind the context, as far as is known without asking the key store.
    /// [`context_binding`](Self::context_binding) of that wrap must not be less. `None`, the default, where only the
    /// wrap tells.
    ///
    /// A [data key](crate::Reporting::create_data_key) with withheld values may miss only keys that are known to bind
    /// the context: a later rewrap could not add others.
    fn binding_of_new_wraps(&self, key: &KeyUri) -> Option<ContextBinding> {
        let _ = key;
        None
    }

    /// Whether a call about `key` may wait for a person, who types a passphrase or a PIN or touches a token. Not, by
    /// default. Such a key is never part of a [hedge](crate::Hedging).
    fn waits_for_a_person(&self, key: &KeyUri) -> bool {
        let _ = key;
        false
    }

    /// Whether `configured`, a key URI that the caller trusts, means the key
    /// that a header, or a new wrap, names as `recipient`. Equality by default; a
    /// provider whose keys have more than one name says more. `configured` is the
    /// key as the caller wrote it, or as [`resolve`](Self::resolve) returned it.
    /// It must not widen what the caller configured. Keys of two schemes are never
    /// the same: it is not asked then.
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

    /// Unwraps several wraps, which may be of several keys and contexts: a result for each, in the order
    /// of `wraps`. A key store that opens many in one call does so here; one after the other, by
    /// default. One that does not open is an error in its place, and the others open: only what went wrong for a
    /// whole call is told of each wrap in it.
    ///
    /// For jobs that open a thousand envelopes. It is the caller who limits how many DEKs are open at once.
    async fn unwrap_deks(&self, wraps: &[(&WrappedDek, &FullContext)]) -> Vec<Result<Dek, ProviderError>> {
        unwrap_one_by_one(self, wraps).await
    }

    /// Hears that the DEK which this provider gave for `wrapped` under `context` is not the one: the MAC of the
    /// header is wrong under it, or a new wrap did not give back what was wrapped. Nothing, by default.
    ///
    /// A layer that keeps DEKs drops this one, so that the next call asks the key store. It must do no more: it
    /// may be the header that was changed, by whoever sent it, and not the DEK. What the caller does next does not
    /// wait for it. A decorator hands it on.
    fn refuted(&self, wrapped: &WrappedDek, context: &FullContext) {
        let _ = (wrapped, context);
    }

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

/// Calls [`unwrap_dek`](KeyProvider::unwrap_dek) for each of `wraps`, one after the other. The default of
/// [`unwrap_deks`](KeyProvider::unwrap_deks), and that of a decorator which looks at each unwrap.
pub async fn unwrap_one_by_one<P: KeyProvider + ?Sized>(
    provider: &P,
    wraps: &[(&WrappedDek, &FullContext)],
) -> Vec<Result<Dek, ProviderError>> {
    let mut deks = Vec::with_capacity(wraps.len());
    for (wrapped, context) in wraps {
        deks.push(provider.unwrap_dek(wrapped, context).await);
    }
    deks
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
