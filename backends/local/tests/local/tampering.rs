//! Whatever is changed in the file is noticed.

use std::fs;

use envelope_local::{Argon2Error, KeystoreError};
use envelope_sdk::{KeyAdmin, KeyChange, KeyState};

use super::*;

/// Two keys, two versions of the first.
fn filled() -> Store {
    let store = Store::new();
    for name in ["a", "b"] {
        block_on(store.keystore.create_key(&NewKey::named(name))).unwrap();
    }
    block_on(store.keystore.rotate_key(&store.keystore.key_uri("a").unwrap())).unwrap();
    store
}

fn open_with(store: &Store, text: &str) -> KeystoreError {
    fs::write(store.path(), text).unwrap();
    Keystore::open(store.path(), &passphrase(SECRET)).err().expect("a changed file must not open")
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from} is not in the file");
    text.replacen(from, to, 1)
}

/// The value after the `nth` occurrence of `member`, without quotes.
fn value<'t>(text: &'t str, member: &str, nth: usize) -> &'t str {
    let after = text.split(&format!("\"{member}\": ")).nth(nth + 1).unwrap();
    after.split(['\n', ',']).next().unwrap().trim_matches('"')
}

#[test]
fn swapped_wrapped_keks_are_tampering() {
    let store = filled();
    let text = store.text();
    for (first, second) in [(0, 1), (0, 2), (1, 2)] {
        let [one, other] = [first, second].map(|nth| value(&text, "wrapped_kek", nth).to_owned());
        let swapped = text.replace(&one, "?").replace(&other, &one).replace('?', &other);
        assert_ne!(swapped, text);
        assert!(matches!(open_with(&store, &swapped), KeystoreError::Tampered { .. }));
    }
}

#[test]
fn changed_states_times_flags_and_generations_are_tampering() {
    let store = filled();
    let text = store.text();
    let created = format!("\"created\": {}", value(&text, "created", 0));
    for (from, to) in [
        ("\"state\": \"deactivated\"", "\"state\": \"active\""),
        ("\"state\": \"active\"", "\"state\": \"compromised\""),
        ("\"archived\": false", "\"archived\": true"),
        ("\"generation\": 3", "\"generation\": 4"),
        (created.as_str(), "\"created\": 1"),
        ("\"b\": {", "\"c\": {"),
    ] {
        assert!(
            matches!(open_with(&store, &replaced(&text, from, to)), KeystoreError::Tampered { .. }),
            "{from}"
        );
    }
}

#[test]
fn a_removed_key_is_tampering() {
    let store = filled();
    let text = store.text();
    let start = text.find(",\n    \"b\": {").unwrap();
    let end = start + text[start..].find("\n    }").unwrap() + "\n    }".len();
    let without = format!("{}{}", &text[..start], &text[end..]);
    assert!(matches!(open_with(&store, &without), KeystoreError::Tampered { .. }));
}

#[test]
fn a_key_of_another_keystore_is_tampering() {
    let (store, other) = (filled(), filled());
    let (text, foreign) = (store.text(), other.text());
    let moved = replaced(&text, value(&text, "wrapped_kek", 0), value(&foreign, "wrapped_kek", 0));
    assert!(matches!(open_with(&store, &moved), KeystoreError::Tampered { .. }));
}

#[test]
fn changes_where_the_passphrase_is_checked_read_as_a_wrong_passphrase() {
    let (store, other) = (filled(), filled());
    let (text, foreign) = (store.text(), other.text());
    for (from, to) in [
        (value(&text, "keystore_key", 0), value(&foreign, "keystore_key", 0)),
        (value(&text, "salt", 0), value(&foreign, "salt", 0)),
        (store.keystore.id(), other.keystore.id()),
        ("\"m_cost\": 19456", "\"m_cost\": 19457"),
    ] {
        let error = open_with(&store, &replaced(&text, from, to));
        assert!(matches!(error, KeystoreError::WrongPassphrase { .. }), "{from}: {error}");
    }
}

