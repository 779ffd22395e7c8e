//! Walking a folder.

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};

use super::folder;
use crate::tree::{Found, Walk, walk};

/// A folder may be deeper than a path is long. Nobody may take it for an empty one: envelopes would be left out of a
/// rotation, and of the count of what a key still opens.
#[test]
fn a_folder_that_cannot_be_looked_at_is_told_and_not_passed_over() {
    let root = folder();
    let name = "n".repeat(255);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = openat(CWD, root.path(), flags, Mode::empty()).unwrap();
    // Of 4096 bytes at most, of which the root has some.
    for _ in 0..17 {
        mkdirat(&at, name.as_str(), Mode::RWXU).unwrap();
        at = openat(&at, name.as_str(), flags, Mode::empty()).unwrap();
    }
    let mut unreadable = Vec::new();
    let end = walk(root.path(), &mut |found| {
        match found {
            Found::Folder(_) => {}
            found @ Found::File(_) => panic!("{found:?}"),
            Found::Unreadable(error) => unreadable.push(error.to_string()),
        }
        Walk::On
    });
    assert_eq!(end, Walk::On);
    let [error] = unreadable.as_slice() else { panic!("{unreadable:?}") };
    assert!(error.starts_with("cannot list ") && error.contains("name too long"), "{error}");
    // Whoever does not want to enter it is not told of it.
    let end = walk(root.path(), &mut |found| match found {
        Found::Folder(path) if path.as_os_str().len() > 4_000 => Walk::Around,
        Found::Folder(_) => Walk::On,
        found => panic!("{found:?}"),
    });
    assert_eq!(end, Walk::On);
}
