//! [`Entry`]: what a program has to say of one operation. The log adds the rest.

use std::{borrow::Cow, collections::BTreeMap};

/// What is to be recorded of one operation. Only what is set is written.
///
/// ```
/// use envelope_audit::{Entry, Outcome};
///
/// let mut entry = Entry::new("decrypt", Outcome::Ok);
/// entry.key = Some("local:main".into());
/// entry.request = Some("7f3a".into());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Who, at most 1024 bytes. The [actor of the log](crate::LogOptions::new) when it is `None`.
    pub actor: Option<String>,
    /// What was done: 1 to 64 of `a–z 0–9 _ -`. Words that begin with `log-` are the log's own.
    pub operation: Cow<'static, str>,
    /// What came of it.
    pub outcome: Outcome,
    /// The name of the key provider, at most 64 bytes.
    pub provider: Option<String>,
    /// The key URI, at most 2048 bytes.
    pub key: Option<String>,
    /// The version of the key, at most 512 bytes.
    pub key_version: Option<String>,
    /// The envelope id.
    pub envelope: Option<[u8; 16]>,
    /// The generation of the envelope's header.
    pub generation: Option<u32>,
    /// The kind of the error, a word as `operation`.
    pub error: Option<Cow<'static, str>>,
    /// The policy's rule that decided, at most 256 bytes.
    pub rule: Option<String>,
    /// What this has in common with others of one request, at most 128 bytes.
    pub request: Option<String>,
    /// Entries of the encryption context. The log keeps those that its configuration lists
    /// ([`LogOptions::show_value`](crate::LogOptions::show_value)), and drops the rest.
    pub context: BTreeMap<String, String>,
    /// What else there is to say, such as which setting was changed. Never secret.
    pub detail: BTreeMap<String, String>,
}

impl Entry {
    /// An entry with nothing but this.
    #[must_use]
    pub fn new(operation: impl Into<Cow<'static, str>>, outcome: Outcome) -> Self {
        Self {
            actor: None,
            operation: operation.into(),
            outcome,
            provider: None,
            key: None,
            key_version: None,
            envelope: None,
            generation: None,
            error: None,
            rule: None,
            request: None,
            context: BTreeMap::new(),
            detail: BTreeMap::new(),
        }
    }

    /// The same with one more detail.
    #[must_use]
    pub fn with_detail(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.detail.insert(name.into(), value.into());
        self
    }
}

/// What came of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It was done.
    Ok,
    /// It failed; [`Entry::error`] says of what kind.
    Failed,
    /// A policy refused it; [`Entry::rule`] says which rule.
    Denied,
    /// It is about to be done, and its outcome follows in a record of its own.
    Begun,
    /// The provider has no such call, and the caller went another way.
    NotOffered,
    /// The answer reached nobody: the caller went away before it had ended, or it got lost on its way, and
    /// [`Entry::error`] says how. Whether it was done is not known.
    Dropped,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Ok, Self::Failed, Self::Denied, Self::Begun, Self::NotOffered, Self::Dropped];

    /// The word of the record.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Denied => "denied",
            Self::Begun => "begun",
            Self::NotOffered => "not_offered",
            Self::Dropped => "dropped",
        }
    }

    /// The outcome of this word.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}
