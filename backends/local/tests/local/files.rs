//! Files that others could read or put there are refused; ours are private and
//! never half-written.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown, symlink},
        net::UnixListener,
    },
};

use envelope_local::KeystoreError;
use envelope_sdk::{KeyAdmin, ProviderErrorKind};

use super::*;

fn chmod(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn open(path: &std::path::Path) -> KeystoreError {
    let by_id = Keystore::read_id(path).unwrap_err();
    let error = Keystore::open(path, &passphrase(SECRET)).err().unwrap();
    assert_eq!(std::mem::discriminant(&by_id), std::mem::discriminant(&error), "{by_id} / {error}");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    error
}

#[test]
fn file_and_lock_are_for_their_owner_alone_and_nothing_else_is_left() {
    let store = Store::new();
    block_on(store.keystore.create_key(&NewKey::named("a"))).unwrap();
    assert_eq!(store.names(), ["keys.json", "keys.json.lock"]);
    for name in store.names() {
        let mode = fs::metadata(store.folder.path().join(name)).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o600);
    }
}

#[test]
fn folders_that_are_missing_are_made_for_their_owner_alone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a/b/keys.json");
    Keystore::create_with(&path, &passphrase(SECRET), FAST).unwrap();
    for made in ["a", "a/b"] {
        assert_eq!(fs::metadata(folder.path().join(made)).unwrap().mode() & 0o777, 0o700);
    }
}

#[test]
fn the_id_is_read_without_a_passphrase() {
    let store = Store::new();
    assert_eq!(Keystore::read_id(store.path()).unwrap(), store.keystore.id());
    assert_eq!(store.keystore.id().len(), 32);
}

#[test]
fn the_names_are_read_without_a_passphrase_in_order() {
    let store = Store::new();
    assert_eq!(Keystore::read_names(store.path()).unwrap(), Vec::<String>::new());
    for name in ["b", "a", "B"] {
        block_on(store.keystore.create_key(&NewKey::named(name))).unwrap();
    }
    assert_eq!(Keystore::read_names(store.path()).unwrap(), ["B", "a", "b"]);
    let described = Keystore::read_keys(store.path()).unwrap();
    let names: Vec<_> = described.iter().map(|key| (key.uri.as_str(), key.state)).collect();
    let uri = |name| store.keystore.key_uri(name).unwrap();
    let uris = ["B", "a", "b"].map(uri);
    assert_eq!(names, uris.each_ref().map(|uri| (uri.as_str(), envelope_sdk::KeyState::Active)));
    chmod(&store.path(), 0o644);
    assert!(matches!(Keystore::read_names(store.path()), Err(KeystoreError::Permissions { .. })));
}

#[test]
fn every_group_or_other_permission_is_refused_with_the_remedy() {
    let store = Store::new();
    for bit in 0..6 {
        chmod(&store.path(), 0o600 | 1 << bit);
        let error = open(&store.path());
        assert!(matches!(error, KeystoreError::Permissions { mode, .. } if mode == 0o600 | 1 << bit));
        assert!(error.to_string().contains("chmod 600"), "{error}");
        assert!(matches!(store.keystore.reload(), Err(KeystoreError::Permissions { .. })));
        let refused = block_on(store.keystore.create_key(&NewKey::named("a"))).unwrap_err();
        assert_eq!(refused.kind(), ProviderErrorKind::AccessDenied);
    }
    chmod(&store.path(), 0o400);
    Keystore::open(store.path(), &passphrase(SECRET)).unwrap();
}

#[test]
fn links_folders_pipes_and_sockets_are_refused() {
    let store = Store::new();
    let at = |name: &str| store.folder.path().join(name);
    symlink(store.path(), at("link")).unwrap();
    symlink(at("nowhere"), at("dangling")).unwrap();
    fs::create_dir(at("folder")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    let _socket = UnixListener::bind(at("socket")).unwrap();
    for link in ["link", "dangling"] {
        assert!(matches!(open(&at(link)), KeystoreError::Symlink { .. }), "{link}");
    }
    for other in ["folder", "pipe", "socket"] {
        assert!(matches!(open(&at(other)), KeystoreError::NotAFile { .. }), "{other}");
    }
}

#[test]
fn a_file_of_another_user_is_refused_if_the_test_runs_as_root() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can give a file away");
        return;
    }
    let store = Store::new();
    chown(store.path(), Some(12345), None).unwrap();
    let error = open(&store.path());
    assert!(matches!(error, KeystoreError::WrongOwner { owner: 12345, expected: 0, .. }), "{error}");
}

