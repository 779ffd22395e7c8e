//! Documents that the key of a log signs.

use std::{
    fs,
    io::Cursor,
    path::{Path, PathBuf},
};

use envelope_audit::{DocumentError, DocumentSignature, LogKey};
use futures_executor::block_on;
use sha2::{Digest, Sha256};

use crate::common::Place;

const DOCUMENT: &[u8] = b"{\"envelope_destruction\":1}\n{\"envelope\":\"01\",\"item\":\"a\"}\n{\"end\":{}}\n";

fn key() -> LogKey {
    block_on(LogKey::create(&Place::new().keys)).unwrap().0
}

fn signed(key: &LogKey, document: &[u8]) -> Vec<u8> {
    let line = key.sign_document(document.len() as u64, &Sha256::digest(document).into());
    [document, line.to_string().as_bytes(), b"\n"].concat()
}

fn verify(bytes: &[u8], public_key: &[u8; 32]) -> Result<DocumentSignature, DocumentError> {
    DocumentSignature::verify(&mut Cursor::new(bytes), public_key)
}

#[test]
fn a_signed_document_verifies_with_the_key_of_its_log_and_no_other() {
    let key = key();
    // Empty, without LF before the signature is told apart, and longer than is read at once.
    for document in [b"".as_slice(), b"\n", DOCUMENT, &[b'x'; 300_000]] {
        let document = if document.ends_with(b"\n") || document.is_empty() {
            document.to_vec()
        } else {
            [document, b"\n"].concat()
        };
        let bytes = signed(&key, &document);
        let found = verify(&bytes, &key.public_key()).unwrap();
        assert_eq!((found.length(), found.log_id()), (document.len() as u64, key.log_id()));
        assert_eq!(found.public_key(), &key.public_key());
        let other = verify(&bytes, &self::key().public_key());
        assert!(matches!(other, Err(DocumentError::OtherKey)), "{other:?}");
    }
}

#[test]
fn a_document_of_which_any_byte_was_changed_is_refused_with_what_is_wrong() {
    let key = key();
    let whole = signed(&key, DOCUMENT);
    let line = String::from_utf8(whole[DOCUMENT.len()..].to_vec()).unwrap();
    let signature_at = DOCUMENT.len() + line.find("\"signature\"").unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        let said = verify(&bytes, &key.public_key()).unwrap_err();
        if at < DOCUMENT.len() - 1 {
            assert!(matches!(said, DocumentError::Changed), "at {at}: {said}");
        } else if (signature_at + 13..signature_at + 13 + 128).contains(&at) {
            let is_digit = matches!(bytes[at], b'0'..=b'9' | b'a'..=b'f');
            let expected =
                if is_digit { "its signature is wrong" } else { "it is not signed, or its end is missing" };
            assert_eq!(said.to_string(), expected, "at {at}");
        } else {
            let is_named =
                matches!(said, DocumentError::NotSigned | DocumentError::OtherKey | DocumentError::Signature);
            assert!(is_named, "at {at}: {said}");
        }
    }
}

#[test]
fn a_document_that_is_cut_off_or_goes_on_anywhere_is_not_signed() {
    let key = key();
    let whole = signed(&key, DOCUMENT);
    for cut in 0..whole.len() {
        let said = verify(&whole[..cut], &key.public_key());
        assert!(matches!(said, Err(DocumentError::NotSigned)), "cut at {cut}: {said:?}");
    }
    for more in [&b"\n"[..], b" ", b"{}\n", &[b' '; 5000]] {
        let said = verify(&[&whole, more].concat(), &key.public_key());
        assert!(matches!(said, Err(DocumentError::NotSigned)), "{more:?}: {said:?}");
    }
    // The signature of a part of it, or of another document, put behind.
    let half = &DOCUMENT[..DOCUMENT.iter().position(|byte| *byte == b'\n').unwrap() + 1];
    let of_half = signed(&key, half)[half.len()..].to_vec();
    for line in [of_half, signed(&key, &[DOCUMENT, b"\n"].concat())[DOCUMENT.len() + 1..].to_vec()] {
        let said = verify(&[DOCUMENT, &line].concat(), &key.public_key());
        assert!(matches!(said, Err(DocumentError::Changed)), "{said:?}");
    }
}

