//! New files, removed files, and what a process that ends leaves.

use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
    sync::mpsc,
    thread,
    time::Duration,
};

use super::{ALWAYS_NAMED, folder, names};
use crate::{Access, Existing, FileError, NewFile, ReadFile, commit_both, kill, unfinished};

fn write(path: &Path, existing: Existing, access: Access<'_>, bytes: &[u8]) -> Result<(), FileError> {
    let mut new = NewFile::create(path, existing, access)?;
    new.write_all(bytes).unwrap();
    new.commit().map(drop)
}

/// Runs `test` with unnamed files, where there are any, and with named ones.
fn both_ways(test: impl Fn()) {
    for named in [false, true] {
        ALWAYS_NAMED.set(named);
        test();
    }
    ALWAYS_NAMED.set(false);
}

/// As whoever forks does.
#[test]
fn no_file_gets_its_name_while_the_names_are_held() {
    let folder = folder();
    let path = folder.path().join("f");
    let held = unfinished::hold();
    let (done, is_done) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            write(&path, Existing::Keep, Access::Public, b"one").unwrap();
            done.send(()).unwrap();
        });
        assert!(is_done.recv_timeout(Duration::from_millis(100)).is_err());
        assert!(!path.exists());
        drop(held);
        is_done.recv().unwrap();
    });
    assert_eq!(names(folder.path()), ["f"]);
}

#[test]
fn a_new_file_appears_whole_and_an_existing_one_is_kept_or_replaced() {
    both_ways(|| {
        let folder = folder();
        let path = folder.path().join("f");
        let new = NewFile::create(&path, Existing::Keep, Access::Private).unwrap();
        assert!(!path.exists());
        drop(new);
        assert_eq!(names(folder.path()), [""; 0], "dropped without commit it never was");
        write(&path, Existing::Keep, Access::Private, b"one").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let kept = write(&path, Existing::Keep, Access::Private, b"two").unwrap_err();
        assert!(matches!(kept, FileError::Exists { .. }), "{kept:?}");
        write(&path, Existing::Replace, Access::Private, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        // Taken between the question and the commit.
        let late = folder.path().join("late");
        let new = NewFile::create(&late, Existing::Keep, Access::Private).unwrap();
        fs::write(&late, b"theirs").unwrap();
        let lost = new.commit().map(drop).unwrap_err();
        assert!(matches!(lost, FileError::Exists { .. }), "{lost:?}");
        assert_eq!(fs::read(&late).unwrap(), b"theirs");
        assert_eq!(names(folder.path()), ["f", "late"]);
    });
}

#[test]
fn of_two_files_both_get_their_names_or_neither() {
    both_ways(|| {
        let folder = folder();
        let paths = ["payload", "header"].map(|name| folder.path().join(name));
        let new = || {
            paths.each_ref().map(|path| {
                let mut new = NewFile::create(path, Existing::Keep, Access::Public).unwrap();
                new.write_all(b"new").unwrap();
                new
            })
        };
        for taken in &paths {
            let [first, second] = new();
            fs::write(taken, b"theirs").unwrap();
            let error = commit_both(first, second).unwrap_err();
            assert!(matches!(&error, FileError::Exists { path } if path == taken), "{error:?}");
            assert_eq!(fs::read(taken).unwrap(), b"theirs");
            assert_eq!(names(folder.path()), [taken.file_name().unwrap().to_str().unwrap()]);
            fs::remove_file(taken).unwrap();
        }
        let [first, second] = new();
        commit_both(first, second).unwrap();
        assert_eq!(names(folder.path()), ["header", "payload"]);
        paths.iter().for_each(|path| assert_eq!(fs::read(path).unwrap(), b"new"));
    });
}

#[test]
fn a_kill_at_any_point_leaves_the_old_file_or_the_new_one() {
    for existing in [Existing::Keep, Existing::Replace] {
        let mut done = false;
        for after in 0.. {
            let folder = folder();
            let path = folder.path().join("f");
            if existing == Existing::Replace {
                fs::write(&path, b"old").unwrap();
            }
            kill::after(after, 0);
            let written = write(&path, existing, Access::Private, b"new");
            let dead = kill::is_dead();
            kill::never();
            let left = names(folder.path());
            match fs::read(&path).ok().as_deref() {
                Some(b"new") => done = true,
                Some(b"old") => assert_eq!(existing, Existing::Replace),
                None => assert_eq!(existing, Existing::Keep),
                Some(other) => panic!("{other:?}"),
            }
            let unfinished = left.iter().filter(|name| name.starts_with(".envctl-")).count();
            assert!(unfinished <= usize::from(existing == Existing::Replace), "{left:?}");
            if !dead {
                written.unwrap();
                break;
            }
        }
        assert!(done);
    }
}

#[test]
fn links_folders_and_pipes_are_not_replaced() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("target"), b"old").unwrap();
    symlink("target", path("link")).unwrap();
    symlink("nowhere", path("dangling")).unwrap();
    fs::create_dir(path("dir")).unwrap();
    for existing in [Existing::Keep, Existing::Replace] {
        for name in ["link", "dangling"] {
            let error = write(&path(name), existing, Access::Public, b"new").unwrap_err();
            assert!(matches!(error, FileError::Link { .. }), "{error:?}");
        }
        let error = write(&path("dir"), existing, Access::Public, b"new").unwrap_err();
        assert!(matches!(error, FileError::NotAFile { .. }), "{error:?}");
        for name in ["new/", "dir/..", "dir/."] {
            let error = write(&path(name), existing, Access::Public, b"new").unwrap_err();
            assert!(matches!(error, FileError::Io { .. } | FileError::NotAFile { .. }), "{name}: {error:?}");
        }
    }
    assert_eq!(names(folder.path()), ["dangling", "dir", "link", "target"]);
    assert_eq!(fs::read(path("target")).unwrap(), b"old");
}

