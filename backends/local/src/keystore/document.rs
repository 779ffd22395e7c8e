//! What stands in a keystore file, and its one spelling.
//!
//! The file is JSON as `serde_json` prints it prettily: members in the order of
//! the types below, keys by name, two spaces of indentation, a line end after
//! the last brace. A reader prints what it read and compares: a file with
//! unknown or repeated members, other spaces or other escapes is refused. The
//! MAC is over the same text without its member `mac`.
//!
//! Nothing here is secret.

use std::{collections::BTreeMap, path::Path};

use base64ct::{Base64, Encoding};
use envelope_sdk::{KeyState, key_uri::is_key_name};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use subtle::ConstantTimeEq;

use super::{
    file::MAX_FILE_LEN,
    sealing::{KeystoreKeys, SEALED_KEK_LEN, SEALED_KEYSTORE_KEY_LEN},
};
use crate::{Argon2Params, KeystoreError, argon2id::SALT_LEN};

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    envelope_keystore: u64,
    pub(super) id: String,
    pub(super) generation: u64,
    pub(super) argon2id: Argon2Record,
    pub(super) keystore_key: Bytes<SEALED_KEYSTORE_KEY_LEN>,
    pub(super) keys: BTreeMap<String, KeyRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mac: Option<Bytes<32>>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Argon2Record {
    m_cost: u32,
    t_cost: u32,
    p_cost: u32,
    pub(super) salt: Bytes<SALT_LEN>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyRecord {
    #[serde(with = "state_name")]
    pub(super) state: KeyState,
    pub(super) archived: bool,
    pub(super) created: u64,
    pub(super) versions: Vec<VersionRecord>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VersionRecord {
    pub(super) version: u32,
    #[serde(with = "state_name")]
    pub(super) state: KeyState,
    pub(super) created: u64,
    /// Null reads as absent, and is then not printed the one way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) not_after: Option<u64>,
    pub(super) wrapped_kek: Option<Bytes<SEALED_KEK_LEN>>,
}

impl Argon2Record {
    pub(super) fn new(params: Argon2Params, salt: [u8; SALT_LEN]) -> Self {
        let Argon2Params { m_cost, t_cost, p_cost } = params;
        Self { m_cost, t_cost, p_cost, salt: Bytes(salt) }
    }

    pub(super) fn params(&self) -> Argon2Params {
        Argon2Params { m_cost: self.m_cost, t_cost: self.t_cost, p_cost: self.p_cost }
    }
}

impl KeyRecord {
    /// Where the version of that decimal number stands. Other spellings of a
    /// number name nothing.
    pub(super) fn position(&self, number: &str) -> Option<usize> {
        let parsed: u32 = number.parse().ok()?;
        let position = usize::try_from(parsed.checked_sub(1)?).ok()?;
        (position < self.versions.len() && parsed.to_string() == number).then_some(position)
    }
}

impl Document {
    pub(super) fn new(
        id: String,
        argon2id: Argon2Record,
        keystore_key: Bytes<SEALED_KEYSTORE_KEY_LEN>,
    ) -> Self {
        let keys = BTreeMap::new();
        Self { envelope_keystore: FORMAT, id, generation: 0, argon2id, keystore_key, keys, mac: None }
    }

    /// Reads a file strictly; its MAC is checked by [`verify`](Self::verify).
    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, KeystoreError> {
        // Also in what a reader passes over.
        let text = std::str::from_utf8(bytes).map_err(|_| malformed(path, "it is not UTF-8".into()))?;
        let document: Self = match serde_json::from_str(text) {
            Ok(document) => document,
            // A later format may have other members: its number says more than they do.
            Err(error) => match serde_json::from_str::<FormatOnly>(text) {
                Ok(FormatOnly { envelope_keystore })
                    if envelope_keystore != FORMAT && !escapes_half_a_pair(text) =>
                {
                    return Err(unsupported(path, envelope_keystore));
                }
                _ => return Err(malformed(path, what_does_not_fit(&error))),
            },
        };
        if document.envelope_keystore != FORMAT {
            return Err(unsupported(path, document.envelope_keystore));
        }
        if document.print(path)? != bytes {
            return Err(malformed(path, "it is not printed the one way".into()));
        }
        document.check().map_err(|reason| malformed(path, reason.into()))?;
        Ok(document)
    }

    /// Checks the MAC in constant time.
    pub(super) fn verify(&mut self, path: &Path, keys: &KeystoreKeys) -> Result<(), KeystoreError> {
        let mac = self.mac.take();
        let expected = keys.mac(&self.print(path)?);
        let fits = mac.as_ref().is_some_and(|mac| bool::from(mac.0.as_slice().ct_eq(&expected)));
        self.mac = mac;
        if fits { Ok(()) } else { Err(KeystoreError::Tampered { path: path.into() }) }
    }

    /// Puts the MAC in and prints the file.
    pub(super) fn seal(&mut self, path: &Path, keys: &KeystoreKeys) -> Result<Vec<u8>, KeystoreError> {
        self.mac = None;
        self.mac = Some(Bytes(keys.mac(&self.print(path)?)));
        let printed = self.print(path)?;
        match u64::try_from(printed.len()) {
            Ok(len) if len > MAX_FILE_LEN => Err(KeystoreError::TooLarge { path: path.into(), len }),
            _ => Ok(printed),
        }
    }

    fn print(&self, path: &Path) -> Result<Vec<u8>, KeystoreError> {
        let mut printed =
            serde_json::to_vec_pretty(self).map_err(|error| malformed(path, what_does_not_fit(&error)))?;
        printed.push(b'\n');
        Ok(printed)
    }

    /// What the types do not say. An authentic file passes; a forged one is
    /// stopped before it costs anything.
    fn check(&self) -> Result<(), &'static str> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if self.id.len() != 32 || !self.id.bytes().all(hex) {
            return Err("the id has not 32 hexadecimal digits");
        }
        if self.mac.is_none() {
            return Err("there is no mac");
        }
        if !self.keys.keys().all(|name| is_key_name(name)) {
            return Err("a key name is not allowed");
        }
        if self.keys.values().any(|key| key.versions.is_empty()) {
            return Err("a key has no version");
        }
        for key in self.keys.values() {
            if !key.versions.iter().zip(1..).all(|(version, number)| version.version == number) {
                return Err("the versions of a key are not numbered 1, 2, 3, …");
            }
            let whole = |version: &VersionRecord| {
                (version.state == KeyState::Destroyed) == version.wrapped_kek.is_none()
            };
            if !key.versions.iter().all(whole) {
                return Err("a version is destroyed and has a KEK, or the reverse");
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct FormatOnly {
    envelope_keystore: u64,
}

/// Exactly `N` bytes, in padded standard base64.
#[derive(Clone, Copy)]
pub(super) struct Bytes<const N: usize>(pub(super) [u8; N]);

impl<const N: usize> Serialize for Bytes<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Base64::encode_string(&self.0))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Bytes<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; N];
        match Base64::decode(&text, &mut bytes) {
            Ok(decoded) if decoded.len() == N => Ok(Self(bytes)),
            _ => Err(de::Error::custom(format_args!("not {N} bytes in base64"))),
        }
    }
}

