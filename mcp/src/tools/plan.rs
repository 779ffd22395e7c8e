//! `rotation_plan`: from headers and descriptions alone. `envctl plan` asks each key for a throw-away wrap to learn its current
//! version; here its description says it, so that nothing is wrapped.

use std::collections::{BTreeMap, BTreeSet};

use envelope_sdk::{Header, KeyState, KeyUri};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Tool,
    envelopes::{Said, Seen, scan},
    keys::MAX_KEY,
};
use crate::{Estimate, Failure, Kind, Look, call::Call, cursor, times, words};

pub(super) struct RotationPlan;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// The keys that alone shall open everything: URIs, aliases or bare names. Those of the configuration, unless it is said.
    #[serde(default)]
    to: Vec<String>,
    /// Other keys that open what there is, for the time of the job: URIs, aliases or bare names. Those of the configuration, unless
    /// it is said. Those of `to` open, too.
    #[serde(default)]
    from: Vec<String>,
    /// Whether everything gets a new DEK: what a rewrap does not change is encrypted anew.
    #[serde(default)]
    reencrypt: bool,
    /// Only files last written before: a day, or a time such as 2026-11-29T10:00:00Z.
    #[serde(default)]
    older_than: Option<String>,
    /// A folder that is served or one below, or the URL of a configured bucket. Everything, unless it is said.
    #[serde(default)]
    under: Option<String>,
    /// Most calls to a key store in a second, as the job would be told.
    #[serde(default)]
    rate: Option<u32>,
    /// `next_cursor` of the answer before. The counts are of this part alone: add them up.
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Output {
    /// The keys that would open everything, and their current versions.
    to: Vec<Wanted>,
    examined: u64,
    envelopes: u64,
    to_change: u64,
    in_target_state: u64,
    reasons: Vec<Reason>,
    /// Calls that the changes take at most, what they cost, and how long they take.
    calls: Vec<Estimate>,
    /// Envelopes that would be changed and that none of these keys opens: a job could not.
    not_opened: u64,
    /// The first of them.
    not_opened_examples: Vec<String>,
    hidden_by_policy: u64,
    unreadable: u64,
    unreadable_examples: Vec<String>,
    /// What a person runs to see the same, and then to do it; null where a name does not fit into a command as it is shown.
    commands_for_a_person: Option<Vec<String>>,
    next_cursor: Option<String>,
    unverified: String,
}

/// A key that shall open everything.
#[derive(Serialize, JsonSchema)]
struct Wanted {
    key: String,
    version: String,
    #[serde(skip)]
    uri: Option<KeyUri>,
}

#[derive(Serialize, JsonSchema)]
struct Reason {
    /// `missing-recipient`, `extra-recipient`, `old-version`, `older-than`, `new-dek` or `passphrase-unknown`.
    reason: String,
    envelopes: u64,
}

impl Tool for RotationPlan {
    const NAME: &'static str = "rotation_plan";
    const TITLE: &'static str = "Plan a rotation";
    const DESCRIPTION: &'static str = "A dry run: which encrypted files would change if the given keys, in their current versions, alone were to open \
        everything; why; how many calls to key stores that takes, what they cost and how many hours. Nothing is wrapped or changed: a person runs the command.";
    const ASKS: Option<Look> = None;
    type Input = Input;
    type Output = Output;

