//! Serde for envelopes: bytes in binary formats, base64 in human-readable ones.
//!
//! [`Header`] serializes so by itself. For an envelope or record in a
//! `Vec<u8>`, name this module:
//!
//! ```
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Row {
//!     id: u64,
//!     #[serde(with = "envelope_sdk::serde_as")]
//!     email: Vec<u8>,
//! }
//! # let row: Row = serde_json::from_str(r#"{"id":17,"email":"AQID"}"#).unwrap();
//! # assert_eq!(row.email, [1, 2, 3]);
//! # assert_eq!(serde_json::to_string(&row).unwrap(), r#"{"id":17,"email":"AQID"}"#);
//! ```

use std::fmt;

use base64ct::{Base64, Encoding};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, SeqAccess, Visitor},
};

use crate::Header;

/// Serializes bytes.
///
/// # Errors
///
/// Those of `serializer`.
pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        serializer.serialize_str(&Base64::encode_string(bytes))
    } else {
        serializer.serialize_bytes(bytes)
    }
}

/// Deserializes bytes; base64 must be canonical, with padding.
///
/// # Errors
///
/// Those of `deserializer`, and for text that is not base64.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    if deserializer.is_human_readable() {
        deserializer.deserialize_str(Text)
    } else {
        deserializer.deserialize_byte_buf(Bytes)
    }
}

impl Serialize for Header {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(&self.to_bytes(), serializer)
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse_exact(&deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

struct Text;

impl Visitor<'_> for Text {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("base64")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<u8>, E> {
        Base64::decode_vec(text).map_err(|_| E::custom("not canonical base64"))
    }
}

struct Bytes;

impl<'de> Visitor<'de> for Bytes {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<u8>, A::Error> {
        // The claimed length may be a lie, so it reserves little.
        let mut bytes = Vec::with_capacity(sequence.size_hint().unwrap_or(0).min(4096));
        while let Some(byte) = sequence.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes)
    }
}
