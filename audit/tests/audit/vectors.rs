//! The logs of `vectors/audit`, which the Python reader verifies too.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use envelope_audit::{Anchor, Entry, KeyFile, Log, Outcome, Verified, Verifier, VerifyError};
use envelope_local::{Passphrase, PassphraseProvider};
use envelope_sdk::{Envelope, KeyUri, Keyring};
use futures_executor::block_on;

use crate::common::{found, lines, options};

#[test]
fn each_vector_is_found_to_be_what_its_case_says() {
    let mut count = 0;
    let keys = keys();
    for folder in
        fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir())
    {
        let case = case(&folder);
        let path = folder.join("log");
        let file = KeyFile::parse(&fs::read(folder.join("log.key")).unwrap()).unwrap();
        let anchored = |verifier: Verifier| match case.get("anchor") {
            Some(anchor) => verifier.anchor(Anchor::parse(anchor).unwrap()),
            None => verifier,
        };
        let secret = anchored(Verifier::with_key(block_on(file.open(&keys)).unwrap())).verify(&path);
        let public = anchored(Verifier::with_public_key(&file, *file.public_key())).verify(&path);
        assert_eq!(told(secret), case["expect"], "{}", folder.display());
        assert_eq!(told(public), case["without-secret"], "{}", folder.display());
        count += 1;
    }
    assert!(count >= 30, "{count}");
}

