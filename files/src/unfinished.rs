//! Files under a temporary name, which a process that is told to end removes
//! first. (Most files have no name at all until they are finished; this is for
//! where the file system cannot do that.)

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Removes every unfinished file of this process. Until the guard is dropped no
/// other is made or gets its name: hold it until the process has ended.
///
/// It waits for locks, so call it from a thread, never within a signal handler.
#[must_use = "files are made again when the guard is dropped"]
pub fn remove_all() -> Stopped {
    let unfinished = lock();
    for path in unfinished.iter() {
        let _ = fs::remove_file(path);
    }
    Stopped(unfinished)
}

/// Keeps this process from making files. See [`remove_all`].
pub struct Stopped(#[expect(dead_code, reason = "held, not used")] MutexGuard<'static, Vec<PathBuf>>);

/// Makes a file by `make`, which returns its path beside it, so that
/// [`remove_all`] comes before it or sees it.
#[expect(dead_code, reason = "files are not written here yet")]
pub(crate) fn make<T, E>(make: impl FnOnce() -> Result<(T, PathBuf), E>) -> Result<(T, Unfinished), E> {
    let mut unfinished = lock();
    let (made, path) = make()?;
    unfinished.push(path.clone());
    Ok((made, Unfinished(path)))
}

/// A file that [`remove_all`] removes until this is dropped.
pub(crate) struct Unfinished(PathBuf);

impl Unfinished {
    /// Its path.
    #[expect(dead_code, reason = "files are not written here yet")]
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        lock().retain(|path| *path != self.0);
    }
}

fn lock() -> MutexGuard<'static, Vec<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
