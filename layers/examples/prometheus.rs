//! A service that encrypts and decrypts under all layers, and serves its metrics to Prometheus:
//!
//! ```sh
//! cargo run -p envelope-layers --example prometheus         # in another terminal: curl 127.0.0.1:9464/metrics
//! ```
//!
//! `docs/grafana-dashboard.json` draws them. Its key store is one in memory that takes some milliseconds, and is away for 20 seconds
//! of each minute.

#![allow(clippy::print_stdout, reason = "it says where it serves")]

use std::{error::Error, net::SocketAddr, sync::Arc, time::Duration};

use envelope_layers::{
    Breaker, CacheLimits, CacheStore, Deadline, Limit, METRICS, MetricKind, Metrics, Retry, RetryBudget,
    Stack,
};
use envelope_sdk::{EncryptionContext, Envelope, Keyring, ProviderErrorKind};
use envelope_testkit::{AlteredProvider, Fault, FaultProvider, MemoryProvider};
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

    let key = MemoryProvider::key("orders");
    let faults = Arc::new(FaultProvider::new(Arc::new(MemoryProvider::new().with_key(&key))));
    let budget = RetryBudget::default();
    let stack = Stack::new()
        .observe(Arc::new(Metrics::new()))
        .cache(&CacheStore::new(CacheLimits::new(Duration::from_secs(10), 1000)))
        .retry(move |below| Retry::new(below, &budget))
        .breaker(Breaker::new)
        .limit(|below| Limit::new(below).requests_per_second(200))
        .deadline(Deadline::new);
    let envelope = Envelope::new(Keyring::new().both(stack.over(Arc::new(slow(faults.clone()))), key));
    let context = EncryptionContext::new().with("tenant", "42");

    let begun = Instant::now();
    let mut sealed = Vec::new();
    loop {
        let is_away = begun.elapsed().as_secs() % 60 >= 40;
        let fault = is_away.then_some(Fault::Fail(ProviderErrorKind::Unavailable));
        faults.fault_wraps(fault);
        faults.fault_unwraps(fault);
        if let Ok(made) = envelope.encrypt(b"an order", &context).await {
            sealed = made;
        }
        for _ in 0..5 {
            if !sealed.is_empty() && envelope.decrypt(&sealed, &context).await.is_err() {
                break;
            }
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// As slow as a network.
fn slow(below: Arc<FaultProvider>) -> AlteredProvider {
    AlteredProvider::new(below)
        .on_wrap(|below, key, dek, context| {
            Box::pin(async move {
                sleep(Duration::from_millis(15)).await;
                below.wrap_dek(key, dek, context).await
            })
        })
        .on_unwrap(|below, wrapped, context| {
            Box::pin(async move {
                sleep(Duration::from_millis(10)).await;
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
