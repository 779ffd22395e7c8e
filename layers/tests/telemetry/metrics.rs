//! What is counted and measured, and that the pages have the same names.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    future::pending,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use envelope_layers::{
    Breaker, CacheLimits, CacheStore, Limit, METRICS, Metric, MetricKind, Metrics, Retry, RetryBudget, Stack,
};
use envelope_sdk::{
    EncryptionContext, Envelope, Hedging, KeyProvider, KeyUri, Keyring, ProviderError, ProviderErrorKind,
    TokioTimer, WrapPolicy,
};
use envelope_testkit::{AlteredProvider, Fault, FaultProvider, MemoryProvider};
use metrics_util::{
    MetricKind as Kind,
    debugging::{DebugValue, DebuggingRecorder},
};

use futures_util::FutureExt;
use tokio::time::sleep;

use super::support::{ask_all, context, dek, key, memory};

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
    trouble(&recorder);
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
    let missing: Vec<_> =
        METRICS.iter().map(|metric| metric.name).filter(|name| !seen.contains(name)).collect();
    assert!(missing.is_empty(), "never recorded: {missing:?}");
}

#[test]
fn hits_their_age_retries_and_the_state_of_the_breaker_are_told() {
    let recorder = DebuggingRecorder::new();
    trouble(&recorder);
    let recorded = told(&recorder);
    for (metric, value) in [
        ("envelope_retries_total outcome=unavailable provider=memory", "2"),
        ("envelope_retries_refused_total provider=memory", "1"),
        ("envelope_breaker_refused_total provider=memory", "1"),
        ("envelope_limit_refused_total provider=memory", "1"),
        ("envelope_breaker_state circuit= provider=memory", "0"),
        ("envelope_cache_misses_total provider=memory", "1"),
        ("envelope_cache_hits_total provider=memory", "1"),
        ("envelope_cache_dek_age_seconds provider=memory", "[5.0]"),
        ("envelope_hedges_total outcome=won provider=memory", "1"),
        ("envelope_failovers_total outcome=unavailable provider=memory", "1"),
        ("envelope_wraps_missing_total outcome=unavailable provider=memory", "1"),
    ] {
        assert_eq!(recorded.get(metric).map(String::as_str), Some(value), "{metric}: {recorded:#?}");
    }
}

/// The gauge must not stay on a probe that nobody makes any more.
#[tokio::test(start_paused = true)]
async fn a_probe_that_is_dropped_leaves_the_breaker_open_in_what_is_told() {
    let recorder = DebuggingRecorder::new();
    let state = || told(&recorder).remove("envelope_breaker_state circuit= provider=memory");
    let away = |key: &KeyUri| ProviderError::new(ProviderErrorKind::Unavailable, "memory", key, "away");
    let asked = Arc::new(AtomicUsize::new(0));
    let altered = AlteredProvider::new(memory()).on_wrap(move |_, key, _, _| {
        let first = asked.fetch_add(1, Ordering::SeqCst) == 0;
        Box::pin(async move { if first { Err(away(key)) } else { pending().await } })
    });
    let breaker = Breaker::new(altered).failures(1);
    let (key, dek, context) = (key(), dek(), context());
    let _guard = metrics::set_default_local_recorder(&recorder);
    breaker.wrap_dek(&key, &dek, &context).await.unwrap_err();
    assert_eq!(state().as_deref(), Some("2"));
    sleep(Duration::from_secs(10)).await;
    let mut probe = breaker.wrap_dek(&key, &dek, &context);
    assert!((&mut probe).now_or_never().is_none());
    assert_eq!(state().as_deref(), Some("1"));
    drop(probe);
    assert_eq!(state().as_deref(), Some("2"));
}

