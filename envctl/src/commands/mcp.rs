//! `envctl mcp`: what there is to know of keys and envelopes, for agents, over the Model Context Protocol. The server is
//! `envelope-mcp`; here stands what answers it.

mod audit;
mod buckets;
mod calls;
mod documents;
mod installation;
mod keys;
mod keystore;
#[cfg(feature = "listen")]
mod listen;
mod policy;
mod prices;
mod settings;
mod shown;
#[cfg(all(test, feature = "listen"))]
mod tests;

use std::{path::Path, sync::Arc};

use envelope_mcp::{Caller, Denial, Ended, Facade, Failure, Recorder, Roots, Server};
use envelope_policy::Denied;
use envelope_sdk::{ProviderError, http::find_cause, printable};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::{
    audit::Log, buckets::ConfiguredBuckets, calls::Calls, installation::Installed, keys::Keys,
    policy::ConfiguredPolicy, prices::KnownPrices, settings::Settings,
};
use crate::{
    cli::{self, Global},
    descriptor,
    error::{CliError, ErrorKind, Result},
    passphrase::Passphrases,
    runtime::block_on,
};

/// Serves the client at standard input and output until it goes, or those of a network. Nothing but the protocol is written to standard output.
pub(crate) fn run(global: &Global, args: &cli::Mcp) -> Result<()> {
    take_descriptors();
    #[cfg(feature = "listen")]
    if let Some(address) = args.listen {
        return listen::run(global, address);
    }
    #[cfg(not(feature = "listen"))]
    let cli::Mcp {} = args;
    let server = Server::for_caller(facade(global)?, Caller::local());
    let file = |number, what: &str| {
        descriptor::duplicate(number)
            .map(tokio::fs::File::from_std)
            .map_err(|error| CliError::io(what, Path::new("standard input and output"), &error))
    };
    let (input, output) = (file(0, "read")?, file(1, "write")?);
    match block_on(envelope_mcp::serve(server, input, output)) {
        Ok(Ended::NotBegun) => {
            Err(CliError::usage("the client did not begin as MCP has it: with `initialize`"))
        }
        Ok(_) => Ok(()),
        Err(error) => {
            let text = format!("the session ended: {}", printable::text(&error.to_string()));
            Err(CliError::new(ErrorKind::InputOutput, text))
        }
    }
}

/// As many descriptors as may be open at once, if the system lets it: 32 calls that walk 128 folders deep, and 512 connections. With
/// the 1024 of most systems, somebody who makes deep folders could keep the server from its clients and its audit log.
fn take_descriptors() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let most = maximum.map_or(DESCRIPTORS, |maximum| maximum.min(DESCRIPTORS));
    if current.is_some_and(|current| current < most) {
        // Without them it serves as far as it can.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum });
    }
}

/// All that the server may ask.
fn facade(global: &Global) -> Result<Facade> {
    let mut settings = Settings::read(global)?;
    let roots = Roots::open(&settings.roots).map_err(|error| CliError::usage(error.to_string()))?;
    let secrets = Arc::new(Passphrases::of(global));
    let calls = Calls::new(global, &secrets)?;
    secrets.read_given(&given(global, calls.is_some()))?;
    if let Some(calls) = &calls {
        settings.audit_log.get_or_insert_with(|| calls.path().to_owned());
    }
    let keys = Arc::new(Keys::new(global, &settings, secrets)?);
    let audit =
        settings.audit_log.as_ref().map(|path| Arc::new(Log::new(path.clone(), settings.audit_public_key)));
    Ok(Facade {
        policy: Arc::new(ConfiguredPolicy::new(Arc::clone(&keys))),
        roots: Arc::new(roots),
        buckets: Arc::new(ConfiguredBuckets::new(settings.buckets.clone())?),
        prices: Arc::new(KnownPrices::new(settings.prices.as_deref())?),
        installation: Arc::new(Installed::new(settings, Arc::clone(&keys), audit.clone())),
        audit: audit.map(|log| log as Arc<dyn envelope_mcp::AuditMetadata>),
        recorder: calls.map(|calls| Arc::new(calls) as Arc<dyn Recorder>),
        documents: documents::all(),
        keys,
    })
}

/// What is read at the start: passphrases only for a log, whose secret may need one.
fn given(global: &Global, is_recorded: bool) -> Global {
    let mut global = global.clone();
    global.new_passphrase_file = None;
    if !is_recorded {
        (global.passphrase_file, global.passphrase_fd, global.keystore_passphrase_file) = (None, None, None);
    }
    global
}

/// What a key store said, in the words of the server. What the policy denied keeps its rule.
fn failure_of_call(error: ProviderError) -> Failure {
    let denial = find_cause::<Denied>(&error).map(denial);
    Failure { denial: denial.map(Box::new), ..failure(&CliError::of_call(error)) }
}

fn denial(denied: &Denied) -> Denial {
    Denial {
        policy: denied.policy.map(|policy| policy.to_string()),
        rule: denied.rule.as_deref().map(Into::into),
        why: denied.why.word(),
    }
}

/// In the words of the server.
fn failure(error: &CliError) -> Failure {
    let failure = Failure::new(error.kind(), error.message());
    match error.hint_text() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

const DESCRIPTORS: u64 = 8192;
