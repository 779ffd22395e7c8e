//! `envctl policy`: whether a policy is right, and what it decides. Asks no key store.

use std::path::{Path, PathBuf};

use envelope_policy::{Actor, Decision, Operation, Policy, PolicyFile, Request};
use envelope_sdk::{KeyState, KeyUri};
use serde_json::json;

use super::{context, moment, rotate::first_of};
use crate::{
    cli::{Global, Policy as Command, PolicyTest},
    error::{CliError, ErrorKind, Result},
    providers::Providers,
    report,
};

pub(crate) fn run(global: &Global, command: &Command) -> Result<()> {
    match command {
        Command::Check { file } => check(global, file),
        Command::Test(args) => test(global, args),
    }
}

fn check(global: &Global, file: &Path) -> Result<()> {
    let policy = PolicyFile::open(file)?;
    let policy = policy.look().map_err(|what| CliError::usage(&*what))?;
    let rules: Vec<_> = policy.rules().collect();
    let unreachable: Vec<_> = policy.unreachable().collect();
    let mut text = format!("policy {}: right, {} rules\n", policy.id(), rules.len());
    if !unreachable.is_empty() {
        text.push_str(&format!(
            "  never reached, behind a rule that takes everything: {}\n",
            unreachable.join(", ")
        ));
    }
    let value = json!({ "policy": policy.id().to_string(), "rules": rules, "unreachable": unreachable });
    report::print(global.json, &value, &text)
}

fn test(global: &Global, args: &PolicyTest) -> Result<()> {
    let file = match &args.file {
        Some(file) => file.clone(),
        None => configured(global)?,
    };
    let file = PolicyFile::open(file)?;
    let policy = file.look().map_err(|what| CliError::usage(&*what))?;
    let actor = Actor::parse(&args.actor).map_err(|error| CliError::usage(error.to_string()))?;
    let actor = match &args.tenant {
        Some(tenant) => actor.of_tenant(tenant.as_str()),
        None => actor,
    };
    let operation = Operation::from_name(&args.operation).ok_or_else(|| {
        let known: Vec<_> = Operation::ALL.iter().map(|operation| operation.name()).collect();
        CliError::usage(format!("an operation is one of {}", known.join(", ")))
    })?;
    let key = args.key.as_deref().map(KeyUri::parse).transpose()?;
    let entries = context::to_bind(&args.context, &[])?;
    let full = entries.full().map_err(|error| CliError::usage(error.to_string()))?;
    let state = args.state.as_deref().map(|name| {
        KeyState::from_name(name)
            .ok_or_else(|| CliError::usage("--state is a state as `envctl keys list` shows it"))
    });
    let mut request = Request::new(&actor, operation).context(&full);
    (request.key, request.recipients) = (key.as_ref(), args.recipients);
    request.state = state.transpose()?;
    let at = args.at.as_deref().map_or_else(|| Ok(report::now()), moment::parse)?;
    say(global, &policy, &request, &policy.decide(&request, at))
}

/// The policy that the configuration names.
fn configured(global: &Global) -> Result<PathBuf> {
    let providers = Providers::new(global)?;
    let policy = providers.opened().policy().map(|policy| policy.path().to_owned());
    policy.ok_or_else(|| {
        CliError::usage("the configuration names no policy")
            .hint("name a file, or write `[policy]` and `file = \"PATH\"` into the configuration")
    })
}

fn say(global: &Global, policy: &Policy, request: &Request<'_>, decision: &Decision<'_>) -> Result<()> {
    let by = match decision.rule {
        Some(rule) => format!("rule `{rule}`"),
        None => "the default".to_owned(),
    };
    let open: Vec<_> = decision.open.names().collect();
    let unmet = decision.unmet.as_ref().map(ToString::to_string);
    let value = json!({
        "allowed": decision.allowed,
        "rule": decision.rule,
        "unmet": unmet,
        "open": open,
        "policy": policy.id().to_string(),
    });
    let who = format!("{} to {}", request.actor, request.operation);
    if decision.allowed {
        let mut text = format!("allowed by {by}: {who}\n");
        for what in open {
            text.push_str(&format!("  if it is known {what}, and the rule has it so\n"));
        }
        return report::print(global.json, &value, &text);
    }
    let why = unmet.map(|unmet| format!(": it requires {unmet}")).unwrap_or_default();
    let said = if global.json { report::print(true, &value, "") } else { Ok(()) };
    // A full standard output does not hide the verdict.
    first_of([Err(CliError::new(ErrorKind::KeyRefused, format!("denied by {by}: {who}{why}"))), said])
}

impl From<envelope_policy::PolicyFileError> for CliError {
    fn from(error: envelope_policy::PolicyFileError) -> Self {
        match error {
            envelope_policy::PolicyFileError::File(error) => error.into(),
            error => Self::usage(error.to_string()),
        }
    }
}