/// Makes the vectors anew, with another secret. Not a test.
#[test]
#[ignore = "writes vectors/audit"]
fn write_the_vectors() {
    let whole = whole();
    let put = |name: &str, comment: &str, anchor: Option<&str>, change: &dyn Fn(&mut Files)| {
        let folder = directory().join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let mut files = whole.files.clone();
        change(&mut files);
        for (name, bytes) in &files {
            fs::write(folder.join(name), bytes).unwrap();
        }
        let file = KeyFile::parse(&files["log.key"]).unwrap();
        let anchored = |verifier: Verifier| match anchor {
            Some(anchor) => verifier.anchor(Anchor::parse(anchor).unwrap()),
            None => verifier,
        };
        let path = folder.join("log");
        let secret = anchored(Verifier::with_key(block_on(file.open(&keys())).unwrap())).verify(&path);
        let public = anchored(Verifier::with_public_key(&file, *file.public_key())).verify(&path);
        let mut case = format!("comment: {comment}\npassphrase: correct horse\n");
        case += &format!("expect: {}\nwithout-secret: {}\n", told(secret), told(public));
        if let Some(anchor) = anchor {
            case += &format!("anchor: {anchor}\n");
        }
        fs::write(folder.join("case"), case).unwrap();
    };
    let edit = |files: &mut Files, name: &str, change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut lines = split(&files[name]);
        change(&mut lines);
        files.insert(name.into(), lines.concat());
    };
    let replace = |from: &'static str, to: &'static str, line: usize| {
        move |files: &mut Files| {
            edit(files, "log", &|lines| {
                let text = String::from_utf8(lines[line - 1].clone()).unwrap();
                assert!(text.contains(from), "{from} in {text}");
                lines[line - 1] = text.replacen(from, to, 1).into_bytes();
            });
        }
    };
    put("success", "Three segments, a checkpoint, a clock that was set back.", None, &|_| ());
    put("success-anchor", "An anchor of a record in the middle.", Some(&whole.anchor), &|_| ());
    put("success-behind-head", "Two records behind the head.", None, &|files| {
        files.insert("log.head".into(), whole.earlier_head.clone());
    });
    put("success-remains", "A line that a crash cut off.", None, &|files| {
        files.get_mut("log").unwrap().extend_from_slice(b"{\"actor\":\"te");
    });
    put("success-remains-zeros", "A hole that a loss of power left.", None, &|files| {
        files.get_mut("log").unwrap().extend_from_slice(b"\0\0\0\0\"v\":1}\n");
    });
    put("success-between-segments", "A segment was closed, and the next one not made.", None, &|files| {
        files.remove("log");
        files.insert("log.head".into(), whole.between_head.clone());
    });
    put("success-pruned", "The first segment was pruned.", None, &|files| *files = whole.pruned.clone());
    put("outcome-changed", "A failure made a success.", None, &replace("failed", "ok", 3));
    put("key-changed", "Another key.", None, &replace("memory:key-6", "memory:key-7", 2));
    put("prev-changed", "The hash of the record before.", None, &|files| {
        edit(files, "log", &|lines| flip(&mut lines[2], b"\"prev\":\""));
    });
    put("mac-changed", "The MAC.", None, &|files| {
        edit(files, "log", &|lines| flip(&mut lines[2], b"\"mac\":\""))
    });
    put("seq-raised", "Another position.", None, &replace("\"seq\":", "\"seq\":1", 2));
    put("time-changed", "Another time.", None, &replace("1970-", "1971-", 2));
    put(
        "clock-removed",
        "A clock that was set back unseen.",
        None,
        &replace("\"clock\":\"set-back\",", "", 3),
    );
    put("blank-added", "A blank.", None, &replace("{\"actor\"", "{ \"actor\"", 2));
    put("escape-other", "A character that needs no escape.", None, &replace("\"test\"", "\"te\\u0073t\"", 2));
    put("member-unknown", "A member that no record has.", None, &replace("\"v\":1", "\"v\":1,\"w\":1", 2));
    put(
        "member-null",
        "A member that is null.",
        None,
        &replace(",\"mac\"", ",\"key_version\":null,\"mac\"", 2),
    );
    put(
        "members-moved",
        "Another order.",
        None,
        &replace(
            "\"operation\":\"unwrap_dek\",\"outcome\":\"ok\"",
            "\"outcome\":\"ok\",\"operation\":\"unwrap_dek\"",
            2,
        ),
    );
    put("version-2", "Another version.", None, &replace("\"v\":1", "\"v\":2", 2));
    put("carriage-return", "A line that ends with CR LF.", None, &replace("}\n", "}\r\n", 2));
    put("removed", "A record was removed.", None, &|files| {
        edit(files, "log", &|lines| drop(lines.remove(2)))
    });
    put("removed-first-of-segment", "The first of a segment.", None, &|files| {
        edit(files, "log", &|lines| drop(lines.remove(0)));
    });
    put("removed-last-of-closed", "The last of a closed segment.", None, &|files| {
        edit(files, "log.00000001", &|lines| drop(lines.pop()));
    });
    put("doubled", "A record twice.", None, &|files| {
        edit(files, "log", &|lines| lines.insert(2, lines[1].clone()))
    });
    put("reordered", "Two records exchanged.", None, &|files| edit(files, "log", &|lines| lines.swap(1, 2)));
    put("cut-record", "The last record was cut off.", None, &|files| {
        edit(files, "log", &|lines| drop(lines.pop()))
    });
    put("cut-byte", "The last byte was cut off.", None, &|files| {
        files.get_mut("log").unwrap().pop();
    });
    put("emptied", "The current segment was emptied.", None, &|files| {
        drop(files.insert("log".into(), Vec::new()))
    });
    put("added", "A line behind the head that is no record.", None, &|files| {
        files.get_mut("log").unwrap().extend_from_slice(b"{}\n");
    });
    put("doubled-last", "The last record once more.", None, &|files| {
        edit(files, "log", &|lines| lines.push(lines.last().unwrap().clone()));
    });
    put("log-missing", "The current segment is gone.", None, &|files| drop(files.remove("log")));
    put("head-missing", "The head is gone.", None, &|files| drop(files.remove("log.head")));
    put("segment-missing", "A closed segment is gone.", None, &|files| drop(files.remove("log.00000002")));
    put("first-segment-missing", "The first segment is gone.", None, &|files| {
        drop(files.remove("log.00000001"))
    });
    put("segments-exchanged", "Two closed segments exchanged.", None, &|files| {
        let [one, two] = ["log.00000001", "log.00000002"].map(|name| files[name].clone());
        files.insert("log.00000001".into(), two);
        files.insert("log.00000002".into(), one);
    });
    put("head-mac", "The MAC of the head.", None, &|files| {
        flip(files.get_mut("log.head").unwrap(), b"\"mac\":\"")
    });
    put("head-hash", "The hash of the head.", None, &|files| {
        flip(files.get_mut("log.head").unwrap(), b"\"hash\":\"")
    });
    put("head-short", "A byte less.", None, &|files| {
        files.get_mut("log.head").unwrap().pop();
    });
    put("signature", "The signature of a checkpoint.", None, &|files| {
        edit(files, "log.00000002", &|lines| {
            let line =
                lines.iter_mut().find(|line| line.windows(14).any(|part| part == b"log-checkpoint")).unwrap();
            flip(line, b"\"signature\",\"");
        });
    });
    put("older-copy", "Log and head as they were before the anchor.", Some(&whole.anchor), &|files| {
        *files = whole.older.clone();
    });
    put("older-copy-without-anchor", "The same: nothing in the folder can tell.", None, &|files| {
        *files = whole.older.clone();
    });
    put("pruned-beginning", "The first segment that a prune left is gone.", None, &|files| {
        *files = whole.pruned.clone();
        files.remove("log.00000002");
    });
}

