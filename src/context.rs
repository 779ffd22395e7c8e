//! The encryption context: names and values bound to an envelope.
//!
//! A context says what the data *is* (`tenant=42`, `purpose=backup`). It is
//! authenticated and never encrypted: the KMS is asked to bind it where it can,
//! and the payload's keys and commitment always depend on it. An envelope does
//! not open under another context.
//!
//! Entries are either **stored**, readable in the header by anyone, or
//! **withheld**: bound, but with only their name in the header, so that the
//! reader must supply the value. Put no secrets in either; a withheld value of
//! low entropy can be guessed by whoever holds the key.
//!
//! There is one encoding, and this module holds it.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
};

use crate::wire::{Reader, put_str16};

/// Most entries of a context, stored and withheld together.
pub const MAX_ENTRIES: usize = 64;

/// Most bytes of an encoded context, stored and withheld together: 8 KiB.
pub const MAX_ENCODED_LEN: usize = 8 * 1024;

/// Names and values to bind to an envelope, or to demand of one.
///
/// To **encrypt**, add entries with [`with`](Self::with) (stored) and
/// [`withhold`](Self::withhold). To **decrypt**, every entry given must hold:
/// it must equal the stored entry of that name, or it supplies the value of a
/// withheld one. Passing the context of the encryption always works; passing an
/// empty one accepts whatever is stored, and fails if anything was withheld.
///
/// ```
/// use envelope_sdk::EncryptionContext;
///
/// let context = EncryptionContext::new().with("tenant", "42").withhold("patient", "7");
/// assert_eq!(context.get("tenant"), Some("42"));
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct EncryptionContext {
    entries: BTreeMap<String, Value>,
}

#[derive(Clone, PartialEq, Eq)]
struct Value {
    text: String,
    withheld: bool,
}

impl EncryptionContext {
    /// A context without entries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry that is stored in the header, readable without a key. A
    /// name that is there already gets the new value.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.entries.insert(name.into(), Value { text: value.into(), withheld: false });
        self
    }

    /// Adds an entry that is bound but not stored: only its name stands in the
    /// header, and whoever decrypts must supply the value. A name that is there
    /// already gets the new value.
    #[must_use]
    pub fn withhold(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.entries.insert(name.into(), Value { text: value.into(), withheld: true });
        self
    }

    /// The value of `name`, if there is such an entry.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.entries.get(name).map(|value| value.text.as_str())
    }

    /// Name, value and whether it is withheld, in the order of the encoding.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, bool)> {
        self.entries.iter().map(|(name, value)| (name.as_str(), value.text.as_str(), value.withheld))
    }

    /// True when there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Encodes all entries, stored and withheld together: what is bound.
    ///
    /// # Errors
    ///
    /// [`ContextError`] when a name is empty or a limit is passed.
    pub fn full(&self) -> Result<FullContext, ContextError> {
        FullContext::encode(self.iter().map(|(name, value, _)| (name, value)))
    }

    /// Only the entries that are stored.
    pub(crate) fn stored(&self) -> BTreeMap<String, String> {
        let stored = self.iter().filter(|(_, _, withheld)| !withheld);
        stored.map(|(name, value, _)| (name.into(), value.into())).collect()
    }

    /// Only the names of the entries that are withheld.
    pub(crate) fn withheld(&self) -> Vec<String> {
        let withheld = self.iter().filter(|(_, _, withheld)| *withheld);
        withheld.map(|(name, _, _)| name.into()).collect()
    }

    /// This context as a reader's demands on a header: all that was bound, or
    /// `None` when an entry differs, is unknown to the header or is missing.
    pub(crate) fn complete(
        &self,
        stored: &BTreeMap<String, String>,
        withheld: &[String],
    ) -> Option<FullContext> {
        let mut all: BTreeMap<&str, &str> =
            stored.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        for (name, value, _) in self.iter() {
            match all.entry(name) {
                Entry::Occupied(entry) if *entry.get() != value => return None,
                Entry::Occupied(_) => {}
                Entry::Vacant(_) if withheld.iter().all(|key| key != name) => return None,
                Entry::Vacant(entry) => {
                    entry.insert(value);
                }
            }
        }
        if withheld.iter().any(|name| !all.contains_key(name.as_str())) {
            return None;
        }
        FullContext::encode(all.into_iter()).ok()
    }
}

/// Shows names and stored values; withheld values are left out.
impl fmt::Debug for EncryptionContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (name, value, withheld) in self.iter() {
            map.entry(&name, &if withheld { "(withheld)" } else { value });
        }
        map.finish()
    }
}

/// A complete context in its one encoding, as key providers and key
/// derivations take it.
///
/// ```text
/// u16 count ‖ count × (u16 length ‖ name ‖ u16 length ‖ value)
/// ```
///
/// Names ascend strictly by their bytes, are unique and not empty; names and
/// values are UTF-8. Integers are big-endian.
#[derive(Clone, PartialEq, Eq)]
pub struct FullContext {
    encoded: Vec<u8>,
}

impl FullContext {
    /// The context without entries: two zero bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self { encoded: vec![0, 0] }
    }

    /// The encoding, at most [`MAX_ENCODED_LEN`] bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.encoded
    }

    /// Names and values in the order of the encoding, for a KMS that takes the
    /// context as a map.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        // Made by `encode` alone, so every step below succeeds.
        let mut reader = Reader::new(&self.encoded);
        let count = reader.u16("context").unwrap_or(0);
        (0..count).map_while(move |_| {
            Some((reader.str16("context name").ok()?, reader.str16("context value").ok()?))
        })
    }

    /// The value of the entry `name`, if there is one.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        let mut reader = Reader::new(&self.encoded);
        for _ in 0..reader.u16("context").ok()? {
            let is_it = reader.bytes16("context name").ok()? == name.as_bytes();
            let value = reader.bytes16("context value").ok()?;
            if is_it {
                return str::from_utf8(value).ok();
            }
        }
        None
    }

    /// Encodes entries that come in ascending order of their names.
    fn encode<'a>(entries: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, ContextError> {
        let mut encoded = Vec::with_capacity(128);
        encoded.extend([0, 0]);
        let mut count: u16 = 0;
        for (name, value) in entries {
            if name.is_empty() {
                return Err(ContextError::EmptyName);
            }
            if usize::from(count) == MAX_ENTRIES {
                return Err(ContextError::TooManyEntries);
            }
            if encoded.len() + 4 + name.len() + value.len() > MAX_ENCODED_LEN {
                return Err(ContextError::TooLong);
            }
            count += 1;
            put_str16(&mut encoded, name);
            put_str16(&mut encoded, value);
        }
        encoded[..2].copy_from_slice(&count.to_be_bytes());
        Ok(Self { encoded })
    }
}

/// Withheld values are in here too, so nothing of it is shown.
impl fmt::Debug for FullContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FullContext({} bytes)", self.encoded.len())
    }
}

/// A context that cannot be bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// An entry has an empty name.
    #[error("a context entry has an empty name")]
    EmptyName,
    /// More than [`MAX_ENTRIES`] entries.
    #[error("a context has at most 64 entries")]
    TooManyEntries,
    /// More than [`MAX_ENCODED_LEN`] bytes.
    #[error("a context has at most 8192 bytes of names and values, with 4 more for each entry")]
    TooLong,
}

#[cfg(test)]
mod tests;
