//! Where a test may end the process. A release knows nothing of it.

use std::{fs::File, io, os::unix::fs::FileExt};

#[cfg(not(test))]
use crate::disk::{self, Change};

/// Called before each change of anything on disk.
#[cfg(not(test))]
#[inline]
#[expect(clippy::unnecessary_wraps, reason = "in tests it fails")]
pub(crate) fn point() -> io::Result<()> {
    Ok(())
}

/// Writes `bytes` over the front of `file`.
#[cfg(not(test))]
#[inline]
pub(crate) fn write_front(file: &File, bytes: &[u8]) -> io::Result<()> {
    // One write for the system, and in tests two, so that the second can fail.
    let len = if cfg!(feature = "faults") { bytes.len().div_ceil(2) } else { bytes.len().max(1) };
    let mut parts = bytes.chunks(len).zip(0_u64..);
    parts.try_for_each(|(part, index)| {
        disk::change(Change::WriteFront(file), || file.write_all_at(part, index * len as u64))
    })
}

/// As if the process had been killed: from a chosen call on, nothing is changed
/// on disk any more, by no destructor either.
#[cfg(test)]
pub(crate) fn point() -> io::Result<()> {
    let left = LEFT.get();
    if left == 0 {
        return Err(io::Error::other("killed"));
    }
    LEFT.set(left - 1);
    Ok(())
}

/// A kill here lets some parts of the write come to the disk.
#[cfg(test)]
pub(crate) fn write_front(file: &File, bytes: &[u8]) -> io::Result<()> {
    let parts = if LEFT.get() == 0 { ARRIVE.replace(0) } else { u16::MAX };
    let len = bytes.len().div_ceil(16);
    for (index, part) in bytes.chunks(len).enumerate() {
        if parts & (1 << index) != 0 {
            file.write_all_at(part, (index * len) as u64)?;
        }
    }
    point()
}

/// Lets `points` calls through on this thread and none more. If the next one
/// writes a header, the sixteenths of it arrive that have a bit in `arrive`.
#[cfg(test)]
pub(crate) fn after(points: usize, arrive: u16) {
    LEFT.set(points);
    ARRIVE.set(arrive);
}

/// Ends the life after death.
#[cfg(test)]
pub(crate) fn never() {
    after(usize::MAX, 0);
}

/// True when the end has come.
#[cfg(test)]
pub(crate) fn is_dead() -> bool {
    LEFT.get() == 0
}

#[cfg(test)]
thread_local! {
    static LEFT: std::cell::Cell<usize> = const { std::cell::Cell::new(usize::MAX) };
    static ARRIVE: std::cell::Cell<u16> = const { std::cell::Cell::new(0) };
}
