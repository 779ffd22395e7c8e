//! Header and payload in two files.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

use std::{fs, io::Write, process::Stdio};

use crate::common::{Ran, Sandbox, bytes};

fn sealed() -> (Sandbox, Vec<u8>) {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main", "new"]);
    let plaintext = bytes(100_000);
    sandbox.write("in", &plaintext);
    sandbox.run(&["encrypt", "--detached", "-k", "local:main", "in"], 0);
    (sandbox, plaintext)
}

#[test]
fn a_detached_payload_comes_back_and_a_rewrap_does_not_touch_it() {
    let (sandbox, plaintext) = sealed();
    assert_eq!(sandbox.files(), ["in", "in.envelope", "in.sealed"]);
    let payload = sandbox.read("in.sealed");
    assert_eq!(payload.len(), 56 + 100_000 + 7 * 16);
    sandbox.run(&["rewrap", "-k", "local:new", "--from", "local:main", "in.envelope"], 0);
    assert_eq!(sandbox.read("in.sealed"), payload);
    sandbox.run(&["decrypt", "-k", "local:new", "in.envelope", "-o", "out"], 0);
    assert_eq!(sandbox.read("out"), plaintext);
    let inspected = sandbox.run(&["inspect", "--json", "in.envelope"], 0).json();
    assert_eq!(inspected["kind"], "detached");
    assert_eq!(sandbox.files(), ["in", "in.envelope", "in.sealed", "out"]);
}

