//! Which files are trusted, and what is said of the others.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says why it cannot go on"
)]

use std::{
    fs::{self, Permissions},
    io::{Read, Write},
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
};

use envelope_files::trust::{Purpose, TrustError, open, read};
use tempfile::TempDir;

/// A folder of mode 0700 with a file of this mode.
fn folder_with(name: &str, mode: u32) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, "words").unwrap();
    set_mode(&path, mode);
    (folder, path)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn words(path: &Path, purpose: Purpose) -> String {
    let mut text = String::new();
    open(path, purpose).unwrap().read_to_string(&mut text).unwrap();
    text
}

/// Giving files away takes root.
fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: only root can give files to others");
    }
    root
}

#[test]
fn what_only_its_owner_can_write_is_trusted_below_a_sticky_folder_of_root_too() {
    let (_folder, path) = folder_with("config", 0o644);
    assert_eq!(words(&path, Purpose::Settings), "words");
    assert_eq!(words(&path, Purpose::Code), "words");
    set_mode(&path, 0o600);
    assert_eq!(words(&path, Purpose::Secret), "words");
}

#[test]
fn a_file_that_group_or_others_may_write_is_refused_with_the_command_that_mends_it() {
    for mode in [0o664, 0o646, 0o666, 0o620] {
        let (_folder, path) = folder_with("config", mode);
        let error = open(&path, Purpose::Settings).unwrap_err();
        let TrustError::Writable { place, mode: told, .. } = &error else { panic!("{error:?}") };
        assert_eq!((place.as_path(), *told), (path.as_path(), mode));
        assert!(error.to_string().contains(&format!("`chmod go-w {}`", path.display())), "{error}");
    }
}

#[test]
fn a_folder_on_the_way_that_others_may_write_is_refused_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let open_folder = folder.path().join("open folder");
    let inner = open_folder.join("inner");
    fs::create_dir_all(&inner).unwrap();
    let path = inner.join("config");
    fs::write(&path, "words").unwrap();
    for mode in [0o777, 0o775, 0o757] {
        set_mode(&open_folder, mode);
        let error = open(&path, Purpose::Settings).unwrap_err();
        let TrustError::Writable { place, mode: told, .. } = &error else { panic!("{error:?}") };
        assert_eq!((place, *told), (&open_folder, mode));
        assert!(error.to_string().ends_with("open folder'`"), "{error}");
    }
    set_mode(&open_folder, 0o755);
    assert_eq!(words(&path, Purpose::Settings), "words");
}

#[test]
fn a_folder_through_which_dots_lead_is_looked_at_too() {
    let folder = tempfile::tempdir().unwrap();
    let detour = folder.path().join("detour");
    fs::create_dir(&detour).unwrap();
    fs::write(folder.path().join("config"), "words").unwrap();
    let path = detour.join("../config");
    assert_eq!(words(&path, Purpose::Settings), "words");
    set_mode(&detour, 0o777);
    let error = open(&path, Purpose::Settings).unwrap_err();
    assert!(matches!(&error, TrustError::Writable { place, .. } if *place == detour), "{error:?}");
}

#[test]
fn a_secret_that_others_may_read_is_refused_and_a_setting_is_not() {
    for mode in [0o640, 0o604, 0o644, 0o610] {
        let (_folder, path) = folder_with("pin", mode);
        let error = open(&path, Purpose::Secret).unwrap_err();
        assert!(matches!(&error, TrustError::Readable { mode: told, .. } if *told == mode), "{error:?}");
        assert!(error.to_string().contains("`chmod 600 "), "{error}");
        assert!(open(&path, Purpose::Settings).is_ok());
    }
}