#[test]
fn what_is_unfinished_goes_when_the_process_is_told_to_end_and_nothing_is_made_after() {
    ALWAYS_NAMED.set(true);
    let folder = folder();
    let path = folder.path().join("f");
    let new = NewFile::create(&path, Existing::Keep, Access::Private).unwrap();
    assert!(names(folder.path())[0].starts_with(".envctl-"));
    let stopped = unfinished::remove_all();
    assert_eq!(names(folder.path()), [""; 0]);
    let other = folder.path().join("other");
    let making = thread::spawn(move || {
        ALWAYS_NAMED.set(true);
        NewFile::create(&other, Existing::Keep, Access::Private).map(drop)
    });
    thread::yield_now();
    assert!(!making.is_finished());
    assert_eq!(names(folder.path()), [""; 0]);
    drop(stopped);
    making.join().unwrap().unwrap();
    assert!(new.commit().is_err(), "its file is gone");
    assert_eq!(names(folder.path()), [""; 0]);
    ALWAYS_NAMED.set(false);
}

#[test]
fn a_replacement_keeps_mode_access_list_and_attributes() {
    let folder = folder();
    let path = folder.path().join("f");
    fs::write(&path, b"old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let old = fs::File::open(&path).unwrap();
    let set = |name, value: &[u8]| {
        rustix::fs::fsetxattr(&old, name, value, rustix::fs::XattrFlags::empty()).is_ok()
    };
    // user::rw-, user:12345:rw-, group::---, mask::rw-, other::---: without the list,
    // the group would have the rights of the mask.
    let entries: [(u16, u16, u32); 5] =
        [(1, 6, !0), (2, 6, 12_345), (4, 0, !0), (0x10, 6, !0), (0x20, 0, !0)];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        list.extend(tag.to_le_bytes());
        list.extend(rights.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    let has_list = set("system.posix_acl_access", &list);
    let has_attribute = set("user.note", b"kept");
    let mode = fs::metadata(&path).unwrap().mode();
    write(&path, Existing::Replace, Access::Like(&old), b"new").unwrap();
    let now = fs::File::open(&path).unwrap();
    assert_eq!(now.metadata().unwrap().mode(), mode);
    for (there, name, value) in
        [(has_list, "system.posix_acl_access", &list[..]), (has_attribute, "user.note", b"kept")]
    {
        if there {
            let mut found = vec![0; 100];
            let len = rustix::fs::fgetxattr(&now, name, found.as_mut_slice()).unwrap();
            assert_eq!(&found[..len], value, "{name}");
        } else {
            println!("skipped: {name}: this file system has none");
        }
    }
}

#[test]
fn only_the_file_that_was_read_is_removed_and_others_keep_their_name() {
    let folder = folder();
    let path = folder.path().join("f");
    let read = || {
        fs::write(&path, b"read").unwrap();
        ReadFile::of(&fs::File::open(&path).unwrap(), &path).unwrap()
    };
    read().remove().unwrap();
    assert_eq!(names(folder.path()), [""; 0]);

    let one = read();
    fs::rename(&path, folder.path().join("moved")).unwrap();
    assert!(matches!(one.remove(), Err(FileError::Changed { .. })), "its name is gone");
    let one = read();
    fs::rename(&path, folder.path().join("moved")).unwrap();
    fs::write(&path, b"another").unwrap();
    assert!(matches!(one.remove(), Err(FileError::Changed { .. })), "its name is another's");
    assert_eq!(fs::read(&path).unwrap(), b"another");
    let one = read();
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b" more").unwrap();
    assert!(matches!(one.remove(), Err(FileError::Changed { .. })), "it has bytes that were not read");
    assert_eq!(fs::read(&path).unwrap(), b"read more");

    symlink("f", folder.path().join("link")).unwrap();
    let file = fs::File::open(&path).unwrap();
    assert!(matches!(ReadFile::of(&file, &folder.path().join("link")), Err(FileError::Link { .. })));
    assert_eq!(names(folder.path()), ["f", "link", "moved"]);
}

#[test]
fn a_file_that_cannot_be_removed_gets_its_name_back_or_the_error_says_what_it_is_called() {
    let folder = folder();
    let path = folder.path().join("f");
    fs::write(&path, b"read").unwrap();
    let read = ReadFile::of(&fs::File::open(&path).unwrap(), &path).unwrap();
    // It has its private name, and nothing more can be done.
    kill::after(1, 0);
    let error = read.remove().unwrap_err();
    kill::never();
    let FileError::Renamed { path: was, now, .. } = error else { panic!("{error:?}") };
    assert_eq!(was, path);
    assert_eq!(fs::read(now).unwrap(), b"read");
}

#[test]
fn a_file_like_another_replaces_that_one_as_it_was_and_nothing_replaces_a_link() {
    both_ways(|| {
        let folder = folder();
        let path = folder.path().join("f");
        let late = |access: &dyn Fn(&fs::File) -> NewFile, change: &dyn Fn()| {
            fs::write(&path, b"old").unwrap();
            let mut new = access(&fs::File::open(&path).unwrap());
            new.write_all(b"new").unwrap();
            change();
            let error = new.commit().map(drop).unwrap_err();
            let left = (fs::read(&path).unwrap(), names(folder.path()));
            fs::remove_file(&path).unwrap();
            (error, left.0, left.1)
        };
        let like = |old: &fs::File| NewFile::create(&path, Existing::Replace, Access::Like(old)).unwrap();
        let (error, there, left) = late(&like, &|| {
            fs::write(folder.path().join("g"), b"theirs").unwrap();
            fs::rename(folder.path().join("g"), &path).unwrap();
        });
        assert!(matches!(error, FileError::Changed { .. }), "{error:?}");
        assert_eq!((there, left), (b"theirs".to_vec(), vec!["f".to_owned()]));
        let (error, there, left) = late(&like, &|| {
            fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b" more").unwrap();
        });
        assert!(matches!(error, FileError::Changed { .. }), "{error:?}");
        assert_eq!((there, left), (b"old more".to_vec(), vec!["f".to_owned()]));
        let any = |_: &fs::File| NewFile::create(&path, Existing::Replace, Access::Private).unwrap();
        fs::write(folder.path().join("target"), b"target").unwrap();
        let (error, there, left) = late(&any, &|| {
            fs::remove_file(&path).unwrap();
            symlink("target", &path).unwrap();
        });
        assert!(matches!(error, FileError::Link { .. }), "{error:?}");
        assert_eq!((there, left), (b"target".to_vec(), vec!["f".to_owned(), "target".to_owned()]));
    });
}

