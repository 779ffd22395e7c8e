//! [`Policy`]: rules, and the first that matches decides.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::{
    ActorKind, Decision, Operation, PolicyError, Request,
    decision::Open,
    document,
    pattern::Pattern,
    rule::{Effect, Match, Rule},
    time::now,
};

/// Rules in their order. The first that matches decides; where none does, whoever is a client of the MCP server is
/// denied, and others as the policy says: allowed, unless it has `default = "deny"`.
///
/// Nothing else goes into a decision than the request, the rules and the time that is given, but for limits, which a
/// [`Guard`](crate::Guard) counts.
#[derive(Debug)]
pub struct Policy {
    pub(crate) id: PolicyId,
    pub(crate) default: Effect,
    pub(crate) tenants: Box<[(Pattern, Box<str>)]>,
    pub(crate) rules: Box<[Rule]>,
    /// Whether a rule has a time: else nobody asks the clock.
    pub(crate) is_timed: bool,
}

/// Which policy: the SHA-256 of its text. An audit log has it beside each decision.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PolicyId([u8; 32]);

impl Policy {
    /// Reads the text of a policy, TOML, at most 1 MiB. The crate's documentation says what stands in it.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] with the rule or the line that is not right.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        document::parse(text)
    }

    /// Which policy it is.
    #[must_use]
    pub fn id(&self) -> PolicyId {
        self.id
    }

    /// The names of its rules, in their order.
    pub fn rules(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| &*rule.name)
    }

    /// The rules behind one that takes everything: they are never reached. A mistake, most likely.
    pub fn unreachable(&self) -> impl Iterator<Item = &str> {
        let all = self.rules.iter().position(Rule::takes_all).map_or(self.rules.len(), |at| at + 1);
        self.rules[all..].iter().map(|rule| &*rule.name)
    }

    /// Decides at `now`, in seconds since 1970. Limits are not counted.
    #[must_use]
    pub fn decide(&self, request: &Request<'_>, now: u64) -> Decision<'_> {
        self.first(request, now).1
    }

    /// And the rule itself.
    pub(crate) fn first(&self, request: &Request<'_>, now: u64) -> (Option<&Rule>, Decision<'_>) {
        let tenant = self.tenant(request);
        let Some(rule) = self.rules.iter().find(|rule| rule.matches(request, tenant, now)) else {
            let allowed = self.default_of(request) == Effect::Allow;
            return (None, Decision { allowed, rule: None, unmet: None, open: Open::default() });
        };
        let (unmet, open) = match rule.effect {
            Effect::Allow => rule.require.look(request, tenant),
            Effect::Deny => (None, Open::default()),
        };
        let allowed = rule.effect == Effect::Allow && unmet.is_none();
        (Some(rule), Decision { allowed, rule: Some(&rule.name), unmet, open })
    }

    /// Whether any context, and any key where `request` has none, could be allowed this operation.
    #[must_use]
    pub fn may(&self, request: &Request<'_>, now: u64) -> bool {
        self.check_may(request, now).is_ok()
    }

    /// The same, with the rule that denies it.
    ///
    /// # Errors
    ///
    /// It could not be allowed, by this rule; without one, no rule allows it, and the default does not.
    pub fn check_may(&self, request: &Request<'_>, now: u64) -> Result<(), Option<&str>> {
        let tenant = self.tenant(request);
        for rule in &self.rules {
            let could_allow = rule.effect == Effect::Allow && rule.could_allow(request, tenant);
            match (rule.may_match(request, tenant, now), could_allow) {
                (Match::No, _) | (Match::Maybe, false) => {}
                (Match::Yes | Match::Maybe, true) => return Ok(()),
                (Match::Yes, false) => return Err(Some(&rule.name)),
            }
        }
        if self.default_of(request) == Effect::Allow { Ok(()) } else { Err(None) }
    }

    /// Whether a rule requires a state or a cryptoperiod.
    #[must_use]
    pub fn asks_for_states(&self) -> bool {
        self.rules.iter().any(|rule| rule.require.asks_for_states())
    }

    /// The time as its rules need it, in seconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        if self.is_timed { now() } else { 0 }
    }

    fn default_of(&self, request: &Request<'_>) -> Effect {
        if request.actor.kind() == ActorKind::Mcp { Effect::Deny } else { self.default }
    }

    fn tenant<'s>(&'s self, request: &Request<'s>) -> Option<&'s str> {
        let of_policy = || {
            let actor = request.actor.as_str();
            self.tenants.iter().find(|(pattern, _)| pattern.matches(actor)).map(|(_, tenant)| &**tenant)
        };
        request.actor.tenant().or_else(of_policy)
    }
}

impl PolicyId {
    pub(crate) fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The first 16 of its 64 hexadecimal digits.
impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PolicyId({self})")
    }
}

/// Operations for which there is a `may` before a key is known.
pub(crate) const USES: [Operation; 3] = [Operation::Wrap, Operation::Unwrap, Operation::Rewrap];
