//! A provider with single methods replaced.

use std::sync::Arc;

use async_trait::async_trait;
use envelope_sdk::{
    ContextBinding, Dek, FullContext, KeyProvider, KeyUri, ProviderError, ProviderIdentity, WrappedDek,
    provider::unwrap_one_by_one,
};
use futures_util::future::BoxFuture;

/// What a replaced method returns: a future in a box, `Box::pin(async move { … })`.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, ProviderError>>;

/// Stands before another provider, hands everything on to it, and answers
/// in its place where a test says how. Each replacement is given the provider
/// below first, to do what it is not about.
///
/// ```
/// # use std::sync::{Arc, atomic::{AtomicUsize, Ordering}};
/// # use envelope_testkit::{AlteredProvider, MemoryProvider};
/// let key = MemoryProvider::key("alpha");
/// let memory = Arc::new(MemoryProvider::new().with_key(&key));
/// let wraps = Arc::new(AtomicUsize::new(0));
/// let counted = wraps.clone();
/// let provider = AlteredProvider::new(memory).named("spy").on_wrap(move |below, key, dek, context| {
///     counted.fetch_add(1, Ordering::SeqCst);
///     Box::pin(async move { below.wrap_dek(key, dek, context).await })
/// });
/// # let _ = provider;
/// ```
pub struct AlteredProvider {
    below: Arc<dyn KeyProvider>,
    name: Option<&'static str>,
    identity: Option<Option<ProviderIdentity>>,
    generates: Option<bool>,
    waits: Option<bool>,
    binding: Option<Binding>,
    same_key: Option<SameKey>,
    resolve: Option<Resolve>,
    wrap: Option<Wrap>,
    unwrap: Option<Unwrap>,
    generate: Option<Generate>,
    rewrap: Option<Rewrap>,
}

type Below<'a> = &'a dyn KeyProvider;
type Binding = Box<dyn for<'a> Fn(Below<'a>, &'a WrappedDek) -> ContextBinding + Send + Sync>;
type SameKey = Box<dyn for<'a> Fn(Below<'a>, &'a KeyUri, &'a KeyUri) -> bool + Send + Sync>;
type Resolve = Box<dyn for<'a> Fn(Below<'a>, &'a KeyUri) -> Answer<'a, KeyUri> + Send + Sync>;
type Wrap = Box<
    dyn for<'a> Fn(Below<'a>, &'a KeyUri, &'a Dek, &'a FullContext) -> Answer<'a, WrappedDek> + Send + Sync,
>;
type Unwrap =
    Box<dyn for<'a> Fn(Below<'a>, &'a WrappedDek, &'a FullContext) -> Answer<'a, Dek> + Send + Sync>;
type Generate = Box<
    dyn for<'a> Fn(Below<'a>, &'a KeyUri, &'a FullContext) -> Answer<'a, (Dek, WrappedDek)> + Send + Sync,
>;
type Rewrap = Box<
    dyn for<'a> Fn(Below<'a>, &'a WrappedDek, &'a KeyUri, &'a FullContext) -> Answer<'a, Option<WrappedDek>>
        + Send
        + Sync,
>;

impl AlteredProvider {
    /// Hands everything on to `below`.
    #[must_use]
    pub fn new(below: Arc<dyn KeyProvider>) -> Self {
        Self {
            below,
            name: None,
            identity: None,
            generates: None,
            waits: None,
            binding: None,
            same_key: None,
            resolve: None,
            wrap: None,
            unwrap: None,
            generate: None,
            rewrap: None,
        }
    }

    /// Has another name.
    #[must_use]
    pub fn named(mut self, name: &'static str) -> Self {
        self.name = Some(name);
        self
    }

    /// Has another identity, or none.
    #[must_use]
    pub fn identified(mut self, identity: Option<ProviderIdentity>) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Says that it generates DEKs, or that it does not.
    #[must_use]
    pub fn generating(mut self, generates: bool) -> Self {
        self.generates = Some(generates);
        self
    }

    /// Says that its calls may wait for a person, or that they do not.
    #[must_use]
    pub fn waiting_for_a_person(mut self, waits: bool) -> Self {
        self.waits = Some(waits);
        self
    }

    /// Declares that its wraps bind the context so.
    #[must_use]
    pub fn binding(
        mut self,
        binding: impl for<'a> Fn(&'a dyn KeyProvider, &'a WrappedDek) -> ContextBinding + Send + Sync + 'static,
    ) -> Self {
        self.binding = Some(Box::new(binding));
        self
    }

