//! The example through a configuration file: registered with one line, it has its
//! table, its settings for a call, its names and its keys.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use envelope_example::ExampleSettings;
use envelope_providers::{Providers, ProvidersError};
use envelope_sdk::{
    EncryptionContext, Envelope, KeyUri, NewKey, ProviderErrorKind,
    admin::Detail,
    registry::{SettingError, Settings},
};
use futures_executor::block_on;
use tempfile::TempDir;

#[test]
fn what_a_file_names_encrypts_decrypts_and_is_rewrapped() {
    let file = File::new(
        "keys = ['main']\ndecrypt-keys = ['people']\n[aliases]\nmain = 'example:orders'\n\
         [example]\nkeys = ['orders', 'people']",
    );
    let providers = Providers::builder().register::<ExampleSettings>().file(&file.path).build().unwrap();
    assert_eq!(providers.registry().providers(), ["example"]);
    let envelope = Envelope::new(providers.keyring().unwrap());
    let sealed = block_on(envelope.encrypt(b"attack at dawn", &context())).unwrap();
    assert_eq!(*Envelope::inspect(&sealed).unwrap().recipients()[0].key_uri(), uri("example:orders"));
    assert_eq!(block_on(envelope.decrypt(&sealed, &context())).unwrap(), b"attack at dawn");

    let mover = providers.keyring_to_rewrap(&["people".to_owned()], &[]).unwrap();
    let moved = block_on(Envelope::new(mover).rewrap(&sealed, &context())).unwrap();
    assert_eq!(*Envelope::inspect(&moved).unwrap().recipients()[0].key_uri(), uri("example:people"));
    assert_eq!(block_on(envelope.decrypt(&moved, &context())).unwrap(), b"attack at dawn");
}

#[test]
fn keys_are_managed_through_the_file_and_settings_of_a_call_go_first() {
    let file = File::new("[example]\npage-len = 50");
    let providers = Providers::builder()
        .register::<ExampleSettings>()
        .file(&file.path)
        .set("example", "page-len", "1")
        .build()
        .unwrap();
    let scheme = providers.registry().named("example").unwrap();
    let admin = scheme.admin(None).unwrap();
    for name in ["one", "two"] {
        block_on(admin.create_key(&NewKey::named(name))).unwrap();
    }
    let first = block_on(admin.list_keys(None)).unwrap();
    assert_eq!((first.keys.len(), first.next.is_some()), (1, true));
    assert_eq!(providers.key("two").unwrap(), uri("example:two"));
    let survey = block_on(scheme.survey()).unwrap();
    assert_eq!(survey.get("page_len"), Some(&Detail::Number(1)));
    assert_eq!(survey.get("keys"), Some(&Detail::Number(2)));
}

#[test]
fn what_a_program_may_offer_of_it_is_told() {
    let builder = Providers::builder().register::<ExampleSettings>();
    let [registered] = builder.registered() else { panic!("there is one key store") };
    assert_eq!((registered.provider, registered.options), ("example", ExampleSettings::OPTIONS));
    assert_eq!(registered.survey, ExampleSettings::SURVEY);
}

#[test]
fn a_table_that_is_not_right_is_refused_with_its_file_and_without_its_values() {
    for (text, word) in [
        ("[example]\npage-lenght = 4711", "page-lenght"),
        ("[example]\npage-len = 'canary-4711'", "line 2"),
        ("[elpmaxe]\npage-len = 4711", "elpmaxe"),
    ] {
        let file = File::new(text);
        let built = Providers::builder().register::<ExampleSettings>().file(&file.path).build();
        match built.map(drop).unwrap_err() {
            ProvidersError::Content { path, what } => {
                assert_eq!(path, file.path);
                assert!(what.contains(word) && !what.contains("4711"), "{text}: {what}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    let file = File::new("[example]\npage-len = 0");
    let built = Providers::builder().register::<ExampleSettings>().file(&file.path).build();
    match built.map(drop).unwrap_err() {
        ProvidersError::Table { path, provider, error } => {
            assert_eq!((path, provider, error.kind()), (file.path, "example", ProviderErrorKind::Invalid));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_setting_of_a_call_that_cannot_be_is_refused() {
    for (name, value, expected) in [
        ("page-len", "none", SettingError::Value("a number from 1")),
        ("page-lenght", "1", SettingError::Unknown),
    ] {
        let built = Providers::builder().register::<ExampleSettings>().set("example", name, value).build();
        match built.map(drop).unwrap_err() {
            ProvidersError::Setting { provider, setting, error } => {
                assert_eq!((provider.as_str(), setting.as_str(), error), ("example", name, expected));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_key_of_a_key_store_that_is_not_registered_is_opened_by_nobody() {
    let file = File::new("keys = ['local:main']");
    let providers = Providers::builder().register::<ExampleSettings>().file(&file.path).build().unwrap();
    match providers.keyring().map(drop).unwrap_err() {
        ProvidersError::Provider(error) => {
            assert_eq!(
                (error.kind(), error.key()),
                (ProviderErrorKind::Unsupported, Some(&uri("local:main")))
            );
        }
        other => panic!("{other:?}"),
    }
}

/// A configuration that nobody else may write.
struct File {
    path: PathBuf,
    _folder: TempDir,
}

impl File {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        Self { path, _folder: folder }
    }
}

fn uri(text: &str) -> KeyUri {
    KeyUri::parse(text).unwrap()
}

fn context() -> EncryptionContext {
    EncryptionContext::new().with("tenant", "42")
}
