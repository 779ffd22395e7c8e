//! Headers and envelopes in serde formats.

#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that goes wrong shall stop, and says what it ran"
)]
#![cfg(feature = "serde")]

mod common;

use common::{block_on, context, envelope, memory};
use envelope_sdk::{Envelope, Header, serde_as};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Row {
    id: u32,
    #[serde(with = "serde_as")]
    email: Vec<u8>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Stored {
    header: Header,
}

fn sealed() -> Vec<u8> {
    let (provider, keys) = memory(1);
    block_on(envelope(&provider, &keys).encrypt(b"jane@example.org", &context())).unwrap()
}

#[test]
fn an_envelope_is_base64_in_json_and_comes_back() {
    let row = Row { id: 17, email: sealed() };
    let json = serde_json::to_string(&row).unwrap();
    assert!(json.starts_with(r#"{"id":17,"email":"iUVOVg0KGgoB"#), "{json}");
    assert_eq!(serde_json::from_str::<Row>(&json).unwrap(), row);
    assert_eq!(serde_json::from_value::<Row>(serde_json::to_value(&row).unwrap()).unwrap(), row);
    assert_eq!(serde_json::from_reader::<_, Row>(json.as_bytes()).unwrap(), row, "text that is not borrowed");
}

#[test]
fn an_envelope_is_bytes_in_a_binary_format_and_comes_back() {
    let row = Row { id: 17, email: sealed() };
    let bytes = postcard::to_allocvec(&row).unwrap();
    // The id, a length of two bytes, the envelope as it is.
    assert_eq!(bytes.len(), 1 + 2 + row.email.len());
    assert!(bytes.ends_with(&row.email));
    assert_eq!(postcard::from_bytes::<Row>(&bytes).unwrap(), row);
}

#[test]
fn a_header_comes_back_from_both() {
    let stored = Stored { header: Envelope::inspect(&sealed()).unwrap() };
    let json = serde_json::to_string(&stored).unwrap();
    assert_eq!(serde_json::from_str::<Stored>(&json).unwrap(), stored);
    let bytes = postcard::to_allocvec(&stored).unwrap();
    assert_eq!(postcard::from_bytes::<Stored>(&bytes).unwrap(), stored);
}

#[test]
fn base64_that_is_not_canonical_is_refused() {
    for text in ["AQI", "AQJ=", "AQ-_", "AQ I=", "AQ\\nI=", "====", "é"] {
        let json = format!(r#"{{"id":1,"email":"{text}"}}"#);
        let error = serde_json::from_str::<Row>(&json).unwrap_err().to_string();
        assert!(error.starts_with("not canonical base64"), "{text}: {error}");
    }
    let error = serde_json::from_str::<Row>(r#"{"id":1,"email":[1,2]}"#).unwrap_err().to_string();
    assert!(error.contains("expected base64"), "{error}");
}

#[test]
fn a_malformed_header_is_refused_with_its_reason() {
    let header = Envelope::inspect(&sealed()).unwrap().to_bytes();
    let mut unknown = header.clone();
    unknown[8] = 2;
    let longer = [header.as_slice(), &[0]].concat();
    for (bytes, reason) in [
        (unknown, "envelope version 2 is not known; this reader knows version 1"),
        (longer, "the header is followed by more bytes"),
        (header[..40].to_vec(), "truncated: the header is cut off"),
        (Vec::new(), "truncated: the preamble is cut off"),
    ] {
        let json = serde_json::to_string(&Row { id: 1, email: bytes.clone() }).unwrap();
        let json = json.replace(r#""id":1,"email""#, r#""header""#);
        let error = serde_json::from_str::<Stored>(&json).unwrap_err().to_string();
        assert!(error.starts_with(reason), "{error}");
        let binary = [&[bytes.len() as u8 | 0x80, (bytes.len() >> 7) as u8], bytes.as_slice()].concat();
        let error = postcard::from_bytes::<Stored>(&binary).unwrap_err();
        assert_eq!(error, postcard::Error::SerdeDeCustom, "{reason}");
    }
}

#[test]
fn a_claimed_length_reserves_no_memory() {
    // Postcard: a length of 2⁶³ and nothing behind it.
    let lie = [1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01];
    let error = postcard::from_bytes::<Row>(&lie).map(drop).unwrap_err();
    assert_eq!(error, postcard::Error::DeserializeUnexpectedEnd);
}
