//! `list_keys`, `describe_key` and `keys_due`.

use envelope_sdk::{
    KeyDescription, KeyState, KeyVersionDescription,
    admin::{Detail, Details},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Tool;
use crate::{Failure, Look, answer::Page, call::Call, cursor, times, words};

/// A key, in a list.
#[derive(Serialize, JsonSchema)]
pub(super) struct Key {
    key: String,
    /// The name of its key store.
    store: String,
    /// `pre-active`, `active`, `suspended`, `deactivated`, `compromised` or `destroyed`.
    state: String,
    archived: bool,
    /// Whether its cryptoperiod is over and it still wraps.
    due: bool,
    /// The version that wraps.
    current_version: Option<String>,
    versions: u64,
    /// When the use of the current version should end.
    not_after: Option<String>,
    /// False: read from a file whose MAC nobody checked, since that takes a passphrase.
    authenticated: bool,
}

impl Key {
    fn of(key: &KeyDescription, store: &str, authenticated: bool) -> Self {
        let current = key.current();
        Self {
            key: words::shown(key.uri.as_str(), MAX_KEY),
            store: store.into(),
            state: key.state.name().into(),
            archived: key.archived,
            due: key.is_due(times::now()),
            current_version: current.map(|version| words::shown(&version.version, words::MAX_NAME)),
            versions: key.versions.len() as u64,
            not_after: current.and_then(|version| version.not_after).map(times::shown),
            authenticated,
        }
    }
}

/// A key store that gave no list.
#[derive(Serialize, JsonSchema)]
pub(super) struct Unavailable {
    store: String,
    error: String,
}

/// Where a list goes on: the number of the key store, its page, and how many keys of that were told.
#[derive(Clone, Default, Serialize, Deserialize)]
struct At(usize, Option<String>, usize);

struct Listed<T> {
    page: Page<T>,
    unavailable: Vec<Unavailable>,
    next: Option<At>,
}

/// Goes through the lists of key stores, or of one of them.
async fn list<T: Serialize>(
    call: &Call,
    store: Option<&str>,
    mut at: At,
    mut page: Page<T>,
    mut of: impl FnMut(&KeyDescription, &str, bool) -> Option<T>,
) -> Result<Listed<T>, Failure> {
    let keys = &call.facade.keys;
    let mut stores = keys.stores();
    if let Some(store) = store {
        stores.retain(|known| known.name == store);
        if stores.is_empty() {
            let known: Vec<_> = keys.stores().iter().map(|store| store.name).collect();
            return Err(Failure::usage(format!("a key store is one of {}", known.join(", "))));
        }
    }
    let (mut unavailable, mut asked) = (Vec::new(), 0);
    while let Some(store) = stores.get(at.0) {
        if asked == MOST_PAGES {
            return Ok(Listed { page, unavailable, next: Some(at) });
        }
        asked += 1;
        let listed = match keys.list(&call.caller, store.name, at.1.as_deref()).await {
            Ok(listed) => listed,
            Err(failure) => {
                let error = words::shown(&failure.message, words::MAX_NAME);
                unavailable.push(Unavailable { store: store.name.into(), error });
                at = At(at.0 + 1, None, 0);
                continue;
            }
        };
        for (number, key) in listed.keys.iter().enumerate().skip(at.2) {
            let Some(item) = of(key, store.name, store.is_authenticated) else { continue };
            if page.add(item).is_err() {
                return Ok(Listed { page, unavailable, next: Some(At(at.0, at.1, number)) });
            }
        }
        at = match listed.next {
            // A page that comes again would come for ever.
            next if next.is_none() || next == at.1 => At(at.0 + 1, None, 0),
            next => At(at.0, next, 0),
        };
    }
    Ok(Listed { page, unavailable, next: None })
}

pub(super) struct ListKeys;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListInput {
    /// The key store: `local`, `aws`, … All, unless it is said.
    #[serde(default)]
    store: Option<String>,
    /// Only keys in this state: `active`, `compromised`, …
    #[serde(default)]
    state: Option<String>,
    /// Most keys of this answer, 1 to 200. 50, unless it is said.
    #[serde(default)]
    limit: Option<u32>,
    /// `next_cursor` of the answer before.
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ListOutput {
    keys: Vec<Key>,
    /// Key stores that refuse or do not answer.
    unavailable: Vec<Unavailable>,
    /// There is more: ask again with it. Null at the end.
    next_cursor: Option<String>,
    unverified: String,
}

impl Tool for ListKeys {
    const NAME: &'static str = "list_keys";
    const TITLE: &'static str = "List keys";
    const DESCRIPTION: &'static str = "Lists the keys of the configured key stores: URI, state, current version, end of the cryptoperiod. Key material is \
        never read. Keys of the local keystore are read without its passphrase, and are not authenticated.";
    const ASKS: Option<Look> = None;
    type Input = ListInput;
    type Output = ListOutput;

    async fn call(call: Call, input: ListInput) -> Result<ListOutput, Failure> {
        let state = input.state.as_deref().map(state).transpose()?;
        let at = cursor::read(&call.asked, input.cursor.as_deref())?.unwrap_or_default();
        let wanted = |key: &KeyDescription, store: &str, authenticated| {
            state.is_none_or(|state| key.state == state).then(|| Key::of(key, store, authenticated))
        };
        let listed = list(&call, input.store.as_deref(), at, Page::new(input.limit), wanted).await?;
        Ok(ListOutput {
            keys: listed.page.items,
            unavailable: listed.unavailable,
            next_cursor: listed.next.map(|at| cursor::write(&call.asked, &at)).transpose()?,
            unverified: words::UNVERIFIED.into(),
        })
    }
}

fn state(name: &str) -> Result<KeyState, Failure> {
    KeyState::from_name(name).ok_or_else(|| {
        let known: Vec<_> = KeyState::ALL.iter().map(|state| state.name()).collect();
        Failure::usage(format!("a state is one of {}", known.join(", ")))
    })
}

pub(super) struct DescribeKey;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DescribeInput {
    /// A key URI, an alias of the configuration, or the bare name of a key.
    key: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct DescribeOutput {
    key: Key,
    /// The oldest first; of more than 40, the newest.
    versions: Vec<Version>,
    versions_left_out: u64,
    /// What the key store tells besides, each as NAME=VALUE.
    details: Vec<String>,
    unverified: String,
}

#[derive(Serialize, JsonSchema)]
struct Version {
    version: String,
    state: String,
    created: Option<String>,
    not_after: Option<String>,
    due: bool,
}

impl Version {
    fn of(version: &KeyVersionDescription) -> Self {
        Self {
            version: words::shown(&version.version, 64),
            state: version.state.name().into(),
            created: version.created.map(times::shown),
            not_after: version.not_after.map(times::shown),
            due: version.is_due(times::now()),
        }
    }
}

impl Tool for DescribeKey {
    const NAME: &'static str = "describe_key";
    const TITLE: &'static str = "Describe a key";
    const DESCRIPTION: &'static str = "Tells the state, versions and dates of one key, and what its key store says of it besides. Never key material.";
    const ASKS: Option<Look> = None;
    type Input = DescribeInput;
    type Output = DescribeOutput;

    async fn call(call: Call, input: DescribeInput) -> Result<DescribeOutput, Failure> {
        let keys = &call.facade.keys;
        let key = keys.describe(&call.caller, &input.key).await?;
        let store = keys.store_of(&key.uri).unwrap_or_default();
        let authenticated = keys.stores().iter().any(|known| known.name == store && known.is_authenticated);
        let left_out = key.versions.len().saturating_sub(MOST_VERSIONS);
        let mut details = Vec::new();
        flatten(&key.details, "", &mut details);
        Ok(DescribeOutput {
            versions: key.versions.iter().skip(left_out).map(Version::of).collect(),
            versions_left_out: left_out as u64,
            key: Key::of(&key, store, authenticated),
            details,
            unverified: words::UNVERIFIED.into(),
        })
    }
}

/// `a.b=value`, so far as there is room.
pub(super) fn flatten(details: &Details, before: &str, out: &mut Vec<String>) {
    for (name, detail) in details.iter() {
        flatten_one(&format!("{before}{name}"), detail, out);
    }
}

fn flatten_one(name: &str, detail: &Detail, out: &mut Vec<String>) {
    if out.len() >= MOST_DETAILS {
        return;
    }
    let value = match detail {
        Detail::Text(text) => text.clone(),
        Detail::Number(number) => number.to_string(),
        Detail::Flag(is) => is.to_string(),
        Detail::Time(seconds) => times::shown(*seconds),
        Detail::Table(details) => return flatten(details, &format!("{name}."), out),
        Detail::List(list) => return list.iter().for_each(|detail| flatten_one(name, detail, out)),
        _ => return,
    };
    out.push(words::shown(&format!("{name}={value}"), 120));
}

pub(super) struct KeysDue;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DueInput {
    /// Keys that are due by then: a day, or a time such as 2026-11-29T10:00:00Z. In 30 days, unless it is said.
    #[serde(default)]
    by: Option<String>,
    /// The key store. All, unless it is said.
    #[serde(default)]
    store: Option<String>,
    /// Most keys of this answer, 1 to 200. 50, unless it is said.
    #[serde(default)]
    limit: Option<u32>,
    /// `next_cursor` of the answer before.
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct DueOutput {
    /// Active keys whose current version should wrap no longer then.
    keys: Vec<DueKey>,
    by: String,
    /// Active keys of this page without an end of their use: nothing says when they are due.
    without_end: u64,
    unavailable: Vec<Unavailable>,
    next_cursor: Option<String>,
    unverified: String,
}

#[derive(Serialize, JsonSchema)]
struct DueKey {
    key: String,
    store: String,
    version: String,
    not_after: String,
    /// Whole days from now; below zero where it is past.
    days_left: i64,
    authenticated: bool,
}

impl Tool for KeysDue {
    const NAME: &'static str = "keys_due";
    const TITLE: &'static str = "Keys that are due";
    const DESCRIPTION: &'static str = "Lists the active keys whose cryptoperiod is over, or will be by a day: they should be rotated before. A key without \
        an end of its use is counted, not listed.";
    const ASKS: Option<Look> = None;
    type Input = DueInput;
    type Output = DueOutput;

    async fn call(call: Call, input: DueInput) -> Result<DueOutput, Failure> {
        let now = times::now();
        let by = match &input.by {
            Some(by) => times::parse("by", by)?,
            None => now.saturating_add(30 * DAY),
        };
        let at = cursor::read(&call.asked, input.cursor.as_deref())?.unwrap_or_default();
        let mut without_end = 0;
        let due = |key: &KeyDescription, store: &str, authenticated| {
            let current = key.current().filter(|_| key.state == KeyState::Active)?;
            let Some(end) = current.not_after else {
                without_end += 1;
                return None;
            };
            let seconds = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
            (end <= by).then(|| DueKey {
                key: words::shown(key.uri.as_str(), MAX_KEY),
                store: store.into(),
                version: words::shown(&current.version, words::MAX_NAME),
                not_after: times::shown(end),
                days_left: (seconds(end) - seconds(now)).div_euclid(DAY.cast_signed()),
                authenticated,
            })
        };
        let listed = list(&call, input.store.as_deref(), at, Page::new(input.limit), due).await?;
        Ok(DueOutput {
            keys: listed.page.items,
            by: times::shown(by),
            without_end,
            unavailable: listed.unavailable,
            next_cursor: listed.next.map(|at| cursor::write(&call.asked, &at)).transpose()?,
            unverified: words::UNVERIFIED.into(),
        })
    }
}

/// Bytes of a key URI that are shown.
pub(super) const MAX_KEY: usize = 512;
/// Pages of key stores that one call asks for.
const MOST_PAGES: usize = 100;
const MOST_VERSIONS: usize = 40;
const MOST_DETAILS: usize = 30;
const DAY: u64 = 86_400;
