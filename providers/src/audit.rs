//! `[audit]`: the log that records what is done through the key stores, and which keys open its secret.

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use envelope_audit::{
    AuditedScheme, Entry, KeyFile, LazyLog, Lines, LogOptions, Outcome, PolicyDecision, Spans, Syslog,
    Unwritable, policy_decided,
};
use envelope_policy::{Decided, Denied, PolicyFile, PolicyId, Request};
use envelope_sdk::{
    Envelope, KeyUri, Keyring, ProviderError, Registry,
    http::find_cause,
    registry::{Purpose, Scheme},
};
use serde::{Deserialize, Deserializer, de::Error as _};
use sha2::{Digest as _, Sha256};

use crate::{ProvidersError, names::Keys};

/// The table of the configuration.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct AuditWords {
    file: Option<PathBuf>,
    actor: Option<String>,
    keys: Vec<String>,
    if_unwritable: IfUnwritable,
    show_values: Vec<String>,
    segment_bytes: Option<u64>,
    #[serde(deserialize_with = "age")]
    segment_age: Option<Duration>,
    sinks: Vec<SinkWord>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum IfUnwritable {
    #[default]
    Fail,
    GoOn,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum SinkWord {
    Stdout,
    Syslog,
    Spans,
}

/// What the program says of it.
#[derive(Default)]
pub(crate) struct AuditGiven {
    /// In place of the configuration's.
    pub(crate) file: Option<PathBuf>,
    pub(crate) request: Option<String>,
    pub(crate) keeps_stdout: bool,
    pub(crate) on_callers_threads: bool,
    pub(crate) is_off: bool,
}

/// What stands around the log.
pub(crate) struct Around<'a> {
    /// Who acts, as a policy knows it.
    pub(crate) actor: String,
    /// Whether the program said so.
    pub(crate) actor_is_given: bool,
    /// The text of the configuration, if there is one.
    pub(crate) configuration: Option<&'a str>,
    pub(crate) policy: Option<&'a PolicyFile>,
    /// The key stores, which neither ask the policy nor are recorded: the log's secret must not wait for itself.
    pub(crate) schemes: &'a [Arc<dyn Scheme>],
    pub(crate) keys: &'a Keys,
}

impl AuditWords {
    /// The log, which nothing has opened yet. `words`: the table, if there is one.
    pub(crate) fn log(
        words: Option<Self>,
        given: AuditGiven,
        around: &Around<'_>,
    ) -> Result<Option<LazyLog>, &'static str> {
        if given.is_off {
            return Ok(None);
        }
        let is_there = words.is_some();
        let words = words.unwrap_or_default();
        let path = match (given.file, words.file) {
            (Some(path), _) => path,
            // It must not depend on who calls from where.
            (None, Some(path)) if path.is_relative() => return Err("[audit]: `file` is a path from / on"),
            (None, Some(path)) => path,
            (None, None) if is_there => return Err("[audit]: `file` is missing"),
            (None, None) => return Ok(None),
        };
        let actor = words.actor.filter(|_| !around.actor_is_given).unwrap_or_else(|| around.actor.clone());
        if !(1..=1024).contains(&actor.len()) {
            return Err("[audit]: `actor` has 1 to 1024 bytes");
        }
        let mut options = LogOptions::new(actor).if_unwritable(match words.if_unwritable {
            IfUnwritable::Fail => Unwritable::Refuse,
            IfUnwritable::GoOn => Unwritable::BestEffort,
        });
        options = words.show_values.into_iter().fold(options, LogOptions::show_value);
        if let Some(bytes) = words.segment_bytes {
            // Smaller ones are a file for each group of records: a folder full of them, and nothing else is gained.
            if bytes < LEAST_SEGMENT {
                return Err("[audit]: `segment-bytes` is 65536, what one record may have, or more");
            }
            options = options.segment_bytes(bytes);
        }
        if let Some(age) = words.segment_age {
            options = options.segment_age(age);
        }
        if given.on_callers_threads {
            options = options.write_on_callers_threads();
        }
        if let Some(request) = given.request {
            options = options.request(request);
        }
        options = options
            .works_under("configuration", around.configuration.map_or_else(|| "none".to_owned(), sha256))
            .works_under("policy", policy_now(around.policy));
        for sink in words.sinks {
            options = match sink {
                SinkWord::Stdout if given.keeps_stdout => options,
                SinkWord::Stdout => options.tell(Arc::new(Lines::to_stdout())),
                SinkWord::Spans => options.tell(Arc::new(Spans)),
                // Whether it listens does not decide over the log: it is told of like a record that does not reach it.
                SinkWord::Syslog => match syslog(&path) {
                    Ok(syslog) => options.tell(Arc::new(syslog)),
                    Err(error) => {
                        tracing::warn!(%error, "the audit log does not reach syslog");
                        options
                    }
                },
            };
        }
        let plain = around.schemes.iter().map(Arc::clone).fold(Registry::new(), Registry::with_arc);
        let (named, keys) = (words.keys, around.keys.clone());
        let open = move |file: &KeyFile| opening(&plain, &named, &keys, file);
        Ok(Some(LazyLog::new(path, options, open)))
    }
}

