//! Settings and scheme: one keystore, one passphrase for each purpose, and
//! nobody asked when they are opened.

use std::{
    ffi::OsString,
    fs,
    os::unix::{ffi::OsStringExt, fs::PermissionsExt},
    path::Path,
    sync::Arc,
};

use envelope_local::{KeystoreError, LocalScheme, LocalSettings, default_keystore};
use envelope_sdk::{
    Envelope, KeyAdmin, ProviderErrorKind, Registry,
    http::find_cause,
    registry::{Purpose, Scheme, SettingError, Settings, Surroundings},
};

use super::{secrets::Program, *};

fn settings(path: impl Into<PathBuf>) -> LocalSettings {
    let mut settings = LocalSettings::default();
    settings.keystore = Some(path.into());
    settings
}

fn scheme(store: &Store, program: &Arc<Program>) -> LocalScheme {
    LocalScheme::new(settings(store.path()), Arc::clone(program) as _)
}

fn uri(text: &str) -> KeyUri {
    KeyUri::parse(text).unwrap()
}

const PURPOSES: [Purpose; 3] = [Purpose::Encrypt, Purpose::Decrypt, Purpose::Replace];

#[test]
fn opening_asks_nobody_and_gives_one_keystore_and_one_passphrase_for_each_purpose() {
    let (store, program) = (Store::new(), Program::new().shared());
    let scheme = scheme(&store, &program);
    assert_eq!(scheme.provider(), "local");
    assert_eq!(scheme.schemes(), ["local", "passphrase"]);
    for purpose in PURPOSES {
        assert_eq!(scheme.open(&uri("local:db"), purpose).unwrap().name(), "local");
        assert_eq!(scheme.open(&uri("passphrase:"), purpose).unwrap().name(), "passphrase");
        assert!(Arc::ptr_eq(&scheme.passphrase(purpose), &scheme.passphrase(purpose)));
    }
    assert!(Arc::ptr_eq(&scheme.keystore().unwrap(), &scheme.keystore().unwrap()));
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        assert!(!Arc::ptr_eq(&scheme.passphrase(PURPOSES[one]), &scheme.passphrase(PURPOSES[other])));
    }
    assert_eq!(scheme.admin(None).unwrap().provider(), "local");
    assert_eq!(scheme.admin(Some(&uri("local:db"))).unwrap().provider(), "local");
    assert_eq!(program.asked(), Vec::<String>::new());
}

#[test]
fn keys_and_their_administration_are_unlocked_together_and_once() {
    let store = Store::new();
    let program = Program::new().answers("keystore-passphrase", SECRET).shared();
    let scheme = scheme(&store, &program);
    let (admin, provider) =
        (scheme.admin(None).unwrap(), scheme.open(&uri("local:db"), Purpose::Encrypt).unwrap());
    block_on(admin.create_key(&NewKey::named("db"))).unwrap();
    let wrapped = wrap(&provider, "local:db", &dek()).unwrap();
    unwrap(&scheme.open(wrapped.key_uri(), Purpose::Decrypt).unwrap(), &wrapped).unwrap();
    assert_eq!(program.asked().len(), 3);
}

#[test]
fn keys_of_other_schemes_are_refused_and_a_passphrase_is_not_managed() {
    let (store, program) = (Store::new(), Program::new().shared());
    let scheme = scheme(&store, &program);
    let key = uri("pkcs11:token=a;object=b");
    for error in [
        scheme.open(&key, Purpose::Decrypt).err().unwrap(),
        scheme.admin(Some(&key)).err().unwrap(),
        scheme.admin(Some(&uri("passphrase:"))).err().unwrap(),
    ] {
        assert_eq!(error.kind(), ProviderErrorKind::Unsupported, "{error}");
        assert!(error.key().is_some(), "{error}");
    }
}