#[test]
fn a_link_is_followed_and_its_target_looked_at() {
    let (folder, path) = folder_with("module.so.1", 0o644);
    let link = folder.path().join("module.so");
    symlink("module.so.1", &link).unwrap();
    let outer = tempfile::tempdir().unwrap();
    symlink(folder.path(), outer.path().join("lib")).unwrap();
    let through = outer.path().join("lib/module.so");
    assert_eq!(words(&through, Purpose::Code), "words");
    set_mode(&path, 0o666);
    let error = open(&through, Purpose::Code).unwrap_err();
    assert!(matches!(&error, TrustError::Writable { place, .. } if *place == path), "{error:?}");
    symlink("b", folder.path().join("a")).unwrap();
    symlink("a", folder.path().join("b")).unwrap();
    let error = open(&folder.path().join("a"), Purpose::Code).unwrap_err();
    assert!(
        matches!(&error, TrustError::Open { source, .. } if source.raw_os_error() == Some(40)),
        "{error:?}"
    );
}

#[test]
fn what_belongs_to_another_user_is_refused_the_file_the_folder_and_the_link() {
    if !is_root() {
        return;
    }
    let (folder, path) = folder_with("config", 0o600);
    let link = folder.path().join("link");
    symlink(&path, &link).unwrap();
    std::os::unix::fs::lchown(&link, Some(4711), None).unwrap();
    let refused = |path: &Path, wrong: &Path| {
        let error = open(path, Purpose::Settings).unwrap_err();
        let TrustError::Owner { place, owner: 4711, .. } = &error else { panic!("{error:?}") };
        assert_eq!(place, wrong);
        assert!(error.to_string().contains("`chown 0 "), "{error}");
    };
    refused(&link, &link);
    assert_eq!(words(&path, Purpose::Settings), "words");
    chown(&path, Some(4711), None).unwrap();
    refused(&path, &path);
    chown(&path, Some(0), None).unwrap();
    chown(folder.path(), Some(4711), None).unwrap();
    refused(&path, folder.path());
}

#[test]
fn a_sticky_folder_of_another_user_is_refused() {
    if !is_root() {
        return;
    }
    let (folder, path) = folder_with("config", 0o600);
    set_mode(folder.path(), 0o1777);
    assert_eq!(words(&path, Purpose::Settings), "words");
    chown(folder.path(), Some(4711), None).unwrap();
    let error = open(&path, Purpose::Settings).unwrap_err();
    assert!(matches!(error, TrustError::Owner { owner: 4711, .. }), "{error:?}");
}

#[test]
fn devices_folders_and_pipes_are_no_settings_and_a_pipe_may_hold_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let writer = {
        let pipe = pipe.clone();
        std::thread::spawn(move || fs::File::options().write(true).open(pipe).unwrap().write_all(b"words"))
    };
    assert_eq!(words(&pipe, Purpose::Secret), "words");
    writer.join().unwrap().unwrap();
    // Opened, a pipe without another end would never be done.
    for path in [Path::new("/dev/zero"), Path::new("/dev/null"), folder.path(), &pipe] {
        let error = open(path, Purpose::Settings).unwrap_err();
        assert!(matches!(&error, TrustError::NotAFile { path: told } if told == path), "{error:?}");
    }
}

#[test]
fn not_a_byte_more_than_the_limit_is_taken() {
    let (_folder, path) = folder_with("config", 0o600);
    assert_eq!(read(&path, Purpose::Settings, 5).unwrap(), b"words");
    let error = read(&path, Purpose::Settings, 4).unwrap_err();
    assert!(error.to_string().ends_with("it is longer than 4 bytes"), "{error}");
}

#[test]
fn a_missing_file_is_told_as_missing() {
    let folder = tempfile::tempdir().unwrap();
    let error = open(&folder.path().join("none"), Purpose::Settings).unwrap_err();
    assert!(error.is_not_found(), "{error:?}");
    let (_folder, path) = folder_with("file", 0o600);
    let error = open(&path.join("below"), Purpose::Settings).unwrap_err();
    assert!(
        matches!(&error, TrustError::Open { source, .. } if source.kind() == std::io::ErrorKind::NotADirectory)
    );
}
