//! Whatever does not fit together: exit code 4, no output, the input untouched.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

use crate::common::{Ran, Sandbox, bytes};
use envelope_sdk::Envelope;

#[test]
fn a_wrong_passphrase_key_or_context_gives_exit_code_4_and_no_output() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main", "other"]);
    sandbox.write("in", &bytes(1000));
    sandbox.run(&["encrypt", "in", "-c", "tenant=42", "-c", "case=7", "--withhold", "case"], 0);
    let sealed = sandbox.read("in.envelope");
    let decrypt = ["decrypt", "in.envelope", "-o", "out"];
    let wrong: [&[&str]; 7] = [
        &[],                                        // the withheld value is missing
        &["-c", "case=8"],                          // the withheld value is wrong
        &["-c", "case=7", "-c", "tenant=43"],       // a stored value is another one
        &["-c", "case=7", "-c", "unknown=1"],       // an entry that is not there
        &["-c", "case=7", "--expect", "tenant=43"], // not what was expected
        &["--expect", "case=7"],                    // withheld, so it is not stored
        &["-c", "case=7", "-k", "local:other", "--expect", "nothing=1"],
    ];
    for arguments in wrong {
        sandbox.run(&[&decrypt[..], arguments].concat(), 4);
        assert_eq!(sandbox.files(), ["in", "in.envelope"], "{arguments:?}");
    }
    let right = [&decrypt[..], &["-c", "case=7"]].concat();
    let mut command = sandbox.envctl(&right);
    Ran::of(command.env("ENVCTL_PASSPHRASE", "wrong").output().unwrap(), 4).says("authentication failed");
    assert_eq!(sandbox.files(), ["in", "in.envelope"]);
    assert_eq!(sandbox.read("in.envelope"), sealed);
    sandbox.run(&decrypt, 4).says("withholds values that you must give with -c: case");
    sandbox.run(&[&right[..], &["--expect", "tenant=42"]].concat(), 0);
}

#[test]
fn a_changed_or_cut_file_gives_exit_code_4_and_no_output() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.write("in", &bytes(40_000));
    sandbox.run(&["encrypt", "-k", "local:main", "in"], 0);
    let sealed = sandbox.read("in.envelope");
    let header = Envelope::inspect(&sealed).unwrap().len();
    let refused = |name: &str, damaged: &[u8]| {
        sandbox.write("damaged", damaged);
        let ran = sandbox.run(&["decrypt", "-k", "local:main", "damaged", "-o", "out"], 4);
        assert_eq!(sandbox.files(), ["damaged", "in", "in.envelope"], "{name}");
        assert_eq!(sandbox.read("damaged"), damaged, "{name}");
        ran
    };
    for position in [0, 8, 10, 11, 15, 20, 33, header - 1, header, header + 30, header + 56, sealed.len() - 1]
    {
        let mut damaged = sealed.clone();
        damaged[position] ^= 1;
        refused(&format!("byte {position} flipped"), &damaged);
    }
    let chunk = 16_400;
    for len in
        [0, 1, 15, 16, header, header + 56, header + 56 + chunk, header + 56 + 2 * chunk, sealed.len() - 1]
    {
        refused(&format!("cut to {len}"), &sealed[..len]);
    }
    refused("extended", &[&sealed[..], b"x"].concat());
    refused("text", b"just a text file").says("not an envelope");
}

#[test]
fn damaged_armor_gives_exit_code_4_and_no_output() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.write("in", &bytes(500));
    sandbox.run(&["encrypt", "-a", "-k", "local:main", "in", "-o", "pem"], 0);
    let armored = String::from_utf8(sandbox.read("pem")).unwrap();
    for (name, damaged) in [
        ("no end", armored.replace("-----END ENVELOPE-----\n", "")),
        ("text after", format!("{armored}x")),
        ("long line", armored.replacen('\n', "\nAAAA", 2)),
        ("bad character", armored.replacen("\n", "\n!", 3)),
    ] {
        sandbox.write("damaged", damaged.as_bytes());
        sandbox.run(&["decrypt", "-k", "local:main", "damaged", "-o", "out"], 4).says("armor");
        assert_eq!(sandbox.files(), ["damaged", "in", "pem"], "{name}");
    }
    let windows = armored.replace('\n', "\r\n");
    sandbox.write("windows", windows.as_bytes());
    sandbox.run(&["decrypt", "-k", "local:main", "windows", "-o", "out"], 0);
}