mod state_name {
    use super::{Deserialize, Deserializer, KeyState, Serializer, de};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
    pub(super) fn serialize<S: Serializer>(state: &KeyState, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(state.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<KeyState, D::Error> {
        let name = String::deserialize(deserializer)?;
        KeyState::from_name(&name).ok_or_else(|| de::Error::custom("an unknown key state"))
    }
}

/// Whether a string of this JSON text escapes one half of a surrogate pair, which is no character. `serde_json` does
/// not look into what a reader passes over.
fn escapes_half_a_pair(json: &str) -> bool {
    let unit = |text: &str| u16::from_str_radix(text.strip_prefix('u')?.get(..4)?, 16).ok();
    let mut rest = json;
    // In JSON a backslash stands in strings only.
    while let Some((_, escape)) = rest.split_once('\\') {
        let whole = match unit(escape) {
            Some(0xD800..=0xDBFF) => {
                let low = escape[5..].strip_prefix('\\').and_then(unit);
                matches!(low, Some(0xDC00..=0xDFFF)).then_some(11)
            }
            Some(0xDC00..=0xDFFF) => None,
            Some(_) => Some(5),
            None => Some(1),
        };
        let Some(len) = whole else { return true };
        rest = &escape[len..];
    }
    false
}

/// What and where, without the error's own text: it quotes the file, and the
/// file may be another one than was meant, with secrets in it.
fn what_does_not_fit(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "it has not the members of a keystore",
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => "it is not JSON",
    };
    format!("{what}, line {} column {}", error.line(), error.column())
}

/// The reason may quote a name that stands in the file, so it is cut short.
pub(super) fn malformed(path: &Path, reason: String) -> KeystoreError {
    let reason = if reason.len() > 200 { reason.chars().take(200).collect() } else { reason };
    KeystoreError::Malformed { path: path.into(), reason }
}

fn unsupported(path: &Path, version: u64) -> KeystoreError {
    KeystoreError::UnsupportedVersion { path: path.into(), version }
}

const FORMAT: u64 = 1;
