//! [`Guard`]: a policy and who asks it.

use std::sync::Arc;

use envelope_sdk::{FullContext, KeyUri, ProviderError, ProviderErrorKind, WrappedDek};

use crate::{
    Actor, Decision, Denied, Operation, Policy, PolicyFile, PolicyId, Request, Unmet, buckets::Buckets,
    decision::Why, policy::USES, rule::Rule, states::States, time::now,
};

/// Asks a policy for one actor. Cheap to clone; a service makes one for each tenant or client.
#[derive(Clone)]
pub struct Guard {
    source: Source,
    actor: Arc<Actor>,
    for_rewrap: bool,
    recipients: Option<usize>,
    told: Vec<Arc<dyn Decided>>,
}

#[derive(Clone)]
enum Source {
    Fixed(Arc<Policy>),
    File(PolicyFile),
}

/// Hears of each decision, such as an audit log: with the policy and rule that decided, not those of a moment later.
pub trait Decided: Send + Sync {
    /// `request` was allowed, or denied. Values of the context are not to be told on.
    fn decided(&self, request: &Request<'_>, decision: Result<(PolicyId, Option<&str>), &Denied>);
}

/// What was allowed, and what is still to be looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowed {
    /// A new wrap has to be post-quantum safe, which shows when it is there.
    pub(crate) post_quantum_safe: bool,
    /// Which limit it is under.
    pub(crate) limit: Option<LimitId>,
}

/// Tells a limit from others while its policy is in use: where it is in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LimitId(usize);

impl LimitId {
    fn of(limit: &Buckets) -> Self {
        Self(std::ptr::from_ref(limit).addr())
    }
}

impl Guard {
    /// Asks `policy`, which does not change.
    #[must_use]
    pub fn new(policy: Arc<Policy>, actor: Actor) -> Self {
        Self::of(Source::Fixed(policy), actor)
    }

    /// Asks the policy of a file.
    #[must_use]
    pub fn of_file(file: &PolicyFile, actor: Actor) -> Self {
        Self::of(Source::File(file.clone()), actor)
    }

    fn of(source: Source, actor: Actor) -> Self {
        Self { source, actor: Arc::new(actor), for_rewrap: false, recipients: None, told: Vec::new() }
    }

    /// Tells `listener` of each decision, too.
    #[must_use]
    pub fn tell(mut self, listener: Arc<dyn Decided>) -> Self {
        self.told.push(listener);
        self
    }

    /// The same for another actor.
    #[must_use]
    pub fn for_actor(&self, actor: Actor) -> Self {
        Self { actor: Arc::new(actor), ..self.clone() }
    }

    /// For keys that are opened to rewrap: what unwraps and wraps is [`Operation::Rewrap`] then.
    #[must_use]
    pub fn for_rewrap(&self) -> Self {
        Self { for_rewrap: true, ..self.clone() }
    }

    /// For keys of envelopes that will have so many recipients, at least ([`distinct_keys`](crate::distinct_keys)). Where nobody says so, a rule that requires
    /// recipients denies.
    #[must_use]
    pub fn for_recipients(&self, recipients: usize) -> Self {
        Self { recipients: Some(recipients), ..self.clone() }
    }

