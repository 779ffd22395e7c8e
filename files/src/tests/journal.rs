//! The form of a journal, and what it is believed for.

use envelope_sdk::Header;

use super::{Keys, unlock};
use crate::Journal;

const HEADER: usize = 512;

fn rewrapped(keys: &Keys) -> (Vec<u8>, Vec<u8>) {
    let old = keys.encrypt(0);
    let header = Header::parse(&old).unwrap().0;
    let new = keys.rewrap(&header, &[0], 1).unwrap().to_bytes();
    (old.clone(), [&new, &old[HEADER..]].concat())
}

fn header(bytes: &[u8]) -> Header {
    Header::parse(bytes).unwrap().0
}

#[test]
fn a_journal_comes_back_whole_and_never_from_other_bytes() {
    let keys = Keys::new();
    let (old, new) = rewrapped(&keys);
    let journal = Journal::new(header(&old), header(&new)).unwrap();
    let bytes = journal.to_bytes();
    assert!(bytes.len() <= Journal::MAX_LEN);
    assert!(bytes.len() < 2 * HEADER, "padding is left out");
    assert_eq!(Journal::parse(&bytes).as_ref(), Some(&journal));
    for len in 0..bytes.len() {
        assert_eq!(Journal::parse(&bytes[..len]), None, "{len} bytes");
    }
    assert_eq!(Journal::parse(&[&bytes[..], b"\0"].concat()), None);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert_eq!(Journal::parse(&changed), None, "byte {at}");
    }
}

#[test]
fn a_journal_holds_two_generations_of_one_envelope_and_one_length_alone() {
    let keys = Keys::new();
    let (old, new) = rewrapped(&keys);
    assert!(Journal::new(header(&new), header(&old)).is_none(), "backwards");
    assert!(Journal::new(header(&old), header(&old)).is_none(), "no step");
    assert!(Journal::new(header(&keys.encrypt(0)), header(&new)).is_none(), "another envelope");
    let unpadded = keys.rewrapper(&[0], 1).pad_headers_to(2048);
    let context = envelope_sdk::EncryptionContext::new().with("a", "b".repeat(900));
    let long = futures_executor::block_on(unpadded.encrypt(b"", &context)).unwrap();
    assert!(Journal::new(header(&old), header(&long)).is_none(), "another length");
}

#[test]
fn only_a_header_that_is_neither_old_nor_new_and_made_of_both_is_torn() {
    let keys = Keys::new();
    let (old, new) = rewrapped(&keys);
    let journal = Journal::new(header(&old), header(&new)).unwrap();
    let envelope = keys.opener(1);
    let opens = |file: &Vec<u8>| journal.open(file, unlock(&envelope)).is_some();
    assert!(!opens(&old) && !opens(&new));
    let torn = [&new[..300], &old[300..]].concat();
    assert!(opens(&torn));
    let zeros = [&new[..100], &[0; 200], &old[300..]].concat();
    assert!(opens(&zeros));
    let mut garbage = torn.clone();
    garbage[40] = !garbage[40] | 1;
    assert!(!journal.is_torn(&garbage[..HEADER]) && !opens(&garbage));
    // Without the payload of this envelope it is the journal of another file.
    let other = [&torn[..HEADER], &keys.encrypt(0)[HEADER..]].concat();
    assert!(!opens(&other));
    assert!(!opens(&torn[..HEADER].to_vec()) && !opens(&torn[..100].to_vec()));
    // The old key is all there may be: the rewrap never came to its end. No other key opens.
    let by_old = journal.open(&torn, unlock(&keys.opener(0))).unwrap();
    assert_eq!(by_old.header(), journal.old());
    assert!(journal.open(&torn, unlock(&keys.opener(2))).is_none());
}

