//! A new header over the old one, when both have one length: what a rewrap of
//! a large file costs then does not depend on the file.
//!
//! The new header goes to a journal beside the file first, `FILE.rewrap-journal`,
//! and is flushed to disk. A crash afterwards may leave a header in the file
//! that is half old and half new; whoever opens the file next finds the journal
//! and finishes the job. A journal is a hint and no more: it counts only if its
//! MAC verifies under a key that the reader configured and the payload in the
//! file commits to the same DEK. With a whole header in the file, the journal is
//! ignored by readers and removed by the next rewrap.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use envelope_sdk::{
    Header, OpenedHeader,
    format::{MAC_LEN, MAX_BODY_LEN, PREAMBLE_LEN},
    printable,
    stream::{self, RangedReader},
};
use rustix::fs::{FlockOperation, OFlags, flock};

use crate::{
    error::{CliError, Result},
    output::{NewFile, Secrecy},
};

/// Writes `new` over the header at the front of `file`, which is open at `path`
/// for writing and locked. It has the length of the header that is there.
pub(crate) fn replace_header(file: &File, path: &Path, new: &Header) -> Result<()> {
    let journal = journal_path(path);
    let mode = file.metadata().map_err(|error| CliError::io("read", path, &error))?.mode();
    let mut entry = NewFile::create(&journal, true, Secrecy::Mode(mode))?;
    io::Write::write_all(entry.file(), &new.to_bytes())
        .map_err(|error| CliError::io("write", &journal, &error))?;
    entry.commit()?;
    write_header(file, new).map_err(|error| {
        CliError::io("write the header of", path, &error).hint(format!(
            "keep {}: the next `envctl rewrap` or `envctl decrypt` repairs it",
            printable::path(&journal)
        ))
    })?;
    remove_journal(path)
}

/// Removes the journal of `path`, if there is one.
pub(crate) fn remove_journal(path: &Path) -> Result<()> {
    let journal = journal_path(path);
    match fs::remove_file(&journal) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(CliError::io("remove", &journal, &error))
        }
        _ => Ok(()),
    }
}

/// True when there is something to [`recover`] from.
pub(crate) fn has_journal(path: &Path) -> bool {
    fs::symlink_metadata(journal_path(path)).is_ok_and(|metadata| metadata.is_file())
}

/// As [`recover`], for who has not locked the file: waits for a rewrap that is
/// under way, after which the header may be whole.
pub(crate) fn wait_and_recover(
    file: &File,
    path: &Path,
    unlock: impl Fn(Header) -> Result<OpenedHeader>,
) -> Option<OpenedHeader> {
    flock(file, FlockOperation::LockExclusive).ok()?;
    let whole = stream::read_header_at(file).ok().and_then(|header| unlock(header).ok());
    let opened = whole.or_else(|| recover(file, path, true, unlock));
    let _ = flock(file, FlockOperation::Unlock);
    opened
}

/// Opens `file`, which stands at `path` and whose header does not open, with the
/// header of its journal, and finishes the interrupted rewrap if `may_write` and
/// the file can be written. `None` when the journal is not there or does not fit.
pub(crate) fn recover(
    file: &File,
    path: &Path,
    may_write: bool,
    unlock: impl Fn(Header) -> Result<OpenedHeader>,
) -> Option<OpenedHeader> {
    let opened = unlock(read_journal(path)?).ok()?;
    // Commitment and last chunk: is it the journal of this payload?
    let payload_at = opened.header().len() as u64;
    RangedReader::new(&opened, file, payload_at).ok()?;
    if may_write {
        // A file that is not ours to write can be read all the same.
        let _ = finish(file, path, opened.header());
    }
    Some(opened)
}

/// What to do about a file that does not open and has a journal, for those who
/// have no key to check it with.
pub(crate) fn hint(path: &Path) -> String {
    format!(
        "a rewrap was interrupted and left {}: `envctl rewrap` or `envctl decrypt` finishes it",
        printable::path(&journal_path(path))
    )
}

fn finish(file: &File, path: &Path, header: &Header) -> Result<()> {
    let cannot = |error: io::Error| CliError::io("write the header of", path, &error);
    let writable = OpenOptions::new().write(true).open(path).map_err(cannot)?;
    let (held, there) = (file.metadata().map_err(cannot)?, writable.metadata().map_err(cannot)?);
    if (held.dev(), held.ino()) != (there.dev(), there.ino()) {
        return Err(cannot(io::Error::other("it was replaced meanwhile")));
    }
    write_header(&writable, header).map_err(cannot)?;
    remove_journal(path)
}

fn write_header(file: &File, header: &Header) -> io::Result<()> {
    file.write_all_at(&header.to_bytes(), 0)?;
    file.sync_data()
}

fn read_journal(path: &Path) -> Option<Header> {
    let journal = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits().cast_signed())
        .open(journal_path(path))
        .ok()?;
    let mut bytes = Vec::new();
    journal.take(MAX_HEADER_LEN as u64 + 1).read_to_end(&mut bytes).ok()?;
    Header::parse_exact(&bytes).ok()
}

fn journal_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".rewrap-journal");
    name.into()
}

const MAX_HEADER_LEN: usize = PREAMBLE_LEN + MAX_BODY_LEN + MAC_LEN;