#[test]
fn the_line_of_a_signature_has_one_form() {
    let key = key();
    let whole = String::from_utf8(signed(&key, DOCUMENT)).unwrap();
    for (old, new) in [
        ("\"length\":", "\"length\": "),
        ("{\"document_signature\":1,", "{\"document_signature\":2,"),
        ("{\"document_signature\":1,", "{\"document_signature\":1,\"more\":1,"),
        ("\"length\":", "\"length\":9007199254740993,\"l\":"),
    ] {
        assert!(whole.contains(old));
        let said = verify(whole.replacen(old, new, 1).as_bytes(), &key.public_key());
        assert!(matches!(said, Err(DocumentError::NotSigned)), "{new}: {said:?}");
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors/documents")
}

/// What is wrong, in a word.
fn told(said: &Result<DocumentSignature, DocumentError>) -> &'static str {
    match said {
        Ok(_) => "success",
        Err(DocumentError::NotSigned) => "not-signed",
        Err(DocumentError::OtherKey) => "other-key",
        Err(DocumentError::Changed) => "changed",
        Err(DocumentError::Signature) => "signature",
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_vectors_of_documents_verify_as_they_say() {
    let public_key = fs::read_to_string(directory().join("public_key")).unwrap();
    let digits = public_key.trim_end().as_bytes().chunks(2);
    let digits = digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
    let public_key: [u8; 32] = digits.collect::<Vec<_>>().try_into().unwrap();
    let cases = fs::read_to_string(directory().join("cases")).unwrap();
    for case in cases.lines() {
        let (name, expected) = case.split_once(": ").unwrap();
        let said = verify(&fs::read(directory().join(name)).unwrap(), &public_key);
        assert_eq!(told(&said), expected, "{name}");
    }
    assert_eq!(cases.lines().count(), 8);
}

/// Makes the vectors anew, with another key. Not a test:
/// `cargo test -p envelope-audit --test audit write_the_documents -- --ignored`.
#[test]
#[ignore = "writes vectors/documents"]
fn write_the_documents() {
    let key = key();
    let whole = signed(&key, DOCUMENT);
    let changed = [b"{\"envelope_destruction\":2}".as_slice(), &whole[26..]].concat();
    let text = String::from_utf8(whole.clone()).unwrap();
    let at = text.find("\"signature\":\"").unwrap() + 13;
    let mut signature = whole.clone();
    signature[at] = if signature[at] == b'0' { b'1' } else { b'0' };
    let documents: [(&str, Vec<u8>); 8] = [
        ("success", whole.clone()),
        ("changed", changed),
        (
            "line-removed",
            [b"{\"envelope_destruction\":1}\n".as_slice(), &whole[DOCUMENT.len() - 11..]].concat(),
        ),
        ("unsigned", DOCUMENT.to_vec()),
        ("cut", whole[..whole.len() - 1].to_vec()),
        ("other-key", signed(&self::key(), DOCUMENT)),
        ("signature", signature),
        (
            "version-true",
            text.replacen("\"document_signature\":1,", "\"document_signature\":true,", 1).into_bytes(),
        ),
    ];
    fs::create_dir_all(directory()).unwrap();
    let public_key = key.public_key();
    let hex: String = public_key.iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(directory().join("public_key"), format!("{hex}\n")).unwrap();
    let mut cases = String::new();
    for (name, bytes) in documents {
        fs::write(directory().join(name), &bytes).unwrap();
        cases += &format!("{name}: {}\n", told(&verify(&bytes, &public_key)));
    }
    fs::write(directory().join("cases"), cases).unwrap();
}
