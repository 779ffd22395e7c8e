//! One call from its start to its end, or until it is dropped.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::time::Instant;
use tracing::{Instrument, Span, field::Empty};

use super::{Call, Observer, Operation, Outcome, Stage, Subject, scope::Scope};

/// Who watches, and from where.
pub(super) struct Watcher {
    pub(super) stage: Stage,
    pub(super) observers: Vec<Arc<dyn Observer>>,
    pub(super) shown: Vec<String>,
}

impl Watcher {
    pub(super) fn new(stage: Stage) -> Self {
        Self { stage, observers: Vec::new(), shown: Vec::new() }
    }

    pub(super) fn start<'a>(
        &'a self,
        operation: Operation,
        provider: &'static str,
        subjects: &'a [Subject<'a>],
    ) -> Watch<'a> {
        let mut scope = Scope::current();
        let id = match (self.stage, scope.call) {
            (Stage::Attempt, Some(call)) => call,
            _ => NEXT.fetch_add(1, Ordering::Relaxed),
        };
        if self.stage == Stage::Call {
            scope = Scope { call: Some(id), attempt: 1, ..scope };
        }
        let Scope { attempt, envelope, .. } = scope;
        let call = Call { id, stage: self.stage, operation, provider, attempt, envelope, subjects };
        let span = span_of(&call);
        for observer in &self.observers {
            observer.started(&call);
        }
        // Nobody else asks for the time.
        let begun = (!self.observers.is_empty()).then(Instant::now);
        Watch { observers: &self.observers, call, scope, span, begun, told: false }
    }
}

pub(super) struct Watch<'a> {
    observers: &'a [Arc<dyn Observer>],
    call: Call<'a>,
    scope: Scope,
    span: Span,
    begun: Option<Instant>,
    told: bool,
}

impl Watch<'_> {
    /// Runs what the call is, inside of its span.
    pub(super) async fn run<F: Future>(&self, future: F) -> F::Output {
        match (self.call.stage, self.span.is_disabled()) {
            (Stage::Call, true) => self.scope.around(future).await,
            (Stage::Call, false) => self.scope.around(future.instrument(self.span.clone())).await,
            // What is around an attempt is what is around it already.
            (Stage::Attempt, true) => future.await,
            (Stage::Attempt, false) => future.instrument(self.span.clone()).await,
        }
    }

    /// It has ended.
    pub(super) fn end(mut self, outcomes: &[Outcome<'_>]) {
        self.tell(outcomes);
    }

    fn tell(&mut self, outcomes: &[Outcome<'_>]) {
        self.told = true;
        if !self.span.is_disabled() {
            if let Some(failed) = outcomes.iter().find(|outcome| outcome.is_failure()) {
                self.span.record("error.type", failed.name());
                self.span.record("otel.status_code", "ERROR");
            }
            // Of the first key, as the URI.
            if let Some(Outcome::Done { version: Some(version), .. }) = outcomes.first() {
                self.span.record("envelope.key.version", version);
            }
        }
        let Some(took) = self.begun.map(|begun| begun.elapsed()) else { return };
        for observer in self.observers {
            observer.ended(&self.call, outcomes, took);
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if !self.told {
            self.tell(&vec![Outcome::Dropped; self.call.subjects.len()]);
        }
    }
}

fn span_of(call: &Call<'_>) -> Span {
    // Names of spans are part of the program, so each has its own.
    let span = match call.stage {
        Stage::Call => tracing::info_span!(
            target: TARGET,
            "envelope.call",
            otel.name = Empty,
            otel.kind = "internal",
            otel.status_code = Empty,
            error.type = Empty,
            envelope.operation = call.operation.name(),
            envelope.provider = call.provider,
            envelope.key.uri = Empty,
            envelope.key.version = Empty,
            envelope.wraps = call.subjects.len(),
            envelope.call.id = call.id,
            envelope.id = Empty,
            envelope.context = Empty,
        ),
        Stage::Attempt => tracing::info_span!(
            target: TARGET,
            "envelope.kms",
            otel.name = Empty,
            otel.kind = "client",
            otel.status_code = Empty,
            error.type = Empty,
            envelope.operation = call.operation.name(),
            envelope.provider = call.provider,
            envelope.key.uri = Empty,
            envelope.key.version = Empty,
            envelope.wraps = call.subjects.len(),
            envelope.call.id = call.id,
            envelope.attempt = call.attempt,
            envelope.id = Empty,
            envelope.context = Empty,
        ),
    };
    if !span.is_disabled() {
        describe(&span, call);
    }
    span
}

/// What costs an allocation, for when somebody listens.
fn describe(span: &Span, call: &Call<'_>) {
    span.record("otel.name", format!("{} {}", call.operation.name(), call.provider));
    if let Some(id) = call.envelope {
        let hex = id.iter().fold(String::with_capacity(32), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        span.record("envelope.id", hex);
    }
    let Some(subject) = call.subjects.first() else { return };
    if let Some(key) = subject.key {
        span.record("envelope.key.uri", key.as_str());
    }
    if let Some(version) = subject.version.filter(|version| !version.is_empty()) {
        span.record("envelope.key.version", version);
    }
    let entries: Vec<_> = subject
        .context()
        .map(|(name, value)| value.map_or_else(|| name.to_owned(), |value| format!("{name}={value}")))
        .collect();
    if !entries.is_empty() {
        span.record("envelope.context", entries.join(","));
    }
}

const TARGET: &str = "envelope_layers::observe";

static NEXT: AtomicU64 = AtomicU64::new(1);
