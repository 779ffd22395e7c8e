//! `envctl rotate`, `envctl plan` and `envctl keys usage`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

use std::{fs, io::Write, process::Stdio};

use serde_json::Value;

use crate::common::{Ran, Sandbox, bytes};

const TO_NEW: [&str; 6] = ["rotate", "--to", "local:new", "--from", "local:old", "tree"];

/// `tree` with `count` envelopes for `local:old`, of each kind in turn.
fn tree(count: usize) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["old", "new", "more"]);
    fs::create_dir_all(sandbox.file("tree/sub")).unwrap();
    for number in 0..count {
        sandbox.write("in", &plaintext(number));
        let name = name(number);
        let mut args = vec!["encrypt", "-k", "local:old", "in", "-o", &name];
        match number % 3 {
            0 => {}
            1 => args.push("--armor"),
            _ => args.push("--detached"),
        }
        sandbox.run(&args, 0);
    }
    sandbox.write("tree/notes", b"no envelope");
    sandbox
}

fn name(number: usize) -> String {
    let folder = if number.is_multiple_of(2) { "tree" } else { "tree/sub" };
    format!("{folder}/{number}.envelope")
}

fn plaintext(number: usize) -> Vec<u8> {
    bytes(1000 + number)
}

fn check(sandbox: &Sandbox, count: usize, key: &str) {
    for number in 0..count {
        sandbox.run(&["decrypt", "-k", key, &name(number), "-fo", "out"], 0);
        assert_eq!(sandbox.read("out"), plaintext(number), "{number}");
    }
}

fn generation(sandbox: &Sandbox, number: usize) -> Value {
    sandbox.run(&["--json", "inspect", &name(number)], 0).json()["generation"].clone()
}

#[test]
fn a_plan_and_a_dry_run_say_what_rotate_does_and_a_second_run_finds_nothing_to_do() {
    let sandbox = tree(6);
    let plan = ["plan", "--to", "local:new", "--from", "local:old", "tree"];
    let said = sandbox.run(&plan, 0).text();
    assert!(said.starts_with("9 items: 6 would be changed\n"), "{said}");
    assert!(
        said.contains("because of missing-recipient: 6") && said.contains("calls to key stores, at most: 18"),
        "{said}"
    );
    assert_eq!(sandbox.run(&[&TO_NEW[..], &["--dry-run"]].concat(), 0).text(), said);
    check(&sandbox, 6, "local:old");

    let report = sandbox.run(&[&["--json"], &TO_NEW[..]].concat(), 0).json();
    assert_eq!(report["totals"]["rewrapped"], 6);
    assert_eq!(report["totals"]["passed_over"], 3, "notes, and two payloads");
    assert_eq!(report["calls"]["local"], 19);
    check(&sandbox, 6, "local:new");
    sandbox.run(&["decrypt", "-k", "local:old", &name(0), "-fo", "out"], 4).says("no configured key");

    let again = sandbox.run(&[&["--json"], &TO_NEW[..]].concat(), 0).json();
    assert_eq!((&again["totals"]["rewrapped"], &again["totals"]["in_target_state"]), (&0.into(), &6.into()));
    assert_eq!(again["calls"]["local"], 1);
}

#[test]
fn keys_rotate_makes_a_version_and_rotate_brings_envelopes_to_it() {
    let sandbox = tree(3);
    sandbox.run(&["keys", "rotate", "old"], 0);
    let usage = |version: &str| {
        let usage = sandbox.run(&["--json", "keys", "usage", "tree"], 0).json();
        let keys = usage["keys"].as_object().unwrap();
        assert_eq!(keys.len(), 1);
        keys.values()
            .next()
            .unwrap()
            .get(version)
            .map(|opens| (opens["envelopes"].clone(), opens["alone"].clone()))
    };
    assert_eq!(usage("1"), Some((3.into(), 3.into())));
    assert_eq!(usage("2"), None);
    let rotate = ["rotate", "--to", "local:old", "tree"];
    assert!(sandbox.run(&rotate, 0).text().contains("3 rewrapped"));
    assert_eq!(usage("1"), None);
    assert_eq!(usage("2"), Some((3.into(), 3.into())));
    let said = sandbox.run(&["keys", "usage", "tree"], 0).text();
    assert!(said.contains("version 2: opens 3, 3 of them alone"), "{said}");
    check(&sandbox, 3, "local:old");
}

