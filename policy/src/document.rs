//! The text of a policy.

use std::collections::BTreeMap;

use envelope_sdk::{KeyState, format::MAX_RECIPIENTS};
use serde::Deserialize;

use crate::{
    Operation, Policy, PolicyId,
    buckets::Buckets,
    pattern::Pattern,
    policy::USES,
    rule::{ALL_OPERATIONS, Effect, Entry, Require, Rule, Wanted, bit},
    time::{Window, WindowWords},
};

/// Why a text is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// It is no TOML, or has words that a policy has not.
    #[error("{0}")]
    Text(String),
    /// A rule is not right.
    #[error("rule {rule}: {what}")]
    Rule {
        /// Its name, or its number where it has none.
        rule: String,
        /// What is wrong.
        what: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Words {
    version: u32,
    #[serde(default)]
    default: Option<EffectWord>,
    #[serde(default)]
    actor: Vec<ActorWords>,
    #[serde(default)]
    rule: Vec<RuleWords>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ActorWords {
    name: String,
    tenant: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RuleWords {
    name: String,
    effect: EffectWord,
    actor: Option<Vec<String>>,
    operation: Option<Vec<String>>,
    key: Option<Vec<String>>,
    #[serde(default)]
    context: BTreeMap<String, String>,
    time: Option<WindowWords>,
    require: Option<RequireWords>,
    limit: Option<String>,
    burst: Option<u32>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum EffectWord {
    Allow,
    Deny,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct RequireWords {
    context: BTreeMap<String, String>,
    recipients: Option<usize>,
    post_quantum_safe: bool,
    states: Option<Vec<String>>,
    within_cryptoperiod: bool,
}

impl RequireWords {
    /// Whether it has more than the context, which is looked at for whatever is done.
    fn is_of_uses(&self) -> bool {
        let Self { context: _, recipients, post_quantum_safe, states, within_cryptoperiod } = self;
        recipients.is_some() || *post_quantum_safe || states.is_some() || *within_cryptoperiod
    }
}

pub(crate) fn parse(text: &str) -> Result<Policy, PolicyError> {
    if text.len() > MAX_LEN {
        return Err(PolicyError::Text("it is longer than 1 MiB".into()));
    }
    let words: Words = toml::from_str(text).map_err(|error| PolicyError::Text(told(text, &error)))?;
    if words.version != 1 {
        return Err(PolicyError::Text(format!("version {} is not known here: 1 is", words.version)));
    }
    let mut rules: Vec<Rule> = Vec::with_capacity(words.rule.len());
    for (at, rule) in words.rule.into_iter().enumerate() {
        let shown = if is_name(&rule.name) { format!("`{}`", rule.name) } else { format!("{}", at + 1) };
        let wrong = |what| PolicyError::Rule { rule: shown.clone(), what };
        let rule = of_words(rule).map_err(wrong)?;
        if rules.iter().any(|known| known.name == rule.name) {
            return Err(wrong("another one has that name".into()));
        }
        rules.push(rule);
    }
    let default = words.default.map_or(Effect::Allow, effect);
    let tenants = words.actor.into_iter().map(|actor| (Pattern::new(&actor.name), actor.tenant.into()));
    let is_timed = rules.iter().any(|rule| rule.time.is_some());
    Ok(Policy { id: PolicyId::of(text), default, tenants: tenants.collect(), rules: rules.into(), is_timed })
}

fn of_words(words: RuleWords) -> Result<Rule, String> {
    if !is_name(&words.name) {
        return Err("a name is 1 to 64 lower-case letters, digits and hyphens".into());
    }
    let effect = effect(words.effect);
    if effect == Effect::Deny && (words.require.is_some() || words.limit.is_some()) {
        return Err("`require` and `limit` are for what is allowed".into());
    }
    if words.burst.is_some() && words.limit.is_none() {
        return Err("`burst` is that of a `limit`".into());
    }
    let limit = words.limit.map(|limit| Buckets::new(&limit, words.burst)).transpose()?;
    let actors = words.actor.map(|actors| some("actor", actors)).transpose()?;
    let operations = words.operation.map_or(Ok(ALL_OPERATIONS), operations)?;
    let uses = USES.into_iter().any(|operation| operations & bit(operation) != 0);
    if !uses && words.require.as_ref().is_some_and(RequireWords::is_of_uses) {
        return Err("`require` but for its `context` is of wrap, unwrap and rewrap, and of what the rule names holds \
                    nothing back"
            .into());
    }
    let keys = words.key.map(|keys| some("key", keys)).transpose()?;
    let names_one = |key: &String| key.starts_with("pkcs11:") && key != "pkcs11:*";
    if effect == Effect::Deny && keys.iter().flatten().any(names_one) {
        return Err("`key`: a key of a token has many names (object, id, token, serial), and a denial of one would be \
                    passed by under another: allow what may be used, and deny `pkcs11:*` behind that"
            .into());
    }
    Ok(Rule {
        name: words.name.into(),
        effect,
        actors: actors
            .map(|actors| actors.iter().map(|actor| of_actors(actor)).collect::<Result<_, _>>())
            .transpose()?,
        operations,
        keys: keys
            .map(|keys| {
                let pattern = |key: &String| Pattern::of_keys(key).map_err(|what| format!("`key`: {what}"));
                keys.iter().map(pattern).collect::<Result<_, _>>()
            })
            .transpose()?,
        context: entries(words.context)?,
        time: words.time.as_ref().map(Window::of).transpose()?,
        require: words.require.map_or_else(|| Ok(Require::default()), require)?,
        limit,
    })
}

fn require(words: RequireWords) -> Result<Require, String> {
    let state = |name: &String| {
        KeyState::from_name(name).ok_or_else(|| {
            let known: Vec<_> = KeyState::ALL.iter().map(|state| state.name()).collect();
            format!("`require.states`: a state is one of {}", known.join(", "))
        })
    };
    let states = words.states.map(|states| some("require.states", states)).transpose()?;
    let states = states.map(|states| states.iter().map(state).collect::<Result<_, _>>()).transpose()?;
    if words.recipients.is_some_and(|least| !(1..=MAX_RECIPIENTS).contains(&least)) {
        return Err(format!("`require.recipients` is 1 to {MAX_RECIPIENTS}"));
    }
    Ok(Require {
        context: entries(words.context)?,
        recipients: words.recipients,
        post_quantum_safe: words.post_quantum_safe,
        states,
        within_cryptoperiod: words.within_cryptoperiod,
    })
}

fn operations(names: Vec<String>) -> Result<u32, String> {
    let mut bits = 0;
    for name in some("operation", names)? {
        let of_name = Operation::ALL
            .into_iter()
            .filter(|operation| operation.name() == name || operation.group() == name)
            .fold(0, |bits, operation| bits | bit(operation));
        if of_name == 0 {
            let known: Vec<_> = Operation::ALL.iter().map(|operation| operation.name()).collect();
            return Err(format!("an operation is use, look, manage, or one of {}", known.join(", ")));
        }
        bits |= of_name;
    }
    Ok(bits)
}

fn entries(context: BTreeMap<String, String>) -> Result<Box<[Entry]>, String> {
    let entry = |(name, value): (String, String)| {
        if name.is_empty() {
            return Err("an entry of the context has an empty name".to_owned());
        }
        let value = match value.as_str() {
            "*" => Wanted::Any,
            "$actor.tenant" => Wanted::Tenant,
            // For what may follow, and so that no typing error demands a dollar.
            text if text.starts_with('$') => return Err("after `$` there is `actor.tenant`".into()),
            text => Wanted::Text(text.into()),
        };
        Ok(Entry { name: name.into(), value })
    };
    context.into_iter().map(entry).collect()
}

fn of_actors(text: &str) -> Result<Pattern, String> {
    let kind = text.split_once(':').map(|(kind, _)| kind);
    if text == "*" || kind.is_some_and(|kind| ["library", "cli", "mcp"].contains(&kind)) {
        Ok(Pattern::new(text))
    } else {
        Err("an `actor` is library:NAME, cli:NAME or mcp:NAME, with `*` for any characters, or `*`".into())
    }
}

/// A list that is there has something in it: an empty one would match nothing, and could be meant to match all.
fn some(what: &str, list: Vec<String>) -> Result<Vec<String>, String> {
    if list.is_empty() { Err(format!("`{what}` is an empty list: leave it out for all")) } else { Ok(list) }
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn effect(word: EffectWord) -> Effect {
    match word {
        EffectWord::Allow => Effect::Allow,
        EffectWord::Deny => Effect::Deny,
    }
}

/// The parser's words on one line, with the number of the line that they are about.
fn told(text: &str, error: &toml::de::Error) -> String {
    let line =
        error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
    let message = envelope_sdk::printable::text(error.message());
    line.map_or_else(|| message.clone(), |line| format!("{message}, line {line}"))
}

const MAX_LEN: usize = 1 << 20;
