//! `envctl keys …`: the keys of the local keystore and of clouds.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write},
};

use envelope_sdk::{KeyAdmin, KeyChange, KeyDescription, KeyState, KeyUri, is_local_key_name, printable};
use serde_json::{Map, Value, json};

use crate::{
    cli::{ChangeKey, Global, Keys},
    error::{CliError, ErrorKind, Result},
    keys::Providers,
    providers::{Backend, NewKey, Period},
    report::{self, key_json, safe},
    runtime::block_on,
};

pub(crate) fn run(global: &Global, command: Keys) -> Result<()> {
    let providers = Providers::new(global)?;
    match command {
        Keys::Create { name, provider, pre_active, description, tags, dry_run } => {
            let tags = tags.iter().map(|tag| name_and_value(tag)).collect::<Result<_>>()?;
            let new = NewKey { name, pre_active, description, tags };
            create(global, providers.backends().named(provider), &new, dry_run.dry_run)
        }
        Keys::List { provider } => {
            let keys = block_on(providers.backends().named(provider).admin()?.list_keys())?;
            list(global, &keys)
        }
        Keys::Describe { key } => {
            let (uri, backend) = key_of(&providers, &key)?;
            describe(global, &block_on(backend.admin()?.describe_key(&uri))?, backend.details(&uri)?)
        }
        Keys::Rotate { key, dry_run } => {
            let (uri, backend) = key_of(&providers, &key)?;
            rotate(global, &*backend.admin()?, &uri, &key, dry_run.dry_run)
        }
        Keys::AutoRotate { key, every, off, dry_run } => {
            let (uri, backend) = key_of(&providers, &key)?;
            let period = (!off).then(|| every.map_or(Period::Default, Period::Days));
            let what = if off { "no longer rotate by itself:" } else { "let rotate by itself:" };
            if dry_run.dry_run {
                block_on(backend.admin()?.describe_key(&uri))?;
                return would(global, what, &key);
            }
            backend.rotate_every(&uri, period)?;
            let value = json!({ "key": uri.as_str(), "automatic_rotation": !off });
            let text = if off { "rotates no longer by itself" } else { "rotates by itself" };
            report::print(global.json, &value, &format!("{uri}: {text}\n"))
        }
        Keys::Rotations { key } => {
            let (uri, backend) = key_of(&providers, &key)?;
            let rotations = backend.rotations(&uri)?;
            let text = format!("{uri}\n{}", lines(&rotations));
            let mut value = json!({ "key": uri.as_str() });
            extend(&mut value, rotations);
            report::print(global.json, &value, &text)
        }
        Keys::Alias { alias, key, dry_run } => {
            let (uri, backend) = key_of(&providers, &key)?;
            if dry_run.dry_run {
                block_on(backend.admin()?.describe_key(&uri))?;
                return would(global, &format!("make {alias} an alias of"), &key);
            }
            let made = backend.set_alias(&alias, &uri)?;
            let value = json!({ "alias": made.as_str(), "key": uri.as_str() });
            report::print(global.json, &value, &format!("{made}: means {uri}\n"))
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
        Keys::Restore { key, dry_run } => {
            let (uri, backend) = key_of(&providers, &key)?;
            if dry_run.dry_run {
                block_on(backend.admin()?.describe_key(&uri))?;
                return would(global, "restore", &key);
            }
            done(global, "restored", &backend.restore(&uri)?)
        }
    }
}

fn create(global: &Global, backend: &dyn Backend, new: &NewKey, dry_run: bool) -> Result<()> {
    if dry_run {
        backend.check_new(new)?;
        return would(global, "create", &new.name);
    }
    done(global, "created", &backend.create(new)?)
}

fn rotate(global: &Global, admin: &dyn KeyAdmin, uri: &KeyUri, key: &str, dry_run: bool) -> Result<()> {
    if dry_run {
        let state = block_on(admin.describe_key(uri))?.state;
        if state != KeyState::Active {
            let message = format!("{uri}: a key that is {state} is not rotated");
            return Err(CliError::new(ErrorKind::KeyRefused, message));
        }
        return would(global, "rotate", key);
    }
    done(global, "rotated", &block_on(admin.rotate_key(uri))?)
}

fn change(global: &Global, providers: &Providers, args: &ChangeKey, change: KeyChange) -> Result<()> {
    let (uri, backend) = key_of(providers, &args.key)?;
    let admin = backend.admin()?;
    let version = args.version.as_deref();
    let what = match change {
        KeyChange::State(state) => state.name(),
        _ => "archived",
    };
    if args.dry_run.dry_run {
        backend.check_change(&block_on(admin.describe_key(&uri))?, version, change)?;
        return would(global, &format!("make {what}:"), &args.key);
    }
    let key = block_on(admin.change_key(&uri, version, change))?;
    // A cloud destroys later: the key is told as it is.
    let whole =
        if version.is_none() && matches!(change, KeyChange::State(_)) { key.state.name() } else { what };
    let later = whole != what;
    let text = if later { format!("{what} later, {whole} until then") } else { what.to_owned() };
    done(global, &text, &key)
}

/// A key by its name, its alias or its URI, and who holds it.
fn key_of<'p>(providers: &'p Providers, name: &str) -> Result<(KeyUri, &'p dyn Backend)> {
    let config = providers.config();
    let uri = if is_local_key_name(name) && !config.has_alias(name) {
        KeyUri::parse(&format!("local:{name}"))?
    } else {
        config.key(name)?
    };
    let backend = providers.backends().of(&uri)?;
    Ok((uri, backend))
}

