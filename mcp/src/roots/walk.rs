//! Every file below a folder, in the order of their names, from where a page before ended.

use std::{
    collections::VecDeque,
    ffi::{CString, OsStr},
    fs::File,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::PathBuf,
};

use base64ct::{Base64UrlUnpadded, Encoding};
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use super::open;
use crate::{Failure, Kind, words};

/// Where a walk begins.
pub(super) struct Start {
    pub(super) folder: OwnedFd,
    pub(super) path: PathBuf,
}

/// How far a walk came: which of its folders, and the path of the last file below it. It is compared, and never opened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Position {
    start: usize,
    /// In base64: it need not be UTF-8.
    path: String,
}

/// What a walk comes to.
pub(crate) enum Found {
    /// A regular file.
    File { path: PathBuf, file: File, position: Position },
    /// What could not be listed or opened.
    Failed(Failure),
}

/// A walk. Links are not followed; what is no file is passed over.
pub(crate) struct Walk {
    starts: VecDeque<Start>,
    number: usize,
    /// The path of the current start, and the folders that are open below it.
    path: PathBuf,
    open: Vec<Level>,
    /// Names of the last file of the page before, outermost first; while it is there, the walk is on its way to it.
    after: Option<VecDeque<Vec<u8>>>,
}

struct Level {
    folder: OwnedFd,
    names: std::vec::IntoIter<CString>,
    /// Its name in the folder above; empty of a start.
    name: Vec<u8>,
}

impl Walk {
    pub(super) fn new(mut starts: Vec<Start>, after: Option<Position>) -> Self {
        let Position { start, path } = after.unwrap_or_default();
        starts.drain(..start.min(starts.len()));
        let path = Base64UrlUnpadded::decode_vec(&path).unwrap_or_default();
        let names: VecDeque<_> =
            path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect();
        let after = (!names.is_empty()).then_some(names);
        Self { starts: starts.into(), number: start, path: PathBuf::new(), open: Vec::new(), after }
    }

    /// The names of an open folder, in order, without those before `after`.
    fn enter(&mut self, folder: OwnedFd, name: Vec<u8>) -> Result<(), Failure> {
        let failed = |error: Errno, path: String| {
            Failure::new(Kind::InputOutput, format!("cannot list {path}: {}", std::io::Error::from(error)))
        };
        let mut names = Vec::new();
        let listed = Dir::read_from(&folder).and_then(|mut entries| {
            while let Some(entry) = entries.read() {
                let entry = entry?;
                let name = entry.file_name();
                if name != c"." && name != c".." {
                    names.push(name.to_owned());
                }
                if names.len() > MOST_NAMES {
                    return Err(Errno::TOOBIG);
                }
            }
            Ok(())
        });
        let mut path = self.here();
        path.push(OsStr::from_bytes(&name));
        listed.map_err(|error| failed(error, words::path(&path)))?;
        names.sort_unstable();
        if let Some(after) = self.after.as_ref().and_then(VecDeque::front) {
            names.retain(|name| name.as_bytes() >= after.as_slice());
        }
        self.open.push(Level { folder, names: names.into_iter(), name });
        Ok(())
    }

    /// The path of the innermost open folder.
    fn here(&self) -> PathBuf {
        let mut path = self.path.clone();
        path.extend(
            self.open
                .iter()
                .filter(|level| !level.name.is_empty())
                .map(|level| OsStr::from_bytes(&level.name)),
        );
        path
    }

    fn place(&self, name: &[u8]) -> Position {
        let names = self.open.iter().skip(1).map(|level| level.name.as_slice());
        let path: Vec<_> = names.chain([name]).collect();
        Position { start: self.number, path: Base64UrlUnpadded::encode_string(&path.join(&b'/')) }
    }

    /// Whether `name` is on the way to the end of the page before; it is what is next there then, or nothing is any more.
    fn meets(&mut self, name: &[u8]) -> Met {
        let Some(after) = &mut self.after else { return Met::New };
        if after.front().is_none_or(|front| front != name) {
            // Gone since: what is behind it comes next.
            self.after = None;
            return Met::New;
        }
        after.pop_front();
        if after.is_empty() {
            self.after = None;
            return Met::Last;
        }
        Met::OnTheWay
    }
}

enum Met {
    New,
    OnTheWay,
    Last,
}

