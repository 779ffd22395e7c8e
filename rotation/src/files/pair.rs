//! A detached header and its payload: two files that change together.
//!
//! 1. New payload and new header are written to files without names, checked, and on disk: what fails for lack of room or of
//!    permission fails here.
//! 2. The journal appears: the new header, whole and on disk. Then the new payload gets a name beside the old one.
//! 3. The new payload takes the place of the old one.
//! 4. The new header takes the place of the old one. The journal goes.
//!
//! Cut off between 2 and 3, the old header opens the old payload, and the journal goes. Between 3 and 4 the payload
//! is the new one, which commits to the header in the journal, and that takes its place. Which of the two
//! it was, the payload tells, under the DEK of the journal's header.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use envelope_files::{
    Access, Existing, FileError, Journal, LockedFile, NewFile,
    disk::{self, Change},
    unfinished,
};
use envelope_sdk::{Header, Kind, OpenedHeader, crypto::cobblestone::PREFIX_LEN, stream};

use super::{check_is, of_file, of_stream};
use crate::{Reencryption, SourceError};

/// Where the payload of the detached header `path` is: `FILE.sealed` for `FILE.envelope`, and for a `FILE` that is called
/// otherwise.
#[must_use]
pub fn payload_path(path: &Path) -> PathBuf {
    let name = path.as_os_str().as_bytes();
    let mut payload = OsStr::from_bytes(name.strip_suffix(b".envelope").unwrap_or(name)).to_owned();
    payload.push(".sealed");
    payload.into()
}

/// Whether reencrypting the detached header at `path` was cut off, or is under way: then its payload may be of the
/// header in the journal, and the next job over it finishes that.
#[must_use]
pub fn is_half_reencrypted(path: &Path) -> bool {
    half_reencrypted(path).is_some()
}

/// The header in the journal of the detached header at `path`, if reencrypting that was cut off or is under way. A
/// payload is of the one of the two that it [commits to](OpenedHeader::payload).
#[must_use]
pub fn half_reencrypted(path: &Path) -> Option<Header> {
    journal(path, &File::open(path).ok()?)
}

/// Whether the file at `path` is none by itself but belongs to an envelope beside it that is rewrapped or reencrypted,
/// or was when a process was killed: a journal, a new payload, or a new file on its way to the place of the old one.
/// Its name alone does not say so.
#[must_use]
pub fn is_left_over(path: &Path) -> bool {
    is_rewrap_journal(path) || unfinished::is_left(path) || !matches!(beside(path), Beside::Nothing)
}

fn is_rewrap_journal(path: &Path) -> bool {
    let is_called_so = path.as_os_str().as_bytes().ends_with(REWRAP_SUFFIX.as_bytes());
    let mut bytes = Vec::new();
    is_called_so
        && LockedFile::open_unlocked(path)
            .is_ok_and(|file| file.take(Journal::MAX_LEN as u64 + 1).read_to_end(&mut bytes).is_ok())
        && Journal::parse(&bytes).is_some()
}

/// What a file is to an envelope whose name its own begins with.
pub(super) enum Beside {
    /// Nothing: a file of its own.
    Nothing,
    /// The journal of the header, or the new payload that the journal is about.
    OfJob,
    /// It has name and form of a journal, and is not [believed](journal).
    NotBelieved,
}

pub(super) fn beside(path: &Path) -> Beside {
    let name = path.as_os_str().as_bytes();
    let base = |suffix: &str| {
        let base = PathBuf::from(OsStr::from_bytes(name.strip_suffix(suffix.as_bytes())?));
        let header = LockedFile::open_unlocked(&base).ok()?;
        Some((journal(&base, &header).is_some(), header))
    };
    if let Some((has_journal, _)) = base(PAYLOAD_SUFFIX) {
        return if has_journal { Beside::OfJob } else { Beside::Nothing };
    }
    match base(SUFFIX) {
        Some((true, _)) => Beside::OfJob,
        // As another envelope it would be given another header, and might be all that is left of that of a payload.
        Some((false, header)) if is_detached(&header) && read_journal(path).is_some() => Beside::NotBelieved,
        _ => Beside::Nothing,
    }
}

