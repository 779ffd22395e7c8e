//! Files under a temporary name, which a process that is told to end removes
//! first. (Most files have no name at all until they are finished; this is for
//! where the file system cannot do that.)

use std::{
    ffi::OsStr,
    fs::{File, Metadata},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
    sync::{PoisonError, RwLock, RwLockWriteGuard},
};

use envelope_sdk::{
    FormatError,
    format::{PREAMBLE_LEN, Preamble, armor},
};
use rustix::{
    fs::{FlockOperation, OFlags, flock},
    process::geteuid,
};

use crate::{
    FileError, Journal,
    folder::{PREFIX, Place, temporary_name},
};

/// Removes every unfinished file of this process. Until the guard is dropped no
/// other is made or gets its name: hold it until the process has ended.
///
/// It waits for locks, so call it from a thread, never within a signal handler.
#[must_use = "files are made again when the guard is dropped"]
pub fn remove_all() -> Stopped {
    let unfinished = change();
    for place in unfinished.iter() {
        let _ = place.unlink();
    }
    Stopped(unfinished)
}

/// Keeps every thread of this process from making files and giving them their names, and removes none. For who is about to fork:
/// a lock that another thread has at that moment would never be given back in the child, and no file be written there.
///
/// It waits for locks, as [`remove_all`] does.
#[must_use = "files are made again when the guard is dropped"]
pub fn hold() -> Stopped {
    Stopped(change())
}

/// Whether a file of this name may be one that a process which was killed left behind: `.envctl-` and 16 digits.
#[must_use]
pub fn may_be_left(name: &OsStr) -> bool {
    name.to_str().and_then(|name| name.strip_prefix(PREFIX)).is_some_and(|digits| {
        digits.len() == 16 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Whether the file at `path` is one that takes the place of another, or was to before a process was killed: its name
/// [says so](may_be_left), it is a regular file of this user, and it begins as an envelope or a journal does or holds
/// nothing, so that no plaintext and nothing of others is meant. A file that is gone by now was one.
#[must_use]
pub fn is_left(path: &Path) -> bool {
    if !path.file_name().is_some_and(may_be_left) {
        return false;
    }
    match Place::open(path).map(|place| place.open_file(OFlags::RDONLY)) {
        Ok(Ok(file)) => file.metadata().is_ok_and(|found| is_ours(&found)) && is_recognised(&file),
        Ok(Err(error)) => error.kind() == io::ErrorKind::NotFound,
        Err(_) => false,
    }
}

/// Removes the file at `path` if it [was left behind](is_left) and nobody has it locked. True when it was removed.
///
/// # Errors
///
/// [`FileError`] when it cannot be looked at or removed.
pub fn remove_left(path: &Path) -> Result<bool, FileError> {
    let cannot = |error| FileError::io("remove", path, error);
    if !path.file_name().is_some_and(may_be_left) {
        return Ok(false);
    }
    let place = Place::open(path)?;
    let file = match place.open_file(OFlags::RDONLY) {
        // Whoever made it has come to an end.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        // Of somebody else.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(false),
        file => file.map_err(cannot)?,
    };
    let found = file.metadata().map_err(cannot)?;
    let is_locked = || flock(&file, FlockOperation::NonBlockingLockExclusive).is_err();
    if !is_ours(&found) || is_locked() || !is_recognised(&file) || !place.is(&file).map_err(cannot)? {
        return Ok(false);
    }
    place.unlink().map_err(cannot)?;
    Ok(true)
}

fn is_ours(found: &Metadata) -> bool {
    found.is_file() && found.uid() == geteuid().as_raw()
}

/// Whether it begins as an envelope or a journal does, or holds nothing: what a loss of power left of one.
fn is_recognised(file: &File) -> bool {
    let mut start = [0; armor::BEGIN.len()];
    let Ok(read) = file.read_at(&mut start, 0) else { return false };
    let start = &start[..read];
    let is_binary = start
        .first_chunk::<PREAMBLE_LEN>()
        .is_some_and(|preamble| !matches!(Preamble::parse(preamble), Err(FormatError::NotAnEnvelope)));
    is_binary || armor::is_armored(start) || Journal::is_begun(start) || is_blank(file)
}

/// Zeros alone, or no byte at all.
fn is_blank(file: &File) -> bool {
    let (mut at, mut block) = (0, vec![0; BLOCK]);
    loop {
        match file.read_at(&mut block, at) {
            Ok(0) => return true,
            Ok(read) if block[..read].iter().all(|byte| *byte == 0) => at += read as u64,
            _ => return false,
        }
    }
}

/// Keeps this process from making files. See [`remove_all`].
pub struct Stopped(#[expect(dead_code, reason = "held, not used")] RwLockWriteGuard<'static, Vec<Place>>);

/// Makes a file by `make` under a temporary name in the folder of `beside`, so
/// that [`remove_all`] comes before it or sees it.
pub(crate) fn make<T>(
    beside: &Place,
    mut make: impl FnMut(&Place) -> io::Result<T>,
) -> io::Result<(T, Unfinished)> {
    let mut unfinished = change();
    for _ in 0..TRIES {
        let place = beside.sibling(temporary_name()?);
        match make(&place) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => {
                let made = made?;
                unfinished.push(place.clone());
                return Ok((made, Unfinished { place, finished: false }));
            }
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Gives a file that had none its name by `name`: not while the process ends, but while other threads do the same.
pub(crate) fn name<T>(name: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let _unfinished = UNFINISHED.read().unwrap_or_else(PoisonError::into_inner);
    name()
}

/// Gives several files their names by `work`, with nothing between that ends the process
/// and cleans up.
pub(crate) fn together<T>(work: impl FnOnce(&mut Names) -> T) -> T {
    work(&mut Names(change()))
}

/// The right to give names, which [`remove_all`] waits for.
pub(crate) struct Names(RwLockWriteGuard<'static, Vec<Place>>);

impl Names {
    /// As [`Unfinished::finish`].
    pub(crate) fn finish(
        &mut self,
        unfinished: &mut Unfinished,
        finish: impl FnOnce(&Place) -> io::Result<()>,
    ) -> io::Result<()> {
        finish(&unfinished.place)?;
        unfinished.finished = true;
        forget(&mut self.0, &unfinished.place);
        Ok(())
    }
}

/// A file that [`remove_all`] removes, and that goes when this is dropped.
pub(crate) struct Unfinished {
    place: Place,
    finished: bool,
}

impl Unfinished {
    /// Ends the watch: `finish` gives the file its own name.
    pub(crate) fn finish(mut self, finish: impl FnOnce(&Place) -> io::Result<()>) -> io::Result<()> {
        together(|names| names.finish(&mut self, finish))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.finished {
            let mut unfinished = change();
            let _ = self.place.unlink();
            forget(&mut unfinished, &self.place);
        }
    }
}

fn forget(unfinished: &mut Vec<Place>, place: &Place) {
    unfinished.retain(|other| other.name() != place.name());
}

fn change() -> RwLockWriteGuard<'static, Vec<Place>> {
    UNFINISHED.write().unwrap_or_else(PoisonError::into_inner)
}

static UNFINISHED: RwLock<Vec<Place>> = RwLock::new(Vec::new());
const TRIES: usize = 100;
const BLOCK: usize = 64 * 1024;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that goes wrong shall stop")]
mod tests {
    use super::*;
    use crate::folder::private_name;

    #[test]
    fn what_was_somebodys_file_before_is_never_taken_for_one_that_was_left() {
        assert!(may_be_left(&temporary_name().unwrap()));
        assert!(!may_be_left(&private_name().unwrap()));
    }
}
