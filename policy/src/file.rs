//! [`PolicyFile`]: a policy that may change while a program runs.

use std::{
    fmt, fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use envelope_files::trust::{self, Purpose};
use envelope_sdk::printable;
use rustix::time::{ClockId, clock_gettime};

use crate::{Policy, PolicyError};

/// The policy of a file, read again when the file has changed: within a second, at the next question.
///
/// A file that cannot be read, is not right, is gone, or that others than its owner may read or write denies
/// everything, and each error says what is wrong with it. A policy that was replaced counts its limits anew.
#[derive(Clone)]
pub struct PolicyFile {
    path: Arc<Path>,
    known: Arc<RwLock<Known>>,
}

struct Known {
    policy: Result<Arc<Policy>, Arc<str>>,
    stamp: Option<Stamp>,
    /// As [`uptime`] says it.
    looked: Duration,
}

/// What changes when a file does.
#[derive(PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl PolicyFile {
    /// Opens a policy. The file is the user's or root's, in folders that nobody else may write, and of mode 0600.
    ///
    /// # Errors
    ///
    /// What is wrong with it: a program does not begin without its policy.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, PolicyFileError> {
        let path: PathBuf = path.into();
        // Before the text: what is written meanwhile is seen as a change.
        let stamp = stamp(&path);
        let policy = read(&path)?;
        let known = Known { policy: Ok(Arc::new(policy)), stamp, looked: uptime() };
        Ok(Self { path: path.into(), known: Arc::new(RwLock::new(known)) })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The policy as the file has it now, give or take a second.
    ///
    /// # Errors
    ///
    /// What is wrong with the file: everything is denied.
    pub fn current(&self) -> Result<Arc<Policy>, Arc<str>> {
        {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            if uptime().saturating_sub(known.looked) < LOOKS_AGAIN_AFTER {
                return known.policy.clone();
            }
        }
        self.look()
    }

    /// The policy as the file has it at this moment.
    ///
    /// # Errors
    ///
    /// As [`current`](Self::current).
    pub fn look(&self) -> Result<Arc<Policy>, Arc<str>> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let now = stamp(&self.path);
        // One that cannot be used is read again each time: permissions of folders do not show in the stamp.
        if now.is_none() || now != known.stamp || known.policy.is_err() {
            known.policy = read(&self.path).map(Arc::new).map_err(|error| error.to_string().into());
            known.stamp = now;
        }
        known.looked = uptime();
        known.policy.clone()
    }
}

impl fmt::Debug for PolicyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Why a file is no policy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyFileError {
    /// It cannot be read, or others may read or write it.
    #[error("policy: {0}")]
    File(#[from] trust::TrustError),
    /// It is not right.
    #[error("policy {}: {error}", printable::path(path))]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: PolicyError,
    },
}

fn read(path: &Path) -> Result<Policy, PolicyFileError> {
    // A pipe can be read once.
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(trust::TrustError::NotAFile { path: path.into() }.into());
    }
    let content = |error| PolicyFileError::Content { path: path.into(), error };
    let bytes = trust::read(path, Purpose::Secret, MAX_LEN)?;
    let text = String::from_utf8(bytes).map_err(|_| content(PolicyError::Text("it is not UTF-8".into())))?;
    Policy::parse(&text).map_err(content)
}

fn stamp(path: &Path) -> Option<Stamp> {
    let of = |found: fs::Metadata| Stamp {
        device: found.dev(),
        inode: found.ino(),
        len: found.len(),
        modified: (found.mtime(), found.mtime_nsec()),
        // Owner and mode too.
        changed: (found.ctime(), found.ctime_nsec()),
    };
    let found: io::Result<_> = fs::metadata(path);
    found.ok().map(of)
}

/// A clock that never goes back. It is asked at each question, and Linux has one that is a few milliseconds behind and takes a
/// fifth of the time.
fn uptime() -> Duration {
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::MonotonicCoarse;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::Monotonic;
    let time = clock_gettime(CLOCK);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// A change counts within this time.
const LOOKS_AGAIN_AFTER: Duration = Duration::from_secs(1);

const MAX_LEN: u64 = 1 << 20;