    /// Who asks.
    #[must_use]
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// A question of this actor, to be completed.
    #[must_use]
    pub fn request(&self, operation: Operation) -> Request<'_> {
        Request::new(&self.actor, operation)
    }

    /// Asks. A limit is counted.
    ///
    /// # Errors
    ///
    /// [`Denied`].
    pub fn check(&self, request: &Request<'_>) -> Result<(), Box<Denied>> {
        let policy = self.policy(request)?;
        let said = decide(&policy, request, Counts::own(request)).and_then(|(rule, allowed)| {
            if allowed.post_quantum_safe {
                let why = Why::Requires(Unmet::Unknown("whether the wrap is post-quantum safe"));
                return Err(Denied::new(policy.id(), rule, request, why));
            }
            Ok(rule)
        });
        self.tell_all(request, policy.id(), said)
    }

    /// As [`check`](Self::check), with the error of a provider or of who manages its keys: of kind
    /// [`AccessDenied`](ProviderErrorKind::AccessDenied), with [`Denied`] as its source.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn check_for(&self, provider: &'static str, request: &Request<'_>) -> Result<(), ProviderError> {
        self.check(request).map_err(|denied| refusal(provider, denied))
    }

    /// What a provider asks before a call.
    pub(crate) async fn check_use(
        &self,
        provider: &'static str,
        states: Option<&States>,
        usage: Use<'_>,
    ) -> Result<Allowed, ProviderError> {
        let mut request = self.request_of(usage);
        let policy = self.policy(&request).map_err(|denied| refusal(provider, denied))?;
        let mut first = policy.first(&request, policy.now());
        // Of what is denied anyway nobody is asked.
        let open = first.1.open;
        if let Some(states) = states.filter(|_| first.1.allowed && (open.state || open.cryptoperiod)) {
            match states.of(usage.key).await {
                Ok(known) => {
                    request.state = Some(known.state);
                    request.is_due.get_or_insert(known.is_due(now()));
                    first = policy.first(&request, policy.now());
                }
                // A key store that tells no states: nobody knows, and the rule denies.
                Err(error) if error.kind() == ProviderErrorKind::Unsupported => {}
                Err(error) => return Err(error),
            }
        }
        let said = conclude(&policy, &request, first, usage.counts);
        let allowed = said.as_ref().map_or(NOTHING, |(_, allowed)| *allowed);
        let said = said.map(|(rule, _)| rule);
        self.tell_all(&request, policy.id(), said).map_err(|denied| refusal(provider, denied))?;
        Ok(allowed)
    }

    /// Counts a use that was allowed before it was known that it is one of `key`.
    pub(crate) fn count(
        &self,
        provider: &'static str,
        usage: Use<'_>,
        key: &KeyUri,
    ) -> Result<(), ProviderError> {
        let request = self.request_of(usage);
        let policy = self.policy(&request).map_err(|denied| refusal(provider, denied))?;
        let (rule, decision) = policy.first(&request, policy.now());
        let limit = rule.and_then(|rule| rule.limit.as_ref());
        if limit.is_none_or(|limit| limit.take(request.actor.as_str(), Some(key))) {
            return Ok(());
        }
        let denied = Denied::new(policy.id(), decision.rule, &request, Why::TooOften);
        self.tell_all(&request, policy.id(), Err(denied)).map_err(|denied| refusal(provider, denied))
    }

    /// Refuses a new wrap of a kind that is not allowed.
    pub(crate) fn check_kind(
        &self,
        provider: &'static str,
        (asked, allowed): (Use<'_>, Allowed),
        wrapped: &WrappedDek,
    ) -> Result<(), ProviderError> {
        if !allowed.post_quantum_safe || wrapped.is_post_quantum_safe() == Some(true) {
            return Ok(());
        }
        let mut request = self.request(asked.operation).key(wrapped.key_uri()).context(asked.context);
        request.recipients = self.recipients;
        let denied = self.policy(&request).and_then(|policy| {
            let rule = policy.decide(&request, policy.now()).rule;
            let denied = Denied::new(policy.id(), rule, &request, Why::Requires(Unmet::PostQuantumSafe));
            self.tell_all(&request, policy.id(), Err(denied))
        });
        denied.map_err(|denied| refusal(provider, denied))
    }

    fn request_of<'u>(&'u self, usage: Use<'u>) -> Request<'u> {
        let operation = if self.for_rewrap { Operation::Rewrap } else { usage.operation };
        let mut request = self.request(operation).key(usage.key).context(usage.context);
        request.recipients = self.recipients;
        if usage.opens {
            // Of a rewrap it is the new wrap that has to be good: it leads away from the old one.
            (request.post_quantum_safe, request.is_due) = (Some(true), Some(false));
        }
        request
    }

    /// Refuses to ask what an alias means, if nothing could be done with it anyway.
    pub(crate) fn check_resolve(&self, provider: &'static str, key: &KeyUri) -> Result<(), ProviderError> {
        let uses: &[_] = if self.for_rewrap { &[Operation::Rewrap] } else { &USES };
        let of = |operation: &Operation| self.request(*operation).key(key);
        let first = of(&uses[0]);
        let policy = self.policy(&first).map_err(|denied| refusal(provider, denied))?;
        let now = policy.now();
        if uses.iter().any(|operation| policy.may(&of(operation), now)) {
            return Ok(());
        }
        let rule = policy.decide(&first, now).rule;
        let denied = Denied::new(policy.id(), rule, &first, Why::Denies);
        self.tell_all(&first, policy.id(), Err(denied)).map_err(|denied| refusal(provider, denied))
    }

    /// Whether `request`, which names no key, could be allowed for one. Nobody is told, and nothing is counted.
    pub(crate) fn may(&self, request: &Request<'_>) -> bool {
        self.policy(request).is_ok_and(|policy| policy.may(request, policy.now()))
    }

    /// As [`check`](Self::check), but nobody is told, and nothing is counted: for the items of a list.
    #[must_use]
    pub fn shows(&self, request: &Request<'_>) -> bool {
        self.policy(request).is_ok_and(|policy| decide(&policy, request, Counts::No).is_ok())
    }

    fn policy(&self, request: &Request<'_>) -> Result<Arc<Policy>, Box<Denied>> {
        let policy = match &self.source {
            Source::Fixed(policy) => return Ok(Arc::clone(policy)),
            Source::File(file) => file.current(),
        };
        policy.map_err(|what| {
            let denied = Denied::everything(request, Why::NoPolicy((*what).into()));
            for listener in &self.told {
                listener.decided(request, Err(&denied));
            }
            denied
        })
    }

    fn tell_all(
        &self,
        request: &Request<'_>,
        policy: PolicyId,
        said: Result<Option<&str>, Box<Denied>>,
    ) -> Result<(), Box<Denied>> {
        for listener in &self.told {
            listener.decided(request, said.as_ref().map(|rule| (policy, *rule)).map_err(|denied| &**denied));
        }
        said.map(|_| ())
    }
}