impl Iterator for Walk {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        loop {
            let Some(level) = self.open.last_mut() else {
                let start = self.starts.pop_front()?;
                self.path = start.path;
                match self.enter(start.folder, Vec::new()) {
                    Ok(()) => continue,
                    Err(failure) => return Some(Found::Failed(failure)),
                }
            };
            let Some(name) = level.names.next() else {
                self.open.pop();
                // Whatever was to be found on the way is passed.
                self.after = None;
                if self.open.is_empty() {
                    self.number += 1;
                }
                continue;
            };
            let Ok(stat) = statat(&level.folder, &name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let kind = FileType::from_raw_mode(stat.st_mode);
            let met = self.meets(name.as_bytes());
            let Some(level) = self.open.last() else { continue };
            let failed = |walk: &Self, errno| {
                let path = walk.here().join(OsStr::from_bytes(name.as_bytes()));
                let said = std::io::Error::from(errno);
                Found::Failed(Failure::new(
                    Kind::InputOutput,
                    format!("cannot open {}: {said}", words::path(&path)),
                ))
            };
            match (kind, met) {
                (FileType::Directory, Met::New | Met::OnTheWay) if self.open.len() < DEEPEST => {
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
                    match openat(&level.folder, &name, flags, Mode::empty()) {
                        Ok(folder) => {
                            if let Err(failure) = self.enter(folder, name.into_bytes()) {
                                return Some(Found::Failed(failure));
                            }
                        }
                        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                        Err(errno) => return Some(failed(self, errno)),
                    }
                }
                (FileType::Directory, Met::New | Met::OnTheWay) => {
                    return Some(failed(self, Errno::NAMETOOLONG));
                }
                (FileType::RegularFile, Met::New) => match open::entry(&level.folder, &name) {
                    Ok(Some(file)) => {
                        let path = self.here().join(OsStr::from_bytes(name.as_bytes()));
                        return Some(Found::File { path, file, position: self.place(name.as_bytes()) });
                    }
                    Ok(None) => {}
                    Err(errno) => return Some(failed(self, errno)),
                },
                _ => {}
            }
        }
    }
}

/// Folders in folders: each takes a descriptor.
const DEEPEST: usize = 128;
/// Names of one folder that are sorted at once.
const MOST_NAMES: usize = 1_000_000;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::Roots;

    fn names(walk: Walk, most: usize) -> (Vec<String>, Option<Position>) {
        let (mut names, mut last) = (Vec::new(), None);
        for found in walk.take(most) {
            let Found::File { path, position, .. } = found else { panic!("unreadable") };
            names.push(path.file_name().unwrap().to_string_lossy().into_owned());
            last = Some(position);
        }
        (names, last)
    }

    #[test]
    fn pages_of_any_length_have_every_file_once_and_in_order_and_no_link() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("b/c")).unwrap();
        fs::create_dir_all(at("empty")).unwrap();
        let files = ["a", "b/c/2", "b/d", "b.txt", "z"];
        files.iter().for_each(|name| fs::write(at(name), "x").unwrap());
        std::os::unix::fs::symlink(at("b"), at("link")).unwrap();
        std::os::unix::fs::symlink(at("a"), at("b/link")).unwrap();
        let roots = Roots::open(&[folder.path().into(), at("b")]).unwrap();
        let all = names(roots.walk(None, None).unwrap(), 100).0;
        assert_eq!(all, ["a", "2", "d", "b.txt", "z", "2", "d"]);
        for size in 1..all.len() {
            let (mut paged, mut after) = (Vec::new(), None);
            loop {
                let (page, last) = names(roots.walk(None, after.clone()).unwrap(), size);
                if page.is_empty() {
                    break;
                }
                paged.extend(page);
                after = last;
            }
            assert_eq!(paged, all, "pages of {size}");
        }
    }

    #[test]
    fn a_walk_goes_on_behind_a_file_that_is_gone_by_then() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("b")).unwrap();
        ["a", "b/1", "b/2", "c"].iter().for_each(|name| fs::write(at(name), "x").unwrap());
        let roots = Roots::open(&[folder.path().into()]).unwrap();
        let (_, after) = names(roots.walk(None, None).unwrap(), 2);
        fs::remove_file(at("b/1")).unwrap();
        assert_eq!(names(roots.walk(None, after.clone()).unwrap(), 9).0, ["2", "c"]);
        fs::remove_dir_all(at("b")).unwrap();
        assert_eq!(names(roots.walk(None, after).unwrap(), 9).0, ["c"]);
    }
}
