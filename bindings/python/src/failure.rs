//! [`Failure`]: an error of the libraries as an exception of Python, with their words.
//!
//! The kinds are those of envctl's exit codes, told apart further where the libraries do.

use std::{error::Error, fmt::Display, io, path::Path};

use envelope_files::{FileError, trust::TrustError};
use envelope_providers::{ErrorClass, ProvidersError};
use envelope_rotation::{ItemError, RotationError, SourceError};
use envelope_sdk::{
    ContextError, DecryptError, EncryptError, FormatError, KeyUri, KeyUriError, ProviderError, RewrapError,
    printable, stream::StreamError,
};
use pyo3::{prelude::*, sync::PyOnceLock, types::PyDict};

use crate::kind::Kind;

pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// What goes wrong.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Told in the words of the library.
    Told(Box<Told>),
    /// An exception of Python: of a file object, of a callback, of a signal.
    Raised(PyErr),
}

/// What an exception says.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) kind: Kind,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) retry: bool,
}

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self::Told(Box::new(Told { kind, message, hint: None, key: None, retry: false }))
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    pub(crate) fn other(error: impl Display) -> Self {
        Self::new(Kind::Other, error.to_string())
    }

    /// A failed operation on a file: `cannot VERB PATH: …`.
    pub(crate) fn io(verb: &str, path: &Path, error: &io::Error) -> Self {
        Self::new(Kind::InputOutput, format!("cannot {verb} {}: {error}", printable::path(path)))
    }

    /// Adds what to do, unless something more precise is said already.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Self::Told(told) = &mut self {
            told.hint.get_or_insert_with(|| hint.into());
        }
        self
    }

    /// Puts what it is about before the message.
    pub(crate) fn about(mut self, name: impl Display) -> Self {
        if let Self::Told(told) = &mut self {
            told.message = format!("{name}: {}", told.message);
        }
        self
    }

    fn with_key(mut self, key: Option<&KeyUri>) -> Self {
        if let Self::Told(told) = &mut self {
            told.key = key.map(ToString::to_string);
        }
        self
    }

    fn retryable(mut self, retry: bool) -> Self {
        if let Self::Told(told) = &mut self {
            told.retry = retry;
        }
        self
    }
}

/// An error of a library as an exception.
pub(crate) fn raised(error: impl Into<Failure>) -> PyErr {
    PyErr::from(error.into())
}

impl From<Failure> for PyErr {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Raised(error) => error,
            Failure::Told(told) => Python::attach(|py| told.exception(py).unwrap_or_else(|error| error)),
        }
    }
}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

impl Told {
    fn exception(&self, py: Python<'_>) -> PyResult<PyErr> {
        static ERRORS: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
        let errors = ERRORS.get_or_try_init(py, || py.import("envelope_sdk.errors").map(Bound::unbind))?;
        let named = PyDict::new(py);
        named.set_item("hint", self.hint.as_deref())?;
        named.set_item("key", self.key.as_deref())?;
        named.set_item("retry", self.retry)?;
        let class = errors.bind(py).getattr(self.kind.class())?;
        Ok(PyErr::from_value(class.call((self.message.as_str(),), Some(&named))?))
    }
}

impl From<FormatError> for Failure {
    fn from(error: FormatError) -> Self {
        let hint = match error {
            FormatError::NotAnEnvelope => "it was not made by envelope-sdk, or its beginning is damaged",
            FormatError::UnknownVersion(_) | FormatError::UnknownSuite(_) | FormatError::UnknownFlags(_) => {
                "it may come from a newer version, or its beginning is damaged"
            }
            _ => "it is damaged or was changed; try another copy of it",
        };
        Self::new(Kind::Format, error.to_string()).hint(hint)
    }
}