fn decide<'p>(
    policy: &'p Policy,
    request: &Request<'_>,
    counts: Counts<'_>,
) -> Result<(Option<&'p str>, Allowed), Box<Denied>> {
    conclude(policy, request, policy.first(request, policy.now()), counts)
}

/// What a decision comes to: what is open still is denied, and a limit is counted.
fn conclude<'p>(
    policy: &'p Policy,
    request: &Request<'_>,
    (rule, decision): (Option<&'p Rule>, Decision<'p>),
    counts: Counts<'_>,
) -> Result<(Option<&'p str>, Allowed), Box<Denied>> {
    let denied = |why| Denied::new(policy.id(), decision.rule, request, why);
    if let Some(unmet) = decision.unmet {
        return Err(denied(Why::Requires(unmet)));
    }
    if !decision.allowed {
        return Err(denied(Why::Denies));
    }
    let mut open = decision.open;
    let post_quantum_safe = std::mem::take(&mut open.post_quantum_safe);
    if let Some(what) = open.names().next() {
        return Err(denied(Why::Requires(Unmet::Unknown(what))));
    }
    let limit = rule.and_then(|rule| rule.limit.as_ref());
    let allowed = Allowed { post_quantum_safe, limit: limit.map(LimitId::of) };
    let is_left = match (limit, counts) {
        (Some(limit), Counts::As { key, but }) if but != allowed.limit => {
            limit.take(request.actor.as_str(), key)
        }
        _ => true,
    };
    if is_left { Ok((decision.rule, allowed)) } else { Err(denied(Why::TooOften)) }
}

/// One use of a key.
#[derive(Clone, Copy)]
pub(crate) struct Use<'a> {
    pub(crate) operation: Operation,
    pub(crate) key: &'a KeyUri,
    pub(crate) context: &'a FullContext,
    /// Whether it unwraps.
    pub(crate) opens: bool,
    pub(crate) counts: Counts<'a>,
}

/// Whether a limit counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counts<'a> {
    /// As a use of this key, whatever it was asked for by; not by the limit that has counted it.
    As {
        key: Option<&'a KeyUri>,
        but: Option<LimitId>,
    },
    No,
}

impl<'a> Counts<'a> {
    /// As a use of this key.
    pub(crate) fn of(key: &'a KeyUri) -> Self {
        Self::As { key: Some(key), but: None }
    }

    fn own(request: &Request<'a>) -> Self {
        Self::As { key: request.key, but: None }
    }
}

/// What the caller of a provider is told.
pub(crate) fn refusal(provider: &'static str, denied: Box<Denied>) -> ProviderError {
    let key = denied.key.clone();
    let error = ProviderError::without_key(ProviderErrorKind::AccessDenied, provider, denied.to_string());
    let error = error.with_source(*denied);
    match key {
        Some(key) => error.about(&key),
        None => error,
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("actor", &self.actor).finish_non_exhaustive()
    }
}

const NOTHING: Allowed = Allowed { post_quantum_safe: false, limit: None };
