//! [`Guarded`]: a provider that a policy stands before.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use envelope_sdk::{
    Dek, FullContext, KeyAdmin, KeyProvider, KeyUri, ProviderError, WrappedDek, registry::Scheme,
};

use crate::{
    Guard, Operation,
    guard::{Counts, Use},
    states::States,
};

/// Asks a [`Guard`] before each call to the provider below. What is denied has failed with an error of kind
/// [`AccessDenied`](envelope_sdk::ProviderErrorKind::AccessDenied) whose source is [`Denied`](crate::Denied); the provider
/// below hears nothing of it, and no secret is read.
///
/// A key is judged by the name that it was asked for by, and an alias also by that of the key behind it: of a wrap when the
/// key store has named it, so that what is denied is thrown away. Whether a wrap is post-quantum safe shows then too.
///
/// # Where it stands
/// Over all other layers: a cache answers without asking what is below.
pub struct Guarded<P> {
    below: P,
    guard: Guard,
    states: Option<States>,
}

impl<P: KeyProvider> Guarded<P> {
    /// Puts `guard` before `below`.
    #[must_use]
    pub fn new(below: P, guard: Guard) -> Self {
        Self { below, guard, states: None }
    }

    /// Asks `admin` for the states of keys, where a rule requires one; an answer is good for a minute. Without it such
    /// a rule denies.
    #[must_use]
    pub fn states_from(mut self, admin: Arc<dyn KeyAdmin>) -> Self {
        self.states = Some(States::new(admin));
        self
    }

    /// The same, by whom this key store names for each key.
    pub(crate) fn states_of(mut self, scheme: Arc<dyn Scheme>) -> Self {
        self.states = Some(States::of_scheme(scheme));
        self
    }

    async fn may_unwrap(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<(), ProviderError> {
        let key = wrapped.key_uri();
        let usage = Use { operation: Operation::Unwrap, key, context, opens: true, counts: Counts::Yes };
        self.guard.check_use(self.below.name(), self.states.as_ref(), usage).await.map(|_| ())
    }

    async fn wrapping<T>(
        &self,
        usage: Use<'_>,
        call: impl Future<Output = Result<T, ProviderError>>,
        new: impl Fn(&T) -> Option<&WrappedDek>,
    ) -> Result<T, ProviderError> {
        let (name, states) = (self.below.name(), self.states.as_ref());
        let allowed = self.guard.check_use(name, states, usage).await?;
        let made = call.await?;
        if let Some(wrapped) = new(&made) {
            self.guard.check_wrap(name, states, (usage, allowed), wrapped).await?;
        }
        Ok(made)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<P: KeyProvider> KeyProvider for Guarded<P> {
    envelope_sdk::hand_on!(below);

    async fn resolve(&self, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        self.guard.check_resolve(self.below.name(), key)?;
        self.below.resolve(key).await
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        let usage = Use { operation: Operation::Wrap, key, context, opens: false, counts: Counts::Yes };
        self.wrapping(usage, self.below.wrap_dek(key, dek, context), |wrapped| Some(wrapped)).await
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        self.may_unwrap(wrapped, context).await?;
        self.below.unwrap_dek(wrapped, context).await
    }

    /// What is denied has failed in its place; the others are asked for together.
    async fn unwrap_deks(&self, wraps: &[(&WrappedDek, &FullContext)]) -> Vec<Result<Dek, ProviderError>> {
        let mut denied = Vec::with_capacity(wraps.len());
        for (wrapped, context) in wraps {
            denied.push(self.may_unwrap(wrapped, context).await.err());
        }
        let allowed: Vec<_> =
            wraps.iter().zip(&denied).filter(|(_, denied)| denied.is_none()).map(|(wrap, _)| *wrap).collect();
        let mut opened =
            if allowed.is_empty() { Vec::new() } else { self.below.unwrap_deks(&allowed).await }.into_iter();
        let missing = |wrapped: &WrappedDek| {
            let message = "the provider gave fewer answers than there were questions";
            let kind = envelope_sdk::ProviderErrorKind::Protocol;
            Err(ProviderError::new(kind, self.below.name(), wrapped.key_uri(), message))
        };
        let answer =
            |(denied, (wrapped, _)): (Option<ProviderError>, &(&WrappedDek, &FullContext))| match denied {
                Some(denied) => Err(denied),
                None => opened.next().unwrap_or_else(|| missing(wrapped)),
            };
        denied.into_iter().zip(wraps).map(answer).collect()
    }

    async fn generate_dek(
        &self,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<(Dek, WrappedDek), ProviderError> {
        let usage = Use { operation: Operation::Wrap, key, context, opens: false, counts: Counts::Yes };
        self.wrapping(usage, self.below.generate_dek(key, context), |(_, wrapped)| Some(wrapped)).await
    }

    /// [`Operation::Rewrap`], of both keys.
    async fn rewrap_dek(
        &self,
        wrapped: &WrappedDek,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        let operation = Operation::Rewrap;
        let old = Use { operation, key: wrapped.key_uri(), context, opens: true, counts: Counts::Yes };
        self.guard.check_use(self.below.name(), self.states.as_ref(), old).await?;
        let new = Use { operation, key, context, opens: false, counts: Counts::Yes };
        self.wrapping(new, self.below.rewrap_dek(wrapped, key, context), Option::as_ref).await
    }
}

impl<P> fmt::Debug for Guarded<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").field("guard", &self.guard).finish_non_exhaustive()
    }
}
