//! What was read of a keystore file, with its KEKs ready for use.

use std::{collections::BTreeMap, path::Path};

use envelope_sdk::{
    KeyUri,
    crypto::{DefaultEngine, xaes::XaesKey},
    key_uri::local::LocalKey,
};

use super::{
    document::{self, Document},
    sealing::KeystoreKeys,
};
use crate::KeystoreError;

/// A document with its KEKs ready for use.
pub(super) struct Loaded {
    pub(super) document: Document,
    pub(super) keks: BTreeMap<String, LoadedKey>,
}

pub(super) struct LoadedKey {
    pub(super) uri: KeyUri,
    /// One for each version of the record, `None` when destroyed.
    pub(super) versions: Vec<Option<XaesKey<DefaultEngine>>>,
}

impl Loaded {
    pub(super) fn new(path: &Path, keys: &KeystoreKeys, document: Document) -> Result<Self, KeystoreError> {
        let mut keks = BTreeMap::new();
        for (name, record) in &document.keys {
            let uri = LocalKey::uri(&document.id, name)
                .map_err(|error| document::malformed(path, error.to_string()))?;
            let open = |version: &document::VersionRecord| {
                let sealed = version.wrapped_kek.as_ref();
                sealed.map(|sealed| keys.open_kek(&document.id, name, version.version, sealed)).transpose()
            };
            let versions = record.versions.iter().map(open).collect::<Result<_, _>>();
            let versions = versions.map_err(|_| KeystoreError::Tampered { path: path.into() })?;
            keks.insert(name.clone(), LoadedKey { uri, versions });
        }
        Ok(Self { document, keks })
    }

    pub(super) fn mark(&self) -> Mark {
        Mark::of(&self.document)
    }
}

/// What tells one writing of the file from another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) generation: u64,
    mac: Option<[u8; 32]>,
}

impl Mark {
    /// Whether what bears this mark was written before the other, or is another
    /// branch.
    pub(super) fn is_behind(self, other: Self) -> bool {
        self.generation < other.generation || (self.generation == other.generation && self.mac != other.mac)
    }

    pub(super) fn of(document: &Document) -> Self {
        Self { generation: document.generation, mac: document.mac.as_ref().map(|mac| mac.0) }
    }
}
