//! What can go wrong: with the module, and with a call of the token.

use std::{io, path::PathBuf};

use cryptoki::{
    context::Function,
    error::{Error, RvError},
};
use envelope_files::trust::TrustError;
use envelope_sdk::{KeyUri, ProviderError, ProviderErrorKind, printable};

use crate::pin::PinError;

/// Why a PKCS#11 module was not loaded. Each message names the file and says
/// what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// The path is not absolute: what would be loaded would depend on the
    /// working directory or a search path.
    #[error("the PKCS#11 module {} must be given by an absolute path", printable::path(path))]
    Relative {
        /// The path.
        path: PathBuf,
    },
    /// There is no such file.
    #[error("there is no PKCS#11 module at {}: install it, or correct the path", printable::path(path))]
    NotFound {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The path is a directory, device, pipe or socket.
    #[error("{} is not a file, and so no PKCS#11 module", printable::path(path))]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file cannot be looked at.
    #[error("the PKCS#11 module {} cannot be read", printable::path(path))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Others may write the file or a folder on the way to it, or it belongs to
    /// somebody else: they would choose what runs here.
    #[error("the PKCS#11 module {0}")]
    NotTrusted(#[source] TrustError),
    /// The file is no shared library for this machine, or needs one that is
    /// missing.
    #[error("{} cannot be loaded as a shared library: {}", printable::path(path), words_of(error))]
    NotALibrary {
        /// The file.
        path: PathBuf,
        /// What the loader says.
        error: Box<Error>,
    },
    /// The shared library is not a PKCS#11 module.
    #[error("{} is a shared library, but no PKCS#11 module: {}", printable::path(path), words_of(error))]
    NotAModule {
        /// The file.
        path: PathBuf,
        /// What it lacks.
        error: Box<Error>,
    },
    /// The module does not start; its own configuration may be missing.
    #[error(
        "the PKCS#11 module {} does not start: see its own configuration. It says: {}",
        printable::path(path),
        words_of(error)
    )]
    Initialize {
        /// The file.
        path: PathBuf,
        /// What it says.
        error: Box<Error>,
    },
    /// The module does not tell of its slots and tokens.
    #[error("the PKCS#11 module {} does not tell of its tokens: {}", printable::path(path), words_of(error))]
    Describe {
        /// The file.
        path: PathBuf,
        /// What it says.
        error: Box<Error>,
    },
    /// The operating system gave no thread.
    #[error("no thread for the sessions of the PKCS#11 module")]
    Threads(#[from] io::Error),
}

/// An error of provider `pkcs11`, about no key.
impl From<ModuleError> for ProviderError {
    fn from(error: ModuleError) -> Self {
        let kind = match error {
            ModuleError::Threads(_) | ModuleError::Read { .. } => ProviderErrorKind::Other,
            ModuleError::Initialize { .. } | ModuleError::Describe { .. } => ProviderErrorKind::Unavailable,
            ModuleError::NotTrusted(_) => ProviderErrorKind::AccessDenied,
            // The settings name what is no module.
            _ => ProviderErrorKind::Invalid,
        };
        Self::without_key(kind, NAME, error.to_string()).retryable(false).with_source(error)
    }
}

/// Why a job on a token failed. It becomes a [`ProviderError`] where it is known
/// whether it is about a key.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: ProviderErrorKind,
    pub(crate) message: String,
    pub(crate) remedy: Remedy,
    /// How often the token was asked.
    attempts: u32,
    source: Option<Cause>,
}

/// What may help before the job is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Nothing.
    None,
    /// The session, the login, the token or the module was lost: open anew.
    Reopen,
    /// What was known of the key may be old: look again.
    LookAgain,
}

#[derive(Debug)]
enum Cause {
    Token(Error),
    Pin(PinError),
}

