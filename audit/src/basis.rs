//! What a log works under: the digests of the configuration and of the policy. The log has them, and says when they changed.

use std::{
    collections::BTreeMap,
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{Entry, Outcome, Record, segments};

/// Names and digests, as the program has them now and as the log has them.
#[derive(Default)]
pub(crate) struct Basis {
    now: BTreeMap<String, String>,
    recorded: Option<BTreeMap<String, String>>,
}

impl Basis {
    /// `now` is what the program works under; what the log says of that stands at its end.
    pub(crate) fn of(path: &Path, now: BTreeMap<String, String>) -> Self {
        let recorded = if now.is_empty() { None } else { last(path) };
        Self { now, recorded }
    }

    pub(crate) fn set(&mut self, name: &str, digest: &str) {
        if self.now.get(name).is_none_or(|known| known != digest) {
            self.now.insert(name.into(), digest.into());
        }
    }

    /// What has to be recorded before anything else is, if the log does not say it yet, and what it says so far. It counts as
    /// recorded from then on, unless [`Saying`] says otherwise.
    pub(crate) fn unsaid(&mut self) -> Option<(Vec<Entry>, Recorded)> {
        if self.now.is_empty() || self.recorded.as_ref() == Some(&self.now) {
            return None;
        }
        let whole = |operation: &'static str| {
            let entry = Entry::new(operation, Outcome::Ok);
            self.now.iter().fold(entry, |entry, (name, digest)| entry.with_detail(name, digest))
        };
        let entries = match &self.recorded {
            None => vec![whole(CONFIG)],
            Some(before) => {
                let changed = |name| before.get(name) != self.now.get(name);
                let of = |operation, name| {
                    let none = || "none".to_owned();
                    let before = before.get(name).cloned().unwrap_or_else(none);
                    changed(name).then(|| whole(operation).with_detail("before", before))
                };
                of(CONFIG_CHANGED, CONFIGURATION).into_iter().chain(of(POLICY_CHANGED, POLICY)).collect()
            }
        };
        let before = self.recorded.replace(self.now.clone());
        Some((entries, Recorded(before)))
    }
}

/// What the log says, if it says anything.
pub(crate) struct Recorded(Option<BTreeMap<String, String>>);

/// What is unsaid and on its way to the log: it goes with its entries, since who handed them over may not wait to hear of them.
pub(crate) struct Saying {
    basis: Arc<Mutex<Basis>>,
    before: Option<Recorded>,
}

impl Saying {
    pub(crate) fn new(basis: &Arc<Mutex<Basis>>, before: Recorded) -> Self {
        Self { basis: Arc::clone(basis), before: Some(before) }
    }

    /// The log says it now.
    pub(crate) fn end(mut self) {
        self.before = None;
    }
}

impl Drop for Saying {
    /// It was not recorded after all: the log says still what it said before.
    fn drop(&mut self) {
        if let Some(before) = self.before.take() {
            self.basis.lock().unwrap_or_else(PoisonError::into_inner).recorded = before.0;
        }
    }
}

/// The last of such records near the end of the log. One that is further back is said again.
fn last(path: &Path) -> Option<BTreeMap<String, String>> {
    let mut file = segments::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    file.take(TAIL).read_to_end(&mut tail).ok()?;
    tail.rsplit(|&byte| byte == b'\n').find_map(|line| {
        // Most lines are of something else, and need not be read.
        let names_one = line.windows(MARK.len()).any(|part| part == MARK);
        let record = names_one.then(|| Record::parse(line).ok()).flatten()?;
        let mut said = record.entry.detail;
        said.remove("before");
        [CONFIG, CONFIG_CHANGED, POLICY_CHANGED].contains(&record.entry.operation.as_ref()).then_some(said)
    })
}

/// The names that have operations of their own.
const CONFIGURATION: &str = "configuration";
const POLICY: &str = "policy";
const CONFIG: &str = "config";
const CONFIG_CHANGED: &str = "config-changed";
const POLICY_CHANGED: &str = "policy-changed";
/// Details stand in each, and in nothing else by this name.
const MARK: &[u8] = b"[\"configuration\",";
/// How far from the end it is looked for.
const TAIL: u64 = 64 * 1024;
