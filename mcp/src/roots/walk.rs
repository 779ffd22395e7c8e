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
    /// What could not be listed, opened or looked at. A page may end with it, too: somebody may put any number of such there, and
    /// what is behind them must not be lost.
    Failed { failure: Failure, position: Position },
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
    /// Memory that its names took when it was listed.
    bytes: usize,
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
        let held: usize = self.open.iter().map(|level| level.bytes).sum();
        let (mut names, mut bytes) = (Vec::new(), 0);
        let listed = Dir::read_from(&folder).and_then(|mut entries| {
            while let Some(entry) = entries.read() {
                let entry = entry?;
                let name = entry.file_name();
                if name != c"." && name != c".." {
                    bytes += name.to_bytes().len() + OF_A_NAME;
                    names.push(name.to_owned());
                }
                if held + bytes > MOST_BYTES {
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
        self.open.push(Level { folder, names: names.into_iter(), name, bytes });
        Ok(())
    }

    /// Something in the innermost open folder that cannot be looked at. What was to be found in it is passed.
    fn failed(&mut self, name: &[u8], errno: Errno) -> Found {
        self.after = None;
        let path = self.here().join(OsStr::from_bytes(name));
        let said = std::io::Error::from(errno);
        let failure = Failure::new(Kind::InputOutput, format!("cannot open {}: {said}", words::path(&path)));
        Found::Failed { failure, position: self.place(name) }
    }

    /// Whether a folder of this name in the innermost open one is still gone through: a place in it must fit into a cursor.
    fn may_enter(&self, name: &[u8]) -> bool {
        let length: usize = self.open.iter().skip(1).map(|level| level.name.len() + 1).sum();
        self.open.len() < DEEPEST && length + name.len() <= LONGEST
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
                    Err(failure) => {
                        self.after = None;
                        self.number += 1;
                        let position = Position { start: self.number, path: String::new() };
                        return Some(Found::Failed { failure, position });
                    }
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
            let stat = match statat(&level.folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                // In a folder whose names may be read, and nothing else of it.
                Err(errno) => match self.meets(name.as_bytes()) {
                    Met::Last => continue,
                    Met::New | Met::OnTheWay => return Some(self.failed(name.as_bytes(), errno)),
                },
            };
            let kind = FileType::from_raw_mode(stat.st_mode);
            let met = self.meets(name.as_bytes());
            let may_enter = self.may_enter(name.as_bytes());
            let Some(level) = self.open.last() else { continue };
            match (kind, met) {
                (FileType::Directory, Met::New | Met::OnTheWay) if may_enter => {
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
                    match openat(&level.folder, &name, flags, Mode::empty()) {
                        Ok(folder) => {
                            let position = self.place(name.as_bytes());
                            if let Err(failure) = self.enter(folder, name.into_bytes()) {
                                self.after = None;
                                return Some(Found::Failed { failure, position });
                            }
                        }
                        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => self.after = None,
                        Err(errno) => return Some(self.failed(name.as_bytes(), errno)),
                    }
                }
                (FileType::Directory, Met::New | Met::OnTheWay) => {
                    return Some(self.failed(name.as_bytes(), Errno::NAMETOOLONG));
                }
                // In the place of the folder where the page before ended, it is a new one.
                (FileType::RegularFile, Met::New | Met::OnTheWay) => {
                    self.after = None;
                    match open::entry(&level.folder, &name) {
                        Ok(Some(file)) => {
                            let path = self.here().join(OsStr::from_bytes(name.as_bytes()));
                            return Some(Found::File { path, file, position: self.place(name.as_bytes()) });
                        }
                        Ok(None) => {}
                        Err(errno) => return Some(self.failed(name.as_bytes(), errno)),
                    }
                }
                (_, Met::OnTheWay) => self.after = None,
                _ => {}
            }
        }
    }
}

/// Folders in folders: each takes a descriptor.
const DEEPEST: usize = 128;
/// Bytes of the path of a folder, below the one that is served.
const LONGEST: usize = 3072;
/// Memory for the names of all folders that are open: whoever may write them can make a million in each.
const MOST_BYTES: usize = 32 << 20;
/// What a name takes beside its bytes.
const OF_A_NAME: usize = 32;

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

    /// Otherwise a page of nothing else would look like the last one, and what is behind it would be in no answer.
    #[test]
    fn a_page_goes_on_behind_what_cannot_be_looked_at() {
        for deep in ["a/".repeat(DEEPEST + 1), format!("{}/", "a".repeat(250)).repeat(13)] {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir_all(folder.path().join(deep)).unwrap();
            fs::write(folder.path().join("b"), "x").unwrap();
            let roots = Roots::open(&[folder.path().into()]).unwrap();
            let Some(Found::Failed { position, .. }) = roots.walk(None, None).unwrap().next() else {
                panic!("it was gone through")
            };
            assert_eq!(names(roots.walk(None, Some(position)).unwrap(), 9).0, ["b"]);
        }
    }

    #[test]
    fn a_file_in_the_place_of_a_folder_is_on_the_next_page() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("b")).unwrap();
        ["b/c", "c"].iter().for_each(|name| fs::write(at(name), "x").unwrap());
        let roots = Roots::open(&[folder.path().into()]).unwrap();
        let (_, after) = names(roots.walk(None, None).unwrap(), 1);
        fs::remove_dir_all(at("b")).unwrap();
        fs::write(at("b"), "x").unwrap();
        assert_eq!(names(roots.walk(None, after).unwrap(), 9).0, ["b", "c"]);
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
