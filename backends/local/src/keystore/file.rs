//! The keystore file on disk: read safely, replaced whole, under a lock.
//!
//! - Nothing is followed or trusted by its name: a file is opened without
//!   following a link, and the opened handle is asked for type, owner and mode.
//! - All names are looked up in the folder's handle, so that a folder moved
//!   meanwhile changes nothing.
//! - A write goes to `.NAME.envelope-tmp` beside the file, is synced, renamed
//!   over it, and the folder is synced: a crash leaves the old file or the new
//!   one. What a killed process leaves there, the next writer removes.
//! - The lock is on `PATH.lock`, which is never removed or renamed: a lock on
//!   the file itself would be lost with the rename.
//!
//! Whether others may write the *folder* is not checked: group-writable folders
//! are common, a file put there by others is refused for its owner, and an
//! older copy of the keystore cannot be told from the folder's mode.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, Metadata},
    io::{self, Read, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, flock, fsync, linkat, openat, renameat, unlinkat},
    io::{Errno, retry_on_intr},
    process::geteuid,
};

use crate::KeystoreError;

/// Most bytes of a keystore file: 16 MiB, some 80,000 key versions.
pub(crate) const MAX_FILE_LEN: u64 = 16 * 1024 * 1024;

/// Where a keystore is or will be.
pub(super) struct Place {
    path: PathBuf,
    folder: PathBuf,
    name: OsString,
}

impl Place {
    pub(super) fn new(path: &Path) -> Result<Self, KeystoreError> {
        // A process that changes its working directory keeps its keystore.
        let absolute = std::path::absolute(path).map_err(|source| io_error("find", path, source))?;
        let ends_in_slash = path.as_os_str().as_bytes().ends_with(b"/");
        match (absolute.parent(), absolute.file_name()) {
            (Some(folder), Some(name)) if !ends_in_slash => {
                Ok(Self { folder: folder.into(), name: name.into(), path: absolute })
            }
            _ => Err(KeystoreError::NoFileName { path: path.into() }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses early, before Argon2id runs; [`Lock::create`] decides.
    pub(super) fn check_vacant(&self) -> Result<(), KeystoreError> {
        match fs::symlink_metadata(&self.path) {
            Ok(_) => Err(KeystoreError::AlreadyExists { path: self.path.clone() }),
            Err(_) => Ok(()),
        }
    }

    /// Makes the folders that are missing, for this user alone.
    pub(super) fn create_folder(&self) -> Result<(), KeystoreError> {
        let missing: Vec<_> = self.folder.ancestors().take_while(|folder| !folder.exists()).collect();
        let create = DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        create.map_err(|source| io_error("create", &self.folder, source))?;
        for parent in missing.into_iter().filter_map(Path::parent) {
            sync_folder(&open_folder(parent)?, parent)?;
        }
        Ok(())
    }

    pub(super) fn read(&self) -> Result<Vec<u8>, KeystoreError> {
        self.read_in(&self.open_folder()?)
    }

    /// Waits until no other process or thread holds the lock.
    pub(super) fn lock(&self) -> Result<Lock<'_>, KeystoreError> {
        let folder = self.open_folder()?;
        let name = with_affixes("", &self.name, ".lock");
        let path = self.folder.join(&name);
        let flags = OFlags::RDWR | OFlags::CREATE | SAFE;
        let lock = open_checked(&folder, &name, &path, flags)?;
        retry_on_intr(|| flock(&lock, FlockOperation::LockExclusive))
            .map_err(|errno| io_error("lock", &path, errno.into()))?;
        let temporary = with_affixes(".", &self.name, ".envelope-tmp");
        Ok(Lock { place: self, folder, temporary, _lock: lock })
    }

    /// Without its folder, the keystore is what is missing.
    fn open_folder(&self) -> Result<File, KeystoreError> {
        open_folder(&self.folder).map_err(|error| match error {
            KeystoreError::NotFound { .. } => KeystoreError::NotFound { path: self.path.clone() },
            error => error,
        })
    }

    fn read_in(&self, folder: &File) -> Result<Vec<u8>, KeystoreError> {
        let file = open_checked(folder, &self.name, &self.path, OFlags::RDONLY | SAFE)?;
        let mut bytes = Vec::new();
        let read = file.take(MAX_FILE_LEN + 1).read_to_end(&mut bytes);
        read.map_err(|source| io_error("read", &self.path, source))?;
        match u64::try_from(bytes.len()) {
            Ok(len) if len > MAX_FILE_LEN => Err(KeystoreError::TooLarge { path: self.path.clone(), len }),
            _ => Ok(bytes),
        }
    }
}

/// The right to write; released when dropped.
pub(super) struct Lock<'a> {
    place: &'a Place,
    folder: File,
    temporary: OsString,
    _lock: File,
}

impl Lock<'_> {
    pub(super) fn read(&self) -> Result<Vec<u8>, KeystoreError> {
        self.place.read_in(&self.folder)
    }

    /// Puts `bytes` in the place of the file, all or nothing. They are there also if that is
    /// [not certain to last](KeystoreError::Unsynced).
    pub(super) fn replace(&self, bytes: &[u8]) -> Result<(), KeystoreError> {
        self.publish(bytes, |lock| renameat(&lock.folder, &lock.temporary, &lock.folder, &lock.place.name))
    }

