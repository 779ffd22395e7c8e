//! [`Metrics`]: calls as counters and histograms, and the table of all names.

use std::{
    fmt,
    sync::{Arc, Once},
    time::Duration,
};

use envelope_sdk::{KeyringEvent, KeyringListener};
use metrics::{Label, Unit, counter, describe_counter, describe_gauge, describe_histogram, histogram};

use super::{Call, Observer, Outcome, Stage, handles::Handles};
use crate::events::{
    self, BREAKER_REFUSED, BREAKER_STATE, CACHE_DEK_AGE, CACHE_HITS, CACHE_MISSES, FAILOVERS, HEDGES,
    LIMIT_REFUSED, RETRIES, RETRIES_REFUSED, WRAPS_MISSING,
};

/// Counts calls and measures how long they take, for whatever recorder of the crate `metrics` the program installed: before
/// the first call, since the recorder is asked for each counter once.
///
/// As the listener of a keyring ([`Keyring::tell`](envelope_sdk::Keyring::tell)) it counts hedges, failovers and missing
/// wraps.
///
/// [`METRICS`] has all names, also those that the other layers report without it.
#[derive(Clone, Default)]
pub struct Metrics {
    labels_keys: bool,
    handles: Arc<Handles>,
}

impl Metrics {
    /// Describes the metrics to the recorder, which is to be installed by then.
    #[must_use]
    pub fn new() -> Self {
        static DESCRIBED: Once = Once::new();
        DESCRIBED.call_once(describe);
        Self::default()
    }

    /// Adds the label `key`, the key URI, to calls and attempts; `several` for a call about more than one. Off by
    /// default: whoever has a key for each tenant would have as many time series, and each call costs several times as much.
    #[must_use]
    pub fn label_keys(mut self, labels: bool) -> Self {
        self.labels_keys = labels;
        self
    }

    /// With the label `key`.
    fn count_by_key(call: &Call<'_>, outcome: &'static str, took: Duration) {
        let first = call.subjects.first().and_then(|subject| subject.key);
        let several = call.subjects.iter().any(|subject| subject.key != first);
        let key = first.filter(|_| !several).map(|key| key.as_str().to_owned());
        let key = key.unwrap_or_else(|| if several { "several" } else { "" }.to_owned());
        let (calls, seconds) = names(call.stage);
        let mut labels = labels(call);
        labels.push(Label::new("key", key));
        histogram!(seconds, labels.clone()).record(took.as_secs_f64());
        labels.push(Label::from_static_parts("outcome", outcome));
        counter!(calls, labels).increment(1);
    }
}

impl Observer for Metrics {
    fn ended(&self, call: &Call<'_>, outcomes: &[Outcome<'_>], took: Duration) {
        let outcome = outcomes.iter().find(|outcome| outcome.is_failure()).or(outcomes.first());
        let (name, index) = outcome.map_or(("ok", 0), |outcome| (outcome.name(), outcome.index()));
        if self.labels_keys {
            return Self::count_by_key(call, name, took);
        }
        let handles = self.handles.of(call.provider, call.stage, call.operation);
        let (calls, seconds) = names(call.stage);
        let times = handles.seconds.get_or_init(|| histogram!(seconds, labels(call)));
        times.record(took.as_secs_f64());
        let count = handles.outcomes[index].get_or_init(|| {
            let mut labels = labels(call);
            labels.push(Label::from_static_parts("outcome", name));
            counter!(calls, labels)
        });
        count.increment(1);
    }
}

