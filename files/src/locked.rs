//! A file that is rewrapped.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

use envelope_sdk::{Header, OpenedHeader, stream::StreamError};
use rustix::{
    fs::{FlockOperation, OFlags, flock},
    io::Errno,
    process::{Resource, getrlimit},
};

use crate::{
    Access, Existing, FileError, Journal, NewFile, Written, attributes,
    disk::{self, Change},
    flocked::Flocked,
    folder::{self, Place},
    kill,
    recover::{self, JournalBeside, Origin},
};

/// A regular file that no other process rewraps meanwhile. Dropped, it is free again.
pub struct LockedFile {
    file: Flocked,
    /// Its device and inode.
    identity: (u64, u64),
    place: Place,
    is_writable: bool,
}

/// What became of a header that was to be written in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "what was not written must be written otherwise"]
pub enum HowWritten {
    /// It stands in the file, and is on disk.
    InPlace,
    /// Nothing was changed: the file must be [replaced](LockedFile::replacement). The
    /// file cannot be written, the headers differ in length, or something else has the name of
    /// the journal.
    NotInPlace,
}

impl LockedFile {
    /// Opens the file at `path` and locks it (`flock`): of two rewraps at once, one is told
    /// to come later. A file that cannot be written is opened to be read: it can be
    /// replaced all the same, if its folder can be written.
    ///
    /// # Errors
    ///
    /// [`FileError`]: a symbolic link, not a regular file, locked, not there.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let place = Place::open_to_flush(path)?;
        let cannot = |error| FileError::io("read", path, error);
        let (file, is_writable) = match place.open_file(OFlags::RDWR) {
            Ok(file) => (file, true),
            Err(error) if is_link_error(&error) => return Err(FileError::Link { path: path.to_owned() }),
            Err(_) => (regular(place.open_file(OFlags::RDONLY), path)?, false),
        };
        let metadata = file.metadata().map_err(cannot)?;
        if !metadata.is_file() {
            return Err(FileError::NotAFile { path: path.to_owned() });
        }
        let lock = || Ok(flock(&file, FlockOperation::NonBlockingLockExclusive)?);
        match disk::change(Change::Lock(path), lock) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(FileError::Busy { path: path.to_owned() });
            }
            Err(error) => return Err(FileError::io("lock", path, error)),
        }
        let file = Flocked::new(file);
        // Replaced between open and lock: then this is not the file any more.
        let identity = (metadata.dev(), metadata.ino());
        if !place.is_of(identity.0, identity.1).map_err(cannot)? {
            return Err(FileError::Busy { path: path.to_owned() });
        }
        Ok(Self { file, identity, place, is_writable })
    }

    /// As [`open`](Self::open), to be read alone and without a lock: for a dry run.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), but [`FileError::Busy`].
    pub fn open_unlocked(path: &Path) -> Result<File, FileError> {
        regular(folder::open_to_read(path), path)
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Its path, for words.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// What stands where the journal of the file would.
    #[must_use]
    pub fn journal(&self) -> Option<JournalBeside> {
        recover::beside(&self.file, &self.place)
    }

    /// Opens the header with the keys of `unlock` and finishes an interrupted rewrap
    /// first, if there is one: see [`open_header`](crate::open_header), for what is believed.
    ///
    /// # Errors
    ///
    /// What `unlock` or reading said of the header in the file; a [`FileError`] when the
    /// header of the journal cannot be written.
    pub fn open_header<E: From<StreamError> + From<FileError>>(
        &self,
        unlock: impl Fn(Header) -> Result<OpenedHeader, E>,
    ) -> Result<OpenedHeader, E> {
        let journal = || self.journal()?.journal;
        let (opened, from) = recover::open(&self.file, unlock, journal)?;
        if from == Origin::Journal && self.is_writable {
            self.check()?;
            self.write_over(opened.header())?;
            self.remove_journal()?;
        }
        Ok(opened)
    }

    /// Writes `new` over the header `old` at the front of the file, which was opened:
    /// a journal that is there is dead then. Both headers are in the journal, on disk, before a
    /// byte of the file is touched.
    ///
    /// # Errors
    ///
    /// [`FileError`]. After [`FileError::HeaderCutOff`] the file opens by its journal alone;
    /// after every other error it is as it was.
    pub fn write_header(&self, old: &Header, new: &Header) -> Result<HowWritten, FileError> {
        let Some(journal) = Journal::encode(old, new).filter(|_| self.is_writable) else {
            return Ok(HowWritten::NotInPlace);
        };
        let mut there = vec![0; old.len()];
        let path = self.place.path();
        self.file.read_exact_at(&mut there, 0).map_err(|error| FileError::io("read", path, error))?;
        if there != old.to_bytes() {
            return Err(FileError::Changed { path: path.to_owned() });
        }
        self.check()?;
        // The journal may be shorter than the header, and so be written where that would be cut off.
        if getrlimit(Resource::Fsize).current.is_some_and(|limit| limit < new.len() as u64) {
            return Err(FileError::io("write", path, Errno::FBIG));
        }
        match self.journal().map(|beside| beside.journal) {
            None => {}
            Some(Some(journal)) if journal.is_of(new) => self.remove_journal()?,
            Some(_) => return Ok(HowWritten::NotInPlace),
        }
        match self.write_journal(&journal) {
            Ok(()) => {}
            // Of another who was faster, or a name too long for this file system.
            Err(FileError::Exists { .. } | FileError::Link { .. } | FileError::NotAFile { .. }) => {
                return Ok(HowWritten::NotInPlace);
            }
            Err(FileError::Io { source, .. }) if source.kind() == io::ErrorKind::InvalidFilename => {
                return Ok(HowWritten::NotInPlace);
            }
            Err(error) => return Err(error),
        }
        if let Err(error) = self.check() {
            let _ = self.remove_journal();
            return Err(error);
        }
        self.write_over(new)?;
        self.remove_journal()?;
        Ok(HowWritten::InPlace)
    }

    /// A file that replaces this one as a whole when it is committed, with the owner,
    /// group, mode, access list and attributes of this one. Call
    /// [`replaced`](Self::replaced) then.
    ///
    /// # Errors
    ///
    /// [`FileError`]: the file has other names, which would keep the old header; what it has
    /// cannot be given to the new one; its folder cannot be written.
    pub fn replacement(&self) -> Result<NewFile, FileError> {
        let path = self.place.path();
        let names = self.file.metadata().map_err(|error| FileError::io("read", path, error))?.nlink();
        if names > 1 {
            return Err(FileError::HardLinks { path: path.to_owned(), names });
        }
        self.check()?;
        NewFile::create_at(self.place.clone(), Existing::Replace, Access::Like(&self.file))
    }

    /// Removes a journal that belonged to the file before it was replaced by `written`, whose
    /// header is `new`. What is no journal, of another user or of another envelope, stays.
    ///
    /// The new file is locked until then, so that no journal of a next rewrap is there yet.
    ///
    /// # Errors
    ///
    /// [`FileError`] when it cannot be removed. It is dead beside the new file.
    pub fn replaced(self, written: Written, new: &Header) -> Result<(), FileError> {
        let removed = match self.journal().and_then(|beside| beside.journal) {
            Some(journal) if journal.is_of(new) => self.remove_journal(),
            _ => Ok(()),
        };
        drop(written);
        removed
    }

    /// Removes the journal of a rewrap that was killed after it had written the header, or before it touched it: the
    /// file begins with one of the two headers, whole, so that nothing needs the journal any more.
    /// True when there was one.
    ///
    /// # Errors
    ///
    /// [`FileError`] when it cannot be removed.
    pub fn remove_dead_journal(&self) -> Result<bool, FileError> {
        let Some(journal) = self.journal().and_then(|beside| beside.journal) else { return Ok(false) };
        let mut front = vec![0; journal.new_header().len()];
        let path = self.place.path();
        match self.file.read_exact_at(&mut front, 0) {
            // It is of a longer file, which was here before.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            read => read.map_err(|error| FileError::io("read", path, error))?,
        }
        if front != journal.new_header().to_bytes() && front != journal.old().to_bytes() {
            return Ok(false);
        }
        self.remove_journal()?;
        Ok(true)
    }

    /// The name must mean this file still, or the journal would be another one's.
    fn check(&self) -> Result<(), FileError> {
        let path = self.place.path();
        match self.place.is_of(self.identity.0, self.identity.1) {
            Ok(true) => Ok(()),
            Ok(false) => Err(FileError::Changed { path: path.to_owned() }),
            Err(error) => Err(FileError::io("read", path, error)),
        }
    }

    fn journal_place(&self) -> Place {
        self.place.sibling(Journal::name_of(self.place.name()))
    }

    fn write_journal(&self, journal: &[u8]) -> Result<(), FileError> {
        let place = self.journal_place();
        let path = place.path().to_owned();
        let mut file = NewFile::make_at(place, Existing::Keep, Access::Private)?;
        file.write_all(journal)
            .and_then(|()| attributes::lend(&self.file, file.file()))
            .map_err(|error| FileError::io("write", &path, error))?;
        file.commit().map(drop)
    }

    fn write_over(&self, header: &Header) -> Result<(), FileError> {
        let written = kill::write_front(&self.file, &header.to_bytes())
            .and_then(|()| disk::change(Change::Sync(&self.file), || self.file.sync_data()));
        written.map_err(|source| FileError::HeaderCutOff {
            path: self.place.path().to_owned(),
            journal: self.journal_place().path().to_owned(),
            source,
        })
    }

    fn remove_journal(&self) -> Result<(), FileError> {
        let place = self.journal_place();
        match place.unlink() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(FileError::io("remove", place.path(), error))
            }
            _ => Ok(()),
        }
    }
}

/// What was opened at `path`, if it is a regular file.
fn regular(opened: io::Result<File>, path: &Path) -> Result<File, FileError> {
    let file = opened.map_err(|error| {
        if is_link_error(&error) {
            FileError::Link { path: path.to_owned() }
        } else {
            FileError::io("read", path, error)
        }
    })?;
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(file),
        Ok(_) => Err(FileError::NotAFile { path: path.to_owned() }),
        Err(error) => Err(FileError::io("read", path, error)),
    }
}

/// What opening a link without following it says.
fn is_link_error(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}
