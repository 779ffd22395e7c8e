//! [`Flocked`]: a file that gives its lock back.

use std::{fs::File, ops::Deref, process};

use rustix::fs::{FlockOperation, flock};

/// A file with a lock (`flock`), which is free when this is dropped. To close the file is not enough: a process that was
/// forked meanwhile has the same file open, and would hold the lock until it ends. What that process drops of this gives nothing
/// back: the lock is not its own.
pub(crate) struct Flocked {
    file: File,
    process: u32,
}

impl Flocked {
    /// A file that this process has locked.
    pub(crate) fn new(file: File) -> Self {
        Self { file, process: process::id() }
    }
}

impl Deref for Flocked {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl Drop for Flocked {
    fn drop(&mut self) {
        if self.process == process::id() {
            let _ = flock(&self.file, FlockOperation::Unlock);
        }
    }
}
