//! [`Flocked`]: a file that gives its lock back.

use std::{fs::File, ops::Deref};

use rustix::fs::{FlockOperation, flock};

/// A file with a lock (`flock`), which is free when this is dropped. To close the file is not enough: a process that was
/// forked meanwhile has the same file open, and would hold the lock until it ends.
pub(crate) struct Flocked(pub(crate) File);

impl Deref for Flocked {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for Flocked {
    fn drop(&mut self) {
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}
