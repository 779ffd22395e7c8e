//! `find_envelopes`.

use envelope_sdk::{Header, KeyUri, pattern::Pattern};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Tool,
    envelopes::{Said, Seen, scan},
    keys::MAX_KEY,
};
use crate::{Failure, Look, answer::Page, call::Call, cursor, times, words};

pub(super) struct FindEnvelopes;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// Only what this key opens: a key URI (`*` for any characters), an alias, or the bare name of a key.
    #[serde(default)]
    key: Option<String>,
    /// Only what this version of it opens.
    #[serde(default)]
    version: Option<String>,
    /// Only what no other key opens: lost with it.
    #[serde(default)]
    alone: bool,
    /// Only files last written before: a day, or a time such as 2026-11-29T10:00:00Z.
    #[serde(default)]
    modified_before: Option<String>,
    /// Only files last written then or later.
    #[serde(default)]
    modified_since: Option<String>,
    /// Only envelopes whose context has an entry of this name, stored or withheld.
    #[serde(default)]
    context_name: Option<String>,
    /// Only those whose stored entry of that name has this value.
    #[serde(default)]
    context_value: Option<String>,
    /// A folder that is served or one below, or the URL of a configured bucket. Everything, unless it is said.
    #[serde(default)]
    under: Option<String>,
    /// Most envelopes of this answer, 1 to 200. 50, unless it is said.
    #[serde(default)]
    limit: Option<u32>,
    /// `next_cursor` of the answer before.
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Output {
    envelopes: Vec<Envelope>,
    /// Files and objects that were looked at for this answer.
    examined: u64,
    /// Envelopes that the policy does not show.
    hidden_by_policy: u64,
    /// Files that may be envelopes and could not be read: they are in no answer.
    unreadable: u64,
    /// The first of them.
    unreadable_examples: Vec<String>,
    /// There may be more: ask again with it, also where this page is empty. Null at the end.
    next_cursor: Option<String>,
    unverified: String,
}

#[derive(Serialize, JsonSchema)]
struct Envelope {
    /// A path, or the name of an object.
    path: String,
    envelope_id: String,
    generation: u32,
    modified: Option<String>,
    armored: bool,
    /// Each as KEY or KEY#VERSION.
    opened_by: Vec<String>,
    context_names: Vec<String>,
}

impl Envelope {
    fn of(seen: &Seen) -> Self {
        let header = &seen.header;
        let opened_by = header.recipients().iter().map(|of| match of.key_version() {
            "" => words::shown(of.key_uri().as_str(), MAX_KEY),
            version => {
                format!("{}#{}", words::shown(of.key_uri().as_str(), MAX_KEY), words::shown(version, 64))
            }
        });
        let names = header.stored_context().keys().chain(header.withheld()).take(MOST_NAMES);
        Self {
            path: seen.name.clone(),
            envelope_id: words::hex(header.envelope_id()),
            generation: header.generation(),
            modified: times::of_file(seen.modified),
            armored: seen.is_armored,
            opened_by: opened_by.collect(),
            context_names: names.map(|name| words::shown(name, 64)).collect(),
        }
    }
}

impl Tool for FindEnvelopes {
    const NAME: &'static str = "find_envelopes";
    const TITLE: &'static str = "Find envelopes";
    const DESCRIPTION: &'static str = "Finds encrypted files below the served folders and in the configured buckets by key, version, age and context \
        name, from their headers alone. With `alone` it finds what only that key opens. Nothing is decrypted or verified.";
    const ASKS: Option<Look> = None;
    type Input = Input;
    type Output = Output;

    async fn call(call: Call, input: Input) -> Result<Output, Failure> {
        let after = cursor::read(&call.asked, input.cursor.as_deref())?;
        let wanted = Wanted::of(&call, &input).await?;
        let mut page = Page::new(input.limit);
        let scanned = scan(&call, input.under.as_deref(), after, MOST_EXAMINED, |seen| {
            if !wanted.fits(seen) {
                return Said::On;
            }
            if page.add(Envelope::of(seen)).is_ok() { Said::On } else { Said::NoRoom }
        });
        let scanned = scanned.await?;
        Ok(Output {
            envelopes: page.items,
            examined: scanned.examined,
            hidden_by_policy: scanned.hidden,
            unreadable: scanned.failed,
            unreadable_examples: scanned.failures,
            next_cursor: scanned.next.map(|place| cursor::write(&call.asked, &place)).transpose()?,
            unverified: words::UNVERIFIED.into(),
        })
    }
}

