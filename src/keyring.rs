//! Which keys encrypt and which may decrypt.

use std::{ptr, sync::Arc};

use futures_util::future::try_join_all;

use crate::{
    DecryptError, Dek, EncryptError, FullContext, Header, KeyProvider, KeyUri, WrappedDek,
    format::MAX_RECIPIENTS,
};

/// The keys that an [`Envelope`](crate::Envelope) may use: those that
/// **encrypt**, each of which wraps every DEK, so that any one of them opens;
/// and those that may **decrypt**.
///
/// A recipient of a header is only ever opened with a key that is configured
/// here. There is no way to try all keys one has access to.
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
}

#[derive(Clone)]
struct ConfiguredKey {
    provider: Arc<dyn KeyProvider>,
    uri: KeyUri,
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
        self.encrypting.push(ConfiguredKey { provider, uri });
        self
    }

    /// Adds a key that may unwrap. Keys are tried in the order of the
    /// header's recipients.
    #[must_use]
    pub fn decrypt(mut self, provider: Arc<dyn KeyProvider>, uri: KeyUri) -> Self {
        self.decrypting.push(ConfiguredKey { provider, uri });
        self
    }

    /// Adds a key for both.
    #[must_use]
    pub fn both(self, provider: Arc<dyn KeyProvider>, uri: KeyUri) -> Self {
        self.encrypt(Arc::clone(&provider), uri.clone()).decrypt(provider, uri)
    }

    /// The URIs of the keys that encrypt, as configured.
    pub fn encrypting(&self) -> impl Iterator<Item = &KeyUri> {
        self.encrypting.iter().map(|key| &key.uri)
    }

    /// The URIs of the keys that may decrypt, as configured.
    pub fn decrypting(&self) -> impl Iterator<Item = &KeyUri> {
        self.decrypting.iter().map(|key| &key.uri)
    }

    /// Wraps a fresh DEK with every key that encrypts: `dek`, or the one that the
    /// first key makes whose key store [generates
    /// DEKs](KeyProvider::generates_deks).
    pub(crate) async fn wrap_fresh(
        &self,
        dek: Dek,
        context: &FullContext,
    ) -> Result<(Dek, Vec<WrappedDek>), EncryptError> {
        let generates = |key: &ConfiguredKey| key.provider.generates_deks(&key.uri);
        let Some(first) = self.encrypting.iter().position(generates) else {
            let wrapped = self.wrap(&dek, context).await?;
            return Ok((dek, wrapped));
        };
        self.check_count()?;
        let key = &self.encrypting[first];
        let (dek, own) = key.provider.generate_dek(&key.uri, context).await?;
        let others = self.encrypting[..first].iter().chain(&self.encrypting[first + 1..]);
        let wraps = others.map(|key| key.provider.wrap_dek(&key.uri, &dek, context));
        let mut wrapped = try_join_all(wraps).await?;
        wrapped.insert(first, own);
        Ok((dek, wrapped))
    }

    /// Wraps `dek` with every key that encrypts, concurrently.
    pub(crate) async fn wrap(
        &self,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<Vec<WrappedDek>, EncryptError> {
        self.check_count()?;
        if let [key] = self.encrypting.as_slice() {
            return Ok(vec![key.provider.wrap_dek(&key.uri, dek, context).await?]);
        }
        let wraps = self.encrypting.iter().map(|key| key.provider.wrap_dek(&key.uri, dek, context));
        Ok(try_join_all(wraps).await?)
    }

    /// Unwraps each of `wrapped`, which came from [`wrap`](Self::wrap), with the
    /// key that wrapped it.
    pub(crate) async fn unwrap_own(
        &self,
        wrapped: &[WrappedDek],
        context: &FullContext,
    ) -> Result<Vec<Dek>, EncryptError> {
        let keys = self.encrypting.iter().zip(wrapped);
        Ok(try_join_all(keys.map(|(key, wrapped)| key.provider.unwrap_dek(wrapped, context))).await?)
    }

    /// Wraps the DEK of `header` anew with every key that encrypts, without
    /// unwrapping it here, and then unwraps each new wrap. `None` unless the
    /// first configured recipient and all of these keys are of one provider,
    /// which [does that](KeyProvider::rewrap_dek), and everything succeeds.
    pub(crate) async fn rewrap_inside(
        &self,
        header: &Header,
        context: &FullContext,
    ) -> Option<(Vec<WrappedDek>, Vec<Dek>)> {
        self.check_count().ok()?;
        let (opening, recipient) = header.recipients().iter().find_map(|recipient| {
            let opens = |key: &&ConfiguredKey| key.provider.is_same_key(&key.uri, recipient.key_uri());
            Some((self.decrypting.iter().find(opens)?, recipient))
        })?;
        // What may open and what may encrypt is one thing only for one provider.
        let of_it =
            |key: &ConfiguredKey| ptr::addr_eq(Arc::as_ptr(&key.provider), Arc::as_ptr(&opening.provider));
        if !self.encrypting.iter().all(of_it) {
            return None;
        }
        let rewraps = self.encrypting.iter().map(|key| key.provider.rewrap_dek(recipient, &key.uri, context));
        let wrapped = try_join_all(rewraps).await.ok()?.into_iter().collect::<Option<Vec<_>>>()?;
        let deks = self.unwrap_own(&wrapped, context).await.ok()?;
        Some((wrapped, deks))
    }

    /// Unwraps the DEK with the first recipient, in the header's order, that is
    /// configured here and opens (with the first of its keys that does). No provider is called for any other.
    pub(crate) async fn unwrap(&self, header: &Header, context: &FullContext) -> Result<Dek, DecryptError> {
        let mut attempts = Vec::new();
        for recipient in header.recipients() {
            let configured = |key: &&ConfiguredKey| key.provider.is_same_key(&key.uri, recipient.key_uri());
            for key in self.decrypting.iter().filter(configured) {
                match key.provider.unwrap_dek(recipient, context).await {
                    Ok(dek) => return Ok(dek),
                    Err(error) => attempts.push(error),
                }
            }
        }
        if attempts.is_empty() {
            let recipients =
                header.recipients().iter().map(|recipient| recipient.key_uri().clone()).collect();
            return Err(DecryptError::NoConfiguredKey { recipients });
        }
        Err(DecryptError::from_attempts(attempts))
    }

    /// Refuses to make a header that has no recipient or too many.
    fn check_count(&self) -> Result<(), EncryptError> {
        match self.encrypting.len() {
            0 => Err(EncryptError::NoKey),
            1..=MAX_RECIPIENTS => Ok(()),
            more => Err(EncryptError::TooManyKeys(more)),
        }
    }
}
