//! Wrapping a DEK with the keys that encrypt, and those that may be missing.

use futures_util::future::try_join_all;

use super::{Keyring, KeyringEvent, configured::ConfiguredKey, deadline::Deadline};
use crate::{
    ContextBinding, Dek, EncryptError, FullContext, KeyUri, ProviderError, ProviderErrorKind, WrappedDek,
    format::MAX_RECIPIENTS,
};

/// How many of the keys that encrypt must wrap the DEK of a new envelope. See
/// [`Envelope::reporting`](crate::Envelope::reporting).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WrapPolicy {
    /// Every key, or there is no envelope.
    #[default]
    All,
    /// This many at least (0 means 1). The others may be missing if their key stores are
    /// [`Unavailable`](ProviderErrorKind::Unavailable) or
    /// [`Throttled`](ProviderErrorKind::Throttled), which passes. Any other error fails the call, however many
    /// keys wrapped: a key that is denied, disabled or gone stays so until somebody acts, and a wrong answer is
    /// no outage. What layers of this process refuse, such as an open breaker or a full queue of a limit, passes too: whoever
    /// floods a service can so make envelopes that lack a recipient. They are reported.
    AtLeast(usize),
}

impl WrapPolicy {
    fn lets_pass(self, error: &ProviderError) -> bool {
        let passes = matches!(error.kind(), ProviderErrorKind::Unavailable | ProviderErrorKind::Throttled);
        passes && self != Self::All
    }
}

/// A key that did not wrap the DEK of an envelope, which therefore does not open with it until it is
/// [rewrapped](crate::Envelope::rewrap).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MissingKey {
    /// The key, as configured.
    pub key: KeyUri,
    /// Why it did not wrap.
    pub error: ProviderError,
    /// Its place among the keys that encrypt.
    position: usize,
}

/// A DEK and its wraps, in the order of the keys.
pub(crate) struct Wraps {
    pub(crate) dek: Dek,
    pub(crate) wrapped: Vec<WrappedDek>,
    /// In the order of the keys too.
    pub(crate) missing: Vec<MissingKey>,
}

impl Keyring {
    /// Wraps a fresh DEK with the keys that encrypt: `dek`, or the one that the
    /// first key makes whose key store [generates
    /// DEKs](crate::KeyProvider::generates_deks).
    pub(crate) async fn wrap_fresh(
        &self,
        dek: Dek,
        context: &FullContext,
        policy: WrapPolicy,
    ) -> Result<Wraps, EncryptError> {
        self.check_count(policy)?;
        let deadline = self.start_of_call();
        let mut missing = Vec::new();
        let mut generated = None;
        for (position, key) in self.encrypting.iter().enumerate() {
            if !key.provider.generates_deks(&key.uri) {
                continue;
            }
            // The others can only begin after it.
            let until = if policy == WrapPolicy::All { &deadline } else { &deadline.half() };
            match until.bound(key, key.generate(context)).await {
                Ok((dek, wrapped)) => {
                    generated = Some((dek, position, wrapped));
                    break;
                }
                Err(error) if policy.lets_pass(&error) => missing.push(key.missing(position, error)),
                Err(error) => return Err(error.into()),
            }
        }
        let (dek, own) = match generated {
            Some((dek, position, wrapped)) => (dek, Some((position, wrapped))),
            None => (dek, None),
        };
        let done = |position: usize| {
            own.as_ref().is_some_and(|(own, _)| *own == position)
                || missing.iter().any(|key| key.position == position)
        };
        let others: Vec<_> = (0..self.encrypting.len()).filter(|position| !done(*position)).collect();
        let answers = try_join_all(
            others.into_iter().map(|position| self.wrap_or_miss(position, &dek, context, policy, &deadline)),
        );
        let mut wrapped: Vec<_> = own.into_iter().collect();
        for answer in answers.await? {
            match answer {
                Ok(wrap) => wrapped.push(wrap),
                Err(key) => missing.push(key),
            }
        }
        missing.sort_by_key(|key| key.position);
        if let WrapPolicy::AtLeast(least) = policy
            && wrapped.len() < least.max(1)
        {
            // There were enough keys, so one of them is missing.
            return Err(missing.swap_remove(0).error.into());
        }
        wrapped.sort_by_key(|(position, _)| *position);
        Ok(Wraps { dek, wrapped: wrapped.into_iter().map(|(_, wrapped)| wrapped).collect(), missing })
    }

    /// Tells that something is made without these keys.
    pub(crate) fn hear_missing(&self, missing: &[MissingKey]) {
        for MissingKey { position, error, .. } in missing {
            self.hear(&KeyringEvent::WrapMissing { key: self.encrypting[*position].asked(), error });
        }
    }

