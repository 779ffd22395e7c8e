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
use envelope_policy::{Actor, PolicyFile, Request};
use envelope_sdk::printable;
use tokio_util::sync::CancellationToken;

use super::{facade, policy::operation, settings::Settings};
use crate::{
    cli::Global,
    error::{CliError, ErrorKind, Result},
    interrupt,
    providers::builder,
    report,
    runtime::block_on,
};

/// Serves until a signal ends it.
pub(super) fn run(global: &Global, address: Option<SocketAddr>) -> Result<()> {
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
    let network = Network::new(options, Arc::new(ByPolicy(policy)), told, move || server.clone())?;
    let stop = CancellationToken::new();
    let told_to_end = stop.clone();
    interrupt::finish_when_told(move || told_to_end.cancel());
    block_on(async {
        let listener = network.bind().await?;
        network.run(listener, stop).await
    })?;
    Ok(())
}

/// Whoever the policy may allow a look at anything.
struct ByPolicy(PolicyFile);

impl Admission for ByPolicy {
    fn admit(&self, client: &Client) -> std::result::Result<(), String> {
        let policy = self.0.current().map_err(|what| what.to_string())?;
        let actor = Actor::parse(client.caller().actor()).map_err(|error| error.to_string())?;
        let may = |look| policy.may(&Request::new(&actor, operation(look)), report::now());
        match Look::ALL.into_iter().any(may) {
            true => Ok(()),
            false => Err(format!("no rule of policy {} allows it to look at anything", policy.id())),
        }
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
            ListenError::NotRecorded(_) => Self::new(ErrorKind::InputOutput, error.to_string()),
            error => Self::other(error.to_string()),
        }
    }
}