#[test]
fn argon2_parameters_out_of_bounds_are_refused_before_any_memory_is_taken() {
    let store = filled();
    let text = store.text();
    for (from, to) in [
        ("\"m_cost\": 19456", "\"m_cost\": 19455"),
        ("\"m_cost\": 19456", "\"m_cost\": 4294967295"),
        ("\"t_cost\": 1", "\"t_cost\": 0"),
        ("\"t_cost\": 1", "\"t_cost\": 17"),
        ("\"p_cost\": 1", "\"p_cost\": 0"),
        ("\"p_cost\": 1", "\"p_cost\": 17"),
    ] {
        let error = open_with(&store, &replaced(&text, from, to));
        let source = Argon2Error::OutOfBounds { parameter: "", value: 0, min: 0, max: 0 };
        let bounds = matches!(&error, KeystoreError::Argon2 { source: found, .. }
            if std::mem::discriminant(found) == std::mem::discriminant(&source));
        assert!(bounds, "{to}: {error}");
    }
}

#[test]
fn anything_but_the_one_spelling_is_malformed() {
    let store = filled();
    let text = store.text();
    let mac = value(&text, "mac", 0);
    let edits = [
        format!("{text}\n"),
        format!(" {text}"),
        text.trim_end().to_owned(),
        text.replace('\n', "\r\n"),
        replaced(&text, "\"generation\": 3", "\"generation\":3"),
        replaced(&text, "\"generation\": 3", "\"generation\": 3.0"),
        replaced(&text, "\"generation\": 3", "\"generation\": 03"),
        replaced(&text, "\"generation\": 3", "\"generation\": 3,\n  \"generation\": 3"),
        replaced(&text, "\"generation\": 3", "\"generation\": 3,\n  \"note\": 1"),
        replaced(&text, "\"b\": {", "\"\\u0062\": {"),
        replaced(&text, "\"b\": {", "\"a\": {"),
        replaced(&text, "\"b\": {", "\"0\": {"),
        replaced(&text, "\"b\": {", "\"../b\": {"),
        replaced(&text, "\"version\": 2", "\"version\": 3"),
        replaced(&text, "\"state\": \"active\"", "\"state\": \"Active\""),
        replaced(&text, &format!("\"{mac}\""), "null"),
        replaced(&text, &format!(",\n  \"mac\": \"{mac}\""), ""),
        replaced(&text, mac, &mac[4..]),
        replaced(&text, value(&text, "wrapped_kek", 0), ""),
        replaced(&text, &format!("\"{}\"", value(&text, "wrapped_kek", 0)), "null"),
        replaced(&text, store.keystore.id(), &store.keystore.id().to_uppercase().replace('0', "A")),
        String::new(),
        "{}".into(),
        "[".repeat(100_000),
    ];
    for edited in edits {
        assert_ne!(edited, text);
        let error = open_with(&store, &edited);
        let shown: String = edited.chars().take(300).collect();
        assert!(matches!(error, KeystoreError::Malformed { .. }), "{error}\n{shown}");
        assert!(matches!(Keystore::read_id(store.path()), Err(KeystoreError::Malformed { .. })));
    }
}

#[test]
fn a_later_format_is_named() {
    let store = filled();
    let later =
        replaced(&store.text(), "\"envelope_keystore\": 1", "\"envelope_keystore\": 2,\n  \"new\": 0");
    let error = open_with(&store, &later);
    assert!(matches!(error, KeystoreError::UnsupportedVersion { version: 2, .. }), "{error}");
}

#[test]
fn every_flipped_bit_is_refused_by_a_process_that_has_the_file_open() {
    let store = filled();
    let text = store.text().into_bytes();
    for at in 0..text.len() {
        for bit in 0..8 {
            let mut flipped = text.clone();
            flipped[at] ^= 1 << bit;
            fs::write(store.path(), &flipped).unwrap();
            let refused = store.keystore.reload().expect_err("a flipped bit must be noticed");
            let expected = matches!(
                refused,
                KeystoreError::Malformed { .. }
                    | KeystoreError::Tampered { .. }
                    | KeystoreError::OtherKeystore { .. }
                    | KeystoreError::UnsupportedVersion { .. }
            );
            assert!(expected, "byte {at} bit {bit}: {refused}");
        }
    }
    fs::write(store.path(), &text).unwrap();
    store.keystore.reload().unwrap();
}

#[test]
fn every_flipped_byte_is_refused_when_opening() {
    let store = filled();
    let text = store.text().into_bytes();
    for at in 0..text.len() {
        let mut flipped = text.clone();
        flipped[at] ^= 1;
        fs::write(store.path(), &flipped).unwrap();
        let refused = Keystore::open(store.path(), &passphrase(SECRET)).err().expect("must not open");
        let expected = matches!(
            refused,
            KeystoreError::Malformed { .. }
                | KeystoreError::Tampered { .. }
                | KeystoreError::WrongPassphrase { .. }
                | KeystoreError::Argon2 { .. }
                | KeystoreError::UnsupportedVersion { .. }
        );
        assert!(expected, "byte {at}: {refused}");
    }
}

