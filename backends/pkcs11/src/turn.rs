//! One change of keys at a time, of all programs of this machine that use a module.

use std::{
    fs::{File, TryLockError},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use envelope_files::trust::{self, Purpose};
use envelope_sdk::{ProviderErrorKind, printable};

use crate::error::Failure;

/// Held while keys are changed; dropped, the next one may.
///
/// What is locked (`flock`) is the file of the module, opened to be read: it is there, it is
/// the same for every user, and nothing is written anywhere. It keeps apart the programs of
/// one machine; where a token has users on several, or the file system has no such locks, who
/// makes a key has the token alone to see the others by (`admin::make`). SoftHSM does not
/// show one process at once what another did, so a lock that is held is never passed by.
#[derive(Debug)]
pub(crate) struct Turn {
    _locked: Option<File>,
}

impl Turn {
    /// Waits, but not for ever: whoever may read the module may hold its lock. Changes that were
    /// `called` for at one time give up at one time.
    pub(crate) fn wait_for(module: &Path, called: Instant) -> Result<Self, Failure> {
        Self::within(module, called, WAIT)
    }

    fn within(module: &Path, begun: Instant, wait: Duration) -> Result<Self, Failure> {
        let failed = |kind, message| Err(Failure::new(kind, message));
        let file = match trust::open(module, Purpose::Code) {
            Ok(file) => file,
            Err(error) => {
                return failed(ProviderErrorKind::AccessDenied, format!("the PKCS#11 module: {error}"));
            }
        };
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _locked: Some(file) }),
                Err(TryLockError::Error(_)) => return Ok(Self { _locked: None }),
                Err(TryLockError::WouldBlock) if begun.elapsed() < wait => thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => {
                    let message = format!(
                        "nothing was changed: another program that changes keys has the lock of {} for too long; `fuser` \
                         says which",
                        printable::path(module)
                    );
                    return failed(ProviderErrorKind::Unavailable, message);
                }
            }
        }
    }
}

/// A change of a key takes milliseconds.
const WAIT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_had_by_one_at_a_time_and_not_waited_for_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let module = folder.path().join("module.so");
        std::fs::write(&module, "").unwrap();
        std::fs::set_permissions(&module, std::os::unix::fs::PermissionsExt::from_mode(0o444)).unwrap();
        let first = Turn::within(&module, Instant::now(), Duration::ZERO).expect("it is free");
        for wait in [Duration::ZERO, PAUSE] {
            let busy = Turn::within(&module, Instant::now(), wait).unwrap_err();
            assert_eq!(busy.kind, ProviderErrorKind::Unavailable);
            assert!(busy.message.contains("module.so for too long"), "{}", busy.message);
        }
        drop(first);
        Turn::within(&module, Instant::now(), Duration::ZERO).expect("it is free again");
        let gone = Turn::wait_for(&folder.path().join("none"), Instant::now()).unwrap_err();
        assert!(gone.message.starts_with("the PKCS#11 module: cannot read"), "{}", gone.message);
    }
}