#[test]
fn memory_that_is_reserved_changes_neither_length_nor_content_and_is_used() {
    let Ok(folder) = tempfile::tempdir_in("/dev/shm") else {
        println!("skipped: there is no /dev/shm");
        return;
    };
    let path = folder.path().join("f");
    let len = 16 << 20;
    let mut new = NewFile::create(&path, Existing::Keep, Access::Public).unwrap();
    let blocks = |new: &NewFile| new.file().metadata().unwrap().blocks();
    let done = new.reserve_while(len, || {
        // Until the other thread has taken all.
        while blocks(&new) < len / 512 {
            thread::yield_now();
        }
        "done"
    });
    assert_eq!((done, new.file().metadata().unwrap().len()), ("done", 0));
    new.write_all(b"text").unwrap();
    new.file().set_len(8).unwrap();
    drop(new.commit().unwrap());
    assert_eq!(fs::read(&path).unwrap(), b"text\0\0\0\0");
}

#[test]
fn a_panic_while_memory_is_reserved_goes_on() {
    let folder = folder();
    let new = NewFile::create(&folder.path().join("f"), Existing::Keep, Access::Public).unwrap();
    let work = std::panic::AssertUnwindSafe(|| new.reserve_while(u64::MAX / 2, || panic!("of the work")));
    let told = std::panic::catch_unwind(work).unwrap_err();
    assert_eq!(told.downcast_ref(), Some(&"of the work"));
}
