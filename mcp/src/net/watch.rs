//! Whether files have changed.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use super::CredentialFiles;

/// What tells a file from the one that was there before: links are followed, so that a folder that a link is turned to counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp(Vec<Option<[i64; 7]>>);

impl Stamp {
    pub(crate) fn of(files: &CredentialFiles) -> Self {
        let paths = [Some(&files.certificate), Some(&files.key), Some(&files.ca), files.crl.as_ref()];
        Self(paths.into_iter().flatten().map(|path| stamp(path)).collect())
    }
}

fn stamp(path: &Path) -> Option<[i64; 7]> {
    let file = fs::metadata(path).ok()?;
    // Compared, and nothing else: that large numbers wrap does no harm.
    let (device, inode, length) =
        (file.dev().cast_signed(), file.ino().cast_signed(), file.len().cast_signed());
    Some([device, inode, length, file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()])
}
