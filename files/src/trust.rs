//! Whose words a program may believe: a file that chooses keys, code or secrets is
//! read only if nobody but its owner can have written it.
//!
//! The rule is OpenSSH's (`StrictModes`): the file, and every folder from the root down
//! to it, belongs to the user of this process or to root, and neither group nor others may
//! write it. Two things are told apart here:
//!
//! - A sticky folder of root, such as `/tmp`, may be written by all. Nobody can
//!   rename or replace what is not theirs in it, so it passes, and what is in it must
//!   pass by itself.
//! - A symbolic link is followed if it belongs to the user or to root. Its
//!   target is looked at in the same way, from the root on.
//!
//! Every step is an `openat` in the folder that was looked at before, and the file is
//! judged by its open handle: nothing can be exchanged between look and use.
//! POSIX access lists show in the group's bits and so are covered.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Component, Path, PathBuf},
};

use envelope_sdk::printable;
use rustix::{
    fs::{
        AtFlags, FileType, Mode, OFlags, RawMode, Stat, fcntl_getfl, fcntl_setfl, fstat, openat, readlinkat,
        statat,
    },
    process::geteuid,
};

/// What a file is for, and so what is asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It chooses keys or settings: a regular file that nobody else can write.
    Settings,
    /// It is code to load: the same.
    Code,
    /// It holds a secret: moreover, if it belongs to the user, neither group nor
    /// others may read it. (A file of root that others may read is root's
    /// decision, as with OpenSSH's private keys.) A named pipe will do, which
    /// others may read.
    Secret,
}

impl Purpose {
    fn takes(self, kind: FileType) -> bool {
        kind == FileType::RegularFile || kind == FileType::Fifo && self == Self::Secret
    }
}

/// Why a file is not trusted, and the command that mends it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// It cannot be opened or looked at.
    #[error("cannot read {}: {source}", printable::path(path))]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is a folder, a device or a socket, or a pipe where none will do.
    #[error("{} is not a regular file", printable::path(path))]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// It, or a folder or link on the way to it, belongs to somebody else.
    #[error(
        "{} is not trusted: {} belongs to user {owner}, who could change it; run `chown {} {}` if it is yours",
        printable::path(path), printable::path(place), geteuid().as_raw(), quoted(place)
    )]
    Owner {
        /// The file.
        path: PathBuf,
        /// What has another owner: the file, a folder or a link.
        place: PathBuf,
        /// Its owner's number.
        owner: u32,
    },
    /// Others may write it, or a folder on the way to it.
    #[error(
        "{} is not trusted: group or others may write {} (mode {mode:04o}); run `chmod go-w {}`",
        printable::path(path),
        printable::path(place),
        quoted(place)
    )]
    Writable {
        /// The file.
        path: PathBuf,
        /// What they may write: the file or a folder.
        place: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It holds a secret, and others may read it.
    #[error(
        "group or others may read {}, which holds a secret (mode {mode:04o}); run `chmod 600 {}`",
        printable::path(path),
        quoted(path)
    )]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl TrustError {
    /// Whether there is no such file.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Open { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Opens a file for reading, if it and all folders on the way to it are trusted.
///
/// A named pipe is waited for until somebody opens its other end.
///
/// # Errors
///
/// [`TrustError`]: what is wrong with which file or folder, and what mends it.
pub fn open(path: &Path, purpose: Purpose) -> Result<File, TrustError> {
    let (file, stat, place) = Way::to(path, purpose)?.walk()?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if !purpose.takes(kind) {
        return Err(TrustError::NotAFile { path: path.into() });
    }
    check(path, &place, &stat, Folder::No)?;
    let mode = permissions(&stat);
    let is_readable = kind == FileType::RegularFile && mode & 0o077 != 0;
    if purpose == Purpose::Secret && is_readable && stat.st_uid == geteuid().as_raw() {
        return Err(TrustError::Readable { path: path.into(), mode });
    }
    Ok(file)
}

/// As [`open`], and reads it: at most `limit` bytes.
///
/// # Errors
///
/// As [`open`]; [`TrustError::Open`] with [`io::ErrorKind::FileTooLarge`] when it
/// is longer.
pub fn read(path: &Path, purpose: Purpose, limit: u64) -> Result<Vec<u8>, TrustError> {
    use io::Read;
    let failed = |source| TrustError::Open { path: path.into(), source };
    let mut bytes = Vec::new();
    open(path, purpose)?.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        let text = format!("it is longer than {limit} bytes");
        return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, text)));
    }
    Ok(bytes)
}

/// The way to a file, one name at a time.
struct Way<'p> {
    /// As it was asked for.
    path: &'p Path,
    purpose: Purpose,
    /// What is still to go.
    names: VecDeque<OsString>,
    /// The folders gone through, from the root, with their paths.
    folders: Vec<(OwnedFd, PathBuf)>,
    links: usize,
}

impl<'p> Way<'p> {
    fn to(path: &'p Path, purpose: Purpose) -> Result<Self, TrustError> {
        // Not `canonicalize`, which would follow links that nobody looked at.
        let absolute =
            std::path::absolute(path).map_err(|source| TrustError::Open { path: path.into(), source })?;
        let mut way = Self { path, purpose, names: VecDeque::new(), folders: Vec::new(), links: 0 };
        way.turn(&absolute)?;
        Ok(way)
    }

