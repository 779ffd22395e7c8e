//! One line of the log: written in one way, and read in no other.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use crate::{
    Entry, Outcome,
    chain::{self, Hash},
    key::LogKey,
    text::{self, MAX_INTEGER},
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
        if line.len() >= MAX_LINE {
            return Err(NotARecord("longer than 65536 bytes"));
        }
        let text: Text<'_> =
            serde_json::from_slice(line).map_err(|_| NotARecord("not the JSON of a record"))?;
        let record = text.read()?;
        // What was parsed, written again, is the line: nothing is spelled in two ways.
        SPELLED.with_borrow_mut(|spelled| {
            spelled.clear();
            text::write_json(spelled, &text);
            if spelled == line { Ok(record) } else { Err(NotARecord("not in canonical form")) }
        })
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

    /// A detail, of records of the log itself.
    pub(crate) fn detail(&self, name: &str) -> Option<&str> {
        self.entry.detail.get(name).map(String::as_str)
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
    let text = Text {
        actor: entry.actor.as_deref().unwrap_or(actor).into(),
        clock: at.clock_set_back.then_some(SET_BACK.into()),
        context: pairs(&entry.context),
        detail: pairs(&entry.detail),
        envelope: entry.envelope.map(|id| text::hex(&id).into()),
        error: entry.error.as_deref().map(Into::into),
        generation: entry.generation,
        key: entry.key.as_deref().map(Into::into),
        key_version: entry.key_version.as_deref().map(Into::into),
        mac: NO_MAC.into(),
        operation: entry.operation.as_ref().into(),
        outcome: entry.outcome.name().into(),
        prev: text::hex(&at.prev).into(),
        provider: entry.provider.as_deref().map(Into::into),
        request: entry.request.as_deref().map(Into::into),
        rule: entry.rule.as_deref().map(Into::into),
        seq: at.seq,
        time: text::time(at.time).into(),
        v: 1,
    };
    text.read()?;
    text::write_json(out, &text);
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

fn pairs(map: &BTreeMap<String, String>) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    map.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect()
}

/// The members, in their order.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text<'a> {
    #[serde(borrow)]
    actor: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    clock: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    context: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    detail: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    envelope: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    generation: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_version: Option<Cow<'a, str>>,
    #[serde(borrow)]
    mac: Cow<'a, str>,
    #[serde(borrow)]
    operation: Cow<'a, str>,
    #[serde(borrow)]
    outcome: Cow<'a, str>,
    #[serde(borrow)]
    prev: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    provider: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rule: Option<Cow<'a, str>>,
    seq: u64,
    #[serde(borrow)]
    time: Cow<'a, str>,
    v: u8,
}

impl Text<'_> {
    fn read(&self) -> Result<Record, NotARecord> {
        if self.v != 1 {
            return Err(NotARecord("another version"));
        }
        let bounded = |value: &Option<Cow<'_, str>>, limit, what| match value {
            None => Ok(None),
            Some(text) if (1..=limit).contains(&text.len()) => Ok(Some(text.as_ref().to_owned())),
            Some(_) => Err(NotARecord(what)),
        };
        if !(1..=1024).contains(&self.actor.len()) {
            return Err(NotARecord("actor"));
        }
        if !text::is_word(&self.operation) {
            return Err(NotARecord("operation"));
        }
        if self.error.as_deref().is_some_and(|word| !text::is_word(word)) {
            return Err(NotARecord("error"));
        }
        if self.clock.as_deref().is_some_and(|word| word != SET_BACK) {
            return Err(NotARecord("clock"));
        }
        if !(1..=MAX_INTEGER).contains(&self.seq) {
            return Err(NotARecord("seq"));
        }
        let entry = Entry {
            actor: Some(self.actor.as_ref().to_owned()),
            operation: self.operation.as_ref().to_owned().into(),
            outcome: Outcome::named(&self.outcome).ok_or(NotARecord("outcome"))?,
            provider: bounded(&self.provider, 64, "provider")?,
            key: bounded(&self.key, 2048, "key")?,
            key_version: bounded(&self.key_version, 512, "key_version")?,
            envelope: match &self.envelope {
                None => None,
                Some(id) => Some(text::unhex(id).ok_or(NotARecord("envelope"))?),
            },
            generation: self.generation,
            error: self.error.as_deref().map(|word| word.to_owned().into()),
            rule: bounded(&self.rule, 256, "rule")?,
            request: bounded(&self.request, 128, "request")?,
            context: ascending(&self.context).ok_or(NotARecord("context"))?,
            detail: ascending(&self.detail).ok_or(NotARecord("detail"))?,
        };
        Ok(Record {
            seq: self.seq,
            time: text::untime(&self.time).ok_or(NotARecord("time"))?,
            clock_set_back: self.clock.is_some(),
            entry,
            prev: text::unhex(&self.prev).ok_or(NotARecord("prev"))?,
            mac: text::unhex(&self.mac).ok_or(NotARecord("mac"))?,
        })
    }
}

fn ascending(pairs: &[(Cow<'_, str>, Cow<'_, str>)]) -> Option<BTreeMap<String, String>> {
    let ascends = pairs.is_sorted_by(|(one, _), (next, _)| one < next);
    ascends.then(|| pairs.iter().map(|(name, value)| (name.as_ref().into(), value.as_ref().into())).collect())
}

/// What the operations of the log itself begin with.
pub(crate) const OWN: &str = "log-";
pub(crate) const BEGIN: &str = "log-begin";
pub(crate) const SEGMENT: &str = "log-segment";
pub(crate) const SEGMENT_END: &str = "log-segment-end";
pub(crate) const CHECKPOINT: &str = "log-checkpoint";
pub(crate) const PRUNE: &str = "log-prune";
pub(crate) const RECOVERED: &str = "log-recovered";

const SET_BACK: &str = "set-back";
const NO_MAC: &str = "0000000000000000000000000000000000000000000000000000000000000000";

thread_local! {
    /// Where lines are spelled again.
    static SPELLED: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
}
