//! [`Kind`]: what an exception of the package is.

/// One for each class of exceptions in `envelope_sdk.errors`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Other,
    Unsupported,
    Usage,
    InputOutput,
    NotAuthentic,
    Format,
    NoConfiguredKey,
    KeyRefused,
    KeyNotFound,
    AccessDenied,
    KeyState,
    Unreachable,
}

impl Kind {
    /// The class.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Other => "OtherError",
            Self::Unsupported => "UnsupportedError",
            Self::Usage => "UsageError",
            Self::InputOutput => "InputOutputError",
            Self::NotAuthentic => "NotAuthenticError",
            Self::Format => "FormatError",
            Self::NoConfiguredKey => "NoConfiguredKeyError",
            Self::KeyRefused => "KeyRefusedError",
            Self::KeyNotFound => "KeyNotFoundError",
            Self::AccessDenied => "AccessDeniedError",
            Self::KeyState => "KeyStateError",
            Self::Unreachable => "UnreachableError",
        }
    }

    /// The word that `envctl --json` has for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Other | Self::Unsupported => "other",
            Self::Usage => "usage",
            Self::InputOutput => "input-output",
            Self::NotAuthentic | Self::Format | Self::NoConfiguredKey => "not-authentic",
            Self::KeyRefused | Self::KeyNotFound | Self::AccessDenied | Self::KeyState => "key-refused",
            Self::Unreachable => "unreachable",
        }
    }
}
