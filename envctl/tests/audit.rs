//! `envctl audit`: a log that is created, read, verified, signed and pruned at the shell; and the log of what envctl does.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt, chown},
};

use envelope_audit::{Filter, write_json};
use serde_json::Value;

use crate::common::{PASSPHRASE, Ran, Sandbox};

fn sandbox() -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    let created = sandbox.run(&["--json", "audit", "create", "-k", "local:main", "log"], 0).json();
    let public_key = created["public_key"].as_str().unwrap().to_owned();
    (sandbox, public_key)
}

#[test]
fn a_log_is_created_listed_signed_and_verified_with_and_without_its_secret() {
    let (sandbox, public_key) = sandbox();
    let anchor = sandbox.run(&["audit", "checkpoint", "-k", "local:main", "log"], 0).text();
    sandbox.write("anchor", anchor.as_bytes());
    let ran = sandbox.run(&["audit", "verify", "-k", "local:main", "--anchor", "anchor", "log"], 0);
    assert!(
        ran.text()
            .starts_with("log: as it was written: 2 records, 1 to 2, in 1 segments\n  signed up to record")
    );
    let told = sandbox.run(&["audit", "verify", "--public-key", &public_key, "log"], 0).text();
    assert!(
        told.starts_with("log: agrees with itself: 2 records") && told.contains("anybody could"),
        "{told}"
    );
    let told = sandbox.run(&["--json", "audit", "verify", "--public-key", &public_key, "log"], 0).json();
    assert_eq!((&told["authentic_to"], &told["public_key"]), (&1.into(), &public_key.as_str().into()));
    sandbox.write("anchor", b"");
    let emptied = ["audit", "verify", "-k", "local:main", "--anchor", "anchor", "log"];
    sandbox.run(&emptied, 2).says("there is no checkpoint in it");
    let listed = sandbox.run(&["audit", "list", "log"], 0).text();
    assert!(listed.lines().next().unwrap().contains(" log-begin ok"), "{listed}");
    let actor = listed.split(' ').nth(2).unwrap().to_owned();
    assert!(actor.starts_with("cli:"), "{listed}");
    let json = sandbox.run(&["audit", "export", "--operation", "log-checkpoint", "log"], 0).json();
    assert_eq!(json.as_array().unwrap().len(), 1);
    let csv = sandbox.run(&["audit", "export", "--format", "csv", "--outcome", "failed", "log"], 0).text();
    assert_eq!(csv.lines().count(), 1);
    sandbox.run(&["audit", "create", "-k", "local:main", "log"], 3).says("is there already");
}

#[test]
fn the_keys_of_the_environment_are_those_of_a_log_too_unless_the_call_names_others() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main", "other"]);
    let run = |keys: &str, args: &[&str], code| {
        let mut command = sandbox.envctl(args);
        command.env_remove("ENVCTL_PASSPHRASE").env("ENVCTL_KEYSTORE_PASSPHRASE", PASSPHRASE);
        Ran::of(command.env("ENVCTL_KEYS", keys).output().unwrap(), code)
    };
    run("local:main", &["audit", "create", "log"], 0);
    run("local:main", &["audit", "checkpoint", "log"], 0);
    run("local:main", &["audit", "verify", "log"], 0);
    run("local:main", &["audit", "prune", "--up-to", "1", "log"], 0);
    run("local:other", &["audit", "verify", "log"], 4);
    run("local:other", &["audit", "verify", "-k", "local:main", "log"], 0);
}

#[test]
fn a_record_that_was_changed_is_named_with_exit_code_7() {
    let (sandbox, public_key) = sandbox();
    sandbox.run(&["audit", "checkpoint", "-k", "local:main", "log"], 0);
    let text = fs::read_to_string(sandbox.file("log")).unwrap();
    fs::write(sandbox.file("log"), text.replacen("\"actor\":\"cli:", "\"actor\":\"clj:", 1)).unwrap();
    sandbox.run(&["audit", "verify", "-k", "local:main", "log"], 7).says("log, line 1: ");
    sandbox.run(&["audit", "verify", "--public-key", &public_key, "log"], 7).says("log, line ");
    fs::write(sandbox.file("log"), &text[..text.find('\n').unwrap() + 1]).unwrap();
    sandbox.run(&["audit", "verify", "-k", "local:main", "log"], 7).says("the log was cut");
    // Nothing is written behind it.
    sandbox.run(&["audit", "checkpoint", "-k", "local:main", "log"], 7);
    fs::remove_file(sandbox.file("log.key")).unwrap();
    sandbox.run(&["audit", "verify", "-k", "local:main", "log"], 7).says("its key file is gone");
}

