//! [`Guarded`]: a provider that a policy stands before.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use envelope_sdk::{
    Dek, FullContext, KeyAdmin, KeyProvider, KeyUri, ProviderError, WrappedDek, registry::Scheme,
};

use crate::{
    Guard, Operation,
    guard::{Allowed, Counts, Use},
    meanings::Meanings,
    states::States,
};

/// Asks a [`Guard`] before each call to the provider below. What is denied has failed with an error of kind
/// [`AccessDenied`](envelope_sdk::ProviderErrorKind::AccessDenied) whose source is [`Denied`](crate::Denied); the provider
/// below hears nothing of it, and no secret is read.
///
/// A key is judged by the name that it was asked for by, and an alias also by that of the key behind it: of a wrap when the
/// key store has named it, so that what is denied is thrown away; before the call once that is known. Whether a wrap is
/// post-quantum safe shows then too. A limit counts the key behind, whatever it is asked for by.
///
/// # Where it stands
/// Over all other layers: a cache answers without asking what is below.
pub struct Guarded<P> {
    below: P,
    guard: Guard,
    states: Option<States>,
    meanings: Meanings,
}

impl<P: KeyProvider> Guarded<P> {
    /// Puts `guard` before `below`.
    #[must_use]
    pub fn new(below: P, guard: Guard) -> Self {
        Self { below, guard, states: None, meanings: Meanings::default() }
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
        let usage = Use { operation: Operation::Unwrap, key, context, opens: true, counts: Counts::of(key) };
        self.check_use(usage).await.map(|_| ())
    }

    async fn check_use(&self, usage: Use<'_>) -> Result<Allowed, ProviderError> {
        self.guard.check_use(self.below.name(), self.states.as_ref(), usage).await
    }

    /// Of a use of one name, the same of the key behind it. The limit that has counted that does not again.
    async fn check_behind(
        &self,
        usage: Use<'_>,
        key: &KeyUri,
        mut allowed: Allowed,
    ) -> Result<Allowed, ProviderError> {
        if key != usage.key {
            let counts = Counts::As { key: Some(key), but: allowed.limit };
            allowed.post_quantum_safe |=
                self.check_use(Use { key, counts, ..usage }).await?.post_quantum_safe;
        }
        Ok(allowed)
    }

    async fn wrapping<T>(
        &self,
        usage: Use<'_>,
        call: impl Future<Output = Result<T, ProviderError>>,
        new: impl Fn(&T) -> Option<&WrappedDek>,
    ) -> Result<T, ProviderError> {
        // As far as is known; of an alias nothing is, the first time.
        let behind = self.meanings.of(usage.key);
        let behind = behind.as_ref().or_else(|| usage.key.is_resolved().then_some(usage.key));
        let counts = behind.map_or(Counts::No, Counts::of);
        let mut allowed = self.check_use(Use { counts, ..usage }).await?;
        if let Some(key) = behind {
            allowed = self.check_behind(usage, key, allowed).await?;
        }
        let made = call.await?;
        let Some(wrapped) = new(&made) else { return Ok(made) };
        let named = wrapped.key_uri();
        self.meanings.learn(usage.key, named);
        if behind != Some(named) {
            self.guard.count(self.below.name(), usage, named)?;
            allowed = self.check_behind(usage, named, allowed).await?;
        }
        self.guard.check_kind(self.below.name(), (usage, allowed), wrapped)?;
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
        let usage = Use { operation: Operation::Wrap, key, context, opens: false, counts: Counts::No };
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
        let usage = Use { operation: Operation::Wrap, key, context, opens: false, counts: Counts::No };
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
        let of = wrapped.key_uri();
        self.check_use(Use { operation, key: of, context, opens: true, counts: Counts::of(of) }).await?;
        let new = Use { operation, key, context, opens: false, counts: Counts::No };
        self.wrapping(new, self.below.rewrap_dek(wrapped, key, context), Option::as_ref).await
    }
}

impl<P> fmt::Debug for Guarded<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").field("guard", &self.guard).finish_non_exhaustive()
    }
}
