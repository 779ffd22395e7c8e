//! A line of the log, parsed where it lies: a verifier asks hundreds of thousands of them in a second, and copies none.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use super::{MAX_LINE, NotARecord, Record};
use crate::{
    Entry, Outcome,
    chain::Hash,
    text::{self, MAX_INTEGER},
};

/// A line in the one form of a record.
pub(crate) struct Line<'a> {
    members: Members<'a>,
    values: Values,
}

/// What is written in digits and words.
pub(super) struct Values {
    time: u64,
    prev: Hash,
    mac: [u8; 32],
    outcome: Outcome,
    envelope: Option<[u8; 16]>,
}

impl<'a> Line<'a> {
    /// Parses a line without its LF.
    pub(crate) fn parse(line: &'a [u8]) -> Result<Self, NotARecord> {
        const NO_JSON: NotARecord = NotARecord("not the JSON of a record");
        if line.len() >= MAX_LINE {
            return Err(NotARecord("longer than 65536 bytes"));
        }
        let text = std::str::from_utf8(line).map_err(|_| NO_JSON)?;
        let members: Members<'_> = serde_json::from_str(text).map_err(|_| NO_JSON)?;
        let values = members.check()?;
        // What was parsed, written again, is the line: nothing is spelled in two ways.
        SPELLED.with_borrow_mut(|spelled| {
            spelled.clear();
            text::write_json(spelled, &members);
            if spelled == line {
                Ok(Self { members, values })
            } else {
                Err(NotARecord("not in canonical form"))
            }
        })
    }

    pub(crate) fn seq(&self) -> u64 {
        self.members.seq
    }

    /// In milliseconds since 1970.
    pub(crate) fn time(&self) -> u64 {
        self.values.time
    }

    pub(crate) fn clock_set_back(&self) -> bool {
        self.members.clock.is_some()
    }

    pub(crate) fn operation(&self) -> &str {
        &self.members.operation
    }

    pub(crate) fn prev(&self) -> &Hash {
        &self.values.prev
    }

    pub(crate) fn mac(&self) -> &[u8; 32] {
        &self.values.mac
    }

    /// A detail, of records of the log itself.
    pub(crate) fn detail(&self, name: &str) -> Option<&str> {
        self.members.detail.iter().find(|(known, _)| known.0 == name).map(|(_, value)| &*value.0)
    }

    /// The same on its own.
    pub(crate) fn record(&self) -> Record {
        let Self { members, values } = self;
        let owned = |text: &Option<Text<'_>>| text.as_ref().map(|text| text.0.as_ref().to_owned());
        let entry = Entry {
            actor: Some(members.actor.as_ref().to_owned()),
            operation: members.operation.as_ref().to_owned().into(),
            outcome: values.outcome,
            provider: owned(&members.provider),
            key: owned(&members.key),
            key_version: owned(&members.key_version),
            envelope: values.envelope,
            generation: members.generation,
            error: owned(&members.error).map(Into::into),
            rule: owned(&members.rule),
            request: owned(&members.request),
            context: map(&members.context),
            detail: map(&members.detail),
        };
        Record {
            seq: self.seq(),
            time: values.time,
            clock_set_back: self.clock_set_back(),
            entry,
            prev: values.prev,
            mac: values.mac,
        }
    }
}

/// A string that is borrowed from the line where it has no escapes, also behind an `Option`, where serde copies a `Cow`.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

/// The members, in their order.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Members<'a> {
    #[serde(borrow)]
    pub(super) actor: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) clock: Option<Text<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub(super) context: Vec<(Text<'a>, Text<'a>)>,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub(super) detail: Vec<(Text<'a>, Text<'a>)>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) envelope: Option<Text<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<Text<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) generation: Option<u32>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<Text<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) key_version: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) mac: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) operation: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) outcome: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) prev: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) provider: Option<Text<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) request: Option<Text<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) rule: Option<Text<'a>>,
    pub(super) seq: u64,
    #[serde(borrow)]
    pub(super) time: Cow<'a, str>,
    pub(super) v: u8,
}

impl Members<'_> {
    /// Whether each is one that a record may have.
    pub(super) fn check(&self) -> Result<Values, NotARecord> {
        if self.v != 1 {
            return Err(NotARecord("another version"));
        }
        if !(1..=1024).contains(&self.actor.len()) {
            return Err(NotARecord("actor"));
        }
        if !text::is_word(&self.operation) {
            return Err(NotARecord("operation"));
        }
        if self.error.as_ref().is_some_and(|word| !text::is_word(&word.0)) {
            return Err(NotARecord("error"));
        }
        if self.clock.as_ref().is_some_and(|word| word.0 != SET_BACK) {
            return Err(NotARecord("clock"));
        }
        if !(1..=MAX_INTEGER).contains(&self.seq) {
            return Err(NotARecord("seq"));
        }
        let outcome = Outcome::named(&self.outcome).ok_or(NotARecord("outcome"))?;
        let bounded = [
            (&self.provider, 64, "provider"),
            (&self.key, 2048, "key"),
            (&self.key_version, 512, "key_version"),
            (&self.rule, 256, "rule"),
            (&self.request, 128, "request"),
        ];
        for (value, limit, what) in bounded {
            if value.as_ref().is_some_and(|text| !(1..=limit).contains(&text.0.len())) {
                return Err(NotARecord(what));
            }
        }
        for (pairs, what) in [(&self.context, "context"), (&self.detail, "detail")] {
            if !pairs.is_sorted_by(|(one, _), (next, _)| one.0 < next.0) {
                return Err(NotARecord(what));
            }
        }
        let envelope = self.envelope.as_ref().map(|id| text::unhex(&id.0).ok_or(NotARecord("envelope")));
        Ok(Values {
            time: text::untime(&self.time).ok_or(NotARecord("time"))?,
            prev: text::unhex(&self.prev).ok_or(NotARecord("prev"))?,
            mac: text::unhex(&self.mac).ok_or(NotARecord("mac"))?,
            outcome,
            envelope: envelope.transpose()?,
        })
    }
}

fn map(pairs: &[(Text<'_>, Text<'_>)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| (name.0.as_ref().into(), value.0.as_ref().into())).collect()
}

pub(super) const SET_BACK: &str = "set-back";

thread_local! {
    /// Where lines are spelled again.
    static SPELLED: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
}
