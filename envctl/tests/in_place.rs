//! A rewrap of a binary envelope writes the header in place, and survives being
//! cut off at any byte of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

mod common;

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink},
    process::Stdio,
    time::Instant,
};

use common::{Sandbox, bytes, mode};

const HEADER: usize = 4096;
const JOURNAL: &str = "in.envelope.rewrap-journal";
const REWRAP: [&str; 6] = ["rewrap", "-k", "local:new", "--from", "local:old", "in.envelope"];
const DECRYPT: [&str; 7] = ["decrypt", "-k", "local:new", "-k", "local:old", "in.envelope", "-fo"];

/// A folder with `in.envelope` for `local:old`, and what it holds.
fn sealed() -> (Sandbox, Vec<u8>) {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["old", "new", "more"]);
    let plaintext = bytes(50_000);
    sandbox.write("in", &plaintext);
    sandbox.run(&["encrypt", "-k", "local:old", "in", "--rm"], 0);
    (sandbox, plaintext)
}

fn decrypt(sandbox: &Sandbox, code: i32) -> common::Ran {
    sandbox.run(&[&DECRYPT[..], &["out"]].concat(), code)
}

/// The file before and after a rewrap. The file is as before again.
fn before_and_after(sandbox: &Sandbox) -> (Vec<u8>, Vec<u8>) {
    let before = sandbox.read("in.envelope");
    sandbox.run(&REWRAP, 0);
    let after = sandbox.read("in.envelope");
    sandbox.write("in.envelope", &before);
    (before, after)
}