#[test]
fn a_missing_or_unsafe_keystore_is_told_when_it_is_opened_and_its_cause_with_it() {
    let (store, program) = (Store::new(), Program::new().shared());
    let path = store.folder.path().join("none");
    let missing = LocalScheme::new(settings(&path), Arc::clone(&program) as _);
    let key = uri("local:db");
    for (error, about) in [
        (missing.open(&key, Purpose::Decrypt).err().unwrap(), Some(&key)),
        (missing.admin(Some(&key)).err().unwrap(), Some(&key)),
        (missing.admin(None).err().unwrap(), None),
    ] {
        assert_eq!((error.kind(), error.key()), (ProviderErrorKind::NotFound, about), "{error}");
        let cause = find_cause::<KeystoreError>(&error).unwrap();
        assert!(matches!(cause, KeystoreError::NotFound { path: at } if *at == path), "{cause}");
    }
    // A passphrase needs no keystore.
    missing.open(&uri("passphrase:"), Purpose::Encrypt).unwrap();
    // It may come into being later.
    Keystore::create_with(&path, &passphrase(SECRET), FAST).unwrap();
    missing.open(&key, Purpose::Decrypt).unwrap();

    fs::set_permissions(store.path(), fs::Permissions::from_mode(0o604)).unwrap();
    let error = scheme(&store, &program).open(&key, Purpose::Decrypt).err().unwrap();
    assert_eq!(error.kind(), ProviderErrorKind::AccessDenied);
    assert_eq!(program.asked(), Vec::<String>::new());
}

#[test]
fn a_bare_name_means_a_key_that_the_file_lists() {
    let (store, program) = (Store::new(), Program::new().shared());
    block_on(store.keystore.create_key(&NewKey::named("db"))).unwrap();
    let scheme = scheme(&store, &program);
    assert_eq!(scheme.key_named("db").unwrap(), Some(uri("local:db")));
    for unknown in ["", "d", "DB", "db/", "passphrase", "local:db"] {
        assert_eq!(scheme.key_named(unknown).unwrap(), None, "{unknown}");
    }
    assert_eq!(program.asked(), Vec::<String>::new());
    let missing = LocalScheme::new(settings("/nowhere/keys.json"), program);
    assert_eq!(missing.key_named("db").unwrap(), None);
}