    /// Makes the file, if there is none, all or nothing.
    pub(super) fn create(&self, bytes: &[u8]) -> Result<(), KeystoreError> {
        self.publish(bytes, |lock| {
            let Self { place, folder, temporary, .. } = lock;
            match rename_to_vacant(folder, temporary, &place.name) {
                Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                    linkat(folder, temporary, folder, &place.name, AtFlags::empty())?;
                    unlinkat(folder, temporary, AtFlags::empty())
                }
                renamed => renamed,
            }
        })
    }

    fn publish(
        &self,
        bytes: &[u8],
        rename: impl FnOnce(&Self) -> rustix::io::Result<()>,
    ) -> Result<(), KeystoreError> {
        let path = self.place.folder.join(&self.temporary);
        self.remove_temporary().map_err(|errno| io_error("remove", &path, errno.into()))?;
        let published = self.write_temporary(bytes, &path).and_then(|()| {
            rename(self).map_err(|errno| match errno {
                Errno::EXIST => KeystoreError::AlreadyExists { path: self.place.path.clone() },
                errno => io_error("replace", &self.place.path, errno.into()),
            })
        });
        if published.is_err() {
            // The error that led here says more than a second one.
            let _ = self.remove_temporary();
        }
        published?;
        // Whoever is told that nothing was changed throws away what opens the file now.
        sync_folder(&self.folder, &self.place.folder).map_err(|error| match error {
            KeystoreError::Io { source, .. } => {
                KeystoreError::Unsynced { path: self.place.path.clone(), source }
            }
            error => error,
        })
    }

    fn write_temporary(&self, bytes: &[u8], path: &Path) -> Result<(), KeystoreError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | SAFE;
        let file = openat(&self.folder, &self.temporary, flags, OWNER_ONLY);
        let mut file = File::from(file.map_err(|errno| io_error("create", path, errno.into()))?);
        file.write_all(bytes).map_err(|source| io_error("write", path, source))?;
        file.sync_all().map_err(|source| io_error("sync", path, source))
    }

    fn remove_temporary(&self) -> Result<(), Errno> {
        match unlinkat(&self.folder, &self.temporary, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            removed => removed,
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn rename_to_vacant(folder: &File, from: &OsString, to: &OsString) -> rustix::io::Result<()> {
    rustix::fs::renameat_with(folder, from, folder, to, rustix::fs::RenameFlags::NOREPLACE)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn rename_to_vacant(_: &File, _: &OsString, _: &OsString) -> rustix::io::Result<()> {
    Err(Errno::NOSYS)
}

fn open_folder(folder: &Path) -> Result<File, KeystoreError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match openat(CWD, folder, flags, Mode::empty()) {
        Ok(handle) => Ok(File::from(handle)),
        Err(Errno::NOENT) => Err(KeystoreError::NotFound { path: folder.into() }),
        Err(errno) => Err(io_error("open", folder, errno.into())),
    }
}

/// Opens a file that must be a regular one of this user alone.
fn open_checked(folder: &File, name: &OsString, path: &Path, flags: OFlags) -> Result<File, KeystoreError> {
    let file = match openat(folder, name, flags, OWNER_ONLY) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Err(KeystoreError::NotFound { path: path.into() }),
        Err(errno) => {
            // A link, a socket or somebody else's file: say which. The file is refused in any case.
            if let Ok(metadata) = fs::symlink_metadata(path) {
                check(path, &metadata)?;
            }
            return Err(io_error("open", path, errno.into()));
        }
    };
    let metadata = file.metadata().map_err(|source| io_error("examine", path, source))?;
    check(path, &metadata)?;
    Ok(file)
}

fn check(path: &Path, metadata: &Metadata) -> Result<(), KeystoreError> {
    let (path, expected) = (PathBuf::from(path), geteuid().as_raw());
    if metadata.is_symlink() {
        Err(KeystoreError::Symlink { path })
    } else if !metadata.is_file() {
        Err(KeystoreError::NotAFile { path })
    } else if metadata.uid() != expected {
        Err(KeystoreError::WrongOwner { path, owner: metadata.uid(), expected })
    } else if metadata.mode() & 0o077 != 0 {
        Err(KeystoreError::Permissions { path, mode: metadata.mode() & 0o7777 })
    } else {
        Ok(())
    }
}

fn sync_folder(folder: &File, path: &Path) -> Result<(), KeystoreError> {
    match fsync(folder) {
        // Some network file systems cannot sync a folder, and need not.
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(errno) => Err(io_error("sync", path, errno.into())),
    }
}

fn with_affixes(prefix: &str, name: &OsString, suffix: &str) -> OsString {
    let mut whole = OsString::from(prefix);
    whole.push(name);
    whole.push(suffix);
    whole
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> KeystoreError {
    KeystoreError::Io { action, path: path.into(), source }
}

/// Without `NONBLOCK`, opening a pipe would wait for its other end.
const SAFE: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
const OWNER_ONLY: Mode = Mode::RUSR.union(Mode::WUSR);

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use envelope_sdk::ProviderErrorKind;

    use super::*;

    #[test]
    fn a_change_whose_folder_cannot_be_synced_is_told_as_one_that_was_made() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(&folder.path().join("keys.json")).unwrap();
        let mut lock = place.lock().unwrap();
        // Names are found by it, and nothing can be synced.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        lock.folder = openat(CWD, folder.path(), flags, Mode::empty()).unwrap().into();
        let told = [lock.create(b"one"), lock.replace(b"two")].map(Result::unwrap_err);
        assert!(told.iter().all(|error| matches!(error, KeystoreError::Unsynced { .. })), "{told:?}");
        // As `AuditedAdmin` has it, one of the kind `Other` was not made.
        assert!(told.iter().all(|error| error.kind() == ProviderErrorKind::Protocol));
        assert_eq!(place.read().unwrap(), b"two");
    }
}
