//! What a writer asks of the disk, and nothing more. The folder does it; tests do it in memory and lose power.

use std::{io, path::PathBuf};

/// The files of a log, for its writer. The current segment has no number: `None`.
pub(crate) trait Disk: Send {
    /// The name of a segment, for words.
    fn path(&self, segment: Option<u64>) -> PathBuf;

    /// The name of the head, for words.
    fn head_path(&self) -> PathBuf;

    /// Waits until nobody else writes. What is read later is what is there then.
    fn lock(&mut self) -> io::Result<()>;

    /// Lets others write.
    fn unlock(&mut self);

    /// The bytes of the head; `None` when there is none.
    fn head(&mut self) -> io::Result<Option<Vec<u8>>>;

    /// Writes the head over itself.
    fn write_head(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Brings the head to disk.
    fn sync_head(&mut self) -> io::Result<()>;

    /// The numbers of closed segments, ascending.
    fn closed(&mut self) -> io::Result<Vec<u64>>;

    /// The length of the current segment; `None` when there is none.
    fn length(&mut self) -> io::Result<Option<u64>>;

    /// The bytes of a segment between two places, or to its end; fewer when it has fewer.
    fn read(&mut self, segment: Option<u64>, from: u64, until: Option<u64>) -> io::Result<Vec<u8>>;

    /// Writes into the current segment.
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Brings the current segment to disk.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the current segment, on disk.
    fn cut(&mut self, length: u64) -> io::Result<()>;

    /// Brings the names of the files to disk.
    fn sync_names(&mut self) -> io::Result<()>;

    /// Gives the current segment its number, on disk.
    fn close_segment(&mut self, number: u64) -> io::Result<()>;

    /// Makes an empty current segment. Its name is not on disk yet.
    fn open_segment(&mut self) -> io::Result<()>;

    /// Removes a closed segment, on disk.
    fn remove(&mut self, number: u64) -> io::Result<()>;
}
