//! Folders that are made for files.

use std::{
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
