//! What can be read and written at an offset.

use std::{
    io::{self, IoSlice, IoSliceMut},
    sync::Arc,
};

use super::FileIdentity;
use crate::whole_io::{checked, retry};

/// Bytes of a known length that can be read anywhere: a file, a slice, a local
/// copy of an object. Several threads read at once.
pub trait ReadAt {
    /// Bytes there are. Asked once, before anything is read.
    ///
    /// # Errors
    ///
    /// Whatever the source says.
    fn size(&self) -> io::Result<u64>;

    /// Reads up to `out.len()` bytes from `offset` on; 0 means that the end is
    /// there. May return fewer bytes than there are.
    ///
    /// # Errors
    ///
    /// Whatever the source says; [`io::ErrorKind::Interrupted`] is tried again.
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize>;

    /// As [`read_at`](Self::read_at), into one buffer after the other. A source
    /// that can fill several in one call is faster.
    ///
    /// # Errors
    ///
    /// As `read_at`.
    fn read_vectored_at(&self, out: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<usize> {
        match out.iter_mut().find(|buffer| !buffer.is_empty()) {
            Some(first) => self.read_at(first, offset).and_then(|read| checked(read, first.len())),
            None => Ok(0),
        }
    }

    /// Which file it is, if it is one: it is not overwritten while it is read.
    ///
    /// # Errors
    ///
    /// Whatever the source says.
    fn identity(&self) -> io::Result<Option<FileIdentity>> {
        Ok(None)
    }
}

/// A place that can be written anywhere, by several threads at once.
pub trait WriteAt {
    /// Writes some of `bytes` at `offset` and says how many.
    ///
    /// # Errors
    ///
    /// Whatever the place says; [`io::ErrorKind::Interrupted`] is tried again.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// As [`write_at`](Self::write_at), from one buffer after the other.
    ///
    /// # Errors
    ///
    /// As `write_at`.
    fn write_vectored_at(&self, bytes: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        match bytes.iter().find(|buffer| !buffer.is_empty()) {
            Some(first) => self.write_at(first, offset).and_then(|written| checked(written, first.len())),
            None => Ok(0),
        }
    }

    /// Told once, before anything is written, that `len` bytes will be all there
    /// is. A place that holds more cuts it off: what stands behind would be taken
    /// for a part of it. It may take missing bytes from the disk now, and find
    /// it full before any work is done.
    ///
    /// # Errors
    ///
    /// When there is no room for them, or the place cannot be written at an
    /// offset.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Which file it is, if it is one: it is not written while it is the input.
    ///
    /// # Errors
    ///
    /// Whatever the place says.
    fn identity(&self) -> io::Result<Option<FileIdentity>> {
        Ok(None)
    }
}

impl ReadAt for [u8] {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        let len = out.len().min(self.len() - start);
        out[..len].copy_from_slice(&self[start..start + len]);
        Ok(len)
    }
}

impl ReadAt for Vec<u8> {
    fn size(&self) -> io::Result<u64> {
        self.as_slice().size()
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        self.as_slice().read_at(out, offset)
    }
}

#[cfg(feature = "tokio")]
impl ReadAt for bytes::Bytes {
    fn size(&self) -> io::Result<u64> {
        self.as_ref().size()
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        self.as_ref().read_at(out, offset)
    }
}

macro_rules! read_through {
    ($pointer:ty) => {
        impl<T: ReadAt + ?Sized> ReadAt for $pointer {
            fn size(&self) -> io::Result<u64> {
                (**self).size()
            }

            fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
                (**self).read_at(out, offset)
            }

            fn read_vectored_at(&self, out: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<usize> {
                (**self).read_vectored_at(out, offset)
            }

            fn identity(&self) -> io::Result<Option<FileIdentity>> {
                (**self).identity()
            }
        }
    };
}

read_through!(&T);
read_through!(Box<T>);
read_through!(Arc<T>);

#[cfg(unix)]
mod unix {
    use std::{
        fs::File,
        io::{self, IoSlice, IoSliceMut},
        os::unix::fs::FileExt,
    };

    use super::{FileIdentity, ReadAt, WriteAt};

    /// `size` is the file's length now: 0 for a device or a file of `/proc`,
    /// which are read as a pipe.
    impl ReadAt for File {
        fn size(&self) -> io::Result<u64> {
            Ok(self.metadata()?.len())
        }

        fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
            FileExt::read_at(self, out, offset)
        }

        fn read_vectored_at(&self, out: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<usize> {
            Ok(rustix::io::preadv(self, out, offset)?)
        }

        fn identity(&self) -> io::Result<Option<FileIdentity>> {
            FileIdentity::of(self).map(Some)
        }
    }

    /// Not for a file that was opened to append.
    impl WriteAt for File {
        fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
            refuse_append(self)?;
            FileExt::write_at(self, bytes, offset)
        }

        fn write_vectored_at(&self, bytes: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
            refuse_append(self)?;
            Ok(rustix::io::pwritev(self, bytes, offset)?)
        }

        /// Allocates the blocks where the file system can. Not on tmpfs, which
        /// would fill every page with zeros first: 0.3 s for 1 GiB, as long as
        /// the work itself.
        fn set_len(&self, len: u64) -> io::Result<()> {
            refuse_append(self)?;
            #[cfg(target_os = "linux")]
            if len > 0 && !on_tmpfs(self) {
                use rustix::{fs::FallocateFlags, io::Errno};
                let allocate = || rustix::fs::fallocate(self, FallocateFlags::empty(), 0, len);
                match rustix::io::retry_on_intr(allocate) {
                    Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            // Also after that: it makes a file longer and never shorter.
            Self::set_len(self, len)
        }

        fn identity(&self) -> io::Result<Option<FileIdentity>> {
            FileIdentity::of(self).map(Some)
        }
    }

    /// Linux writes to the end of a file with `O_APPEND`, whatever the offset
    /// (pwrite(2), "BUGS"). Asked at each write: what passes on writes alone,
    /// and forgets the length, is refused too.
    fn refuse_append(file: &File) -> io::Result<()> {
        if rustix::fs::fcntl_getfl(file)?.contains(rustix::fs::OFlags::APPEND) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the file is open for appending (O_APPEND), which writes everything to its end: \
                 open it without",
            ));
        }
        Ok(())
    }

    #[cfg(target_os = "linux")]
    fn on_tmpfs(file: &File) -> bool {
        // TMPFS_MAGIC of statfs(2).
        rustix::fs::fstatfs(file).is_ok_and(|file_system| file_system.f_type == 0x0102_1994)
    }
}

/// Reads until `out` is full or the end is there.
pub(super) fn read_full_at(
    source: &(impl ReadAt + ?Sized),
    out: &mut [u8],
    offset: u64,
) -> io::Result<usize> {
    read_full_vectored_at(source, &mut [IoSliceMut::new(out)], offset)
}

/// Reads until all of `out` is full or the end is there.
pub(super) fn read_full_vectored_at(
    source: &(impl ReadAt + ?Sized),
    mut out: &mut [IoSliceMut<'_>],
    offset: u64,
) -> io::Result<usize> {
    let mut filled = 0;
    IoSliceMut::advance_slices(&mut out, 0);
    while !out.is_empty() {
        let room = out.iter().map(|buffer| buffer.len()).sum();
        let from = after(offset, filled)?;
        let read = retry(|| source.read_vectored_at(out, from)).and_then(|read| checked(read, room))?;
        if read == 0 {
            break;
        }
        filled += read;
        IoSliceMut::advance_slices(&mut out, read);
    }
    Ok(filled)
}

/// Writes all of `bytes`.
pub(super) fn write_all_at(place: &(impl WriteAt + ?Sized), bytes: &[u8], offset: u64) -> io::Result<()> {
    write_all_vectored_at(place, &mut [IoSlice::new(bytes)], offset)
}

/// Writes all of `bytes`, one buffer after the other.
pub(super) fn write_all_vectored_at(
    place: &(impl WriteAt + ?Sized),
    mut bytes: &mut [IoSlice<'_>],
    offset: u64,
) -> io::Result<()> {
    let mut done = 0;
    IoSlice::advance_slices(&mut bytes, 0);
    while !bytes.is_empty() {
        let rest = bytes.iter().map(|buffer| buffer.len()).sum();
        let to = after(offset, done)?;
        let written = retry(|| place.write_vectored_at(bytes, to)).and_then(|count| checked(count, rest))?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        done += written;
        IoSlice::advance_slices(&mut bytes, written);
    }
    Ok(())
}

/// The offset that many bytes further on.
fn after(offset: u64, by: usize) -> io::Result<u64> {
    offset.checked_add(by as u64).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}
