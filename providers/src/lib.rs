#![doc = include_str!("../README.md")]

#[cfg(feature = "audit")]
mod audit;
mod backends;
mod builder;
mod caches;
mod error;
mod error_class;
mod file;
mod keyring;
mod layers;
mod names;
mod policy;
mod registration;
mod secrets;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use envelope_policy::{Guard, Operation, PolicyFile, distinct_keys};
#[cfg(feature = "audit")]
use envelope_sdk::Envelope;
use envelope_sdk::{
    KeyUri, Keyring, ProviderError, Registry, WrapPolicy, registry::Purpose, secret::Secrets,
};

pub use builder::Builder;
pub use caches::Caches;
pub use error::ProvidersError;
pub use error_class::{ErrorClass, most_telling};
pub use registration::Registration;
pub use secrets::EnvironmentSecrets;

use keyring::Common;
use names::Keys;
use policy::Governed;

/// The key stores and keys of a configuration.
pub struct Providers {
    registry: Registry,
    governed: Governed,
    keys: Keys,
    keystore: Option<PathBuf>,
    files: Vec<PathBuf>,
    secrets: Arc<dyn Secrets>,
    caches: Caches,
    common: Common,
}

impl Providers {
    /// Reads a configuration, with every key store of this build, and secrets from
    /// the environment. [`builder`](Self::builder) says other things.
    ///
    /// # Errors
    ///
    /// [`ProvidersError`] that names the file and what is wrong with it.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ProvidersError> {
        Self::builder().file(path.as_ref()).build()
    }

    /// Says what the configuration does not.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The key stores, for keys that are named otherwise, and to manage keys.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The key stores, to rewrap: as far as the policy allows that, for envelopes that will have at least so many
    /// recipients. Without a policy the same as [`registry`](Self::registry).
    #[must_use]
    pub fn registry_to_rewrap(&self, recipients: usize) -> Registry {
        self.governed.to_rewrap(recipients)
    }

    /// The key stores, for new envelopes of so many recipients. Without a policy the same as
    /// [`registry`](Self::registry), for which a policy that requires recipients denies to wrap.
    #[must_use]
    pub fn registry_to_encrypt(&self, recipients: usize) -> Registry {
        self.governed.to_encrypt(recipients)
    }

    /// The policy that stands before the key stores, if there is one.
    #[must_use]
    pub fn policy(&self) -> Option<&PolicyFile> {
        self.governed.file()
    }

    /// Who asks the policy, if there is one. What is asked of it here nobody records: see [`check`](Self::check).
    #[must_use]
    pub fn guard(&self) -> Option<&Guard> {
        self.governed.guard()
    }

    /// Asks the policy, if there is one, for what uses no key store: of the keys, such as those of a header, or of none in
    /// particular. What it denies is recorded in the audit log, if there is one.
    ///
    /// # Errors
    ///
    /// [`AccessDenied`](envelope_sdk::ProviderErrorKind::AccessDenied), with [`Denied`](envelope_policy::Denied) as its source.
    pub async fn check(&self, operation: Operation, keys: &[&KeyUri]) -> Result<(), ProviderError> {
        self.check_as(operation, keys, operation.name()).await
    }

    /// As [`check`](Self::check), for what has records of its own: a denial is one of `recorded_as`, as what is done is, and not
    /// of the policy's word for it.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub async fn check_as(
        &self,
        operation: Operation,
        keys: &[&KeyUri],
        recorded_as: &'static str,
    ) -> Result<(), ProviderError> {
        self.governed.check(operation, keys, recorded_as).await
    }

    /// The log that records what is done through the key stores, if there is one: for what else is to be recorded. Nothing
    /// has opened it until something is.
    #[cfg(feature = "audit")]
    #[must_use]
    pub fn audit(&self) -> Option<&envelope_audit::LazyLog> {
        self.governed.log()
    }

    /// `envelope`, made of a keyring of these providers, with a record of each of its verbs; without a log, without.
    #[cfg(feature = "audit")]
    #[must_use]
    pub fn audited(&self, envelope: Envelope) -> envelope_audit::AuditedEnvelope {
        match self.audit() {
            Some(log) => envelope_audit::AuditedEnvelope::new(envelope, log.clone()),
            None => envelope_audit::AuditedEnvelope::without_log(envelope),
        }
    }

    /// How many of the keys that encrypt must wrap, as `[keyring]` says: for
    /// [`Envelope::reporting`](envelope_sdk::Envelope::reporting). Every key, if it says nothing.
    #[must_use]
    pub fn wrap_policy(&self) -> WrapPolicy {
        self.common.wrap()
    }

    /// The caches of DEKs that `[layers]` put over the key stores: to forget a key, to purge, to count.
    #[must_use]
    pub fn caches(&self) -> &Caches {
        &self.caches
    }

    /// The keys that encrypt and those that may decrypt, as the configuration names them: for whoever only tells of them. No
    /// key store is opened.
    ///
    /// # Errors
    ///
    /// [`ProvidersError`] when one is no key.
    pub fn configured_keys(&self) -> Result<(Vec<KeyUri>, Vec<KeyUri>), ProvidersError> {
        let encrypt = self.keys.encrypting(&[], &self.registry)?;
        Ok((encrypt, self.keys.decrypting(&[], &self.registry)?))
    }

    /// The keys of the configuration: those of `keys` encrypt, those of `keys` and
    /// `decrypt-keys` decrypt. Where it names none, a passphrase does both.
    ///
    /// # Errors
    ///
    /// [`ProvidersError`] when a key is none, or its key store lacks a setting.
    pub fn keyring(&self) -> Result<Keyring, ProvidersError> {
        let encrypt = self.keyring_to_encrypt(&[])?;
        self.add_opening(encrypt, &self.registry, self.keys.decrypting(&[], &self.registry)?)
    }

    /// The keys that encrypt: those that are `named`, by URI or alias, or those of
    /// the configuration, or a passphrase.
    ///
    /// # Errors
    ///
    /// As [`keyring`](Self::keyring).
    pub fn keyring_to_encrypt(&self, named: &[String]) -> Result<Keyring, ProvidersError> {
        let keys = self.keys.encrypting(named, &self.registry)?;
        let registry = self.registry_to_encrypt(self.recipients(&keys));
        add_encrypting(self.common.keyring(), &registry, keys, Purpose::Encrypt)
    }

    /// The keys that may decrypt: those that are `named`, or those of the
    /// configuration. A passphrase may if it is one of them, if there are no others,
    /// or if one was given beforehand: a file from strangers must not make anybody
    /// type or hash one.
    ///
    /// # Errors
    ///
    /// As [`keyring`](Self::keyring).
    pub fn keyring_to_decrypt(&self, named: &[String]) -> Result<Keyring, ProvidersError> {
        self.add_opening(self.common.keyring(), &self.registry, self.keys.decrypting(named, &self.registry)?)
    }

    /// The keys of a rewrap: `to` encrypt from now on (or those of the configuration, or
    /// a new passphrase); `from` (or those of the configuration) may decrypt, and
    /// those of `to` too.
    ///
    /// # Errors
    ///
    /// As [`keyring`](Self::keyring).
    pub fn keyring_to_rewrap(&self, to: &[String], from: &[String]) -> Result<Keyring, ProvidersError> {
        let mut known = self.keys.encrypting(to, &self.registry)?;
        // All of them wrap, or none: only new envelopes may miss some.
        let registry = self.registry_to_rewrap(distinct_keys(&known).max(1));
        let keyring = add_encrypting(self.common.keyring(), &registry, known.clone(), Purpose::Replace)?;
        known.extend(self.keys.decrypting(from, &self.registry)?);
        self.add_opening(keyring, &registry, known)
    }

    /// The key that a name means: an alias of the configuration, the bare name
    /// of a key that a key store knows, or a key URI.
    ///
    /// # Errors
    ///
    /// [`ProvidersError`]; it does not repeat the name, which may be a passphrase
    /// that was typed in the wrong place.
    pub fn key(&self, name: &str) -> Result<KeyUri, ProvidersError> {
        self.keys.key(name, &self.registry)
    }

    /// The file of the local keystore, if the call or the configuration names one.
    #[must_use]
    pub fn keystore(&self) -> Option<&Path> {
        self.keystore.as_deref()
    }

    /// The files that the keys of the configuration need besides the keystore and the audit log: the configuration itself, the policy,
    /// and what tables of key stores name as `…-file`, such as `passphrase-file`. They may not be there.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Whether the configuration has an alias of this name.
    #[must_use]
    pub fn has_alias(&self, name: &str) -> bool {
        self.keys.has_alias(name)
    }

    /// How many recipients a new envelope for these keys has at least.
    fn recipients(&self, keys: &[KeyUri]) -> usize {
        let may_fail = match self.common.wrap() {
            WrapPolicy::AtLeast(least) => keys.len().saturating_sub(least),
            _ => 0,
        };
        distinct_keys(keys).saturating_sub(may_fail).max(1)
    }

    fn add_opening(
        &self,
        keyring: Keyring,
        registry: &Registry,
        mut keys: Vec<KeyUri>,
    ) -> Result<Keyring, ProvidersError> {
        let passphrase = KeyUri::passphrase();
        let opens = registry.schemes().contains(&passphrase.scheme());
        if keys.is_empty() || (opens && self.passphrase_is_given()) {
            keys.push(passphrase);
        }
        let mut seen: Vec<KeyUri> = Vec::new();
        keys.into_iter().try_fold(keyring, |keyring, key| {
            if seen.contains(&key) {
                return Ok(keyring);
            }
            seen.push(key.clone());
            Ok(keyring.decrypt(registry.provider(&key, Purpose::Decrypt)?, key))
        })
    }

    /// Whether a passphrase was given beforehand, so that nobody need type it.
    fn passphrase_is_given(&self) -> bool {
        self.secrets.is_given("passphrase")
    }
}

fn add_encrypting(
    keyring: Keyring,
    registry: &Registry,
    mut keys: Vec<KeyUri>,
    purpose: Purpose,
) -> Result<Keyring, ProvidersError> {
    if keys.is_empty() {
        keys.push(KeyUri::passphrase());
    }
    keys.into_iter()
        .try_fold(keyring, |keyring, key| Ok(keyring.encrypt(registry.provider(&key, purpose)?, key)))
}