    async fn call(call: Call, input: Input) -> Result<Output, Failure> {
        let after = cursor::read(&call.asked, input.cursor.as_deref())?;
        let older_than =
            input.older_than.as_deref().map(|text| times::parse("older_than", text)).transpose()?;
        let keys = std::sync::Arc::clone(&call.facade.keys);
        let configured = keys.configured();
        let wanted = wanted(&call, &input.to, &configured.encrypt).await?;
        let from: Vec<_> = match input.from.as_slice() {
            [] => configured
                .encrypt
                .iter()
                .chain(&configured.decrypt)
                .map(|key| key.as_str().to_owned())
                .collect(),
            from => from.to_vec(),
        };
        if from.len() > MOST_OPENING {
            return Err(Failure::usage(format!("`from` names more than {MOST_OPENING} keys")));
        }
        let opening = opening(&call, &from, &wanted).await;
        let goal = Goal { wanted: &wanted, reencrypt: input.reencrypt, older_than };
        let mut plan = Counts::default();
        let scanned = scan(&call, input.under.as_deref(), after, MOST_EXAMINED, |seen| {
            let reasons = goal.reasons(seen);
            if reasons.is_empty() {
                plan.in_target_state += 1;
                return Said::On;
            }
            plan.to_change += 1;
            reasons.into_iter().for_each(|reason| *plan.reasons.entry(reason).or_default() += 1);
            let recipients = seen.header.recipients();
            let known = recipients.iter().find(|of| opening.contains(of.key_uri()));
            if known.is_none() {
                plan.not_opened += 1;
                if plan.examples.len() < 5 {
                    plan.examples.push(words::shown(&seen.name, words::MAX_NAME));
                }
            }
            if let Some(store) = known.or(recipients.first()).and_then(|of| keys.store_of(of.key_uri())) {
                *plan.calls.entry(store).or_default() += 1;
            }
            // Each wraps, and shows that it opens what it wrapped.
            for key in &wanted {
                if let Some(store) = key.uri.as_ref().and_then(|uri| keys.store_of(uri)) {
                    *plan.calls.entry(store).or_default() += 2;
                }
            }
            Said::On
        });
        let scanned = scanned.await?;
        let estimate = |(store, calls): (&&str, &u64)| call.facade.prices.estimate(store, *calls, input.rate);
        let reasons = plan.reasons.into_iter();
        Ok(Output {
            commands_for_a_person: commands(&call, &input, &wanted),
            to: wanted,
            examined: scanned.examined,
            envelopes: scanned.envelopes,
            to_change: plan.to_change,
            in_target_state: plan.in_target_state,
            reasons: reasons.map(|(reason, envelopes)| Reason { reason: reason.into(), envelopes }).collect(),
            calls: plan.calls.iter().map(estimate).collect(),
            not_opened: plan.not_opened,
            not_opened_examples: plan.examples,
            hidden_by_policy: scanned.hidden,
            unreadable: scanned.failed,
            unreadable_examples: scanned.failures,
            next_cursor: scanned.next.map(|place| cursor::write(&call.asked, &place)).transpose()?,
            unverified: words::UNVERIFIED.into(),
        })
    }
}

#[derive(Default)]
struct Counts {
    to_change: u64,
    in_target_state: u64,
    reasons: BTreeMap<&'static str, u64>,
    calls: BTreeMap<&'static str, u64>,
    not_opened: u64,
    examples: Vec<String>,
}

/// The keys that shall open everything, each of which must wrap.
async fn wanted(call: &Call, named: &[String], configured: &[KeyUri]) -> Result<Vec<Wanted>, Failure> {
    if named.len() > MOST_KEYS {
        return Err(Failure::usage(format!("an envelope has at most {MOST_KEYS} recipients")));
    }
    let of_configuration: Vec<_> = configured.iter().map(|key| key.as_str().to_owned()).collect();
    let names = if named.is_empty() { &of_configuration } else { named };
    if names.is_empty() {
        return Err(Failure::usage("`to` names no key, and neither does the configuration"));
    }
    let mut wanted = Vec::new();
    for name in names {
        let described = call.facade.keys.describe(&call.caller, name).await?;
        if described.state != KeyState::Active {
            let key = words::shown(described.uri.as_str(), MAX_KEY);
            return Err(Failure::new(
                Kind::KeyRefused,
                format!("{key} is {}, and wraps nothing", described.state),
            ));
        }
        let version = described.current().map(|current| current.version.clone()).unwrap_or_default();
        let (key, version) =
            (words::shown(described.uri.as_str(), MAX_KEY), words::shown(&version, words::MAX_NAME));
        wanted.push(Wanted { key, version, uri: Some(described.uri) });
    }
    Ok(wanted)
}

/// The keys that a job would open with, by the URIs that headers have.
async fn opening(call: &Call, names: &[String], wanted: &[Wanted]) -> BTreeSet<KeyUri> {
    let mut keys: BTreeSet<_> = wanted.iter().filter_map(|key| key.uri.clone()).collect();
    for name in names {
        match call.facade.keys.describe(&call.caller, name).await {
            Ok(described) => keys.insert(described.uri),
            // Its key store may be away: it is the same key then.
            Err(_) => KeyUri::parse(name).is_ok_and(|uri| keys.insert(uri)),
        };
    }
    keys
}

