//! A provider that tells how it was called and answers when a test lets it.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use async_trait::async_trait;
use envelope_sdk::{
    ContextBinding, Dek, EncryptionContext, FullContext, KeyProvider, KeyUri, ProviderError,
    ProviderErrorKind, ProviderIdentity, WrappedDek, crypto::DefaultEngine,
};
use envelope_testkit::MemoryProvider;
use tokio::sync::Semaphore;

/// Keys in memory. Each call returns `Pending` a few times, then waits for the gate, which is open at first.
pub(crate) struct Spy {
    memory: MemoryProvider,
    yields: usize,
    gate: Semaphore,
    fails: Mutex<Option<ProviderErrorKind>>,
    /// How many wraps each call that unwraps was for.
    unwraps: Mutex<Vec<usize>>,
    /// How many calls have begun and not ended, nor been dropped.
    under_way: AtomicUsize,
    panics: bool,
}

impl Spy {
    pub(crate) fn new() -> Self {
        Self {
            memory: MemoryProvider::new().with_key(&key("one")).with_key(&key("two")).that_generates_deks(),
            yields: 0,
            gate: Semaphore::new(OPEN),
            fails: Mutex::default(),
            unwraps: Mutex::default(),
            under_way: AtomicUsize::new(0),
            panics: false,
        }
    }

    pub(crate) fn that_yields(yields: usize) -> Self {
        Self { yields, ..Self::new() }
    }

    pub(crate) fn that_panics() -> Self {
        Self { panics: true, ..Self::new() }
    }

    /// Calls that unwrap wait from now on.
    pub(crate) fn close(&self) {
        self.gate.forget_permits(OPEN);
    }

    pub(crate) fn open(&self) {
        self.gate.add_permits(OPEN);
    }

    pub(crate) fn fail(&self, kind: impl Into<Option<ProviderErrorKind>>) {
        *self.fails.lock().unwrap() = kind.into();
    }

    /// How many wraps each call was for.
    pub(crate) fn unwraps(&self) -> Vec<usize> {
        self.unwraps.lock().unwrap().clone()
    }

    pub(crate) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::SeqCst)
    }

    /// What every call does before it answers.
    async fn answer(&self, key: &KeyUri) -> Result<(), ProviderError> {
        for _ in 0..self.yields {
            yield_once().await;
        }
        let _permit = self.gate.acquire().await;
        assert!(!self.panics, "as it was told to");
        match *self.fails.lock().unwrap() {
            Some(kind) => Err(ProviderError::new(kind, self.name(), key, "as it was told to")),
            None => Ok(()),
        }
    }

    fn begin(&self, wraps: usize) -> UnderWay<'_> {
        self.unwraps.lock().unwrap().push(wraps);
        self.under_way.fetch_add(1, Ordering::SeqCst);
        UnderWay(&self.under_way)
    }
}

struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl KeyProvider for Spy {
    fn name(&self) -> &'static str {
        "spy"
    }

    fn identity(&self) -> Option<ProviderIdentity> {
        self.memory.identity()
    }

    /// `spy:also-one` is an alias of `spy:one`.
    fn is_same_key(&self, configured: &KeyUri, recipient: &KeyUri) -> bool {
        configured == recipient || (*configured == key("also-one") && *recipient == key("one"))
    }

    fn context_binding(&self, wrapped: &WrappedDek) -> ContextBinding {
        self.memory.context_binding(wrapped)
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        self.answer(key).await?;
        self.memory.wrap_dek(key, dek, context).await
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        let _under_way = self.begin(1);
        self.answer(wrapped.key_uri()).await?;
        self.memory.unwrap_dek(wrapped, context).await
    }

    async fn unwrap_deks(&self, wraps: &[(&WrappedDek, &FullContext)]) -> Vec<Result<Dek, ProviderError>> {
        let _under_way = self.begin(wraps.len());
        let mut deks = Vec::new();
        for (wrapped, context) in wraps {
            deks.push(match self.answer(wrapped.key_uri()).await {
                Ok(()) => self.memory.unwrap_dek(wrapped, context).await,
                Err(error) => Err(error),
            });
        }
        deks
    }

    fn generates_deks(&self, key: &KeyUri) -> bool {
        self.memory.generates_deks(key)
    }

    async fn generate_dek(
        &self,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<(Dek, WrappedDek), ProviderError> {
        self.answer(key).await?;
        self.memory.generate_dek(key, context).await
    }
}

pub(crate) fn key(name: &str) -> KeyUri {
    KeyUri::parse(&format!("spy:{name}")).unwrap()
}

pub(crate) fn context(tenant: &str) -> FullContext {
    EncryptionContext::new().with("tenant", tenant).full().unwrap()
}

pub(crate) fn fresh_dek() -> Dek {
    Dek::generate::<DefaultEngine>().unwrap()
}

/// A wrap under that key of a fresh DEK, and the DEK.
pub(crate) async fn wrapped(
    provider: &impl KeyProvider,
    name: &str,
    context: &FullContext,
) -> (WrappedDek, Dek) {
    let dek = fresh_dek();
    (provider.wrap_dek(&key(name), &dek, context).await.unwrap(), dek)
}

/// Whether a wrap opens, to that DEK.
pub(crate) async fn opens(
    provider: &impl KeyProvider,
    wrapped: &WrappedDek,
    context: &FullContext,
    dek: &Dek,
) {
    assert_eq!(provider.unwrap_dek(wrapped, context).await.unwrap().expose(), dek.expose());
}

/// Polls `future` at most `polls` times and drops it.
pub(crate) async fn dropped_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Poll::Ready(output) = poll_fn(|task| Poll::Ready(future.as_mut().poll(task))).await {
            return Some(output);
        }
    }
    None
}

async fn yield_once() {
    let mut yielded = false;
    poll_fn(|task| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        task.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The provider, to look at, and behind a pointer, to be cached.
pub(crate) fn shared(spy: Spy) -> Arc<Spy> {
    Arc::new(spy)
}

/// Polls once.
pub(crate) fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

const OPEN: usize = 1 << 20;
