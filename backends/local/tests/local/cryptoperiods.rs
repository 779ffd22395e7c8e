//! The end of a cryptoperiod is kept, told and authenticated, and refuses nothing.

use std::fs;

use envelope_local::KeystoreError;
use envelope_sdk::{KeyAdmin, KeyChange, KeyDescription, KeyState, ProviderErrorKind};

use super::*;

const END: u64 = 1_830_297_600;

fn ends(key: &KeyDescription) -> Vec<Option<u64>> {
    key.versions.iter().map(|version| version.not_after).collect()
}

#[test]
fn the_end_of_a_cryptoperiod_comes_back_from_the_file_and_goes_when_it_is_unset() {
    let store = Store::new();
    let created = block_on(store.keystore.create_key(&NewKey::named("db").not_after(END))).unwrap();
    assert_eq!(ends(&created), [Some(END)]);
    let key = created.uri;
    let described = |keystore: &Keystore| ends(&block_on(keystore.describe_key(&key)).unwrap());
    assert_eq!(described(&store.open()), [Some(END)]);
    assert_eq!(store.text().matches("\"not_after\": 1830297600").count(), 1);
    let set = |version: Option<&str>, end| {
        ends(&block_on(store.keystore.set_not_after(&key, version, end)).unwrap())
    };
    assert_eq!(set(None, Some(END + 1)), [Some(END + 1)]);
    block_on(store.keystore.rotate_key(&key)).unwrap();
    assert_eq!(described(&store.open()), [Some(END + 1), None], "a rotation sets none");
    assert_eq!(set(None, Some(0)), [Some(END + 1), Some(0)]);
    assert_eq!(set(Some("1"), None), [None, Some(0)]);
    assert_eq!(set(Some("2"), None), [None, None]);
    assert_eq!(described(&store.open()), [None, None]);
    assert!(!store.text().contains("not_after"), "absent when there is none");
}

#[test]
fn a_key_is_due_after_its_end_and_wraps_all_the_same() {
    let store = Store::new();
    let key = block_on(store.keystore.create_key(&NewKey::named("db").not_after(END))).unwrap();
    assert_eq!((key.is_due(END - 1), key.is_due(END)), (false, true));
    let past = block_on(store.keystore.set_not_after(&key.uri, None, Some(1))).unwrap();
    assert!(past.is_due(END));
    let wrapped = wrap(&store.keystore, "local:db", &dek()).unwrap();
    unwrap(&store.open(), &wrapped).unwrap();
    let rotated = block_on(store.keystore.rotate_key(&key.uri)).unwrap();
    assert!(!rotated.is_due(u64::MAX));
}

#[test]
fn no_end_is_set_for_what_is_not_there() {
    let store = Store::new();
    block_on(store.keystore.create_key(&NewKey::named("db"))).unwrap();
    for (name, version) in [("db", "2"), ("db", "01"), ("db", ""), ("other", "1")] {
        let key = store.keystore.key_uri(name).unwrap();
        let check = block_on(store.keystore.check_set_not_after(&key, Some(version), Some(END))).unwrap_err();
        let error = block_on(store.keystore.set_not_after(&key, Some(version), Some(END))).unwrap_err();
        assert_eq!(check.to_string(), error.to_string());
        assert_eq!((error.kind(), error.key()), (ProviderErrorKind::NotFound, Some(&key)), "{error}");
    }
    assert_eq!(store.keystore.generation(), 1);
}

#[test]
fn no_end_is_set_or_unset_for_what_is_destroyed() {
    let store = Store::new();
    let key = block_on(store.keystore.create_key(&NewKey::named("db").not_after(END))).unwrap().uri;
    block_on(store.keystore.rotate_key(&key)).unwrap();
    let go = |version: Option<&str>, state| {
        block_on(store.keystore.change_key(&key, version, KeyChange::State(state))).unwrap();
    };
    let refused = |version: Option<&str>, end| {
        let check = block_on(store.keystore.check_set_not_after(&key, version, end)).unwrap_err();
        let error = block_on(store.keystore.set_not_after(&key, version, end)).unwrap_err();
        assert_eq!(check.to_string(), error.to_string());
        assert_eq!((error.kind(), error.key()), (ProviderErrorKind::Invalid, Some(&key)), "{error}");
        assert!(error.message().ends_with("is destroyed: it has no cryptoperiod that could end"), "{error}");
    };
    go(Some("1"), KeyState::Destroyed);
    refused(Some("1"), Some(END));
    refused(Some("1"), None);
    block_on(store.keystore.set_not_after(&key, None, Some(END))).unwrap();
    go(None, KeyState::Deactivated);
    block_on(store.keystore.set_not_after(&key, Some("2"), Some(END + 1))).unwrap();
    go(None, KeyState::Destroyed);
    refused(None, Some(END));
    refused(Some("2"), None);
}

#[test]
fn an_end_that_others_changed_added_or_removed_is_tampering_and_null_is_malformed() {
    let store = Store::new();
    block_on(store.keystore.create_key(&NewKey::named("db").not_after(END))).unwrap();
    block_on(store.keystore.create_key(&NewKey::named("none"))).unwrap();
    let text = store.text();
    let member = format!("          \"not_after\": {END},\n");
    let (before, after) = text.split_once(&member).unwrap();
    let created = "          \"created\": ";
    let (head, other) = text.rsplit_once(created).unwrap();
    let (time, rest) = other.split_once(",\n").unwrap();
    let tampered = [
        format!("{before}          \"not_after\": {},\n{after}", END + 1),
        format!("{before}{after}"),
        format!("{head}{created}{time},\n{member}{rest}"),
    ];
    let refused = |text: &str| {
        fs::write(store.path(), text).unwrap();
        Keystore::open(store.path(), &passphrase(SECRET)).err().expect("a changed file must not open")
    };
    for changed in &tampered {
        assert!(matches!(refused(changed), KeystoreError::Tampered { .. }), "{changed}");
    }
    let null = format!("{before}          \"not_after\": null,\n{after}");
    assert!(matches!(refused(&null), KeystoreError::Malformed { .. }));
    fs::write(store.path(), &text).unwrap();
    store.open();
}
