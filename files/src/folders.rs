//! Folders for files that are to be on disk.

use std::{
    fs::{self, File},
    io,
    path::Path,
    sync::{Mutex, PoisonError},
};

use crate::{FileError, folder::Place};

/// Makes `folder` and those above it, where they are not there. Each that is made is on disk under its name when this
/// returns, here and to every other thread that asks for it: a file that is flushed brings its own folder along, and none
/// above that.
///
/// # Errors
///
/// [`FileError`] when one cannot be made or flushed.
pub fn make_folders(folder: &Path) -> Result<(), FileError> {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    make(folder)
}

fn make(folder: &Path) -> Result<(), FileError> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent() {
        make(above)?;
    }
    // Such as `a/..`: it is there now that `a` is.
    if folder.file_name().is_none() {
        return Ok(());
    }
    let is_own = match fs::create_dir(folder) {
        // Another process made it meanwhile.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => false,
        made => made.map(|()| true).map_err(|error| cannot(folder, error))?,
    };
    let flushed = flush(folder);
    if is_own && flushed.is_err() {
        // Whoever asks next would find it there, and take it for one that is on disk.
        let _ = fs::remove_dir(folder);
    }
    flushed
}

/// Brings the name of a folder to disk.
fn flush(folder: &Path) -> Result<(), FileError> {
    let made = File::open(folder).map_err(|error| cannot(folder, error))?;
    Place::open_to_flush(folder)?.flush(&made).map_err(|error| cannot(folder, error))
}

fn cannot(folder: &Path, error: io::Error) -> FileError {
    FileError::io("make the folder", folder, error)
}

/// Whoever finds a folder there must not go on before it is on disk.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