#[test]
fn a_missing_file_and_a_path_without_name_are_told_apart() {
    let store = Store::new();
    assert!(matches!(open(&store.folder.path().join("none")), KeystoreError::NotFound { .. }));
    assert!(matches!(open(&store.folder.path().join("no/ne")), KeystoreError::NotFound { .. }));
    for path in ["/", "/tmp/", "/tmp/.."] {
        assert!(matches!(Keystore::read_id(path), Err(KeystoreError::NoFileName { .. })), "{path}");
    }
}

#[test]
fn creating_never_touches_what_is_there() {
    let store = Store::new();
    let at = |name: &str| store.folder.path().join(name);
    fs::write(at("file"), "precious").unwrap();
    symlink(at("nowhere"), at("dangling")).unwrap();
    fs::create_dir(at("folder")).unwrap();
    let before = store.text();
    for name in ["file", "dangling", "folder", "keys.json"] {
        let error = Keystore::create_with(at(name), &passphrase(SECRET), FAST).err().unwrap();
        assert!(matches!(error, KeystoreError::AlreadyExists { .. }), "{name}: {error}");
    }
    assert_eq!(fs::read_to_string(at("file")).unwrap(), "precious");
    assert_eq!(store.text(), before);
    assert!(!at("nowhere").exists());
}

#[test]
fn of_many_creating_at_once_one_wins_and_its_file_opens() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("keys.json");
    let start = std::sync::Barrier::new(8);
    let created: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    Keystore::create_with(&path, &passphrase(SECRET), FAST)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let won: Vec<_> = created.iter().filter_map(|created| created.as_ref().ok()).collect();
    assert_eq!(won.len(), 1);
    assert_eq!(Keystore::open(&path, &passphrase(SECRET)).unwrap().id(), won[0].id());
    for lost in created.iter().filter_map(|created| created.as_ref().err()) {
        assert!(matches!(lost, KeystoreError::AlreadyExists { .. }), "{lost}");
    }
}

#[test]
fn a_lock_file_that_is_a_link_or_open_to_others_is_refused() {
    let store = Store::new();
    let lock = store.folder.path().join("keys.json.lock");
    chmod(&lock, 0o666);
    let error = store.keystore.change_passphrase(&passphrase("new")).unwrap_err();
    assert!(matches!(&error, KeystoreError::Permissions { path, .. } if *path == lock), "{error}");
    fs::remove_file(&lock).unwrap();
    symlink(store.folder.path().join("elsewhere"), &lock).unwrap();
    let error = store.keystore.change_passphrase(&passphrase("new")).unwrap_err();
    assert!(matches!(&error, KeystoreError::Symlink { path } if *path == lock), "{error}");
    assert!(!store.folder.path().join("elsewhere").exists());
}

#[test]
fn a_temporary_file_left_behind_is_removed_and_a_link_in_its_place_not_followed() {
    let store = Store::new();
    let temporary = store.folder.path().join(".keys.json.envelope-tmp");
    let victim = store.folder.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    fs::write(&temporary, "half a keystore").unwrap();
    block_on(store.keystore.create_key(&NewKey::named("a"))).unwrap();
    symlink(&victim, &temporary).unwrap();
    block_on(store.keystore.create_key(&NewKey::named("b"))).unwrap();
    assert_eq!(store.names(), ["keys.json", "keys.json.lock", "victim"]);
    assert_eq!(fs::read_to_string(victim).unwrap(), "precious");
    assert_eq!(block_on(store.open().list_keys(None)).unwrap().keys.len(), 2);
}

#[test]
fn a_file_larger_than_16_mib_is_refused_unread() {
    let store = Store::new();
    fs::write(store.path(), vec![b' '; 16 * 1024 * 1024 + 1]).unwrap();
    assert!(matches!(open(&store.path()), KeystoreError::TooLarge { .. }));
}

#[test]
fn a_relative_path_stays_the_same_file() {
    let store = Store::new();
    assert!(store.keystore.path().is_absolute());
    let odd = store.folder.path().join("./keys.json");
    assert_eq!(Keystore::open(odd, &passphrase(SECRET)).unwrap().path(), store.path());
}
