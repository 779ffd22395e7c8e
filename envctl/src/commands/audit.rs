//! `envctl audit`: audit logs, for those who look after them.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

use envelope_audit::{
    Anchor, AppendError, Filter, KeyFile, Log, LogError, LogKey, LogOptions, Outcome, Record, Verified,
    Verifier, VerifyError, read, write_csv, write_json,
};
use envelope_sdk::{DecryptError, EncryptError, Envelope, printable};
use serde_json::json;

use super::{moment, signed_report};
use crate::{
    cli::{Audit, AuditFilter, AuditFormat, Global},
    descriptor,
    error::{CliError, ErrorKind, Result},
    providers::Providers,
    report::{self, safe},
    runtime::block_on,
    user,
};

pub(crate) fn run(global: &Global, command: &Audit) -> Result<()> {
    match command {
        Audit::Create { log, keys } => create(global, log, keys),
        Audit::List { log, filter } => list(global, log, &wanted(filter)?),
        Audit::Verify { log, keys, public_key, anchors } => {
            verify(global, log, keys, public_key.as_deref(), anchors)
        }
        Audit::VerifyReport { report, log, public_key } => {
            signed_report::verify(global, report, log.as_deref(), public_key.as_deref())
        }
        Audit::Export { log, filter, format } => export(log, &wanted(filter)?, *format),
        Audit::Checkpoint { log, keys } => {
            let anchor = block_on(open(global, log, keys)?.checkpoint())?;
            report::print(false, &json!(null), &format!("{anchor}\n"))
        }
        Audit::Prune { log, keys, up_to } => {
            let pruned = block_on(open(global, log, keys)?.prune(*up_to))?;
            let value =
                json!({ "log": log.to_string_lossy(), "segments": pruned.segments, "first": pruned.first });
            let text = format!(
                "{}: {} segments removed, the log begins with record {}\n",
                printable::path(log),
                pruned.segments,
                pruned.first
            );
            report::print(global.json, &value, &text)
        }
    }
}

fn create(global: &Global, log: &Path, keys: &[String]) -> Result<()> {
    let envelope = Envelope::new(Providers::beside_log(global, log)?.opened().keyring_to_encrypt(keys)?);
    drop(block_on(Log::create(log, &envelope, options()?))?);
    let public_key = report::hex(KeyFile::of(log)?.public_key());
    let value = json!({ "log": log.to_string_lossy(), "public_key": public_key });
    let text = format!(
        "{}: created\n  public key    {public_key}\nnext: keep the public key elsewhere; whoever has it verifies without a secret\n",
        printable::path(log)
    );
    report::print(global.json, &value, &text)
}

