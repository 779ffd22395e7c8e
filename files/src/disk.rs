//! Each change on disk that rewrap and rotation make goes through here, so that tests can make any of them fail, and
//! know what a loss of power would leave. A release, without the feature `faults`, knows nothing of it.
//!
//! No part of the interface: it is public for `envelope-rotation` alone.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

/// A change. Paths are those that were given, and mean what they say in tests.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// A file that has no name, in the folder of this path.
    MakeUnnamed(&'a Path),
    /// A file of this name.
    Make(&'a Path),
    /// Bytes at the end of a file.
    Write(&'a File),
    /// Bytes over the front of a file.
    WriteFront(&'a File),
    /// Its content to disk.
    Sync(&'a File),
    /// The first name of a file.
    Name(&'a File, &'a Path),
    /// Another name, which may be another's.
    Rename(&'a Path, &'a Path),
    /// A name less.
    Remove(&'a Path),
    /// The names of the folder of this path to disk.
    SyncFolder(&'a Path),
    /// The lock of this file.
    Lock(&'a Path),
    /// Owner, mode and attributes of this file.
    Attributes(&'a Path),
}

/// Makes a change by `work`.
///
/// # Errors
///
/// That of `work`, or one that a test wants.
#[cfg(not(feature = "faults"))]
#[inline]
pub fn change<T>(_change: Change<'_>, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    work()
}

#[cfg(feature = "faults")]
pub use faults::change;

/// Writes `bytes`, or some of them, where the file stands.
///
/// # Errors
///
/// That of the system, or one that a test wants.
#[cfg(not(feature = "faults"))]
#[inline]
pub fn write(mut file: &File, bytes: &[u8]) -> io::Result<usize> {
    file.write(bytes)
}

#[cfg(feature = "faults")]
pub use faults::write;

/// Writes to a file.
#[derive(Debug)]
pub struct Writer<'a>(pub &'a File);

impl Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write(self.0, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(feature = "faults")]
pub use faults::{Disk, Verdict, watch};

#[cfg(feature = "faults")]
mod faults {
    use std::{
        fs::File,
        io::{self, Write},
        sync::{Mutex, PoisonError},
    };

    use super::Change;

    /// What becomes of a change.
    #[derive(Debug)]
    pub enum Verdict {
        /// It is made.
        Go,
        /// It fails, and nothing of it is done.
        Fail(io::Error),
        /// It fails and is done all the same; of a write, the first half.
        FailLate(io::Error),
    }

    /// Who sees each change of the process, before and after.
    pub trait Disk: Send {
        /// Before it is made.
        fn before(&mut self, change: Change<'_>) -> Verdict;
        /// After it was made.
        fn after(&mut self, change: Change<'_>);
    }

    /// From now on, `disk` sees each change of every thread; `None` ends that.
    pub fn watch(disk: Option<Box<dyn Disk>>) {
        *DISK.lock().unwrap_or_else(PoisonError::into_inner) = disk;
    }

    /// Makes a change by `work`.
    ///
    /// # Errors
    ///
    /// That of `work`, or the one of the verdict.
    pub fn change<T>(change: Change<'_>, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let late = match before(change) {
            Verdict::Go => None,
            Verdict::Fail(error) => return Err(error),
            Verdict::FailLate(error) => Some(error),
        };
        let done = work()?;
        after(change);
        late.map_or(Ok(done), Err)
    }

    /// Writes `bytes`, or some of them, where the file stands.
    ///
    /// # Errors
    ///
    /// That of the system, or the one of the verdict.
    pub fn write(mut file: &File, bytes: &[u8]) -> io::Result<usize> {
        let change = Change::Write(file);
        match before(change) {
            Verdict::Go => file.write(bytes).inspect(|_| after(change)),
            Verdict::Fail(error) => Err(error),
            Verdict::FailLate(error) => {
                file.write_all(&bytes[..bytes.len() / 2])?;
                after(change);
                Err(error)
            }
        }
    }

    fn before(change: Change<'_>) -> Verdict {
        let mut disk = DISK.lock().unwrap_or_else(PoisonError::into_inner);
        disk.as_mut().map_or(Verdict::Go, |disk| disk.before(change))
    }

    fn after(change: Change<'_>) {
        if let Some(disk) = &mut *DISK.lock().unwrap_or_else(PoisonError::into_inner) {
            disk.after(change);
        }
    }

    static DISK: Mutex<Option<Box<dyn Disk>>> = Mutex::new(None);
}
