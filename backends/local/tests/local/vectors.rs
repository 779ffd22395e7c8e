//! Every vector of the class `keystore` comes to its class. The form of the
//! files is in `vectors/README.md`, the format in
//! `docs/spec/keystore-v1.md`.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt, path::Path};

use envelope_local::{Argon2Error, KeystoreError};
use envelope_sdk::{
    KeyAdmin, KeyState, KeyUse, ProviderErrorKind,
    crypto::{Key256, xaes::XaesKey},
    wrap_binding,
};

use super::*;

struct Vector {
    name: String,
    /// Lines `key: value`, in order.
    head: Vec<(String, String)>,
    file: Vec<u8>,
}

impl Vector {
    fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/keystore");
        let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    fn read(path: &Path) -> Self {
        let data = fs::read(path).unwrap();
        let end = data.windows(2).position(|two| two == b"\n\n").expect("a head and an empty line");
        let line = |line: &str| line.split_once(": ").map(|(key, value)| (key.into(), value.into()));
        let head: Option<Vec<_>> = str::from_utf8(&data[..end]).unwrap().split('\n').map(line).collect();
        let name = path.file_stem().unwrap().to_str().unwrap().into();
        let mut vector = Self { name, head: head.expect("key: value"), file: data[end + 2..].to_vec() };
        assert_eq!(vector.all_of("kind"), ["keystore"]);
        let spaces = vector.all_of("append-spaces").first().map_or(0, |count| count.parse().unwrap());
        vector.file.resize(vector.file.len() + spaces, b' ');
        vector
    }

    fn all_of(&self, key: &str) -> Vec<&str> {
        self.head.iter().filter(|(found, _)| found == key).map(|(_, value)| value.as_str()).collect()
    }

    fn open(&self, folder: &Path) -> Result<Keystore, KeystoreError> {
        let path = folder.join(format!("{}.json", self.name));
        fs::write(&path, &self.file).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        Keystore::open(&path, &passphrase(self.all_of("passphrase")[0]))
    }
}

fn class(error: &KeystoreError) -> &'static str {
    match error {
        KeystoreError::TooLarge { .. } => "too large",
        KeystoreError::Malformed { .. } => "format failure",
        KeystoreError::UnsupportedVersion { .. } => "unsupported version",
        KeystoreError::Argon2 { source: Argon2Error::OutOfBounds { .. }, .. } => "unsupported parameters",
        KeystoreError::WrongPassphrase { .. } => "wrong passphrase",
        KeystoreError::Tampered { .. } => "not authentic",
        other => panic!("no class for {other:?}"),
    }
}

#[test]
fn every_keystore_vector_comes_to_its_class() {
    let folder = TempDir::new().unwrap();
    let vectors = Vector::all();
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for vector in &vectors {
        let expected = vector.all_of("expect")[0];
        seen.insert(expected);
        let opened = vector.open(folder.path());
        let got = opened.as_ref().map_or_else(class, |_| "success");
        if got != expected {
            wrong.push(format!("{}: expected {expected}, got {got} ({:?})", vector.name, opened.err()));
        }
    }
    assert!(wrong.is_empty(), "{} of {} vectors:\n{}", wrong.len(), vectors.len(), wrong.join("\n"));
    assert!(vectors.len() >= 200, "only {} vectors", vectors.len());
    assert_eq!(seen.len(), 7, "a class without a vector: {seen:?}");
}

/// States are compared as they are listed. KEKs are no part of the API: each
/// version that may unwrap must open what its KEK sealed here.
#[test]
fn every_keystore_vector_that_opens_holds_the_keys_that_it_lists() {
    let folder = TempDir::new().unwrap();
    let mut unwrapped = 0;
    for vector in Vector::all().iter().filter(|vector| vector.all_of("expect") == ["success"]) {
        let name = &vector.name;
        let keystore = vector.open(folder.path()).unwrap();
        let mut keys = Vec::new();
        let mut versions = Vec::new();
        for key in block_on(keystore.list_keys(None)).unwrap().keys {
            let own = key.uri.rest().rsplit_once('/').unwrap().1.to_owned();
            let archived = if key.archived { " archived" } else { "" };
            keys.push(format!("{own} {}{archived}", key.state));
            for version in &key.versions {
                versions.push((key.clone(), own.clone(), version.clone()));
            }
        }
        assert_eq!(keys, vector.all_of("key"), "{name}");
        let listed = vector.all_of("version");
        assert_eq!(versions.len(), listed.len(), "{name}");
        for ((key, own, version), line) in versions.iter().zip(listed) {
            let (line, end) = line.split_once(" not-after ").map_or((line, None), |(l, end)| (l, Some(end)));
            assert_eq!(version.not_after.map(|end| end.to_string()).as_deref(), end, "{name}");
            let (shown, kek) = line.rsplit_once(' ').unwrap();
            assert_eq!(format!("{own} {} {}", version.version, version.state), shown, "{name}");
            let Some(wrapped) = wrapped_by(kek, &key.uri, &version.version) else {
                assert_eq!(version.state, KeyState::Destroyed, "{name}");
                continue;
            };
            let opened = unwrap(&keystore, &wrapped);
            if key.state.permits(KeyUse::Unwrap) && version.state.permits(KeyUse::Unwrap) {
                assert_eq!(opened.unwrap().expose(), &DEK, "{name}: {shown}");
                unwrapped += 1;
            } else {
                assert_eq!(opened.err().unwrap().kind(), ProviderErrorKind::State, "{name}: {shown}");
            }
        }
    }
    assert!(unwrapped >= 50, "only {unwrapped} KEKs");
}

/// What a keystore draws at random differs from one to the next, and with each
/// passphrase and key. (KEKs show only by their wraps.)
#[test]
fn ids_salts_nonces_and_keys_are_fresh() {
    let mut drawn = Vec::new();
    for _ in 0..2 {
        let store = Store::new();
        for name in ["a", "b"] {
            block_on(store.keystore.create_key(&NewKey::named(name))).unwrap();
        }
        let before = json(&store.text());
        store.keystore.change_passphrase(&passphrase(SECRET)).unwrap();
        let after = json(&store.text());
        let kek = |name: &str| before["keys"][name]["versions"][0]["wrapped_kek"].clone();
        drawn.extend([before["id"].clone(), kek("a"), kek("b")]);
        drawn.extend([&before, &after].map(|document| document["argon2id"]["salt"].clone()));
        drawn.extend([&before, &after].map(|document| document["keystore_key"].clone()));
    }
    // A salt or nonce stands first: 16 or 24 bytes.
    let first = |value: &serde_json::Value| value.as_str().unwrap().chars().take(22).collect::<String>();
    let different: BTreeSet<_> = drawn.iter().map(first).collect();
    assert_eq!(different.len(), drawn.len());
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

/// [`DEK`] under a KEK in hexadecimal, or `None` for a KEK that is gone.
fn wrapped_by(kek: &str, uri: &KeyUri, version: &str) -> Option<WrappedDek> {
    let bytes: Vec<u8> = match kek {
        "-" => return None,
        digits => (0..64).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect(),
    };
    let kek = XaesKey::<DefaultEngine>::new(&Key256::copy_from(bytes.as_slice().try_into().unwrap()));
    let sealed = kek.seal(&DEK, &wrap_binding(uri, version, &context("42")).unwrap()).unwrap();
    Some(WrappedDek::new(uri.clone(), version, "XAES-256-GCM", sealed).unwrap())
}

const DEK: [u8; 32] = [0x5A; 32];
