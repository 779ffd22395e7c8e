//! A service that encrypts and decrypts under all layers, and serves its metrics to Prometheus:
//!
//! ```sh
//! cargo run -p envelope-layers --example prometheus         # in another terminal: curl 127.0.0.1:9464/metrics
//! ```
//!
//! `docs/grafana-dashboard.json` draws them. Its key stores are two regions in memory that take some milliseconds. The first is slow
//! for one call in twenty, and away for 20 seconds of each minute; some calls come all at once.

#![allow(clippy::print_stdout, reason = "it says where it serves")]

use std::{
    error::Error,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use envelope_layers::{
    Breaker, CacheLimits, CacheStore, Concurrency, Deadline, Limit, METRICS, MetricKind, Metrics, Retry,
    RetryBudget, Stack,
};
use envelope_sdk::{
    EncryptionContext, Envelope, Hedging, KeyProvider, Keyring, ProviderErrorKind, TokioTimer, WrapPolicy,
};
use envelope_testkit::{AlteredProvider, Fault, FaultProvider, MemoryProvider};
use futures_util::future::join_all;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tokio::time::{Instant, sleep};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address: SocketAddr = "127.0.0.1:9464".parse()?;
    let mut exporter = PrometheusBuilder::new().with_http_listener(address);
    for metric in METRICS.iter().filter(|metric| metric.kind == MetricKind::Histogram) {
        // Without buckets the exporter would make summaries, which cannot be added up over several processes.
        let buckets = if metric.name.ends_with("age_seconds") { AGES } else { TIMES };
        exporter = exporter.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)?;
    }
    exporter.install()?;
    println!("metrics at http://{address}/metrics");

    let [near, far] = ["near", "far"].map(MemoryProvider::key);
    let faults = Arc::new(FaultProvider::new(Arc::new(MemoryProvider::new().with_key(&near))));
    // Little, so that it is used up now and then.
    let budget = RetryBudget::new(1, 2);
    let metrics = Arc::new(Metrics::new());
    let store = CacheStore::new(CacheLimits::new(Duration::from_secs(10), 1000));
    let stack = Stack::new()
        .observe(metrics.clone())
        .cache(&store)
        .retry(move |below| Retry::new(below, &budget))
        .breaker(Breaker::new)
        .limit(|below| Limit::new(below).concurrency(Concurrency::fixed(8)).waiting(16))
        .deadline(Deadline::new);
    let near_by = stack.over(Arc::new(slow(faults.clone())));
    let far_away: Arc<dyn KeyProvider> = Arc::new(MemoryProvider::new().with_key(&far));
    let keyring = Keyring::new().both(near_by, near).both(stack.over(far_away), far);
    let keyring = keyring.hedging(Hedging::new(Arc::new(TokioTimer::new()))).tell(metrics);
    let envelope = Envelope::new(keyring);
    let context = EncryptionContext::new().with("tenant", "42");

    let begun = Instant::now();
    // The last envelope, and the last one that both regions open.
    let (mut sealed, mut of_both) = (Vec::new(), Vec::new());
    for round in 0_u64.. {
        let is_away = begun.elapsed().as_secs() % 60 >= 40;
        let fault = is_away.then_some(Fault::Fail(ProviderErrorKind::Unavailable));
        faults.fault_wraps(fault);
        faults.fault_unwraps(fault);
        let reporting = envelope.reporting(WrapPolicy::AtLeast(1));
        // More than may wait, now and then.
        let at_once = if round % 100 == 50 { 40 } else { 1 };
        for made in join_all((0..at_once).map(|_| reporting.encrypt(b"an order", &context))).await {
            let Ok((made, missing)) = made.map(envelope_sdk::Reported::into_parts) else { continue };
            if missing.is_empty() {
                of_both.clone_from(&made);
            }
            sealed = made;
        }
        // Sealed while both were there, opened while one is not.
        let _ = envelope.decrypt(&of_both, &context).await;
        for _ in 0..5 {
            if !sealed.is_empty() && envelope.decrypt(&sealed, &context).await.is_err() {
                break;
            }
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// As slow as a network, and every twentieth call slower still.
fn slow(below: Arc<FaultProvider>) -> AlteredProvider {
    let unwraps = AtomicU64::new(0);
    AlteredProvider::new(below)
        .on_wrap(|below, key, dek, context| {
            Box::pin(async move {
                sleep(Duration::from_millis(15)).await;
                below.wrap_dek(key, dek, context).await
            })
        })
        .on_unwrap(move |below, wrapped, context| {
            let millis = if unwraps.fetch_add(1, Ordering::Relaxed) % 20 == 19 { 1000 } else { 10 };
            Box::pin(async move {
                sleep(Duration::from_millis(millis)).await;
                below.unwrap_dek(wrapped, context).await
            })
        })
}

/// Seconds, from a hit of the cache to a call with all its attempts.
const TIMES: &[f64] = &[
    0.000_001, 0.000_01, 0.000_1, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 20.0,
];
const AGES: &[f64] = &[1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0];