impl Failure {
    pub(crate) fn new(kind: ProviderErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), remedy: Remedy::None, attempts: 1, source: None }
    }

    pub(crate) fn unauthentic() -> Self {
        let message = "the context is another one, or the wrapped DEK was changed";
        Self::new(ProviderErrorKind::Unauthentic, message)
    }

    pub(crate) fn of_pin(error: PinError) -> Self {
        if let PinError::NotStored(_) = error {
            return Self::new(ProviderErrorKind::AccessDenied, error.to_string());
        }
        let message = "no PIN to log in with: give one by a file, a descriptor, the environment or a prompt";
        Self { source: Some(Cause::Pin(error)), ..Self::new(ProviderErrorKind::AccessDenied, message) }
    }

    /// Whether the token broke something off, so that an operation may be half
    /// done in its session.
    pub(crate) fn leaves_session_unclear(&self) -> bool {
        matches!(self.source, Some(Cause::Token(_)))
    }

    /// Puts what was to be done before what the token said.
    pub(crate) fn while_doing(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    pub(crate) fn with_source(mut self, error: Error) -> Self {
        self.source = Some(Cause::Token(error));
        self
    }

    pub(crate) fn remedy(mut self, remedy: Remedy) -> Self {
        self.remedy = remedy;
        self
    }

    /// Says that the token was asked twice, so that whoever tries again does not multiply that.
    pub(crate) fn of_the_second_attempt(mut self) -> Self {
        self.attempts = 2;
        self
    }

    /// For what was decided by what is remembered of a key.
    pub(crate) fn or_look_again(self) -> Self {
        self.remedy(Remedy::LookAgain)
    }
}

impl Failure {
    /// As an error of provider `pkcs11`, about `key` if it is about one.
    pub(crate) fn about(self, key: Option<&KeyUri>) -> ProviderError {
        let error = ProviderError::from(self);
        match key {
            Some(key) => error.about(key),
            None => error,
        }
    }
}

impl From<Failure> for ProviderError {
    fn from(failure: Failure) -> Self {
        let Failure { kind, message, source, attempts, .. } = failure;
        let error = match source {
            // On one line, the return value last: what cryptoki says of it is a paragraph of the standard.
            Some(Cause::Token(error)) => {
                let value = return_value(&error).map(|value| format!(" ({value})")).unwrap_or_default();
                Self::without_key(kind, NAME, format!("{message}{value}"))
            }
            Some(Cause::Pin(source)) => Self::without_key(kind, NAME, message).with_source(source),
            None => Self::without_key(kind, NAME, message),
        };
        error.with_attempts(attempts)
    }
}

/// What the token's return code means. The meaning of a failed decryption or
/// login depends on more than the code: see `wrap` and `session`.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (kind, message, remedy) = match &error {
            Error::Pkcs11(RvError::GeneralError, function) if only_begins_or_reads(*function) => {
                (ProviderErrorKind::Other, "the token refused".into(), Remedy::Reopen)
            }
            Error::Pkcs11(code, _) => of_code(*code),
            Error::NullFunctionPointer | Error::NotSupported => (
                ProviderErrorKind::Unsupported,
                "the module lacks a function that this needs".into(),
                Remedy::None,
            ),
            _ => {
                (ProviderErrorKind::Protocol, "the module's answer does not fit PKCS#11".into(), Remedy::None)
            }
        };
        Self { kind, message, remedy, attempts: 1, source: Some(Cause::Token(error)) }
    }
}

/// A software token that another process writes at the moment says `CKR_GENERAL_ERROR` to any call. These
/// are repeated without harm.
fn only_begins_or_reads(function: Function) -> bool {
    matches!(
        function,
        Function::EncryptInit
            | Function::DecryptInit
            | Function::MessageEncryptInit
            | Function::MessageDecryptInit
            | Function::FindObjectsInit
            | Function::FindObjects
            | Function::GetAttributeValue
            | Function::GetTokenInfo
            | Function::GetSessionInfo
    )
}

