//! A file that is rewrapped while others work beside it.

use std::{fs, io::Write, path::Path};

use envelope_sdk::Header;

use super::{Keys, folder, names, unlock};
use crate::{FileError, HowWritten, Journal, LockedFile, Written};

const HEADER: usize = 512;

fn header(bytes: &[u8]) -> Header {
    Header::parse(bytes).unwrap().0
}

/// Replaces the file at `path` as a whole, by one with the header `new`.
fn replace(locked: &LockedFile, path: &Path, new: &Header) -> Result<Written, FileError> {
    let mut output = locked.replacement()?;
    let payload = fs::read(path).unwrap();
    output.write_all(&[&new.to_bytes(), &payload[HEADER..]].concat()).unwrap();
    output.commit()
}

#[test]
fn the_journal_of_another_envelope_is_neither_believed_nor_removed() {
    let keys = Keys::new();
    let folder = folder();
    let path = folder.path().join("f");
    let beside = folder.path().join("f.rewrap-journal");
    let other = header(&keys.encrypt(0));
    let journal = Journal::new(other.clone(), keys.rewrap(&other, &[0], 1).unwrap()).unwrap().to_bytes();
    fs::write(&path, keys.encrypt(0)).unwrap();
    fs::write(&beside, &journal).unwrap();

    let locked = LockedFile::open(&path).unwrap();
    let old = locked.open_header(unlock(&keys.opener(0))).unwrap().header().clone();
    let new = keys.rewrap(&old, &[0], 2).unwrap();
    assert_eq!(locked.write_header(&old, &new).unwrap(), HowWritten::NotInPlace);
    assert!(fs::read(&beside).unwrap() == journal);
    let written = replace(&locked, &path, &new).unwrap();
    locked.replaced(written, &new).unwrap();
    assert!(fs::read(&beside).unwrap() == journal);
    assert!(fs::read(&path).unwrap()[..HEADER] == new.to_bytes());
}

/// Otherwise the journal that is removed could be that of the next rewrap, which writes its
/// header meanwhile.
#[test]
fn a_file_that_replaced_another_is_locked_until_the_journal_is_gone() {
    let keys = Keys::new();
    let folder = folder();
    let path = folder.path().join("f");
    fs::write(&path, keys.encrypt(0)).unwrap();
    let locked = LockedFile::open(&path).unwrap();
    let old = header(&fs::read(&path).unwrap());
    let new = keys.rewrap(&old, &[0], 1).unwrap();
    let written = replace(&locked, &path, &new).unwrap();
    let busy = LockedFile::open(&path).map(drop).unwrap_err();
    assert!(matches!(busy, FileError::Busy { .. }), "{busy:?}");
    locked.replaced(written, &new).unwrap();
    LockedFile::open(&path).unwrap();
    assert_eq!(names(folder.path()), ["f"]);
}
