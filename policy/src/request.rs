//! [`Request`]: what is asked of a policy.

use envelope_sdk::{FullContext, KeyState, KeyUri};

use crate::{Actor, Operation};

/// One question to a [`Policy`](crate::Policy): may this actor do this with this key?
///
/// What is not known is `None`. A requirement of a rule that it would take is [open](crate::Decision::open) then, and
/// a [`Guard`](crate::Guard) finds out or denies.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Request<'a> {
    /// Who.
    pub actor: &'a Actor,
    /// What.
    pub operation: Operation,
    /// Which key; none where there is none yet, or no particular one.
    pub key: Option<&'a KeyUri>,
    /// The whole encryption context, withheld values too; none where there is none, such as for an operation on keys.
    pub context: Option<&'a FullContext>,
    /// How many recipients the envelope has, or will have.
    pub recipients: Option<usize>,
    /// Whether the wrap is safe from quantum computers.
    pub post_quantum_safe: Option<bool>,
    /// The state of the key as a whole.
    pub state: Option<KeyState>,
    /// Whether the key wraps although its cryptoperiod is over.
    pub is_due: Option<bool>,
}

impl<'a> Request<'a> {
    /// A question about no particular key.
    #[must_use]
    pub fn new(actor: &'a Actor, operation: Operation) -> Self {
        Self {
            actor,
            operation,
            key: None,
            context: None,
            recipients: None,
            post_quantum_safe: None,
            state: None,
            is_due: None,
        }
    }

    /// With this key.
    #[must_use]
    pub fn key(mut self, key: &'a KeyUri) -> Self {
        self.key = Some(key);
        self
    }

    /// In this context.
    #[must_use]
    pub fn context(mut self, context: &'a FullContext) -> Self {
        self.context = Some(context);
        self
    }

    /// For so many recipients in all.
    #[must_use]
    pub fn recipients(mut self, recipients: usize) -> Self {
        self.recipients = Some(recipients);
        self
    }

    /// The key's text as patterns see it: empty where there is none.
    pub(crate) fn key_text(&self) -> &'a str {
        self.key.map_or("", KeyUri::as_str)
    }

    /// The value of the context's entry `name`.
    pub(crate) fn value(&self, name: &str) -> Option<&'a str> {
        self.context?.value(name)
    }
}