#[test]
fn a_service_has_its_passphrase_in_a_file() {
    let store = Store::new();
    block_on(store.keystore.create_key(&NewKey::named("db"))).unwrap();
    let file = store.folder.path().join("secret");
    fs::write(&file, format!("{SECRET}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let table = serde_json::json!({ "keystore": store.path(), "passphrase-file": file });
    let settings: LocalSettings = serde_json::from_value(table).unwrap();
    let scheme = settings.into_scheme(&Surroundings::default()).unwrap();
    let registry = Registry::new().with_arc(scheme);
    let key = [uri("local:db")];
    let envelope = Envelope::new(registry.keyring(&key, &key).unwrap());
    let context = EncryptionContext::new();
    let sealed = block_on(envelope.encrypt(b"data", &context)).unwrap();
    assert_eq!(block_on(envelope.decrypt(&sealed, &context)).unwrap().as_slice(), b"data");
}

#[test]
fn the_table_has_these_settings_and_no_others() {
    let read = |table: serde_json::Value| serde_json::from_value::<LocalSettings>(table);
    assert_eq!(read(serde_json::json!({})).unwrap(), LocalSettings::default());
    let all = serde_json::json!({ "keystore": "/k", "passphrase-file": "/p", "max-passphrase-work": 8 });
    let settings = read(all).unwrap();
    assert_eq!(settings.keystore_path().unwrap(), PathBuf::from("/k"));
    assert_eq!(settings.max_passphrase_work, Some(8));
    let error = read(serde_json::json!({ "pass-phrase": 1 })).unwrap_err();
    assert!(error.to_string().contains("unknown field"), "{error}");
}

#[test]
fn a_call_goes_before_the_table() {
    let mut settings = settings("/k");
    settings.passphrase_file = Some("/p".into());
    settings.max_passphrase_work = Some(8);
    let odd = OsString::from_vec(b"/k\xff".to_vec());
    settings.set("keystore", odd.clone()).unwrap();
    settings.set("passphrase-file", "/q".into()).unwrap();
    settings.set("max-passphrase-work", "86".into()).unwrap();
    assert_eq!(settings.keystore_path().unwrap(), PathBuf::from(&odd));
    assert_eq!(settings.keystore_passphrase_file(), Some(Path::new("/q")));
    assert_eq!(settings.max_passphrase_work, Some(86));
    let before = settings.clone();
    for wrong in ["", "-1", "4294967296", "eight", "1.5"] {
        let error = settings.set("max-passphrase-work", wrong.into()).unwrap_err();
        assert!(matches!(error, SettingError::Value(_)), "{wrong}");
    }
    assert_eq!(settings.set("max-passphrase-work", odd), Err(SettingError::NotText));
    assert_eq!(settings.set("passphrase", "x".into()), Err(SettingError::Unknown));
    assert_eq!(settings, before, "what is refused changes nothing");
}

#[test]
fn a_keystore_that_a_call_names_does_not_get_the_passphrase_of_the_configured_one() {
    let mut of_table = settings("/k");
    of_table.passphrase_file = Some("/p".into());
    let with = |set: &[(&str, &str)]| {
        let mut settings = of_table.clone();
        for (name, value) in set {
            settings.set(name, value.into()).unwrap();
        }
        settings.keystore_passphrase_file().map(|path| path.display().to_string())
    };
    assert_eq!(with(&[]).as_deref(), Some("/p"));
    assert_eq!(with(&[("keystore", "/k")]).as_deref(), Some("/p"));
    assert_eq!(with(&[("keystore", "/other")]), None);
    // In either order.
    let [keystore, file] = [("keystore", "/other"), ("passphrase-file", "/q")];
    assert_eq!(with(&[keystore, file]).as_deref(), Some("/q"));
    assert_eq!(with(&[file, keystore]).as_deref(), Some("/q"));
    assert_eq!(with(&[("keystore", "/x/../k")]), None, "only what is there has two spellings");
    if let Some(path) = default_keystore() {
        of_table.keystore = None;
        of_table.set("keystore", path.into()).unwrap();
        assert_eq!(of_table.keystore_passphrase_file(), Some(Path::new("/p")));
    }
}

#[test]
fn another_spelling_of_the_configured_keystore_is_the_same_keystore() {
    let (store, other) = (Store::new(), Store::new());
    let folder = store.folder.path();
    fs::create_dir(folder.join("sub")).unwrap();
    std::os::unix::fs::symlink(folder, folder.join("link")).unwrap();
    std::os::unix::fs::symlink(other.folder.path(), folder.join("elsewhere")).unwrap();
    let mut of_table = settings(store.path());
    of_table.passphrase_file = Some("/p".into());
    let with = |keystore: PathBuf| {
        let mut settings = of_table.clone();
        settings.set("keystore", keystore.into()).unwrap();
        settings.keystore_passphrase_file().map(Path::to_path_buf)
    };
    for same in ["keys.json", "./keys.json", "sub/../keys.json", "link/keys.json", "link/sub/../keys.json"] {
        assert_eq!(with(folder.join(same)), Some("/p".into()), "{same}");
    }
    for other in ["elsewhere/keys.json", "sub/keys.json", "none/../keys.json", "keys.json.lock", "sub"] {
        assert_eq!(with(folder.join(other)), None, "{other}");
    }
}

#[test]
fn what_a_program_gives_is_asked_for_by_its_names() {
    // The names are the interface to every program: they do not change by accident.
    assert_eq!(envelope_local::KeystoreOnUse::SECRET, "keystore-passphrase");
    assert_eq!(envelope_local::PassphraseOnUse::SECRET, "passphrase");
    assert_eq!(envelope_local::PassphraseOnUse::NEW_SECRET, "new-passphrase");
}
