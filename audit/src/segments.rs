//! The files of a log, for who reads them.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, OFlags, flock};

use crate::text::MAX_INTEGER;

/// `FILE.ending`.
pub(crate) fn beside(log: &Path, ending: &str) -> PathBuf {
    let mut name = log.file_name().map(OsString::from).unwrap_or_default();
    name.push(".");
    name.push(ending);
    log.with_file_name(name)
}

/// The file of a closed segment.
pub(crate) fn closed_path(log: &Path, number: u64) -> PathBuf {
    beside(log, &format!("{number:08}"))
}

/// What can be read of a log. The current segment has no number: `None`.
pub(crate) trait Segments {
    /// What it can be read from.
    type Reader: Read;

    /// Its name, for words.
    fn path(&self, segment: Option<u64>) -> PathBuf;

    /// Takes down, under the lock, what all the files are at one moment.
    fn snapshot(&mut self) -> io::Result<Snapshot<Self::Reader>>;

    /// A closed segment from its begin.
    fn closed(&mut self, number: u64) -> io::Result<Self::Reader>;
}

/// The files of a log at one moment.
pub(crate) struct Snapshot<R> {
    /// The bytes of the head, if there is one.
    pub(crate) head: Option<Vec<u8>>,
    /// The numbers of closed segments, ascending.
    pub(crate) closed: Vec<u64>,
    /// The current segment, up to where it reached.
    pub(crate) current: Option<R>,
}

/// The files in their folder.
pub(crate) struct OnDisk {
    path: PathBuf,
}

impl OnDisk {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }
}

impl Segments for OnDisk {
    type Reader = io::Take<File>;

    fn path(&self, segment: Option<u64>) -> PathBuf {
        segment.map_or_else(|| self.path.clone(), |number| closed_path(&self.path, number))
    }

    fn snapshot(&mut self) -> io::Result<Snapshot<Self::Reader>> {
        // A copy of a log has no lock file, and needs none: nobody writes it.
        let lock = open(&beside(&self.path, "lock")).ok();
        if let Some(lock) = &lock {
            flock(lock, FlockOperation::LockShared)?;
        }
        let head = match open(&beside(&self.path, "head")) {
            Ok(file) => {
                let mut bytes = Vec::new();
                file.take(4096).read_to_end(&mut bytes)?;
                Some(bytes)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let current = match open(&self.path) {
            Ok(file) => {
                let length = file.metadata()?.len();
                Some(file.take(length))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(Snapshot { head, closed: closed_numbers(&self.path)?, current })
    }

    fn closed(&mut self, number: u64) -> io::Result<Self::Reader> {
        Ok(open(&closed_path(&self.path, number))?.take(u64::MAX))
    }
}

/// The numbers of the closed segments of the log at `path`, ascending.
pub(crate) fn closed_numbers(path: &Path) -> io::Result<Vec<u64>> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        numbers.extend(closed_number(path, &entry?.file_name()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The number of the closed segment of the log at `log` that has this name.
fn closed_number(log: &Path, name: &OsStr) -> Option<u64> {
    let digits = name.as_encoded_bytes().strip_prefix(log.file_name()?.as_encoded_bytes())?;
    let digits = std::str::from_utf8(digits.strip_prefix(b".")?).ok()?;
    if digits.len() < 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Whoever can write the folder chooses names: a number that nothing can be added to is of no segment.
    let number = digits.parse().ok().filter(|&number| number <= MAX_INTEGER)?;
    // One spelling for each number.
    (format!("{number:08}") == digits).then_some(number)
}

/// Where the closed segment of the log at `log` is that has this name, if that is the name of one. It need not be there.
#[must_use]
pub fn closed_segment(log: &Path, name: &OsStr) -> Option<PathBuf> {
    closed_number(log, name).map(|number| closed_path(log, number))
}

/// A file to be read, if it is one. Does not wait for the other end of a pipe.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, rustix::fs::Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
}

/// So many bytes of `file` from `from` on; fewer when it has fewer.
pub(crate) fn read_range(file: &File, from: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut there = 0;
    while there < length {
        match file.read_at(&mut bytes[there..], from + there as u64) {
            Ok(0) => break,
            Ok(read) => there += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(there);
    Ok(bytes)
}
