//! When a passphrase opens a file, and how much work it may take.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

use std::{process::Command, sync::Arc};

use crate::common::{PASSPHRASE, Ran, Sandbox};
use envelope_local::{Argon2Params, Passphrase, PassphraseProvider};
use envelope_sdk::{EncryptionContext, Envelope, KeyUri, Keyring};
use futures_executor::block_on;

/// With the passphrase of the keystore given, and none for envelopes.
fn without_passphrase(sandbox: &Sandbox, args: &[&str]) -> Command {
    let mut command = sandbox.envctl(args);
    command.env_remove("ENVCTL_PASSPHRASE").env("ENVCTL_KEYSTORE_PASSPHRASE", PASSPHRASE);
    command
}

fn run(mut command: Command, code: i32) -> Ran {
    Ran::of(command.output().unwrap(), code)
}

/// A keystore with the key `main`, and a file for a passphrase.
fn with_passphrase_file() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.write("in", b"secret");
    sandbox.run(&["encrypt", "in", "-o", "sealed"], 0);
    sandbox
}

#[test]
fn beside_named_keys_no_passphrase_is_asked_for_or_tried() {
    let sandbox = with_passphrase_file();
    for args in [
        ["decrypt", "-k", "local:main", "sealed", "-o", "out"].as_slice(),
        &["rewrap", "-k", "local:main", "sealed"],
        &["rewrap", "--from", "local:main", "sealed"],
    ] {
        let mut command = without_passphrase(&sandbox, args);
        command.env("ENVCTL_NEW_PASSPHRASE", "new");
        run(command, 4)
            .says("no configured key opens this; it was encrypted for passphrase:")
            .says("passphrase:` too");
    }
    let mut by_variable = without_passphrase(&sandbox, &["decrypt", "sealed", "-o", "out"]);
    by_variable.env("ENVCTL_KEYS", "local:main");
    run(by_variable, 4).says("no configured key opens this");
    assert_eq!(sandbox.files(), ["in", "sealed"]);
}

#[test]
fn beside_configured_keys_no_passphrase_is_asked_for_or_tried() {
    let sandbox = with_passphrase_file();
    for configuration in ["keys = [\"local:main\"]", "decrypt-keys = [\"local:main\"]"] {
        sandbox.configure(configuration);
        let command = without_passphrase(&sandbox, &["decrypt", "sealed", "-o", "out"]);
        run(command, 4).says("no configured key opens this");
    }
    assert_eq!(sandbox.files(), ["in", "sealed"]);
}

#[test]
fn a_passphrase_that_is_named_or_given_opens_beside_keys() {
    let sandbox = with_passphrase_file();
    sandbox.write("phrase", format!("{PASSPHRASE}\n").as_bytes());
    let decrypt = |args: &[&str]| {
        let args = [&["decrypt", "-f", "sealed", "-o", "out"], args].concat();
        run(without_passphrase(&sandbox, &args), 0);
    };
    decrypt(&["-k", "local:main", "--passphrase-file", "phrase"]);
    let mut by_variable =
        without_passphrase(&sandbox, &["decrypt", "-f", "sealed", "-o", "out", "-k", "local:main"]);
    by_variable.env("ENVCTL_PASSPHRASE", PASSPHRASE);
    run(by_variable, 0);
    // Named, and there is no terminal to ask at.
    for named in [["-k", "local:main", "-k", "passphrase:"].as_slice(), &["-k", "passphrase:"]] {
        let args = [&["decrypt", "-f", "sealed", "-o", "out"], named].concat();
        run(without_passphrase(&sandbox, &args), 2).says("a passphrase is needed");
    }
    sandbox.configure("keys = [\"local:main\", \"passphrase:\"]");
    run(without_passphrase(&sandbox, &["decrypt", "-f", "sealed", "-o", "out"]), 2)
        .says("a passphrase is needed");
    assert_eq!(sandbox.read("out"), b"secret");
}

#[test]
fn who_must_give_a_new_passphrase_is_told_how_that_one_is_given() {
    let sandbox = with_passphrase_file();
    sandbox.write("phrase", format!("{PASSPHRASE}\n").as_bytes());
    let args = ["--passphrase-file", "phrase", "rewrap", "-k", "passphrase:", "sealed"];
    run(without_passphrase(&sandbox, &args), 2).says("use --new-passphrase-file or $ENVCTL_NEW_PASSPHRASE");
}

#[test]
fn without_any_key_a_passphrase_opens() {
    let sandbox = with_passphrase_file();
    run(without_passphrase(&sandbox, &["decrypt", "sealed", "-o", "out"]), 2).says("a passphrase is needed");
    sandbox.run(&["decrypt", "sealed", "-o", "out"], 0);
    assert_eq!(sandbox.read("out"), b"secret");
}

#[test]
fn an_empty_variable_gives_no_passphrase() {
    let sandbox = with_passphrase_file();
    let mut command = without_passphrase(&sandbox, &["decrypt", "-k", "local:main", "sealed", "-o", "out"]);
    command.env("ENVCTL_PASSPHRASE", "");
    run(command, 4).says("no configured key opens this");
}

#[test]
fn a_rewrap_moves_a_file_from_a_named_passphrase_to_a_key() {
    let sandbox = with_passphrase_file();
    sandbox.write("phrase", PASSPHRASE.as_bytes());
    let args =
        ["rewrap", "--from", "passphrase:", "-k", "local:main", "sealed", "--passphrase-file", "phrase"];
    run(without_passphrase(&sandbox, &args), 0);
    run(without_passphrase(&sandbox, &["decrypt", "-k", "local:main", "sealed", "-o", "out"]), 0);
    assert_eq!(sandbox.read("out"), b"secret");
}

#[test]
fn a_file_that_asks_for_much_work_is_refused_with_the_option_that_allows_it() {
    let sandbox = Sandbox::new();
    let heavy = Argon2Params { m_cost: 262_145, t_cost: 1, p_cost: 1 };
    let passphrase = Passphrase::new(PASSPHRASE.into()).unwrap();
    let provider = Arc::new(PassphraseProvider::with_params(passphrase, heavy).unwrap());
    let envelope = Envelope::new(Keyring::new().encrypt(provider, KeyUri::passphrase()));
    let sealed = block_on(envelope.encrypt(b"secret", &EncryptionContext::new())).unwrap();
    sandbox.write("sealed", &sealed);
    let open = ["decrypt", "sealed", "-o", "out"];
    sandbox
        .run(&open, 1)
        .says("(memory 257 MiB, passes 1), 5 times the work")
        .says("--max-passphrase-work 5");
    assert_eq!(sandbox.files(), ["sealed"]);
    let allowed = |times| [&open[..], &["--max-passphrase-work", times]].concat();
    sandbox.run(&allowed("4"), 1).says("4 times is allowed");
    sandbox.run(&allowed("0"), 2);
    sandbox.run(&allowed("5"), 0);
    assert_eq!(sandbox.read("out"), b"secret");
}
