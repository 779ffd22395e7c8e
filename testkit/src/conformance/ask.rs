//! Asking a key store: with a deadline, and with words for what came back.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{RecvTimeoutError, channel},
    },
    task::Poll,
    thread,
    time::Duration,
};

use envelope_sdk::{
    Dek, EncryptionContext, FullContext, KeyProvider, KeyUri, ProviderError, ProviderErrorKind, WrappedDek,
    crypto::DefaultEngine,
};
use futures_util::{
    future::{Either, select},
    task::AtomicWaker,
};

use super::{Applied, Backend, Change, Outcome, Subject, Task, admin::AdminBackend, scheme::SchemeBackend};

/// A check until it is decided: `?` ends it as failed or as not run.
pub(super) type Step<T> = Result<T, Outcome>;

/// How long a provider may take for one call, or for 64 at once.
const DEADLINE: Duration = Duration::from_secs(60);

pub(super) fn fails<T>(seen: impl Into<String>) -> Step<T> {
    Err(Outcome::Fails(seen.into()))
}

pub(super) fn not_run<T>(reason: impl Into<String>) -> Step<T> {
    Err(Outcome::NotRun(reason.into()))
}

/// What a check returns.
pub(super) fn decide(check: impl FnOnce() -> Step<()>) -> Outcome {
    check().err().unwrap_or(Outcome::Holds)
}

/// A backend of any suite: who runs its futures.
pub(super) trait Drive {
    fn drive(&self, future: Task<'_>);
}

impl Drive for dyn Backend + '_ {
    fn drive(&self, future: Task<'_>) {
        self.block_on(future);
    }
}

impl Drive for dyn AdminBackend + '_ {
    fn drive(&self, future: Task<'_>) {
        self.block_on(future);
    }
}

impl Drive for dyn SchemeBackend + '_ {
    fn drive(&self, future: Task<'_>) {
        self.block_on(future);
    }
}

/// Runs a future on the backend's runtime, at most for the deadline.
pub(super) fn wait<B: Drive + ?Sized, T: Send>(
    backend: &B,
    future: impl Future<Output = T> + Send,
) -> Step<T> {
    let mut answer = None;
    backend.drive(Box::pin(async { answer = within_deadline(future).await.ok() }));
    match answer {
        Some(answer) => Ok(answer),
        None => fails(format!("no answer within {} seconds", DEADLINE.as_secs())),
    }
}

pub(super) fn wrap(
    backend: &dyn Backend,
    subject: &Subject,
    dek: &Dek,
    context: &FullContext,
) -> Step<Result<WrappedDek, ProviderError>> {
    wait(backend, subject.provider.wrap_dek(&subject.key, dek, context))
}

pub(super) fn unwrap(
    backend: &dyn Backend,
    subject: &Subject,
    wrapped: &WrappedDek,
    context: &FullContext,
) -> Step<Result<Dek, ProviderError>> {
    wait(backend, subject.provider.unwrap_dek(wrapped, context))
}

pub(super) fn generate(
    backend: &dyn Backend,
    subject: &Subject,
    context: &FullContext,
) -> Step<Result<(Dek, WrappedDek), ProviderError>> {
    wait(backend, subject.provider.generate_dek(&subject.key, context))
}

/// Rewraps inside the provider under the key of `subject`.
pub(super) fn rewrap(
    backend: &dyn Backend,
    subject: &Subject,
    wrapped: &WrappedDek,
    context: &FullContext,
) -> Step<Result<Option<WrappedDek>, ProviderError>> {
    wait(backend, subject.provider.rewrap_dek(wrapped, &subject.key, context))
}

/// Generates where nothing stands against it.
pub(super) fn must_generate(
    backend: &dyn Backend,
    subject: &Subject,
    context: &FullContext,
) -> Step<(Dek, WrappedDek)> {
    generate(backend, subject, context)?
        .or_else(|error| fails(format!("generating failed: {}", told(&error))))
}

/// Wraps where nothing stands against it.
pub(super) fn must_wrap(
    backend: &dyn Backend,
    subject: &Subject,
    dek: &Dek,
    context: &FullContext,
) -> Step<WrappedDek> {
    wrap(backend, subject, dek, context)?.or_else(|error| fails(format!("wrapping failed: {}", told(&error))))
}

