//! The files below a folder. What becomes of links, pipes and folders that cannot be read is decided here, for
//! every command that walks one.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use crate::FileError;

/// What is found on the way.
#[derive(Debug)]
pub enum Found<'a> {
    /// A regular file, whatever it is called: hidden ones too.
    File(&'a Path),
    /// A folder, before it is entered.
    Folder(&'a Path),
    /// A folder that cannot be listed, or not even looked at. The walk goes on beside it.
    Unreadable(FileError),
}

/// How the walk goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walk {
    /// With the next, into a folder too.
    On,
    /// Not into this folder.
    Around,
    /// Not at all.
    End,
}

/// Tells `found` of everything below `folder`, in the order of the names in each folder. Returns [`Walk::End`] if
/// `found` did, and otherwise [`Walk::On`].
///
/// Links are not followed; they, devices, pipes and sockets are not told of. `folder` itself may be a link. All
/// names of a folder are read before the first is told, so that what is made meanwhile is not found: some 5
/// bytes and the name for each are in memory.
pub fn walk(folder: &Path, found: &mut impl FnMut(Found<'_>) -> Walk) -> Walk {
    let names = match Names::read(folder) {
        Ok(names) => names,
        Err(error) => return found(Found::Unreadable(FileError::io("list", folder, error))),
    };
    for (name, is_folder) in names.iter() {
        // `.` before each name would make it another name than the one that was given.
        let path = if folder == Path::new("") { PathBuf::from(name) } else { folder.join(name) };
        let next = if is_folder { below(&path, found) } else { found(Found::File(&path)) };
        if next == Walk::End {
            return Walk::End;
        }
    }
    Walk::On
}

/// What was a folder when the one above it was read.
fn below(path: &Path, found: &mut impl FnMut(Found<'_>) -> Walk) -> Walk {
    let unreadable = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => None,
        // It has become a link, or has gone.
        Ok(_) => return Walk::Around,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Walk::Around,
        // What is in it must not be passed over unsaid.
        Err(error) => Some(FileError::io("list", path, error)),
    };
    match (found(Found::Folder(path)), unreadable) {
        (Walk::On, None) => walk(path, found),
        (Walk::On, Some(error)) => found(Found::Unreadable(error)),
        (next, _) => next,
    }
}

/// The names in a folder, close together: a folder may have a million.
struct Names {
    /// Each name behind a byte that says whether it is a folder, and a zero at its end.
    bytes: Vec<u8>,
    starts: Vec<u32>,
}

impl Names {
    fn read(folder: &Path) -> io::Result<Self> {
        let mut names = Self { bytes: Vec::new(), starts: Vec::new() };
        let folder = if folder == Path::new("") { Path::new(".") } else { folder };
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let kind = match entry.file_type() {
                Ok(kind) => kind,
                // Not every file system tells it along with the name, which may have gone when it is asked.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if kind.is_file() || kind.is_dir() {
                names.starts.push(u32::try_from(names.bytes.len()).map_err(io::Error::other)?);
                names.bytes.push(u8::from(kind.is_dir()));
                names.bytes.extend(entry.file_name().as_bytes());
                names.bytes.push(0);
            }
        }
        let Self { bytes, starts } = &mut names;
        starts.sort_unstable_by_key(|start| split(bytes, *start).0);
        Ok(names)
    }

    fn iter(&self) -> impl Iterator<Item = (&OsStr, bool)> {
        self.starts.iter().map(|start| {
            let (name, is_folder) = split(&self.bytes, *start);
            (OsStr::from_bytes(name), is_folder)
        })
    }
}

fn split(bytes: &[u8], start: u32) -> (&[u8], bool) {
    let (is_folder, rest) = bytes[start as usize..].split_first().unwrap_or((&0, &[]));
    // A name has no zero.
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    (&rest[..end], *is_folder == 1)
}
