//! `envctl keys …`: the keys of the local keystore.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write},
};

use envelope_local::Keystore;
use envelope_sdk::{KeyAdmin, KeyChange, KeyDescription, KeyState, KeyUri, is_local_key_name};
use futures_executor::block_on;
use serde_json::{Value, json};

use crate::{
    cli::{ChangeKey, Global, Keys},
    error::{CliError, ErrorKind, Result},
    keys::Providers,
    report::{self, key_json},
};

pub(crate) fn run(global: &Global, command: Keys) -> Result<()> {
    let providers = Providers::new(global)?;
    match command {
        Keys::Create { name, pre_active, dry_run } => {
            if !is_local_key_name(&name) {
                return Err(CliError::usage(format!("{name:?} cannot be the name of a key"))
                    .hint("1 to 64 characters of A-Z a-z 0-9 - _ . that begin with a letter or digit"));
            }
            let keystore = providers.keystore()?;
            if dry_run.dry_run {
                return refuse_existing(&keystore, &name).and_then(|()| would(global, "create", &name));
            }
            done(global, "created", &block_on(keystore.create_key(&name, pre_active))?)
        }
        Keys::List => list(global, &block_on(providers.keystore()?.list_keys())?),
        Keys::Describe { key } => {
            let uri = key_of(&providers, &key)?;
            describe(global, &block_on(providers.keystore()?.describe_key(&uri))?)
        }
        Keys::Rotate { key, dry_run } => {
            let uri = key_of(&providers, &key)?;
            let keystore = providers.keystore()?;
            if dry_run.dry_run {
                let state = block_on(keystore.describe_key(&uri))?.state;
                if state != KeyState::Active {
                    return Err(CliError::new(
                        ErrorKind::KeyRefused,
                        format!("{uri}: a key that is {state} is not rotated"),
                    ));
                }
                return would(global, "rotate", &key);
            }
            done(global, "rotated", &block_on(keystore.rotate_key(&uri))?)
        }
        Keys::Activate(args) => change(global, &providers, &args, KeyChange::State(KeyState::Active)),
        Keys::Suspend(args) => change(global, &providers, &args, KeyChange::State(KeyState::Suspended)),
        Keys::Deactivate(args) => change(global, &providers, &args, KeyChange::State(KeyState::Deactivated)),
        Keys::ReportCompromise(args) => {
            change(global, &providers, &args, KeyChange::State(KeyState::Compromised))
        }
        Keys::Archive(args) => change(global, &providers, &args, KeyChange::Archive),
        Keys::Destroy { change: args, yes } => {
            if !yes && !args.dry_run.dry_run {
                confirm(&args)?;
            }
            change(global, &providers, &args, KeyChange::State(KeyState::Destroyed))
        }
    }
}

fn change(global: &Global, providers: &Providers, args: &ChangeKey, change: KeyChange) -> Result<()> {
    let uri = key_of(providers, &args.key)?;
    let keystore = providers.keystore()?;
    let what = match change {
        KeyChange::State(state) => state.name(),
        _ => "archived",
    };
    if args.dry_run.dry_run {
        let key = block_on(keystore.describe_key(&uri))?;
        check_change(&key, args, change)?;
        return would(global, &format!("make {what}:"), &args.key);
    }
    done(global, what, &block_on(keystore.change_key(&uri, args.version.as_deref(), change))?)
}

/// A dry run tells the same refusals as far as they follow from the states.
fn check_change(key: &KeyDescription, args: &ChangeKey, change: KeyChange) -> Result<()> {
    let state = match &args.version {
        None => key.state,
        Some(version) => key
            .versions
            .iter()
            .find(|known| known.version == *version)
            .map(|known| known.state)
            .ok_or_else(|| CliError::usage(format!("{} has no version {version}", key.uri)))?,
    };
    match change {
        KeyChange::State(next) if !state.may_become(next) => {
            Err(CliError::usage(format!("{}: a key that is {state} cannot become {next}", key.uri)))
        }
        KeyChange::Archive if !matches!(key.state, KeyState::Deactivated | KeyState::Compromised) => {
            Err(CliError::usage(format!("{}: a key that is {} is not archived", key.uri, key.state)))
        }
        _ => Ok(()),
    }
}

fn refuse_existing(keystore: &Keystore, name: &str) -> Result<()> {
    match block_on(keystore.describe_key(&keystore.key_uri(name)?)) {
        Ok(_) => Err(CliError::usage(format!("there is a key {name} already"))),
        Err(_) => Ok(()),
    }
}

/// A key by its name, its alias or its URI.
fn key_of(providers: &Providers, name: &str) -> Result<KeyUri> {
    if is_local_key_name(name) {
        return Ok(KeyUri::parse(&format!("local:{name}"))?);
    }
    let uri = providers.config().key(name)?;
    if uri.scheme() == "local" {
        Ok(uri)
    } else {
        Err(CliError::usage(format!("{uri} is not a key of a local keystore"))
            .hint("this envctl manages local: keys"))
    }
}

fn confirm(args: &ChangeKey) -> Result<()> {
    if !io::stdin().is_terminal() {
        return Err(CliError::usage("destroying a key needs --yes where there is no terminal to ask"));
    }
    let what = match &args.version {
        Some(version) => format!("version {version} of {}", args.key),
        None => format!("{} with all its versions", args.key),
    };
    eprint(&format!("What only {what} opens will be lost for good. Type the key's name to go on: "))?;
    let mut answer = String::new();
    io::stdin()
        .read_line(&mut answer)
        .map_err(|error| CliError::other(format!("cannot read the answer: {error}")))?;
    if answer.trim() == args.key { Ok(()) } else { Err(CliError::usage("not confirmed: nothing was done")) }
}

fn eprint(text: &str) -> Result<()> {
    let mut stderr = anstream::stderr().lock();
    write!(stderr, "{text}")
        .and_then(|()| stderr.flush())
        .map_err(|error| CliError::other(format!("cannot ask: {error}")))
}

fn would(global: &Global, what: &str, name: &str) -> Result<()> {
    let value = json!({ "written": false, "would": what, "key": name });
    report::print(global.json, &value, &format!("would {what} {name}\n"))
}

fn done(global: &Global, what: &str, key: &KeyDescription) -> Result<()> {
    report::print(global.json, &key_json(key), &format!("{}: {what}\n", key.uri))
}

fn list(global: &Global, keys: &[KeyDescription]) -> Result<()> {
    let value = Value::Array(keys.iter().map(key_json).collect());
    let mut text = String::new();
    for key in keys {
        let versions = key.versions.len();
        let plural = if versions == 1 { "" } else { "s" };
        let archived = if key.archived { ", archived" } else { "" };
        let _ = writeln!(text, "{}  {}{archived}, {versions} version{plural}", key.uri, key.state);
    }
    if keys.is_empty() && !global.json {
        return report::status(false, &value, "no keys yet: `envctl keys create NAME` makes one");
    }
    report::print(global.json, &value, &text)
}

fn describe(global: &Global, key: &KeyDescription) -> Result<()> {
    let archived = if key.archived { ", archived" } else { "" };
    let mut text = format!("{}\n  {}{archived}\n", key.uri, key.state);
    for version in &key.versions {
        let created = version.created.map(|created| format!(", created {}", report::time(created)));
        let _ =
            writeln!(text, "  version {}: {}{}", version.version, version.state, created.unwrap_or_default());
    }
    report::print(global.json, &key_json(key), &text)
}
