//! What the page promises of single records and files.

use crate::{Anchor, AnchorError, LogKey, LogOptions, Record, head::Head, text, writer::Writer};
use crate::{Entry, Outcome, chain, record, tests::memory_disk::MemoryDisk};

#[test]
fn a_record_is_spelled_in_one_way_and_every_other_way_is_refused() {
    let line = line(&full());
    let text = std::str::from_utf8(&line).unwrap();
    Record::parse(text.as_bytes()).unwrap();
    let other = |from: &str, to: &str, what: &str| {
        assert!(text.contains(from), "{from}");
        let changed = text.replacen(from, to, 1);
        assert_eq!(Record::parse(changed.as_bytes()).unwrap_err().0, what, "{changed}");
    };
    const FORM: &str = "not in canonical form";
    const JSON: &str = "not the JSON of a record";
    other("{", "{ ", FORM);
    other(",\"v\":1", "", JSON);
    other("\"v\":1", "\"v\":2", "another version");
    other("\"v\":1", "\"v\":1,\"v\":1", JSON);
    other("\"v\":1", "\"v\":1,\"w\":1", JSON);
    other("\"v\":1", "\"v\":1.0", JSON);
    other("\"seq\":5", "\"seq\":05", JSON);
    other("\"seq\":5", "\"seq\":0", "seq");
    other("\"seq\":5", "\"seq\":9007199254740992", "seq");
    other("\"generation\":3", "\"generation\":4294967296", JSON);
    other("\"error\":\"state\"", "\"error\":null", FORM);
    other("\"error\":\"state\"", "\"error\":\"St\"", "error");
    other("\"error\":\"state\"", "\"error\":\"st\\u0061te\"", FORM);
    other("\"outcome\":\"failed\"", "\"outcome\":\"fine\"", "outcome");
    other("1970-01-01T00:00:06.000Z", "1970-01-01T00:00:06Z", "time");
    other("1970-01-01T00:00:06.000Z", "1970-01-01T00:00:60.000Z", "time");
    other("\\u001b", "\\u001B", FORM);
    other("\\n", "\\u000a", FORM);
    other("[[\"a\",\"1\"],[\"b\",\"2\"]]", "[[\"b\",\"2\"],[\"a\",\"1\"]]", "detail");
    other("[[\"a\",\"1\"],[\"b\",\"2\"]]", "[[\"a\",\"1\"],[\"a\",\"2\"]]", "detail");
    other("[[\"a\",\"1\"],[\"b\",\"2\"]]", "[]", FORM);
    other("\"actor\":\"test\"", "\"actor\":\"\"", "actor");
    for cut in 0..text.len() {
        assert_eq!(Record::parse(&text.as_bytes()[..cut]).unwrap_err().0, JSON);
    }
}

#[test]
fn no_value_of_an_entry_can_be_taken_for_another_member() {
    let mut entry = full();
    entry.rule = Some("a\",\"mac\":\"0".into());
    entry.detail.insert(",\"mac\":\"".into(), "\u{0},\"seq\":9".into());
    let line = line(&entry);
    let record = Record::parse(&line).unwrap();
    assert_eq!((record.seq, record.entry.rule), (5, entry.rule));
    let (before, after) = chain::split(&line).unwrap();
    let body = [before, after].concat();
    let with_mac: serde_json::Value = serde_json::from_slice(&line).unwrap();
    let mut without: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert!(without.get("mac").is_none());
    without["mac"] = with_mac["mac"].clone();
    assert_eq!(without, with_mac);
}

#[test]
fn what_no_record_may_have_is_not_written() {
    let key = key();
    let refused = |what: &str, change: &dyn Fn(&mut Entry)| {
        let mut entry = full();
        change(&mut entry);
        let mut lines = b"before".to_vec();
        let refused = record::seal(&mut lines, &entry, "test", at(), &key).unwrap_err();
        assert_eq!(refused.0, what);
        assert_eq!(lines, b"before");
    };
    refused("operation", &|entry| entry.operation = "Decrypt".into());
    refused("operation", &|entry| entry.operation = "".into());
    refused("error", &|entry| entry.error = Some("no blanks".into()));
    refused("key", &|entry| entry.key = Some(String::new()));
    refused("key", &|entry| entry.key = Some("k".repeat(2049)));
    refused("request", &|entry| entry.request = Some("r".repeat(129)));
    refused("longer than 65536 bytes", &|entry| {
        entry.detail.insert("long".into(), "x".repeat(65_536));
    });
}