#[test]
fn a_log_that_is_not_there_or_does_not_open_says_so() {
    let (sandbox, _) = sandbox();
    sandbox.run(&["audit", "verify", "-k", "local:main", "other"], 3).says("there is no audit log");
    sandbox.run(&["audit", "list", "other"], 3).says("other");
    let mut wrong = sandbox.envctl(&["audit", "verify", "-k", "local:main", "log"]);
    Ran::of(wrong.env("ENVCTL_PASSPHRASE", "wrong").output().unwrap(), 4);
    sandbox.run(&["audit", "verify", "--public-key", "00", "log"], 2).says("64 hexadecimal digits");
    sandbox.run(&["audit", "verify", "--public-key", &"00".repeat(32), "log"], 7);
}

/// A sandbox whose configuration has a log, under the key of the keystore that everything is done with, and `more` of `[audit]`.
fn audited(more: &str) -> Sandbox {
    let (sandbox, _) = sandbox();
    sandbox.write("plain", b"plaintext");
    configure(&sandbox, more);
    sandbox
}

fn configure(sandbox: &Sandbox, more: &str) {
    let log = sandbox.file("log");
    sandbox.configure(&format!("keys = ['local:main']\n[audit]\nfile = {log:?}\n{more}\n"));
}

/// The records of the log, without those of the log itself.
fn records(sandbox: &Sandbox) -> Vec<Value> {
    let mut exported = Vec::new();
    write_json(&sandbox.file("log"), &Filter::new(), &mut exported).unwrap();
    let exported: Value = serde_json::from_slice(&exported).unwrap();
    let all = exported.as_array().unwrap().iter();
    all.filter(|record| !text(record, "operation").starts_with("log-")).cloned().collect()
}

fn text<'a>(record: &'a Value, member: &str) -> &'a str {
    record[member].as_str().unwrap_or_default()
}

/// `operation outcome` of each record, without what the log works under.
fn told(records: &[Value]) -> Vec<String> {
    let said = |record: &Value| format!("{} {}", text(record, "operation"), text(record, "outcome"));
    records.iter().map(said).filter(|said| said != "config ok").collect()
}

fn detail<'a>(record: &'a Value, name: &str) -> Option<&'a str> {
    record["detail"].as_array()?.iter().find(|pair| pair[0] == name)?[1].as_str()
}

fn verify(sandbox: &Sandbox) -> Value {
    sandbox.run(&["--json", "audit", "verify", "-k", "local:main", "log"], 0).json()
}

/// What uses no key: nothing of it is recorded. `audit` of the log itself has records of its own, so have requests to `mcp`;
/// `destroy-data-key` asks a table first, and `records.rs` has its record.
const UNRECORDED: [&str; 15] = [
    "audit checkpoint",
    "audit create",
    "audit export",
    "audit list",
    "audit prune",
    "audit verify",
    "audit verify-report",
    "completions",
    "destroy-data-key",
    "inspect",
    "keys usage",
    "man",
    "mcp",
    "policy check",
    "policy test",
];

#[cfg(feature = "sql")]
const NO_DATA_KEY: &str = "00112233445566778899aabbccddeeff";
/// Nobody listens there.
#[cfg(feature = "sql")]
const NO_TABLE: &str = "postgres://nobody@127.0.0.1:1/none?table=people&key=id&column=email&data-key-column=data_key&keys=data_keys";