#[test]
fn a_key_that_only_the_file_names_is_not_used() {
    let sandbox = Sandbox::new();
    let keystore = sandbox.keystore(&["main"]);
    sandbox.write("in", b"x");
    sandbox.run(&["encrypt", "-k", "local:main", "in"], 0);
    let ran = sandbox.run(&["decrypt", "in.envelope", "-o", "out"], 4);
    ran.says(&format!("it was encrypted for local://{}/main", keystore.id())).says("name it with -k");
    assert_eq!(sandbox.files(), ["in", "in.envelope"]);
}

#[test]
fn errors_are_json_on_request() {
    let sandbox = Sandbox::new();
    sandbox.write("text", b"just a text file");
    let ran = sandbox.run(&["--json", "decrypt", "text", "-o", "out"], 4);
    let error: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(error["error"]["exit_code"], 4);
    assert_eq!(error["error"]["kind"], "not-authentic");
    assert!(error["error"]["message"].as_str().unwrap().contains("not an envelope"));
    assert!(error["error"]["hint"].is_string());
}

#[test]
fn malformed_arguments_give_exit_code_2() {
    let sandbox = Sandbox::new();
    sandbox.write("in", b"x");
    sandbox.run(&["encrypt", "in", "-c", "novalue"], 2).says("NAME=VALUE");
    sandbox.run(&["encrypt", "in", "-c", "a=1", "-c", "a=2"], 2).says("given twice");
    sandbox.run(&["encrypt", "in", "--withhold", "a"], 2).says("names no entry");
    sandbox
        .run(&["encrypt", "in", "-k", "main"], 2)
        .says("neither a key URI nor an alias")
        .says("`keys list` shows them");
    sandbox.run(&["encrypt", "in", "-k", "ftp://user:secret@host/key"], 2);
    sandbox.run(&["encrypt", "in", "-k", "other:key"], 2).says("no provider");
    sandbox.run(&["encrypt", "in", "-k", "passphrase:", "-k", "passphrase:"], 2).says("two of the keys");
    sandbox.run(&["encrypt", "in", "--nonsense"], 2);
    assert_eq!(sandbox.files(), ["in"]);
}

#[test]
fn what_was_typed_in_the_place_of_a_key_is_not_repeated() {
    let sandbox = Sandbox::new();
    sandbox.write("in", b"x");
    for typed in [
        "ftp://user:hunter2@host/key",
        "hunter2",
        "correct hunter2",
        " passphrase:hunter2",
        "passphrase:hunter2",
        "passphrase=hunter2",
        "hunter2/hunter2",
        "hunter2:hunter2",
        "local:.hunter2",
        "pkcs11:token=t;object=k;pin%2Dvalue=hunter2",
    ] {
        for command in [
            ["encrypt", "in", "-k", typed].as_slice(),
            &["encrypt", "in", "-k", typed, "--json"],
            &["decrypt", "in", "-k", typed],
            &["rewrap", "in", "--from", typed],
        ] {
            let ran = sandbox.run(command, 2);
            assert!(!ran.stderr.contains("hunter2"), "{command:?}: {}", ran.stderr);
        }
    }
    sandbox.keystore(&[]);
    let ran = sandbox.run(&["keys", "create", "correct hunter2"], 2);
    assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
}

#[test]
fn inspect_needs_no_key_and_escapes_what_an_attacker_wrote() {
    let sandbox = Sandbox::new();
    sandbox.write("in", &bytes(20_000));
    sandbox.run(&["encrypt", "in", "-c", "name=\x1b[2J\u{202e}evil", "-c", "s=1", "--withhold", "s"], 0);
    let mut command = sandbox.envctl(&["inspect", "in.envelope"]);
    command.env_remove("ENVCTL_PASSPHRASE");
    let text = Ran::of(command.output().unwrap(), 0).text();
    assert!(!text.contains('\x1b') && !text.contains('\u{202e}'), "{text:?}");
    assert!(text.contains("\\u{1b}[2J") && text.contains("not verified") && text.contains("s (withheld)"));
    assert!(text.contains("20000 of plaintext"), "{text}");
    let json = sandbox.run(&["inspect", "in.envelope", "--json"], 0).json();
    assert_eq!(json["verified"], false);
    assert_eq!(json["plaintext_bytes"], 20_000);
    assert_eq!(json["recipients"][0]["key"], "passphrase:");
    assert_eq!(json["withheld"][0], "s");
}
