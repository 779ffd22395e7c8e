//! A provider that fails on demand.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use envelope_sdk::{
    ContextBinding, Dek, FullContext, KeyProvider, KeyUri, ProviderError, ProviderErrorKind,
    ProviderIdentity, WrappedDek, crypto::DefaultEngine, provider::unwrap_one_by_one,
};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The call fails with an error of this kind; the provider behind is not
    /// called.
    Fail(ProviderErrorKind),
    /// The call succeeds with a DEK that nobody asked for: a wrap, a rewrap or
    /// the wrap of a generated DEK holds another one, an unwrap returns another
    /// one.
    OtherDek,
}

/// Stands before a provider and injects [`Fault`]s. Without any it passes
/// everything on.
pub struct FaultProvider {
    inner: Arc<dyn KeyProvider>,
    faults: Mutex<Faults>,
    unwraps: AtomicUsize,
    refuted: Mutex<Vec<WrappedDek>>,
}

#[derive(Default, Clone, Copy)]
struct Faults {
    wrap: Option<Fault>,
    unwrap: Option<Fault>,
    rewrap: Option<Fault>,
}

impl FaultProvider {
    /// Passes everything on to `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn KeyProvider>) -> Self {
        Self { inner, faults: Mutex::default(), unwraps: AtomicUsize::new(0), refuted: Mutex::default() }
    }

    /// From now on each wrap, also that of a generated DEK, goes wrong so; `None`
    /// heals it.
    pub fn fault_wraps(&self, fault: impl Into<Option<Fault>>) {
        self.lock().wrap = fault.into();
    }

    /// From now on each unwrap goes wrong so; `None` heals it.
    pub fn fault_unwraps(&self, fault: impl Into<Option<Fault>>) {
        self.lock().unwrap = fault.into();
    }

    /// From now on each rewrap inside the provider goes wrong so; `None` heals it.
    pub fn fault_rewraps(&self, fault: impl Into<Option<Fault>>) {
        self.lock().rewrap = fault.into();
    }

    /// How often [`unwrap_dek`](KeyProvider::unwrap_dek) was called, whatever came
    /// of it.
    #[must_use]
    pub fn unwraps(&self) -> usize {
        self.unwraps.load(Ordering::SeqCst)
    }

    /// The wraps whose DEKs were [refuted](KeyProvider::refuted), in that order.
    #[must_use]
    pub fn refuted_wraps(&self) -> Vec<WrappedDek> {
        self.lock_refuted().clone()
    }

    fn lock_refuted(&self) -> MutexGuard<'_, Vec<WrappedDek>> {
        self.refuted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Faults> {
        // A panic of another test thread leaves the faults as they were.
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults(&self) -> Faults {
        *self.lock()
    }

    fn fail(&self, kind: ProviderErrorKind, key: &KeyUri) -> ProviderError {
        ProviderError::new(kind, self.name(), key, "injected fault")
    }

    fn other_dek(&self, key: &KeyUri) -> Result<Dek, ProviderError> {
        Dek::generate::<DefaultEngine>()
            .map_err(|error| self.fail(ProviderErrorKind::Other, key).with_source(error))
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl KeyProvider for FaultProvider {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn identity(&self) -> Option<ProviderIdentity> {
        self.inner.identity()
    }

    async fn resolve(&self, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        self.inner.resolve(key).await
    }

    fn context_binding(&self, wrapped: &WrappedDek) -> ContextBinding {
        self.inner.context_binding(wrapped)
    }

    fn is_same_key(&self, configured: &KeyUri, recipient: &KeyUri) -> bool {
        self.inner.is_same_key(configured, recipient)
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        match self.faults().wrap {
            Some(Fault::Fail(kind)) => Err(self.fail(kind, key)),
            Some(Fault::OtherDek) => self.inner.wrap_dek(key, &self.other_dek(key)?, context).await,
            None => self.inner.wrap_dek(key, dek, context).await,
        }
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        self.unwraps.fetch_add(1, Ordering::SeqCst);
        match self.faults().unwrap {
            Some(Fault::Fail(kind)) => Err(self.fail(kind, wrapped.key_uri())),
            Some(Fault::OtherDek) => self.other_dek(wrapped.key_uri()),
            None => self.inner.unwrap_dek(wrapped, context).await,
        }
    }

    async fn unwrap_deks(&self, wraps: &[(&WrappedDek, &FullContext)]) -> Vec<Result<Dek, ProviderError>> {
        unwrap_one_by_one(self, wraps).await
    }

    fn refuted(&self, wrapped: &WrappedDek, context: &FullContext) {
        self.lock_refuted().push(wrapped.clone());
        self.inner.refuted(wrapped, context);
    }

    fn binding_of_new_wraps(&self, key: &KeyUri) -> Option<ContextBinding> {
        self.inner.binding_of_new_wraps(key)
    }

    fn waits_for_a_person(&self, key: &KeyUri) -> bool {
        self.inner.waits_for_a_person(key)
    }

    fn generates_deks(&self, key: &KeyUri) -> bool {
        self.inner.generates_deks(key)
    }

    async fn generate_dek(
        &self,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<(Dek, WrappedDek), ProviderError> {
        match self.faults().wrap {
            Some(Fault::Fail(kind)) => Err(self.fail(kind, key)),
            Some(Fault::OtherDek) => {
                let (_, wrapped) = self.inner.generate_dek(key, context).await?;
                Ok((self.other_dek(key)?, wrapped))
            }
            None => self.inner.generate_dek(key, context).await,
        }
    }

    async fn rewrap_dek(
        &self,
        wrapped: &WrappedDek,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        match self.faults().rewrap {
            Some(Fault::Fail(kind)) => Err(self.fail(kind, key)),
            Some(Fault::OtherDek) => self.inner.wrap_dek(key, &self.other_dek(key)?, context).await.map(Some),
            None => self.inner.rewrap_dek(wrapped, key, context).await,
        }
    }
}
