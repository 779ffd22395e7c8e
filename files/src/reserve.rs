//! Memory for a new file, taken while nothing can be written yet.

use std::{
    fs::File,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use crate::NewFile;

impl NewFile {
    /// Runs `work`, such as unlocking a keystore. In a file system in memory, pages for the first `len` bytes are taken meanwhile,
    /// as many as time permits, by another thread: that is a third of what writing them costs, and writers of one file wait for
    /// each other. Neither the length nor the content changes. What fails is told by whoever writes.
    ///
    /// `len` must not be more than will be written. Of more than 1 GiB the rest is left to whoever writes: nothing is authenticated
    /// yet, a person may take long to type a passphrase, and a file with holes says any length.
    pub fn reserve_while<T>(&self, len: u64, work: impl FnOnce() -> T) -> T {
        if len < LEAST || !is_in_memory(self.file()) {
            return work();
        }
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let _at_last = Set(&done);
            // Where there is no thread to be had, they are taken later.
            let _ = thread::Builder::new().spawn_scoped(scope, || reserve(self.file(), len, &done));
            work()
        })
    }
}

/// Also where what runs meanwhile panics.
struct Set<'a>(&'a AtomicBool);

impl Drop for Set<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(target_os = "linux")]
fn is_in_memory(file: &File) -> bool {
    rustix::fs::fstatfs(file).is_ok_and(|system| system.f_type == TMPFS)
}

#[cfg(target_os = "linux")]
fn reserve(file: &File, len: u64, done: &AtomicBool) {
    use rustix::fs::{FallocateFlags, fallocate};
    let (mut at, len) = (0, len.min(MOST));
    while at < len && !done.load(Ordering::Relaxed) {
        let step = STEP.min(len - at);
        if fallocate(file, FallocateFlags::KEEP_SIZE, at, step).is_err() {
            return;
        }
        at += step;
    }
}

#[cfg(not(target_os = "linux"))]
fn is_in_memory(_file: &File) -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
fn reserve(_file: &File, _len: u64, _done: &AtomicBool) {}

/// `TMPFS_MAGIC` of linux/magic.h.
#[cfg(target_os = "linux")]
const TMPFS: rustix::fs::FsWord = 0x0102_1994;
/// Fewer bytes are written sooner than another thread begins.
const LEAST: u64 = 8 << 20;
/// An unlocking gives no time for more.
#[cfg(target_os = "linux")]
const MOST: u64 = 1 << 30;
/// A millisecond or two.
#[cfg(target_os = "linux")]
const STEP: u64 = 8 << 20;
