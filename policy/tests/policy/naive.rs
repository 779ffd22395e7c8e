//! A second evaluator, written from the README alone and as plainly as can be, agrees with the first.

use envelope_policy::{Actor, Operation, Policy, Request};
use envelope_sdk::{KeyState, KeyUri};

use super::{context, key};

/// A rule as text, and as the naive evaluator reads it.
#[derive(Debug, Clone, Default)]
struct Rule {
    allow: bool,
    actor: Option<Vec<&'static str>>,
    operation: Option<Vec<&'static str>>,
    key: Option<Vec<&'static str>>,
    context: Vec<(&'static str, &'static str)>,
    hours: Option<(u64, u64)>,
    required: Vec<(&'static str, &'static str)>,
    recipients: Option<usize>,
    states: Option<Vec<&'static str>>,
    due: bool,
    safe: bool,
}

const ACTORS: [&str; 4] = ["cli:alice", "cli:bob", "library:shop", "mcp:agent"];
const ACTOR_PATTERNS: [&str; 6] = ["*", "cli:*", "cli:alice", "library:shop", "mcp:*", "cli:*b"];
const KEYS: [&str; 4] = ["memory:a", "memory:ab", "memory:b", "other:a"];
const KEY_PATTERNS: [&str; 6] = ["*", "memory:*", "memory:a*", "memory:a", "other:*", "memory:*b"];
const OPERATIONS: [&str; 8] = ["use", "look", "manage", "wrap", "unwrap", "rewrap", "list", "destroy"];
const NAMES: [&str; 2] = ["tenant", "user"];
const VALUES: [&str; 3] = ["acme", "*", "$actor.tenant"];

/// xorshift64*, so that a seed says everything.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn sometimes<T>(&mut self, one_in: usize, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(one_in) == 0).then(|| make(self))
    }

    fn some(&mut self, of: &[&'static str]) -> Vec<&'static str> {
        (0..=self.below(2)).map(|_| self.one(of)).collect()
    }

    fn entries(&mut self) -> Vec<(&'static str, &'static str)> {
        vec![(self.one(&NAMES), self.one(&VALUES))]
    }

    fn rule(&mut self) -> Rule {
        let allow = self.below(2) == 0;
        let mut rule = Rule {
            allow,
            actor: self.sometimes(2, |random| random.some(&ACTOR_PATTERNS)),
            operation: self.sometimes(2, |random| random.some(&OPERATIONS)),
            key: self.sometimes(2, |random| random.some(&KEY_PATTERNS)),
            context: self.sometimes(4, Self::entries).unwrap_or_default(),
            hours: self.sometimes(4, |random| {
                let from = random.below(24) as u64;
                (from, (from + 1 + random.below(23) as u64) % 24)
            }),
            ..Rule::default()
        };
        if allow {
            rule.required = self.sometimes(4, Self::entries).unwrap_or_default();
        }
        let uses = |one: &&str| ["use", "wrap", "unwrap", "rewrap"].contains(one);
        if allow && rule.operation.as_ref().is_none_or(|all| all.iter().any(uses)) {
            rule.recipients = self.sometimes(4, |random| 1 + random.below(3));
            rule.states = self.sometimes(4, |random| random.some(&["active", "deactivated", "suspended"]));
            rule.due = self.below(4) == 0;
            rule.safe = self.below(4) == 0;
        }
        rule
    }
}

impl Rule {
    fn text(&self, number: usize) -> String {
        let effect = if self.allow { "allow" } else { "deny" };
        let mut text = format!("[[rule]]\nname = 'r{number}'\neffect = '{effect}'\n");
        for (name, list) in [("actor", &self.actor), ("operation", &self.operation), ("key", &self.key)] {
            if let Some(list) = list {
                text.push_str(&format!("{name} = {list:?}\n"));
            }
        }
        for (name, value) in &self.context {
            text.push_str(&format!("context = {{ {name} = '{value}' }}\n"));
        }
        if let Some((from, until)) = self.hours {
            text.push_str(&format!("time = {{ hours = '{from:02}:00-{until:02}:00' }}\n"));
        }
        let mut require = Vec::new();
        for (name, value) in &self.required {
            require.push(format!("context = {{ {name} = '{value}' }}"));
        }
        require.extend(self.recipients.map(|least| format!("recipients = {least}")));
        require.extend(self.states.as_ref().map(|states| format!("states = {states:?}")));
        require.extend(self.due.then(|| "within-cryptoperiod = true".to_owned()));
        require.extend(self.safe.then(|| "post-quantum-safe = true".to_owned()));
        if !require.is_empty() {
            text.push_str(&format!("require = {{ {} }}\n", require.join(", ")));
        }
        text
    }
}

/// What was asked, in the plainest form.
#[derive(Debug)]
struct Asked {
    actor: &'static str,
    tenant: Option<&'static str>,
    operation: Operation,
    key: Option<&'static str>,
    context: Option<Vec<(&'static str, &'static str)>>,
    recipients: usize,
    state: KeyState,
    due: bool,
    safe: bool,
    hour: u64,
}

/// `pattern` with one star at most, or a star alone.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => {
            text.len() >= before.len() + after.len() && text.starts_with(before) && text.ends_with(after)
        }
    }
}

fn has(asked: &Asked, entries: &[(&str, &str)]) -> bool {
    entries.iter().all(|(name, wanted)| {
        let there = asked.context.iter().flatten().find(|(known, _)| known == name).map(|(_, value)| *value);
        match (*wanted, there) {
            (_, None) => false,
            ("*", Some(_)) => true,
            ("$actor.tenant", value) => value == asked.tenant,
            (wanted, Some(value)) => value == wanted,
        }
    })
}

