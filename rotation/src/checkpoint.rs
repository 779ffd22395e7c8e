//! What a job writes down, so that another one can go on after it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, BufRead, BufReader, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Item, RotationError, shard::hash};

/// A file with a line of JSON for each item, which is only ever appended to.
///
/// The line is written **before** the item is committed, and holds the first 8 bytes of the MAC that the new
/// header has. So an item is done if, and only if, the header that is there has the MAC of one of its lines;
/// whether the job was killed before or after it wrote, the item itself tells. Nothing is counted twice,
/// and nothing is believed that the item does not show.
///
/// Loss of power may lose the last lines. Those items are rewrapped in the target state, which is skipped without
/// a line, or reencrypted once more.
///
/// In memory: 16 bytes for each line of the job before.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    lines: Mutex<Lines>,
    /// Hash of the name and beginning of the MAC, in order.
    before: Vec<(u64, u64)>,
    job: Option<String>,
}

#[derive(Debug)]
struct Lines {
    file: File,
    /// Bytes of whole lines.
    whole: u64,
    /// Whether there may be half a line behind them.
    is_torn: bool,
    /// Whose the lock is.
    process: u32,
}

impl Lines {
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.is_torn {
            // The next line would be lost with it.
            self.file.set_len(self.whole)?;
            self.file.seek(SeekFrom::Start(self.whole))?;
        }
        self.is_torn = true;
        // One write: what is killed in it leaves half a line at most.
        self.file.write_all(line)?;
        self.whole += line.len() as u64;
        self.is_torn = false;
        Ok(())
    }
}

impl Drop for Lines {
    /// To close the file is not enough: a process that was forked meanwhile has it open, too, and with it the lock. That one, where
    /// it drops this, gives nothing back.
    fn drop(&mut self) {
        if self.process == process::id() {
            let _ = self.file.unlock();
        }
    }
}

impl Checkpoint {
    /// Opens the checkpoint at `path` to resume the job that wrote it, or begins one where there is none.
    /// It is locked until it is dropped.
    ///
    /// # Errors
    ///
    /// [`RotationError`]: it cannot be read, is no checkpoint, or is in use. Half a line at its end, of a job that
    /// was killed, is cut off.
    pub fn open(path: &Path) -> Result<Self, RotationError> {
        let cannot = |source| RotationError::Checkpoint { path: path.to_owned(), source };
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(RotationError::CheckpointBusy { path: path.to_owned() });
            }
            Err(TryLockError::Error(error)) => return Err(cannot(error)),
        }
        let mut checkpoint = Self {
            path: path.to_owned(),
            lines: Mutex::new(Lines { file, whole: 0, is_torn: false, process: process::id() }),
            before: Vec::new(),
            job: None,
        };
        checkpoint.load().map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => RotationError::NotACheckpoint { path: path.to_owned() },
            _ => cannot(error),
        })?;
        Ok(checkpoint)
    }

    /// Lines of the job before.
    #[must_use]
    pub fn resumed(&self) -> usize {
        self.before.len()
    }

    /// Says which job this is, in words that are the same for the same job. Refuses that of another one.
    pub(crate) fn begin(&mut self, job: &str) -> Result<(), RotationError> {
        let digest = Sha256::digest(job);
        let job: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        match &self.job {
            Some(before) if *before == job => return Ok(()),
            Some(_) => return Err(RotationError::OtherJob { path: self.path.clone() }),
            None => {}
        }
        let begin = Begin { envelope_rotation: VERSION, job: job.clone() };
        self.append(&begin)
            .map_err(|source| RotationError::Checkpoint { path: self.path.clone(), source })?;
        self.job = Some(job);
        Ok(())
    }

    /// Whether the item, whose header has this MAC, was done by the job before.
    pub(crate) fn is_done(&self, item: &Item, mac: &[u8; 32]) -> bool {
        !self.before.is_empty() && self.before.binary_search(&(hash(item.name()), beginning(mac))).is_ok()
    }

    /// Writes down that the item is about to have this MAC.
    pub(crate) fn note(&self, item: &Item, mac: &[u8; 32]) -> io::Result<()> {
        self.append(&Line {
            item: String::from_utf8_lossy(item.name()).into_owned(),
            id: format!("{:016x}", hash(item.name())),
            mac: format!("{:016x}", beginning(mac)),
        })
    }

    /// Brings it to disk.
    pub(crate) fn flush(&self) -> Result<(), RotationError> {
        let flushed = self.lines.lock().unwrap_or_else(PoisonError::into_inner).file.sync_data();
        flushed.map_err(|source| RotationError::Checkpoint { path: self.path.clone(), source })
    }

    fn append(&self, line: &impl Serialize) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).append(&bytes)
    }

    fn load(&mut self) -> io::Result<()> {
        let lines = self.lines.get_mut().unwrap_or_else(PoisonError::into_inner);
        let file = &mut lines.file;
        let invalid = |error: serde_json::Error| io::Error::new(io::ErrorKind::InvalidData, error);
        let (mut whole, mut line) = (0, Vec::new());
        let mut reader = BufReader::new(&*file);
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line)?;
            if !line.ends_with(b"\n") {
                // Nothing, or half a line: that of a first line may be anything.
                if whole == 0 && read > 0 && !line.starts_with(BEGINNING) && !BEGINNING.starts_with(&line) {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                break;
            }
            if whole == 0 {
                let begin: Begin = serde_json::from_slice(&line).map_err(invalid)?;
                if begin.envelope_rotation != VERSION {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                self.job = Some(begin.job);
            } else {
                let line: Line = serde_json::from_slice(&line).map_err(invalid)?;
                let number = |text: &str| {
                    u64::from_str_radix(text, 16).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
                };
                self.before.push((number(&line.id)?, number(&line.mac)?));
            }
            whole += read as u64;
        }
        file.set_len(whole)?;
        file.seek(SeekFrom::Start(whole))?;
        lines.whole = whole;
        self.before.sort_unstable();
        Ok(())
    }
}

/// The first line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Begin {
    envelope_rotation: u32,
    job: String,
}

/// Each other line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    /// For people: lossy where a name is not UTF-8.
    item: String,
    id: String,
    mac: String,
}

fn beginning(mac: &[u8; 32]) -> u64 {
    u64::from_be_bytes(std::array::from_fn(|at| mac[at]))
}

const VERSION: u32 = 1;
const BEGINNING: &[u8] = b"{\"envelope_rotation\":";

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that goes wrong shall stop")]
mod tests {
    use super::*;

    #[test]
    fn half_a_line_of_a_full_disk_is_cut_off_before_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        let mut checkpoint = Checkpoint::open(&path).unwrap();
        checkpoint.begin("job").unwrap();
        {
            // As a write that came half-way.
            let lines = checkpoint.lines.get_mut().unwrap();
            lines.file.write_all(b"{\"item\":\"a").unwrap();
            lines.is_torn = true;
        }
        checkpoint.note(&Item::found("b"), &[7; 32]).unwrap();
        drop(checkpoint);
        let resumed = Checkpoint::open(&path).unwrap();
        assert_eq!(resumed.resumed(), 1);
        assert!(resumed.is_done(&Item::found("b"), &[7; 32]));
    }

    #[test]
    fn a_checkpoint_that_is_dropped_is_free_although_a_fork_has_it_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        let mut checkpoint = Checkpoint::open(&path).unwrap();
        let _forked = checkpoint.lines.get_mut().unwrap().file.try_clone().unwrap();
        drop(checkpoint);
        Checkpoint::open(&path).unwrap();
    }
}
