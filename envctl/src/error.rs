//! What failed, what to do, and the exit code.

use std::{error::Error, fmt, io, path::Path};

use envelope_audit::AppendError;
use envelope_files::{FileError, trust::TrustError};
use envelope_local::{Argon2Error, KeystoreError};
use envelope_providers::{EnvironmentSecrets, ErrorClass, ProvidersError, most_telling};
use envelope_rotation::{ItemError, RotationError, SourceError};
use envelope_sdk::{
    DecryptError, EncryptError, FormatError, KeyUri, KeyUriError, ProviderError, RewrapError,
    http::find_cause, printable, registry::MissingSetting, secret::SecretError, stream::StreamError,
};

use crate::{key_stores::registered, recorder, report};

/// What failed, in the classes of the exit codes.
pub(crate) use envelope_mcp::Kind as ErrorKind;

pub(crate) type Result<T> = std::result::Result<T, CliError>;

/// An error for a person at a shell.
#[derive(Debug)]
pub(crate) struct CliError {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
}

impl CliError {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    pub(crate) fn other(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Other, message)
    }

    /// A failed operation on a file: `cannot VERB PATH: …`.
    pub(crate) fn io(verb: &str, path: &Path, error: &io::Error) -> Self {
        Self::new(ErrorKind::InputOutput, format!("cannot {verb} {}: {error}", printable::path(path)))
    }

    /// Adds what to do, unless something more precise is said already.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// Says what to do, in place of what was said before.
    pub(crate) fn hint_instead(mut self, hint: String) -> Self {
        self.hint = Some(hint);
        self
    }

    /// Puts the name of a file before the message.
    pub(crate) fn about(mut self, name: impl fmt::Display) -> Self {
        self.message = format!("{name}: {}", self.message);
        self
    }

    /// Adds what else went wrong.
    pub(crate) fn noted(mut self, note: &str) -> Self {
        self.message = format!("{}; {note}", self.message);
        self
    }

    pub(crate) fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What failed.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// What to do.
    pub(crate) fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Message and hint in one.
    #[cfg(test)]
    pub(crate) fn text(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{} ({hint})", self.message),
            None => self.message.clone(),
        }
    }

    pub(crate) fn exit_code(&self) -> u8 {
        self.kind.exit_code()
    }

    /// Writes the error to standard error, as text or as one line of JSON.
    pub(crate) fn report(&self, json: bool) {
        use std::io::Write;
        let mut stderr = anstream::stderr().lock();
        // Nothing is left to do if standard error is closed.
        let _ = if json {
            let error = serde_json::json!({
                "error": {
                    "kind": self.kind.name(),
                    "message": self.message,
                    "hint": self.hint,
                    "exit_code": self.exit_code(),
                }
            });
            writeln!(stderr, "{}", report::json_line(&error))
        } else {
            let hint = self.hint.as_ref().map(|hint| format!("\n  hint: {}", report::lines(hint)));
            let hint = hint.unwrap_or_default();
            writeln!(stderr, "\x1b[1;31merror\x1b[0m: {}{hint}", report::lines(&self.message))
        };
    }
}

impl From<FormatError> for CliError {
    fn from(error: FormatError) -> Self {
        let hint = match error {
            FormatError::NotAnEnvelope => "the file was not made by envctl, or its beginning is damaged",
            FormatError::UnknownVersion(_) | FormatError::UnknownSuite(_) | FormatError::UnknownFlags(_) => {
                "it may come from a newer version, or its beginning is damaged"
            }
            _ => "the file is damaged or was changed; try another copy of it",
        };
        Self::new(ErrorKind::NotAuthentic, error.to_string()).hint(hint)
    }
}

impl From<DecryptError> for CliError {
    fn from(error: DecryptError) -> Self {
        let message = error.to_string();
        match error {
            DecryptError::Format(error) => error.into(),
            DecryptError::NoConfiguredKey { recipients } => {
                let hint = if recipients.contains(&KeyUri::passphrase()) {
                    "beside keys that are named or configured, a passphrase is tried only if you name \
                     `passphrase:` too (-k; --from to rewrap) or give one with the call"
                } else {
                    "if you trust one of these keys, name it with -k; a key that only the file names is not used"
                };
                Self::new(ErrorKind::NotAuthentic, message).hint(hint)
            }
            DecryptError::Keys { attempts } => {
                let error = Self::new(kind_of_attempts(&attempts), tree(&attempts));
                // Not the file that was to be opened is in question then.
                if attempts.iter().any(|attempt| find_cause::<KeystoreError>(attempt).is_some()) {
                    return error.hint(
                        "the passphrase of the keystore is --keystore-passphrase-file, $ENVCTL_KEYSTORE_PASSPHRASE, or \
                         the passphrase of the call; a keystore that was changed comes back from a backup",
                    );
                }
                if let Some(hint) = unrecorded_hint(&attempts) {
                    return error.hint(hint);
                }
                match attempts.iter().find_map(too_much_work) {
                    Some(work) => error.hint(format!(
                        "if you trust who made the file, --max-passphrase-work {work} opens it"
                    )),
                    None => error,
                }
            }
            DecryptError::WrongKind { .. } => Self::new(ErrorKind::Usage, message),
            _ => Self::new(ErrorKind::NotAuthentic, message),
        }
    }
}

