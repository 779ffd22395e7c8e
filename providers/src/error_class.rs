//! [`ErrorClass`]: what is at fault where a key store fails, for programs that tell their users.

use std::{error::Error, io};

#[cfg(feature = "audit")]
use envelope_audit::{AppendError, LogError};
use envelope_files::{secret::SecretSourceError, trust::TrustError};
#[cfg(feature = "local")]
use envelope_local::KeystoreError;
#[cfg(feature = "audit")]
use envelope_sdk::DecryptError;
use envelope_sdk::{ProviderError, ProviderErrorKind, http::find_cause, secret::SecretError};

#[cfg(feature = "audit")]
use crate::ProvidersError;

/// What an error of a key store comes down to, for an exit code, the answer to a request, an alarm. A
/// [`ProviderErrorKind`] says what the key store answered; this says also where none was asked: a keystore, a file that holds a
/// secret and whatever else of a key store is a file are at fault as files, and what was withheld since it could not be recorded is
/// the fault of whatever kept the audit log from that.
///
/// ```
/// use envelope_providers::ErrorClass;
/// # use envelope_sdk::{ProviderError, ProviderErrorKind};
/// # let error = ProviderError::without_key(ProviderErrorKind::Throttled, "aws", "too many requests");
/// let status = match ErrorClass::of(&error) {
///     ErrorClass::Unreachable => 503,
///     ErrorClass::AccessDenied | ErrorClass::State | ErrorClass::NotFound => 403,
///     ErrorClass::NotAuthentic => 422,
///     _ => 500,
/// };
/// assert_eq!(status, 503);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorClass {
    /// A file that cannot be read, written or trusted, or is no keystore.
    File,
    /// A wrong key or passphrase, or something was changed.
    NotAuthentic,
    /// There is no such key.
    NotFound,
    /// The key store, or a policy, does not allow it.
    AccessDenied,
    /// The key is in no state for it.
    State,
    /// The key store does not answer, or asks for fewer calls. Waiting may help.
    Unreachable,
    /// What was asked, or a setting, is not right.
    Invalid,
    /// The key store, or this build, cannot do it.
    Unsupported,
    /// Anything else.
    Other,
}

impl ErrorClass {
    /// Of one error.
    #[must_use]
    pub fn of(error: &ProviderError) -> Self {
        #[cfg(feature = "audit")]
        if let Some(unrecorded) = find_cause::<AppendError>(error) {
            return Self::of_log(unrecorded.reason());
        }
        #[cfg(feature = "local")]
        if let Some(keystore) = find_cause::<KeystoreError>(error) {
            return Self::of_keystore(keystore);
        }
        let is_of_a_file =
            find_cause::<TrustError>(error).is_some() || find_cause::<SecretSourceError>(error).is_some();
        // Of a secret that nobody gave, the kind says that the call lacks it; of one that cannot be read, nothing.
        let is_unread =
            find_cause::<SecretError>(error).is_some_and(|of| of.kind() == ProviderErrorKind::Other);
        if is_of_a_file || is_unread {
            return Self::File;
        }
        match Self::of_kind(error.kind()) {
            Self::Other if is_for_want_of_room(error) => Self::File,
            class => class,
        }
    }

    fn of_kind(kind: ProviderErrorKind) -> Self {
        match kind {
            ProviderErrorKind::Unauthentic => Self::NotAuthentic,
            ProviderErrorKind::NotFound => Self::NotFound,
            ProviderErrorKind::AccessDenied => Self::AccessDenied,
            ProviderErrorKind::State => Self::State,
            ProviderErrorKind::Unavailable | ProviderErrorKind::Throttled => Self::Unreachable,
            ProviderErrorKind::Invalid => Self::Invalid,
            ProviderErrorKind::Unsupported => Self::Unsupported,
            _ => Self::Other,
        }
    }

    /// Of the local keystore.
    #[cfg(feature = "local")]
    #[must_use]
    pub fn of_keystore(error: &KeystoreError) -> Self {
        match error {
            KeystoreError::WrongPassphrase { .. } | KeystoreError::Tampered { .. } => Self::NotAuthentic,
            KeystoreError::Refused { kind, .. } => Self::of_kind(*kind),
            _ => Self::File,
        }
    }

