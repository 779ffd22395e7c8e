//! [`Observe`]: who is told of each call, and what of it.
//!
//! Spans of `tracing` are opened by the layer itself, so that what the provider's own SDK traces stands below
//! them; everything else is an [`Observer`]: [`Metrics`] here, an audit log elsewhere.

mod admin;
mod call;
mod handles;
mod metrics;
mod scope;
mod watch;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use envelope_sdk::{Dek, FullContext, KeyProvider, KeyUri, ProviderError, WrappedDek};

pub use admin::ObserveAdmin;
pub use call::{Call, Observer, Operation, Outcome, Stage, Subject};
pub use metrics::{METRICS, Metric, MetricKind, Metrics};
pub(crate) use scope::in_attempt;
pub use scope::{about_envelope, envelope_around};

use watch::{Watch, Watcher};

/// Tells its observers of each call, and opens a `tracing` span for it.
///
/// It stands in a stack twice: outermost, where a call is what the program asked for
/// ([`Stage::Call`], which the cache may answer), and innermost, where it is what the provider is
/// asked ([`Stage::Attempt`], one for each repetition). Both carry the same [`Call::id`].
///
/// # Spans
///
/// At level `INFO`, target `envelope_layers::observe`, named `envelope.call` and `envelope.kms`, with
/// the attributes below. Names without the prefix `envelope.` are those of OpenTelemetry's semantic conventions
/// (1.45: there are none for a KMS) and the special ones of `tracing-opentelemetry`.
///
/// | Attribute | What |
/// |---|---|
/// | `otel.name` | the operation and the provider, such as `unwrap_dek aws` |
/// | `otel.kind` | `internal` for a call, `client` for an attempt |
/// | `envelope.operation`, `envelope.provider` | [`Operation::name`], [`KeyProvider::name`] |
/// | `envelope.key.uri`, `envelope.key.version` | the first key of the call, and its version once it is known |
/// | `envelope.wraps` | how many wraps the call is about |
/// | `envelope.call.id`, `envelope.attempt` | [`Call::id`], [`Call::attempt`] |
/// | `envelope.id` | the envelope, in hexadecimal, inside of [`about_envelope`] |
/// | `envelope.context` | the names of the context's entries; values only of those that were [allowed](Self::show_value) |
/// | `error.type`, `otel.status_code` | the [`Outcome::name`] of the first that failed, and `ERROR`; absent otherwise |
pub struct Observe<P> {
    below: P,
    watcher: Watcher,
}

impl<P: KeyProvider> Observe<P> {
    /// Watches what a program asks for: for the outside of a stack.
    #[must_use]
    pub fn calls(below: P) -> Self {
        Self { below, watcher: Watcher::new(Stage::Call) }
    }

    /// Watches what the provider is asked: for the place directly over it.
    #[must_use]
    pub fn attempts(below: P) -> Self {
        Self { below, watcher: Watcher::new(Stage::Attempt) }
    }

    /// Tells this observer too.
    #[must_use]
    pub fn tell(mut self, observer: Arc<dyn Observer>) -> Self {
        self.watcher.observers.push(observer);
        self
    }

    /// Shows the value of the context's entry `name` to spans and observers. No value is shown
    /// otherwise: withheld ones are among them, and it cannot be told which.
    #[must_use]
    pub fn show_value(mut self, name: impl Into<String>) -> Self {
        self.watcher.shown.push(name.into());
        self
    }

    fn subject<'a>(
        &'a self,
        key: &'a KeyUri,
        version: Option<&'a str>,
        context: Option<&'a FullContext>,
    ) -> Subject<'a> {
        Subject { key: Some(key), version, context, shown: &self.watcher.shown }
    }

    fn subject_of<'a>(&'a self, wrapped: &'a WrappedDek, context: &'a FullContext) -> Subject<'a> {
        self.subject(wrapped.key_uri(), Some(wrapped.key_version()), Some(context))
    }

    fn watch<'a>(&'a self, operation: Operation, subjects: &'a [Subject<'a>]) -> Watch<'a> {
        self.watcher.start(operation, self.below.name(), subjects)
    }
}

impl<P> fmt::Debug for Observe<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observe").field("stage", &self.watcher.stage).finish_non_exhaustive()
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<P: KeyProvider> KeyProvider for Observe<P> {
    envelope_sdk::hand_on!(below);

    async fn resolve(&self, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        let subjects = [self.subject(key, None, None)];
        let watch = self.watch(Operation::Resolve, &subjects);
        let said = watch.run(self.below.resolve(key)).await;
        watch.end(&[Outcome::of(said.as_ref().map(|key| (Some(key), None)))]);
        said
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        let subjects = [self.subject(key, None, Some(context))];
        let watch = self.watch(Operation::WrapDek, &subjects);
        let said = watch.run(self.below.wrap_dek(key, dek, context)).await;
        watch.end(&[Outcome::of(said.as_ref().map(names))]);
        said
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        let subjects = [self.subject_of(wrapped, context)];
        let watch = self.watch(Operation::UnwrapDek, &subjects);
        let said = watch.run(self.below.unwrap_dek(wrapped, context)).await;
        watch.end(&[Outcome::of(said.as_ref().map(|_| names(wrapped)))]);
        said
    }

    async fn unwrap_deks(&self, wraps: &[(&WrappedDek, &FullContext)]) -> Vec<Result<Dek, ProviderError>> {
        if wraps.is_empty() {
            return self.below.unwrap_deks(wraps).await;
        }
        let subjects: Vec<_> =
            wraps.iter().map(|(wrapped, context)| self.subject_of(wrapped, context)).collect();
        let watch = self.watch(Operation::UnwrapDeks, &subjects);
        let said = watch.run(self.below.unwrap_deks(wraps)).await;
        let outcomes: Vec<_> = said
            .iter()
            .zip(wraps)
            .map(|(dek, (wrapped, _))| Outcome::of(dek.as_ref().map(|_| names(wrapped))))
            .collect();
        watch.end(&outcomes);
        said
    }

    async fn generate_dek(
        &self,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<(Dek, WrappedDek), ProviderError> {
        let subjects = [self.subject(key, None, Some(context))];
        let watch = self.watch(Operation::GenerateDek, &subjects);
        let said = watch.run(self.below.generate_dek(key, context)).await;
        watch.end(&[Outcome::of(said.as_ref().map(|(_, wrapped)| names(wrapped)))]);
        said
    }

    async fn rewrap_dek(
        &self,
        wrapped: &WrappedDek,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        let subjects = [self.subject_of(wrapped, context), self.subject(key, None, Some(context))];
        let watch = self.watch(Operation::RewrapDek, &subjects);
        let said = watch.run(self.below.rewrap_dek(wrapped, key, context)).await;
        let (old, new) = match &said {
            Ok(Some(new)) => (Outcome::of(Ok(names(wrapped))), Outcome::of(Ok(names(new)))),
            Ok(None) => (Outcome::NotOffered, Outcome::NotOffered),
            Err(error) => (Outcome::Failed(error), Outcome::Failed(error)),
        };
        watch.end(&[old, new]);
        said
    }
}

/// Key and version of a wrap.
fn names(wrapped: &WrappedDek) -> (Option<&KeyUri>, Option<&str>) {
    (Some(wrapped.key_uri()), Some(wrapped.key_version()))
}
