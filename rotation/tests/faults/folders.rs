//! Folders that are made for files.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use envelope_files::{
    disk::{Change, Disk, Verdict},
    make_folders,
};

use super::{Bench, Content, folder, with_disk};

/// Notes of which names the folder was brought to disk.
struct Flushed(Arc<Mutex<Vec<PathBuf>>>);

impl Disk for Flushed {
    fn before(&mut self, _change: Change<'_>) -> Verdict {
        Verdict::Go
    }

    fn after(&mut self, change: Change<'_>) {
        if let Change::SyncFolder(path) = change {
            self.0.lock().unwrap().push(path.to_owned());
        }
    }
}

#[test]
fn each_folder_that_is_made_is_on_disk_under_its_name() {
    let _bench = Bench::new();
    let folder = folder(&Content::new());
    let deepest = folder.path().join("a/b/c");
    let flushed = Arc::new(Mutex::new(Vec::new()));
    with_disk(Flushed(Arc::clone(&flushed)), || make_folders(&deepest)).unwrap();
    assert!(deepest.is_dir());
    assert_eq!(*flushed.lock().unwrap(), ["a", "a/b", "a/b/c"].map(|name| folder.path().join(name)));
    // What is there already is left to whoever made it.
    with_disk(Flushed(Arc::clone(&flushed)), || make_folders(&deepest)).unwrap();
    assert_eq!(flushed.lock().unwrap().len(), 3);
}

/// Fails when the first folder is to be brought to disk.
struct FailsOnce(bool);

impl Disk for FailsOnce {
    fn before(&mut self, change: Change<'_>) -> Verdict {
        if matches!(change, Change::SyncFolder(_)) && !std::mem::replace(&mut self.0, true) {
            return Verdict::Fail(io::Error::other("the disk is broken"));
        }
        Verdict::Go
    }

    fn after(&mut self, _change: Change<'_>) {}
}

/// The next file of a call would go on, and its input be removed.
#[test]
fn a_folder_that_could_not_be_brought_to_disk_is_not_taken_for_one_that_is() {
    let _bench = Bench::new();
    let folder = folder(&Content::new());
    let made = folder.path().join("a");
    let error = with_disk(FailsOnce(false), || make_folders(&made)).unwrap_err();
    assert!(error.to_string().contains("the disk is broken"), "{error}");
    assert!(!made.exists());
    let flushed = Arc::new(Mutex::new(Vec::new()));
    with_disk(Flushed(Arc::clone(&flushed)), || make_folders(&made)).unwrap();
    assert_eq!(*flushed.lock().unwrap(), [made]);
}

#[test]
fn a_folder_may_be_named_by_the_one_above_it() {
    let _bench = Bench::new();
    let folder = folder(&Content::new());
    make_folders(&folder.path().join("a/../b")).unwrap();
    assert!(folder.path().join("a").is_dir() && folder.path().join("b").is_dir());
}
