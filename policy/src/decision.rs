//! What a policy decides: [`Decision`], and the error for whoever was denied.

use std::fmt;

use envelope_sdk::{KeyState, KeyUri};

use crate::{Operation, PolicyId, Request};

/// What a policy says to a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision<'p> {
    /// Whether it may be done, once nothing is [open](Self::open) any more.
    pub allowed: bool,
    /// The rule that decided, or none: then it was the default.
    pub rule: Option<&'p str>,
    /// What the rule requires and does not hold.
    pub unmet: Option<Unmet>,
    /// What the rule requires and the request did not say.
    pub open: Open,
}

/// What a rule requires and a request did not say. Whoever cannot find out denies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Open {
    /// The number of recipients.
    pub recipients: bool,
    /// The key's state.
    pub state: bool,
    /// Whether its cryptoperiod is over.
    pub cryptoperiod: bool,
    /// Whether the wrap is safe from quantum computers.
    pub post_quantum_safe: bool,
}

impl Open {
    /// Whether all is known.
    #[must_use]
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }

    /// What is not known, in words: `how many recipients there are`.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let open = [
            (self.recipients, "how many recipients there are"),
            (self.state, "which state the key is in"),
            (self.cryptoperiod, "when the key's cryptoperiod ends"),
            (self.post_quantum_safe, "whether the wrap is post-quantum safe"),
        ];
        open.into_iter().filter(|(is_open, _)| *is_open).map(|(_, what)| what)
    }
}

/// What a rule requires and does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unmet {
    /// An entry of the encryption context: it lacks, or has another value.
    Context {
        /// Its name.
        name: Box<str>,
    },
    /// There are too few recipients.
    Recipients {
        /// So many are required.
        least: usize,
        /// So many there are.
        there: usize,
    },
    /// The key is in another state.
    State(KeyState),
    /// The key's cryptoperiod is over.
    Cryptoperiod,
    /// The wrap, or the key, is not safe from quantum computers.
    PostQuantumSafe,
    /// It is not known.
    Unknown(&'static str),
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The operator's word, from the policy.
            Self::Context { name } => write!(f, "the context's entry `{name}` as the rule wants it"),
            Self::Recipients { least, there } => write!(f, "{least} recipients, and there are {there}"),
            Self::State(state) => write!(f, "another state of the key than {state}"),
            Self::Cryptoperiod => {
                f.write_str("a key within its cryptoperiod, and that of this one is over: rotate it")
            }
            Self::PostQuantumSafe => {
                f.write_str("a wrap that is post-quantum safe, and this one, or its key, is not")
            }
            Self::Unknown(what) => write!(f, "to know {what}, and that cannot be told here"),
        }
    }
}

/// Who was denied what, and by which rule: the source of the
/// [`ProviderError`](envelope_sdk::ProviderError) that a [`Guard`](crate::Guard) makes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Denied {
    /// The policy that was asked; none if its file cannot be used.
    pub policy: Option<PolicyId>,
    /// The rule that decided; none if it was the default.
    pub rule: Option<Box<str>>,
    /// Who.
    pub actor: Box<str>,
    /// What.
    pub operation: Operation,
    /// Which key.
    pub key: Option<KeyUri>,
    /// Why.
    pub why: Why,
}

/// Why somebody was denied.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// The rule, or the default, denies it.
    Denies,
    /// What the rule requires does not hold.
    Requires(Unmet),
    /// It was done too often: the rule's limit.
    TooOften,
    /// There is no policy: its file cannot be used.
    NoPolicy(Box<str>),
}

impl Why {
    /// The word of records: `requires`, `too_often` or `no_policy`; none where it is simply denied.
    #[must_use]
    pub const fn word(&self) -> Option<&'static str> {
        match self {
            Self::Denies => None,
            Self::Requires(_) => Some("requires"),
            Self::TooOften => Some("too_often"),
            Self::NoPolicy(_) => Some("no_policy"),
        }
    }
}

impl Denied {
    pub(crate) fn new(policy: PolicyId, rule: Option<&str>, request: &Request<'_>, why: Why) -> Box<Self> {
        Box::new(Self { rule: rule.map(Into::into), policy: Some(policy), ..*Self::everything(request, why) })
    }

    pub(crate) fn everything(request: &Request<'_>, why: Why) -> Box<Self> {
        Box::new(Self {
            policy: None,
            rule: None,
            actor: request.actor.as_str().into(),
            operation: request.operation,
            key: request.key.cloned(),
            why,
        })
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, actor, operation, why, .. } = self;
        match (why, rule) {
            (Why::NoPolicy(what), _) => {
                write!(f, "the policy cannot be used, so that everything is denied: {what}")
            }
            (Why::Denies, None) => write!(f, "no rule of the policy allows {actor} to {operation} here"),
            (Why::Denies, Some(rule)) => {
                write!(f, "rule `{rule}` of the policy denies {actor} to {operation} here")
            }
            (Why::Requires(unmet), rule) => {
                write!(f, "rule `{}` of the policy requires {unmet}", rule.as_deref().unwrap_or_default())
            }
            (Why::TooOften, rule) => write!(
                f,
                "rule `{}` of the policy allows {actor} to {operation} less often: try again later",
                rule.as_deref().unwrap_or_default()
            ),
        }
    }
}

impl std::error::Error for Denied {}