#[test]
fn every_command_that_uses_a_key_writes_its_record() {
    let sandbox = audited("");
    sandbox.run(&["keys", "create", "other"], 0);
    sandbox.run(&["encrypt", "plain", "-o", "sealed"], 0);
    let calls: &[(&[&str], i32, &str)] = &[
        (&["encrypt", "plain", "-o", "new"], 0, "encrypt ok"),
        (&["decrypt", "new", "-o", "opened"], 0, "decrypt ok"),
        (&["rewrap", "-k", "local:other", "sealed"], 0, "rewrap ok"),
        (&["rotate", "--to", "local:main", "--from", "local:other", "sealed"], 0, "rewrap ok"),
        (&["rotate", "--reencrypt", "--older-than", "2999-01-01", "sealed"], 0, "reencrypt ok"),
        #[cfg(feature = "sql")]
        (
            &["rotate-records", NO_TABLE, "--to", "local:main", "-c", "row={id}", "--old", NO_DATA_KEY],
            3,
            "rotate_records failed",
        ),
        (&["plan", "--to", "local:other", "--from", "local:main", "sealed"], 0, "wrap_dek ok"),
        (&["keys", "create", "third"], 0, "create_key ok"),
        (&["keys", "list"], 0, "list_keys ok"),
        (&["keys", "describe", "third"], 0, "describe_key ok"),
        (&["keys", "rotate", "third"], 0, "rotate_key ok"),
        (&["keys", "not-after", "third", "2030-01-01"], 0, "set_not_after ok"),
        (&["keys", "auto-rotate", "third"], 2, "set_rotation failed"),
        (&["keys", "rotations", "third"], 2, "rotation_status failed"),
        (&["keys", "alias", "alias", "third"], 2, "set_alias failed"),
        (&["keys", "suspend", "third"], 0, "change_key ok"),
        (&["keys", "activate", "third"], 0, "change_key ok"),
        (&["keys", "deactivate", "third"], 0, "change_key ok"),
        (&["keys", "report-compromise", "third"], 0, "change_key ok"),
        (&["keys", "archive", "third"], 0, "change_key ok"),
        (&["keys", "destroy", "--yes", "third"], 0, "change_key ok"),
        (&["keys", "restore", "third"], 2, "restore_key failed"),
        (&["pkcs11", "slots"], 2, "survey failed"),
        (&["keystore", "passwd"], 0, "change_passphrase ok"),
    ];
    let mut left = sandbox.commands();
    let mut known = records(&sandbox).len();
    for (call, code, expected) in calls {
        let mut command = sandbox.envctl(call);
        let ran = Ran::of(command.env("ENVCTL_NEW_PASSPHRASE", PASSPHRASE).output().unwrap(), *code);
        let all = records(&sandbox);
        let new = &all[known..];
        known = all.len();
        assert_eq!(told(new).last().map(String::as_str), Some(*expected), "{call:?}: {}", ran.stderr);
        let requests: BTreeSet<_> = new.iter().map(|record| text(record, "request")).collect();
        assert_eq!(requests.len(), 1, "{call:?}: one call is one request: {new:?}");
        left.retain(|name| !format!("{} ", call.join(" ")).starts_with(&format!("{name} ")));
    }
    // A log that is under a key of the keystore is no place to record that there is another one.
    let init = ["--keystore", "new-keystore", "keystore", "init"];
    sandbox.run(&init, 3).says("nothing was done, since it cannot be recorded");
    assert!(!sandbox.files().contains(&"new-keystore".to_owned()));
    left.remove("keystore init");
    left.retain(|name| !UNRECORDED.contains(&name.as_str()));
    assert!(left.is_empty(), "commands that nobody tried here: {left:?}");
    known = records(&sandbox).len();
    sandbox.run(&["inspect", "sealed"], 0);
    sandbox.run(&["keys", "usage", "sealed"], 0);
    assert_eq!(records(&sandbox).len(), known, "what uses no key is not recorded");
    verify(&sandbox);
}

#[test]
fn a_keystore_that_is_made_is_recorded_in_a_log_whose_secret_is_elsewhere() {
    let sandbox = Sandbox::new();
    sandbox.run(&["audit", "create", "-k", "passphrase:", "log"], 0);
    sandbox.run(&["--audit-log", "log", "keystore", "init"], 0);
    assert_eq!(told(&records(&sandbox)), ["create_keystore begun", "create_keystore ok"]);
}

#[test]
fn a_wrong_passphrase_of_a_keystore_is_recorded_in_a_log_whose_secret_is_elsewhere() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&[]);
    sandbox.run(&["audit", "create", "-k", "passphrase:", "log"], 0);
    sandbox.write("wrong", b"wrong");
    let passwd = ["--audit-log", "log", "--keystore-passphrase-file", "wrong", "keystore", "passwd"];
    sandbox.run(&passwd, 4);
    let all = records(&sandbox);
    assert_eq!(told(&all), ["change_passphrase failed"]);
    assert_eq!(text(all.last().unwrap(), "error"), "unauthentic");
}

