//! `FILE.head`: how far the log reaches.

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::{
    chain::Hash,
    key::LogKey,
    text::{self, MAX_INTEGER},
};

/// Bytes of the file: a sector, which a disk writes whole or not at all.
pub(crate) const HEAD_LEN: usize = 512;

/// The last record that is on disk for certain, and where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) log: [u8; 16],
    pub(crate) first: u64,
    pub(crate) seq: u64,
    pub(crate) hash: Hash,
    pub(crate) segment: u64,
    pub(crate) length: u64,
}

impl Head {
    /// The file.
    pub(crate) fn to_bytes(self, key: &LogKey) -> [u8; HEAD_LEN] {
        let mac = key.head_mac(&text::json(&self.text(None)));
        let json = text::json(&self.text(Some(text::hex(&mac))));
        let mut bytes = [b' '; HEAD_LEN];
        // Six integers below 2⁵³ and 144 digits: at most 330 bytes.
        bytes[..json.len()].copy_from_slice(&json);
        bytes[HEAD_LEN - 1] = b'\n';
        bytes
    }

    /// Reads the file, and checks its MAC where there is a key.
    pub(crate) fn parse(bytes: &[u8], key: Option<&LogKey>) -> Result<Self, &'static str> {
        const FORM: &str = "it is not in its one form";
        let padded: &[u8; HEAD_LEN] = bytes.try_into().map_err(|_| "it has not 512 bytes")?;
        let text = padded[..HEAD_LEN - 1].trim_ascii_end();
        let parsed: Text = serde_json::from_slice(text).map_err(|_| FORM)?;
        if text::json(&parsed) != text || padded[HEAD_LEN - 1] != b'\n' || parsed.v != 1 {
            return Err(FORM);
        }
        let integers = [parsed.first, parsed.seq, parsed.segment, parsed.length];
        if integers.iter().any(|integer| !(1..=MAX_INTEGER).contains(integer)) || parsed.first > parsed.seq {
            return Err(FORM);
        }
        let head = Self {
            log: text::unhex(&parsed.log).ok_or(FORM)?,
            first: parsed.first,
            seq: parsed.seq,
            hash: text::unhex(&parsed.hash).ok_or(FORM)?,
            segment: parsed.segment,
            length: parsed.length,
        };
        let mac: [u8; 32] = parsed.mac.as_deref().and_then(text::unhex).ok_or(FORM)?;
        if let Some(key) = key {
            let expected = key.head_mac(&text::json(&head.text(None)));
            if head.log != *key.log_id() || !bool::from(expected.ct_eq(&mac)) {
                return Err("its MAC is wrong");
            }
        }
        Ok(head)
    }

    fn text(&self, mac: Option<String>) -> Text {
        Text {
            first: self.first,
            hash: text::hex(&self.hash),
            length: self.length,
            log: text::hex(&self.log),
            mac,
            segment: self.segment,
            seq: self.seq,
            v: 1,
        }
    }
}

/// In ascending order.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    first: u64,
    hash: String,
    length: u64,
    log: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
    segment: u64,
    seq: u64,
    v: u8,
}