#[test]
fn a_head_of_any_other_byte_is_refused() {
    let key = key();
    let (_, bytes) = Writer::<MemoryDisk>::first_record(&key, &LogOptions::new("test")).unwrap();
    assert_eq!(bytes.len(), 512);
    Head::parse(&bytes, Some(&key)).unwrap();
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[place] ^= 1 << bit;
            let refused = Head::parse(&changed, Some(&key)).unwrap_err();
            let known = ["it is not in its one form", "its MAC is wrong"];
            assert!(known.contains(&refused), "byte {place}, bit {bit}: {refused}");
        }
    }
    let full = Head { log: [255; 16], first: MOST, seq: MOST, hash: [255; 32], segment: MOST, length: MOST };
    assert_eq!(Head::parse(&full.to_bytes(&key), None).unwrap(), full);
}

#[test]
fn an_anchor_of_any_other_byte_is_refused() {
    let anchor = Anchor::new(&key(), 17, [3; 32]);
    let line = anchor.to_string();
    assert_eq!(Anchor::parse(&line).unwrap(), anchor);
    assert_eq!(Anchor::parse(&format!("{line}\n")).unwrap(), anchor);
    for place in 0..line.len() {
        let mut changed = line.clone().into_bytes();
        changed[place] ^= 1;
        let refused = Anchor::parse(std::str::from_utf8(&changed).unwrap()).unwrap_err();
        // What is written in another way, or another text that nobody signed.
        let is_hex = line.as_bytes()[place].is_ascii_hexdigit() && changed[place].is_ascii_hexdigit();
        assert!(is_hex || refused == AnchorError::Form, "byte {place}: {refused}");
        assert!(refused == AnchorError::Form || refused == AnchorError::Signature);
    }
}

#[test]
fn times_are_spelled_in_one_way() {
    for milliseconds in [0, 1, 1_767_225_600_123, 253_402_300_799_999] {
        assert_eq!(text::untime(&text::time(milliseconds)), Some(milliseconds));
    }
    for other in [
        "1970-01-01T00:00:60.000Z",
        "1970-01-01T00:00:00.00 Z",
        "1970-01-01T00:00:00.000z",
        "1970-02-30T00:00:00.000Z",
        "1969-12-31T23:59:59.999Z",
        "1970-01-01T00:00:00,000Z",
        "1970-01-01T00:00:00Z",
        "1970-01-01 00:00:00.000Z",
        "1970-01-01T00:00:00.0000Z",
        "",
    ] {
        assert_eq!(text::untime(other), None);
    }
}

fn full() -> Entry {
    let mut entry = Entry::new("unwrap_dek", Outcome::Failed).with_detail("a", "1").with_detail("b", "2");
    entry.provider = Some("aws".into());
    entry.key = Some("aws-kms://arn:aws:kms:eu-central-1:111122223333:key/1234abcd".into());
    entry.key_version = Some("1".into());
    entry.envelope = Some([0xab; 16]);
    entry.generation = Some(3);
    entry.error = Some("state".into());
    entry.request = Some("7f\u{1b}\n3a".into());
    entry.context.insert("tenant".into(), "42".into());
    entry
}

fn line(entry: &Entry) -> Vec<u8> {
    let mut line = Vec::new();
    record::seal(&mut line, entry, "test", at(), &key()).unwrap();
    assert_eq!(line.pop(), Some(b'\n'));
    line
}

fn at() -> record::Position {
    record::Position { seq: 5, prev: [1; 32], time: 6000, clock_set_back: false }
}

fn key() -> LogKey {
    LogKey::from_secrets([7; 16], &[9; 64]).unwrap()
}

const MOST: u64 = (1 << 53) - 1;