impl From<DecryptError> for Failure {
    fn from(error: DecryptError) -> Self {
        let message = error.to_string();
        match error {
            DecryptError::Format(error) => error.into(),
            DecryptError::WrongKind { .. } => Self::new(Kind::Format, message),
            DecryptError::NoConfiguredKey { .. } => Self::new(Kind::NoConfiguredKey, message).hint(
                "if you trust one of these keys, name it in `keys` or `decrypt_with`; a key that only the envelope names is \
                 not used",
            ),
            DecryptError::Keys { attempts } => of_attempts(&attempts),
            DecryptError::NotAuthentic => Self::new(Kind::NotAuthentic, message).hint(
                "check the passphrase or key and each entry of the context; if they are right, the data was changed",
            ),
            _ => Self::new(Kind::NotAuthentic, message),
        }
    }
}

impl From<EncryptError> for Failure {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::Provider(error) => error.into(),
            EncryptError::Random(_) => Self::other(error),
            EncryptError::Format(FormatError::RepeatedRecipient) => {
                Self::usage("two of the keys are the same key, or two are passphrases")
            }
            EncryptError::Format(_) => Self::other(error),
            error => Self::usage(error.to_string()),
        }
    }
}

impl From<RewrapError> for Failure {
    fn from(error: RewrapError) -> Self {
        match error {
            RewrapError::Decrypt(error) => error.into(),
            RewrapError::Encrypt(error) => error.into(),
            RewrapError::WrapNotVerified { ref key } => {
                Self::new(Kind::KeyRefused, error.to_string()).with_key(Some(&key.clone()))
            }
            error => Self::usage(error.to_string()),
        }
    }
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Decrypt(error) => error.into(),
            StreamError::Read(error) => of_stream_io("reading", error),
            StreamError::Write(error) => of_stream_io("writing", error),
            StreamError::Range { .. } | StreamError::SameFile => Self::usage(error.to_string()),
            error @ StreamError::InputChanged { .. } => Self::new(Kind::InputOutput, error.to_string())
                .hint("let nothing write to it meanwhile, or take a copy of it first"),
            error => Self::other(error),
        }
    }
}

/// The armor's reader, and file objects of Python, speak through I/O errors.
fn of_stream_io(what: &str, error: io::Error) -> Failure {
    if let Some(format) = error.get_ref().and_then(|inner| inner.downcast_ref::<FormatError>()) {
        return format.clone().into();
    }
    if error.get_ref().is_some_and(<dyn Error + Send + Sync>::is::<StreamError>) {
        return match error.downcast::<StreamError>() {
            Ok(error) => error.into(),
            Err(error) => Failure::new(Kind::InputOutput, format!("{what} failed: {error}")),
        };
    }
    match error.downcast::<PyErr>() {
        Ok(error) => Failure::Raised(error),
        Err(error) => Failure::new(Kind::InputOutput, format!("{what} failed: {error}")),
    }
}

impl From<ProviderError> for Failure {
    fn from(error: ProviderError) -> Self {
        Self::new(kind_of(ErrorClass::of(&error)), with_causes(&error))
            .with_key(error.key())
            .retryable(error.is_retryable())
    }
}

impl From<ProvidersError> for Failure {
    fn from(error: ProvidersError) -> Self {
        match error {
            ProvidersError::File(error) => error.into(),
            // Which providers there are is known before anything is asked: the call's words are wrong.
            ProvidersError::Provider(error) if ErrorClass::of(&error) == ErrorClass::Unsupported => {
                Self::usage(with_causes(&error)).with_key(error.key())
            }
            ProvidersError::Provider(error) => error.into(),
            error => {
                let new = Self::usage(with_causes(&error));
                match error.hint() {
                    Some(hint) => new.hint(hint),
                    None => new,
                }
            }
        }
    }
}

impl From<TrustError> for Failure {
    fn from(error: TrustError) -> Self {
        Self::new(Kind::InputOutput, error.to_string())
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        if let FileError::Io { source, .. } = &error
            && let Some(format) = source.get_ref().and_then(|inner| inner.downcast_ref::<FormatError>())
        {
            return format.clone().into();
        }
        let kind = match error {
            FileError::Link { .. } | FileError::NotAFile { .. } => Kind::Usage,
            _ => Kind::InputOutput,
        };
        let new = Self::new(kind, error.to_string());
        match error.hint() {
            Some(hint) => new.hint(hint),
            None => new,
        }
    }
}