#[test]
fn a_key_is_added_and_removed_and_the_others_stay() {
    let sandbox = tree(3);
    sandbox.run(&["rotate", "--add", "local:more", "--from", "local:old", "tree"], 0);
    check(&sandbox, 3, "local:old");
    check(&sandbox, 3, "local:more");
    sandbox.run(&["rotate", "--remove", "local:old", "--from", "local:more", "tree"], 0);
    check(&sandbox, 3, "local:more");
    sandbox.run(&["decrypt", "-k", "local:old", &name(0), "-fo", "out"], 4).says("no configured key");
    // A recipient that stays must be named.
    sandbox
        .run(&["rotate", "--add", "local:new", "--from", "local:new", "tree/0.envelope"], 2)
        .says("should stay and is not configured");
    check(&sandbox, 3, "local:more");
    sandbox.run(&["rotate", "--add", "local:new", "--to", "local:new", "tree"], 2);
}

#[test]
fn reencrypt_makes_new_envelopes_and_a_resumed_job_does_none_twice() {
    let sandbox = tree(6);
    let id = || sandbox.run(&["--json", "inspect", &name(0)], 0).json()["envelope_id"].clone();
    let before = id();
    let reencrypt = [&["--json"], &TO_NEW[..], &["--reencrypt", "--resume", "job.jsonl"]].concat();
    let report = sandbox.run(&reencrypt, 0).json();
    assert_eq!(report["totals"]["reencrypted"], 6);
    let after = id();
    assert_ne!(after, before);
    check(&sandbox, 6, "local:new");
    let again = sandbox.run(&reencrypt, 0).json();
    assert_eq!(again["totals"]["done_before"], 6);
    assert_eq!(id(), after);
    // Another job has another file.
    sandbox.run(&["rotate", "--to", "local:more", "--resume", "job.jsonl", "tree"], 2).says("of another job");
}

/// A header shows that a passphrase opens it, and not which one.
#[test]
fn what_a_job_did_under_another_passphrase_is_not_taken_for_done() {
    let sandbox = tree(2);
    let rotate = |passphrase: &str, code| {
        let args = [
            "--json",
            "rotate",
            "--to",
            "passphrase:",
            "--from",
            "local:old",
            "--resume",
            "job.jsonl",
            "tree",
        ];
        Ran::of(sandbox.envctl(&args).env("ENVCTL_NEW_PASSPHRASE", passphrase).output().unwrap(), code)
    };
    assert_eq!(rotate("mistyped", 0).json()["totals"]["rewrapped"], 2);
    assert_eq!(rotate("mistyped", 0).json()["totals"]["done_before"], 2);
    // Whoever wants another one is not told that it opens them.
    let report = rotate("meant", 4).json();
    assert_eq!(report["totals"]["done_before"], 0);
    assert_eq!(report["totals"]["failed"], 2);
}

#[test]
fn the_report_file_has_each_outcome_and_the_exit_code_is_that_of_the_first_failure() {
    let sandbox = tree(4);
    sandbox.run(&["encrypt", "-k", "local:more", "in", "-o", "tree/foreign.envelope"], 0);
    let foreign = sandbox.read("tree/foreign.envelope");
    let ran = sandbox.run(&[&TO_NEW[..], &["--report", "report.json"]].concat(), 4);
    ran.says("tree/foreign.envelope: no configured key opens this")
        .says("1 envelopes failed and are as they were");
    assert!(sandbox.read("tree/foreign.envelope") == foreign);
    check(&sandbox, 4, "local:new");
    let report: Value = serde_json::from_slice(&sandbox.read("report.json")).unwrap();
    let items = report["items"].as_array().unwrap();
    assert_eq!(items.len() as u64, report["totals"]["totals"]["items"].as_u64().unwrap());
    let outcomes = |outcome: &str| items.iter().filter(|item| item["outcome"] == outcome).count();
    assert_eq!((outcomes("rewrapped"), outcomes("failed"), outcomes("passed-over")), (4, 1, 2));
    let failed = items.iter().find(|item| item["outcome"] == "failed").unwrap();
    assert_eq!(failed["item"], "tree/foreign.envelope");
    assert!(failed["error"].as_str().unwrap().contains("no configured key opens this"));
    sandbox.run(&[&TO_NEW[..], &["--report", "report.json"]].concat(), 3).says("is there already");
}