struct Goal<'a> {
    wanted: &'a [Wanted],
    reencrypt: bool,
    older_than: Option<u64>,
}

impl Goal<'_> {
    /// Why an envelope would be changed, each reason once; empty if it would not.
    fn reasons(&self, seen: &Seen) -> BTreeSet<&'static str> {
        let mut reasons = self.of_recipients(&seen.header);
        let written = seen.modified.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        match self.older_than {
            Some(time) if written.is_some_and(|written| written.as_secs() < time) => {
                reasons.insert("older-than");
            }
            None if self.reencrypt => {
                reasons.insert("new-dek");
            }
            _ => {}
        }
        reasons
    }

    fn of_recipients(&self, header: &Header) -> BTreeSet<&'static str> {
        let mut reasons = BTreeSet::new();
        let recipients = header.recipients();
        for wanted in self.wanted {
            let mut same =
                recipients.iter().filter(|of| Some(of.key_uri()) == wanted.uri.as_ref()).peekable();
            if same.peek().is_none() {
                reasons.insert("missing-recipient");
            } else if wanted.uri == Some(KeyUri::passphrase()) {
                reasons.insert("passphrase-unknown");
            } else if !same.any(|of| of.key_version() == wanted.version) {
                reasons.insert("old-version");
            }
        }
        let is_wanted = |uri: &KeyUri| self.wanted.iter().any(|wanted| wanted.uri.as_ref() == Some(uri));
        let is_extra = recipients.iter().any(|of| !is_wanted(of.key_uri()));
        // The same key twice, in an old version and in the current one.
        if is_extra || (reasons.is_empty() && recipients.len() > self.wanted.len()) {
            reasons.insert("extra-recipient");
        }
        reasons
    }
}

fn commands(call: &Call, input: &Input, wanted: &[Wanted]) -> Option<Vec<String>> {
    // A call of envctl goes through files or through objects, not both.
    let places: Vec<Vec<String>> = match &input.under {
        Some(under) => vec![vec![quoted(under)]],
        None => {
            let folders = call.facade.roots.folders().map(|folder| folder.to_str().map(quoted));
            let buckets = call.facade.buckets.urls();
            vec![folders.collect::<Option<_>>()?, buckets.iter().map(|url| quoted(url)).collect()]
        }
    };
    let mut arguments = String::new();
    for key in wanted {
        arguments.push_str(&format!(" --to {}", quoted(key.uri.as_ref()?.as_str())));
    }
    for key in &input.from {
        arguments.push_str(&format!(" --from {}", quoted(key)));
    }
    if input.reencrypt {
        arguments.push_str(" --reencrypt");
    }
    if let Some(time) = &input.older_than {
        arguments.push_str(&format!(" --older-than {}", quoted(time)));
    }
    let places = places.iter().filter(|places| !places.is_empty()).map(|places| places.join(" "));
    let commands = places.enumerate().flat_map(|(number, places)| {
        // Each job has a checkpoint of its own.
        let job = if number == 0 { "rotation".to_owned() } else { format!("rotation-{}", number + 1) };
        [
            format!("envctl plan {places}{arguments}"),
            format!("envctl rotate {places}{arguments} --resume {job}.checkpoint --report {job}.json"),
        ]
    });
    let commands: Vec<_> = commands.collect();
    // One that was cut or escaped would do something else than is meant.
    let is_whole = commands.iter().all(|command| words::shown(command, words::MAX_STRING) == *command);
    is_whole.then_some(commands)
}

/// For a POSIX shell.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._:-@%+=,".contains(&byte);
    if !word.is_empty() && !word.starts_with('-') && word.bytes().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Files that one call looks at.
const MOST_EXAMINED: u64 = 100_000;
const MOST_KEYS: usize = 16;
const MOST_OPENING: usize = 64;

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn what_a_shell_would_read_otherwise_is_quoted() {
        assert_eq!(quoted("/srv/a-b"), "/srv/a-b");
        assert_eq!(quoted("-rf"), "'-rf'");
        assert_eq!(quoted("a'; rm -rf ~; '"), r"'a'\''; rm -rf ~; '\'''");
    }
}