/// What envelopes are looked for.
struct Wanted {
    key: Option<Pattern>,
    version: Option<String>,
    alone: bool,
    before: Option<u64>,
    since: Option<u64>,
    name: Option<String>,
    value: Option<String>,
}

impl Wanted {
    async fn of(call: &Call, input: &Input) -> Result<Self, Failure> {
        if input.version.is_some() && input.key.is_none() {
            return Err(Failure::usage("`version` is one of a `key`"));
        }
        if input.context_value.is_some() && input.context_name.is_none() {
            return Err(Failure::usage("`context_value` is that of a `context_name`"));
        }
        check_pattern("key", input.key.as_deref())?;
        let key = match &input.key {
            Some(key) => Some(Pattern::new(&meant(call, key).await)),
            None => None,
        };
        let time = |name: &str, text: &Option<String>| {
            text.as_deref().map(|text| times::parse(name, text)).transpose()
        };
        Ok(Self {
            key,
            version: input.version.clone(),
            alone: input.alone,
            before: time("modified_before", &input.modified_before)?,
            since: time("modified_since", &input.modified_since)?,
            name: input.context_name.clone(),
            value: input.context_value.clone(),
        })
    }

    fn fits(&self, seen: &Seen) -> bool {
        self.fits_keys(&seen.header) && self.fits_context(&seen.header) && self.fits_age(seen)
    }

    fn fits_keys(&self, header: &Header) -> bool {
        let recipients = header.recipients();
        let is_wanted = |of: &envelope_sdk::WrappedDek| {
            self.key.as_ref().is_none_or(|key| key.matches(of.key_uri().as_str()))
                && self.version.as_deref().is_none_or(|version| version == of.key_version())
        };
        // Of a key in several versions, each opens it: what counts is that no other key does.
        let is_alone = || match &self.key {
            Some(key) => recipients.iter().all(|of| key.matches(of.key_uri().as_str())),
            None => recipients.len() == 1,
        };
        recipients.iter().any(is_wanted) && (!self.alone || is_alone())
    }

    fn fits_context(&self, header: &Header) -> bool {
        let Some(name) = &self.name else { return true };
        match (&self.value, header.stored_context().get(name)) {
            (Some(value), stored) => stored == Some(value),
            (None, Some(_)) => true,
            (None, None) => header.withheld().contains(name),
        }
    }

    fn fits_age(&self, seen: &Seen) -> bool {
        if self.before.is_none() && self.since.is_none() {
            return true;
        }
        let age = seen.modified.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        // Of what nobody knows when it was written, nothing can be said.
        age.map(|age| age.as_secs()).is_some_and(|written| {
            self.before.is_none_or(|before| written < before)
                && self.since.is_none_or(|since| written >= since)
        })
    }
}

/// The URI of a key that a client names; what names none that is known is looked for as it stands.
pub(super) async fn meant(call: &Call, key: &str) -> String {
    if key.contains('*') {
        return key.to_owned();
    }
    match call.facade.keys.describe(&call.caller, key).await {
        Ok(described) => described.uri.as_str().to_owned(),
        Err(_) => key.to_owned(),
    }
}

/// A pattern is compared with every key of every envelope or record, each time from end to end.
pub(super) fn check_pattern(name: &str, pattern: Option<&str>) -> Result<(), Failure> {
    if pattern.is_some_and(|pattern| pattern.len() > KeyUri::MAX_LEN) {
        return Err(Failure::usage(format!("`{name}` has at most {} bytes", KeyUri::MAX_LEN)));
    }
    Ok(())
}

/// Files that one call looks at: a second or so.
const MOST_EXAMINED: u64 = 20_000;
const MOST_NAMES: usize = 16;
