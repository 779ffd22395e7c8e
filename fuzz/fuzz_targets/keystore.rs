//! A keystore file is taken when it is exactly what was written, and never when
//! it went back.
#![no_main]

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use arbitrary::{Arbitrary, Unstructured};
use envelope_fuzz::{
    fixtures::{KEYSTORES, folder, passphrase},
    mutate::{Change, apply},
};
use envelope_local::{Keystore, KeystoreError};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// A change to the JSON tree of a keystore, which is then printed as the
/// library prints it: all but the MAC may fit.
#[derive(Debug, Arbitrary)]
struct Edit<'a> {
    /// Steps down the tree, each modulo the number of members.
    path: [u8; 5],
    depth: u8,
    action: Action<'a>,
}

#[derive(Debug, Arbitrary)]
enum Action<'a> {
    Remove,
    Duplicate,
    Number(u64),
    Signed(i64),
    Text(&'a str),
    State(u8),
    Base64Bit(u16),
    Null,
    Toggle,
    /// The value at another path of the other file.
    Other([u8; 5], u8),
    Rename(&'a str),
}

/// The unlocked keystore, and its file.
struct Opened {
    keystore: Keystore,
    path: PathBuf,
}

static OPENED: LazyLock<Opened> = LazyLock::new(|| {
    let path = folder().join("keystore.json");
    write(&path, KEYSTORES[1]);
    Opened { keystore: Keystore::open(&path, &passphrase()).expect("a fixture"), path }
});

// The first byte: bit 0 a fixture with changes, bit 1 of the JSON tree, else
// raw bytes; bit 2 the older file.
fuzz_target!(|data: &[u8]| {
    let Some((&mode, data)) = data.split_first() else { return };
    let (original, other) =
        if mode & 4 == 0 { (KEYSTORES[1], KEYSTORES[0]) } else { (KEYSTORES[0], KEYSTORES[1]) };
    let mut input = Unstructured::new(data);
    match mode & 3 {
        0 => check(data),
        1 => {
            if let Ok(changes) = Vec::<Change>::arbitrary(&mut input) {
                check(&apply(original, other, &changes));
            }
        }
        _ => {
            if let Ok(edits) = Vec::<Edit<'_>>::arbitrary(&mut input) {
                check(&edit(original, other, &edits));
            }
        }
    }
});

fn check(bytes: &[u8]) {
    let Opened { keystore, path } = &*OPENED;
    write(path, bytes);
    let id = Keystore::read_id(path);
    match &id {
        Ok(id) => {
            let value: Value = serde_json::from_slice(bytes).expect("JSON");
            assert_eq!(value["id"].as_str(), Some(id.as_str()));
            assert_eq!(print(&value), bytes, "it has one spelling");
        }
        Err(KeystoreError::Malformed { .. } | KeystoreError::UnsupportedVersion { .. }) => {}
        Err(error) => panic!("{error}"),
    }
    let reloaded = keystore.reload();
    if bytes == KEYSTORES[1] {
        assert!(reloaded.is_ok());
    } else if bytes == KEYSTORES[0] {
        assert!(matches!(reloaded, Err(KeystoreError::RolledBack { .. })));
    } else if id.is_ok() {
        let refused =
            matches!(reloaded, Err(KeystoreError::Tampered { .. } | KeystoreError::OtherKeystore { .. }));
        assert!(refused, "{reloaded:?}");
    } else {
        assert!(reloaded.is_err());
    }
}

fn edit(original: &[u8], other: &[u8], edits: &[Edit<'_>]) -> Vec<u8> {
    let other: Value = serde_json::from_slice(other).expect("a fixture");
    let mut root: Value = serde_json::from_slice(original).expect("a fixture");
    for edit in edits.iter().take(8) {
        let steps = &edit.path[..usize::from(edit.depth % 6)];
        match &edit.action {
            Action::Remove | Action::Duplicate | Action::Rename(_) => {
                let Some((last, steps)) = steps.split_last() else { continue };
                restructure(walk(&mut root, steps), usize::from(*last), &edit.action);
            }
            action => replace(walk(&mut root, steps), &other, action),
        }
    }
    print(&root)
}

fn walk<'v>(value: &'v mut Value, steps: &[u8]) -> &'v mut Value {
    let Some((step, steps)) = steps.split_first() else { return value };
    let members = match value {
        Value::Array(items) => items.len(),
        Value::Object(members) => members.len(),
        _ => 0,
    };
    if members == 0 {
        return value;
    }
    let position = usize::from(*step) % members;
    let member = match value {
        Value::Array(items) => items.get_mut(position),
        Value::Object(members) => members.values_mut().nth(position),
        _ => None,
    };
    walk(member.expect("modulo the length"), steps)
}

fn restructure(value: &mut Value, at: usize, action: &Action<'_>) {
    match value {
        Value::Array(items) if !items.is_empty() => {
            let at = at % items.len();
            match action {
                Action::Remove => drop(items.remove(at)),
                _ => items.insert(at, items[at].clone()),
            }
        }
        Value::Object(members) if !members.is_empty() => {
            let name = members.keys().nth(at % members.len()).expect("modulo the length").clone();
            let (name, value) = members.shift_remove_entry(&name).expect("it is there");
            match action {
                Action::Remove => {}
                Action::Rename(new) => drop(members.insert((*new).into(), value)),
                _ => {
                    members.insert(format!("{name}2"), value.clone());
                    members.insert(name, value);
                }
            }
            // Keys are printed in order of their names; other members by type.
            if members.values().all(Value::is_object) {
                members.sort_keys();
            }
        }
        _ => {}
    }
}

fn replace(value: &mut Value, other: &Value, action: &Action<'_>) {
    *value = match action {
        Action::Number(number) => (*number).into(),
        Action::Signed(number) => (*number).into(),
        Action::Text(text) => (*text).into(),
        Action::State(state) => STATES[usize::from(*state) % STATES.len()].into(),
        Action::Null => Value::Null,
        Action::Other(path, depth) => walk(&mut other.clone(), &path[..usize::from(*depth % 6)]).clone(),
        Action::Toggle => match value.as_bool() {
            Some(truth) => (!truth).into(),
            None => true.into(),
        },
        // Another character of the alphabet: mostly still canonical base64.
        Action::Base64Bit(at) => match value.as_str() {
            Some(text) if !text.is_empty() && text.is_ascii() => {
                let mut bytes = text.as_bytes().to_vec();
                let at = usize::from(*at) % bytes.len();
                bytes[at] = if bytes[at] == b'A' { b'Q' } else { b'A' };
                String::from_utf8(bytes).expect("ASCII").into()
            }
            _ => return,
        },
        Action::Remove | Action::Duplicate | Action::Rename(_) => return,
    };
}

fn print(value: &Value) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("JSON");
    bytes.push(b'\n');
    bytes
}

fn write(path: &Path, bytes: &[u8]) {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path).and_then(|mut file| file.write_all(bytes)).unwrap_or_else(|error| {
        let _ = fs::remove_file(path);
        panic!("cannot write the keystore: {error}");
    });
}

const STATES: [&str; 7] =
    ["pre-active", "active", "suspended", "deactivated", "compromised", "destroyed", "unknown"];
