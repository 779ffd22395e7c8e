//! `envctl keys …`: the keys of the local keystore and of clouds.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write},
    sync::Arc,
};

use envelope_sdk::{
    KeyAdmin, KeyChange, KeyDescription, KeyState, KeyUri, KeyVersionDescription, NewKey, ProviderError,
    admin::{AutoRotation, Rotation, RotationStatus, all_keys},
    key_uri::is_key_name,
    printable,
};
use serde_json::{Map, Value, json};

use super::{
    destroy::{self, End},
    moment, usage,
};
use crate::{
    cli::{ChangeKey, Global, Keys},
    error::{CliError, Result},
    interrupt,
    providers::Providers,
    report::{self, details_json, key_json, now, safe},
    runtime::block_on,
};

pub(crate) fn run(global: &Global, command: Keys) -> Result<()> {
    let providers = Providers::new(global)?;
    match command {
        Keys::Create {
            name,
            provider,
            pre_active,
            description,
            tags,
            algorithm,
            not_after,
            options,
            dry_run,
        } => {
            let mut new = NewKey::named(name);
            (new.description, new.algorithm) = (description, algorithm);
            new.state = if pre_active { KeyState::PreActive } else { KeyState::Active };
            new.tags = tags.iter().map(|tag| name_and_value("a tag", tag)).collect::<Result<_>>()?;
            new.options =
                options.iter().map(|option| name_and_value("an option", option)).collect::<Result<_>>()?;
            new.not_after = not_after.map(|date| moment::parse(&date)).transpose()?;
            create(global, &*of_provider(&providers, &provider)?, &new, dry_run.dry_run)
        }
        Keys::List { provider } => list(global, &ask(all_keys(&*of_provider(&providers, &provider)?))?),
        Keys::Describe { key } => {
            let (uri, admin) = key_of(&providers, &key)?;
            describe(global, &ask(admin.describe_key(&uri))?)
        }
        Keys::Rotate { key, dry_run } => {
            let (uri, admin) = key_of(&providers, &key)?;
            if dry_run.dry_run {
                ask(admin.check_rotation(&uri))?;
                return would(global, "rotate", &key);
            }
            done(global, "rotated", &ask(admin.rotate_key(&uri))?)
        }
        Keys::Usage { paths, report } => usage::run(global, &paths, report.as_deref()),
        Keys::NotAfter { key, date, version, dry_run } => {
            let (uri, admin) = key_of(&providers, &key)?;
            let (version, end) = (version.as_deref(), moment::parse_or_never(&date)?);
            if dry_run.dry_run {
                ask(admin.check_set_not_after(&uri, version, end))?;
                return would(global, &format!("say \"{}\" of", of_use(end)), &key);
            }
            let changed = ask(admin.set_not_after(&uri, version, end))?;
            // A token keeps days: what is told is what stands there now.
            let named = |known: &&KeyVersionDescription| version.is_none_or(|named| known.version == named);
            let kept = changed.versions.iter().rfind(named).and_then(|version| version.not_after);
            done(global, &of_use(kept), &changed)
        }
        Keys::AutoRotate { key, every, off, dry_run } => {
            let (uri, admin) = key_of(&providers, &key)?;
            let rotation = match every {
                _ if off => AutoRotation::Off,
                None => AutoRotation::Default,
                Some(days) => AutoRotation::Days(days),
            };
            let what = if off { "no longer rotate by itself:" } else { "let rotate by itself:" };
            if dry_run.dry_run {
                ask(admin.check_set_rotation(&uri, rotation))?;
                return would(global, what, &key);
            }
            ask(admin.set_rotation(&uri, rotation))?;
            let value = json!({ "key": uri.as_str(), "automatic_rotation": !off });
            let text = if off { "rotates no longer by itself" } else { "rotates by itself" };
            report::print(global.json, &value, &format!("{uri}: {text}\n"))
        }
        Keys::Rotations { key } => {
            let (uri, admin) = key_of(&providers, &key)?;
            let rotations = rotations_json(&ask(admin.rotation_status(&uri))?);
            let text = format!("{uri}\n{}", lines(&rotations));
            let mut value = json!({ "key": uri.as_str() });
            extend(&mut value, rotations);
            report::print(global.json, &value, &text)
        }
        Keys::Alias { alias, key, dry_run } => {
            let (uri, admin) = key_of(&providers, &key)?;
            if dry_run.dry_run {
                ask(admin.check_set_alias(&alias, &uri))?;
                return would(global, &format!("make {alias} an alias of"), &key);
            }
            let made = ask(admin.set_alias(&alias, &uri))?;
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
        Keys::Destroy { change: args, yes, usage, force, report } => {
            let end = End { usage, force, report };
            let (uri, admin) = key_of(&providers, &args.key)?;
            let destruction = destroy::Destruction::check(global, &providers, &uri, &args, &end)?;
            if !yes && !args.dry_run.dry_run {
                confirm(&args)?;
            }
            let destroyed = KeyChange::State(KeyState::Destroyed);
            let version = args.version.as_deref();
            // A signal does not take the report with it.
            if end.report.report.is_some() && !args.dry_run.dry_run {
                interrupt::finish_when_told(|| {});
            }
            change_key(global, &*admin, &uri, &args, destroyed, |key| match key {
                Ok(key) => destruction.done(global, key, version),
                Err(why) => Err(destruction.failed(global, &providers, &uri, version, why)),
            })
        }
        Keys::Restore { key, dry_run } => {
            let (uri, admin) = key_of(&providers, &key)?;
            if dry_run.dry_run {
                ask(admin.check_restore_key(&uri))?;
                return would(global, "restore", &key);
            }
            done(global, "restored", &ask(admin.restore_key(&uri))?)
        }
    }
}

fn create(global: &Global, admin: &dyn KeyAdmin, new: &NewKey, dry_run: bool) -> Result<()> {
    if dry_run {
        ask(admin.check_new_key(new))?;
        return would(global, "create", &new.name);
    }
    done(global, "created", &ask(admin.create_key(new))?)
}

fn change(global: &Global, providers: &Providers, args: &ChangeKey, change: KeyChange) -> Result<()> {
    let (uri, admin) = key_of(providers, &args.key)?;
    change_key(global, &*admin, &uri, args, change, |key| key.map(|_| ()))
}

/// `write`: what is written down of the key as it is then, or of why it was not changed. First, since standard output may be full.
fn change_key(
    global: &Global,
    admin: &dyn KeyAdmin,
    uri: &KeyUri,
    args: &ChangeKey,
    change: KeyChange,
    write: impl FnOnce(Result<&KeyDescription>) -> Result<()>,
) -> Result<()> {
    let version = args.version.as_deref();
    let what = match change {
        KeyChange::State(state) => state.name(),
        _ => "archived",
    };
    if args.dry_run.dry_run {
        ask(admin.check_change(uri, version, change))?;
        return would(global, &format!("make {what}:"), &args.key);
    }
    let key = match ask(admin.change_key(uri, version, change)) {
        Ok(key) => key,
        Err(why) => return write(Err(why)),
    };
    let written = write(Ok(&key));
    // A cloud destroys later: the key is told as it is.
    let whole =
        if version.is_none() && matches!(change, KeyChange::State(_)) { key.state.name() } else { what };
    let later = whole != what;
    let text = if later { format!("{what} later, {whole} until then") } else { what.to_owned() };
    let said = done(global, &text, &key);
    written.and(said)
}

/// Waits for an answer. What a key store cannot do, the call should not have asked for.
pub(super) fn ask<T>(answer: impl Future<Output = std::result::Result<T, ProviderError>>) -> Result<T> {
    block_on(answer).map_err(CliError::of_call)
}

/// Who makes and lists keys.
fn of_provider(providers: &Providers, name: &str) -> Result<Arc<dyn KeyAdmin>> {
    let registry = providers.opened().registry();
    registry.named(name).and_then(|scheme| scheme.admin(None)).map_err(CliError::of_call)
}

/// A key by its name, its alias or its URI, and who manages it.
fn key_of(providers: &Providers, name: &str) -> Result<(KeyUri, Arc<dyn KeyAdmin>)> {
    let providers = providers.opened();
    let uri = if is_key_name(name) && !providers.has_alias(name) {
        KeyUri::parse(&format!("local:{name}"))?
    } else {
        providers.key(name)?
    };
    let admin = providers.registry().admin(&uri).map_err(CliError::of_call)?;
    Ok((uri, admin))
}

fn rotations_json(status: &RotationStatus) -> Map<String, Value> {
    let past = status.past.iter().map(|Rotation { date, automatic, .. }| {
        let kind = match automatic {
            Some(true) => "automatic",
            Some(false) => "on demand",
            None => "unknown",
        };
        json!({ "date": date.map(report::time), "kind": kind })
    });
    let mut told = Map::new();
    told.insert("automatic".into(), status.automatic.into());
    told.insert("period_days".into(), status.period_days.into());
    told.insert("next".into(), status.next.map(report::time).into());
    told.extend(details_json(&status.details));
    told.insert("rotations".into(), past.collect());
    told
}

fn name_and_value(what: &str, given: &str) -> Result<(String, String)> {
    let (name, value) = given
        .split_once('=')
        .ok_or_else(|| CliError::usage(format!("{what} is NAME=VALUE, and one has no `=`")))?;
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
        let until = until(key.current().and_then(|version| version.not_after), key.is_due(now()));
        let _ = writeln!(text, "{}  {}{archived}{versions}{until}", key.uri, key.state);
    }
    if keys.is_empty() && !global.json {
        return report::status(false, &value, "no keys yet: `envctl keys create NAME` makes one");
    }
    report::print(global.json, &value, &text)
}

fn of_use(not_after: Option<u64>) -> String {
    not_after.map_or("has no end of use".into(), |end| format!("to be used until {}", report::time(end)))
}

/// When the use of a key or version should end.
fn until(not_after: Option<u64>, due: bool) -> String {
    match not_after {
        None => String::new(),
        Some(end) if due => format!(", due since {}", report::time(end)),
        Some(end) => format!(", until {}", report::time(end)),
    }
}

fn describe(global: &Global, key: &KeyDescription) -> Result<()> {
    let archived = if key.archived { ", archived" } else { "" };
    let mut text = format!("{}\n  {}{archived}\n", key.uri, key.state);
    for version in &key.versions {
        let created =
            version.created.map(|created| format!("created {}", report::time(created))).unwrap_or_default();
        let until = until(version.not_after, version.is_due(now()));
        let _ = match version.version.as_str() {
            "" => writeln!(text, "  {created}{until}"),
            name if created.is_empty() => {
                writeln!(text, "  version {}: {}{until}", safe(name), version.state)
            }
            name => writeln!(text, "  version {}: {}, {created}{until}", safe(name), version.state),
        };
    }
    let details = details_json(&key.details);
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
