//! Wrong calls: told in the form that was asked for, without what may be a secret.

use std::os::unix::ffi::OsStrExt;

use super::common::{Ran, Sandbox};

#[test]
fn usage_errors_are_json_on_request() {
    let sandbox = Sandbox::new();
    for arguments in [
        &["--json", "encrypt", "--nonsense"][..],
        &["encrypt", "--passphrase-fd", "x", "--json"],
        &["--json"],
        &["--json", "no-such-command"],
        &["keys", "--json"],
    ] {
        let ran = sandbox.run(arguments, 2);
        let error: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
        assert_eq!(error["error"]["kind"], "usage", "{arguments:?}");
        assert_eq!(error["error"]["exit_code"], 2);
        assert_eq!(ran.stderr.lines().count(), 1, "{arguments:?}");
    }
    let told = sandbox.run(&["encrypt", "--nonsense"], 2);
    told.says("unexpected argument '--nonsense'").says("Usage: envctl encrypt");
}

#[test]
fn help_and_version_go_to_standard_output() {
    let sandbox = Sandbox::new();
    for arguments in [&["--version"][..], &["--help"], &["help", "encrypt"], &["--json", "encrypt", "-h"]] {
        let ran = sandbox.run(arguments, 0);
        assert!(ran.text().contains("envctl") && ran.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_secret_in_the_wrong_place_of_the_call_is_not_repeated() {
    let sandbox = Sandbox::new();
    for line in [
        "inspect in hunter2",
        "hunter2",
        "encrypt -phunter2",
        "encrypt --passphrase hunter2",
        "encrypt --passphrase=hunter2",
        "encrypt --passphrase-fd hunter2",
        "encrypt --pin=hunter2",
        "encrypt -c hunter2",
        "decrypt --expect hunter2",
        "keys create x --tag hunter2",
        "completions hunter2",
    ] {
        for json in [false, true] {
            let mut arguments: Vec<_> = line.split(' ').collect();
            arguments.extend(json.then_some("--json"));
            let ran = sandbox.run(&arguments, 2);
            assert!(!ran.stderr.contains("hunter2"), "{line}: {}", ran.stderr);
        }
    }
}

#[test]
fn an_empty_variable_is_as_good_as_none() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.envctl(&["encrypt", "-o", "out"]);
    for name in ["CONFIG", "PROFILE", "KEYSTORE", "PKCS11_MODULE", "PKCS11_TOKEN", "KEYS"] {
        command.env(format!("ENVCTL_{name}"), "");
    }
    Ran::of(command.output().unwrap(), 0);
    for (name, code) in [("CONFIG", 3), ("PROFILE", 2)] {
        let mut command = sandbox.envctl(&["encrypt", "-f", "-o", "out"]);
        Ran::of(command.env(format!("ENVCTL_{name}"), "missing").output().unwrap(), code).says("missing");
    }
    sandbox.run(&["--config", "", "encrypt", "-o", "out"], 2);
}

#[test]
fn keys_of_the_environment_stand_between_any_blanks() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main", "other"]);
    sandbox.write("in", b"x");
    let encrypt = |keys: &str, name: &str| {
        let mut command = sandbox.envctl(&["encrypt", "in", "-o", name]);
        Ran::of(command.env("ENVCTL_KEYS", keys).output().unwrap(), 0)
    };
    encrypt("", "a").says("encrypted for passphrase:");
    encrypt("  ", "b").says("encrypted for passphrase:");
    encrypt(" local:main  local:other ", "c").says("/main, local://");
    let mut command = sandbox.envctl(&["encrypt", "in", "-o", "d", "-k", ""]);
    Ran::of(command.env("ENVCTL_KEYS", "local:main").output().unwrap(), 2);
    let mut command = sandbox.envctl(&["decrypt", "c", "-o", "e"]);
    Ran::of(command.env("ENVCTL_KEYS", "local:other ").output().unwrap(), 0);
}

#[test]
fn names_that_drive_a_terminal_are_shown_and_not_obeyed() {
    let sandbox = Sandbox::new();
    let name = "a\x1b[2J\u{9b}31m\u{202e}\nb";
    sandbox.write(name, b"x");
    let odd = |text: &str| text.contains(['\x1b', '\u{9b}', '\u{202e}']) || text.contains("\nb");
    let missing = format!("{name}2");
    for (arguments, code) in [
        (&["encrypt", name][..], 0),
        (&["encrypt", name], 3),
        (&["inspect", name], 4),
        (&["inspect", &format!("{name}.envelope")], 0),
        (&["decrypt", &format!("{name}.envelope"), "-f"], 0),
        (&["rewrap", "-k", "passphrase:", &format!("{name}.envelope"), "--dry-run"], 0),
        (&["rewrap", name, &missing], 4),
        (&["encrypt", &missing], 3),
        (&["--config", &missing, "encrypt", "-o", "x"], 3),
        (&["--passphrase-file", &missing, "encrypt", "-o", "x"], 3),
        (&["--keystore", &missing, "keys", "list"], 3),
        (&["--keystore", name, "keystore", "init"], 3),
        (&["--keystore", &format!("{name}3"), "keystore", "init"], 0),
        (&["--profile", name, "encrypt", "-o", "x"], 2),
        (&["--keystore", &format!("{name}3"), "keys", "create", name], 2),
        (&["encrypt", "-c", &format!("{name}=1"), "-c", &format!("{name}=2"), "-o", "x"], 2),
        (&["encrypt", "--withhold", name, "-o", "x"], 2),
        (&["decrypt", "--expect", &format!("{name}=1"), &format!("{name}.envelope"), "-o", "x"], 4),
        (&["man", "--dir", &missing], 3),
    ] {
        for json in [false, true] {
            if json && code == 0 && !matches!(arguments[0], "inspect") {
                continue;
            }
            let all = [arguments, if json { &["--json"][..] } else { &[] }].concat();
            let mut command = sandbox.envctl(&all);
            command.env("ENVCTL_NEW_PASSPHRASE", "words");
            let ran = Ran::of(command.output().unwrap(), code);
            let printed = format!("{}{}", ran.text(), ran.stderr);
            assert!(!odd(&printed), "{arguments:?}: {printed:?}");
        }
    }
}

#[test]
fn json_of_a_name_that_is_no_text_is_valid() {
    let sandbox = Sandbox::new();
    let name = std::ffi::OsStr::from_bytes(b"a\xffb");
    std::fs::write(sandbox.file("x").with_file_name(name), b"x").unwrap();
    let mut command = sandbox.envctl(&["--json", "encrypt"]);
    let ran = Ran::of(command.arg(name).output().unwrap(), 0);
    assert_eq!(ran.json()["output"], "a\u{fffd}b.envelope");
    let mut command = sandbox.envctl(&["encrypt"]);
    Ran::of(command.arg(name).output().unwrap(), 3).says("a\\xffb.envelope");
}