#[test]
fn a_record_says_who_used_which_version_of_which_key_for_which_envelope() {
    let sandbox = audited("show-values = ['tenant']");
    let context = ["-c", "tenant=acme", "-c", "patient=Jane Roe"];
    sandbox.run(&[&["encrypt", "plain", "-o", "sealed"], &context[..]].concat(), 0);
    sandbox.run(&["decrypt", "sealed", "-o", "opened"], 0);
    let records = records(&sandbox);
    assert_eq!(told(&records), ["wrap_dek ok", "encrypt ok", "unwrap_dek ok", "decrypt ok"]);
    let id = sandbox.run(&["--json", "inspect", "sealed"], 0).json()["envelope_id"].clone();
    for record in &records[2..] {
        assert_eq!(record["envelope"], id, "{record}");
        assert_eq!((text(record, "key_version"), &record["generation"]), ("1", &0.into()));
        assert!(text(record, "key").ends_with("/main") && text(record, "actor").starts_with("cli:"));
        assert_eq!(record["context"], serde_json::json!([["tenant", "acme"]]));
    }
    let log = String::from_utf8(sandbox.read("log")).unwrap();
    assert!(!log.contains("Jane") && !log.contains("patient"), "what is not listed is not recorded");
}

#[test]
fn what_does_not_authenticate_is_recorded_by_its_kind_and_nothing_is_left() {
    let sandbox = audited("");
    sandbox.run(&["encrypt", "plain", "-c", "tenant=acme", "-o", "sealed"], 0);
    let mut bytes = sandbox.read("sealed");
    *bytes.last_mut().unwrap() ^= 1;
    sandbox.write("changed", &bytes);
    let known = records(&sandbox).len();
    sandbox.run(&["decrypt", "changed", "-o", "opened"], 4);
    sandbox.run(&["decrypt", "-c", "tenant=other", "sealed", "-o", "opened"], 4);
    let all = records(&sandbox);
    let failed: Vec<_> =
        all[known..].iter().filter(|record| text(record, "operation") == "decrypt").collect();
    assert_eq!(failed.len(), 2, "{all:?}");
    for record in failed {
        assert_eq!((text(record, "outcome"), text(record, "error")), ("failed", "unauthentic"), "{record}");
    }
    assert!(!sandbox.files().contains(&"opened".to_owned()));
}

#[test]
fn what_was_done_is_not_recorded_as_failed_because_its_input_could_not_be_removed() {
    let sandbox = audited("");
    // A regular file that nobody can remove, root neither.
    sandbox.run(&["encrypt", "--rm", "/proc/version", "-o", "sealed"], 3).says("/proc/version");
    assert_eq!(told(&records(&sandbox)), ["wrap_dek ok", "encrypt ok"]);
    sandbox.run(&["decrypt", "sealed", "-o", "opened"], 0);
    assert_eq!(sandbox.read("opened"), fs::read("/proc/version").unwrap());
}

#[test]
fn what_is_listed_as_json_drives_no_terminal_and_means_the_same() {
    let sandbox = audited("show-values = ['tenant']");
    let hostile = "a\u{9b}2J\u{202e}b";
    sandbox.run(&["encrypt", "plain", "-o", "sealed", "-c", &format!("tenant={hostile}")], 0);
    let listed = sandbox.run(&["--json", "audit", "list", "--operation", "encrypt", "log"], 0).text();
    assert!(!listed.contains(['\u{9b}', '\u{202e}']), "{listed:?}");
    let record: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(record["context"], serde_json::json!([["tenant", hostile]]));
}

#[test]
fn each_envelope_of_a_rotation_has_its_record_with_the_wraps_that_were_made_for_it() {
    let sandbox = audited("");
    sandbox.run(&["encrypt", "plain", "-o", "one"], 0);
    sandbox.run(&["encrypt", "plain", "-o", "two"], 0);
    sandbox.run(&["keys", "rotate", "main"], 0);
    sandbox.write("no", b"envelope");
    let known = records(&sandbox).len();
    sandbox.run(&["rotate", "one", "two", "no"], 4);
    let all = records(&sandbox);
    let ids: BTreeSet<_> = ["one", "two"]
        .map(|name| sandbox.run(&["--json", "inspect", name], 0).json()["envelope_id"].to_string())
        .into();
    let of = |operation: &str| -> Vec<_> {
        all[known..].iter().filter(|record| text(record, "operation") == operation).collect()
    };
    for operation in ["rewrap", "wrap_dek"] {
        let found: BTreeSet<_> = of(operation).iter().map(|record| record["envelope"].to_string()).collect();
        let found: BTreeSet<_> = found.into_iter().filter(|id| id != "null").collect();
        assert_eq!(found, ids, "{operation}");
    }
    for record in of("rewrap") {
        assert_eq!((text(record, "outcome"), &record["generation"]), ("ok", &1.into()));
        assert_eq!(detail(record, "job"), Some("rotate"));
    }
}

