//! Writes an audit log whose records go to an OpenTelemetry collector, too: `envelope-audit-otlp LOG ENDPOINT COUNT`.
//!
//! `ENDPOINT` is that for logs, such as `http://127.0.0.1:4318/v1/logs`.

use std::{env, error::Error, path::PathBuf, sync::Arc};

use envelope_audit::{Entry, Log, LogOptions, Outcome, Spans};
use envelope_local::{Argon2Params, Passphrase, PassphraseProvider};
use envelope_sdk::{Envelope, KeyUri, Keyring};
use futures_executor::block_on;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{LogExporter, Protocol, WithExportConfig};
use opentelemetry_sdk::logs::SdkLoggerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = env::args().skip(1).collect();
    let [log, endpoint, count] = args.as_slice() else { return Err("usage: LOG ENDPOINT COUNT".into()) };
    let exporter = LogExporter::builder()
        .with_http()
        .with_endpoint(endpoint)
        .with_protocol(Protocol::HttpBinary)
        .build()?;
    let provider = SdkLoggerProvider::builder().with_batch_exporter(exporter).build();
    tracing_subscriber::registry().with(OpenTelemetryTracingBridge::new(&provider)).try_init()?;

    let params = Argon2Params { m_cost: 19456, t_cost: 1, p_cost: 1 };
    let passphrase = PassphraseProvider::with_params(Passphrase::new("correct horse".into())?, params)?;
    let keys = Envelope::new(Keyring::new().both(Arc::new(passphrase), KeyUri::passphrase()));
    let options = LogOptions::new("payroll").tell(Arc::new(Spans));
    let log = block_on(Log::create(&PathBuf::from(log), &keys, options))?;
    for number in 0..count.parse::<usize>()? {
        let mut entry = Entry::new("unwrap_dek", Outcome::ALL[number % Outcome::ALL.len()]);
        entry.key = Some(format!("memory:key-{number}"));
        log.append_blocking(entry)?;
    }
    // The sink has been told of all, and then the exporter has.
    drop(log);
    provider.shutdown()?;
    Ok(())
}
