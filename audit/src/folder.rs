//! [`Folder`]: the files of a log where they are.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{FileExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use envelope_files::trust::{self, Purpose};
use rustix::{
    fs::{AtFlags, FlockOperation, Mode, OFlags, flock, fsync, openat, renameat, statat, unlinkat},
    io::{Errno, retry_on_intr},
};

use crate::{
    LogError,
    disk::Disk,
    segments::{beside, closed_numbers, closed_path, read_range},
};

/// The files of a log. Names are looked up in a folder that is open, and what was opened is compared with what has the
/// name each time the lock is taken: a file that somebody put in its place is not written past.
pub(crate) struct Folder {
    path: PathBuf,
    folder: OwnedFd,
    lock: Option<Held>,
    head: Option<Held>,
    current: Option<Held>,
}

/// A file that is open, and which one it is: that does not change, and is asked once.
struct Held {
    file: File,
    id: (u64, u64),
}

impl Held {
    fn new(file: File) -> io::Result<Self> {
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        Ok(Self { id: (found.dev(), found.ino()), file })
    }
}

impl Folder {
    /// The folder of the log at `path`, if nobody else can write what is there.
    pub(crate) fn open(path: &Path) -> Result<Self, LogError> {
        for file in [path.to_owned(), beside(path, "lock"), beside(path, "head")] {
            match trust::open(&file, Purpose::Settings) {
                Err(error) if error.is_not_found() => {}
                opened => drop(opened?),
            }
        }
        Self::unchecked(path)
    }

    /// The same for a log that is being created, whose folder is looked at when its key is read.
    pub(crate) fn unchecked(path: &Path) -> Result<Self, LogError> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(parent, flags, Mode::empty())
            .map_err(|error| LogError::io("open the folder", parent, error.into()))?;
        Ok(Self { path: path.to_owned(), folder, lock: None, head: None, current: None })
    }

    /// Makes the lock file of a new log, if there is none.
    pub(crate) fn make_lock(&mut self) -> io::Result<()> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&self.folder, self.name("lock"), flags, OWNER)?;
        Ok(())
    }

    fn name(&self, ending: &str) -> OsString {
        beside(&self.path, ending).file_name().map(OsString::from).unwrap_or_default()
    }

    fn current_name(&self) -> OsString {
        self.path.file_name().map(OsString::from).unwrap_or_default()
    }

    /// Opens what has this name to be written; `None` when nothing has.
    fn open_file(&self, name: &OsString) -> io::Result<Option<Held>> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        match openat(&self.folder, name, flags, Mode::empty()) {
            Ok(file) => Held::new(file.into()).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn head_file(&self) -> io::Result<&File> {
        self.head.as_ref().map(|held| &held.file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn current_file(&self) -> io::Result<&File> {
        self.current.as_ref().map(|held| &held.file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Opens what has the names of the log now, under the lock.
    fn look(&mut self) -> io::Result<()> {
        let (head, current) = (self.name("head"), self.current_name());
        if !self.is_still(&head, self.head.as_ref())? {
            self.head = self.open_file(&head)?;
        }
        if !self.is_still(&current, self.current.as_ref())? {
            self.current = self.open_file(&current)?;
        }
        Ok(())
    }

    /// Whether this name means this file still.
    fn is_still(&self, name: &OsString, held: Option<&Held>) -> io::Result<bool> {
        let there = match statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            #[allow(clippy::unnecessary_cast, reason = "the types differ between systems")]
            Ok(stat) => Some((stat.st_dev as u64, stat.st_ino as u64)),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(held.is_some_and(|held| Some(held.id) == there))
    }
}

impl Disk for Folder {
    fn path(&self, segment: Option<u64>) -> PathBuf {
        segment.map_or_else(|| self.path.clone(), |number| closed_path(&self.path, number))
    }

    fn head_path(&self) -> PathBuf {
        beside(&self.path, "head")
    }

    fn lock(&mut self) -> io::Result<()> {
        let lock = self.name("lock");
        loop {
            if !self.is_still(&lock, self.lock.as_ref())? {
                self.lock = self.open_file(&lock)?;
            }
            let Some(Held { file, .. }) = &self.lock else {
                return Err(io::Error::new(io::ErrorKind::NotFound, "its lock file is gone"));
            };
            retry_on_intr(|| flock(file, FlockOperation::LockExclusive))?;
            match self.is_still(&lock, self.lock.as_ref()) {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => {
                    self.unlock();
                    return Err(error);
                }
            }
        }
        let looked = self.look();
        // Whoever fails here does not come to unlock it, and would hold up everybody else who writes or verifies.
        if looked.is_err() {
            self.unlock();
        }
        looked
    }

    fn unlock(&mut self) {
        if let Some(Held { file, .. }) = &self.lock {
            let _ = flock(file, FlockOperation::Unlock);
        }
    }

    fn head(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.head.as_ref().map(|head| read_range(&head.file, 0, 4096)).transpose()
    }

    fn write_head(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.head_file()?.write_all_at(bytes, 0)
    }

    fn sync_head(&mut self) -> io::Result<()> {
        self.head_file()?.sync_data()
    }

    fn closed(&mut self) -> io::Result<Vec<u64>> {
        closed_numbers(&self.path)
    }

    fn length(&mut self) -> io::Result<Option<u64>> {
        Ok(self.current.as_ref().map(|held| held.file.metadata()).transpose()?.map(|held| held.len()))
    }

    fn read(&mut self, segment: Option<u64>, from: u64, length: usize) -> io::Result<Vec<u8>> {
        match segment {
            None => read_range(self.current_file()?, from, length),
            Some(number) => {
                read_range(&crate::segments::open(&closed_path(&self.path, number))?, from, length)
            }
        }
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.current_file()?.write_all_at(bytes, at)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.current_file()?.sync_data()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        let current = self.current_file()?;
        current.set_len(length)?;
        current.sync_data()
    }

    fn sync_names(&mut self) -> io::Result<()> {
        match fsync(&self.folder) {
            // Some file systems have nothing to flush there.
            Err(Errno::INVAL) => Ok(()),
            flushed => Ok(flushed?),
        }
    }

    fn close_segment(&mut self, number: u64) -> io::Result<()> {
        let closed = self.path(Some(number)).file_name().map(OsString::from).unwrap_or_default();
        if statat(&self.folder, &closed, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        renameat(&self.folder, self.current_name(), &self.folder, closed)?;
        self.current = None;
        self.sync_names()
    }

    fn open_segment(&mut self) -> io::Result<()> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.current = Some(Held::new(openat(&self.folder, self.current_name(), flags, OWNER)?.into())?);
        Ok(())
    }

    fn remove(&mut self, number: u64) -> io::Result<()> {
        let closed = self.path(Some(number)).file_name().map(OsString::from).unwrap_or_default();
        unlinkat(&self.folder, closed, AtFlags::empty())?;
        self.sync_names()
    }
}

const OWNER: Mode = Mode::RUSR.union(Mode::WUSR);