#[test]
fn header_and_payload_may_be_anywhere() {
    let (sandbox, plaintext) = sealed();
    sandbox.run(&["encrypt", "--detached", "-k", "local:main", "in", "-o", "header"], 0);
    assert!(sandbox.file("header.sealed").exists());
    fs::rename(sandbox.file("header.sealed"), sandbox.file("payload")).unwrap();
    let decrypt = ["decrypt", "-k", "local:main", "header", "-o", "out"];
    sandbox.run(&decrypt, 3).says("header.sealed").says("--payload");
    sandbox.run(&[&decrypt[..], &["--payload", "payload"]].concat(), 0);
    assert_eq!(sandbox.read("out"), plaintext);
    let mut child = sandbox
        .envctl(&["decrypt", "-k", "local:main", "header", "--payload", "-", "-o", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let payload = sandbox.read("payload");
    let writer = std::thread::spawn(move || stdin.write_all(&payload));
    assert_eq!(Ran::of(child.wait_with_output().unwrap(), 0).stdout, plaintext);
    writer.join().unwrap().unwrap();
}

#[test]
fn another_payload_or_a_changed_one_opens_nothing_and_leaves_nothing() {
    let (sandbox, _) = sealed();
    sandbox.write("other", b"other");
    sandbox.run(&["encrypt", "--detached", "-k", "local:main", "other"], 0);
    let whole = sandbox.read("in.sealed");
    let decrypt = ["decrypt", "-k", "local:main", "in.envelope", "-o", "out"];
    sandbox.run(&[&decrypt[..], &["--payload", "other.sealed"]].concat(), 4);
    for changed in [&whole[..whole.len() - 1], &whole[..56 + 16_400], b"", &[&whole[..], b"x"].concat()] {
        sandbox.write("in.sealed", changed);
        sandbox.run(&decrypt, 4);
    }
    assert!(!sandbox.file("out").exists());
    assert!(!sandbox.files().iter().any(|name| name.starts_with('.')), "{:?}", sandbox.files());
}

#[test]
fn two_files_are_never_replaced() {
    let (sandbox, _) = sealed();
    let before = (sandbox.read("in.envelope"), sandbox.read("in.sealed"));
    let encrypt = ["encrypt", "--detached", "-k", "local:main", "in"];
    let said = sandbox.run(&encrypt, 3);
    said.says("in.envelope is there already").says("-o FILE writes elsewhere");
    assert!(!said.stderr.contains("--force"), "which --detached forbids: {}", said.stderr);
    fs::remove_file(sandbox.file("in.envelope")).unwrap();
    sandbox.run(&encrypt, 3).says("in.sealed is there already");
    assert_eq!(sandbox.read("in.sealed"), before.1);
    assert_eq!(sandbox.files(), ["in", "in.sealed"]);
    sandbox.run(&[&encrypt[..], &["--force"]].concat(), 2).says("--force");
}

#[test]
fn not_a_byte_may_follow_a_detached_header() {
    let (sandbox, _) = sealed();
    let header = sandbox.read("in.envelope");
    let armored = |bytes: &[u8]| envelope_sdk::format::armor::encode(bytes).into_bytes();
    let followed = [&header[..], &sandbox.read("in.sealed")].concat();
    for long in [[&header[..], b"\0"].concat(), followed.clone(), armored(&followed)] {
        sandbox.write("in.envelope", &long);
        let says = "the header is followed by more bytes";
        sandbox.run(&["decrypt", "-k", "local:main", "in.envelope", "-o", "out"], 4).says(says);
        sandbox.run(&["inspect", "in.envelope"], 4).says(says);
        sandbox.run(&["rewrap", "-k", "local:new", "--from", "local:main", "in.envelope"], 4).says(says);
        assert!(sandbox.read("in.envelope") == long);
        let mut command =
            sandbox.envctl(&["decrypt", "-k", "local:main", "--payload", "in.sealed", "-o", "out"]);
        let stdin = fs::File::open(sandbox.file("in.envelope")).unwrap();
        Ran::of(command.stdin(stdin).output().unwrap(), 4).says(says);
        assert_eq!(sandbox.files(), ["in", "in.envelope", "in.sealed"]);
    }
    sandbox.write("in.envelope", &armored(&header));
    sandbox.run(&["decrypt", "-k", "local:main", "in.envelope", "-o", "out"], 0);
}

#[test]
fn a_header_that_cannot_be_written_takes_its_payload_back() {
    let (sandbox, _) = sealed();
    for taken in ["out", "out.sealed"] {
        let mut command = sandbox.envctl(&["encrypt", "--detached", "-k", "local:main", "-o", "out"]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // More than the pipe and the first block hold: when this returns, both names were free.
        stdin.write_all(&bytes(4 << 20)).unwrap();
        sandbox.write(taken, b"theirs");
        drop(stdin);
        Ran::of(child.wait_with_output().unwrap(), 3).says("is there already");
        assert_eq!(sandbox.read(taken), b"theirs");
        assert_eq!(sandbox.files(), ["in", "in.envelope", "in.sealed", taken]);
        fs::remove_file(sandbox.file(taken)).unwrap();
    }
}

#[test]
fn what_has_no_name_is_asked_for() {
    let (sandbox, _) = sealed();
    sandbox.run(&["encrypt", "--detached", "-k", "local:main"], 2).says("two files");
    sandbox.run(&["encrypt", "--detached", "-k", "local:main", "in", "-o", "-"], 2).says("two files");
    let header = fs::File::open(sandbox.file("in.envelope")).unwrap();
    let ran = sandbox.envctl(&["decrypt", "-k", "local:main"]).stdin(header).output().unwrap();
    Ran::of(ran, 2).says("name it with --payload FILE");
    sandbox.write("whole", b"x");
    sandbox.run(&["encrypt", "-k", "local:main", "whole"], 0);
    let twice = ["decrypt", "-k", "local:main", "whole.envelope", "-o", "out", "--payload", "in.sealed"];
    sandbox.run(&twice, 2).says("leave --payload away");
}

#[test]
fn a_pair_whose_reencryption_was_cut_off_opens_by_its_journal_and_the_next_rotation_finishes_it() {
    let (sandbox, plaintext) = sealed();
    sandbox.run(&["encrypt", "--detached", "-k", "local:new", "in", "-o", "other"], 0);
    // The payload was replaced, and the header not yet.
    fs::rename(sandbox.file("other.sealed"), sandbox.file("in.sealed")).unwrap();
    fs::rename(sandbox.file("other"), sandbox.file("in.envelope.reencrypt-journal")).unwrap();
    let decrypt = ["decrypt", "-f", "-k", "local:new", "in.envelope", "-o", "out"];
    let before = sandbox.files();
    sandbox.run(&decrypt, 0);
    assert_eq!(sandbox.read("out"), plaintext);
    fs::remove_file(sandbox.file("out")).unwrap();
    // Who has only the key from before is told.
    let old = ["decrypt", "-k", "local:main", "in.envelope", "-o", "out"];
    sandbox.run(&old, 4).says("reencrypting it was cut off").says("envctl rotate");
    assert_eq!(sandbox.files(), before, "a reader writes nothing");
    // A payload of neither is not opened by the journal.
    let payload = sandbox.read("in.sealed");
    sandbox.run(&["encrypt", "--detached", "-k", "local:new", "in", "-o", "third"], 0);
    fs::rename(sandbox.file("third.sealed"), sandbox.file("in.sealed")).unwrap();
    sandbox.run(&["decrypt", "-k", "local:main", "-k", "local:new", "in.envelope", "-o", "out"], 4);
    fs::remove_file(sandbox.file("third")).unwrap();
    sandbox.write("in.sealed", &payload);
    let rotate = ["rotate", "in.envelope", "--to", "local:new", "--from", "local:main", "--reencrypt"];
    sandbox.run(&rotate, 0);
    sandbox.run(&decrypt, 0);
    assert_eq!(sandbox.read("out"), plaintext);
    assert_eq!(sandbox.files(), ["in", "in.envelope", "in.sealed", "out"]);
}

/// As a shell names all files of a folder. Given another header, it would be no journal any more, and nothing else opens the
/// payload.
#[test]
fn the_journal_of_a_pair_that_was_cut_off_is_no_envelope_of_its_own_whoever_names_it() {
    let (sandbox, plaintext) = sealed();
    sandbox.run(&["encrypt", "--detached", "-k", "local:new", "in", "-o", "other"], 0);
    // The payload was replaced, and the header not yet.
    let journal = "in.envelope.reencrypt-journal";
    fs::rename(sandbox.file("other.sealed"), sandbox.file("in.sealed")).unwrap();
    fs::rename(sandbox.file("other"), sandbox.file(journal)).unwrap();
    let before = sandbox.read(journal);
    let rewrap = ["rewrap", "-k", "local:main", "--from", "local:new", journal];
    sandbox.run(&rewrap, 2).says("belongs to an envelope beside it");
    let rotate = ["rotate", journal, "--to", "local:main", "--from", "local:new"];
    sandbox.run(&rotate, 2).says("belongs to the reencryption of an envelope beside it");
    assert_eq!(sandbox.read(journal), before);
    sandbox.run(&["decrypt", "-f", "-k", "local:new", "in.envelope", "-o", "out"], 0);
    assert_eq!(sandbox.read("out"), plaintext);
}
