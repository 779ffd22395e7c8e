//! What is counted and measured, and that the pages have the same names.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use envelope_layers::{METRICS, MetricKind, Metrics, Stack};
use envelope_sdk::KeyProvider;
use metrics_util::{
    MetricKind as Kind,
    debugging::{DebugValue, DebuggingRecorder},
};

use super::support::{ask_all, memory};

#[test]
fn calls_and_attempts_are_counted_by_operation_and_outcome() {
    let recorded = record(|provider| Box::pin(async move { drop(ask_all(provider).await) }));
    let counter = |name: &str, operation: &str, outcome: &str| {
        recorded
            .get(&format!("{name} operation={operation} outcome={outcome} provider=memory"))
            .map(String::as_str)
    };
    for name in ["envelope_calls_total", "envelope_kms_calls_total"] {
        for operation in ["resolve", "wrap_dek", "unwrap_dek", "generate_dek", "rewrap_dek"] {
            assert_eq!(counter(name, operation, "ok"), Some("1"), "{recorded:?}");
        }
        assert_eq!(counter(name, "unwrap_deks", "unauthentic"), Some("1"), "one of the batch failed");
    }
    for name in ["envelope_call_duration_seconds", "envelope_kms_call_duration_seconds"] {
        assert!(recorded.contains_key(&format!("{name} operation=wrap_dek provider=memory")), "{recorded:?}");
    }
}

#[test]
fn only_metrics_of_the_table_are_recorded_with_its_kinds_and_labels() {
    let recorder = DebuggingRecorder::new();
    run(&recorder, |provider| Box::pin(async move { drop(ask_all(provider).await) }));
    let mut seen = BTreeSet::new();
    for (key, _, _, _) in recorder.snapshotter().snapshot().into_vec() {
        let (kind, key) = key.into_parts();
        let metric = METRICS.iter().find(|metric| metric.name == key.name());
        let metric = metric.unwrap_or_else(|| panic!("{} is not in the table", key.name()));
        let expected = match metric.kind {
            MetricKind::Counter => Kind::Counter,
            MetricKind::Gauge => Kind::Gauge,
            _ => Kind::Histogram,
        };
        assert_eq!(kind, expected, "{}", metric.name);
        let labels: Vec<_> = key.labels().map(|label| label.key().to_owned()).collect();
        assert_eq!(labels, metric.labels, "{}", metric.name);
        seen.insert(metric.name);
    }
    assert!(seen.len() >= 4, "{seen:?}");
}

type Asking<'a> = futures_util::future::BoxFuture<'a, ()>;

fn run(recorder: &DebuggingRecorder, ask: impl for<'a> FnOnce(&'a dyn KeyProvider) -> Asking<'a>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let provider = Stack::new().observe(Arc::new(Metrics::new())).over(memory());
    metrics::with_local_recorder(recorder, || runtime.block_on(ask(&*provider)));
}

fn record(ask: impl for<'a> FnOnce(&'a dyn KeyProvider) -> Asking<'a>) -> BTreeMap<String, String> {
    let recorder = DebuggingRecorder::new();
    run(&recorder, ask);
    let recorded = recorder.snapshotter().snapshot().into_vec().into_iter().map(|(key, _, _, value)| {
        let key = key.key();
        let mut labels: Vec<_> =
            key.labels().map(|label| format!(" {}={}", label.key(), label.value())).collect();
        labels.sort();
        let value = match value {
            DebugValue::Counter(count) => count.to_string(),
            DebugValue::Gauge(state) => state.to_string(),
            DebugValue::Histogram(values) => format!("{values:?}"),
        };
        (format!("{}{}", key.name(), labels.concat()), value)
    });
    recorded.collect()
}