impl From<KeyUriError> for Failure {
    fn from(error: KeyUriError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<ContextError> for Failure {
    fn from(error: ContextError) -> Self {
        EncryptError::from(error).into()
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        let message = error.to_string();
        match error {
            SourceError::NotAnEnvelope => FormatError::NotAnEnvelope.into(),
            SourceError::Format(error) => error.into(),
            SourceError::Open(error) => error.into(),
            SourceError::Unsupported(_) => Self::usage(message),
            SourceError::Store(error) => match error.downcast::<FileError>() {
                Ok(error) => (*error).into(),
                Err(_) => Self::new(Kind::InputOutput, message),
            },
            SourceError::Conflict | SourceError::Busy => {
                Self::new(Kind::InputOutput, message).retryable(true)
            }
            SourceError::Gone | SourceError::CutOff => Self::new(Kind::InputOutput, message),
            _ => Self::other(message),
        }
    }
}

impl From<ItemError> for Failure {
    fn from(error: ItemError) -> Self {
        match error {
            ItemError::Source(error) => error.into(),
            ItemError::Rewrap(error) => error.into(),
            ItemError::Contended { .. } => Self::new(Kind::InputOutput, error.to_string()).retryable(true),
            ItemError::Checkpoint(_) => Self::new(Kind::InputOutput, error.to_string()),
            ItemError::KeyNotConfigured { .. } => {
                Self::usage(error.to_string()).hint("name it in `from_` if it shall stay, or in `remove`")
            }
            error => Self::usage(error.to_string()),
        }
    }
}

impl From<RotationError> for Failure {
    fn from(error: RotationError) -> Self {
        let message = error.to_string();
        match error {
            RotationError::Key { error, .. } => Self::from(*error).about("the job cannot begin"),
            RotationError::Stopped { why, .. } => Self::from(*why),
            RotationError::NotACheckpoint { .. } | RotationError::OtherJob { .. } => Self::usage(message),
            RotationError::Checkpoint { .. } | RotationError::CheckpointBusy { .. } => {
                Self::new(Kind::InputOutput, message)
            }
            _ => Self::other(message),
        }
    }
}

/// Of several keys, the error that says most: a refusal says more than a wrong key, and waiting may help where nothing was
/// refused. Of those that say as much, the first. (envctl's exit code calls a key that is not there a refusal.)
fn of_attempts(attempts: &[ProviderError]) -> Failure {
    let text = attempts.iter().fold("no configured key opened this:".to_owned(), |text, attempt| {
        format!("{text}\n  - {}", with_causes(attempt))
    });
    let rank = |attempt: &&ProviderError| match ErrorClass::of(attempt) {
        ErrorClass::AccessDenied | ErrorClass::State => 0,
        ErrorClass::Unreachable => 1,
        ErrorClass::File => 2,
        ErrorClass::NotAuthentic => 4,
        _ => 3,
    };
    let Some(error) = attempts.iter().min_by_key(rank) else { return Failure::other(text) };
    Failure::new(kind_of(ErrorClass::of(error)), text)
        .with_key(error.key())
        .retryable(attempts.iter().any(ProviderError::is_retryable))
}

fn kind_of(class: ErrorClass) -> Kind {
    match class {
        ErrorClass::File => Kind::InputOutput,
        ErrorClass::NotAuthentic => Kind::NotAuthentic,
        ErrorClass::NotFound => Kind::KeyNotFound,
        ErrorClass::AccessDenied => Kind::AccessDenied,
        ErrorClass::State => Kind::KeyState,
        ErrorClass::Unreachable => Kind::Unreachable,
        ErrorClass::Invalid => Kind::Usage,
        ErrorClass::Unsupported => Kind::Unsupported,
        _ => Kind::Other,
    }
}

/// The error and what caused it, in one line.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}