fn of_code(code: RvError) -> (ProviderErrorKind, String, Remedy) {
    use ProviderErrorKind::{AccessDenied, Other, State, Unavailable, Unsupported};
    let (kind, message, remedy) = match code {
        RvError::SessionHandleInvalid | RvError::SessionClosed | RvError::OperationActive => {
            (Unavailable, "the session was lost", Remedy::Reopen)
        }
        RvError::CryptokiNotInitialized => (Unavailable, "the module was shut down", Remedy::Reopen),
        RvError::TokenNotPresent
        | RvError::TokenNotRecognized
        | RvError::DeviceRemoved
        | RvError::SlotIdInvalid => (Unavailable, "the token was removed", Remedy::Reopen),
        RvError::DeviceError => (Unavailable, "the token reports a fault", Remedy::Reopen),
        RvError::UserNotLoggedIn => (AccessDenied, "the token wants a login", Remedy::Reopen),
        RvError::KeyHandleInvalid | RvError::ObjectHandleInvalid => {
            (ProviderErrorKind::NotFound, "the key is no longer on the token", Remedy::Reopen)
        }
        RvError::KeyFunctionNotPermitted => {
            (State, "the key's attributes do not permit it", Remedy::LookAgain)
        }
        RvError::SessionCount => {
            (Unavailable, "the token has no session left: use fewer sessions", Remedy::None)
        }
        RvError::HostMemory | RvError::DeviceMemory => {
            (Unavailable, "the token has no memory left", Remedy::None)
        }
        RvError::TokenWriteProtected | RvError::SessionReadOnly => {
            (AccessDenied, "the token is write-protected", Remedy::None)
        }
        RvError::MechanismInvalid | RvError::MechanismParamInvalid | RvError::FunctionNotSupported => {
            (Unsupported, "the token does not do this", Remedy::None)
        }
        _ => (Other, "the token refused", Remedy::None),
    };
    (kind, message.into(), remedy)
}

/// What an error of the module or its loader says, on one line.
pub(crate) fn words_of(error: &Error) -> String {
    match error {
        Error::LibraryLoading(error) => printable::cut(&error.to_string(), SHOWN),
        Error::MissingSymbol(name) => format!("it has no function {name}"),
        Error::Pkcs11(code, _) => {
            let value = return_value(error).map(|value| format!(" ({value})")).unwrap_or_default();
            format!("{}{value}", of_code(*code).1)
        }
        _ => "its answer does not fit PKCS#11".into(),
    }
}

/// The call and what it returned, as the standard names them:
/// `C_Decrypt: CKR_DEVICE_ERROR`.
fn return_value(error: &Error) -> Option<String> {
    let Error::Pkcs11(code, function) = error else { return None };
    let name = match code {
        RvError::VendorDefined(code) | RvError::UnknownErrorCode(code) => format!("CKR {code:#x}"),
        code => {
            let mut name = "CKR".to_owned();
            for character in format!("{code:?}").chars() {
                if character.is_ascii_uppercase() {
                    name.push('_');
                }
                name.push(character.to_ascii_uppercase());
            }
            name
        }
    };
    Some(format!("C_{function:?}: {name}"))
}

pub(crate) const NAME: &str = "pkcs11";

/// Characters that are shown of what the loader says.
const SHOWN: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_return_value_has_the_name_of_the_standard_and_comes_last() {
        for (code, name) in [
            (RvError::PinLenRange, "CKR_PIN_LEN_RANGE"),
            (RvError::SessionHandleInvalid, "CKR_SESSION_HANDLE_INVALID"),
            (RvError::RandomNoRng, "CKR_RANDOM_NO_RNG"),
            (RvError::VendorDefined(0x8000_0001), "CKR 0x80000001"),
        ] {
            let error = ProviderError::from(Failure::from(Error::Pkcs11(code, Function::Login)));
            assert!(error.message().ends_with(&format!(" (C_Login: {name})")), "{error}");
            assert!(
                std::error::Error::source(&error).is_none() && !error.message().contains('\n'),
                "{error}"
            );
        }
    }
}