    /// Wraps `dek` with every key that encrypts, concurrently.
    pub(crate) async fn wrap(
        &self,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<Vec<WrappedDek>, EncryptError> {
        self.check_count(WrapPolicy::All)?;
        let deadline = self.start_of_call();
        let wraps = self.encrypting.iter().map(|key| deadline.bound(key, key.wrap(dek, context)));
        Ok(try_join_all(wraps).await?)
    }

    /// Unwraps each of `wrapped`, which came from [`wrap`](Self::wrap), with the
    /// key that wrapped it.
    pub(crate) async fn unwrap_own(
        &self,
        wrapped: &[WrappedDek],
        context: &FullContext,
    ) -> Result<Vec<Dek>, EncryptError> {
        self.unwrap_own_until(wrapped, context, &self.start_of_call()).await
    }

    /// The same, as the rest of a step that has begun.
    pub(super) async fn unwrap_own_until(
        &self,
        wrapped: &[WrappedDek],
        context: &FullContext,
        deadline: &Deadline<'_>,
    ) -> Result<Vec<Dek>, EncryptError> {
        let keys = self.encrypting.iter().zip(wrapped);
        let unwraps =
            keys.map(|(key, wrapped)| deadline.bound(key, key.provider.unwrap_dek(wrapped, context)));
        Ok(try_join_all(unwraps).await?)
    }

    /// The first of `wrapped`, which came from [`wrap`](Self::wrap) and gave these `deks`, whose DEK does not
    /// fit. The providers of all such hear of it.
    pub(crate) fn refute_own<'w>(
        &self,
        wrapped: &'w [WrappedDek],
        deks: &[Dek],
        context: &FullContext,
        fits: impl Fn(&Dek) -> bool,
    ) -> Option<&'w WrappedDek> {
        let mut first = None;
        for ((key, wrapped), _) in self.encrypting.iter().zip(wrapped).zip(deks).filter(|(_, dek)| !fits(dek))
        {
            key.provider.refuted(wrapped, context);
            first.get_or_insert(wrapped);
        }
        first
    }

    /// Whether one of `wrapped`, which came from [`wrap`](Self::wrap), opens under its context alone.
    pub(crate) fn bind_context(&self, wrapped: &[WrappedDek]) -> bool {
        self.encrypting.iter().zip(wrapped).any(|(key, wrapped)| key.binds_context(wrapped))
    }

    /// Refuses `wrapped`, which came from [`wrap`](Self::wrap), unless all of them open under their context alone.
    pub(crate) fn check_context_is_bound(&self, wrapped: &[WrappedDek]) -> Result<(), EncryptError> {
        Self::check_bound(self.encrypting.iter().zip(wrapped))
    }

    /// The same of the wraps of the keys that are not `missing`; and refuses to make what a later rewrap could not
    /// complete, since a missing key may wrap so that its wrap opens under any context.
    pub(crate) fn check_context_will_be_bound(
        &self,
        wrapped: &[WrappedDek],
        missing: &[MissingKey],
    ) -> Result<(), EncryptError> {
        let is_there = |position: usize| missing.iter().all(|key| key.position != position);
        let keys = self.encrypting.iter().enumerate().filter(|(position, _)| is_there(*position));
        Self::check_bound(keys.map(|(_, key)| key).zip(wrapped))?;
        let will_bind = |missing: &&MissingKey| {
            let key = &self.encrypting[missing.position];
            key.provider.binding_of_new_wraps(&key.uri) == Some(ContextBinding::Provider)
        };
        match missing.iter().find(|missing| !will_bind(missing)) {
            Some(missing) => Err(EncryptError::NotCompletable(Box::new(missing.clone()))),
            None => Ok(()),
        }
    }

    fn check_bound<'k>(
        mut wraps: impl Iterator<Item = (&'k ConfiguredKey, &'k WrappedDek)>,
    ) -> Result<(), EncryptError> {
        match wraps.find(|(key, wrapped)| !key.binds_context(wrapped)) {
            Some((key, _)) => Err(EncryptError::ContextNotBound { key: key.uri.clone() }),
            None => Ok(()),
        }
    }

    /// Refuses to make a header that has no recipient, too many, or fewer than `policy` asks for.
    pub(super) fn check_count(&self, policy: WrapPolicy) -> Result<(), EncryptError> {
        match (self.encrypting.len(), policy) {
            (0, _) => Err(EncryptError::NoKey),
            (configured, WrapPolicy::AtLeast(at_least)) if configured < at_least => {
                Err(EncryptError::TooFewKeys { at_least, configured })
            }
            (1..=MAX_RECIPIENTS, _) => Ok(()),
            (more, _) => Err(EncryptError::TooManyKeys(more)),
        }
    }

    async fn wrap_or_miss(
        &self,
        position: usize,
        dek: &Dek,
        context: &FullContext,
        policy: WrapPolicy,
        deadline: &Deadline<'_>,
    ) -> Result<Result<(usize, WrappedDek), MissingKey>, ProviderError> {
        let key = &self.encrypting[position];
        match deadline.bound(key, key.wrap(dek, context)).await {
            Ok(wrapped) => Ok(Ok((position, wrapped))),
            Err(error) if policy.lets_pass(&error) => Ok(Err(key.missing(position, error))),
            Err(error) => Err(error),
        }
    }
}

impl ConfiguredKey {
    fn missing(&self, position: usize, error: ProviderError) -> MissingKey {
        MissingKey { key: self.uri.clone(), error, position }
    }
}
