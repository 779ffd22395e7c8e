//! An output that appears whole under its name, or never was.

use std::{
    fs::{File, Metadata},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::Path,
};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};

use crate::{
    FileError, attributes,
    disk::{self, Change},
    flocked::Flocked,
    folder::{Place, is_link, is_regular, is_same, is_unchanged},
    kill,
    unfinished::{self, Names, Unfinished},
};

/// What becomes of a file that has the name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and there is an error.
    Keep,
    /// The new file takes its place.
    Replace,
}

/// Who may read a new file.
#[derive(Debug, Clone, Copy)]
pub enum Access<'a> {
    /// The owner alone (0600): plaintext, keys.
    Private,
    /// As the umask says: ciphertext.
    Public,
    /// Owner, group, mode, access list and attributes of this file.
    Like(&'a File),
}

/// A file that is being written. It has no name until [`commit`](Self::commit):
/// whatever ends the process until then, SIGKILL too, leaves nothing. On a file
/// system that cannot do that it has a temporary one, `.envctl-…`, in the folder of
/// its own, which goes when this is dropped and by
/// [`unfinished::remove_all`](crate::unfinished::remove_all).
pub struct NewFile {
    file: Flocked,
    place: Place,
    existing: Existing,
    temporary: Option<Unfinished>,
    /// The file that it is to be like, as it was: no other is replaced.
    like: Option<Box<Metadata>>,
}

impl NewFile {
    /// A new file for `path`.
    ///
    /// # Errors
    ///
    /// Said now, before any work is done: the name is taken and shall be kept; it is
    /// a symbolic link or anything else but a regular file; the folder cannot be
    /// written, or the attributes of the file to be replaced cannot be kept.
    pub fn create(path: &Path, existing: Existing, access: Access<'_>) -> Result<Self, FileError> {
        Self::create_at(Place::open(path)?, existing, access)
    }

    pub(crate) fn create_at(place: Place, existing: Existing, access: Access<'_>) -> Result<Self, FileError> {
        let path = || place.path().to_owned();
        match place.stat().map_err(|error| FileError::io("write", place.path(), error))? {
            None => {}
            Some(stat) if is_link(&stat) => return Err(FileError::Link { path: path() }),
            Some(stat) if !is_regular(&stat) => return Err(FileError::NotAFile { path: path() }),
            Some(_) if existing == Existing::Keep => return Err(FileError::Exists { path: path() }),
            Some(_) => {}
        }
        Self::make_at(place, existing, access)
    }

    /// As [`create_at`](Self::create_at), for who has just looked at what has the name: that it is taken is said
    /// by [`commit`](Self::commit) alone.
    pub(crate) fn make_at(place: Place, existing: Existing, access: Access<'_>) -> Result<Self, FileError> {
        let path = || place.path().to_owned();
        let mode = match access {
            Access::Private | Access::Like(_) => Mode::RUSR | Mode::WUSR,
            Access::Public => Mode::from_raw_mode(0o666),
        };
        let folder = place.path().parent().filter(|parent| !parent.as_os_str().is_empty());
        let cannot = |error| FileError::io("write into", folder.unwrap_or(Path::new(".")), error);
        let nameless = disk::change(Change::MakeUnnamed(place.path()), || unnamed(&place, mode));
        let (file, temporary) = match nameless.or_else(named_instead).map_err(cannot)? {
            Some(file) => (file, None),
            None => {
                let (file, temporary) =
                    unfinished::make(&place, |temporary| temporary.create_file(mode)).map_err(cannot)?;
                (file, Some(temporary))
            }
        };
        // Until it is dropped nobody rewraps it, or takes it for one that was left behind. Where there are no locks,
        // there are none of those either.
        let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
        let file = Flocked::new(file);
        let like = match access {
            Access::Like(old) => {
                disk::change(Change::Attributes(place.path()), || Ok(()))
                    .map_err(|error| FileError::Attributes { path: path(), what: "mode", source: error })?;
                attributes::copy(old, &file, place.path())?;
                Some(Box::new(old.metadata().map_err(|error| FileError::io("read", place.path(), error))?))
            }
            Access::Private | Access::Public => None,
        };
        Ok(Self { file, place, existing, temporary, like })
    }

    /// The file, to be written and read.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Flushes the file to disk, gives it its name, and flushes the folder. A symbolic link
    /// that has the name by now is not replaced, and a file that is to be
    /// [like another](Access::Like) replaces that one only, as it was.
    ///
    /// # Errors
    ///
    /// [`FileError`]; nothing has the name then that had not before. If flushing the
    /// folder failed and another file was replaced, that one is gone, and the new one
    /// stands there, perhaps not on disk yet.
    pub fn commit(self) -> Result<Written, FileError> {
        let Self { file, place, existing, temporary, like } = self;
        let cannot = |error| cannot(&place, error);
        let replace = |from: &Place| {
            check_replaced(&place, like.as_deref())?;
            from.rename_over(&place)
        };
        sync(&file).map_err(cannot)?;
        let named = match (temporary, existing) {
            (None, Existing::Keep) => unfinished::name(|| link(&file, &place)),
            (Some(temporary), Existing::Keep) => temporary.finish(|from| from.rename_to_free(&place)),
            // A link never replaces: under a temporary name it comes into the folder,
            // which takes the place of the other at once.
            (None, Existing::Replace) => unfinished::make(&place, |temporary| link(&file, temporary))
                .and_then(|((), temporary)| temporary.finish(replace)),
            (Some(temporary), Existing::Replace) => temporary.finish(replace),
        };
        named.map_err(cannot)?;
        let written = Written { place, file };
        match written.place.flush(&written.file) {
            Ok(()) => Ok(written),
            Err(error) => {
                let error = FileError::io("flush the folder of", written.place.path(), error);
                if existing == Existing::Keep {
                    let _ = written.take_back();
                }
                Err(error)
            }
        }
    }
}

