//! A file that is rewrapped while others work beside it.

use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use envelope_sdk::Header;

use super::{Keys, folder, names, unlock};
use crate::{FileError, HowWritten, Journal, LockedFile, Written, attributes};

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

/// A fork has the same file open until it ends, and with it the lock.
#[test]
fn a_file_that_is_dropped_is_free_although_a_fork_has_it_open() {
    let keys = Keys::new();
    let folder = folder();
    let path = folder.path().join("f");
    fs::write(&path, keys.encrypt(0)).unwrap();
    let locked = LockedFile::open(&path).unwrap();
    let _forked = locked.file().try_clone().unwrap();
    drop(locked);

    let locked = LockedFile::open(&path).unwrap();
    let payload = fs::read(&path).unwrap();
    let new = keys.rewrap(&header(&payload), &[0], 1).unwrap();
    let mut output = locked.replacement().unwrap();
    let _forked = output.file().try_clone().unwrap();
    output.write_all(&[&new.to_bytes(), &payload[HEADER..]].concat()).unwrap();
    let written = output.commit().unwrap();
    locked.replaced(written, &new).unwrap();
    LockedFile::open(&path).unwrap();
}

#[test]
fn who_is_not_in_the_access_list_of_a_file_has_no_right_to_its_journal() {
    let folder = folder();
    let (path, beside) = (folder.path().join("f"), folder.path().join("f.rewrap-journal"));
    fs::write(&path, b"").unwrap();
    fs::write(&beside, b"").unwrap();
    let (file, journal) = (fs::File::open(&path).unwrap(), fs::File::open(&beside).unwrap());
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o600)).unwrap();
    // user::rw-, user:12345:rw-, group::---, mask::rw-, other::---
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in
        [(1_u16, 6_u16, !0_u32), (2, 6, 12_345), (4, 0, !0), (0x10, 6, !0), (0x20, 0, !0)]
    {
        list.extend([tag.to_le_bytes(), rights.to_le_bytes()].concat());
        list.extend(id.to_le_bytes());
    }
    const NAME: &str = "system.posix_acl_access";
    if rustix::fs::fsetxattr(&file, NAME, &list, rustix::fs::XattrFlags::empty()).is_err() {
        println!("skipped: this file system has no access lists");
        return;
    }
    attributes::lend(&file, &journal).unwrap();
    let mut found = vec![0; 100];
    let len = rustix::fs::fgetxattr(&journal, NAME, found.as_mut_slice()).unwrap();
    assert_eq!(found[..len], list);
    assert_eq!(journal.metadata().unwrap().mode(), file.metadata().unwrap().mode());
}
