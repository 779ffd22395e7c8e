//! [`Failure`]: what a tool could not tell, and why.

use std::fmt;

/// Why a question was not answered, in the classes of envctl's exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Anything else. Exit code 1.
    Other,
    /// The question does not fit. Exit code 2.
    Usage,
    /// A file or folder. Exit code 3.
    InputOutput,
    /// What was read is no envelope, or was changed. Exit code 4.
    NotAuthentic,
    /// The policy or a key store refuses. Exit code 5.
    KeyRefused,
    /// A key store did not answer. Exit code 6.
    Unreachable,
    /// An audit log is not what was written. Exit code 7.
    LogInvalid,
}

impl Kind {
    /// Every kind, by exit code.
    pub const ALL: [Self; 7] = [
        Self::Other,
        Self::Usage,
        Self::InputOutput,
        Self::NotAuthentic,
        Self::KeyRefused,
        Self::Unreachable,
        Self::LogInvalid,
    ];

    /// The word that envctl's errors in JSON have.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::Usage => "usage",
            Self::InputOutput => "input-output",
            Self::NotAuthentic => "not-authentic",
            Self::KeyRefused => "key-refused",
            Self::Unreachable => "unreachable",
            Self::LogInvalid => "log-invalid",
        }
    }

    /// envctl's exit code.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        self as u8 + 1
    }
}

/// What failed, and what to do. Never secret; words of others are made safe before a client sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The class.
    pub kind: Kind,
    /// What failed.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// The decision, where a policy denied it. For the audit log: a client sees the message.
    pub denial: Option<Box<Denial>>,
}

/// A policy's decision against a client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Denial {
    /// The id of the policy; none if its file cannot be used.
    pub policy: Option<String>,
    /// The rule that decided; none if it was the default.
    pub rule: Option<String>,
    /// Why, where the rule does not simply deny: a word such as `too_often`.
    pub why: Option<&'static str>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, denial: None }
    }

    /// The question does not fit.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// A policy denied it. [`Kind::KeyRefused`].
    pub fn denied(message: impl Into<String>, denial: Denial) -> Self {
        Self { denial: Some(Box::new(denial)), ..Self::new(Kind::KeyRefused, message) }
    }

    /// Says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
