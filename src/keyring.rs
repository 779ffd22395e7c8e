//! Which keys encrypt and which may decrypt.

use std::sync::Arc;

use futures_util::{future::try_join_all, lock::Mutex};
use subtle::ConstantTimeEq;

use crate::{
    ContextBinding, DecryptError, Dek, EncryptError, FullContext, Header, KeyProvider, KeyUri, OpenedHeader,
    ProviderError, ProviderErrorKind, WrappedDek, format::MAX_RECIPIENTS, schedule,
};

/// The keys that an [`Envelope`](crate::Envelope) may use: those that
/// **encrypt**, each of which wraps every DEK, so that any one of them opens;
/// and those that may **decrypt**.
///
/// A recipient of a header is only ever opened with a key that is configured
/// here. There is no way to try all keys one has access to. The reverse holds
/// too: a new wrap that names another key than the configured one is refused.
///
/// # Deadlines
///
/// There are none here. A provider that never answers holds up the whole call,
/// and keys after it are not tried. Providers bound the time of their own calls;
/// to bound the whole, put a timeout of your runtime around the future. Dropping
/// it half-way is safe.
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
    /// What its provider said that it means. Held while that is asked, so that a
    /// crowd of calls asks once.
    resolved: Arc<Mutex<Option<KeyUri>>>,
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
        self.encrypting.push(ConfiguredKey::new(provider, uri));
        self
    }

    /// Adds a key that may unwrap. Keys are tried in the order of the
    /// header's recipients.
    #[must_use]
    pub fn decrypt(mut self, provider: Arc<dyn KeyProvider>, uri: KeyUri) -> Self {
        self.decrypting.push(ConfiguredKey::new(provider, uri));
        self
    }

    /// Adds a key for both.
    #[must_use]
    pub fn both(mut self, provider: Arc<dyn KeyProvider>, uri: KeyUri) -> Self {
        let key = ConfiguredKey::new(provider, uri);
        self.encrypting.push(key.clone());
        self.decrypting.push(key);
        self
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
    /// [`ProviderError`] of the first key that cannot be resolved; what was
    /// answered before stays in use for it.
    pub async fn resolve(&self) -> Result<(), ProviderError> {
        let keys = self.encrypting.iter().chain(&self.decrypting);
        try_join_all(keys.map(ConfiguredKey::resolve_anew)).await.map(drop)
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
        let (dek, own) = key.generate(context).await?;
        let others = self.encrypting[..first].iter().chain(&self.encrypting[first + 1..]);
        let mut wrapped = try_join_all(others.map(|key| key.wrap(&dek, context))).await?;
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
            return Ok(vec![key.wrap(dek, context).await?]);
        }
        Ok(try_join_all(self.encrypting.iter().map(|key| key.wrap(dek, context))).await?)
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
    ) -> Option<RewrappedInside> {
        self.check_count().ok()?;
        let (opening, recipient) = self.first_to_open(header).await?;
        // What may open and what may encrypt is one thing only for one provider.
        let identity = opening.provider.identity()?;
        if !self.encrypting.iter().all(|key| key.provider.identity() == Some(identity)) {
            return None;
        }
        let rewraps = self.encrypting.iter().map(|key| key.rewrap(recipient, context));
        let wrapped = try_join_all(rewraps).await.ok()?.into_iter().collect::<Option<Vec<_>>>()?;
        let deks = self.unwrap_own(&wrapped, context).await.ok()?;
        let hidden = |((key, dek), wrapped): ((&ConfiguredKey, &Dek), &WrappedDek)| {
            key.check_hidden(dek, wrapped).is_ok()
        };
        self.encrypting.iter().zip(&deks).zip(&wrapped).all(hidden).then(|| RewrappedInside {
            recipients: wrapped,
            deks,
            context_is_bound: opening.binds_context(recipient),
        })
    }

    /// The first recipient of a header that a configured key is.
    async fn first_to_open<'k, 'h>(
        &'k self,
        header: &'h Header,
    ) -> Option<(&'k ConfiguredKey, &'h WrappedDek)> {
        for recipient in header.recipients() {
            for key in &self.decrypting {
                if key.is(recipient.key_uri()).await.ok()? {
                    return Some((key, recipient));
                }
            }
        }
        None
    }

    /// Whether one of `wrapped`, which came from [`wrap`](Self::wrap), opens under its context alone.
    pub(crate) fn bind_context(&self, wrapped: &[WrappedDek]) -> bool {
        self.encrypting.iter().zip(wrapped).any(|(key, wrapped)| key.binds_context(wrapped))
    }

    /// Refuses `wrapped`, which came from [`wrap`](Self::wrap), unless all of them open under their
    /// context alone.
    pub(crate) fn check_context_is_bound(&self, wrapped: &[WrappedDek]) -> Result<(), EncryptError> {
        let mut keys = self.encrypting.iter().zip(wrapped);
        match keys.find(|(key, wrapped)| !key.binds_context(wrapped)) {
            Some((key, _)) => Err(EncryptError::ContextNotBound { key: key.uri.clone() }),
            None => Ok(()),
        }
    }

    /// Opens `header` with the first recipient, in its order, that is configured
    /// here and gives a DEK under which the MAC is right (with the first of its
    /// keys that does). No provider is called for any other.
    pub(crate) async fn unlock(
        &self,
        mut header: Header,
        mut context: FullContext,
    ) -> Result<OpenedHeader, DecryptError> {
        let mut attempts = Vec::new();
        let mut unresolved = Vec::new();
        for at in 0..header.recipients().len() {
            for (number, key) in self.decrypting.iter().enumerate() {
                let recipient = &header.recipients()[at];
                // Asked already for an earlier recipient.
                if unresolved.contains(&number) {
                    continue;
                }
                match key.is(recipient.key_uri()).await {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(error) => {
                        unresolved.push(number);
                        attempts.push(error);
                        continue;
                    }
                }
                let dek = match key.provider.unwrap_dek(recipient, &context).await {
                    Ok(dek) => dek,
                    Err(error) if error.kind() == ProviderErrorKind::Unauthentic => {
                        attempts.push(key.does_not_fit(recipient.key_uri()));
                        continue;
                    }
                    Err(error) => {
                        attempts.push(error);
                        continue;
                    }
                };
                match schedule::verify(header, dek, context) {
                    Ok(opened) => {
                        let bound = key.binds_context(&opened.header().recipients()[at]);
                        return Ok(opened.with_context_bound(bound));
                    }
                    Err(unverified) => {
                        (header, context) = (unverified.header, unverified.context);
                        attempts.push(key.does_not_fit(header.recipients()[at].key_uri()));
                    }
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

/// New wraps that a key store made by itself, and what came out of them.
pub(crate) struct RewrappedInside {
    pub(crate) recipients: Vec<WrappedDek>,
    pub(crate) deks: Vec<Dek>,
    /// The old wrap would not have opened under another context.
    pub(crate) context_is_bound: bool,
}

/// What a provider answers is believed no further than these checks: a broken
/// or foreign key store must not choose who can open an envelope.
impl ConfiguredKey {
    fn new(provider: Arc<dyn KeyProvider>, uri: KeyUri) -> Self {
        Self { provider, uri, resolved: Arc::default() }
    }

    /// Whether `named` is this key. No provider can take keys of another scheme
    /// for its own.
    async fn is(&self, named: &KeyUri) -> Result<bool, ProviderError> {
        if self.uri.scheme() != named.scheme() {
            return Ok(false);
        }
        Ok(self.provider.is_same_key(&self.uri, named)
            || self.provider.is_same_key(&self.resolve().await?, named))
    }

    /// What the key means, as its provider said when it was first asked.
    async fn resolve(&self) -> Result<KeyUri, ProviderError> {
        let mut resolved = self.resolved.lock().await;
        if let Some(key) = &*resolved {
            return Ok(key.clone());
        }
        Ok(resolved.insert(self.ask_meaning().await?).clone())
    }

    /// What the key means now.
    async fn resolve_anew(&self) -> Result<KeyUri, ProviderError> {
        let mut resolved = self.resolved.lock().await;
        Ok(resolved.insert(self.ask_meaning().await?).clone())
    }

    async fn ask_meaning(&self) -> Result<KeyUri, ProviderError> {
        let key = self.provider.resolve(&self.uri).await?;
        if key.scheme() == self.uri.scheme() {
            return Ok(key);
        }
        Err(self
            .broken(&format!("it means a key of another scheme, {key}: do not trust what answers for it")))
    }

    fn binds_context(&self, wrapped: &WrappedDek) -> bool {
        self.provider.context_binding(wrapped) == ContextBinding::Provider
    }

    async fn wrap(&self, dek: &Dek, context: &FullContext) -> Result<WrappedDek, ProviderError> {
        let wrapped = self.provider.wrap_dek(&self.uri, dek, context).await?;
        self.check_name(&wrapped).await?;
        self.check_hidden(dek, &wrapped)?;
        Ok(wrapped)
    }

    async fn generate(&self, context: &FullContext) -> Result<(Dek, WrappedDek), ProviderError> {
        let (dek, wrapped) = self.provider.generate_dek(&self.uri, context).await?;
        self.check_name(&wrapped).await?;
        self.check_hidden(&dek, &wrapped)?;
        if bool::from(dek.expose().ct_eq(&[0; Dek::LEN])) {
            return Err(self.broken("it generated a DEK of zeros: do not trust what answers for this key"));
        }
        Ok((dek, wrapped))
    }

    async fn rewrap(
        &self,
        wrapped: &WrappedDek,
        context: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        let new = self.provider.rewrap_dek(wrapped, &self.uri, context).await?;
        if let Some(new) = &new {
            self.check_name(new).await?;
        }
        Ok(new)
    }

    async fn check_name(&self, wrapped: &WrappedDek) -> Result<(), ProviderError> {
        let named = wrapped.key_uri();
        if self.is(named).await? {
            return Ok(());
        }
        // An alias may have been turned to another key since it was asked.
        let is_alias = *self.resolved.lock().await != Some(self.uri.clone());
        if is_alias && named.scheme() == self.uri.scheme() {
            let now = self.resolve_anew().await?;
            if self.provider.is_same_key(&now, named) {
                return Ok(());
            }
        }
        Err(self.broken(&format!(
            "it wrapped under another key, {named}: do not trust what answers for this one"
        )))
    }

    fn check_hidden(&self, dek: &Dek, wrapped: &WrappedDek) -> Result<(), ProviderError> {
        // Not in constant time: the provider holds the DEK, and nobody else chooses what it is compared with.
        if wrapped.ciphertext().windows(Dek::LEN).any(|part| part == dek.expose()) {
            return Err(
                self.broken("its wrap holds the DEK in the clear: do not trust what answers for this key")
            );
        }
        Ok(())
    }

    fn broken(&self, message: &str) -> ProviderError {
        ProviderError::new(ProviderErrorKind::Protocol, self.provider.name(), &self.uri, message)
    }

    /// One error for a wrap that does not open and for a DEK that does not fit
    /// the header: which of them it was is nobody's business.
    fn does_not_fit(&self, recipient: &KeyUri) -> ProviderError {
        let message =
            "the key or passphrase is wrong, a context entry is wrong or missing, or the data was changed";
        ProviderError::new(ProviderErrorKind::Unauthentic, self.provider.name(), recipient, message)
    }
}
