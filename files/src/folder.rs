//! A name in a folder that is open.

use std::{
    ffi::{OsStr, OsString},
    fs::{File, Metadata},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, openat, renameat, statat, unlinkat},
    io::Errno,
};

use crate::{
    FileError,
    disk::{self, Change},
    kill,
};

/// A name in a folder, which stays that folder whatever its path means later.
#[derive(Clone)]
pub(crate) struct Place {
    folder: Arc<OwnedFd>,
    /// Whether `folder` was opened to be read, as flushing it needs.
    is_readable: bool,
    name: OsString,
    path: PathBuf,
}

impl Place {
    pub(crate) fn open(path: &Path) -> Result<Self, FileError> {
        Self::open_with(path, FOLDER)
    }

    fn open_with(path: &Path, access: OFlags) -> Result<Self, FileError> {
        let invalid = || FileError::io("write", path, io::ErrorKind::IsADirectory);
        let name = path.file_name().ok_or_else(invalid)?;
        // `file_name` leaves `/` and `/.` out, which ask for a folder.
        let bytes = path.as_os_str().as_bytes();
        if bytes.ends_with(b"/") || bytes.ends_with(b"/.") {
            return Err(invalid());
        }
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let open = |access: OFlags| openat(CWD, folder, access | OFlags::CLOEXEC, Mode::empty());
        let (opened, is_readable) = match open(access) {
            // It may be written and not read.
            Err(Errno::ACCESS | Errno::PERM) if access != FOLDER => (open(FOLDER), false),
            opened => (opened, access == READABLE_FOLDER),
        };
        Ok(Self {
            folder: Arc::new(opened.map_err(|error| FileError::io("write into", folder, error))?),
            is_readable,
            name: name.to_owned(),
            path: path.to_owned(),
        })
    }

    /// As [`open`](Self::open), for who will [`flush`](Self::flush) the folder: it is opened once for both.
    pub(crate) fn open_to_flush(path: &Path) -> Result<Self, FileError> {
        Self::open_with(path, READABLE_FOLDER)
    }

    /// Another name in the same folder.
    pub(crate) fn sibling(&self, name: OsString) -> Self {
        let path = self.path.with_file_name(&name);
        Self { folder: Arc::clone(&self.folder), is_readable: self.is_readable, name, path }
    }

    /// The path, for words alone.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn name(&self) -> &OsStr {
        &self.name
    }

    pub(crate) fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    /// What has this name; a link is not followed. `None` when nothing has.
    pub(crate) fn stat(&self) -> io::Result<Option<Stat>> {
        match statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// True when the name means this very file.
    pub(crate) fn is(&self, file: &File) -> io::Result<bool> {
        let held = file.metadata()?;
        self.is_of(held.dev(), held.ino())
    }

    /// True when the name means the file of this device and inode, which is open.
    pub(crate) fn is_of(&self, dev: u64, ino: u64) -> io::Result<bool> {
        Ok(self.stat()?.is_some_and(|there| is_same(&there, dev, ino)))
    }

    /// Opens what has this name, unless it is a link. Does not wait for the other
    /// end of a pipe.
    pub(crate) fn open_file(&self, access: OFlags) -> io::Result<File> {
        Ok(openat(&self.folder, &self.name, access | CAREFULLY, Mode::empty())?.into())
    }

    /// Creates a file for the owner alone. Fails when the name is taken.
    pub(crate) fn create_file(&self, mode: Mode) -> io::Result<File> {
        kill::point()?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        disk::change(Change::Make(&self.path), || Ok(openat(&self.folder, &self.name, flags, mode)?.into()))
    }

    /// Gives this file the name `to`, in the place of what has it.
    pub(crate) fn rename_over(&self, to: &Self) -> io::Result<()> {
        kill::point()?;
        disk::change(Change::Rename(&self.path, &to.path), || {
            Ok(renameat(&self.folder, &self.name, &to.folder, &to.name)?)
        })
    }

    /// Gives this file the name `to`, if nothing has it.
    pub(crate) fn rename_to_free(&self, to: &Self) -> io::Result<()> {
        kill::point()?;
        disk::change(Change::Rename(&self.path, &to.path), || self.really_rename_to_free(to))
    }

    fn really_rename_to_free(&self, to: &Self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{RenameFlags, renameat_with};
            match renameat_with(&self.folder, &self.name, &to.folder, &to.name, RenameFlags::NOREPLACE) {
                // Not every file system can.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
                done => return Ok(done?),
            }
        }
        if to.stat()?.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(renameat(&self.folder, &self.name, &to.folder, &to.name)?)
    }

    pub(crate) fn unlink(&self) -> io::Result<()> {
        kill::point()?;
        disk::change(Change::Remove(&self.path), || Ok(unlinkat(&self.folder, &self.name, AtFlags::empty())?))
    }

    /// Brings the names of the folder to disk. A folder that may be written and not
    /// read cannot be opened for that; then everything of the file system of `file`,
    /// which is in it, goes to disk.
    pub(crate) fn flush(&self, file: &File) -> io::Result<()> {
        kill::point()?;
        disk::change(Change::SyncFolder(&self.path), || self.really_flush(file))
    }

    fn really_flush(&self, file: &File) -> io::Result<()> {
        let flush = |folder: BorrowedFd<'_>| match rustix::fs::fsync(folder) {
            // Some file systems have nothing to flush there.
            Err(Errno::INVAL) => Ok(()),
            flushed => Ok(flushed?),
        };
        if self.is_readable {
            return flush(self.folder());
        }
        match openat(&self.folder, ".", READABLE_FOLDER | OFlags::CLOEXEC, Mode::empty()) {
            Ok(folder) => flush(folder.as_fd()),
            Err(Errno::ACCESS | Errno::PERM) => flush_file_system(file),
            Err(error) => Err(error.into()),
        }
    }
}

