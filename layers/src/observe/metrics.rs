//! [`Metrics`]: calls as counters and histograms, and the table of all names.

use std::{sync::Once, time::Duration};

use metrics::{Label, Unit, counter, describe_counter, describe_gauge, describe_histogram, histogram};

use super::{Call, Observer, Outcome, Stage};
use crate::events::{
    BREAKER_REFUSED, BREAKER_STATE, CACHE_DEK_AGE, CACHE_HITS, CACHE_MISSES, LIMIT_REFUSED, RETRIES,
    RETRIES_REFUSED,
};

/// Counts calls and measures how long they take, for whatever recorder of the crate `metrics` the program installed.
///
/// [`METRICS`] has all names, also those that the other layers report without it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Metrics {
    labels_keys: bool,
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
    /// default: whoever has a key for each tenant would have as many time series.
    #[must_use]
    pub fn label_keys(mut self, labels: bool) -> Self {
        self.labels_keys = labels;
        self
    }

    fn labels(&self, call: &Call<'_>) -> Vec<Label> {
        let mut labels = Vec::with_capacity(4);
        labels.push(Label::from_static_parts("provider", call.provider));
        labels.push(Label::from_static_parts("operation", call.operation.name()));
        if self.labels_keys {
            let first = call.subjects.first().and_then(|subject| subject.key);
            let several = call.subjects.iter().any(|subject| subject.key != first);
            let key = first.filter(|_| !several).map(|key| key.as_str().to_owned());
            labels.push(Label::new(
                "key",
                key.unwrap_or_else(|| if several { "several" } else { "" }.to_owned()),
            ));
        }
        labels
    }
}

impl Observer for Metrics {
    fn ended(&self, call: &Call<'_>, outcomes: &[Outcome<'_>], took: Duration) {
        let mut labels = self.labels(call);
        let (calls, seconds) = match call.stage {
            Stage::Call => (CALLS, CALL_SECONDS),
            Stage::Attempt => (KMS_CALLS, KMS_CALL_SECONDS),
        };
        let outcome = outcomes.iter().find(|outcome| outcome.is_failure()).or(outcomes.first());
        histogram!(seconds, labels.clone()).record(took.as_secs_f64());
        labels.push(Label::from_static_parts("outcome", outcome.map_or("ok", Outcome::name)));
        counter!(calls, labels).increment(1);
    }
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
