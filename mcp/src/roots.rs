//! Folders that the server may read in, and nowhere else.
//!
//! Each folder is opened once, at the start. What a client names is looked up from that handle, so that neither `..` nor a link
//! nor a folder that is exchanged meanwhile leads out of it; what was opened is looked at once more before it is read.

mod open;
mod walk;

use std::{
    fmt, fs,
    os::fd::OwnedFd,
    path::{Component, Path, PathBuf},
};

use envelope_sdk::printable;
use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::{Failure, Kind};

pub(crate) use walk::{Found, Position, Walk};

/// The folders that are served.
pub struct Roots(Vec<Root>);

struct Root {
    /// As the configuration names it.
    named: PathBuf,
    /// Without links.
    real: PathBuf,
    folder: OwnedFd,
}

impl Roots {
    /// Most folders.
    pub const MOST: usize = 64;

    /// Opens the folders. None is a choice: then no file is read at all.
    ///
    /// # Errors
    ///
    /// [`RootsError`] for a path that is not absolute, or that is no folder that can be read.
    pub fn open(folders: &[PathBuf]) -> Result<Self, RootsError> {
        let wrong = |folder: &Path, what: String| RootsError { folder: folder.into(), what };
        if let Some(folder) = folders.get(Self::MOST) {
            return Err(wrong(folder, format!("there are more than {} folders", Self::MOST)));
        }
        let open = |named: &PathBuf| {
            if !named.is_absolute() {
                return Err(wrong(named, "it is not a path from / on".into()));
            }
            let real = fs::canonicalize(named).map_err(|error| wrong(named, error.to_string()))?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let folder = openat(CWD, &real, flags, Mode::empty());
            let folder = folder.map_err(|error| wrong(named, std::io::Error::from(error).to_string()))?;
            Ok(Root { named: named.clone(), real, folder })
        };
        folders.iter().map(open).collect::<Result<_, _>>().map(Self)
    }

    /// The folders, without links.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(|root| root.real.as_path())
    }

    /// Opens a regular file that a client names.
    pub(crate) fn file(&self, path: &str) -> Result<(PathBuf, fs::File), Failure> {
        let (root, below) = self.find(path)?;
        if below.as_os_str().is_empty() {
            return Err(Failure::usage("`path` is a folder: name a file in it"));
        }
        let file = open::file(&root.folder, &below).map_err(|why| why.about(&root.real.join(&below)))?;
        Ok((root.real.join(below), file))
    }

    /// Goes through the files below `under`, or all folders, behind `after`.
    pub(crate) fn walk(&self, under: Option<&str>, after: Option<Position>) -> Result<Walk, Failure> {
        let starts = match under {
            Some(path) => {
                let (root, below) = self.find(path)?;
                vec![self.start(root, &below)?]
            }
            None => self.0.iter().map(|root| self.start(root, Path::new(""))).collect::<Result<_, _>>()?,
        };
        Ok(Walk::new(starts, after))
    }

    fn start(&self, root: &Root, below: &Path) -> Result<walk::Start, Failure> {
        let path = root.real.join(below);
        let folder = open::folder(&root.folder, below).map_err(|why| why.about(&path))?;
        Ok(walk::Start { folder, path })
    }

    /// The folder that a path is below, and the rest of it.
    fn find(&self, path: &str) -> Result<(&Root, PathBuf), Failure> {
        if path.len() > MAX_PATH || path.contains('\0') {
            return Err(Failure::usage(format!("a path has at most {MAX_PATH} bytes, none of them zero")));
        }
        let path = Path::new(path);
        if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
            return Err(Failure::usage("a path begins with / and has no `..`").hint(self.hint()));
        }
        let below = |root: &Root| {
            let below = path.strip_prefix(&root.real).or_else(|_| path.strip_prefix(&root.named)).ok()?;
            Some(below.components().collect::<PathBuf>())
        };
        // The innermost, where one is in another.
        let found = self.0.iter().filter_map(|root| Some((root, below(root)?)));
        found.min_by_key(|(_, below)| below.as_os_str().len()).ok_or_else(|| {
            Failure::new(Kind::KeyRefused, "that path is in no folder that is served").hint(self.hint())
        })
    }

    fn hint(&self) -> String {
        let folders: Vec<_> = self.folders().map(printable::path).collect();
        if folders.is_empty() {
            "`roots` under [mcp] in the configuration names folders; there is none".into()
        } else {
            format!("served are {}", folders.join(", "))
        }
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.folders()).finish()
    }
}

/// A folder that cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot serve the folder {}: {what}", printable::path(folder))]
pub struct RootsError {
    folder: PathBuf,
    what: String,
}

/// As Linux has it.
const MAX_PATH: usize = 4096;