/// The old header of a journal is an attacker's word too: one that was bent so that a whole
/// header in the file looks torn.
#[test]
fn a_journal_whose_old_header_was_made_up_is_not_believed() {
    let keys = Keys::new();
    let (old, new) = rewrapped(&keys);
    let next = keys.rewrap(&header(&new), &[1], 2).unwrap().to_bytes();
    let whole = [&next, &old[HEADER..]].concat();
    // All of the file's own bytes but the generation, which must be one less, and a byte of
    // the MAC, so that they differ.
    let mut bent = next.clone();
    bent[32..36].copy_from_slice(&0_u32.to_be_bytes());
    bent[HEADER - 1] ^= 1;
    let journal = Journal::new(header(&bent), header(&new)).unwrap();
    assert!(journal.open(&whole, unlock(&keys.opener(1))).is_none());
    assert!(journal.open(&whole, unlock(&keys.opener(2))).is_none());
    // Nor for a damaged header, to which it was made to fit.
    let mut damaged = [&bent, &old[HEADER..]].concat();
    bent[HEADER - 1] |= 2;
    damaged[HEADER - 1] = 0;
    let journal = Journal::new(header(&bent), header(&new)).unwrap();
    assert!(journal.is_torn(&damaged[..HEADER]));
    assert!(journal.open(&damaged, unlock(&keys.opener(1))).is_none());
}

#[test]
fn names_of_journals_fit_and_differ() {
    let name = |name: &str| Journal::name_of(name.as_ref()).into_string().unwrap();
    assert_eq!(name("f"), "f.rewrap-journal");
    assert_eq!(name(&"n".repeat(240)).len(), 255);
    let (one, two) = (name(&"n".repeat(254)), name(&"n".repeat(255)));
    assert_ne!(one, two);
    for long in [one, two, name(&"ü".repeat(127)), name(&format!("x{}", "ü".repeat(127)))] {
        assert!((240..=255).contains(&long.len()), "{}: {long}", long.len());
        assert!(long.ends_with(".rewrap-journal"));
    }
}

/// Whatever changes these bytes is another version of the form.
#[test]
fn a_journal_has_the_bytes_that_its_version_says() {
    let vector = include_str!("../../../vectors/rewrap/context.vec");
    let (_, body) = vector.split_once("\n\n").unwrap();
    let (old, new) = body.split_once("\n\n").unwrap();
    let [old, new] = [old, new].map(|text| header(&base64(text)));
    let bytes = Journal::new(old.clone(), new.clone()).unwrap().to_bytes();
    let mut expected = b"\x89ENJ\r\n\x1a\x02".to_vec();
    let number = |bytes: usize| u32::try_from(bytes).unwrap().to_be_bytes();
    expected.extend(number(old.len()));
    for header in [&old, &new] {
        let header = header.to_bytes();
        let (front, mac) = header.split_last_chunk::<32>().unwrap();
        assert_ne!(front.last(), Some(&0), "there is no padding");
        expected.extend(number(front.len()));
        expected.extend(front);
        expected.extend(mac);
    }
    let (body, checksum) = bytes.split_last_chunk::<32>().unwrap();
    assert_eq!(body, expected);
    let checksum: String = checksum.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(checksum, "aa2f6196f83a4fd99bdb15dd954873e0fdabe584dad7e7284b19bb4097ece561");
}

#[test]
fn a_journal_of_another_version_is_told_from_what_is_none() {
    let keys = Keys::new();
    let (old, new) = rewrapped(&keys);
    let own = Journal::new(header(&old), header(&new)).unwrap().to_bytes();
    let mut other = own.clone();
    other[7] = 1;
    for (bytes, is_other) in [(&own[..], false), (&other[..], true), (&other[..7], false), (b"hello", false)]
    {
        assert_eq!(Journal::is_of_other_version(bytes), is_other);
    }
    assert_eq!(Journal::parse(&other), None);
}

fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.bytes().filter_map(|byte| DIGITS.iter().position(|digit| *digit == byte));
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_usize, 0);
    for digit in digits {
        (bits, count) = (bits << 6 | digit, count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).unwrap());
        }
    }
    bytes
}