fn naively(rules: &[Rule], default_allows: bool, asked: &Asked) -> (bool, Option<usize>) {
    let group = |operation: Operation| match operation.name() {
        "wrap" | "unwrap" | "rewrap" => "use",
        "list" | "describe" | "inspect" | "survey" => "look",
        _ => "manage",
    };
    for (number, rule) in rules.iter().enumerate() {
        let about_actor = rule.actor.as_ref().is_none_or(|all| all.iter().any(|one| fits(one, asked.actor)));
        let about_operation = rule.operation.as_ref().is_none_or(|all| {
            all.iter().any(|one| *one == asked.operation.name() || *one == group(asked.operation))
        });
        let about_key =
            rule.key.as_ref().is_none_or(|all| all.iter().any(|one| fits(one, asked.key.unwrap_or(""))));
        let in_time = rule.hours.is_none_or(|(from, until)| {
            let mut hour = from;
            loop {
                if hour == asked.hour {
                    return true;
                }
                hour = (hour + 1) % 24;
                if hour == until {
                    return false;
                }
            }
        });
        if !(about_actor && about_operation && about_key && in_time && has(asked, &rule.context)) {
            continue;
        }
        if !rule.allow {
            return (false, Some(number));
        }
        let uses = group(asked.operation) == "use";
        let wraps = uses && asked.operation != Operation::Unwrap;
        let ok = has(asked, &rule.required)
            && (!wraps || rule.recipients.is_none_or(|least| asked.recipients >= least))
            && (!uses || rule.states.as_ref().is_none_or(|all| all.contains(&asked.state.name())))
            && (!wraps || !rule.due || !asked.due)
            && (!wraps || !rule.safe || asked.safe);
        return (ok, Some(number));
    }
    (default_allows && !asked.actor.starts_with("mcp:"), None)
}

fn ask(random: &mut Random) -> Asked {
    Asked {
        actor: random.one(&ACTORS),
        tenant: random.sometimes(2, |random| random.one(&["acme", "other"])),
        operation: random.one(&Operation::ALL),
        key: (random.below(4) != 0).then(|| random.one(&KEYS)),
        context: (random.below(4) != 0).then(|| {
            let mut entries = Vec::new();
            for name in NAMES {
                entries.extend(random.sometimes(2, |random| (name, random.one(&["acme", "other"]))));
            }
            entries
        }),
        recipients: random.below(4),
        state: random.one(&[KeyState::Active, KeyState::Deactivated, KeyState::Compromised]),
        due: random.below(2) == 0,
        safe: random.below(2) == 0,
        hour: random.below(24) as u64,
    }
}

/// `ENVELOPE_POLICY_CASES` says how many requests; each policy gets ten.
#[test]
fn both_evaluators_agree_on_decision_and_rule() {
    let cases: u64 =
        std::env::var("ENVELOPE_POLICY_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(100_000);
    let seed =
        std::env::var("ENVELOPE_POLICY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64 | 1
        });
    println!("ENVELOPE_POLICY_SEED={seed}");
    let mut random = Random(seed);
    let (mut allowed, mut by_rule) = (0_u64, 0_u64);
    let keys: Vec<(&str, KeyUri)> = KEYS.iter().map(|uri| (*uri, key(uri))).collect();
    for _ in 0..cases.div_ceil(10) {
        let rules: Vec<_> = (0..random.below(7)).map(|_| random.rule()).collect();
        let default_allows = random.below(2) == 0;
        let default = if default_allows { "" } else { "default = 'deny'\n" };
        let text: String = rules.iter().enumerate().map(|(number, rule)| rule.text(number)).collect();
        let text = format!("version = 1\n{default}{text}");
        let policy = Policy::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        for _ in 0..10 {
            let asked = ask(&mut random);
            let mut actor = Actor::parse(asked.actor).unwrap();
            if let Some(tenant) = asked.tenant {
                actor = actor.of_tenant(tenant);
            }
            let full = asked.context.as_ref().map(|entries| context(entries));
            let mut request = Request::new(&actor, asked.operation).recipients(asked.recipients);
            request.key =
                asked.key.and_then(|uri| keys.iter().find(|(known, _)| *known == uri)).map(|(_, key)| key);
            request.context = full.as_ref();
            (request.state, request.is_due) = (Some(asked.state), Some(asked.due));
            request.post_quantum_safe = Some(asked.safe);
            let said = policy.decide(&request, asked.hour * 3600 + 1800);
            assert!(said.open.is_nothing(), "{said:?}");
            let (allows, rule) = naively(&rules, default_allows, &asked);
            let rule = rule.map(|number| format!("r{number}"));
            assert_eq!((said.allowed, said.rule), (allows, rule.as_deref()), "{asked:?}\n{text}");
            // What may be allowed is never ruled out before all is known: the key, and the context of a use.
            let mut early = Request::new(&actor, asked.operation);
            early.context = request.context.filter(|_| asked.operation.group() != "use");
            assert!(!allows || policy.may(&early, asked.hour * 3600 + 1800), "{asked:?}\n{text}");
            early.key = request.key;
            assert!(!allows || policy.may(&early, asked.hour * 3600 + 1800), "{asked:?}\n{text}");
            allowed += u64::from(allows);
            by_rule += u64::from(rule.is_some());
        }
    }
    let all = cases.div_ceil(10) * 10;
    assert!(allowed > all / 10 && allowed < all * 9 / 10, "{allowed} of {all} allowed: the cases say little");
    assert!(by_rule > all / 4, "{by_rule} of {all} decided by a rule");
}
