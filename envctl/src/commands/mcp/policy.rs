//! The policy, as clients meet it and as they may have it explained.

use std::sync::Arc;

use envelope_mcp::{Caller, Denial, Explanation, Failure, Look, PolicyMetadata, PolicySummary, Question};
use envelope_policy::{Actor, Operation, Policy, PolicyFile, Request};
use envelope_sdk::{KeyState, KeyUri};

use super::{
    super::context,
    super::moment,
    denial, failure,
    keys::{Keys, actor},
};
use crate::report;

pub(super) struct ConfiguredPolicy(Arc<Keys>);

impl ConfiguredPolicy {
    pub(super) fn new(keys: Arc<Keys>) -> Self {
        Self(keys)
    }

    /// As its file has it now.
    fn policy(&self) -> Result<Option<Arc<Policy>>, Failure> {
        self.0.configuration().policy().map(current).transpose()
    }
}

fn current(file: &PolicyFile) -> Result<Arc<Policy>, Failure> {
    file.current().map_err(|what| {
        let denial = Denial { why: Some(UNUSABLE), ..Denial::default() };
        Failure::denied(what.to_string(), denial).hint("until the policy is right, everything is denied")
    })
}

/// Refuses an actor to whom none of these is allowed, at whatever key.
pub(super) fn may_any(file: &PolicyFile, actor: &Actor, looks: &[Look]) -> Result<(), Failure> {
    let (policy, now) = (current(file)?, report::now());
    let mut rules = Vec::new();
    for look in looks {
        match policy.check_may(&Request::new(actor, operation(*look)), now) {
            Ok(()) => return Ok(()),
            Err(rule) => rules.push(rule),
        }
    }
    // Where each is denied by another rule, none of them is the reason.
    let rule =
        rules.first().copied().flatten().filter(|rule| rules.iter().all(|other| *other == Some(*rule)));
    let what = match rule {
        Some(rule) => format!("denied by rule `{rule}` of policy {}", policy.id()),
        None => format!("no rule of policy {} allows it", policy.id()),
    };
    let policy = Some(policy.id().to_string());
    Err(Failure::denied(what, Denial { policy, rule: rule.map(ToOwned::to_owned), why: None }))
}

impl PolicyMetadata for ConfiguredPolicy {
    fn check(&self, caller: &Caller, look: Look, key: Option<&KeyUri>) -> Result<(), Failure> {
        let Some(guard) = self.0.guard(caller)? else { return Ok(()) };
        let mut request = guard.request(operation(look));
        request.key = key;
        guard.check(&request).map_err(|denied| Failure::denied(denied.to_string(), denial(&denied)))
    }

    fn may(&self, caller: &Caller, look: Look) -> Result<(), Failure> {
        match self.0.configuration().policy() {
            Some(file) => may_any(file, &actor(caller).map_err(|error| failure(&error))?, &[look]),
            None => Ok(()),
        }
    }

    fn shows(&self, caller: &Caller, key: &KeyUri) -> bool {
        match self.0.guard(caller) {
            Ok(Some(guard)) => guard.shows(&guard.request(Operation::Inspect).key(key)),
            Ok(None) => true,
            Err(_) => false,
        }
    }

    fn summary(&self) -> Result<Option<PolicySummary>, Failure> {
        let policy = self.policy()?;
        let owned = |names: &mut dyn Iterator<Item = &str>| names.map(ToOwned::to_owned).collect();
        Ok(policy.map(|policy| PolicySummary {
            id: policy.id().to_string(),
            rules: owned(&mut policy.rules()),
            unreachable: owned(&mut policy.unreachable()),
        }))
    }

    fn explain(&self, question: &Question) -> Result<Explanation, Failure> {
        let usage = |what: &str| Failure::usage(what);
        let policy = self.policy()?.ok_or_else(|| {
            usage("no policy is configured: everything is allowed that key stores and files permit")
                .hint("`[policy]` and `file = \"PATH\"` in the configuration name one")
        })?;
        let actor = Actor::parse(&question.actor).map_err(|error| usage(&error.to_string()))?;
        let operation = Operation::from_name(&question.operation).ok_or_else(|| {
            let known: Vec<_> = Operation::ALL.iter().map(|operation| operation.name()).collect();
            usage(&format!("an operation is one of {}", known.join(", ")))
        })?;
        let key = question.key.as_deref().map(|key| self.0.key(key)).transpose()?;
        let entries = context::to_bind(&question.context, &[]).map_err(|error| failure(&error))?;
        let full = entries.full().map_err(|error| usage(&error.to_string()))?;
        let state = question.state.as_deref().map(|name| {
            KeyState::from_name(name)
                .ok_or_else(|| usage("`state` is a state such as `active` or `suspended`"))
        });
        let at = match question.at.as_deref() {
            Some(at) => moment::parse(at).map_err(|error| failure(&error))?,
            None => report::now(),
        };
        let mut request = Request::new(&actor, operation).context(&full);
        request.key = key.as_ref();
        request.recipients = question.recipients.map(|recipients| recipients as usize);
        request.state = state.transpose()?;
        let decision = policy.decide(&request, at);
        Ok(Explanation {
            allowed: decision.allowed,
            rule: decision.rule.map(ToOwned::to_owned),
            unmet: decision.unmet.as_ref().map(ToString::to_string),
            open: decision.open.names().map(ToOwned::to_owned).collect(),
            policy: policy.id().to_string(),
        })
    }
}

pub(super) fn operation(look: Look) -> Operation {
    match look {
        Look::List => Operation::List,
        Look::Describe => Operation::Describe,
        Look::Inspect => Operation::Inspect,
        // What a later version of the server looks at is of the installation unless it says so.
        _ => Operation::Survey,
    }
}

/// As records of key stores have it: there is no policy that can be used.
const UNUSABLE: &str = "no_policy";