#[test]
fn a_rewrap_that_is_only_tried_is_recorded_as_a_check_however_it_ends() {
    let sandbox = audited("");
    sandbox.run(&["encrypt", "plain", "-c", "tenant=acme", "-o", "sealed"], 0);
    let known = records(&sandbox).len();
    sandbox.run(&["rewrap", "--dry-run", "sealed"], 0);
    sandbox.run(&["rewrap", "--dry-run", "-c", "tenant=other", "sealed"], 4);
    let all = records(&sandbox);
    let checks: Vec<_> = all[known..].iter().filter(|record| text(record, "operation") == "check").collect();
    assert_eq!(checks.iter().map(|record| text(record, "outcome")).collect::<Vec<_>>(), ["ok", "failed"]);
    assert!(checks.iter().all(|record| detail(record, "of") == Some("rewrap")), "{checks:?}");
    assert!(!told(&all).iter().any(|said| said.starts_with("rewrap ")), "nothing was to be rewrapped");
}

#[test]
fn what_a_policy_denies_is_recorded_with_the_rule_and_the_policy_that_was_asked() {
    let sandbox = audited("");
    let policy = |rules: &str| {
        let path = sandbox.write("policy.toml", format!("version = 1\n{rules}").as_bytes());
        configure(&sandbox, &format!("[policy]\nfile = {path:?}"));
        let checked = sandbox.run(&["--json", "policy", "check", "policy.toml"], 0).json();
        checked["policy"].as_str().unwrap().to_owned()
    };
    let first = policy("[[rule]]\nname = 'no-rotation'\neffect = 'deny'\noperation = ['rotate']\n");
    sandbox.run(&["keys", "rotate", "main"], 5).says("no-rotation");
    sandbox.run(&["encrypt", "plain", "-o", "sealed"], 0);
    let second = policy("[[rule]]\nname = 'nobody'\neffect = 'deny'\n");
    sandbox.run(&["decrypt", "sealed", "-o", "opened"], 5).says("nobody");
    sandbox.run(&["keystore", "passwd"], 5).says("nobody");
    let all = records(&sandbox);
    // What an alias means is asked, too, and denied.
    let is_denied =
        |record: &&Value| text(record, "outcome") == "denied" && text(record, "operation") != "resolve";
    let denied: Vec<_> = all.iter().filter(is_denied).collect();
    let said: Vec<_> = denied
        .iter()
        .map(|record| (text(record, "operation"), text(record, "rule"), detail(record, "policy").unwrap()))
        .collect();
    assert_eq!(
        said,
        [
            ("rotate_key", "no-rotation", &*first),
            ("unwrap_dek", "nobody", &second),
            ("change_passphrase", "nobody", &second),
        ]
    );
    let wrap = all.iter().find(|record| text(record, "operation") == "wrap_dek").unwrap();
    assert_eq!(detail(wrap, "policy"), Some(&*first), "what is allowed has its policy, too");
    let changed: Vec<_> = all.iter().filter(|record| text(record, "operation") == "policy-changed").collect();
    let [changed] = changed.as_slice() else { panic!("{changed:?}") };
    assert_eq!((detail(changed, "before"), detail(changed, "policy")), (Some(&*first), Some(&*second)));
}

#[test]
fn a_configuration_that_changed_is_recorded_once() {
    let sandbox = audited("");
    sandbox.run(&["keys", "list"], 0);
    sandbox.run(&["keys", "list"], 0);
    configure(&sandbox, "segment-age = '30days'");
    sandbox.run(&["keys", "list"], 0);
    sandbox.run(&["keys", "list"], 0);
    let all = records(&sandbox);
    let under: Vec<_> = all.iter().filter(|record| text(record, "operation").starts_with("config")).collect();
    let [first, changed] = under.as_slice() else { panic!("{under:?}") };
    assert_eq!((text(first, "operation"), text(changed, "operation")), ("config", "config-changed"));
    assert_eq!(detail(changed, "before"), detail(first, "configuration"));
    assert_ne!(detail(changed, "configuration"), detail(first, "configuration"));
}

