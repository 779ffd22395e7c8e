//! What a job over records did.

use std::{collections::BTreeMap, fmt, time::Duration};

use envelope_layers::DataKeyId;
use serde::{Serialize, Serializer, ser::SerializeSeq};

use super::RecordFailure;
use crate::report::calls_text;

/// What is told while records are moved.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecordEvent<'e> {
    /// A new data key is in the store, or one that a job before made is taken. A job that is to go on after this one is given
    /// [this one](super::RecordJob::to).
    NewDataKey {
        /// Its id.
        id: DataKeyId,
        /// Whether this job made it.
        made: bool,
    },
    /// A batch was written, and lasts.
    Moved {
        /// Rows of it that are under the new data key now.
        rows: u64,
        /// Rows of it that somebody wrote meanwhile: they are done again.
        conflicts: u64,
        /// Calls to key stores so far.
        calls: u64,
    },
    /// A row was left as it is. It is told once.
    Failed(&'e RecordFailure),
    /// No record is under an old data key any more.
    Emptied {
        /// Its id.
        id: DataKeyId,
        /// What became of its header.
        retired: Retirement,
    },
}

/// What became of the header of an old data key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Retirement {
    /// It is gone.
    Retired,
    /// It was to stay.
    Kept,
    /// It stays: something else refers to it.
    InUseElsewhere,
    /// It stays: the store cannot refuse records that somebody might still write under it.
    Unguarded,
}

/// What a whole job did.
#[derive(Debug, Default, Serialize)]
#[non_exhaustive]
pub struct RecordReport {
    /// Rows that were moved. Two jobs at once count each row once between them.
    pub moved: u64,
    /// Bytes of the records that were written.
    pub bytes: u64,
    /// Rows that were begun anew because somebody wrote them meanwhile.
    pub conflicts: u64,
    /// Rows that failed and are as they were.
    pub failed: u64,
    /// Rows that are left under the old data keys: those that failed, and what others went on to write there.
    pub left: u64,
    /// The data keys that rows were moved to.
    #[serde(serialize_with = "ids")]
    pub new: Vec<DataKeyId>,
    /// The old data keys without records, and what became of their headers.
    #[serde(serialize_with = "emptied")]
    pub emptied: Vec<(DataKeyId, Retirement)>,
    /// How often each key store was called, by the name of its provider.
    pub calls: BTreeMap<&'static str, u64>,
    /// How long it took.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub took: Duration,
    /// True when it was cancelled before its end.
    pub cancelled: bool,
    /// True when it came to its end: nothing was cancelled, and no error stopped it.
    pub finished: bool,
}

impl RecordReport {
    /// Whether nothing was written.
    pub(super) fn is_nothing(&self) -> bool {
        self.moved == 0 && self.conflicts == 0 && self.new.is_empty() && self.emptied.is_empty()
    }
}

impl fmt::Display for RecordReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { moved, bytes, conflicts, failed, left, .. } = self;
        let millis = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX).max(1);
        let end = match (self.cancelled, self.finished) {
            (true, _) => "cancelled after ",
            (false, false) => "not finished, after ",
            (false, true) => "",
        };
        let rate = moved.saturating_mul(1000) / millis;
        writeln!(
            f,
            "{end}{moved} rows moved in {:.1} s ({rate}/s); bytes written: {bytes}",
            self.took.as_secs_f64()
        )?;
        for id in &self.new {
            writeln!(f, "  to the data key {id}")?;
        }
        writeln!(f, "  calls to key stores: {}", calls_text(&self.calls))?;
        let counts = [
            (conflicts, "begun anew because others changed them meanwhile"),
            (failed, "failed and are as they were"),
            (left, "left under the old data keys"),
        ];
        for (count, what) in counts.into_iter().filter(|(count, _)| **count > 0) {
            writeln!(f, "  {count} {what}")?;
        }
        for (id, retired) in &self.emptied {
            let what = match retired {
                Retirement::Retired => "and retired",
                Retirement::Kept => "and kept",
                Retirement::InUseElsewhere => "and kept: something else refers to it",
                Retirement::Unguarded => {
                    "and kept: no foreign key guards against records written under it meanwhile"
                }
            };
            writeln!(f, "  the data key {id} is without records, {what}")?;
        }
        Ok(())
    }
}

fn ids<S: Serializer>(ids: &[DataKeyId], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(ids.iter().map(ToString::to_string))
}

fn emptied<S: Serializer>(emptied: &[(DataKeyId, Retirement)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(Some(emptied.len()))?;
    for (id, retired) in emptied {
        list.serialize_element(&serde_json::json!({ "data_key": id.to_string(), "header": retired }))?;
    }
    list.end()
}

fn seconds<S: Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(took.as_secs_f64())
}
