//! A rewrap of a binary envelope writes the header in place, and survives being
//! cut off at any byte of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink},
    process::Stdio,
    time::Instant,
};

use crate::common::{Sandbox, bytes, mode};
use envelope_files::Journal;
use envelope_sdk::Header;

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

fn decrypt(sandbox: &Sandbox, code: i32) -> crate::common::Ran {
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

/// The journal of a rewrap from one file to the other.
fn journal(before: &[u8], after: &[u8]) -> Vec<u8> {
    let header = |bytes: &[u8]| Header::parse(bytes).unwrap().0;
    Journal::new(header(before), header(after)).unwrap().to_bytes()
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
fn a_header_written_half_is_opened_from_the_journal_and_a_reader_writes_nothing() {
    let (sandbox, plaintext) = sealed();
    let (before, after) = before_and_after(&sandbox);
    let differs = |at: &usize| before[*at] != after[*at];
    let (first, last) = ((0..HEADER).find(differs).unwrap(), (0..HEADER).rfind(differs).unwrap());
    // Cut at the first and last byte that differs, and at disk sectors.
    for cut in [first + 1, first + 40, last, 512, 1024, 2048, 4095] {
        let torn = [&after[..cut], &before[cut..]].concat();
        sandbox.write("in.envelope", &torn);
        sandbox.write(JOURNAL, &journal(&before, &after));
        decrypt(&sandbox, 0);
        assert_eq!(sandbox.read("out"), plaintext, "cut at {cut}");
        if torn != before && torn != after {
            // The old key may be all that there is; one that is neither of the two opens nothing.
            sandbox.run(&["decrypt", "-k", "local:old", "in.envelope", "-fo", "out"], 0);
            sandbox.run(&["decrypt", "-k", "local:more", "in.envelope", "-fo", "out"], 4).says(JOURNAL);
        }
        sandbox.run(&["inspect", "in.envelope"], 0);
        assert!(sandbox.read("in.envelope") == torn, "cut at {cut}");
        assert_eq!(sandbox.files(), ["in.envelope", JOURNAL, "out"], "cut at {cut}");
    }
}

#[test]
fn a_header_written_half_is_finished_by_rewrap_from_the_journal() {
    let (sandbox, plaintext) = sealed();
    let (before, after) = before_and_after(&sandbox);
    let torn = [&after[..300], &before[300..]].concat();
    sandbox.write("in.envelope", &torn);
    sandbox.write(JOURNAL, &journal(&before, &after));
    let dry = [&REWRAP[..], &["--dry-run"]].concat();
    sandbox.run(&dry, 0).says("would be rewrapped");
    assert_eq!(sandbox.read("in.envelope"), torn, "a dry run repairs nothing");
    sandbox.run(&REWRAP, 0).says("generation 2");
    assert_eq!(sandbox.files(), ["in.envelope"]);
    decrypt(&sandbox, 0);
    assert_eq!(sandbox.read("out"), plaintext);
}

#[test]
fn lost_sectors_of_a_header_are_opened_from_the_journal_and_inspect_names_it() {
    let (sandbox, plaintext) = sealed();
    let (before, after) = before_and_after(&sandbox);
    let torn = [&[0; 512][..], &before[512..]].concat();
    sandbox.write("in.envelope", &torn);
    sandbox.write(JOURNAL, &journal(&before, &after));
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
        sandbox.write(JOURNAL, &journal(&before, &after));
        decrypt(&sandbox, 0);
        assert_eq!(sandbox.read("out"), plaintext);
        assert!(sandbox.read("in.envelope") == *file);
        sandbox.run(&[&REWRAP[..], &["--from", "local:new"]].concat(), 0).says(generation);
        assert_eq!(sandbox.files(), ["in.envelope", "out"]);
    }
}

/// What the attack did: an old header, kept and put into the journal, brought the
/// old key back.
#[test]
fn a_planted_or_stale_journal_never_brings_an_older_header_back() {
    let (sandbox, plaintext) = sealed();
    let kept = sandbox.read("in.envelope");
    let steps = ["new", "more", "old", "new"];
    let mut generations = vec![kept];
    for key in steps {
        let from = ["--from", "local:old", "--from", "local:new", "--from", "local:more"];
        sandbox.run(&[&["rewrap", "-k", &format!("local:{key}"), "in.envelope"][..], &from].concat(), 0);
        generations.push(sandbox.read("in.envelope"));
    }
    let whole = generations.last().unwrap().clone();
    let bare = generations[0][..HEADER].to_vec();
    let journals = generations.windows(2).map(|pair| journal(&pair[0], &pair[1])).chain([bare]);
    for (index, planted) in journals.enumerate() {
        sandbox.write(JOURNAL, &planted);
        sandbox
            .run(&["decrypt", "-k", "local:old", "in.envelope", "-fo", "out"], 4)
            .says("no configured key");
        sandbox.run(&["decrypt", "-k", "local:more", "in.envelope", "-fo", "out"], 4);
        sandbox.run(&["rewrap", "-k", "local:more", "--from", "local:old", "in.envelope"], 4);
        assert!(sandbox.read("in.envelope") == whole, "journal {index}");
        decrypt(&sandbox, 0);
        assert_eq!(sandbox.read("out"), plaintext, "journal {index}");
        assert_eq!(sandbox.read(JOURNAL), planted, "journal {index}");
    }
}

#[test]
fn a_journal_that_is_forged_foreign_or_a_link_is_not_believed_and_stays() {
    let (sandbox, _) = sealed();
    let (before, after) = before_and_after(&sandbox);
    sandbox.write("other", b"another file for the same key");
    sandbox.run(&["encrypt", "-k", "local:old", "other", "--rm"], 0);
    let other = sandbox.read("other.envelope");
    sandbox.run(&[&REWRAP[..5], &["other.envelope"]].concat(), 0);
    let foreign = journal(&other, &sandbox.read("other.envelope"));
    fs::remove_file(sandbox.file("other.envelope")).unwrap();
    let whole = journal(&before, &after);
    let mut forged = after.clone();
    forged[HEADER - 1] ^= 1;
    let forged = journal(&before, &forged);
    let torn = [&after[..300], &before[300..]].concat();
    let header = &after[..HEADER];
    for journal in [&foreign[..], &forged, header, &whole[..whole.len() - 1], b"", b"garbage"] {
        sandbox.write("in.envelope", &torn);
        sandbox.write(JOURNAL, journal);
        decrypt(&sandbox, 4);
        sandbox.run(&REWRAP, 4);
        assert!(sandbox.read("in.envelope") == torn);
        assert_eq!(sandbox.read(JOURNAL), journal);
        assert_eq!(sandbox.files(), ["in.envelope", JOURNAL]);
    }
    // Of another build: that one reads it.
    let mut other_version = whole.clone();
    other_version[7] = 1;
    sandbox.write(JOURNAL, &other_version);
    decrypt(&sandbox, 4).says("was left by another version of envctl");
    sandbox.run(&REWRAP, 4).says("was left by another version of envctl");
    assert_eq!(sandbox.read(JOURNAL), other_version);
    fs::remove_file(sandbox.file(JOURNAL)).unwrap();
    let elsewhere = tempfile::NamedTempFile::new().unwrap();
    elsewhere.as_file().write_all_at(&whole, 0).unwrap();
    symlink(elsewhere.path(), sandbox.file(JOURNAL)).unwrap();
    decrypt(&sandbox, 4).says("is not believed");
    fs::remove_file(sandbox.file(JOURNAL)).unwrap();
    fs::write(sandbox.file("kept"), &whole).unwrap();
    fs::hard_link(sandbox.file("kept"), sandbox.file(JOURNAL)).unwrap();
    decrypt(&sandbox, 4).says("is not believed");
    assert!(sandbox.read("in.envelope") == torn);
    fs::remove_file(sandbox.file("kept")).unwrap();
    decrypt(&sandbox, 0);
}

#[test]
fn a_journal_of_another_user_or_that_others_may_write_is_not_believed() {
    let (sandbox, _) = sealed();
    let (before, after) = before_and_after(&sandbox);
    sandbox.write("in.envelope", &[&after[..300], &before[300..]].concat());
    let planted = sandbox.write(JOURNAL, &journal(&before, &after));
    fs::set_permissions(&planted, fs::Permissions::from_mode(0o622)).unwrap();
    decrypt(&sandbox, 4).says("is not believed");
    // A group that may write it is the group that may write the file.
    let group_may = |name: &str| {
        fs::set_permissions(sandbox.file(name), fs::Permissions::from_mode(0o660)).unwrap();
    };
    group_may("in.envelope");
    group_may(JOURNAL);
    decrypt(&sandbox, 0);
    if std::os::unix::fs::chown(&planted, None, Some(12_345)).is_ok() {
        decrypt(&sandbox, 4).says("is not believed");
    }
    fs::set_permissions(&planted, fs::Permissions::from_mode(0o600)).unwrap();
    if std::os::unix::fs::chown(&planted, Some(12_345), None).is_ok() {
        decrypt(&sandbox, 4).says("is not believed");
        // The owner of the file may write the file, and so its journal.
        std::os::unix::fs::chown(sandbox.file("in.envelope"), Some(12_345), None).unwrap();
    } else {
        println!("skipped: a part of a_journal_of_another_user: only root gives files away");
    }
    decrypt(&sandbox, 0);
}

#[test]
fn a_file_that_has_the_name_of_a_journal_is_never_lost() {
    let (sandbox, plaintext) = sealed();
    sandbox.write(JOURNAL, b"precious");
    let inode = fs::metadata(sandbox.file("in.envelope")).unwrap().ino();
    sandbox.run(&REWRAP, 0).says("generation 1");
    assert_ne!(fs::metadata(sandbox.file("in.envelope")).unwrap().ino(), inode, "replaced as a whole");
    assert_eq!(sandbox.read(JOURNAL), b"precious");
    assert_eq!(sandbox.files(), ["in.envelope", JOURNAL]);
    decrypt(&sandbox, 0);
    assert_eq!(sandbox.read("out"), plaintext);
    // With other names it is not replaced, which would leave the old key's header there.
    fs::hard_link(sandbox.file("in.envelope"), sandbox.file("link")).unwrap();
    sandbox.run(&["rewrap", "-k", "local:more", "--from", "local:new", "in.envelope"], 3).says("hard links");
    assert_eq!(sandbox.files(), ["in.envelope", JOURNAL, "link", "out"]);
}

#[test]
fn a_torn_header_behind_another_name_says_where_its_journal_may_be() {
    let (sandbox, plaintext) = sealed();
    let (before, after) = before_and_after(&sandbox);
    fs::hard_link(sandbox.file("in.envelope"), sandbox.file("link")).unwrap();
    sandbox.write("in.envelope", &[&after[..300], &before[300..]].concat());
    sandbox.write(JOURNAL, &journal(&before, &after));
    let by_link = |code| sandbox.run(&["decrypt", "-k", "local:new", "link", "-fo", "out"], code);
    by_link(4).says("beside the name that the rewrap was given");
    sandbox.run(&["rewrap", "-k", "local:new", "in.envelope"], 0);
    by_link(0);
    assert_eq!(sandbox.read("out"), plaintext);
}

#[test]
fn the_longest_names_are_rewrapped_in_place_and_recovered() {
    let (sandbox, plaintext) = sealed();
    let (before, after) = before_and_after(&sandbox);
    let torn = [&after[..300], &before[300..]].concat();
    for len in [240, 241, 255] {
        let name = "n".repeat(len);
        sandbox.write(&name, &before);
        let inode = fs::metadata(sandbox.file(&name)).unwrap().ino();
        sandbox.run(&["rewrap", "-k", "local:new", "--from", "local:old", &name], 0);
        assert_eq!(fs::metadata(sandbox.file(&name)).unwrap().ino(), inode, "{len}: in place");
        sandbox.write(&name, &torn);
        let journal_name = Journal::name_of(name.as_ref()).into_string().unwrap();
        assert!(journal_name.len() <= 255 && journal_name.ends_with(".rewrap-journal"));
        sandbox.write(&journal_name, &journal(&before, &after));
        sandbox.run(&["decrypt", "-k", "local:new", &name, "-fo", "out"], 0);
        assert_eq!(sandbox.read("out"), plaintext, "{len}");
        fs::remove_file(sandbox.file(&journal_name)).unwrap();
    }
}

#[test]
fn a_reader_waits_for_no_lock() {
    let (sandbox, plaintext) = sealed();
    let (before, after) = before_and_after(&sandbox);
    sandbox.write("in.envelope", &[&after[..300], &before[300..]].concat());
    sandbox.write(JOURNAL, &journal(&before, &after));
    let held = File::open(sandbox.file("in.envelope")).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    decrypt(&sandbox, 0);
    assert_eq!(sandbox.read("out"), plaintext);
    sandbox.run(&REWRAP, 3).says("another process is working on in.envelope");
}

#[test]
fn a_rewrap_keeps_owner_group_and_mode_in_place_and_as_a_whole() {
    let (sandbox, plaintext) = sealed();
    let path = sandbox.file("in.envelope");
    let is_root = std::os::unix::fs::chown(&path, Some(12_345), Some(23_456)).is_ok();
    if !is_root {
        println!("skipped: a part of a_rewrap_keeps_owner_group_and_mode: only root gives files away");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let is_kept = || {
        let now = fs::metadata(&path).unwrap();
        assert!(!is_root || (now.uid(), now.gid()) == (12_345, 23_456));
        assert_eq!(mode(&path), 0o640);
    };
    sandbox.run(&REWRAP, 0);
    is_kept();
    // Three keys do not fit into the header any more.
    sandbox.write("in", &plaintext);
    let long = format!("long={}", "x".repeat(3_800));
    sandbox.run(&["encrypt", "-f", "-k", "local:old", "-c", &long, "in"], 0);
    let _ = std::os::unix::fs::chown(&path, Some(12_345), Some(23_456));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let inode = fs::metadata(&path).unwrap().ino();
    sandbox.run(&["rewrap", "-k", "local:old", "-k", "local:new", "-k", "local:more", "in.envelope"], 0);
    assert_ne!(fs::metadata(&path).unwrap().ino(), inode, "replaced as a whole");
    is_kept();
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
fn the_journal_of_another_envelope_and_what_is_no_journal_stay_where_they_are() {
    let (sandbox, plaintext) = sealed();
    let (before, after) = before_and_after(&sandbox);
    let of_another = journal(&before, &after);
    for beside in [&of_another[..], b"garbage"] {
        sandbox.write("in", &plaintext);
        sandbox.run(&["encrypt", "-f", "--armor", "-k", "local:old", "in", "--rm"], 0);
        sandbox.write(JOURNAL, beside);
        sandbox.run(&REWRAP, 0).says("generation 1");
        assert_eq!(sandbox.files(), ["in.envelope", JOURNAL]);
        assert!(sandbox.read(JOURNAL) == beside);
        decrypt(&sandbox, 0);
        assert_eq!(sandbox.read("out"), plaintext);
        fs::remove_file(sandbox.file("out")).unwrap();
    }
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