fn name_and_value(tag: &str) -> Result<(String, String)> {
    let (name, value) =
        tag.split_once('=').ok_or_else(|| CliError::usage("a tag is NAME=VALUE, and one has no `=`"))?;
    Ok((name.to_owned(), value.to_owned()))
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
    write!(stderr, "{}", printable::text(text))
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
        let archived = if key.archived { ", archived" } else { "" };
        // Where versions have no names, their number says nothing.
        let named = key.versions.iter().any(|version| !version.version.is_empty());
        let versions = match key.versions.len() {
            1 if named => ", 1 version".into(),
            count if named => format!(", {count} versions"),
            _ => String::new(),
        };
        let _ = writeln!(text, "{}  {}{archived}{versions}", key.uri, key.state);
    }
    if keys.is_empty() && !global.json {
        return report::status(false, &value, "no keys yet: `envctl keys create NAME` makes one");
    }
    report::print(global.json, &value, &text)
}

fn describe(global: &Global, key: &KeyDescription, details: Map<String, Value>) -> Result<()> {
    let archived = if key.archived { ", archived" } else { "" };
    let mut text = format!("{}\n  {}{archived}\n", key.uri, key.state);
    for version in &key.versions {
        let created =
            version.created.map(|created| format!("created {}", report::time(created))).unwrap_or_default();
        let _ = match version.version.as_str() {
            "" => writeln!(text, "  {created}"),
            name if created.is_empty() => writeln!(text, "  version {name}: {}", version.state),
            name => writeln!(text, "  version {name}: {}, {created}", version.state),
        };
    }
    text.push_str(&lines(&details));
    let mut value = key_json(key);
    extend(&mut value, details);
    report::print(global.json, &value, &text)
}

/// What a provider tells, a line for each. Its words are others' words.
fn lines(details: &Map<String, Value>) -> String {
    let mut text = String::new();
    for (name, value) in details {
        let name = name.replace('_', " ");
        let _ = match value {
            Value::Array(values) => {
                values.iter().try_for_each(|value| writeln!(text, "  {name}: {}", plain(value)))
            }
            Value::Null => Ok(()),
            value => writeln!(text, "  {name}: {}", plain(value)),
        };
    }
    text
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => safe(text),
        Value::Object(fields) => fields.values().map(plain).collect::<Vec<_>>().join(", "),
        value => value.to_string(),
    }
}

fn extend(value: &mut Value, details: Map<String, Value>) {
    if let Value::Object(fields) = value {
        fields.extend(details);
    }
}
