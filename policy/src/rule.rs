//! One rule: whom and what it is about, and what it requires.

use envelope_sdk::KeyState;

use crate::{Operation, Request, Unmet, buckets::Buckets, decision::Open, pattern::Pattern, time::Window};

/// What a rule does with what it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Allow,
    Deny,
}

/// A rule, ready for use. A condition that is not given holds.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: Box<str>,
    pub(crate) effect: Effect,
    pub(crate) actors: Option<Box<[Pattern]>>,
    /// A bit for each of [`Operation::ALL`].
    pub(crate) operations: u32,
    pub(crate) keys: Option<Box<[Pattern]>>,
    pub(crate) context: Box<[Entry]>,
    pub(crate) time: Option<Window>,
    pub(crate) require: Require,
    pub(crate) limit: Option<Buckets>,
}

/// What must hold besides for what a rule allows.
#[derive(Debug, Default)]
pub(crate) struct Require {
    pub(crate) context: Box<[Entry]>,
    pub(crate) recipients: Option<usize>,
    pub(crate) post_quantum_safe: bool,
    pub(crate) states: Option<Box<[KeyState]>>,
    pub(crate) within_cryptoperiod: bool,
}

/// An entry that the context must have.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: Box<str>,
    pub(crate) value: Wanted,
}

#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    /// `*`: whatever it is.
    Any,
    /// `$actor.tenant`; nothing where the actor has none.
    Tenant,
    Text(Box<str>),
}

/// Whether a rule is about a request of which not all is known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Match {
    No,
    Maybe,
    Yes,
}

impl Rule {
    pub(crate) fn matches(&self, request: &Request<'_>, tenant: Option<&str>, now: u64) -> bool {
        self.is_about(request, now)
            && any(self.keys.as_deref(), request.key_text())
            && self.context.iter().all(|entry| entry.holds(request, tenant))
    }

    /// As [`matches`](Self::matches), before the context of a use is known, and the key if `request` has none.
    pub(crate) fn may_match(&self, request: &Request<'_>, tenant: Option<&str>, now: u64) -> Match {
        let key_is_known = request.key.is_some() || self.keys.is_none();
        let context_holds = || self.context.iter().all(|entry| entry.holds(request, tenant));
        if !self.is_about(request, now)
            || key_is_known && !any(self.keys.as_deref(), request.key_text())
            || context_is_known(request) && !context_holds()
        {
            Match::No
        } else if key_is_known && (context_is_known(request) || self.context.is_empty()) {
            Match::Yes
        } else {
            Match::Maybe
        }
    }

    /// Whether what it requires could hold, as far as that is known then.
    pub(crate) fn could_allow(&self, request: &Request<'_>, tenant: Option<&str>) -> bool {
        !context_is_known(request) || self.require.look(request, tenant).0.is_none()
    }

    fn is_about(&self, request: &Request<'_>, now: u64) -> bool {
        self.operations & bit(request.operation) != 0
            && any(self.actors.as_deref(), request.actor.as_str())
            && self.time.as_ref().is_none_or(|window| window.holds(now))
    }

    /// Whether it takes whatever comes, so that no rule behind it is ever reached.
    pub(crate) fn takes_all(&self) -> bool {
        self.actors.is_none()
            && self.operations == ALL_OPERATIONS
            && self.keys.is_none()
            && self.context.is_empty()
            && self.time.is_none()
    }
}

impl Require {
    /// What does not hold, and what nobody knows yet. Only of what uses keys is more required than context, and only
    /// of what wraps more than states: what was wrapped is to be opened.
    pub(crate) fn look(&self, request: &Request<'_>, tenant: Option<&str>) -> (Option<Unmet>, Open) {
        let mut open = Open::default();
        if let Some(entry) = self.context.iter().find(|entry| !entry.holds(request, tenant)) {
            return (Some(Unmet::Context { name: entry.name.clone() }), open);
        }
        if request.operation.group() != "use" {
            return (None, open);
        }
        let wraps = matches!(request.operation, Operation::Wrap | Operation::Rewrap);
        let mut unmet = None;
        if let Some(least) = self.recipients.filter(|_| wraps) {
            match request.recipients {
                Some(there) if there < least => unmet = Some(Unmet::Recipients { least, there }),
                Some(_) => {}
                None => open.recipients = true,
            }
        }
        if let Some(states) = &self.states {
            match request.state {
                Some(state) if !states.contains(&state) => unmet = Some(Unmet::State(state)),
                Some(_) => {}
                None => open.state = true,
            }
        }
        if self.within_cryptoperiod && wraps {
            match request.is_due {
                Some(true) => unmet = Some(Unmet::Cryptoperiod),
                Some(false) => {}
                None => open.cryptoperiod = true,
            }
        }
        if self.post_quantum_safe && wraps {
            match request.post_quantum_safe {
                Some(false) => unmet = Some(Unmet::PostQuantumSafe),
                Some(true) => {}
                None => open.post_quantum_safe = true,
            }
        }
        (unmet, open)
    }

    /// Whether it takes to ask what state a key is in.
    pub(crate) fn asks_for_states(&self) -> bool {
        self.states.is_some() || self.within_cryptoperiod
    }
}

impl Entry {
    fn holds(&self, request: &Request<'_>, tenant: Option<&str>) -> bool {
        let Some(value) = request.value(&self.name) else { return false };
        match &self.value {
            Wanted::Any => true,
            Wanted::Tenant => tenant == Some(value),
            Wanted::Text(text) => **text == *value,
        }
    }
}

/// Only keys are used in a context that may come later: whoever looks at them or manages them has none but that of the request.
fn context_is_known(request: &Request<'_>) -> bool {
    request.operation.group() != "use"
}

/// The bit of an operation.
pub(crate) fn bit(operation: Operation) -> u32 {
    1 << operation as u32
}

fn any(patterns: Option<&[Pattern]>, text: &str) -> bool {
    patterns.is_none_or(|patterns| patterns.iter().any(|pattern| pattern.matches(text)))
}

/// The bits of all operations.
pub(crate) const ALL_OPERATIONS: u32 = (1 << Operation::ALL.len()) - 1;
