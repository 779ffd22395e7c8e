//! An input that may be removed once its output is on disk.

use std::{
    fs::{File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

use crate::{
    FileError,
    folder::{Place, is_link, is_regular, is_same, is_unchanged, private_name},
};

/// A regular file as it was before it was read: which one, how long, how old.
pub struct ReadFile {
    place: Place,
    was: Metadata,
}

impl ReadFile {
    /// Takes down what `file`, which was opened at `path`, is now, before it is read.
    ///
    /// # Errors
    ///
    /// [`FileError`] when `path` is a symbolic link or no regular file, or means another
    /// file than `file`: said before any work is done.
    pub fn of(file: &File, path: &Path) -> Result<Self, FileError> {
        let place = Place::open(path)?;
        let cannot = |error| FileError::io("read", path, error);
        let was = file.metadata().map_err(cannot)?;
        match place.stat().map_err(cannot)? {
            Some(stat) if is_link(&stat) => Err(FileError::Link { path: path.to_owned() }),
            Some(stat) if !is_regular(&stat) => Err(FileError::NotAFile { path: path.to_owned() }),
            Some(stat) if is_same(&stat, was.dev(), was.ino()) => Ok(Self { place, was }),
            _ => Err(FileError::Changed { path: path.to_owned() }),
        }
    }

    /// Removes the file that was read, and no other: not one that took its name
    /// meanwhile, and not this one when it was written to meanwhile.
    ///
    /// It gets a private name first and is looked at under that, since between a look and a
    /// removal under its own name another file could take it.
    ///
    /// # Errors
    ///
    /// [`FileError::Changed`]: it stands under its name. [`FileError::Renamed`]: it could
    /// not be put back, and the text says what it is called.
    pub fn remove(self) -> Result<(), FileError> {
        let path = self.place.path();
        let cannot = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => FileError::Changed { path: path.to_owned() },
            _ => FileError::io("remove", path, error),
        };
        self.check(&self.place)?;
        let private = self.place.sibling(private_name().map_err(cannot)?);
        self.place.rename_to_free(&private).map_err(cannot)?;
        let put_back = |error| match private.rename_to_free(&self.place) {
            Ok(()) => error,
            Err(source) => {
                FileError::Renamed { path: path.to_owned(), now: private.path().to_owned(), source }
            }
        };
        self.check(&private).map_err(put_back)?;
        match private.unlink() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(put_back(cannot(error))),
            removed => removed.map_err(cannot),
        }
    }

    fn check(&self, place: &Place) -> Result<(), FileError> {
        let changed = || FileError::Changed { path: self.place.path().to_owned() };
        let stat = place.stat().map_err(|error| FileError::io("remove", self.place.path(), error))?;
        let stat = stat.ok_or_else(changed)?;
        if is_unchanged(&stat, &self.was) { Ok(()) } else { Err(changed()) }
    }
}