#[test]
fn a_log_that_cannot_be_used_refuses_with_exit_code_3_before_any_key_is_asked() {
    let sandbox = audited("");
    let encrypt = ["--audit-log", "other", "encrypt", "plain", "-o", "new"];
    sandbox.run(&encrypt, 3).says("there is no audit log other").says("envctl audit create");
    sandbox.run(&["--audit-log", "other", "keys", "create", "third"], 3).says("there is no audit log");
    let encrypt = &encrypt[2..];
    let (log, kept) = (sandbox.file("log"), sandbox.file("kept"));
    for ending in ["", ".key", ".head", ".lock"] {
        let file = sandbox.file(&format!("log{ending}"));
        fs::rename(&file, &kept).unwrap();
        sandbox.run(encrypt, 3);
        std::os::unix::fs::symlink(&kept, &file).unwrap();
        let linked = sandbox.run(encrypt, if ending == ".key" { 0 } else { 3 });
        assert!(ending == ".key" || linked.stderr.contains("log"), "{ending}: {}", linked.stderr);
        fs::remove_file(&file).unwrap();
        let _ = fs::remove_file(sandbox.file("new"));
        rustix::fs::mkfifoat(rustix::fs::CWD, &file, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)
            .unwrap();
        sandbox.run(encrypt, 3).says("log");
        fs::remove_file(&file).unwrap();
        fs::rename(&kept, &file).unwrap();
    }
    fs::set_permissions(sandbox.file("log.key"), fs::Permissions::from_mode(0o666)).unwrap();
    sandbox.run(encrypt, 3).says("log.key");
    fs::set_permissions(sandbox.file("log.key"), fs::Permissions::from_mode(0o600)).unwrap();
    if rustix::process::geteuid().is_root() {
        for ending in ["", ".key", ".head", ".lock"] {
            let file = sandbox.file(&format!("log{ending}"));
            chown(&file, Some(NOBODY), None).unwrap();
            sandbox.run(encrypt, 3).says("log");
            chown(&file, Some(0), None).unwrap();
        }
    }
    let whole = fs::read(&log).unwrap();
    fs::write(&log, &whole[..whole.len() - 5]).unwrap();
    sandbox.run(encrypt, 3).says("damaged").says("audit verify");
    fs::write(&log, whole).unwrap();
    assert!(!sandbox.files().contains(&"new".to_owned()), "{:?}", sandbox.files());
    sandbox.run(encrypt, 0);
    verify(&sandbox);
}

