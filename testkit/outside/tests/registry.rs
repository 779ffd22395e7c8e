//! The example through a registry, as a program uses it: encrypt, decrypt,
//! rewrap, and the life of a key.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

use std::slice::from_ref;

use envelope_example::ExampleSettings;
use envelope_sdk::{
    DecryptError, EncryptError, EncryptionContext, Envelope, KeyAdmin, KeyChange, KeyState, KeyUri, NewKey,
    ProviderErrorKind, Registry,
    admin::all_keys,
    registry::{Purpose, SettingError, Settings, Surroundings},
};
use futures_executor::block_on;

#[test]
fn what_is_encrypted_through_a_registry_decrypts_and_is_rewrapped_to_another_key() {
    let registry = registry();
    let [orders, people] = ["example:orders", "example:people"].map(uri);
    let envelope = envelope_of(&registry, &orders, &orders);
    let sealed = block_on(envelope.encrypt(b"attack at dawn", &context())).unwrap();
    assert_eq!(block_on(envelope.decrypt(&sealed, &context())).unwrap(), b"attack at dawn");

    let mover = envelope_of(&registry, &people, &orders);
    let moved = block_on(mover.rewrap(&sealed, &context())).unwrap();
    let reader = Envelope::new(registry.keyring(&[], &[people]).unwrap());
    assert_eq!(block_on(reader.decrypt(&moved, &context())).unwrap(), b"attack at dawn");
    let error = block_on(envelope.decrypt(&moved, &context())).unwrap_err();
    assert!(matches!(error, DecryptError::NoConfiguredKey { .. }), "{error:?}");
}

#[test]
fn an_alias_encrypts_under_the_key_behind_it_and_opens_only_that() {
    let registry = registry();
    let [orders, people] = ["example:orders", "example:people"].map(uri);
    let admin = registry.admin(&orders).unwrap();
    let alias = block_on(admin.set_alias("current", &orders)).unwrap();
    assert_eq!(alias, uri("example:alias/current"));
    let envelope = envelope_of(&registry, &alias, &alias);
    let sealed = block_on(envelope.encrypt(b"x", &context())).unwrap();
    assert_eq!(*Envelope::inspect(&sealed).unwrap().recipients()[0].key_uri(), orders);
    assert_eq!(block_on(envelope.decrypt(&sealed, &context())).unwrap(), b"x");

    block_on(admin.set_alias("current", &people)).unwrap();
    let moved = block_on(envelope.encrypt(b"x", &context())).unwrap();
    assert_eq!(
        *Envelope::inspect(&moved).unwrap().recipients()[0].key_uri(),
        people,
        "the keyring asked again"
    );
    let reader = Envelope::new(registry.keyring(&[], &[alias]).unwrap());
    let error = block_on(reader.decrypt(&sealed, &context())).unwrap_err();
    assert!(matches!(error, DecryptError::NoConfiguredKey { .. }), "{error:?}");
}

#[test]
fn a_key_lives_from_creation_to_destruction_through_the_registry() {
    let registry = registry();
    let admin = registry.named("example").unwrap().admin(None).unwrap();
    let key = block_on(admin.create_key(&NewKey::named("invoices"))).unwrap().uri;
    let listed: Vec<_> = block_on(all_keys(&*admin)).unwrap().into_iter().map(|key| key.uri).collect();
    assert_eq!(listed, ["example:invoices", "example:orders", "example:people"].map(uri));

    let envelope = envelope_of(&registry, &key, &key);
    let first = block_on(envelope.encrypt(b"x", &context())).unwrap();
    assert_eq!(block_on(admin.rotate_key(&key)).unwrap().versions.len(), 2);
    let second = block_on(envelope.rewrap(&first, &context())).unwrap();
    let version =
        |envelope: &[u8]| Envelope::inspect(envelope).unwrap().recipients()[0].key_version().to_owned();
    assert_eq!((version(&first), version(&second)), ("1".to_owned(), "2".to_owned()));

    let change = |state| block_on(admin.change_key(&key, None, KeyChange::State(state)));
    change(KeyState::Deactivated).unwrap();
    match block_on(envelope.encrypt(b"x", &context())).unwrap_err() {
        EncryptError::Provider(error) => {
            assert_eq!((error.kind(), error.key()), (ProviderErrorKind::State, Some(&key)));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(block_on(envelope.decrypt(&second, &context())).unwrap(), b"x");
    change(KeyState::Destroyed).unwrap();
    match block_on(envelope.decrypt(&second, &context())).unwrap_err() {
        DecryptError::Keys { attempts } => assert_eq!(attempts[0].kind(), ProviderErrorKind::State),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_bare_name_is_a_key_that_there_is() {
    let registry = registry();
    assert_eq!(registry.key_named("orders").unwrap(), Some(uri("example:orders")));
    assert_eq!(registry.key_named("nobody").unwrap(), None);
}

#[test]
fn settings_that_cannot_be_are_refused_and_not_repeated() {
    let mut settings = ExampleSettings::default();
    settings.set("page-len", "7".into()).unwrap();
    assert_eq!(settings.page_len, Some(7));
    assert_eq!(settings.set("page-len", "none".into()), Err(SettingError::Value("a number from 1")));
    assert_eq!(settings.set("keys", "a".into()), Err(SettingError::Unknown));
    for wrong in [r#"keys = ["two\nlines"]"#, r#"keys = ["a", "a"]"#, "page-len = 0"] {
        let settings: ExampleSettings = toml::from_str(wrong).unwrap();
        let error = settings.into_scheme(&Surroundings::default()).map(drop).unwrap_err();
        assert_eq!((error.kind(), error.key()), (ProviderErrorKind::Invalid, None), "{wrong}: {error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    let error = toml::from_str::<ExampleSettings>("page-lenght = 3").unwrap_err();
    assert!(error.message().contains("unknown field `page-lenght`"), "{error}");
}

#[test]
fn a_key_of_another_scheme_is_opened_by_nobody() {
    let error = registry().provider(&uri("elsewhere:orders"), Purpose::Decrypt).map(drop).unwrap_err();
    assert_eq!((error.kind(), error.provider()), (ProviderErrorKind::Unsupported, "registry"));
}

fn registry() -> Registry {
    let settings: ExampleSettings = toml::from_str("keys = [\"orders\", \"people\"]\npage-len = 2").unwrap();
    Registry::new().with_arc(settings.into_scheme(&Surroundings::default()).unwrap())
}

/// Encrypts for one key, and decrypts with one.
fn envelope_of(registry: &Registry, encrypt: &KeyUri, decrypt: &KeyUri) -> Envelope {
    Envelope::new(registry.keyring(from_ref(encrypt), from_ref(decrypt)).unwrap())
}

fn uri(text: &str) -> KeyUri {
    KeyUri::parse(text).unwrap()
}

fn context() -> EncryptionContext {
    EncryptionContext::new().with("tenant", "42")
}
