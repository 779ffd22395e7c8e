//! What a key that is destroyed takes with it: asked before, and written down after.

use std::{
    collections::HashSet,
    fs::File,
    io::{BufReader, Seek as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

use envelope_rotation::{KeyVersion, Loss, UsageReader, UsageReportError, UsedEnvelope};
use envelope_sdk::{
    KeyDescription, KeyProvider, KeyState, KeyUri,
    key_uri::{gcp::CryptoKeyName, pkcs11::Pkcs11Attributes},
    printable,
    registry::Purpose,
};
use serde_json::{Value, json};

use super::{
    keys::ask,
    signed_report::{SignedReport, sha256},
};
use crate::{
    cli::{ChangeKey, DestructionReport, Global},
    error::{CliError, ErrorKind, Result},
    providers::{Providers, builder},
    report::{self, now},
};

/// What is asked of `keys destroy` besides the key.
pub(crate) struct End {
    pub(crate) usage: Vec<PathBuf>,
    pub(crate) force: bool,
    pub(crate) report: DestructionReport,
}

/// What is lost, and the file that says so, which has no name yet.
pub(crate) struct Destruction {
    loss: Loss,
    report: Option<SignedReport>,
    /// The state of what is destroyed before that.
    was: Option<KeyState>,
}

impl Destruction {
    /// Refuses what still opens envelopes, unless forced.
    pub(crate) fn check(
        global: &Global,
        providers: &Providers,
        key: &KeyUri,
        args: &ChangeKey,
        end: &End,
    ) -> Result<Self> {
        let mut destruction = Self { loss: Loss::default(), report: None, was: None };
        if end.usage.is_empty() {
            if end.report.report.is_some() {
                return Err(CliError::usage("--report is about what a --usage FILE counts: name one"));
            }
            say(
                global,
                "nothing was asked what it still opens: `envctl keys usage PATH --report FILE` counts, and --usage FILE refuses \
                 what is in use",
            );
            return Ok(destruction);
        }
        let ends = Ends::of(providers, key, args.version.as_deref())?;
        destruction.was = Some(ends.state);
        let mut usage = end.usage.iter().map(|path| Usage::open(path)).collect::<Result<Vec<_>>>()?;
        check_each_once(&usage)?;
        if !args.dry_run.dry_run {
            destruction.report = SignedReport::begin(providers, &end.report)?;
            destruction.begin(&ends, end, &mut usage)?;
        }
        for usage in &mut usage {
            destruction.read(global, usage, &ends)?;
        }
        warn_of_runs(global, &usage);
        let Loss { opened, unreadable, not_read, .. } = destruction.loss;
        if (opened > 0 || not_read > 0) && !end.force {
            let what = ends.name();
            let unknown = match not_read {
                0 => String::new(),
                count => format!("; {count} items could not be read when that was counted"),
            };
            let text = format!(
                "{what} still opens {opened} envelopes, {unreadable} of which nothing else opens{unknown}"
            );
            return Err(CliError::new(ErrorKind::KeyRefused, text).hint(
                "`envctl rotate` brings them to another key, and `envctl keys usage PATH --report FILE` counts again; --force \
                 destroys the key all the same",
            ));
        }
        if let Some(report) = &mut destruction.report {
            report.flush()?;
        }
        Ok(destruction)
    }

    /// Ends the report, now that the key, or this version of it, is as `key` says.
    pub(crate) fn done(self, global: &Global, key: &KeyDescription, version: Option<&str>) -> Result<()> {
        let Some(mut report) = self.report else { return Ok(()) };
        let loss = serde_json::to_value(&self.loss).map_err(|error| CliError::other(error.to_string()))?;
        let state = state_of(key, version);
        let Loss { unreadable, .. } = self.loss;
        // A cloud destroys later.
        let when = if state == KeyState::Destroyed { "now" } else { "once it is destroyed" };
        let text = format!("says which {unreadable} envelopes are unreadable {when}");
        let ended = report.line(&json!({ "end": loss, "state": state.name() }));
        ended
            .and_then(|()| report.finish(global, json!({ "unreadable": unreadable }), &text))
            .map_err(|error| error.hint(LOST))
    }

    /// As [`done`](Self::done), where the change failed: its answer or its record may be lost, and not the change. The key is
    /// looked at without the audit log, which may be why.
    pub(crate) fn failed(
        self,
        global: &Global,
        providers: &Providers,
        key: &KeyUri,
        version: Option<&str>,
        why: CliError,
    ) -> CliError {
        if self.report.is_none() {
            return why;
        }
        match look(global, providers, key) {
            Ok(now) if Some(state_of(&now, version)) != self.was => match self.done(global, &now, version) {
                Ok(()) => why,
                Err(also) => why.noted(also.message()),
            },
            _ => why,
        }
    }

    fn begin(&mut self, ends: &Ends, end: &End, counted: &mut [Usage<'_>]) -> Result<()> {
        if self.report.is_none() {
            return Ok(());
        }
        let mut usage = Vec::new();
        for of in counted {
            usage.push(json!({ "file": printable::path(of.path), "sha256": of.note()? }));
        }
        self.line(&json!({
            "envelope_destruction": 1,
            "key": ends.key.as_str(),
            "version": ends.version,
            "reason": end.report.reason,
            "time": report::time(now()),
            "usage": usage,
        }))
    }

    fn read(&mut self, global: &Global, usage: &mut Usage<'_>, ends: &Ends) -> Result<()> {
        let path = usage.path;
        let about = |error: UsageReportError| {
            let kind = match error {
                UsageReportError::NotAReport | UsageReportError::More => ErrorKind::Usage,
                _ => ErrorKind::InputOutput,
            };
            CliError::new(kind, error.to_string()).about(printable::path(path))
        };
        let report = UsageReader::open(BufReader::new(&usage.file)).map_err(about)?;
        warn_if_old(global, path, report.made());
        (usage.made, usage.of) = (report.made().to_owned(), report.of().to_vec());
        let mut loss = std::mem::take(&mut self.loss);
        let before = loss.envelopes;
        let read = loss.add(
            report,
            |of| ends.has(of),
            |lost: &UsedEnvelope| {
                let versions: Vec<_> = lost.opens.iter().map(|of| of.version.as_str()).collect();
                self.line(&json!({ "envelope": lost.id, "item": lost.item, "versions": versions }))
                    .map_err(Stop::Cli)
            },
        );
        if read.is_ok() && loss.envelopes == before {
            say(global, &format!("{} counts no envelope at all: was its path right?", printable::path(path)));
        }
        self.loss = loss;
        read.map_err(|stop| match stop {
            Stop::Report(error) => about(error),
            Stop::Cli(error) => error,
        })?;
        usage.check()
    }

    fn line(&mut self, line: &Value) -> Result<()> {
        match &mut self.report {
            Some(report) => report.line(line),
            None => Ok(()),
        }
    }
}

/// The key as it is now, with nothing recorded.
fn look(global: &Global, providers: &Providers, key: &KeyUri) -> Result<KeyDescription> {
    let opened = builder(global)?.without_audit().secrets(providers.secrets()).build()?;
    let admin = opened.registry().admin(key).map_err(CliError::of_call)?;
    ask(admin.describe_key(key))
}

/// Of a version of a key, or of the key.
fn state_of(key: &KeyDescription, version: Option<&str>) -> KeyState {
    let of_version = version.and_then(|named| key.versions.iter().find(|known| known.version == named));
    of_version.map_or(key.state, |known| known.state)
}

/// A usage report, opened once: what is noted of it is of what is read.
struct Usage<'p> {
    path: &'p Path,
    file: File,
    sha256: Option<String>,
    /// When it was made, and of which paths, once it was read.
    made: String,
    of: Vec<String>,
}

impl<'p> Usage<'p> {
    fn open(path: &'p Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| CliError::io("read", path, &error))?;
        Ok(Self { path, file, sha256: None, made: String::new(), of: Vec::new() })
    }

    /// Its SHA-256, for the report.
    fn note(&mut self) -> Result<String> {
        let digest = self.digest()?;
        self.sha256 = Some(digest.clone());
        Ok(digest)
    }

    /// That it is still what was noted.
    fn check(&mut self) -> Result<()> {
        let Some(noted) = self.sha256.take() else { return Ok(()) };
        self.file.rewind().map_err(|error| CliError::io("read", self.path, &error))?;
        if self.digest()? == noted {
            return Ok(());
        }
        let text = "it was changed while it was read: nothing was destroyed";
        Err(CliError::new(ErrorKind::InputOutput, text).about(printable::path(self.path)))
    }

    fn digest(&mut self) -> Result<String> {
        sha256(&mut self.file).map_err(|error| CliError::io("read", self.path, &error))
    }
}

/// Which key versions come to their end.
struct Ends {
    key: KeyUri,
    version: Option<String>,
    state: KeyState,
    names: Vec<KeyUri>,
    provider: Arc<dyn KeyProvider>,
}

impl Ends {
    fn of(providers: &Providers, key: &KeyUri, version: Option<&str>) -> Result<Self> {
        let registry = providers.opened().registry();
        let provider = registry.provider(key, Purpose::Decrypt).map_err(CliError::of_call)?;
        let admin = registry.admin(key).map_err(CliError::of_call)?;
        // Headers have the full name of what may be called by an alias or a short one.
        let described = ask(admin.describe_key(key))?;
        let (state, described) = (state_of(&described, version), described.uri);
        let names = vec![key.clone(), described.clone()];
        Ok(Self { key: described, version: version.map(ToOwned::to_owned), state, names, provider })
    }

    fn has(&self, of: &KeyVersion) -> bool {
        // Where none is told, as by a key of a token that is named by its id, it may be that one.
        let is_version =
            of.version.is_empty() || self.version.as_ref().is_none_or(|version| *version == of.version);
        is_version
            && KeyUri::parse(&of.key).is_ok_and(|named| {
                let is_same = |own: &KeyUri| {
                    own.scheme() == named.scheme()
                        && (*own == named
                            || self.provider.is_same_key(own, &named)
                            || may_be_same(own, &named))
                };
                self.names.iter().any(is_same)
            })
    }

    fn name(&self) -> String {
        match &self.version {
            Some(version) => format!("version {version} of {}", self.key),
            None => self.key.to_string(),
        }
    }
}

/// Whether two names may be those of one key although its provider does not say so, which must not widen what a caller
/// configured: a key of a token is named by any of its attributes, Google's projects have a name and a number, and Azure takes
/// capitals in a key's name for small ones.
fn may_be_same(one: &KeyUri, other: &KeyUri) -> bool {
    if let (Some(own), Some(named)) = (CryptoKeyName::of(one), CryptoKeyName::of(other)) {
        let is_number = |project: &str| project.bytes().all(|byte| byte.is_ascii_digit());
        return is_number(own.project) != is_number(named.project)
            && (own.location, own.key_ring, own.key) == (named.location, named.key_ring, named.key);
    }
    let (Some(own), Some(named)) = (Pkcs11Attributes::of(one), Pkcs11Attributes::of(other)) else {
        return one.scheme() == "azurekeyvault" && one.as_str().eq_ignore_ascii_case(other.as_str());
    };
    !own.contradicts(&named)
}

enum Stop {
    Report(UsageReportError),
    Cli(CliError),
}

impl From<UsageReportError> for Stop {
    fn from(error: UsageReportError) -> Self {
        Self::Report(error)
    }
}

/// One that is named twice would count twice.
fn check_each_once(usage: &[Usage<'_>]) -> Result<()> {
    let mut seen = HashSet::new();
    for Usage { file, path, .. } in usage {
        let found = file.metadata().map_err(|error| CliError::io("read", path, &error))?;
        if !seen.insert((found.dev(), found.ino())) {
            return Err(CliError::usage("it is named twice").about(printable::path(path)));
        }
    }
    Ok(())
}

/// A second run over the same paths does not take the place of the first: what it says of them counts, too.
fn warn_of_runs(global: &Global, usage: &[Usage<'_>]) {
    for (at, one) in usage.iter().enumerate() {
        // A shell gives tens of thousands of paths.
        let paths: HashSet<_> = one.of.iter().collect();
        for other in &usage[at + 1..] {
            let Some(path) = other.of.iter().find(|path| paths.contains(path)) else { continue };
            // RFC 3339 in UTC: the order of the texts is that of the times.
            let (older, newer) = if one.made <= other.made { (one, other) } else { (other, one) };
            let [older, newer] = [older, newer].map(|of| printable::path(of.path));
            say(
                global,
                &format!(
                    "{older} and {newer} both count {}: each of them counts. If they are two runs over the same files, name {newer} \
                     alone, which is newer",
                    printable::text(path)
                ),
            );
        }
    }
}

fn warn_if_old(global: &Global, path: &Path, made: &str) {
    let made = humantime::parse_rfc3339(made).ok().and_then(|made| made.duration_since(UNIX_EPOCH).ok());
    let days = made.map(|made| now().saturating_sub(made.as_secs()) / DAY);
    let name = printable::path(path);
    match days {
        Some(days) if days >= OLD => {
            say(global, &format!("{name} was made {days} days ago: what was encrypted since is not in it"));
        }
        Some(_) => {}
        None => say(global, &format!("{name} does not say when it was made")),
    }
}

fn say(global: &Global, text: &str) {
    let _ = report::status(global.json, &json!({ "warning": text }), &format!("warning: {text}"));
}

const LOST: &str = "the key is destroyed; the report of it is lost";
const DAY: u64 = 86_400;
/// Days after which a report is told to be old.
const OLD: u64 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_under_its_other_names_and_another_key_is_not() {
        let are = |one: &str, other: &str| {
            may_be_same(&KeyUri::parse(one).unwrap(), &KeyUri::parse(other).unwrap())
        };
        let own = "pkcs11:token=t;object=backup";
        for same in
            ["pkcs11:serial=1;object=backup", "pkcs11:token=t;object=backup;id=%01", "pkcs11:token=t;id=%01"]
        {
            assert!(are(own, same), "{same}");
        }
        for other in ["pkcs11:token=u;object=backup", "pkcs11:token=t;object=other;id=%01", "passphrase:"] {
            assert!(!are(own, other), "{other}");
        }
        let azure = "azurekeyvault://shop.vault.azure.net/keys/";
        assert!(are(&format!("{azure}Backups"), &format!("{azure}backups")));
        assert!(!are(&format!("{azure}backups"), &format!("{azure}backup")));
        let google = |project: &str| format!("projects/{project}/locations/l/keyRings/r/cryptoKeys/k");
        assert!(are(&google("shop"), &google("123456")));
        assert!(!are(&google("shop"), &google("other")) && !are(&google("123456"), &google("1")));
        assert!(!are("local:Main", "local:main"));
    }
}
