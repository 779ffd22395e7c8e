//! One line of the log: written in one way, and read in no other.

mod line;

use std::collections::BTreeMap;

pub(crate) use line::Line;
use line::{Members, SET_BACK, Text};

use crate::{
    Entry,
    chain::{self, Hash},
    key::LogKey,
    text,
};

/// Most bytes of a line, its LF included.
pub(crate) const MAX_LINE: usize = 64 * 1024;

/// A record as it stands in the log. That it was parsed says nothing of who wrote it: [`Verifier`](crate::Verifier) does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// Its position in the log, from 1.
    pub seq: u64,
    /// When it was written, in milliseconds since 1970-01-01 00:00 UTC.
    pub time: u64,
    /// The clock was set back: `time` is before that of the record before.
    pub clock_set_back: bool,
    /// What was done. Its actor is always there.
    pub entry: Entry,
    /// The hash of the record before.
    pub prev: [u8; 32],
    /// The MAC.
    pub mac: [u8; 32],
}

/// The line is not a record in its one form; which member or rule is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a record: {0}")]
pub struct NotARecord(pub(crate) &'static str);

impl Record {
    /// Parses a line without its LF.
    ///
    /// # Errors
    ///
    /// [`NotARecord`] for everything but the one spelling of a record.
    pub fn parse(line: &[u8]) -> Result<Self, NotARecord> {
        Ok(Line::parse(line)?.record())
    }

    /// When it was written, as the record has it: RFC 3339 in UTC.
    #[must_use]
    pub fn time_text(&self) -> String {
        text::time(self.time)
    }

    /// Whether it is a record of the log itself.
    #[must_use]
    pub fn is_of_the_log(&self) -> bool {
        self.entry.operation.starts_with(OWN)
    }
}

/// Where a record comes to stand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Position {
    pub(crate) seq: u64,
    pub(crate) prev: Hash,
    pub(crate) time: u64,
    pub(crate) clock_set_back: bool,
}

/// Writes the line of `entry`, with its MAC and LF, at the end of `out`, and returns its hash. When it is refused `out` is
/// as it was.
pub(crate) fn seal(
    out: &mut Vec<u8>,
    entry: &Entry,
    actor: &str,
    at: Position,
    key: &LogKey,
) -> Result<Hash, NotARecord> {
    let begin = out.len();
    let members = Members {
        actor: entry.actor.as_deref().unwrap_or(actor).into(),
        clock: at.clock_set_back.then_some(SET_BACK.into()),
        context: pairs(&entry.context),
        detail: pairs(&entry.detail),
        envelope: entry.envelope.map(|id| text::hex(&id).into()),
        error: entry.error.as_deref().map(Text::from),
        generation: entry.generation,
        key: entry.key.as_deref().map(Text::from),
        key_version: entry.key_version.as_deref().map(Text::from),
        mac: NO_MAC.into(),
        operation: entry.operation.as_ref().into(),
        outcome: entry.outcome.name().into(),
        prev: text::hex(&at.prev).into(),
        provider: entry.provider.as_deref().map(Text::from),
        request: entry.request.as_deref().map(Text::from),
        rule: entry.rule.as_deref().map(Text::from),
        seq: at.seq,
        time: text::time(at.time).into(),
        v: 1,
    };
    members.check()?;
    text::write_json(out, &members);
    let line = &out[begin..];
    let split = chain::split(line).filter(|_| line.len() < MAX_LINE);
    let Some((before, after)) = split else {
        out.truncate(begin);
        return Err(NotARecord("longer than 65536 bytes"));
    };
    let hash = chain::hash(before, after);
    let mac = text::hex(&key.mac(&hash));
    let place = begin + before.len() + chain::MAC_MEMBER.len();
    out[place..place + mac.len()].copy_from_slice(mac.as_bytes());
    out.push(b'\n');
    Ok(hash)
}

fn pairs(map: &BTreeMap<String, String>) -> Vec<(Text<'_>, Text<'_>)> {
    map.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect()
}

/// What the operations of the log itself begin with.
pub(crate) const OWN: &str = "log-";
pub(crate) const BEGIN: &str = "log-begin";
pub(crate) const SEGMENT: &str = "log-segment";
pub(crate) const SEGMENT_END: &str = "log-segment-end";
pub(crate) const CHECKPOINT: &str = "log-checkpoint";
pub(crate) const PRUNE: &str = "log-prune";
pub(crate) const RECOVERED: &str = "log-recovered";
pub(crate) const SINK_LOST: &str = "log-sink-lost";

const NO_MAC: &str = "0000000000000000000000000000000000000000000000000000000000000000";