    /// Answers [`is_same_key`](KeyProvider::is_same_key).
    #[must_use]
    pub fn same_key(
        mut self,
        same_key: impl for<'a> Fn(&'a dyn KeyProvider, &'a KeyUri, &'a KeyUri) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.same_key = Some(Box::new(same_key));
        self
    }

    /// Answers [`resolve`](KeyProvider::resolve).
    #[must_use]
    pub fn on_resolve(
        mut self,
        resolve: impl for<'a> Fn(&'a dyn KeyProvider, &'a KeyUri) -> Answer<'a, KeyUri> + Send + Sync + 'static,
    ) -> Self {
        self.resolve = Some(Box::new(resolve));
        self
    }

    /// Answers [`wrap_dek`](KeyProvider::wrap_dek).
    #[must_use]
    pub fn on_wrap(
        mut self,
        wrap: impl for<'a> Fn(&'a dyn KeyProvider, &'a KeyUri, &'a Dek, &'a FullContext) -> Answer<'a, WrappedDek>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.wrap = Some(Box::new(wrap));
        self
    }

    /// Answers [`unwrap_dek`](KeyProvider::unwrap_dek).
    #[must_use]
    pub fn on_unwrap(
        mut self,
        unwrap: impl for<'a> Fn(&'a dyn KeyProvider, &'a WrappedDek, &'a FullContext) -> Answer<'a, Dek>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.unwrap = Some(Box::new(unwrap));
        self
    }

    /// Answers [`generate_dek`](KeyProvider::generate_dek). That it is asked, says
    /// [`generating`](Self::generating).
    #[must_use]
    pub fn on_generate(
        mut self,
        generate: impl for<'a> Fn(
            &'a dyn KeyProvider,
            &'a KeyUri,
            &'a FullContext,
        ) -> Answer<'a, (Dek, WrappedDek)>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.generate = Some(Box::new(generate));
        self
    }

    /// Answers [`rewrap_dek`](KeyProvider::rewrap_dek).
    #[must_use]
    pub fn on_rewrap(
        mut self,
        rewrap: impl for<'a> Fn(
            &'a dyn KeyProvider,
            &'a WrappedDek,
            &'a KeyUri,
            &'a FullContext,
        ) -> Answer<'a, Option<WrappedDek>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.rewrap = Some(Box::new(rewrap));
        self
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl KeyProvider for AlteredProvider {
    fn name(&self) -> &'static str {
        self.name.unwrap_or_else(|| self.below.name())
    }

    fn identity(&self) -> Option<ProviderIdentity> {
        self.identity.unwrap_or_else(|| self.below.identity())
    }

    async fn resolve(&self, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        match &self.resolve {
            Some(resolve) => resolve(&*self.below, key).await,
            None => self.below.resolve(key).await,
        }
    }

    fn context_binding(&self, wrapped: &WrappedDek) -> ContextBinding {
        match &self.binding {
            Some(binding) => binding(&*self.below, wrapped),
            None => self.below.context_binding(wrapped),
        }
    }

    fn is_same_key(&self, configured: &KeyUri, recipient: &KeyUri) -> bool {
        match &self.same_key {
            Some(same_key) => same_key(&*self.below, configured, recipient),
            None => self.below.is_same_key(configured, recipient),
        }
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        match &self.wrap {
            Some(wrap) => wrap(&*self.below, key, dek, context).await,
            None => self.below.wrap_dek(key, dek, context).await,
        }
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        match &self.unwrap {
            Some(unwrap) => unwrap(&*self.below, wrapped, context).await,
            None => self.below.unwrap_dek(wrapped, context).await,
        }
    }

    async fn unwrap_deks(&self, wraps: &[(&WrappedDek, &FullContext)]) -> Vec<Result<Dek, ProviderError>> {
        match &self.unwrap {
            Some(_) => unwrap_one_by_one(self, wraps).await,
            None => self.below.unwrap_deks(wraps).await,
        }
    }

    fn refuted(&self, wrapped: &WrappedDek, context: &FullContext) {
        self.below.refuted(wrapped, context);
    }

    fn binding_of_new_wraps(&self, key: &KeyUri) -> Option<ContextBinding> {
        match &self.binding {
            // Only a wrap tells.
            Some(_) => None,
            None => self.below.binding_of_new_wraps(key),
        }
    }

    fn waits_for_a_person(&self, key: &KeyUri) -> bool {
        self.waits.unwrap_or_else(|| self.below.waits_for_a_person(key))
    }

    fn generates_deks(&self, key: &KeyUri) -> bool {
        self.generates.unwrap_or_else(|| self.below.generates_deks(key))
    }

    async fn generate_dek(
        &self,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<(Dek, WrappedDek), ProviderError> {
        match &self.generate {
            Some(generate) => generate(&*self.below, key, context).await,
            None => self.below.generate_dek(key, context).await,
        }
    }

    async fn rewrap_dek(
        &self,
        wrapped: &WrappedDek,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        match &self.rewrap {
            Some(rewrap) => rewrap(&*self.below, wrapped, key, context).await,
            None => self.below.rewrap_dek(wrapped, key, context).await,
        }
    }
}