#[test]
fn the_pages_name_every_metric_and_the_dashboard_no_other() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(folder.join("README.md")).unwrap();
    for metric in METRICS {
        let labels = metric.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        let row = format!("| `{}` | {:?} | {labels} | {} |", metric.name, metric.kind, metric.help);
        assert!(readme.contains(&row), "README.md lacks {row}");
    }
    let dashboard = fs::read_to_string(folder.join("../docs/grafana-dashboard.json")).unwrap();
    let parsed: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let panels = parsed["panels"].as_array().unwrap();
    let queries: Vec<_> = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().unwrap())
        .map(|target| target["expr"].as_str().unwrap().to_owned())
        .collect();
    let mut named = BTreeSet::new();
    for query in &queries {
        let words = query.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
        for word in words.filter(|word| word.starts_with("envelope_")) {
            let is_of = |metric: &&Metric| {
                let parts: &[&str] =
                    if metric.kind == MetricKind::Histogram { &["_sum", "_count", "_bucket"] } else { &[""] };
                parts.iter().any(|part| word == format!("{}{part}", metric.name))
            };
            let metric = METRICS.iter().find(is_of).unwrap_or_else(|| panic!("{word} is no metric: {query}"));
            named.insert(metric.name);
        }
    }
    let missing: Vec<_> =
        METRICS.iter().map(|metric| metric.name).filter(|name| !named.contains(name)).collect();
    assert!(missing.is_empty(), "the dashboard shows nothing of {missing:?}");
}

/// A key store that is away and comes back, under all layers.
fn trouble(recorder: &DebuggingRecorder) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let faults = Arc::new(FaultProvider::new(memory()));
    let store = CacheStore::new(CacheLimits::new(Duration::from_secs(60), 10));
    let stack = |reserve| {
        let budget = RetryBudget::new(0, reserve);
        Stack::new()
            .cache(&store)
            .retry(move |below| Retry::new(below, &budget))
            .breaker(|below| Breaker::new(below).failures(4).cool_down(Duration::from_secs(10)))
    };
    metrics::with_local_recorder(recorder, || {
        runtime.block_on(async {
            let (key, dek, context) = (key(), dek(), context());
            faults.fault_wraps(Fault::Fail(ProviderErrorKind::Unavailable));
            let provider = stack(2).over(faults.clone());
            provider.wrap_dek(&key, &dek, &context).await.unwrap_err();
            provider.wrap_dek(&key, &dek, &context).await.unwrap_err();
            provider.wrap_dek(&key, &dek, &context).await.unwrap_err();
            sleep(Duration::from_secs(10)).await;
            faults.fault_wraps(None);
            let wrapped = provider.wrap_dek(&key, &dek, &context).await.unwrap();
            provider.unwrap_dek(&wrapped, &context).await.unwrap();
            sleep(Duration::from_secs(5)).await;
            provider.unwrap_dek(&wrapped, &context).await.unwrap();
            let limited = Limit::new(memory()).requests_per_second(1).waiting(0);
            limited.unwrap_dek(&wrapped, &context).await.ok();
            limited.unwrap_dek(&wrapped, &context).await.unwrap_err();
            keyring().await;
        });
    });
}

/// A keyring whose first key is slow, then away.
async fn keyring() {
    let [one, two] = ["one", "two"].map(MemoryProvider::key);
    let slow = AlteredProvider::new(memory()).on_unwrap(|below, wrapped, context| {
        Box::pin(async move {
            sleep(Duration::from_secs(5)).await;
            below.unwrap_dek(wrapped, context).await
        })
    });
    let faults = Arc::new(FaultProvider::new(Arc::new(slow)));
    let keyring = Keyring::new().both(faults.clone(), one);
    let keyring = keyring.both(Arc::new(MemoryProvider::new().with_key(&two)), two);
    let keyring = keyring.hedging(Hedging::new(Arc::new(TokioTimer::new()))).tell(Arc::new(Metrics::new()));
    let (envelope, context) = (Envelope::new(keyring), EncryptionContext::new());
    let sealed = envelope.encrypt(b"attack at dawn", &context).await.unwrap();
    envelope.decrypt(&sealed, &context).await.unwrap();
    let away = Fault::Fail(ProviderErrorKind::Unavailable);
    faults.fault_unwraps(away);
    envelope.decrypt(&sealed, &context).await.unwrap();
    faults.fault_wraps(away);
    let made = envelope.reporting(WrapPolicy::AtLeast(1)).encrypt(b"attack at dawn", &context).await.unwrap();
    assert_eq!(made.missing().len(), 1);
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
    told(&recorder)
}

fn told(recorder: &DebuggingRecorder) -> BTreeMap<String, String> {
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
