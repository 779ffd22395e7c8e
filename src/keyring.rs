//! Which keys encrypt and which may decrypt.

mod meaning;

use std::{ptr, sync::Arc};

use futures_util::future::{join_all, try_join_all};
use subtle::ConstantTimeEq;

use crate::{
    ContextBinding, DecryptError, Dek, EncryptError, FullContext, Header, KeyProvider, KeyUri, OpenedHeader,
    ProviderError, ProviderErrorKind, WrappedDek, format::MAX_RECIPIENTS, schedule,
};
use meaning::Meaning;

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
    meaning: Meaning,
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
    /// header's recipients.
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
    /// [`ProviderError`] of the first key that cannot be resolved; what was
    /// answered before stays in use for it, and the others are asked all the same.
    pub async fn resolve(&self) -> Result<(), ProviderError> {
        let mut keys: Vec<&ConfiguredKey> = Vec::new();
        for key in self.encrypting.iter().chain(&self.decrypting) {
            if !keys.iter().any(|known| known.meaning.is_that_of(&key.meaning)) {
                keys.push(key);
            }
        }
        let answers = join_all(keys.into_iter().map(ConfiguredKey::resolve_anew)).await;
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
        // What may open and what may encrypt is one thing only for one provider.
        let identity = self.encrypting.first()?.provider.identity()?;
        let is_it = |key: &ConfiguredKey| key.provider.identity() == Some(identity);
        if !self.encrypting.iter().all(is_it) || !self.decrypting.iter().any(is_it) {
            return None;
        }
        let (opening, recipient) = self.first_to_open(header).await.filter(|(key, _)| is_it(key))?;
        let rewraps = self.encrypting.iter().map(|key| key.rewrap_from(opening, recipient, context));
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

    /// The first recipient of a header that a configured key is, and that key.
    async fn first_to_open<'k, 'h>(
        &'k self,
        header: &'h Header,
    ) -> Option<(&'k ConfiguredKey, &'h WrappedDek)> {
        let recipients = header.recipients();
        let (at, number) = match self.known_to_open(recipients).next() {
            Some(first) => first,
            None => *self.found_to_open(recipients, &[]).await.0.first()?,
        };
        Some((&self.decrypting[number], &recipients[at]))
    }

    /// Which recipient which key is, in the order of the recipients, as far as is known
    /// without asking anybody.
    fn known_to_open<'r>(
        &'r self,
        recipients: &'r [WrappedDek],
    ) -> impl Iterator<Item = (usize, usize)> + 'r {
        recipients.iter().enumerate().flat_map(move |(at, recipient)| {
            let keys = self.decrypting.iter().enumerate();
            keys.filter(|(_, key)| key.is_known_as(recipient.key_uri())).map(move |(number, _)| (at, number))
        })
    }

    /// The same but for what is `known`, once providers were asked what those keys mean of
    /// which only they can tell; and why one could not. Who was asked since `known` was put
    /// together, by another call, is not asked again, but counts.
    async fn found_to_open(
        &self,
        recipients: &[WrappedDek],
        known: &[(usize, usize)],
    ) -> (Vec<(usize, usize)>, Vec<ProviderError>) {
        let may_be = |key: &ConfiguredKey| {
            recipients.iter().any(|recipient| recipient.key_uri().scheme() == key.uri.scheme())
        };
        let asked: Vec<_> = self.decrypting.iter().enumerate().filter(|(_, key)| may_be(key)).collect();
        let answers = join_all(asked.iter().map(|(_, key)| key.meaning.learn(&key.provider, &key.uri))).await;
        let (mut found, mut failed) = (Vec::new(), Vec::new());
        for ((number, key), answer) in asked.into_iter().zip(answers) {
            if let Err(error) = answer {
                failed.push(error);
                continue;
            }
            let is_it = |at: &usize| key.is_known_as(recipients[*at].key_uri());
            found.extend((0..recipients.len()).filter(is_it).map(|at| (at, number)));
        }
        // Once it was asked, a provider may know the alias by itself: what was tried is not tried again.
        found.retain(|pair| !known.contains(pair));
        found.sort_unstable();
        (found, failed)
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
    /// keys that does). Keys that are known to be a recipient come first; only
    /// then are providers asked what the others mean, so that an exact key waits for
    /// no alias. No provider is called for any other.
    pub(crate) async fn unlock(
        &self,
        mut header: Header,
        mut context: FullContext,
    ) -> Result<OpenedHeader, DecryptError> {
        let mut attempts = Vec::new();
        let known: Vec<_> = self.known_to_open(header.recipients()).collect();
        match self.try_each(&known, header, context, &mut attempts).await {
            Ok(opened) => return Ok(opened),
            Err(unverified) => (header, context) = *unverified,
        }
        let (found, failed) = self.found_to_open(header.recipients(), &known).await;
        match self.try_each(&found, header, context, &mut attempts).await {
            Ok(opened) => return Ok(opened),
            Err(unverified) => (header, _) = *unverified,
        }
        attempts.extend(failed);
        if attempts.is_empty() {
            let recipients =
                header.recipients().iter().map(|recipient| recipient.key_uri().clone()).collect();
            return Err(DecryptError::NoConfiguredKey { recipients });
        }
        Err(DecryptError::from_attempts(attempts))
    }

    /// Opens `header` with the first of these recipients and keys that does, or gives it back.
    async fn try_each(
        &self,
        pairs: &[(usize, usize)],
        mut header: Header,
        mut context: FullContext,
        attempts: &mut Vec<ProviderError>,
    ) -> Result<OpenedHeader, Box<(Header, FullContext)>> {
        for &(at, number) in pairs {
            match self.decrypting[number].open(header, context, at, attempts).await {
                Ok(opened) => return Ok(opened),
                Err(unverified) => (header, context) = *unverified,
            }
        }
        Err(Box::new((header, context)))
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
        Self { provider, uri, meaning: Meaning::default() }
    }

    /// Unwraps one recipient and verifies the header by it, or gives both back.
    async fn open(
        &self,
        header: Header,
        context: FullContext,
        at: usize,
        attempts: &mut Vec<ProviderError>,
    ) -> Result<OpenedHeader, Box<(Header, FullContext)>> {
        let recipient = &header.recipients()[at];
        let dek = match self.provider.unwrap_dek(recipient, &context).await {
            Ok(dek) => dek,
            Err(error) => {
                attempts.push(match error.kind() {
                    ProviderErrorKind::Unauthentic => self.does_not_fit(recipient.key_uri()),
                    _ => error,
                });
                return Err(Box::new((header, context)));
            }
        };
        let bound = self.binds_context(recipient);
        match schedule::verify(header, dek, context) {
            Ok(opened) => Ok(opened.with_context_bound(bound)),
            Err(unverified) => {
                attempts.push(self.does_not_fit(unverified.header.recipients()[at].key_uri()));
                Err(Box::new((unverified.header, unverified.context)))
            }
        }
    }

    /// Whether `named` is this key, as far as is known without asking anybody. No
    /// provider can take keys of another scheme for its own.
    fn is_known_as(&self, named: &KeyUri) -> bool {
        self.uri.scheme() == named.scheme()
            && (self.provider.is_same_key(&self.uri, named)
                || self.meaning.known().is_some_and(|meaning| self.provider.is_same_key(&meaning, named)))
    }

    /// What the key means now.
    async fn resolve_anew(&self) -> Result<KeyUri, ProviderError> {
        self.meaning.learn_anew(&self.provider, &self.uri).await
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

    /// Rewraps inside the key store from a recipient that `opening` may open.
    async fn rewrap_from(
        &self,
        opening: &Self,
        wrapped: &WrappedDek,
        context: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        if ptr::addr_eq(Arc::as_ptr(&self.provider), Arc::as_ptr(&opening.provider)) {
            return self.rewrap(&self.provider, wrapped, context).await;
        }
        // Two ways to one key store. Either may be a decorator that would refuse, so each is asked.
        match self.rewrap(&opening.provider, wrapped, context).await? {
            Some(by_opening) => self.rewrap(&self.provider, &by_opening, context).await,
            None => Ok(None),
        }
    }

    async fn rewrap(
        &self,
        provider: &Arc<dyn KeyProvider>,
        wrapped: &WrappedDek,
        context: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        let new = provider.rewrap_dek(wrapped, &self.uri, context).await?;
        if let Some(new) = &new {
            self.check_name(new).await?;
        }
        Ok(new)
    }

    async fn check_name(&self, wrapped: &WrappedDek) -> Result<(), ProviderError> {
        let named = wrapped.key_uri();
        if self.is_known_as(named) {
            return Ok(());
        }
        // Not asked yet, or an alias that was turned to another key since.
        if named.scheme() == self.uri.scheme() {
            let meaning = self.resolve_anew().await?;
            if self.provider.is_same_key(&meaning, named) {
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