/// Unwraps where nothing stands against it, and compares.
pub(super) fn must_give_back(
    backend: &dyn Backend,
    subject: &Subject,
    wrapped: &WrappedDek,
    context: &FullContext,
    dek: &Dek,
) -> Step<()> {
    match unwrap(backend, subject, wrapped, context)? {
        Ok(back) if back.expose() == dek.expose() => Ok(()),
        Ok(_) => fails("unwrapping gave another DEK"),
        Err(error) => fails(format!("unwrapping failed: {}", told(&error))),
    }
}

/// What a configured key means, as a keyring asks.
pub(super) fn must_resolve<B: Drive + ?Sized>(
    backend: &B,
    provider: &dyn KeyProvider,
    key: &KeyUri,
) -> Step<KeyUri> {
    wait(backend, provider.resolve(key))?
        .or_else(|error| fails(format!("{key} was not resolved: {}", told(&error))))
}

/// Demands a refusal of one of these kinds.
pub(super) fn must_refuse<T>(
    what: &str,
    outcome: Result<T, ProviderError>,
    kinds: &[ProviderErrorKind],
) -> Step<ProviderError> {
    match outcome {
        Ok(_) => fails(format!("{what}: it succeeded")),
        Err(error) if kinds.contains(&error.kind()) => Ok(error),
        Err(error) => fails(format!("{what}: the error must be of kind {kinds:?}, not {}", told(&error))),
    }
}

/// Demands that a rewrap was refused with one of these kinds, or left to the
/// caller.
pub(super) fn must_not_rewrap(
    what: &str,
    outcome: Result<Option<WrappedDek>, ProviderError>,
    kinds: &[ProviderErrorKind],
) -> Step<()> {
    match outcome {
        Ok(None) => Ok(()),
        outcome => must_refuse(what, outcome, kinds).map(drop),
    }
}

pub(super) fn must_apply(backend: &dyn Backend, subject: &Subject, change: Change) -> Step<()> {
    match backend.apply(subject, change) {
        Applied::Done => Ok(()),
        Applied::NotPossible(reason) => not_run(reason),
        Applied::Failed(reason) => fails(format!("{change:?} failed: {reason}")),
    }
}

/// The same bytes said to be of another key.
pub(super) fn relabelled(wrapped: &WrappedDek, key: &KeyUri) -> Step<WrappedDek> {
    rebuilt(key, wrapped, wrapped.ciphertext().to_vec())
}

/// Other bytes under the same names.
pub(super) fn with_bytes(wrapped: &WrappedDek, bytes: Vec<u8>) -> Step<WrappedDek> {
    rebuilt(wrapped.key_uri(), wrapped, bytes)
}

fn rebuilt(key: &KeyUri, wrapped: &WrappedDek, bytes: Vec<u8>) -> Step<WrappedDek> {
    WrappedDek::new(key.clone(), wrapped.key_version(), wrapped.wrap_algorithm(), bytes)
        .or_else(|error| fails(format!("the check cannot make its wrapped DEK: {error}")))
}

#[expect(clippy::expect_used, reason = "without randomness nothing is checked")]
pub(super) fn fresh_dek() -> Dek {
    Dek::generate::<DefaultEngine>().expect("randomness of the system")
}

#[expect(clippy::expect_used, reason = "the checks' contexts are within the limits")]
pub(super) fn full(context: &EncryptionContext) -> FullContext {
    context.full().expect("a context within the limits")
}

/// The context of most checks.
pub(super) fn context() -> FullContext {
    full(&EncryptionContext::new().with("purpose", "conformance").with("tenant", "42"))
}

/// An error with its kind, for a report.
pub(super) fn told(error: &ProviderError) -> String {
    format!("{:?}: {error}", error.kind())
}

/// A thread keeps the time: no runtime is known here.
async fn within_deadline<T>(future: impl Future<Output = T>) -> Result<T, ()> {
    let clock = Arc::new(Clock::default());
    let (stop, stopped) = channel::<()>();
    let of_thread = Arc::clone(&clock);
    thread::spawn(move || {
        // Ends at once when the future has ended and `stop` is dropped.
        if stopped.recv_timeout(DEADLINE) == Err(RecvTimeoutError::Timeout) {
            of_thread.late.store(true, Ordering::SeqCst);
            of_thread.waker.wake();
        }
    });
    let deadline = poll_fn(|cx| {
        clock.waker.register(cx.waker());
        if clock.late.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
    });
    let outcome = match select(pin!(future), deadline).await {
        Either::Left((answer, _)) => Ok(answer),
        Either::Right(_) => Err(()),
    };
    drop(stop);
    outcome
}

#[derive(Default)]
struct Clock {
    late: AtomicBool,
    waker: AtomicWaker,
}
