//! A provider that does what a test says, one call after the other.

use std::{
    collections::VecDeque,
    future::{Future, pending, poll_fn},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_trait::async_trait;
use envelope_sdk::{
    ContextBinding, Dek, EncryptionContext, FullContext, KeyProvider, KeyUri, ProviderError,
    ProviderErrorKind, ProviderIdentity, WrappedDek,
};
use envelope_testkit::MemoryProvider;
use tokio::time::{Instant, sleep};

/// What a call does.
#[derive(Clone)]
pub(crate) enum Step {
    Fail(ProviderError),
    /// Of a batch, those at these places fail so; a single call fails if 0 is among them.
    FailSome(Vec<usize>, ProviderError),
    /// Never answers.
    Hang,
    /// Answers after a time.
    Take(Duration),
}

/// Keys in memory. A call for which there is no step is answered, after as many polls as were asked for.
pub(crate) struct Script {
    memory: MemoryProvider,
    steps: Mutex<VecDeque<Step>>,
    always: Mutex<Option<Step>>,
    yields: usize,
    calls: Mutex<Vec<(Instant, usize)>>,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
}

impl Script {
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> Arc<Self> {
        Self::that_yields(0, steps)
    }

    pub(crate) fn that_yields(yields: usize, steps: impl IntoIterator<Item = Step>) -> Arc<Self> {
        let memory = MemoryProvider::new().with_key(&key("one")).with_key(&key("two"));
        Arc::new(Self {
            memory: memory.that_generates_deks().that_rewraps(),
            steps: Mutex::new(steps.into_iter().collect()),
            always: Mutex::default(),
            yields,
            calls: Mutex::default(),
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
        })
    }

    /// What the next calls do.
    pub(crate) fn then(&self, steps: impl IntoIterator<Item = Step>) {
        self.steps.lock().unwrap().extend(steps);
        self.forget();
    }

    /// What each call does for which there is no other step.
    pub(crate) fn always(&self, step: impl Into<Option<Step>>) {
        *self.always.lock().unwrap() = step.into();
    }

    /// How many wraps each call was for, one for any that is no batch.
    pub(crate) fn calls(&self) -> Vec<usize> {
        self.calls.lock().unwrap().iter().map(|(_, size)| *size).collect()
    }

    pub(crate) fn times(&self) -> Vec<Instant> {
        self.calls.lock().unwrap().iter().map(|(time, _)| *time).collect()
    }

    pub(crate) fn forget(&self) {
        self.calls.lock().unwrap().clear();
    }

    pub(crate) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::SeqCst)
    }

    pub(crate) fn most_under_way(&self) -> usize {
        self.most_under_way.load(Ordering::SeqCst)
    }

    /// What a call does before it answers: the places that fail, and how.
    async fn step(&self, size: usize) -> Option<(Vec<usize>, ProviderError)> {
        struct UnderWay<'s>(&'s AtomicUsize);
        impl Drop for UnderWay<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        self.calls.lock().unwrap().push((Instant::now(), size));
        let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        let _under_way = UnderWay(&self.under_way);
        self.most_under_way.fetch_max(now, Ordering::SeqCst);
        for _ in 0..self.yields {
            yield_once().await;
        }
        let next = self.steps.lock().unwrap().pop_front();
        match next.or_else(|| self.always.lock().unwrap().clone()) {
            None => None,
            Some(Step::Fail(error)) => Some(((0..size).collect(), error)),
            Some(Step::FailSome(places, error)) => Some((places, error)),
            Some(Step::Hang) => pending().await,
            Some(Step::Take(time)) => {
                sleep(time).await;
                None
            }
        }
    }

    async fn answer(&self, key: &KeyUri) -> Result<(), ProviderError> {
        match self.step(1).await {
            Some((places, error)) if places.contains(&0) => Err(error.about(key)),
            _ => Ok(()),
        }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl KeyProvider for Script {
    fn name(&self) -> &'static str {
        self.memory.name()
    }

    fn identity(&self) -> Option<ProviderIdentity> {
        self.memory.identity()
    }

    async fn resolve(&self, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        self.answer(key).await?;
        self.memory.resolve(key).await
    }

    fn context_binding(&self, wrapped: &WrappedDek) -> ContextBinding {
        self.memory.context_binding(wrapped)
    }

    fn is_same_key(&self, configured: &KeyUri, recipient: &KeyUri) -> bool {
        self.memory.is_same_key(configured, recipient)
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
        self.answer(wrapped.key_uri()).await?;
        self.memory.unwrap_dek(wrapped, context).await
    }

    async fn unwrap_deks(&self, wraps: &[(&WrappedDek, &FullContext)]) -> Vec<Result<Dek, ProviderError>> {
        let failing = self.step(wraps.len()).await;
        let mut answers = self.memory.unwrap_deks(wraps).await;
        if let Some((places, error)) = failing {
            for place in places {
                answers[place] = Err(error.clone().about(wraps[place].0.key_uri()));
            }
        }
        answers
    }

    fn refuted(&self, wrapped: &WrappedDek, context: &FullContext) {
        self.memory.refuted(wrapped, context);
    }

    fn binding_of_new_wraps(&self, key: &KeyUri) -> Option<ContextBinding> {
        self.memory.binding_of_new_wraps(key)
    }

    fn waits_for_a_person(&self, key: &KeyUri) -> bool {
        self.memory.waits_for_a_person(key)
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

    async fn rewrap_dek(
        &self,
        wrapped: &WrappedDek,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        self.answer(key).await?;
        self.memory.rewrap_dek(wrapped, key, context).await
    }
}

pub(crate) fn error(kind: ProviderErrorKind) -> ProviderError {
    ProviderError::without_key(kind, "memory", "as it was told to")
}

pub(crate) fn fail(kind: ProviderErrorKind) -> Step {
    Step::Fail(error(kind))
}

pub(crate) fn key(name: &str) -> KeyUri {
    MemoryProvider::key(name)
}

pub(crate) fn context() -> FullContext {
    EncryptionContext::new().with("tenant", "acme").full().unwrap()
}

/// A wrap, made past all steps.
pub(crate) async fn wrapped(script: &Script, name: &str) -> WrappedDek {
    let (_, wrapped) = script.memory.generate_dek(&key(name), &context()).await.unwrap();
    wrapped
}

/// A call that asks the key store.
pub(crate) async fn ask(provider: &impl KeyProvider) -> Result<(), ProviderError> {
    provider.generate_dek(&key("one"), &context()).await.map(drop)
}

pub(crate) fn kind_of<T>(answer: Result<T, ProviderError>) -> Option<ProviderErrorKind> {
    answer.err().map(|error| error.kind())
}

pub(crate) fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

async fn yield_once() {
    let mut polled = false;
    poll_fn(|context| {
        if polled {
            return Poll::Ready(());
        }
        polled = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Polls a future so often and drops it, unless it ends before. Where it only waits for the clock, that goes on a little.
pub(crate) async fn dropped_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Some(output);
        }
        tokio::time::advance(Duration::from_millis(25)).await;
    }
    None
}