    /// Goes to `target` before what is still to go.
    fn turn(&mut self, target: &Path) -> Result<(), TrustError> {
        for component in target.components().rev() {
            match component {
                Component::Normal(name) => self.names.push_front(name.into()),
                Component::ParentDir => self.names.push_front("..".into()),
                Component::RootDir => {
                    let root = rustix::fs::open("/", FOLDER, Mode::empty());
                    self.folders.clear();
                    self.enter(root.map_err(|error| self.failed(error))?, "/".into())?;
                }
                Component::CurDir | Component::Prefix(_) => {}
            }
        }
        Ok(())
    }

    /// The file at the end, open, with its path without links.
    fn walk(mut self) -> Result<(File, Stat, PathBuf), TrustError> {
        while let Some(name) = self.names.pop_front() {
            if name == ".." {
                if self.folders.len() > 1 {
                    self.folders.pop();
                }
                continue;
            }
            let Some((folder, at)) = self.folders.last() else { break };
            let place = at.join(&name);
            let stat =
                statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| self.failed(error))?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Symlink => self.follow(&name, &place, &stat)?,
                FileType::Directory => {
                    let next = openat(folder, &name, FOLDER | OFlags::NOFOLLOW, Mode::empty());
                    self.enter(next.map_err(|error| self.failed(error))?, place)?;
                }
                _ if !self.names.is_empty() => return Err(self.failed(rustix::io::Errno::NOTDIR)),
                kind => return self.open_last(&name, kind, place),
            }
        }
        Err(TrustError::NotAFile { path: self.path.into() })
    }

    fn open_last(
        &self,
        name: &OsStr,
        kind: FileType,
        place: PathBuf,
    ) -> Result<(File, Stat, PathBuf), TrustError> {
        // Opening a device may do something, and opening a pipe waits.
        if !self.purpose.takes(kind) {
            return Err(TrustError::NotAFile { path: self.path.into() });
        }
        let Some((folder, _)) = self.folders.last() else {
            return Err(TrustError::NotAFile { path: self.path.into() });
        };
        // A regular file that became a pipe meanwhile must not hang.
        let wait = if kind == FileType::Fifo { OFlags::empty() } else { OFlags::NONBLOCK };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC | wait;
        let file = openat(folder, name, flags, Mode::empty()).map_err(|error| self.failed(error))?;
        let stat = fstat(&file).map_err(|error| self.failed(error))?;
        let flags = fcntl_getfl(&file).map_err(|error| self.failed(error))?;
        fcntl_setfl(&file, flags.difference(OFlags::NONBLOCK)).map_err(|error| self.failed(error))?;
        Ok((file.into(), stat, place))
    }

    fn follow(&mut self, name: &OsStr, place: &Path, stat: &Stat) -> Result<(), TrustError> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(self.failed(rustix::io::Errno::LOOP));
        }
        check_owner(self.path, place, stat)?;
        let Some((folder, _)) = self.folders.last() else { return Ok(()) };
        let target = readlinkat(folder, name, Vec::new()).map_err(|error| self.failed(error))?;
        self.turn(Path::new(&OsString::from_vec(target.into_bytes())))
    }

    fn enter(&mut self, folder: OwnedFd, place: PathBuf) -> Result<(), TrustError> {
        let stat = fstat(folder.as_fd()).map_err(|error| self.failed(error))?;
        check(self.path, &place, &stat, Folder::Yes)?;
        self.folders.push((folder, place));
        Ok(())
    }

    fn failed(&self, error: rustix::io::Errno) -> TrustError {
        TrustError::Open { path: self.path.into(), source: error.into() }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Folder {
    Yes,
    No,
}

fn check(path: &Path, place: &Path, stat: &Stat, folder: Folder) -> Result<(), TrustError> {
    check_owner(path, place, stat)?;
    let mode = permissions(stat);
    let shared = folder == Folder::Yes && mode & STICKY != 0 && stat.st_uid == ROOT;
    if mode & 0o022 != 0 && !shared {
        return Err(TrustError::Writable { path: path.into(), place: place.into(), mode });
    }
    Ok(())
}

fn check_owner(path: &Path, place: &Path, stat: &Stat) -> Result<(), TrustError> {
    let owner = stat.st_uid;
    if owner == ROOT || owner == geteuid().as_raw() {
        return Ok(());
    }
    Err(TrustError::Owner { path: path.into(), place: place.into(), owner })
}

fn permissions(stat: &Stat) -> RawMode {
    stat.st_mode & 0o7777
}

/// A path as a word for a shell.
fn quoted(path: &Path) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+,:@%".contains(byte);
    let shown = printable::path(path);
    if path.as_os_str().as_bytes().iter().all(plain) {
        shown
    } else {
        format!("'{}'", shown.replace('\'', r"'\''"))
    }
}

/// To go through a folder, the right to list it is not needed.
#[cfg(target_os = "linux")]
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

const ROOT: u32 = 0;
const STICKY: RawMode = 0o1000;
/// As many as Linux follows.
const MAX_LINKS: usize = 40;