#[test]
fn names_come_from_standard_input_and_patterns_and_shards_choose() {
    let sandbox = tree(6);
    let mut child = sandbox
        .envctl(&["--json", "rotate", "--to", "local:new", "--from", "local:old", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(format!("{}\n{}\n", name(0), name(1)).as_bytes()).unwrap();
    let ran = Ran::of(child.wait_with_output().unwrap(), 0);
    assert_eq!(ran.json()["totals"]["rewrapped"], 2);
    assert_eq!(generation(&sandbox, 2), 0);

    let pattern = ["--json", "rotate", "--to", "local:new", "--from", "local:old", "tree/**/3.*"];
    assert_eq!(sandbox.run(&pattern, 0).json()["totals"]["items"], 1);
    assert_eq!(generation(&sandbox, 3), 1);

    let shard = |shard| {
        let args = [&["--json"], &TO_NEW[..], &["--shard", shard]].concat();
        sandbox.run(&args, 0).json()["totals"]["rewrapped"].as_u64().unwrap()
    };
    assert_eq!(shard("1/2") + shard("2/2"), 3);
    check(&sandbox, 6, "local:new");
    sandbox.run(&[&TO_NEW[..], &["--shard", "3/2"]].concat(), 2);
}

#[test]
fn withheld_context_is_given_and_stays() {
    let sandbox = tree(0);
    sandbox.write("in", b"words");
    let encrypt =
        ["encrypt", "-k", "local:old", "-c", "id=7", "--withhold", "id", "in", "-o", "tree/x.envelope"];
    sandbox.run(&encrypt, 0);
    sandbox.run(&TO_NEW, 4).says("tree/x.envelope: authentication failed");
    sandbox.run(&[&TO_NEW[..], &["-c", "id=7", "--reencrypt"]].concat(), 0);
    sandbox.run(&["decrypt", "-k", "local:new", "-c", "id=7", "tree/x.envelope", "-o", "out"], 0);
    assert_eq!(sandbox.read("out"), b"words");
}

#[test]
fn help_keeps_the_two_rotations_apart() {
    let sandbox = Sandbox::new();
    // It is wrapped to the width of a terminal.
    let help = |args: &[&str]| {
        let text = sandbox.run(args, 0).text();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let help_of_rotate = help(&["rotate", "--help"]);
    assert!(
        help_of_rotate.contains("A new version of a key is made by `envctl keys rotate`"),
        "{help_of_rotate}"
    );
    let help_of_keys = help(&["keys", "rotate", "--help"]);
    assert!(help_of_keys.contains("`envctl rotate` brings envelopes to it"), "{help_of_keys}");
}

#[test]
fn an_armored_envelope_whose_text_is_damaged_is_told_as_damaged() {
    let sandbox = tree(2);
    let text = String::from_utf8(sandbox.read(&name(1))).unwrap();
    let mut lines: Vec<_> = text.lines().collect();
    let last = lines.len() - 2;
    lines[last] = "!!!!";
    sandbox.write(&name(1), (lines.join("\n") + "\n").as_bytes());
    let rotate = ["rotate", "--reencrypt", "--to", "local:new", "--from", "local:old", "tree"];
    sandbox.run(&rotate, 4).says("tree/sub/1.envelope");
    // That the totals cannot be told hides nothing.
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = sandbox.envctl(&rotate).stdout(full).output().unwrap();
    Ran::of(output, 4).says("1 envelopes failed").says("No space left");
}
