//! What a job over records would do.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use envelope_layers::DataKeyId;
use envelope_sdk::{Header, KeyUri};
use serde::{Serialize, Serializer};

use super::{
    Ready, RecordsError,
    keys::{Keys, context_key},
};
use crate::{Control, Key, report::calls_text};

/// What a [`RecordJob`](super::RecordJob) would do: made by [`RecordJob::plan`](super::RecordJob::plan), from counts and
/// headers alone.
#[derive(Debug, Default, Serialize)]
#[non_exhaustive]
pub struct RecordPlan {
    /// The old data keys.
    pub data_keys: Vec<PlannedDataKey>,
    /// Rows under all of them.
    pub rows: u64,
    /// New data keys that are made, at most: one for each context. None where the job was told the new one.
    pub new: u64,
    /// Calls to each key store, at most, by the name of its provider: one to open each old data key, and for a new one two for
    /// each key that wraps it, to wrap and to see that it opens. Rows take none.
    pub calls: BTreeMap<&'static str, u64>,
    /// True when it was cancelled before its end: what is not counted is not in it.
    pub cancelled: bool,
}

/// An old data key of a [`RecordPlan`].
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct PlannedDataKey {
    /// Its id.
    #[serde(rename = "data_key", serialize_with = "id")]
    pub id: DataKeyId,
    /// Rows under it; of a store that is narrowed, these.
    pub rows: u64,
    /// Whether its header is there: without it nobody opens the rows.
    pub has_header: bool,
    /// A key of the job that its header names, unverified: `None` where there is no such key, and the job would fail.
    #[serde(serialize_with = "uri")]
    pub opens: Option<KeyUri>,
}

pub(super) async fn of(ready: &Ready, control: &Control) -> Result<RecordPlan, RecordsError> {
    let (from, keys) = ready.prepare().await?;
    let job = &ready.job;
    let mut known = Vec::new();
    for key in job.goal.to.iter().chain(&job.goal.open) {
        known.push((key, key.provider.resolve(&key.uri).await.ok()));
    }
    let opening = |header: &Header| {
        let opens = |of: &KeyUri| known.iter().find(|(key, meaning)| is(key, meaning.as_ref(), of));
        header.recipients().iter().find_map(|of| opens(of.key_uri()).map(|(key, _)| *key))
    };
    let mut plan = RecordPlan::default();
    let mut contexts = BTreeSet::new();
    for id in from {
        if !control.may_go_on().await {
            plan.cancelled = true;
            break;
        }
        let rows = job.store.count_narrowed(&id).await.map_err(RecordsError::Store)?;
        let header = keys.old_header(id);
        let key = header.as_ref().and_then(opening);
        if let (Some(header), Some(key), true) = (&header, key, rows > 0) {
            contexts.insert(context_key(header));
            *plan.calls.entry(key.provider.name()).or_default() += 1;
        }
        plan.rows += rows;
        let opens = key.map(|key| key.uri.clone());
        plan.data_keys.push(PlannedDataKey { id, rows, has_header: header.is_some(), opens });
    }
    count_new(ready, &keys, contexts.len() as u64, opening, &mut plan).await?;
    Ok(plan)
}

/// Calls for the new data keys, of so many contexts.
async fn count_new<'k>(
    ready: &'k Ready,
    keys: &Keys,
    contexts: u64,
    opening: impl Fn(&Header) -> Option<&'k Key>,
    plan: &mut RecordPlan,
) -> Result<(), RecordsError> {
    if contexts == 0 {
        return Ok(());
    }
    let mut count = |key: &Key, calls| *plan.calls.entry(key.provider.name()).or_default() += calls;
    if let Some(header) = keys.given_header().await? {
        if let Some(key) = opening(&header) {
            count(key, 1);
        }
        return Ok(());
    }
    for key in &ready.job.goal.to {
        count(key, 2 * contexts);
    }
    // What a job before left is looked at besides, and opened.
    if let (true, Some(key)) = (ready.job.goes_on, ready.job.goal.to.first()) {
        count(key, contexts);
    }
    plan.new = contexts;
    Ok(())
}

fn is(key: &Key, meaning: Option<&KeyUri>, recipient: &KeyUri) -> bool {
    let is_same =
        |uri: &KeyUri| uri.scheme() == recipient.scheme() && key.provider.is_same_key(uri, recipient);
    is_same(&key.uri) || meaning.is_some_and(is_same)
}

impl fmt::Display for RecordPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.cancelled {
            writeln!(f, "cancelled: not all was counted")?;
        }
        writeln!(f, "{} rows under {} data keys would be moved", self.rows, self.data_keys.len())?;
        for PlannedDataKey { id, rows, has_header, opens } in &self.data_keys {
            let what = match (opens, has_header, rows) {
                (Some(key), _, _) => format!("{key} opens it"),
                (None, true, _) => "no key of the job opens it".to_owned(),
                (None, false, 0) => "its header is gone".to_owned(),
                (None, false, _) => "its header is not there, and nobody opens them".to_owned(),
            };
            writeln!(f, "  {id}: {rows} rows; {what}")?;
        }
        writeln!(f, "new data keys, at most: {}", self.new)?;
        let calls = &self.calls;
        let each = if calls.is_empty() { String::new() } else { format!(" ({})", calls_text(calls)) };
        writeln!(f, "calls to key stores, at most: {}{each}", calls.values().sum::<u64>())
    }
}

fn id<S: Serializer>(id: &DataKeyId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

fn uri<S: Serializer>(uri: &Option<KeyUri>, serializer: S) -> Result<S::Ok, S::Error> {
    match uri {
        Some(uri) => serializer.serialize_some(uri.as_str()),
        None => serializer.serialize_none(),
    }
}