#[test]
fn a_log_that_may_not_grow_refuses_what_it_cannot_record_and_nothing_is_left_over() {
    let sandbox = audited("");
    let names: Vec<_> = (0..24).map(|number| format!("file-{number}")).collect();
    for name in &names {
        sandbox.write(name, b"plaintext");
    }
    let mut call = vec!["encrypt"];
    call.extend(names.iter().map(String::as_str));
    sandbox.run(&call, 0);
    sandbox.run(&["encrypt", "plain", "-o", "sealed"], 0);
    let before = sandbox.files();
    let known = verify(&sandbox)["last"].clone();
    // No file may have more than 16 blocks of 512 or 1024 bytes, as sh has it. The log does.
    assert!(sandbox.read("log").len() > 16 * 1024);
    let limited = |call: &[&str], code| {
        let mut command = std::process::Command::new("sh");
        let envctl = sandbox.envctl(&[]);
        command.arg("-c").arg("ulimit -f 16; exec \"$0\" \"$@\"").arg(envctl.get_program()).args(call);
        command.current_dir(envctl.get_current_dir().unwrap()).env_clear();
        command.envs(envctl.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Ran::of(command.output().unwrap(), code)
    };
    limited(&["encrypt", "plain", "-o", "new"], 3).says("nothing was done, since it cannot be recorded");
    limited(&["decrypt", "sealed", "-o", "new"], 3).says("not recorded");
    limited(&["rewrap", "sealed"], 3).says("not recorded");
    limited(&["keys", "create", "third"], 3).says("nothing was changed");
    assert_eq!(sandbox.files(), before);
    assert_eq!(verify(&sandbox)["last"], known);
    // Unless the configuration says so.
    configure(&sandbox, "if-unwritable = 'go-on'");
    limited(&["encrypt", "plain", "-o", "new"], 0)
        .says("warning: an operation was not recorded in the audit log: ");
    limited(&["decrypt", "new", "-o", "opened"], 0);
    assert_eq!(sandbox.read("opened"), b"plaintext");
    assert_eq!(verify(&sandbox)["last"], known);
    sandbox.run(&["--audit-log", "none", "encrypt", "plain", "-o", "newer"], 0);
    assert!(!sandbox.files().contains(&"none".to_owned()), "nobody begins a log by writing");
}

#[test]
fn a_log_of_calls_that_were_killed_is_as_it_was_written_and_has_what_got_its_name() {
    let sandbox = audited("");
    let names: Vec<_> = (0..100).map(|number| format!("file-{number}")).collect();
    for name in &names {
        sandbox.write(name, b"plaintext");
    }
    for round in 1..=3_usize {
        let mut call = vec!["encrypt", "--force"];
        call.extend(names.iter().map(String::as_str));
        let mut child = sandbox.envctl(&call).stderr(std::process::Stdio::null()).spawn().unwrap();
        // At a place of its own each time, by what it has done and not by a clock.
        while child.try_wait().unwrap().is_none() && outputs(&sandbox) < round * 15 {
            std::thread::yield_now();
        }
        let _ = child.kill();
        child.wait().unwrap();
        verify(&sandbox);
        let recorded: BTreeSet<_> = records(&sandbox)
            .iter()
            .filter(|record| text(record, "operation") == "encrypt" && text(record, "outcome") == "ok")
            .map(|record| text(record, "envelope").to_owned())
            .collect();
        for name in sandbox.files().iter().filter(|name| name.ends_with(".envelope")) {
            let header = envelope_sdk::Envelope::inspect(&sandbox.read(name)).unwrap();
            let id: String = header.envelope_id().iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(recorded.contains(&id), "{name} is there, and no record of it");
            fs::remove_file(sandbox.file(name)).unwrap();
        }
    }
}

fn outputs(sandbox: &Sandbox) -> usize {
    sandbox.files().iter().filter(|name| name.ends_with(".envelope")).count()
}

#[test]
fn two_calls_at_once_write_one_log() {
    let sandbox = audited("");
    let mut children: Vec<_> = ["a", "b"]
        .map(|folder| {
            fs::create_dir(sandbox.file(folder)).unwrap();
            for number in 0..40 {
                sandbox.write(&format!("{folder}/{number}"), b"plaintext");
            }
            let mut command = sandbox.envctl(&["encrypt", "-r", folder]);
            command.stderr(std::process::Stdio::null()).spawn().unwrap()
        })
        .into();
    assert!(children.iter_mut().all(|child| child.wait().unwrap().success()));
    verify(&sandbox);
    let all = records(&sandbox);
    let encrypted: Vec<_> = all.iter().filter(|record| text(record, "operation") == "encrypt").collect();
    let requests: BTreeSet<_> = encrypted.iter().map(|record| text(record, "request")).collect();
    assert_eq!((encrypted.len(), requests.len()), (80, 2));
}

#[test]
fn the_call_goes_before_the_variable_and_that_before_the_configuration() {
    let (sandbox, _) = sandbox();
    for log in ["of-call", "of-variable"] {
        sandbox.run(&["audit", "create", "-k", "local:main", log], 0);
    }
    configure(&sandbox, "");
    let count = |log: &str| sandbox.run(&["audit", "list", log], 0).text().lines().count();
    let list = |call: &[&str], variable: &str| {
        let mut command = sandbox.envctl(&[call, &["keys", "list"]].concat());
        Ran::of(command.env("ENVCTL_AUDIT", variable).output().unwrap(), 0);
        [count("of-call"), count("of-variable"), count("log")]
    };
    assert_eq!(list(&["--audit-log", "of-call"], "of-variable"), [3, 1, 1]);
    assert_eq!(list(&[], "of-variable"), [3, 3, 1]);
    assert_eq!(list(&[], ""), [3, 3, 3]);
    // A key that opens another log is used like any other; one that opens the log itself is not recorded in it.
    sandbox.run(&["audit", "verify", "of-call"], 0);
    assert_eq!(count("log"), 4);
    sandbox.run(&["audit", "verify", "log"], 0);
    assert_eq!(count("log"), 4, "to look at a log adds nothing to it");
}

const NOBODY: u32 = 65_534;
