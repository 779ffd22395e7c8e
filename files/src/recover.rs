//! The header of a file, also when a rewrap of it was interrupted.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

use envelope_sdk::{
    Header, OpenedHeader,
    format::{MAC_LEN, MAX_BODY_LEN, PREAMBLE_LEN},
    stream::{self, StreamError},
};
use rustix::{
    fs::{FlockOperation, OFlags, flock},
    process::geteuid,
};

use crate::{
    FileError, Journal,
    disk::{self, Change},
    folder::Place,
};

/// Opens the header at the front of `file`, which was opened at `path`, with the
/// keys of `unlock`. Writes nothing and waits for no lock: where a rewrap is under way
/// or was cut off, the header comes from its journal, which was on disk before the
/// header was touched.
///
/// A journal is not looked at unless the header does not open, and not believed for
/// a header that is whole ([`Journal`]): a key that is not configured, or a KMS that is
/// away, brings no old header back. Nor is one that another user put there
/// ([`journal_beside`]).
///
/// # Errors
///
/// What `unlock` or reading said of the header in the file.
pub fn open_header<E: From<StreamError>>(
    file: &File,
    path: &Path,
    unlock: impl Fn(Header) -> Result<OpenedHeader, E>,
) -> Result<OpenedHeader, E> {
    open(file, unlock, || journal_beside(file, path)?.journal).map(|(opened, _)| opened)
}

/// Where a header was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    File,
    Journal,
}

/// As [`open_header`], with `journal` to ask for the journal.
pub(crate) fn open<E: From<StreamError>>(
    file: &File,
    unlock: impl Fn(Header) -> Result<OpenedHeader, E>,
    journal: impl Fn() -> Option<Journal>,
) -> Result<(OpenedHeader, Origin), E> {
    let mut tries = TRIES;
    let mut front = read_front(file)?;
    loop {
        let header = stream::read_header(&mut front.as_slice());
        let error = match header.map_err(E::from).and_then(&unlock) {
            Ok(opened) => return Ok((opened, Origin::File)),
            Err(error) => error,
        };
        if let Some(opened) = journal().and_then(|journal| journal.open(file, &unlock)) {
            return Ok((opened, Origin::Journal));
        }
        // A rewrap may have come to its end between the two looks.
        tries -= 1;
        let now = read_front(file)?;
        if tries == 0 || now == front {
            return Err(error);
        }
        front = now;
    }
}

/// What stands where the journal of a file would.
#[derive(Debug)]
pub struct JournalBeside {
    /// Its path.
    pub path: PathBuf,
    /// The journal; `None` when what is there is not one, or is not believed.
    pub journal: Option<Journal>,
    /// Whether it would be believed, and is of a version that this build does not read: that of another build, which is
    /// to finish what it has begun.
    pub is_of_other_version: bool,
}

/// What stands where the journal of `file`, opened at `path`, would. `None` when
/// nothing does, or `path` means another file by now. Where `path` is a link, the
/// journal is beside the file that it leads to.
///
/// A journal is believed if it is a regular file with one name, whole, of the owner of
/// `file`, of root or of the user of this process, and if nobody may write it who may not
/// write `file`.
#[must_use]
pub fn journal_beside(file: &File, path: &Path) -> Option<JournalBeside> {
    let path = fs::canonicalize(path).ok()?;
    let place = Place::open(&path).ok()?;
    if !place.is(file).ok()? {
        return None;
    }
    beside(file, &place)
}

/// As [`journal_beside`], for the file `file` at `place`.
pub(crate) fn beside(file: &File, place: &Place) -> Option<JournalBeside> {
    let journal = place.sibling(Journal::name_of(place.name()));
    // What cannot be looked at is there, and not to be believed.
    if matches!(journal.stat(), Ok(None)) {
        return None;
    }
    let bytes = read_believed(file, &journal).ok().flatten().unwrap_or_default();
    Some(JournalBeside {
        path: journal.path().to_owned(),
        journal: Journal::parse(&bytes),
        is_of_other_version: Journal::is_of_other_version(&bytes),
    })
}

/// The bytes of a file that may be believed.
fn read_believed(file: &File, place: &Place) -> io::Result<Option<Vec<u8>>> {
    let journal = place.open_file(OFlags::RDONLY)?;
    let (of_file, found) = (file.metadata()?, journal.metadata()?);
    let is_of_owner = [of_file.uid(), 0, geteuid().as_raw()].contains(&found.uid());
    let of_other_group = if found.gid() == of_file.gid() { 0 } else { found.mode() & 0o020 };
    let others_may_write = found.mode() & !of_file.mode() & 0o022 | of_other_group != 0;
    if !found.is_file() || found.nlink() != 1 || !is_of_owner || others_may_write {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    journal.take(Journal::MAX_LEN as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Reads what stands at the front of `file`, which was opened at `path`, by `read`: without a lock, and once more under
/// one, which readers share, where the first look may have met half a header. A rewrap in place that was under way
/// is done by then, and what cannot be read still is damaged or was cut off.
///
/// It waits for nobody. `may_be_half` tells of an error whether half a header may be its reason.
///
/// # Errors
///
/// [`FileError::Busy`]: another process has the file locked, and it cannot be read meanwhile. What `read` says of it
/// otherwise is in the inner result.
pub fn read_settled<T, E>(
    file: &File,
    path: &Path,
    read: impl Fn() -> Result<T, E>,
    may_be_half: impl Fn(&E) -> bool,
) -> Result<Result<T, E>, FileError> {
    match read() {
        Err(error) if may_be_half(&error) => {}
        done => return Ok(done),
    }
    let lock = || Ok(flock(file, FlockOperation::NonBlockingLockShared)?);
    let locked = disk::change(Change::Lock(path), lock);
    let again = read();
    match locked {
        // It would be let go of with the file, which others may keep.
        Ok(()) => drop(flock(file, FlockOperation::Unlock)),
        Err(error)
            if error.kind() == io::ErrorKind::WouldBlock && again.as_ref().is_err_and(&may_be_half) =>
        {
            return Err(FileError::Busy { path: path.to_owned() });
        }
        // A file system without locks.
        Err(_) => {}
    }
    Ok(again)
}

/// As many bytes as a header may have, from the front of a file.
fn read_front(file: &File) -> Result<Vec<u8>, StreamError> {
    let mut front = vec![0; MAX_FRONT_LEN];
    let mut filled = 0;
    while filled < front.len() {
        match file.read_at(&mut front[filled..], filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(StreamError::Read(error)),
        }
    }
    front.truncate(filled);
    Ok(front)
}

/// One byte more than a header, so that what follows it is seen.
const MAX_FRONT_LEN: usize = PREAMBLE_LEN + MAX_BODY_LEN + MAC_LEN + 1;
/// Rewraps that may end while one reader looks.
const TRIES: usize = 10;