impl NewFile {
    fn cannot(&self, error: io::Error) -> FileError {
        cannot(&self.place, error)
    }

    fn take_free_name(&mut self, names: &mut Names) -> io::Result<()> {
        match &mut self.temporary {
            None => link(&self.file, &self.place),
            Some(temporary) => names.finish(temporary, |from| from.rename_to_free(&self.place)),
        }
    }
}

/// Gives two new files their names, both or neither, as [`NewFile::commit`] does for one.
/// Neither replaces what has its name by now, whatever it was made for. Only what cannot be
/// caught (SIGKILL, loss of power) comes between the two names, and leaves `first` alone then.
///
/// # Errors
///
/// [`FileError`]; neither has its name then.
pub fn commit_both(mut first: NewFile, mut second: NewFile) -> Result<(), FileError> {
    for new in [&first, &second] {
        sync(&new.file).map_err(|error| new.cannot(error))?;
    }
    unfinished::together(|names| {
        first.take_free_name(names).map_err(|error| first.cannot(error))?;
        second.take_free_name(names).map_err(|error| {
            let _ = first.place.unlink();
            second.cannot(error)
        })
    })?;
    let flush = |new: &NewFile| {
        let flushed = new.place.flush(&new.file);
        flushed.map_err(|error| FileError::io("flush the folder of", new.place.path(), error))
    };
    flush(&first).and_then(|()| flush(&second)).inspect_err(|_| {
        for NewFile { file, place, .. } in [first, second] {
            let _ = Written { place, file }.take_back();
        }
    })
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        disk::write(&self.file, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that has its name and is on disk.
#[must_use = "or drop it, to say that it stays"]
pub struct Written {
    place: Place,
    file: Flocked,
}

impl Written {
    /// Removes the file again, if its name still means it.
    ///
    /// # Errors
    ///
    /// [`FileError`] when it cannot be removed.
    pub fn take_back(self) -> Result<(), FileError> {
        let cannot = |error| FileError::io("remove", self.place.path(), error);
        if self.place.is(&self.file).map_err(cannot)? {
            self.place.unlink().map_err(cannot)?;
        }
        Ok(())
    }
}

fn cannot(place: &Place, error: io::Error) -> FileError {
    match error.downcast::<FileError>() {
        Ok(error) => error,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            FileError::Exists { path: place.path().to_owned() }
        }
        Err(error) => FileError::io("write", place.path(), error),
    }
}

/// What has the name was looked at long ago, before the work was done.
fn check_replaced(place: &Place, like: Option<&Metadata>) -> io::Result<()> {
    let path = || place.path().to_owned();
    let there = place.stat()?;
    if there.as_ref().is_some_and(is_link) {
        return Err(io::Error::other(FileError::Link { path: path() }));
    }
    match like {
        Some(like) if !there.is_some_and(|there| is_unchanged(&there, like)) => {
            Err(io::Error::other(FileError::Changed { path: path() }))
        }
        _ => Ok(()),
    }
}

fn sync(file: &File) -> io::Result<()> {
    kill::point()?;
    disk::change(Change::Sync(file), || file.sync_all())
}

/// Where a test wants a file system without unnamed files.
fn named_instead(error: io::Error) -> io::Result<Option<File>> {
    if error.kind() == io::ErrorKind::Unsupported { Ok(None) } else { Err(error) }
}

/// A file without a name, or `None` where there are none or they cannot get one.
#[cfg(target_os = "linux")]
fn unnamed(place: &Place, mode: Mode) -> io::Result<Option<File>> {
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::{
        fs::{AtFlags, CWD, openat, statat},
        io::Errno,
    };
    /// Whether a file of this process was found by its descriptor.
    static PROC_IS_THERE: AtomicBool = AtomicBool::new(false);
    #[cfg(test)]
    if crate::tests::ALWAYS_NAMED.get() {
        return Ok(None);
    }
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file: File = match openat(place.folder(), ".", flags, mode) {
        Ok(file) => file.into(),
        // An old kernel takes the flags for those of a folder.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // Asked now, because the way to a name goes through /proc. Where it was found once, it stays.
    if !PROC_IS_THERE.load(Ordering::Relaxed) {
        let held = file.metadata()?;
        let found = statat(CWD, proc_path(&file), AtFlags::empty());
        if !found.is_ok_and(|found| is_same(&found, held.dev(), held.ino())) {
            return Ok(None);
        }
        PROC_IS_THERE.store(true, Ordering::Relaxed);
    }
    Ok(Some(file))
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it fails")]
fn unnamed(_place: &Place, _mode: Mode) -> io::Result<Option<File>> {
    Ok(None)
}

/// Gives an unnamed file a name. Fails when it is taken. This works for a process
/// that is not dumpable too: /proc/self/fd is closed to others only.
#[cfg(target_os = "linux")]
fn link(file: &File, to: &Place) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD, linkat};
    kill::point()?;
    disk::change(Change::Name(file, to.path()), || {
        Ok(linkat(CWD, proc_path(file), to.folder(), to.name(), AtFlags::SYMLINK_FOLLOW)?)
    })
}

#[cfg(not(target_os = "linux"))]
fn link(_file: &File, _to: &Place) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(target_os = "linux")]
fn proc_path(file: &File) -> String {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}", file.as_raw_fd())
}
