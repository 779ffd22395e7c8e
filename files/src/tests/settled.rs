//! A header that is read while a rewrap in place writes it.

use std::{
    cell::RefCell,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
};

use envelope_sdk::{
    Header,
    stream::{self, StreamError},
};

use super::{Keys, folder, names};
use crate::{FileError, LockedFile, read_settled};

/// A file of which a rewrap has written so much that no reader knows it, and both whole headers.
fn half_written(keys: &Keys, path: &Path) -> (LockedFile, Header, Header) {
    let sealed = keys.encrypt(0);
    let old = Header::parse(&sealed).unwrap().0;
    let new = keys.rewrap(&old, &[0], 1).unwrap();
    fs::write(path, &sealed).unwrap();
    let locked = LockedFile::open(path).unwrap();
    // A sector that has not arrived.
    locked.file().write_all_at(&[0; 64], 16).unwrap();
    (locked, old, new)
}

fn read(file: &File) -> Result<Header, StreamError> {
    stream::read_header_at(file)
}

fn may_be_half(error: &StreamError) -> bool {
    matches!(error, StreamError::Decrypt(_))
}

#[test]
fn a_header_that_is_being_written_is_read_again_and_not_called_damaged() {
    let (keys, folder) = (Keys::new(), folder());
    let path = folder.path().join("f");
    let (locked, _, new) = half_written(&keys, &path);
    let rewrap = RefCell::new(Some(locked));
    let file = File::open(&path).unwrap();
    let read = || {
        let seen = read(&file);
        // The rewrap comes to its end as soon as somebody has looked.
        if let Some(locked) = rewrap.take() {
            assert!(may_be_half(seen.as_ref().unwrap_err()), "{seen:?}");
            locked.file().write_all_at(&new.to_bytes(), 0).unwrap();
        }
        seen
    };
    assert_eq!(read_settled(&file, &path, read, may_be_half).unwrap().unwrap(), new);
    LockedFile::open(&path).expect("the lock of the reader is let go of, though its file is open");
    assert_eq!(names(folder.path()), ["f"]);
}

#[test]
fn a_header_that_stays_half_under_the_lock_of_another_process_is_busy_and_without_one_is_damaged() {
    let (keys, folder) = (Keys::new(), folder());
    let path = folder.path().join("f");
    let (locked, ..) = half_written(&keys, &path);
    let file = File::open(&path).unwrap();
    let busy = read_settled(&file, &path, || read(&file), may_be_half).unwrap_err();
    assert!(matches!(&busy, FileError::Busy { path: told } if *told == path), "{busy:?}");
    drop(locked);
    let damaged = read_settled(&file, &path, || read(&file), may_be_half).unwrap().unwrap_err();
    assert!(may_be_half(&damaged), "{damaged:?}");
}

/// Somebody may have it locked for long, to ask for a passphrase.
#[test]
fn a_header_that_is_whole_is_read_whoever_has_it_locked() {
    let (keys, folder) = (Keys::new(), folder());
    let path = folder.path().join("f");
    let (locked, old, _) = half_written(&keys, &path);
    locked.file().write_all_at(&old.to_bytes(), 0).unwrap();
    let file = File::open(&path).unwrap();
    assert_eq!(read_settled(&file, &path, || read(&file), may_be_half).unwrap().unwrap(), old);
}