impl From<EncryptError> for CliError {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::Provider(error) => error.into(),
            EncryptError::NoKey
            | EncryptError::TooManyKeys(_)
            | EncryptError::Context(_)
            | EncryptError::ContextNotBound { .. } => Self::usage(error.to_string()),
            EncryptError::Format(FormatError::RepeatedRecipient) => {
                Self::usage("two of the keys are the same key, or two are passphrases")
            }
            _ => Self::other(error.to_string()),
        }
    }
}

impl From<RewrapError> for CliError {
    fn from(error: RewrapError) -> Self {
        match error {
            RewrapError::Decrypt(error) => error.into(),
            RewrapError::Encrypt(error) => error.into(),
            RewrapError::WrapNotVerified { .. } => Self::new(ErrorKind::KeyRefused, error.to_string()),
            error @ RewrapError::ContextNotVerified => Self::usage(error.to_string()).hint(
                "open it with --from a key that binds the context (passphrase, keystore, AWS KMS, AES-GCM of a token), \
                 or decrypt and encrypt it anew",
            ),
            error => Self::other(error.to_string()),
        }
    }
}

impl From<ItemError> for CliError {
    fn from(error: ItemError) -> Self {
        match error {
            ItemError::Source(error) => error.into(),
            ItemError::Rewrap(error) => error.into(),
            ItemError::Contended { .. } | ItemError::Checkpoint(_) => {
                Self::new(ErrorKind::InputOutput, error.to_string())
            }
            ItemError::KeyNotConfigured { .. } => {
                Self::usage(error.to_string()).hint("name it with --from if it shall stay, or with --remove")
            }
            error => Self::usage(error.to_string()),
        }
    }
}

impl From<SourceError> for CliError {
    fn from(error: SourceError) -> Self {
        let message = error.to_string();
        match error {
            SourceError::NotAnEnvelope => FormatError::NotAnEnvelope.into(),
            SourceError::Format(error) => error.into(),
            SourceError::Open(error) => error.into(),
            SourceError::Unsupported(_) => Self::usage(message),
            SourceError::CutOff => {
                Self::new(ErrorKind::InputOutput, message).hint("`envctl rotate` finishes it")
            }
            SourceError::Store(error) => match error.downcast::<FileError>() {
                Ok(error) => (*error).into(),
                Err(_) => Self::new(ErrorKind::InputOutput, message),
            },
            SourceError::Gone | SourceError::Conflict | SourceError::Busy => {
                Self::new(ErrorKind::InputOutput, message)
            }
            _ => Self::other(message),
        }
    }
}

impl From<RotationError> for CliError {
    fn from(error: RotationError) -> Self {
        let message = error.to_string();
        match error {
            RotationError::Key { error, .. } => Self::from(*error),
            RotationError::Stopped { why, .. } => Self::from(*why),
            RotationError::NotACheckpoint { .. } | RotationError::OtherJob { .. } => Self::usage(message),
            RotationError::Checkpoint { .. } | RotationError::CheckpointBusy { .. } => {
                Self::new(ErrorKind::InputOutput, message)
            }
            _ => Self::other(message),
        }
    }
}

impl From<StreamError> for CliError {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Decrypt(error) => error.into(),
            // The armor's reader speaks through I/O errors.
            StreamError::Read(error) => {
                match error.get_ref().and_then(|inner| inner.downcast_ref::<FormatError>()) {
                    Some(format) => format.clone().into(),
                    None => Self::new(ErrorKind::InputOutput, format!("reading failed: {error}")),
                }
            }
            StreamError::Write(error) => {
                Self::new(ErrorKind::InputOutput, format!("writing failed: {error}"))
            }
            error @ StreamError::InputChanged { .. } => Self::new(ErrorKind::InputOutput, error.to_string())
                .hint("let nothing write to it meanwhile, or take a copy or a snapshot of it first"),
            error => Self::other(error.to_string()),
        }
    }
}

impl From<ProviderError> for CliError {
    fn from(error: ProviderError) -> Self {
        let new = Self::new(kind_of(ErrorClass::of(&error)), with_causes(&error));
        match what_to_do(&error) {
            Some(hint) => new.hint(hint),
            None => new,
        }
    }
}

