//! Opening below a folder's handle.

use std::{
    fs::File,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Component, Path},
};

use envelope_sdk::printable;
use rustix::{
    fs::{FileType, Mode, OFlags, fstat, openat},
    io::Errno,
};

use crate::{Failure, Kind};

/// Why nothing was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    LeadsOut,
    NotAFile,
    NotAFolder,
    System(Errno),
}

impl Why {
    pub(super) fn about(self, path: &Path) -> Failure {
        let path = printable::path(path);
        match self {
            Self::LeadsOut => Failure::new(
                Kind::KeyRefused,
                format!("{path}: a link in it leads out of the folders that are served, or is absolute"),
            )
            .hint("name the file itself"),
            Self::NotAFile => Failure::new(Kind::InputOutput, format!("{path} is no regular file")),
            Self::NotAFolder => Failure::new(Kind::InputOutput, format!("{path} is no folder")),
            Self::System(errno) => Failure::new(
                Kind::InputOutput,
                format!("cannot open {path}: {}", std::io::Error::from(errno)),
            ),
        }
    }
}

/// A regular file. What is no file is not opened, as far as that can be told before: to open a FIFO waits for a writer, and to
/// open a device may do something.
pub(super) fn file(root: &OwnedFd, below: &Path) -> Result<File, Why> {
    #[cfg(target_os = "linux")]
    {
        let looked_at = beneath(root.as_fd(), below, OFlags::PATH | OFlags::CLOEXEC)?;
        if !is(&looked_at, FileType::RegularFile)? {
            return Err(Why::NotAFile);
        }
    }
    let file = beneath(root.as_fd(), below, TO_READ)?;
    // It may be another one by now.
    if is(&file, FileType::RegularFile)? { Ok(file.into()) } else { Err(Why::NotAFile) }
}

/// A folder; `root` itself where there is nothing below it to name.
pub(super) fn folder(root: &OwnedFd, below: &Path) -> Result<OwnedFd, Why> {
    if below.as_os_str().is_empty() {
        return root
            .try_clone()
            .map_err(|error| Why::System(Errno::from_io_error(&error).unwrap_or(Errno::IO)));
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    beneath(root.as_fd(), below, flags).map_err(|why| match why {
        Why::System(Errno::NOTDIR) => Why::NotAFolder,
        why => why,
    })
}

/// An entry of an open folder, which must be a regular file and no link; `None` if it is something else.
pub(super) fn entry(folder: &OwnedFd, name: &std::ffi::CStr) -> Result<Option<File>, Errno> {
    match openat(folder, name, TO_READ | OFlags::NOFOLLOW, Mode::empty()) {
        Ok(file) if matches!(is(&file, FileType::RegularFile), Ok(true)) => Ok(Some(file.into())),
        Ok(_) | Err(Errno::LOOP | Errno::NOENT | Errno::NXIO) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is(file: &OwnedFd, wanted: FileType) -> Result<bool, Why> {
    let stat = fstat(file).map_err(Why::System)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == wanted)
}

#[cfg(target_os = "linux")]
fn beneath(root: BorrowedFd<'_>, below: &Path, flags: OFlags) -> Result<OwnedFd, Why> {
    use rustix::fs::{ResolveFlags, openat2};
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..ATTEMPTS {
        match openat2(root, below, flags, Mode::empty(), resolve) {
            Ok(file) => return Ok(file),
            Err(Errno::XDEV | Errno::LOOP) => return Err(Why::LeadsOut),
            // Something was renamed while the kernel looked.
            Err(Errno::AGAIN | Errno::INTR) => {}
            // A kernel before 5.6, or a sandbox that does not know it.
            Err(Errno::NOSYS | Errno::PERM) => return step_by_step(root, below, flags),
            Err(error) => return Err(Why::System(error)),
        }
    }
    Err(Why::System(Errno::AGAIN))
}

#[cfg(not(target_os = "linux"))]
fn beneath(root: BorrowedFd<'_>, below: &Path, flags: OFlags) -> Result<OwnedFd, Why> {
    step_by_step(root, below, flags)
}

/// From folder to folder, through no link at all.
fn step_by_step(root: BorrowedFd<'_>, below: &Path, flags: OFlags) -> Result<OwnedFd, Why> {
    let told = |errno| match errno {
        Errno::LOOP | Errno::MLINK => Why::LeadsOut,
        errno => Why::System(errno),
    };
    let mut parts = below.components().peekable();
    let mut folder: Option<OwnedFd> = None;
    while let Some(part) = parts.next() {
        let Component::Normal(name) = part else { return Err(Why::LeadsOut) };
        let from = folder.as_ref().map_or(root, AsFd::as_fd);
        let is_last = parts.peek().is_none();
        let step = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let flags = if is_last { flags } else { step };
        let opened = openat(from, name, flags | OFlags::NOFOLLOW, Mode::empty()).map_err(told);
        let opened = opened.map_err(|why| match why {
            // Where a folder is wanted, Linux says of a link that it is none.
            Why::System(Errno::NOTDIR) if is_link(from, name) => Why::LeadsOut,
            why => why,
        })?;
        // Asked for with O_PATH, a link opens as itself.
        if is(&opened, FileType::Symlink)? {
            return Err(Why::LeadsOut);
        }
        folder = Some(opened);
    }
    folder.ok_or(Why::NotAFile)
}

fn is_link(folder: BorrowedFd<'_>, name: &std::ffi::OsStr) -> bool {
    use rustix::fs::{AtFlags, statat};
    statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

/// Does not wait, and takes no terminal.
const TO_READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
#[cfg(target_os = "linux")]
const ATTEMPTS: usize = 16;

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use rustix::fs::CWD;

    use super::*;

    /// Both ways to open must say the same of what leads out.
    #[test]
    fn what_leads_out_is_refused_with_and_without_openat2() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("sub")).unwrap();
        fs::write(at("sub/file"), "x").unwrap();
        fs::write(other.path().join("secret"), "x").unwrap();
        symlink(other.path().join("secret"), at("absolute")).unwrap();
        symlink(other.path(), at("folder")).unwrap();
        symlink("../../../../etc/passwd", at("sub/up")).unwrap();
        let root = openat(CWD, folder.path(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        type Open = fn(BorrowedFd<'_>, &Path, OFlags) -> Result<OwnedFd, Why>;
        for open in [beneath as Open, step_by_step] {
            let open = |name: &str| open(root.as_fd(), Path::new(name), TO_READ).map(drop);
            assert_eq!(open("sub/file"), Ok(()));
            for name in ["absolute", "folder/secret", "sub/up"] {
                assert_eq!(open(name), Err(Why::LeadsOut), "{name}");
            }
            assert_eq!(open("none"), Err(Why::System(Errno::NOENT)));
        }
    }

    #[test]
    fn what_is_no_file_is_refused_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let made = std::process::Command::new("mkfifo").arg(folder.path().join("fifo")).status().unwrap();
        assert!(made.success());
        let root = openat(CWD, folder.path(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        assert_eq!(file(&root, Path::new("fifo")).err(), Some(Why::NotAFile));
        assert!(entry(&root, c"fifo").unwrap().is_none());
        let dev = openat(CWD, "/dev", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        assert_eq!(file(&dev, Path::new("null")).err(), Some(Why::NotAFile));
    }
}