fn list(global: &Global, log: &Path, filter: &Filter) -> Result<()> {
    let mut out = io::BufWriter::new(standard_output()?);
    let listed = read(log, filter, |record, line| {
        let written = if global.json {
            // It means the same, and drives no terminal.
            writeln!(out, "{}", printable::json(line.to_owned()))
        } else {
            writeln!(out, "{}", told(record))
        };
        written.map_err(VerifyError::Output)
    });
    match listed.and_then(|()| out.flush().map_err(VerifyError::Output)) {
        // `head` and its friends close the pipe early: no reason to complain.
        Err(VerifyError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        listed => Ok(listed?),
    }
}

fn export(log: &Path, filter: &Filter, format: AuditFormat) -> Result<()> {
    if descriptor::was_closed(io::stdout()) {
        return Err(of_output(&io::Error::other("it is closed")));
    }
    let mut out = io::BufWriter::new(standard_output()?);
    let written = match format {
        AuditFormat::Json => write_json(log, filter, &mut out),
        AuditFormat::Csv => write_csv(log, filter, &mut out),
    };
    Ok(written.and_then(|_| out.flush().map_err(VerifyError::Output))?)
}

/// Not through the standard library, which takes a descriptor that cannot be written for one that takes everything.
fn standard_output() -> Result<File> {
    descriptor::duplicate(1).map_err(|error| of_output(&error))
}

fn verify(
    global: &Global,
    log: &Path,
    keys: &[String],
    public_key: Option<&str>,
    anchors: &[std::path::PathBuf],
) -> Result<()> {
    let file = KeyFile::of(log).map_err(|error| match error {
        LogError::NoLog { .. } | LogError::KeyFile { .. } if log.symlink_metadata().is_ok() => {
            let text = format!("{}: its key file is gone, or is not what was written", printable::path(log));
            CliError::new(ErrorKind::LogInvalid, text)
        }
        error => error.into(),
    })?;
    let mut verifier = match public_key {
        Some(text) => Verifier::with_public_key(&file, self::public_key(text)?),
        None => Verifier::with_key(key(global, log, &file, keys)?),
    };
    for path in anchors {
        let text = fs::read_to_string(path).map_err(|error| CliError::io("read", path, &error))?;
        // One that was emptied would demand nothing.
        if text.lines().next().is_none() {
            return Err(CliError::usage("there is no checkpoint in it").about(printable::path(path)));
        }
        for line in text.lines() {
            let anchor = Anchor::parse(line);
            let invalid =
                |error: envelope_audit::AnchorError| CliError::new(ErrorKind::LogInvalid, error.to_string());
            verifier = verifier.anchor(anchor.map_err(|error| invalid(error).about(printable::path(path)))?);
        }
    }
    let found = verifier.verify(log)?;
    let has_secret = public_key.is_none();
    let mut value = found_json(log, &found);
    value["log_id"] = json!(report::hex(file.log_id()));
    value["public_key"] = json!(report::hex(file.public_key()));
    // The last record that somebody else than the writer could not have written.
    value["authentic_to"] = if has_secret { json!(found.last) } else { json!(found.signed) };
    report::print(global.json, &value, &text_of(log, &found, has_secret))
}

fn found_json(log: &Path, found: &Verified) -> serde_json::Value {
    json!({
        "log": log.to_string_lossy(),
        "records": found.records,
        "first": found.first,
        "last": found.last,
        "segments": found.segments,
        "signed": found.signed,
        "behind_head": found.behind_head,
        "remains": found.remains,
        "clock_set_back": found.clock_set_back,
        "recovered": found.recovered,
    })
}

fn text_of(log: &Path, found: &Verified, has_secret: bool) -> String {
    let so = if has_secret { "as it was written" } else { "agrees with itself" };
    let mut text = format!(
        "{}: {so}: {} records, {} to {}, in {} segments\n",
        printable::path(log),
        found.records,
        found.first,
        found.last,
        found.segments
    );
    match found.signed {
        Some(signed) => text.push_str(&format!("  signed up to record {signed}\n")),
        None => text.push_str("  no checkpoint is signed yet: `envctl audit checkpoint` makes one\n"),
    }
    if !has_secret && found.signed != Some(found.last) {
        text.push_str(
            "  what stands behind that anybody could have written, or cut off: no secret was asked\n",
        );
    }
    let rare = [
        (found.behind_head, "records behind the head, of a process that ended before it could say so"),
        (found.remains, "bytes at the end that a crash left, never acknowledged"),
        (found.clock_set_back, "times the clock was set back"),
        (found.recovered, "times a writer cut off what a crash had left"),
    ];
    for (count, what) in rare.into_iter().filter(|(count, _)| *count > 0) {
        text.push_str(&format!("  {count} {what}\n"));
    }
    text
}

/// The log, to write to. Its key is opened by the keys of the call or the configuration.
fn open(global: &Global, log: &Path, keys: &[String]) -> Result<Log> {
    let key = key(global, log, &KeyFile::of(log)?, keys)?;
    Ok(Log::open_with(log, key, options()?)?)
}

fn key(global: &Global, log: &Path, file: &KeyFile, keys: &[String]) -> Result<LogKey> {
    let envelope = Envelope::new(Providers::beside_log(global, log)?.opened().keyring_to_decrypt(keys)?);
    Ok(block_on(file.open(&envelope))?)
}

fn options() -> Result<LogOptions> {
    Ok(LogOptions::new(user::actor()?.as_str()))
}

fn wanted(args: &AuditFilter) -> Result<Filter> {
    let mut filter = Filter::new();
    (filter.key, filter.actor, filter.operation) =
        (args.key.clone(), args.actor.clone(), args.operation.clone());
    let moment = |text: &Option<String>| text.as_deref().map(moment::parse_beginning).transpose();
    let milliseconds = |seconds: Option<u64>| seconds.map(|seconds| seconds.saturating_mul(1000));
    (filter.since, filter.until) = (milliseconds(moment(&args.since)?), milliseconds(moment(&args.until)?));
    filter.outcome = match &args.outcome {
        None => None,
        Some(name) => Some(Outcome::named(name).ok_or_else(|| {
            let known: Vec<_> = Outcome::ALL.iter().map(|outcome| outcome.name()).collect();
            CliError::usage(format!("an outcome is one of {}", known.join(", ")))
        })?),
    };
    Ok(filter)
}

/// One line for one record. Its words are those of whoever wrote it.
fn told(record: &Record) -> String {
    let entry = &record.entry;
    let mut line = format!(
        "{} {} {} {} {}",
        record.seq,
        record.time_text(),
        safe(entry.actor.as_deref().unwrap_or_default()),
        entry.operation,
        entry.outcome.name()
    );
    let details = [
        ("key", entry.key.clone()),
        ("version", entry.key_version.clone()),
        ("envelope", entry.envelope.map(|id| report::hex(&id))),
        ("generation", entry.generation.map(|generation| generation.to_string())),
        ("error", entry.error.as_ref().map(ToString::to_string)),
        ("rule", entry.rule.clone()),
        ("request", entry.request.clone()),
    ];
    for (name, value) in details {
        if let Some(value) = value {
            line.push_str(&format!(" {name}={}", safe(&value)));
        }
    }
    for (name, value) in entry.context.iter().chain(&entry.detail) {
        line.push_str(&format!(" {}={}", safe(name), safe(value)));
    }
    line
}

/// The public key of a log, as a call has it.
pub(super) fn public_key(text: &str) -> Result<[u8; 32]> {
    report::unhex(text)
        .ok_or_else(|| CliError::usage("a public key is 64 hexadecimal digits, as `audit create` shows it"))
}

fn of_output(error: &io::Error) -> CliError {
    CliError::io("write to", Path::new("standard output"), error)
}

impl From<VerifyError> for CliError {
    fn from(error: VerifyError) -> Self {
        let message = error.to_string();
        match error {
            VerifyError::Damaged(damage) => {
                Self::new(ErrorKind::LogInvalid, message).hint(format!("class: {}", damage.fault.class()))
            }
            _ => Self::new(ErrorKind::InputOutput, message),
        }
    }
}

impl From<LogError> for CliError {
    fn from(error: LogError) -> Self {
        let (kind, message, hint) = (kind_of(&error), error.to_string(), error.hint());
        let new = match error {
            LogError::Trust(error) => return error.into(),
            LogError::File(error) => return error.into(),
            LogError::Key(error) => match of_key(error) {
                Ok(error) => return error.about("the key of the audit log"),
                Err(message) => Self::other(message),
            },
            _ => Self::new(kind, message),
        };
        match hint {
            Some(hint) => new.hint(hint),
            None => new,
        }
    }
}

impl From<AppendError> for CliError {
    fn from(error: AppendError) -> Self {
        Self::new(kind_of(error.reason()), error.to_string())
    }
}

fn kind_of(error: &LogError) -> ErrorKind {
    match error {
        LogError::Damaged(_) | LogError::Older { .. } => ErrorKind::LogInvalid,
        _ => ErrorKind::InputOutput,
    }
}

/// What the envelope said that keeps the key, or its words.
fn of_key(error: Box<dyn std::error::Error + Send + Sync>) -> std::result::Result<CliError, String> {
    let error = match error.downcast::<DecryptError>() {
        Ok(error) => return Ok((*error).into()),
        Err(error) => error,
    };
    match error.downcast::<EncryptError>() {
        Ok(error) => Ok((*error).into()),
        Err(error) => Err(error.to_string()),
    }
}