    /// Of an audit log that cannot be opened or written: its files, or the key store of its secret.
    #[cfg(feature = "audit")]
    #[must_use]
    pub fn of_log(error: &LogError) -> Self {
        let LogError::Key(error) = error else { return Self::File };
        match (error.downcast_ref::<DecryptError>(), error.downcast_ref::<ProvidersError>()) {
            (Some(DecryptError::Keys { attempts }), _) => {
                most_telling(attempts).map_or(Self::Other, Self::of)
            }
            (Some(_), _) => Self::NotAuthentic,
            (_, Some(ProvidersError::Provider(error))) => Self::of(error),
            (_, Some(_)) => Self::Invalid,
            (None, None) => Self::Other,
        }
    }

    /// How much it says, where several keys were tried and none opened: the least says most.
    fn rank(self) -> u8 {
        match self {
            Self::NotFound | Self::AccessDenied | Self::State => 0,
            Self::Unreachable => 1,
            Self::File => 2,
            _ => 3,
        }
    }
}

/// The error that says most, of the keys that were tried ([`DecryptError::Keys`](envelope_sdk::DecryptError::Keys)): a refusal says
/// more than a wrong key, and waiting may help where nothing was refused. Of those that say as much, the first.
#[must_use]
pub fn most_telling(attempts: &[ProviderError]) -> Option<&ProviderError> {
    attempts.iter().min_by_key(|attempt| ErrorClass::of(attempt).rank())
}

/// True when a file could not be written: no room, no quota, a limit, a disk that is read only.
fn is_for_want_of_room(error: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    find_cause::<io::Error>(error).is_some_and(|error| {
        matches!(error.kind(), FileTooLarge | QuotaExceeded | ReadOnlyFilesystem | StorageFull)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: ProviderErrorKind) -> ProviderError {
        ProviderError::without_key(kind, "test", "it failed")
    }

    #[cfg(feature = "local")]
    #[test]
    fn a_keystore_is_at_fault_as_a_file_whatever_its_error_is_called() {
        let path = std::path::PathBuf::from("keystore.json");
        let other = ProviderError::from(KeystoreError::UnsupportedVersion { path: path.clone(), version: 2 });
        assert_eq!(
            (other.kind(), ErrorClass::of(&other)),
            (ProviderErrorKind::Unsupported, ErrorClass::File)
        );
        let wrong = ProviderError::from(KeystoreError::WrongPassphrase { path });
        assert_eq!(ErrorClass::of(&wrong), ErrorClass::NotAuthentic);
    }

    #[test]
    fn a_full_disk_is_at_fault_as_a_file() {
        let full = error(ProviderErrorKind::Other).with_source(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(ErrorClass::of(&full), ErrorClass::File);
        let cut = error(ProviderErrorKind::Other).with_source(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(ErrorClass::of(&cut), ErrorClass::Other);
    }

    #[cfg(feature = "audit")]
    #[test]
    fn what_cannot_be_recorded_is_the_fault_of_what_keeps_the_log_from_it() {
        let path = std::path::PathBuf::from("log");
        assert_eq!(ErrorClass::of_log(&LogError::NoLog { path }), ErrorClass::File);
        let away = DecryptError::Keys { attempts: vec![error(ProviderErrorKind::Unavailable)] };
        assert_eq!(ErrorClass::of_log(&LogError::Key(away.into())), ErrorClass::Unreachable);
    }

    #[test]
    fn a_refusal_says_more_than_a_dead_key_store_and_that_more_than_a_wrong_key() {
        use ProviderErrorKind::{AccessDenied, Unauthentic, Unavailable};
        let most = |kinds: &[ProviderErrorKind]| {
            most_telling(&kinds.iter().copied().map(error).collect::<Vec<_>>()).map(ProviderError::kind)
        };
        assert_eq!(most(&[Unauthentic, Unavailable, AccessDenied]), Some(AccessDenied));
        assert_eq!(most(&[Unauthentic, Unavailable]), Some(Unavailable));
        assert_eq!(most(&[]), None);
    }
}
