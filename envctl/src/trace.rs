//! `--trace`: each call of a key store on standard error, with its time, and their sum at the end. Never a value of
//! a context.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use envelope_layers::{Call, Observer, Operation, Outcome, Stage};
use serde_json::{Value, json};

use crate::report;

/// Who writes the lines of this run.
pub(crate) struct Trace {
    as_json: bool,
    totals: Mutex<Totals>,
}

#[derive(Default)]
struct Totals {
    calls: u64,
    failed: u64,
    took: Duration,
}

impl Trace {
    /// The one of this run.
    pub(crate) fn begin(as_json: bool) -> Arc<Self> {
        Arc::clone(TRACE.get_or_init(|| Arc::new(Self { as_json, totals: Mutex::default() })))
    }
}

impl Observer for Trace {
    fn ended(&self, call: &Call<'_>, outcomes: &[Outcome<'_>], took: Duration) {
        if call.stage != Stage::Attempt || nobody_was_asked(call, outcomes) {
            return;
        }
        let failed = outcomes.iter().find(|outcome| outcome.is_failure());
        {
            let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
            totals.calls += 1;
            totals.failed += u64::from(failed.is_some());
            totals.took += took;
        }
        let (value, text) = line(call, failed.or(outcomes.last()), took);
        // Standard error that is closed or full is no reason to stop.
        let _ = report::status(self.as_json, &value, &text);
    }
}

/// Writes the sum, if this run traces.
pub(crate) fn finish() {
    let Some(trace) = TRACE.get() else { return };
    let Totals { calls, failed, took } = *trace.totals.lock().unwrap_or_else(PoisonError::into_inner);
    let value = json!({ "trace_total": { "calls": calls, "failed": failed, "ms": millis(took) } });
    let calls = if calls == 1 { "1 call".into() } else { format!("{calls} calls") };
    let text = format!("trace: {calls} of key stores, {failed} failed, {:.1} ms together", millis(took));
    let _ = report::status(trace.as_json, &value, &text);
}

fn line(call: &Call<'_>, outcome: Option<&Outcome<'_>>, took: Duration) -> (Value, String) {
    // Of a rewrap, the key that wraps anew.
    let subject = call.subjects.last();
    let (done_with, done_version) = match outcome {
        Some(Outcome::Done { key, version }) => (*key, *version),
        _ => (None, None),
    };
    let key = done_with.or(subject.and_then(|subject| subject.key)).map(envelope_sdk::KeyUri::as_str);
    let version =
        done_version.or(subject.and_then(|subject| subject.version)).filter(|version| !version.is_empty());
    let requests = match outcome {
        Some(Outcome::Failed(error)) if error.attempts() > 1 => Some(error.attempts()),
        _ => None,
    };
    let name = outcome.map_or("ok", Outcome::name);
    let wraps = (call.operation == Operation::UnwrapDeks).then_some(call.subjects.len());
    let value = json!({ "trace": {
        "operation": call.operation.name(),
        "provider": call.provider,
        "key": key,
        "version": version,
        "wraps": wraps,
        "attempt": call.attempt,
        "requests": requests,
        "outcome": name,
        "ms": millis(took),
    } });
    let key = key.map_or_else(|| format!("({})", call.provider), report::safe);
    let wraps = wraps.map(|wraps| format!(" of {wraps} wraps")).unwrap_or_default();
    let version = version.map(|version| format!(" version {}", report::safe(version))).unwrap_or_default();
    let requests = requests.map(|requests| format!(" after {requests} requests")).unwrap_or_default();
    let text = format!(
        "trace: {}{wraps} {key}{version}, attempt {}: {name}{requests}, {:.1} ms",
        call.operation.name(),
        call.attempt,
        millis(took),
    );
    (value, text)
}

/// What is done here without the key store: it is not one of its calls.
fn nobody_was_asked(call: &Call<'_>, outcomes: &[Outcome<'_>]) -> bool {
    match (call.operation, outcomes.first()) {
        (Operation::RewrapDek, Some(Outcome::NotOffered)) => true,
        (Operation::Resolve, Some(Outcome::Done { key, .. })) => {
            call.subjects.first().is_some_and(|subject| subject.key == *key)
        }
        _ => false,
    }
}

/// To a tenth.
fn millis(took: Duration) -> f64 {
    (took.as_secs_f64() * 10_000.0).round() / 10.0
}

static TRACE: OnceLock<Arc<Trace>> = OnceLock::new();