/// Opens the file at `path` to be read, unless it is a link, as [`Place::open_file`] does: for who does nothing else
/// in its folder.
pub(crate) fn open_to_read(path: &Path) -> io::Result<File> {
    Ok(openat(CWD, path, OFlags::RDONLY | CAREFULLY, Mode::empty())?.into())
}

/// A name that nothing else has: `.envctl-` and 16 random digits.
pub(crate) fn temporary_name() -> io::Result<OsString> {
    Ok(format!("{PREFIX}{}", random_digits()?).into())
}

/// The same for a file that was somebody's before: never one that may be removed because of its name.
pub(crate) fn private_name() -> io::Result<OsString> {
    Ok(format!("{PREFIX}input-{}", random_digits()?).into())
}

fn random_digits() -> io::Result<String> {
    use envelope_sdk::crypto::{DefaultEngine, Engine};
    let mut random = [0; 8];
    DefaultEngine::fill_random(&mut random).map_err(io::Error::other)?;
    Ok(format!("{:016x}", u64::from_ne_bytes(random)))
}

pub(crate) fn is_link(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
}

pub(crate) fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// True when it is the file that `was` tells of, and has the length and time of then.
pub(crate) fn is_unchanged(stat: &Stat, was: &Metadata) -> bool {
    #[allow(clippy::unnecessary_cast, clippy::cast_lossless, reason = "the types differ between systems")]
    let same = is_same(stat, was.dev(), was.ino())
        && stat.st_size as i128 == i128::from(was.size())
        && (stat.st_mtime as i64, stat.st_mtime_nsec as i64) == (was.mtime(), was.mtime_nsec());
    same
}

pub(crate) fn is_same(stat: &Stat, dev: u64, ino: u64) -> bool {
    #[allow(clippy::unnecessary_cast, reason = "the types differ between systems")]
    let same = (stat.st_dev as u64, stat.st_ino as u64) == (dev, ino);
    same
}

#[cfg(target_os = "linux")]
fn flush_file_system(file: &File) -> io::Result<()> {
    Ok(rustix::fs::syncfs(file)?)
}

#[cfg(not(target_os = "linux"))]
fn flush_file_system(file: &File) -> io::Result<()> {
    file.sync_all()
}

/// No link is followed, and nobody waits for the other end of a pipe.
const CAREFULLY: OFlags =
    OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
/// What temporary names begin with.
pub(crate) const PREFIX: &str = ".envctl-";

/// A folder needs no right to be read for names in it to be used.
#[cfg(target_os = "linux")]
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);
#[cfg(not(target_os = "linux"))]
const FOLDER: OFlags = READABLE_FOLDER;
/// To flush its names, it must be read.
const READABLE_FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);
