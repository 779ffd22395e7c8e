//! The policy, as clients meet it and as they may have it explained.

use std::sync::Arc;

use envelope_mcp::{Caller, Explanation, Failure, Kind, Look, PolicyMetadata, PolicySummary, Question};
use envelope_policy::{Actor, Operation, Policy, Request};
use envelope_sdk::{KeyState, KeyUri};

use super::{super::context, super::moment, denial, failure, keys::Keys};
use crate::report;

pub(super) struct ConfiguredPolicy(Arc<Keys>);

impl ConfiguredPolicy {
    pub(super) fn new(keys: Arc<Keys>) -> Self {
        Self(keys)
    }

    /// As its file has it now.
    fn policy(&self) -> Result<Option<Arc<Policy>>, Failure> {
        let Some(file) = self.0.configuration().policy() else { return Ok(None) };
        file.current().map(Some).map_err(|what| {
            Failure::new(Kind::KeyRefused, what.to_string())
                .hint("until the policy is right, everything is denied")
        })
    }
}

impl PolicyMetadata for ConfiguredPolicy {
    fn check(&self, caller: &Caller, look: Look, key: Option<&KeyUri>) -> Result<(), Failure> {
        let Some(guard) = self.0.guard(caller)? else { return Ok(()) };
        let mut request = guard.request(operation(look));
        request.key = key;
        guard.check(&request).map_err(|denied| Failure::denied(denied.to_string(), denial(&denied)))
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