impl From<KeyUriError> for CliError {
    fn from(error: KeyUriError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<TrustError> for CliError {
    fn from(error: TrustError) -> Self {
        Self::new(ErrorKind::InputOutput, error.to_string())
    }
}

impl From<KeystoreError> for CliError {
    fn from(error: KeystoreError) -> Self {
        Self::new(kind_of(ErrorClass::of_keystore(&error)), with_causes(&error))
    }
}

impl From<FileError> for CliError {
    fn from(error: FileError) -> Self {
        // The armor's reader speaks through I/O errors.
        if let FileError::Io { source, .. } = &error
            && let Some(format) = source.get_ref().and_then(|inner| inner.downcast_ref::<FormatError>())
        {
            return format.clone().into();
        }
        let kind = match error {
            FileError::Link { .. } | FileError::NotAFile { .. } => ErrorKind::Usage,
            _ => ErrorKind::InputOutput,
        };
        let new = Self::new(kind, error.to_string());
        match error.hint() {
            Some(hint) => new.hint(hint),
            None => new,
        }
    }
}

impl CliError {
    /// What a key store cannot do, and a key that there is none for, the call should not have named.
    pub(crate) fn of_call(error: ProviderError) -> Self {
        match ErrorClass::of(&error) {
            ErrorClass::Unsupported => Self { kind: ErrorKind::Usage, ..error.into() },
            _ => error.into(),
        }
    }
}

impl From<ProvidersError> for CliError {
    fn from(error: ProvidersError) -> Self {
        match error {
            ProvidersError::File(error) => error.into(),
            ProvidersError::Policy(error) => error.into(),
            // Which providers there are is known before anything is asked: the call's words are wrong.
            ProvidersError::Provider(error) => Self::of_call(error),
            ProvidersError::Setting { provider, setting, error } => {
                Self::usage(format!("the setting {setting} of {provider}: {error}"))
            }
            error => {
                let new = Self::usage(error.to_string());
                match error.hint() {
                    Some(hint) => new.hint(hint),
                    None => new,
                }
            }
        }
    }
}

/// In the classes of the exit codes.
pub(crate) fn kind_of(class: ErrorClass) -> ErrorKind {
    match class {
        ErrorClass::File => ErrorKind::InputOutput,
        ErrorClass::NotAuthentic => ErrorKind::NotAuthentic,
        ErrorClass::NotFound | ErrorClass::AccessDenied | ErrorClass::State => ErrorKind::KeyRefused,
        ErrorClass::Unreachable => ErrorKind::Unreachable,
        ErrorClass::Invalid => ErrorKind::Usage,
        _ => ErrorKind::Other,
    }
}

fn kind_of_attempts(attempts: &[ProviderError]) -> ErrorKind {
    most_telling(attempts).map_or(ErrorKind::Other, |error| kind_of(ErrorClass::of(error)))
}

/// What to do about an audit log that cannot be written.
fn unrecorded_hint(attempts: &[ProviderError]) -> Option<&'static str> {
    let unrecorded = attempts.iter().find_map(|attempt| find_cause::<AppendError>(attempt))?;
    recorder::hint(unrecorded.reason())
}

/// The work that a passphrase recipient asks for, where it was refused for that.
fn too_much_work(attempt: &ProviderError) -> Option<u32> {
    match attempt.source()?.downcast_ref()? {
        Argon2Error::TooMuchWork { params, .. } => Some(params.work()),
        _ => None,
    }
}

/// One line for each key that was tried.
fn tree(attempts: &[ProviderError]) -> String {
    attempts.iter().fold("no configured key opened this:".into(), |text, attempt| {
        format!("{text}\n  - {}", with_causes(attempt))
    })
}

/// What this program's user does about an error of a library, which knows no
/// options.
fn what_to_do(error: &ProviderError) -> Option<String> {
    if let Some(MissingSetting { provider, setting, .. }) = find_cause(error) {
        let name = format!("{provider}-{setting}");
        let known = registered().iter().filter(|store| store.provider == *provider);
        let option = known.flat_map(|store| store.options).find(|option| option.name == *setting);
        return Some(match option {
            Some(option) => format!(
                "name one by --{name} {}, ${} or `{setting}` under [{provider}]",
                option.value,
                EnvironmentSecrets::variable(&name)
            ),
            // The keystore's option is of the program.
            None if *provider == "local" => format!("name one with --{setting} FILE"),
            None => format!("name one as `{setting}` under [{provider}]"),
        });
    }
    if let Some(unrecorded) = find_cause::<AppendError>(error) {
        return recorder::hint(unrecorded.reason()).map(ToOwned::to_owned);
    }
    if let Some(secret) = find_cause::<SecretError>(error) {
        return secret.hint().map(ToOwned::to_owned);
    }
    match find_cause(error)? {
        KeystoreError::NotFound { .. } => {
            Some("`envctl keystore init` creates it; --keystore names another one".into())
        }
        _ => None,
    }
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        // What is missing, the hint says in the words of this program.
        if !error.is::<MissingSetting>() && !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rewrap_of_withheld_values_that_nothing_verified_is_refused_as_the_calls_and_says_what_to_do() {
        let error = CliError::from(RewrapError::ContextNotVerified);
        assert_eq!((error.kind(), error.exit_code()), (ErrorKind::Usage, 2));
        let text = error.text();
        assert!(
            text.contains("withheld") && text.contains("--from") && text.contains("decrypt and encrypt"),
            "{text}"
        );
    }
}