/// What a registry has in place of `scheme`.
pub(crate) fn recorded(scheme: Arc<dyn Scheme>, log: &LazyLog) -> Arc<dyn Scheme> {
    Arc::new(AuditedScheme::new(scheme, log.clone()))
}

/// The keys that open the secret of a log: those that `[audit]` names, or those that the key file names. That is believed like
/// a configuration, since nobody else can write it.
fn opening(
    registry: &Registry,
    named: &[String],
    keys: &Keys,
    file: &KeyFile,
) -> Result<Envelope, Box<dyn Error + Send + Sync>> {
    let open = |key: &KeyUri| registry.provider(key, Purpose::Decrypt).map_err(ProvidersError::from);
    let mut keyring = Keyring::new();
    if !named.is_empty() {
        for key in keys.decrypting(named, registry)? {
            keyring = keyring.decrypt(open(&key)?, key);
        }
        return Ok(Envelope::new(keyring));
    }
    let mut failed = None;
    for recipient in file.header().recipients() {
        let key = recipient.key_uri();
        match open(key) {
            Ok(provider) => keyring = keyring.decrypt(provider, key.clone()),
            // Another of its keys may open it.
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    match failed {
        Some(error) if keyring.decrypting().next().is_none() => Err(error.into()),
        _ => Ok(Envelope::new(keyring)),
    }
}

/// Tells the record of a call what the policy said of it.
pub(crate) struct Noted;

impl Decided for Noted {
    fn decided(&self, request: &Request<'_>, decision: Result<(PolicyId, Option<&str>), &Denied>) {
        let mut noted = PolicyDecision { key: request.key.map(ToString::to_string), ..Default::default() };
        let (policy, rule) = match decision {
            Ok((policy, rule)) => (Some(policy), rule),
            Err(denied) => {
                noted.denied = true;
                noted.why = denied.why.word();
                (denied.policy, denied.rule.as_deref())
            }
        };
        (noted.policy, noted.rule) = (policy.map(|policy| policy.to_string()), rule.map(Into::into));
        // Outside of a recorded call nobody takes it: `Providers::check` is for that.
        let _ = policy_decided(noted);
    }
}

/// Records what the policy denies of what is no call of a key store. It stays denied if that cannot be.
pub(crate) async fn denied(log: &LazyLog, recorded_as: &'static str, error: ProviderError) -> ProviderError {
    let Some(denied) = find_cause::<Denied>(&error) else { return error };
    let mut entry = Entry::new(recorded_as, Outcome::Denied);
    entry.key = denied.key.as_ref().map(ToString::to_string);
    entry.rule = denied.rule.as_deref().map(Into::into);
    entry.error = denied.why.word().map(Into::into);
    if let Some(policy) = denied.policy {
        entry.detail.insert("policy".into(), policy.to_string());
    }
    match log.record(entry).await {
        Ok(()) => error,
        Err(unrecorded) => error.with_note(format_args!("and that was not recorded: {unrecorded}")),
    }
}

fn policy_now(policy: Option<&PolicyFile>) -> String {
    match policy.map(PolicyFile::current) {
        None => "none".into(),
        Some(Ok(policy)) => policy.id().to_string(),
        Some(Err(_)) => "unusable".into(),
    }
}

/// As `sha256sum` says it of the file.
fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn syslog(log: &Path) -> io::Result<Syslog> {
    let program = crate::policy::program();
    let name = program.as_deref().and_then(Path::file_name).or(log.file_name());
    Syslog::local(&name.unwrap_or_default().to_string_lossy())
}

/// Bytes of a segment at least: those of the longest record.
const LEAST_SEGMENT: u64 = 64 << 10;

fn age<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(from)?;
    match humantime::parse_duration(&text) {
        Ok(age) if !age.is_zero() => Ok(Some(age)),
        _ => Err(D::Error::custom("it must be a time such as `1day` or `12h`")),
    }
}
