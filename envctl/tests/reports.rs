//! Reports of rotations, plans with money and time, and keys that are still in use.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

use std::{fs, io::Read as _, process::Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::common::{Ran, Sandbox};

fn tree(count: usize) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["old", "new"]);
    fs::create_dir(sandbox.file("tree")).unwrap();
    sandbox.write("in", b"words");
    for number in 0..count {
        sandbox.run(&["encrypt", "-k", "local:old", "in", "-o", &format!("tree/{number}.envelope")], 0);
    }
    sandbox
}

/// A copy of the first envelope in which a byte is another one.
fn damaged(sandbox: &Sandbox, name: &str) {
    let mut bytes = sandbox.read("tree/0.envelope");
    bytes[40] ^= 1;
    fs::write(sandbox.file(name), bytes).unwrap();
}

const ROTATE: [&str; 6] = ["rotate", "--to", "local:new", "--from", "local:old", "tree"];

fn json(sandbox: &Sandbox, name: &str) -> Value {
    serde_json::from_slice(&sandbox.read(name)).unwrap()
}

fn lines(sandbox: &Sandbox, name: &str) -> Vec<Value> {
    let text = String::from_utf8(sandbox.read(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_plan_says_what_it_takes_with_prices_of_ones_own() {
    let sandbox = tree(3);
    let plan = ["plan", "--to", "local:new", "--from", "local:old", "tree"];
    let said = sandbox.run(&plan, 0).text();
    assert!(said.contains("calls to key stores, at most: 9 (local 9)\n"), "{said}");
    assert!(said.contains("  local: 9 calls ("), "{said}");
    sandbox.write("prices.toml", b"[local]\nusd = 10000\nquota = 1\n");
    let own = [&plan[..], &["--prices", "prices.toml", "--rate", "3"]].concat();
    let said = sandbox.run(&own, 0).text();
    assert!(
        said.contains("  local: 9 calls, 9.00 USD, 9 s at its quota of 1/s, 3 s at the given rate\n"),
        "{said}"
    );
    let value = sandbox.run(&[&["--json"], &own[..]].concat(), 0).json();
    assert_eq!(value["estimates"][0]["usd"], 9.0);
    assert_eq!(value["calls"]["local"], 9);
    let dry = [&ROTATE[..], &["--dry-run", "--prices", "prices.toml", "--rate", "3"]].concat();
    assert_eq!(sandbox.run(&dry, 0).text(), said);
    sandbox.write("prices.toml", b"[local]\nprize = 1\n");
    sandbox.run(&own, 2).says("prices.toml: it is no table of prices");
}

#[test]
fn a_plan_says_which_envelopes_a_compromised_key_opens() {
    let sandbox = tree(2);
    sandbox.run(&["encrypt", "-k", "local:new", "in", "-o", "tree/new.envelope"], 0);
    sandbox.run(&["keys", "report-compromise", "old"], 0);
    let plan = sandbox.run(&["plan", "--to", "local:new", "--from", "local:old", "tree", "--json"], 0).json();
    assert_eq!(plan["reasons"]["compromised-key"], 2, "{plan}");
    assert_eq!((&plan["to_change"], &plan["items"]), (&2.into(), &3.into()), "{plan}");
}

#[test]
fn older_than_a_day_is_what_was_there_before_it_began() {
    let sandbox = tree(2);
    let touch = |number: usize, time: &str| {
        let file =
            fs::File::options().write(true).open(sandbox.file(&format!("tree/{number}.envelope"))).unwrap();
        file.set_modified(humantime::parse_rfc3339(time).unwrap()).unwrap();
    };
    touch(0, "2025-06-14T23:59:59Z");
    touch(1, "2025-06-15T00:00:00Z");
    let old = ["--json", "rotate", "--to", "local:old", "--older-than", "2025-06-15", "tree"];
    let report = sandbox.run(&old, 0).json();
    assert_eq!(
        (&report["totals"]["rewrapped"], &report["totals"]["in_target_state"]),
        (&1.into(), &1.into())
    );
}

#[test]
fn a_page_for_people_holds_outcomes_and_no_word_of_a_name_as_markup() {
    let sandbox = tree(2);
    damaged(&sandbox, "tree/<img src=x>.envelope");
    sandbox.run(&[&ROTATE[..], &["--report", "report.html"]].concat(), 4);
    let page = String::from_utf8(sandbox.read("report.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("rewrapped: 2</text>"), "{page}");
    assert!(page.contains("tree/&lt;img src=x&gt;.envelope") && !page.contains("<img"), "{page}");
    assert!(page.contains("version 1: 2</text>"), "{page}");
}

#[test]
fn no_report_file_drives_a_terminal() {
    let sandbox = tree(1);
    let name = "tree/\u{9b}31m\u{202e}.envelope";
    damaged(&sandbox, name);
    sandbox.run(&[&ROTATE[..], &["--report", "report.json"]].concat(), 4);
    let text = String::from_utf8(sandbox.read("report.json")).unwrap();
    assert!(text.contains("\\u009b31m\\u202e") && !text.contains(['\u{9b}', '\u{202e}']), "{text}");
    let report = json(&sandbox, "report.json");
    assert!(report["items"].as_array().unwrap().iter().any(|item| item["item"] == name), "{report}");
}

#[test]
fn a_job_that_cannot_begin_leaves_a_report_that_says_so() {
    let sandbox = tree(1);
    sandbox.run(&["rotate", "--to", "local:absent", "tree", "--report", "report.json"], 5);
    let report = json(&sandbox, "report.json");
    assert_eq!((&report["finished"], &report["items"]), (&false.into(), &Value::Array(Vec::new())));
    assert!(report["error"].as_str().unwrap().contains("absent"), "{report}");
}

#[test]
fn a_signal_ends_a_job_in_order_and_its_report_says_that_it_is_not_finished() {
    let sandbox = tree(3);
    // Names come from a pipe that stays open: the job waits for more.
    let mut child = sandbox
        .envctl(&["rotate", "--to", "local:new", "--from", "local:old", "-", "--report", "report.json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut names = child.stdin.take().unwrap();
    for number in 0..3 {
        std::io::Write::write_all(&mut names, format!("tree/{number}.envelope\n").as_bytes()).unwrap();
    }
    // Until the last of them is done.
    let is_new = |number: usize| {
        let bytes = sandbox.read(&format!("tree/{number}.envelope"));
        envelope_sdk::Envelope::inspect(&bytes).is_ok_and(|header| header.generation() == 1)
    };
    while !(0..3).all(is_new) {
        std::thread::yield_now();
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let status = child.wait().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15), "{said}");
    assert!(said.contains("finishing what is under way"), "{said}");
    let report = json(&sandbox, "report.json");
    assert_eq!((&report["finished"], &report["error"]), (&false.into(), &"it was told to end".into()));
    assert_eq!(report["totals"]["totals"]["rewrapped"], 3);
    assert_eq!(report["totals"]["cancelled"], true);
    drop(names);
}

#[test]
fn a_key_that_still_opens_envelopes_is_not_destroyed_unless_forced() {
    let sandbox = tree(3);
    sandbox.run(&["encrypt", "-k", "local:old", "-k", "local:new", "in", "-o", "tree/both.envelope"], 0);
    sandbox.run(&["keys", "deactivate", "old"], 0);
    sandbox.run(&["keys", "usage", "tree", "--report", "usage.jsonl"], 0);
    let destroy = ["keys", "destroy", "old", "--yes", "--usage", "usage.jsonl"];
    let ran = sandbox.run(&destroy, 5);
    ran.says("still opens 4 envelopes, 3 of which nothing else opens").says("envctl rotate");
    sandbox.run(&[&destroy[..], &["--dry-run"]].concat(), 5);
    sandbox.run(&["decrypt", "-k", "local:old", "tree/0.envelope", "-o", "out"], 0);
    // Another key is not in the way.
    sandbox.run(&["keys", "deactivate", "new"], 0);
    sandbox
        .run(&["keys", "destroy", "new", "--yes", "--usage", "usage.jsonl"], 5)
        .says("still opens 1 envelopes, 0 of which nothing else opens");

    let forced =
        [&destroy[..], &["--force", "--report", "gone.jsonl", "--reason", "tenant 42 left"]].concat();
    sandbox.run(&forced, 0).says("not signed: --audit-log FILE");
    sandbox.run(&["decrypt", "-f", "-k", "local:old", "tree/0.envelope", "-o", "out"], 5).says("destroyed");
    let lines = lines(&sandbox, "gone.jsonl");
    assert_eq!(lines[0]["reason"], "tenant 42 left");
    assert!(lines[0]["key"].as_str().unwrap().starts_with("local:"), "{}", lines[0]);
    let mut items: Vec<_> = lines[1..4].iter().map(|line| line["item"].as_str().unwrap()).collect();
    items.sort_unstable();
    assert_eq!(items, ["tree/0.envelope", "tree/1.envelope", "tree/2.envelope"]);
    assert_eq!(lines[4]["state"], "destroyed");
    assert_eq!((&lines[4]["end"]["opened"], &lines[4]["end"]["unreadable"]), (&4.into(), &3.into()));
    assert_eq!(lines[4]["end"]["by_version"]["1"]["unreadable"], 3);
    assert_eq!(lines.len(), 5);
}

#[test]
fn the_report_of_a_destruction_tells_the_version_and_is_there_when_standard_output_is_full() {
    let sandbox = tree(1);
    sandbox.run(&["keys", "rotate", "old"], 0);
    sandbox.run(&["keys", "usage", "tree", "--report", "usage.jsonl"], 0);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let destroy = ["keys", "destroy", "old", "--version", "1", "--yes", "--usage", "usage.jsonl", "--force"];
    let mut command = sandbox.envctl(&[&destroy[..], &["--report", "gone.jsonl"]].concat());
    Ran::of(command.stdout(full).output().unwrap(), 3).says("No space left");
    let lines = lines(&sandbox, "gone.jsonl");
    assert_eq!((&lines[0]["version"], &lines[1]["item"]), (&"1".into(), &"tree/0.envelope".into()));
    assert_eq!(lines[2]["state"], "destroyed", "the key itself is active");
}

#[test]
fn a_key_is_not_destroyed_where_there_is_no_room_for_the_report_of_it() {
    let sandbox = tree(1);
    sandbox.run(&["keys", "deactivate", "old"], 0);
    sandbox.run(&["keys", "usage", "tree", "--report", "usage.jsonl"], 0);
    // More than a file may have, which is 6 blocks of 512 or 1024 bytes, and less than is in memory before it is written.
    let reason = "r".repeat(7_000);
    let destroy =
        ["keys", "destroy", "old", "--yes", "--usage", "usage.jsonl", "--force", "--report", "gone.jsonl"];
    let envctl = sandbox.envctl(&[&destroy[..], &["--reason", &reason]].concat());
    let mut command = std::process::Command::new("sh");
    command
        .arg("-c")
        .arg("ulimit -f 6; exec \"$0\" \"$@\"")
        .arg(envctl.get_program())
        .args(envctl.get_args());
    command.current_dir(envctl.get_current_dir().unwrap()).env_clear();
    command.envs(envctl.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Ran::of(command.output().unwrap(), 3).says("gone.jsonl");
    assert!(!sandbox.files().contains(&"gone.jsonl".to_owned()));
    sandbox.run(&["decrypt", "-k", "local:old", "tree/0.envelope", "-o", "out"], 0);
}

#[test]
fn the_report_of_a_destruction_is_signed_by_the_key_of_the_audit_log_and_verifies_until_it_is_changed() {
    let sandbox = tree(2);
    sandbox.run(&["keys", "deactivate", "old"], 0);
    let created = sandbox.run(&["audit", "create", "-k", "local:new", "audit.log", "--json"], 0).json();
    let public_key = created["public_key"].as_str().unwrap();
    sandbox.run(&["keys", "usage", "tree", "--report", "usage.jsonl"], 0);
    let destroy = ["keys", "destroy", "old", "--yes", "--usage", "usage.jsonl", "--force", "--report"];
    let signed = ["gone.jsonl", "--json"];
    // A log that does not open: nothing is destroyed.
    sandbox.run(&[&destroy[..], &["gone.jsonl", "--audit-log", "none.log"]].concat(), 3).says("none.log");
    assert!(!sandbox.files().contains(&"gone.jsonl".to_owned()));
    // The flag, the variable or the configuration names the log: what is recorded there is signed by its key.
    sandbox.configure(&format!("[audit]\nfile = {:?}\n", sandbox.file("audit.log")));
    let ran = sandbox.run(&[&destroy[..], &signed].concat(), 0);
    let listed = sandbox.run(&["audit", "list", "--operation", "change_key", "audit.log"], 0).text();
    assert_eq!(listed.lines().count(), 2, "begun and done: {listed}");
    ran.says(&format!("\"signed_by\":\"{public_key}\""));
    let lines = lines(&sandbox, "gone.jsonl");
    assert_eq!(lines.last().unwrap()["document_signature"], 1);
    let verify = ["audit", "verify-report", "gone.jsonl"];
    let by_key = [&verify[..], &["--public-key", public_key, "--json"]].concat();
    let found = sandbox.run(&by_key, 0).json();
    let whole = sandbox.read("gone.jsonl");
    let line = whole.iter().rev().skip(1).position(|byte| *byte == b'\n').unwrap() + 1;
    assert_eq!(found["bytes"], whole.len() - line);
    sandbox.run(&[&verify[..], &["--log", "audit.log"]].concat(), 0);
    // A line is taken out, another log is asked, the end is missing.
    let text = String::from_utf8(whole).unwrap();
    let lost = text.lines().nth(1).unwrap();
    fs::write(sandbox.file("gone.jsonl"), text.replace(&format!("{lost}\n"), "")).unwrap();
    sandbox.run(&by_key, 7).says("gone.jsonl: it was changed since it was signed");
    fs::write(sandbox.file("gone.jsonl"), text.trim_end()).unwrap();
    sandbox.run(&by_key, 7).says("it is not signed, or its end is missing");
    sandbox.run(&["audit", "create", "-k", "local:new", "other.log"], 0);
    fs::write(sandbox.file("gone.jsonl"), &text).unwrap();
    sandbox.run(&[&verify[..], &["--log", "other.log"]].concat(), 7).says("by the key of another log");
    sandbox.run(&verify, 2);
    sandbox.run(&["audit", "verify-report", "/dev/zero", "--log", "audit.log"], 2).says("no regular file");
}

#[test]
fn a_version_goes_once_its_envelopes_were_rotated() {
    let sandbox = tree(2);
    sandbox.run(&["keys", "rotate", "old"], 0);
    let destroy = ["keys", "destroy", "old", "--version", "1", "--yes", "--usage", "usage.jsonl"];
    sandbox.run(&destroy, 3).says("usage.jsonl");
    sandbox.run(&["keys", "usage", "tree", "--report", "usage.jsonl"], 0);
    sandbox.run(&destroy, 5).says("version 1 of ").says("still opens 2 envelopes");
    sandbox.run(&["rotate", "--to", "local:old", "tree"], 0);
    sandbox
        .run(&["keys", "usage", "tree", "--report", "usage.jsonl"], 3)
        .says("is there already")
        .says("name another file");
    sandbox.run(&["keys", "usage", "tree", "--report", "now.jsonl"], 0);
    // A newer run does not take the place of an older one by itself: they may be of two machines.
    let both = ["--usage", "now.jsonl", "--dry-run"];
    let refused = sandbox.run(&[&destroy[..], &both].concat(), 5);
    refused
        .says("still opens 2 envelopes")
        .says("usage.jsonl and now.jsonl both count tree")
        .says("name now.jsonl alone");
    let twice = [
        "keys",
        "destroy",
        "old",
        "--version",
        "1",
        "--yes",
        "--usage",
        "now.jsonl",
        "--usage",
        "./now.jsonl",
    ];
    sandbox.run(&twice, 2).says("now.jsonl: it is named twice");
    sandbox.run(&["keys", "destroy", "old", "--version", "1", "--yes", "--usage", "now.jsonl"], 0);
    sandbox.run(&["decrypt", "-k", "local:old", "tree/0.envelope", "-o", "out"], 0);
}

#[test]
fn a_usage_report_that_is_old_cut_off_or_incomplete_is_told() {
    let sandbox = tree(1);
    sandbox.run(&["keys", "deactivate", "old"], 0);
    let destroy = ["keys", "destroy", "old", "--yes", "--usage", "usage.jsonl"];
    let begin = "{\"envelope_usage\":1,\"made\":\"2020-01-01T00:00:00Z\",\"of\":[]}\n";
    sandbox.write("usage.jsonl", begin.as_bytes());
    sandbox.run(&destroy, 3).says("cut off");
    sandbox.write("usage.jsonl", b"hello\n");
    sandbox.run(&destroy, 2).says("it is no usage report");
    sandbox.write("usage.jsonl", format!("{begin}{{\"envelopes\":0,\"not_read\":2}}\n").as_bytes());
    sandbox.run(&destroy, 5).says("2 items could not be read").says("days ago");
    sandbox.write("usage.jsonl", format!("{begin}{{\"envelopes\":0,\"not_read\":0}}\n").as_bytes());
    let empty = sandbox.read("usage.jsonl");
    sandbox.run(&["keys", "usage", "tree", "--report", "full.jsonl"], 0);
    sandbox.write("usage.jsonl", &[empty.clone(), sandbox.read("full.jsonl")].concat());
    sandbox.run(&destroy, 2).says("it goes on behind its end");
    sandbox.write("usage.jsonl", &empty);
    sandbox.run(&destroy, 0).says("days ago").says("counts no envelope at all");
    // Without one, what to do is said.
    sandbox.run(&["keys", "deactivate", "new"], 0);
    sandbox.run(&["keys", "destroy", "new", "--yes"], 0).says("envctl keys usage PATH --report FILE");
}

#[test]
fn paths_that_overlap_are_told() {
    let sandbox = tree(1);
    let ran: Ran = sandbox.run(&["keys", "usage", "tree", "tree/0.envelope"], 0);
    ran.says("tree/0.envelope is named twice, as it is part of tree");
}
