//! What the page promises of single records and files.

use crate::{Anchor, LogKey, LogOptions, Record, head::Head, text, writer::Writer};
use crate::{Entry, Outcome, chain, record, tests::memory_disk::MemoryDisk};

#[test]
fn a_record_is_spelled_in_one_way_and_every_other_way_is_refused() {
    let line = line(&full());
    let text = std::str::from_utf8(&line).unwrap();
    Record::parse(text.as_bytes()).unwrap();
    let other = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        let changed = text.replacen(from, to, 1);
        assert!(Record::parse(changed.as_bytes()).is_err(), "{changed}");
    };
    other("{", "{ ");
    other(",\"v\":1", "");
    other("\"v\":1", "\"v\":2");
    other("\"v\":1", "\"v\":1,\"v\":1");
    other("\"v\":1", "\"v\":1,\"w\":1");
    other("\"v\":1", "\"v\":1.0");
    other("\"seq\":5", "\"seq\":05");
    other("\"seq\":5", "\"seq\":0");
    other("\"seq\":5", "\"seq\":9007199254740992");
    other("\"generation\":3", "\"generation\":4294967296");
    other("\"error\":\"state\"", "\"error\":null");
    other("\"error\":\"state\"", "\"error\":\"St\"");
    other("\"error\":\"state\"", "\"error\":\"st\\u0061te\"");
    other("\"outcome\":\"failed\"", "\"outcome\":\"fine\"");
    other("1970-01-01T00:00:06.000Z", "1970-01-01T00:00:06Z");
    other("1970-01-01T00:00:06.000Z", "1970-01-01T00:00:60.000Z");
    other("\\u001b", "\\u001B");
    other("\\n", "\\u000a");
    other("[[\"a\",\"1\"],[\"b\",\"2\"]]", "[[\"b\",\"2\"],[\"a\",\"1\"]]");
    other("[[\"a\",\"1\"],[\"b\",\"2\"]]", "[[\"a\",\"1\"],[\"a\",\"2\"]]");
    other("[[\"a\",\"1\"],[\"b\",\"2\"]]", "[]");
    other("\"actor\":\"test\"", "\"actor\":\"\"");
    for cut in 0..text.len() {
        assert!(Record::parse(&text.as_bytes()[..cut]).is_err());
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
    let refused = |change: &dyn Fn(&mut Entry)| {
        let mut entry = full();
        change(&mut entry);
        let mut lines = b"before".to_vec();
        assert!(record::seal(&mut lines, &entry, "test", at(), &key).is_err());
        assert_eq!(lines, b"before");
    };
    refused(&|entry| entry.operation = "Decrypt".into());
    refused(&|entry| entry.operation = "".into());
    refused(&|entry| entry.error = Some("no blanks".into()));
    refused(&|entry| entry.key = Some(String::new()));
    refused(&|entry| entry.key = Some("k".repeat(2049)));
    refused(&|entry| entry.request = Some("r".repeat(129)));
    refused(&|entry| {
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
            assert!(Head::parse(&changed, Some(&key)).is_err(), "byte {place}, bit {bit}");
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
        let parsed = std::str::from_utf8(&changed).ok().and_then(|line| Anchor::parse(line).ok());
        assert!(parsed.is_none(), "byte {place}");
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