#[test]
fn a_truncated_file_is_malformed_at_every_length() {
    let store = filled();
    let text = store.text();
    for length in 0..text.len() {
        fs::write(store.path(), &text[..length]).unwrap();
        assert!(matches!(store.keystore.reload(), Err(KeystoreError::Malformed { .. })), "{length} bytes");
    }
}

#[test]
fn a_tampered_file_is_not_written_over_and_the_loaded_keys_stay_in_use() {
    let store = filled();
    let changed = replaced(&store.text(), "\"archived\": false", "\"archived\": true");
    fs::write(store.path(), &changed).unwrap();
    let error = block_on(store.keystore.create_key(&NewKey::named("c"))).unwrap_err();
    assert_eq!(error.kind(), envelope_sdk::ProviderErrorKind::AccessDenied);
    assert_eq!(store.text(), changed);
    wrap(&store.keystore, "local:a", &dek()).unwrap();
}

#[test]
fn an_older_copy_is_refused_by_a_process_that_knows_better() {
    let store = filled();
    let old = store.text();
    let uri = store.keystore.key_uri("b").unwrap();
    let suspend = KeyChange::State(KeyState::Suspended);
    block_on(store.keystore.change_key(&uri, None, suspend)).unwrap();
    fs::write(store.path(), &old).unwrap();
    let refused = store.keystore.reload().unwrap_err();
    assert!(matches!(refused, KeystoreError::RolledBack { found: 3, loaded: 4, .. }), "{refused}");
    let written = block_on(store.keystore.create_key(&NewKey::named("c"))).unwrap_err();
    assert_eq!(written.message(), refused.to_string());
    // Another branch from the same copy reaches the same generation.
    block_on(store.open().create_key(&NewKey::named("d"))).unwrap();
    let refused = store.keystore.reload().unwrap_err();
    assert!(matches!(refused, KeystoreError::RolledBack { found: 4, loaded: 4, .. }), "{refused}");
}

#[test]
fn another_keystore_in_the_same_place_is_told_apart() {
    let (store, other) = (filled(), filled());
    fs::copy(other.path(), store.path()).unwrap();
    let refused = store.keystore.reload().unwrap_err();
    assert!(matches!(refused, KeystoreError::OtherKeystore { .. }), "{refused}");
}

#[test]
fn the_new_passphrase_opens_the_same_keys_and_the_old_one_nothing() {
    let store = filled();
    let dek = dek();
    let wrapped = wrap(&store.keystore, "local:a", &dek).unwrap();
    let keks = |text: &str| [0, 1, 2].map(|nth| value(text, "wrapped_kek", nth).to_owned());
    let before = store.text();
    let bystander = store.open();
    store.keystore.change_passphrase(&passphrase("new horse")).unwrap();
    let after = store.text();
    assert_eq!(keks(&before), keks(&after));
    assert_ne!(value(&before, "salt", 0), value(&after, "salt", 0));
    let old = Keystore::open(store.path(), &passphrase(SECRET)).err().unwrap();
    assert!(matches!(old, KeystoreError::WrongPassphrase { .. }), "{old}");
    let reopened = Keystore::open(store.path(), &passphrase("new horse")).unwrap();
    assert_eq!(unwrap(&reopened, &wrapped).unwrap().expose(), dek.expose());
    // A process that opened with the old passphrase goes on, and does not bring it back.
    block_on(bystander.create_key(&NewKey::named("c"))).unwrap();
    Keystore::open(store.path(), &passphrase("new horse")).unwrap();
    let old = Keystore::open(store.path(), &passphrase(SECRET)).err().unwrap();
    assert!(matches!(old, KeystoreError::WrongPassphrase { .. }), "{old}");
}

#[test]
fn the_argon2_parameters_are_changed_with_the_passphrase() {
    let store = filled();
    let params = Argon2Params { m_cost: 20_000, t_cost: 2, p_cost: 2 };
    store.keystore.change_passphrase_with(&passphrase("new"), params).unwrap();
    assert!(store.text().contains("\"m_cost\": 20000,\n    \"t_cost\": 2,\n    \"p_cost\": 2"));
    Keystore::open(store.path(), &passphrase("new")).unwrap();
}