type Files = BTreeMap<String, Vec<u8>>;

/// A log in some moments of its life.
struct Whole {
    files: Files,
    earlier_head: Vec<u8>,
    between_head: Vec<u8>,
    older: Files,
    pruned: Files,
    anchor: String,
}

fn whole() -> Whole {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("log");
    let now = Arc::new(std::sync::atomic::AtomicU64::new(1_000));
    let clock = Arc::clone(&now);
    let plain =
        options().show_value("tenant").clock(move || clock.load(std::sync::atomic::Ordering::Relaxed));
    let at = |time| now.store(time, std::sync::atomic::Ordering::Relaxed);
    let write = |log: &Log, number: u64| assert!(log.append_blocking(entry(number)).is_ok());
    let log = block_on(Log::create(&path, &keys(), plain.clone())).unwrap();
    (1..=3).for_each(|number| write(&log, number));
    drop(log);
    let older = files(place.path());
    // One byte is full already: the next record begins another segment.
    let rotating = |from: u64| {
        let log = block_on(Log::open(&path, &keys(), plain.clone().segment_bytes(1))).unwrap();
        write(&log, from);
        drop(log);
        block_on(Log::open(&path, &keys(), plain.clone())).unwrap()
    };
    at(2_000);
    let log = rotating(4);
    let anchor = block_on(log.checkpoint()).unwrap().to_string();
    write(&log, 5);
    drop(log);
    let between_head = fs::read(place.path().join("log.head")).unwrap();
    at(3_000);
    let log = rotating(6);
    let earlier_head = fs::read(place.path().join("log.head")).unwrap();
    at(2_500);
    write(&log, 7);
    at(4_000);
    write(&log, 8);
    drop(log);
    let all = files(place.path());
    let log = block_on(Log::open(&path, &keys(), plain)).unwrap();
    block_on(log.prune(6)).unwrap();
    drop(log);
    Whole { files: all, earlier_head, between_head, older, pruned: files(place.path()), anchor }
}

fn entry(number: u64) -> Entry {
    let outcome = if number == 7 { Outcome::Failed } else { Outcome::Ok };
    let mut entry = Entry::new("unwrap_dek", outcome).with_detail("note", "a \"quoted\" word\u{1b}\n");
    entry.key = Some(format!("memory:key-{number}"));
    entry.provider = Some("memory".into());
    entry.context.insert("tenant".into(), "grün".into());
    entry.envelope = Some([u8::try_from(number).unwrap(); 16]);
    entry
}

fn told(result: Result<Verified, VerifyError>) -> String {
    match result {
        Ok(verified) => format!(
            "success records {} to {}, signed to {}, {} behind the head, {} bytes of remains",
            verified.first,
            verified.last,
            verified.signed.unwrap_or(0),
            verified.behind_head,
            verified.remains
        ),
        Err(error) => {
            let (file, line, fault) = found(Err(error)).unwrap();
            format!("{} at {file} line {line}", fault.class())
        }
    }
}

fn files(folder: &Path) -> Files {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name() != "log.lock")
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect()
}

fn flip(line: &mut [u8], after: &[u8]) {
    let at = line.windows(after.len()).position(|part| part == after).unwrap() + after.len();
    line[at] = if line[at] == b'0' { b'1' } else { b'0' };
}

fn split(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect()
}

fn case(folder: &Path) -> BTreeMap<String, String> {
    lines(&folder.join("case"))
        .into_iter()
        .map(|line| {
            let line = String::from_utf8(line).unwrap();
            let (name, value) = line.trim_end().split_once(": ").unwrap();
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

fn keys() -> Envelope {
    let passphrase = Passphrase::new("correct horse".into()).unwrap();
    let params = envelope_local::Argon2Params { m_cost: 19456, t_cost: 1, p_cost: 1 };
    let provider = Arc::new(PassphraseProvider::with_params(passphrase, params).unwrap());
    Envelope::new(Keyring::new().both(provider, KeyUri::passphrase()))
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors/audit")
}
