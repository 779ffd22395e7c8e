//! What a writer asks of the disk, and nothing more. The folder does it; tests do it in memory and lose power.

use std::{
    io::{self, Read},
    path::PathBuf,
};

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

    /// So many bytes of a segment from a place on; fewer when it has fewer. Few at once: who can write the folder decides
    /// how long a file is. [`Pieces`] is for more.
    fn read(&mut self, segment: Option<u64>, from: u64, length: usize) -> io::Result<Vec<u8>>;

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

/// A segment from a place on, read piece by piece.
pub(crate) struct Pieces<'d, D> {
    disk: &'d mut D,
    segment: Option<u64>,
    at: u64,
}

impl<'d, D: Disk> Pieces<'d, D> {
    pub(crate) fn new(disk: &'d mut D, segment: Option<u64>, from: u64) -> Self {
        Self { disk, segment, at: from }
    }
}

impl<D: Disk> Read for Pieces<'_, D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.disk.read(self.segment, self.at, buffer.len())?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }
}