fn is_detached(file: &File) -> bool {
    stream::read_header_at(file).is_ok_and(|header| header.kind() == Kind::Detached)
}

fn read_journal(path: &Path) -> Option<Header> {
    let new = stream::read_header_at(&LockedFile::open_unlocked(path).ok()?).ok()?;
    (new.kind() == Kind::Detached && new.generation() == 0).then_some(new)
}

/// The header that was to take the place of `header`, the file at `path`, if reencrypting it was cut off or is under way.
///
/// The journal is believed if it is a regular file with one name, whole, of owner and group of `header`, and if nobody
/// may write it who may not write `header`. Anything else of that name is nobody's journal.
pub(super) fn journal(path: &Path, header: &File) -> Option<Header> {
    let journal_path = journal_path(path);
    // Mostly there is none.
    fs::symlink_metadata(&journal_path).ok()?;
    let journal = LockedFile::open_unlocked(&journal_path).ok()?;
    let (of_file, found) = (header.metadata().ok()?, journal.metadata().ok()?);
    let is_of_owner = (found.uid(), found.gid()) == (of_file.uid(), of_file.gid());
    let others_may_write = found.mode() & !of_file.mode() & 0o022 != 0;
    if !is_of_owner || others_may_write || found.nlink() != 1 {
        return None;
    }
    let new = stream::read_header_at(&journal).ok()?;
    (new.kind() == Kind::Detached && new.generation() == 0).then_some(new)
}

/// The beginning of the payload of the detached header `path`. A link is not followed, and nobody waits for the other
/// end of a pipe.
pub(super) fn read_prefix(path: &Path) -> Result<[u8; PREFIX_LEN], SourceError> {
    let mut prefix = [0; PREFIX_LEN];
    let mut payload = LockedFile::open_unlocked(&payload_path(path)).map_err(of_payload)?;
    payload.read_exact(&mut prefix).map_err(SourceError::store)?;
    Ok(prefix)
}

/// Replaces payload and header.
pub(super) fn reencrypt(path: &Path, old: &crate::Stored, keys: Reencryption) -> Result<u64, SourceError> {
    let locked = LockedFile::open(path).map_err(of_file)?;
    check_is(locked.file(), &old.header)?;
    let payload_path = payload_path(path);
    let payload = LockedFile::open(&payload_path).map_err(of_payload)?;
    let old_payload = payload.file().metadata().map_err(SourceError::store)?;
    if old_payload.nlink() > 1 {
        return Err(SourceError::Unsupported(
            "its payload has other names (hard links), which would keep the old one",
        ));
    }
    // Not under a temporary name at last: nobody could tell a payload that was left there from other files.
    let new_payload = with_suffix(path, PAYLOAD_SUFFIX);
    let output =
        NewFile::create(&new_payload, Existing::Keep, Access::Like(payload.file())).map_err(of_file)?;
    let sealed = keys.seal(payload.file(), 0, &mut disk::Writer(output.file()))?;
    let new = sealed.check(output.file(), 0)?;
    let len = output.file().metadata().map_err(SourceError::store)?.len();
    let header = new_header(&locked, &new)?;
    let folder = open_folder(path).map_err(SourceError::store)?;

    let mut journal =
        NewFile::create(&journal_path(path), Existing::Keep, Access::Like(locked.file())).map_err(of_file)?;
    journal.write_all(&new.to_bytes()).map_err(SourceError::store)?;
    drop(journal.commit().map_err(of_file)?);
    let written = output.commit().map_err(of_file)?;
    let there = fs::symlink_metadata(&payload_path).map_err(SourceError::store)?;
    if (there.dev(), there.ino()) != (old_payload.dev(), old_payload.ino()) {
        written.take_back().map_err(of_file)?;
        remove_journal(path)?;
        return Err(SourceError::Conflict);
    }
    disk::change(Change::Rename(&new_payload, &payload_path), || fs::rename(&new_payload, &payload_path))
        .map_err(SourceError::store)?;
    // The header follows also where this fails: then at least the files that are seen fit together.
    let flushed = disk::change(Change::SyncFolder(path), || folder.sync_all());
    drop(written);
    replace(&locked, header)?;
    flushed.map_err(SourceError::store)?;
    Ok(len + new.len() as u64)
}

