//! `envctl mcp --listen`: agents on other machines, over mTLS. The server is `envelope_mcp::net`; here stand who may connect, where it
//! is written down, and when it ends.

use std::{
    io::{self, Write},
    net::SocketAddr,
    sync::Arc,
};

use async_trait::async_trait;
use envelope_mcp::{
    Event, Failure, Look, Recorder, Server,
    net::{Admission, Client, ListenError, Server as Network},
};
use envelope_policy::PolicyFile;
use envelope_sdk::printable;
use tokio_util::sync::CancellationToken;

use super::{facade, failure, keys::actor, policy::may_any, settings::Settings};
use crate::{
    cli::Global,
    error::{CliError, Result},
    interrupt,
    providers::builder,
    runtime::block_on,
};

/// Serves until a signal ends it.
pub(super) fn run(global: &Global, address: Option<SocketAddr>) -> Result<()> {
    let network = network(global, address)?;
    let stop = CancellationToken::new();
    let told_to_end = stop.clone();
    interrupt::finish_when_told(move || told_to_end.cancel());
    block_on(async {
        let listener = network.bind().await?;
        network.run(listener, stop).await
    })?;
    Ok(())
}

/// The server, before it listens.
pub(super) fn network(global: &Global, address: Option<SocketAddr>) -> Result<Network<Server>> {
    let mut settings = Settings::read(global)?.listen;
    settings.address = address.or(settings.address);
    let options = settings.options().map_err(|error| CliError::usage(error.to_string()))?;
    let policy = builder(global)?.without_audit().build()?.policy().cloned().ok_or_else(|| {
        CliError::usage("there is no policy, so that no client of a network may do anything").hint(
            "write `[policy]` and `file = \"PATH\"` into the configuration, with a rule for actors `mcp:…`",
        )
    })?;
    let facade = facade(global)?;
    let told = Arc::new(Told { log: facade.recorder.clone(), as_json: global.json });
    let server = Server::for_each_request(facade);
    Ok(Network::new(options, Arc::new(ByPolicy(policy)), told, move || server.clone())?)
}

/// Whoever the policy may allow a look at anything.
struct ByPolicy(PolicyFile);

impl Admission for ByPolicy {
    fn admit(&self, client: &Client) -> std::result::Result<(), Failure> {
        may_any(&self.0, &actor(client.caller()).map_err(|error| failure(&error))?, &Look::ALL)
    }
}

/// Standard error, which a service's journal keeps, after the audit log if there is one.
struct Told {
    log: Option<Arc<dyn Recorder>>,
    as_json: bool,
}

#[async_trait]
impl Recorder for Told {
    async fn record(&self, event: &Event) -> std::result::Result<(), Failure> {
        if let Some(log) = &self.log {
            log.record(event).await?;
        }
        let line = if self.as_json { json(event) } else { text(event) };
        // Whoever closed it does not want to know; the audit log is what counts.
        let _ = writeln!(io::stderr().lock(), "{line}");
        Ok(())
    }
}

fn text(event: &Event) -> String {
    let outcome = event.failure.map_or("ok", |kind| kind.name());
    let mut line = format!("{} {}: {outcome}", event.operation, event.actor);
    for (name, value) in &event.details {
        line.push_str(&format!(", {name} {}", printable::text(value)));
    }
    line
}

fn json(event: &Event) -> String {
    let details: serde_json::Map<_, _> =
        event.details.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().into())).collect();
    let value = serde_json::json!({
        "operation": event.operation,
        "actor": event.actor,
        "error": event.failure.map(envelope_mcp::Kind::name),
        "details": details,
    });
    printable::json(value.to_string())
}

impl From<ListenError> for CliError {
    fn from(error: ListenError) -> Self {
        match error {
            ListenError::Options(_) => Self::usage(error.to_string()),
            // Whatever keeps the log from being written: its disk, or the key store of its secret.
            ListenError::NotRecorded(ref failure) => {
                let new = Self::new(failure.kind, error.to_string());
                match &failure.hint {
                    Some(hint) => new.hint(hint.as_str()),
                    None => new,
                }
            }
            error => Self::other(error.to_string()),
        }
    }
}