impl KeyringListener for Metrics {
    fn hear(&self, event: &KeyringEvent<'_>) {
        match event {
            KeyringEvent::HedgeWon { hedge } => events::hedge(hedge.provider, hedge.key, "won"),
            KeyringEvent::HedgeLost { hedge } => events::hedge(hedge.provider, hedge.key, "lost"),
            KeyringEvent::HedgeFailed { hedge, .. } => events::hedge(hedge.provider, hedge.key, "failed"),
            KeyringEvent::Failover { from, error, to } => {
                events::failover(from.provider, from.key, error.kind(), to.key);
            }
            KeyringEvent::WrapMissing { key, error } => {
                events::wrap_missing(key.provider, key.key, error.kind());
            }
            // That a hedge began is told by its end; that a call was dropped, by its observers.
            _ => {}
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("labels_keys", &self.labels_keys).finish_non_exhaustive()
    }
}

fn names(stage: Stage) -> (&'static str, &'static str) {
    match stage {
        Stage::Call => (CALLS, CALL_SECONDS),
        Stage::Attempt => (KMS_CALLS, KMS_CALL_SECONDS),
    }
}

fn labels(call: &Call<'_>) -> Vec<Label> {
    vec![
        Label::from_static_parts("provider", call.provider),
        Label::from_static_parts("operation", call.operation.name()),
    ]
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// Its name, as Prometheus has it.
    pub name: &'static str,
    /// What it is.
    pub kind: MetricKind,
    /// Its labels, without `key`, which is added on demand.
    pub labels: &'static [&'static str],
    /// What it tells.
    pub help: &'static str,
}

/// What a [`Metric`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// Only ever grows.
    Counter,
    /// A state.
    Gauge,
    /// A distribution, in seconds.
    Histogram,
}

/// Every metric of this crate. The labels are bounded: a provider has one of a few names, an operation is one of
/// [`Operation`](super::Operation), and an outcome one of [`Outcome::name`].
pub const METRICS: &[Metric] = &[
    counter(CALLS, &["provider", "operation", "outcome"], "what the program asked for"),
    histogram(CALL_SECONDS, &["provider", "operation"], "how long that took, with all repetitions"),
    counter(KMS_CALLS, &["provider", "operation", "outcome"], "what the provider was asked"),
    histogram(KMS_CALL_SECONDS, &["provider", "operation"], "how long the provider took for one attempt"),
    counter(CACHE_HITS, &["provider"], "DEKs that the cache had"),
    counter(CACHE_MISSES, &["provider"], "DEKs that it had not: it asked, or waited for who did"),
    histogram(CACHE_DEK_AGE, &["provider"], "how old a DEK was when the cache handed it out"),
    counter(RETRIES, &["provider", "outcome"], "attempts after the first, by the outcome of the one before"),
    counter(RETRIES_REFUSED, &["provider"], "retries that were not made: the budget was used up"),
    Metric {
        name: BREAKER_STATE,
        kind: MetricKind::Gauge,
        labels: &["provider", "circuit"],
        help: "0 closed, 1 a probe is under way, 2 open; absent before the first change",
    },
    counter(BREAKER_REFUSED, &["provider"], "calls that an open breaker refused"),
    counter(LIMIT_REFUSED, &["provider"], "calls that a limit refused, as many waited already"),
    counter(
        HEDGES,
        &["provider", "outcome"],
        "keys that a keyring asked beside a slow one: `won`, `lost`, `failed`",
    ),
    counter(FAILOVERS, &["provider", "outcome"], "keys of which a keyring went on to the next, by why"),
    counter(WRAPS_MISSING, &["provider", "outcome"], "keys without which an envelope was made, by why"),
];

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Counter, labels, help }
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Histogram, labels, help }
}

fn describe() {
    for Metric { name, kind, help, .. } in METRICS {
        match kind {
            MetricKind::Counter => describe_counter!(*name, *help),
            MetricKind::Gauge => describe_gauge!(*name, *help),
            MetricKind::Histogram => describe_histogram!(*name, Unit::Seconds, *help),
        }
    }
}

const CALLS: &str = "envelope_calls_total";
const CALL_SECONDS: &str = "envelope_call_duration_seconds";
const KMS_CALLS: &str = "envelope_kms_calls_total";
const KMS_CALL_SECONDS: &str = "envelope_kms_call_duration_seconds";