/// Finishes what was cut off, or takes it back: `new` is of the journal.
pub(super) fn finish(
    locked: &LockedFile,
    new: &Header,
    unlock: impl Fn(Header) -> Result<OpenedHeader, SourceError>,
) -> Result<bool, SourceError> {
    let path = locked.path();
    let there = stream::read_header_at(locked.file()).map_err(of_stream)?;
    if there == *new {
        remove_journal(path)?;
        return Ok(true);
    }
    let prefix = read_prefix(path)?;
    // The journal goes beside a pair that is whole: it was never carried out, or the header was rewrapped since.
    let opened = unlock(there.clone());
    if opened.as_ref().is_ok_and(|opened| opened.payload(&prefix).is_ok()) {
        remove_journal(path)?;
        return Ok(true);
    }
    // An older header of the same envelope is none that was to take its place.
    if there.envelope_id() != new.envelope_id() && unlock(new.clone())?.payload(&prefix).is_ok() {
        replace(locked, new_header(locked, new)?)?;
        return Ok(true);
    }
    opened?;
    Err(SourceError::Unsupported(
        "its payload is of neither its header nor the one in its journal: both are kept",
    ))
}

/// The header that is to take the place of the old one: on disk, and without a name.
fn new_header(locked: &LockedFile, new: &Header) -> Result<NewFile, SourceError> {
    let mut header = locked.replacement().map_err(of_file)?;
    let written = header.write_all(&new.to_bytes());
    let synced =
        written.and_then(|()| disk::change(Change::Sync(header.file()), || header.file().sync_all()));
    synced.map_err(SourceError::store)?;
    Ok(header)
}

/// The last step.
fn replace(locked: &LockedFile, header: NewFile) -> Result<(), SourceError> {
    let written = header.commit().map_err(of_file)?;
    remove_journal(locked.path())?;
    drop(written);
    Ok(())
}

/// What was not put into its place goes first: the journal tells that it is of nobody else.
fn remove_journal(path: &Path) -> Result<(), SourceError> {
    if remove(&with_suffix(path, PAYLOAD_SUFFIX))? {
        // On disk too: without its journal it would be a file of nobody.
        let folder = open_folder(path).map_err(SourceError::store)?;
        disk::change(Change::SyncFolder(path), || folder.sync_all()).map_err(SourceError::store)?;
    }
    remove(&with_suffix(path, SUFFIX)).map(drop)
}

/// True when it was there.
fn remove(path: &Path) -> Result<bool, SourceError> {
    match disk::change(Change::Remove(path), || fs::remove_file(path)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(SourceError::store(error)),
    }
}

/// A header without its payload is not gone: it would be passed over.
fn of_payload(error: FileError) -> SourceError {
    match of_file(error) {
        SourceError::Gone => {
            SourceError::Unsupported("its payload is not beside it, under the name with .sealed")
        }
        error => error,
    }
}

/// The folder of `path`, to bring its names to disk.
fn open_folder(path: &Path) -> io::Result<File> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))
}

fn journal_path(path: &Path) -> PathBuf {
    with_suffix(path, SUFFIX)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

const REWRAP_SUFFIX: &str = ".rewrap-journal";
const SUFFIX: &str = ".reencrypt-journal";
const PAYLOAD_SUFFIX: &str = ".reencrypt-payload";
