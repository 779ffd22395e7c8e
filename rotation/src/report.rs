//! What a job did: an [`ItemReport`] for each item as it is done, and a [`Report`] at the end.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::Serialize;
use serde_json::{Value, json};

use crate::{Item, ItemError, Reason};

/// What became of one item.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// Its DEK is wrapped anew.
    Rewrapped,
    /// It is encrypted under a new DEK.
    Reencrypted,
    /// It was in the target state: no key store was asked.
    InTargetState,
    /// The job that is resumed did it.
    DoneBefore,
    /// A dry run would change it.
    WouldChange,
    /// It was found by looking, and is no envelope or gone by now.
    PassedOver,
    /// It is as it was.
    Failed(ItemError),
}

impl Outcome {
    /// Its name in reports: `rewrapped`, …
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rewrapped => "rewrapped",
            Self::Reencrypted => "reencrypted",
            Self::InTargetState => "in-target-state",
            Self::DoneBefore => "done-before",
            Self::WouldChange => "would-change",
            Self::PassedOver => "passed-over",
            Self::Failed(_) => "failed",
        }
    }
}

/// An item, what became of it, and why.
#[derive(Debug)]
#[non_exhaustive]
pub struct ItemReport {
    /// The item.
    pub item: Item,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it was, or would be, changed.
    pub reasons: Vec<Reason>,
    /// The generation of its header now, where it is an envelope.
    pub generation: Option<u32>,
    /// Bytes that were written.
    pub bytes: u64,
    /// How often it was begun anew because others changed it meanwhile.
    pub conflicts: u32,
    /// Calls to key stores so far, of the whole job.
    pub calls: u64,
    /// Its header as it was read.
    pub(crate) header: Option<envelope_sdk::Header>,
    /// Calls to key stores that changing it takes at most, in a [plan](crate::Job::plan).
    pub(crate) planned: BTreeMap<&'static str, u64>,
}

impl ItemReport {
    /// Of an item of which nothing is known yet.
    pub(crate) fn of(item: Item) -> Self {
        Self {
            item,
            outcome: Outcome::PassedOver,
            reasons: Vec::new(),
            generation: None,
            bytes: 0,
            conflicts: 0,
            calls: 0,
            header: None,
            planned: BTreeMap::new(),
        }
    }

    /// Its header as it was read, before it was changed. Nothing of it is verified unless the item was changed.
    #[must_use]
    pub fn header(&self) -> Option<&envelope_sdk::Header> {
        self.header.as_ref()
    }

    /// As JSON: `item`, `outcome`, `reasons`, `generation`, `bytes`, and `error` where it failed. A name that is not
    /// UTF-8 is shown with replacement characters.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let reasons: Vec<_> = self.reasons.iter().map(ToString::to_string).collect();
        let mut value = json!({
            "item": String::from_utf8_lossy(self.item.name()),
            "outcome": self.outcome.name(),
            "reasons": reasons,
            "generation": self.generation,
            "bytes": self.bytes,
        });
        if let Outcome::Failed(error) = &self.outcome {
            value["error"] = error.to_string().into();
        }
        value
    }
}

/// How many items had which outcome. The outcomes add up to `items`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Totals {
    /// Items that were looked at.
    pub items: u64,
    /// DEKs that are wrapped anew.
    pub rewrapped: u64,
    /// Envelopes that are encrypted anew.
    pub reencrypted: u64,
    /// Envelopes that were in the target state.
    pub in_target_state: u64,
    /// Envelopes that the job before did, which this one resumes.
    pub done_before: u64,
    /// Envelopes that a dry run would change.
    pub would_change: u64,
    /// Items that are no envelopes, or gone by now.
    pub passed_over: u64,
    /// Items that failed and are as they were.
    pub failed: u64,
    /// Times an item was begun anew because others changed it meanwhile.
    pub conflicts: u64,
    /// Bytes that were written.
    pub bytes: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, report: &ItemReport) {
        self.items += 1;
        self.bytes += report.bytes;
        self.conflicts += u64::from(report.conflicts);
        *match report.outcome {
            Outcome::Rewrapped => &mut self.rewrapped,
            Outcome::Reencrypted => &mut self.reencrypted,
            Outcome::InTargetState => &mut self.in_target_state,
            Outcome::DoneBefore => &mut self.done_before,
            Outcome::WouldChange => &mut self.would_change,
            Outcome::PassedOver => &mut self.passed_over,
            Outcome::Failed(_) => &mut self.failed,
        } += 1;
    }
}

/// What a whole job did.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Outcomes, counted.
    pub totals: Totals,
    /// Calls to each key store, by the name of its provider, and one for each key at the beginning.
    pub calls: BTreeMap<&'static str, u64>,
    /// How long it took.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub took: Duration,
    /// True when it was cancelled before its end.
    pub cancelled: bool,
    /// True when it came to its end: all items were looked at. Not where some could not be listed.
    pub finished: bool,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { items, rewrapped, reencrypted, in_target_state, .. } = self.totals;
        let Totals { done_before, would_change, passed_over, failed, conflicts, bytes, .. } = self.totals;
        let millis = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = items.saturating_mul(1000) / millis;
        let end = match (self.cancelled, self.finished) {
            (true, _) => "cancelled after ",
            (false, true) => "",
            (false, false) => "not finished, after ",
        };
        writeln!(f, "{end}{items} items in {:.1} s ({rate}/s)", self.took.as_secs_f64())?;
        let counts = [
            (rewrapped, "rewrapped"),
            (reencrypted, "reencrypted"),
            (would_change, "would be changed"),
            (in_target_state, "in the target state already"),
            (done_before, "done by the job before"),
            (passed_over, "no envelopes"),
            (failed, "failed and are as they were"),
            (conflicts, "begun anew because others changed them meanwhile"),
        ];
        for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
            writeln!(f, "  {count} {what}")?;
        }
        let calls = calls_text(&self.calls);
        write!(f, "calls to key stores: {calls}; bytes written: {bytes}")
    }
}

/// How many calls to each key store there were.
pub(crate) fn calls_text(calls: &BTreeMap<&'static str, u64>) -> String {
    let each: Vec<_> = calls.iter().map(|(store, count)| format!("{store} {count}")).collect();
    if each.is_empty() { "none".into() } else { each.join(", ") }
}

fn seconds<S: serde::Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(took.as_secs_f64())
}