#[test]
fn an_attached_header_is_padded_to_4_kib_and_rewrapped_in_place() {
    let (sandbox, plaintext) = sealed();
    let before = sandbox.read("in.envelope");
    assert_eq!(before.len(), HEADER + 56 + 50_000 + 4 * 16);
    fs::set_permissions(sandbox.file("in.envelope"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::hard_link(sandbox.file("in.envelope"), sandbox.file("link")).unwrap();
    let inode = fs::metadata(sandbox.file("in.envelope")).unwrap().ino();
    sandbox.run(&REWRAP, 0).says("generation 1");
    let after = sandbox.read("in.envelope");
    assert_eq!(fs::metadata(sandbox.file("in.envelope")).unwrap().ino(), inode);
    assert_eq!(mode(&sandbox.file("in.envelope")), 0o640);
    assert_ne!(after[..HEADER], before[..HEADER]);
    assert_eq!(after[HEADER..], before[HEADER..]);
    assert_eq!(sandbox.files(), ["in.envelope", "link"]);
    sandbox.run(&["decrypt", "-k", "local:new", "link", "-o", "out"], 0);
    assert_eq!(sandbox.read("out"), plaintext);
    sandbox.run(&["decrypt", "-k", "local:old", "link", "-o", "out2"], 4).says("no configured key");
}

#[test]
fn a_header_that_grew_beyond_its_padding_moves_the_file() {
    let (sandbox, plaintext) = sealed();
    let padding = format!("long={}", "x".repeat(3_800));
    sandbox.write("in", &plaintext);
    sandbox.run(&["encrypt", "-f", "-k", "local:old", "-c", &padding, "in"], 0);
    let before = sandbox.read("in.envelope");
    let more = ["-k", "local:new", "-k", "local:old", "-k", "local:more"];
    sandbox.run(&[&["rewrap", "in.envelope"][..], &more].concat(), 0);
    let after = sandbox.read("in.envelope");
    assert_eq!(after.len(), before.len() + HEADER);
    assert_eq!(after[2 * HEADER..], before[HEADER..]);
    decrypt(&sandbox, 0);
    assert_eq!(sandbox.read("out"), plaintext);
    assert_eq!(sandbox.files(), ["in", "in.envelope", "out"]);
}

#[test]
fn a_header_written_half_is_finished_by_decrypt_from_the_journal() {
    let (sandbox, plaintext) = sealed();
    let (before, after) = before_and_after(&sandbox);
    let differs = |at: &usize| before[*at] != after[*at];
    let (first, last) = ((0..HEADER).find(differs).unwrap(), (0..HEADER).rfind(differs).unwrap());
    // Cut at the first and last byte that differs, and at disk sectors.
    for cut in [first + 1, first + 40, last, 512, 1024, 2048, 4095] {
        let torn = [&after[..cut], &before[cut..]].concat();
        sandbox.write("in.envelope", &torn);
        sandbox.write(JOURNAL, &after[..HEADER]);
        decrypt(&sandbox, 0);
        assert_eq!(sandbox.read("out"), plaintext, "cut at {cut}");
        assert!(sandbox.read("in.envelope") == after, "cut at {cut}: the job is finished");
        assert_eq!(sandbox.files(), ["in.envelope", "out"], "cut at {cut}");
    }
}

#[test]
fn a_header_written_half_is_finished_by_rewrap_from_the_journal() {
    let (sandbox, plaintext) = sealed();
    let (before, after) = before_and_after(&sandbox);
    let torn = [&after[..300], &before[300..]].concat();
    sandbox.write("in.envelope", &torn);
    sandbox.write(JOURNAL, &after[..HEADER]);
    let dry = [&REWRAP[..], &["--dry-run"]].concat();
    sandbox.run(&dry, 0).says("would be rewrapped");
    assert_eq!(sandbox.read("in.envelope"), torn, "a dry run repairs nothing");
    sandbox.run(&REWRAP, 0).says("generation 2");
    assert_eq!(sandbox.files(), ["in.envelope"]);
    decrypt(&sandbox, 0);
    assert_eq!(sandbox.read("out"), plaintext);
}

#[test]
fn damage_of_the_first_bytes_is_repaired_too_and_inspect_names_the_journal() {
    let (sandbox, plaintext) = sealed();
    let (before, after) = before_and_after(&sandbox);
    let torn = [&[0; 512][..], &before[512..]].concat();
    sandbox.write("in.envelope", &torn);
    sandbox.write(JOURNAL, &after[..HEADER]);
    sandbox.run(&["inspect", "in.envelope"], 4).says(JOURNAL);
    decrypt(&sandbox, 0);
    assert_eq!(sandbox.read("out"), plaintext);
}

#[test]
fn a_journal_beside_a_whole_header_changes_nothing_and_goes_with_the_next_rewrap() {
    let (sandbox, plaintext) = sealed();
    let (before, after) = before_and_after(&sandbox);
    // Before the header was written, and after it.
    for (file, generation) in [(&before, "generation 1"), (&after, "generation 2")] {
        sandbox.write("in.envelope", file);
        sandbox.write(JOURNAL, &after[..HEADER]);
        decrypt(&sandbox, 0);
        assert_eq!(sandbox.read("out"), plaintext);
        assert!(sandbox.read("in.envelope") == *file);
        sandbox.run(&[&REWRAP[..], &["--from", "local:new"]].concat(), 0).says(generation);
        assert_eq!(sandbox.files(), ["in.envelope", "out"]);
    }
}

#[test]
fn a_journal_that_is_forged_foreign_or_a_link_is_not_believed() {
    let (sandbox, _) = sealed();
    let (before, after) = before_and_after(&sandbox);
    sandbox.write("other", b"another file for the same key");
    sandbox.run(&["encrypt", "-k", "local:old", "other", "--rm"], 0);
    let foreign = sandbox.read("other.envelope")[..HEADER].to_vec();
    fs::remove_file(sandbox.file("other.envelope")).unwrap();
    let mut forged = after[..HEADER].to_vec();
    forged[HEADER - 1] ^= 1;
    let torn = [&after[..300], &before[300..]].concat();
    for journal in [&foreign[..], &forged, &after[..HEADER - 1], b"", b"garbage"] {
        sandbox.write("in.envelope", &torn);
        sandbox.write(JOURNAL, journal);
        decrypt(&sandbox, 4);
        sandbox.run(&REWRAP, 4);
        assert!(sandbox.read("in.envelope") == torn);
        assert_eq!(sandbox.read(JOURNAL), journal);
        assert_eq!(sandbox.files(), ["in.envelope", JOURNAL]);
    }
    fs::remove_file(sandbox.file(JOURNAL)).unwrap();
    let elsewhere = tempfile::NamedTempFile::new().unwrap();
    elsewhere.as_file().write_all_at(&after[..HEADER], 0).unwrap();
    symlink(elsewhere.path(), sandbox.file(JOURNAL)).unwrap();
    decrypt(&sandbox, 4);
    assert!(sandbox.read("in.envelope") == torn);
}

#[test]
fn a_rewrap_that_is_killed_at_any_time_leaves_a_file_that_opens() {
    let (sandbox, plaintext) = sealed();
    let rounds: u64 = std::env::var("KILL_ROUNDS").map_or(40, |rounds| rounds.parse().unwrap());
    let seed = u64::from(std::process::id());
    println!("seed {seed}, {rounds} rounds");
    let mut state = seed | 1;
    let mut killed = 0;
    let args = ["rewrap", "-k", "local:new", "--from", "local:old", "in.envelope"];
    let begun = Instant::now();
    sandbox.run(&args, 0);
    let whole = begun.elapsed();
    for round in 0..rounds {
        let mut child = sandbox.envctl(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Spread over its life, the end of which is where it writes.
        std::thread::sleep(whole.mul_f64(0.3 + (state % 1000) as f64 / 1400.0));
        child.kill().unwrap();
        killed += u32::from(child.wait().unwrap().code().is_none());
        decrypt(&sandbox, 0);
        assert!(sandbox.read("out") == plaintext, "seed {seed}, round {round}");
    }
    println!("{killed} of {rounds} were killed before they ended");
}

#[test]
fn a_rewrap_costs_the_same_for_a_file_of_a_terabyte() {
    let (sandbox, _) = sealed();
    let file = File::options().write(true).open(sandbox.file("in.envelope")).unwrap();
    if let Err(error) = file.set_len(1 << 40) {
        println!("skipped: a_rewrap_costs_the_same: no sparse files of 1 TiB here: {error}");
        return;
    }
    let blocks = || fs::metadata(sandbox.file("in.envelope")).unwrap().blocks();
    let before = blocks();
    // Copying it would take hours or fill the disk.
    sandbox.run(&REWRAP, 0).says("generation 1");
    assert!(blocks() <= before + 16, "{} blocks, and {before} before", blocks());
}

#[test]
fn a_stray_journal_does_not_stand_in_the_way_of_an_armored_file() {
    let (sandbox, plaintext) = sealed();
    sandbox.write("in", &plaintext);
    sandbox.run(&["encrypt", "-f", "--armor", "-k", "local:old", "in", "--rm"], 0);
    sandbox.write(JOURNAL, b"garbage");
    sandbox.run(&REWRAP, 0).says("generation 1");
    assert_eq!(sandbox.files(), ["in.envelope"]);
    decrypt(&sandbox, 0);
    assert_eq!(sandbox.read("out"), plaintext);
}

#[test]
fn what_comes_out_of_a_pipe_is_padded_too() {
    let (sandbox, _) = sealed();
    let mut child = sandbox
        .envctl(&["encrypt", "-k", "local:old"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"x").unwrap();
    let mut sealed = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut sealed).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(sealed.len(), HEADER + 56 + 1 + 16);
}
