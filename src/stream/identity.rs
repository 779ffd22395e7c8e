//! Are two files the same one?

/// Which file something is, whatever name it was opened by: its device and
/// inode. A file that is read must not be the one that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
}

impl FileIdentity {
    /// Of an open file, for a [`ReadAt`](super::ReadAt) or
    /// [`WriteAt`](super::WriteAt) with a file inside.
    ///
    /// # Errors
    ///
    /// When the system does not say.
    #[cfg(unix)]
    pub fn of(file: &std::fs::File) -> std::io::Result<Self> {
        use std::os::unix::fs::MetadataExt;

        let metadata = file.metadata()?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino() })
    }
}
