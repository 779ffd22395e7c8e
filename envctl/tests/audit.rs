//! `envctl audit`: a log that is created, read, verified, signed and pruned at the shell.

use std::fs;

use crate::common::Sandbox;

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
    crate::common::Ran::of(wrong.env("ENVCTL_PASSPHRASE", "wrong").output().unwrap(), 4);
    sandbox.run(&["audit", "verify", "--public-key", "00", "log"], 2).says("64 hexadecimal digits");
    sandbox.run(&["audit", "verify", "--public-key", &"00".repeat(32), "log"], 7);
}
