//! Keys, the keystore, rotation and rewrap.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

use std::fs;

use crate::common::{PASSPHRASE, Ran, Sandbox, bytes, mode};
use envelope_sdk::Envelope;

#[test]
fn a_keystore_is_made_used_and_never_overwritten() {
    let sandbox = Sandbox::new();
    sandbox.run(&["keys", "list"], 3).says("keystore init");
    sandbox.run(&["keystore", "init"], 0);
    sandbox.run(&["keystore", "init"], 3).says("never overwritten");
    sandbox.run(&["keys", "create", "main"], 0);
    sandbox.run(&["keys", "create", "main"], 2).says("main");
    sandbox.run(&["keys", "create", "../evil"], 2).says("a key name has 1 to 64 characters");
    sandbox.write("in", b"secret");
    sandbox.run(&["encrypt", "-k", "local:main", "in"], 0);
    sandbox.run(&["decrypt", "-k", "local:main", "in.envelope", "-o", "out"], 0);
    assert_eq!(sandbox.read("out"), b"secret");
    let list = sandbox.run(&["keys", "list", "--json"], 0).json();
    assert_eq!(list[0]["state"], "active");
    assert_eq!(list[0]["versions"][0]["version"], "1");
}

#[test]
fn several_keys_encrypt_and_any_one_opens() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main", "recovery"]);
    sandbox.write("in", b"secret");
    sandbox.run(&["encrypt", "-k", "local:main", "-k", "local:recovery", "-k", "passphrase:", "in"], 0);
    for key in ["local:main", "local:recovery", "passphrase:"] {
        sandbox.run(&["decrypt", "-f", "-k", key, "in.envelope", "-o", "out"], 0);
        assert_eq!(sandbox.read("out"), b"secret", "{key}");
    }
}

#[test]
fn rotation_keeps_old_files_open_and_rewrap_moves_them_without_their_payload() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.write("in", &bytes(50_000));
    sandbox.run(&["encrypt", "-k", "local:main", "in"], 0);
    let old = sandbox.read("in.envelope");
    let before = Envelope::inspect(&old).unwrap();
    sandbox.run(&["keys", "rotate", "main"], 0);
    sandbox.run(&["decrypt", "-k", "local:main", "in.envelope", "-o", "out"], 0);
    fs::set_permissions(sandbox.file("in.envelope"), std::os::unix::fs::PermissionsExt::from_mode(0o640))
        .unwrap();

    sandbox.run(&["rewrap", "-k", "local:main", "in.envelope", "--dry-run"], 0).says("would be rewrapped");
    assert_eq!(sandbox.read("in.envelope"), old);
    sandbox.run(&["rewrap", "-k", "local:main", "in.envelope"], 0).says("generation 1");
    let new = sandbox.read("in.envelope");
    let after = Envelope::inspect(&new).unwrap();
    assert_eq!(new[after.len()..], old[before.len()..], "the payload stays, byte for byte");
    assert_eq!(after.envelope_id(), before.envelope_id());
    assert_eq!(after.recipients()[0].key_version(), "2");
    assert_eq!(mode(&sandbox.file("in.envelope")), 0o640);

    // Version 1 can go now: the file no longer needs it, an old copy does.
    sandbox.run(&["keys", "destroy", "main", "--version", "1"], 2).says("--yes");
    sandbox.run(&["keys", "destroy", "main", "--version", "1", "--yes"], 0);
    sandbox.run(&["decrypt", "-f", "-k", "local:main", "in.envelope", "-o", "out"], 0);
    sandbox.write("copy", &old);
    sandbox.run(&["decrypt", "-k", "local:main", "copy", "-o", "never"], 5).says("destroyed");
}

#[test]
fn a_keystore_of_another_version_is_a_file_that_cannot_be_read() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.write("in", b"secret");
    let path = sandbox.keystore_path();
    let text = fs::read_to_string(&path).unwrap();
    let newer = text.replace("\"envelope_keystore\": 1", "\"envelope_keystore\": 2");
    assert_ne!(newer, text);
    fs::write(&path, newer).unwrap();
    sandbox.run(&["encrypt", "-k", "local:main", "in"], 3).says("keystore format 2");
    sandbox.run(&["keys", "list"], 3).says("keystore format 2");
    sandbox.run(&["keys", "create", "more"], 3).says("keystore format 2");
    assert!(!sandbox.files().contains(&"in.envelope".to_owned()));
}

#[test]
fn rewrap_of_several_files_leaves_a_failed_one_as_it_was() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main", "other"]);
    for name in ["a", "b", "c"] {
        sandbox.write(name, name.as_bytes());
        sandbox.run(&["encrypt", "-k", "local:main", name], 0);
    }
    let mut damaged = sandbox.read("b.envelope");
    damaged[40] ^= 1;
    sandbox.write("b.envelope", &damaged);
    let ran = sandbox.run(
        &["rewrap", "--from", "local:main", "-k", "local:other", "a.envelope", "b.envelope", "c.envelope"],
        4,
    );
    ran.says("b.envelope").says("1 of 3 files failed");
    assert_eq!(sandbox.read("b.envelope"), damaged);
    for name in ["a", "c"] {
        let sealed = format!("{name}.envelope");
        sandbox.run(&["decrypt", "-k", "local:other", &sealed, "-o", &format!("{name}.out")], 0);
        assert_eq!(sandbox.read(&format!("{name}.out")), name.as_bytes());
        sandbox.run(&["decrypt", "-k", "local:main", &sealed, "-o", "never"], 4).says("no configured key");
    }
}

#[test]
fn rewrap_gives_a_file_a_new_passphrase_and_keeps_armor_armored() {
    let sandbox = Sandbox::new();
    sandbox.write("in", &bytes(500));
    sandbox.run(&["encrypt", "-a", "in"], 0);
    let mut command = sandbox.envctl(&["rewrap", "in.envelope"]);
    Ran::of(command.env("ENVCTL_NEW_PASSPHRASE", "another").output().unwrap(), 0);
    assert!(sandbox.read("in.envelope").starts_with(b"-----BEGIN ENVELOPE-----\n"));
    sandbox.run(&["decrypt", "in.envelope", "-o", "out"], 4);
    let mut command = sandbox.envctl(&["decrypt", "in.envelope", "-o", "out"]);
    Ran::of(command.env("ENVCTL_PASSPHRASE", "another").output().unwrap(), 0);
    assert_eq!(sandbox.read("out"), bytes(500));
}

#[test]
fn the_states_of_a_key_are_enforced() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&[]);
    sandbox.run(&["keys", "create", "k", "--pre-active"], 0);
    sandbox.write("in", b"x");
    let encrypt = ["encrypt", "-f", "-k", "local:k", "in"];
    let decrypt = ["decrypt", "-f", "-k", "local:k", "in.envelope", "-o", "out"];
    sandbox.run(&encrypt, 5).says("pre-active");
    sandbox.run(&["keys", "activate", "k"], 0);
    sandbox.run(&encrypt, 0);
    sandbox.run(&["keys", "suspend", "k"], 0);
    for dry_run in [&["--dry-run"][..], &[]] {
        sandbox.run(&[&["keys", "rotate", "k"], dry_run].concat(), 5).says("suspended");
    }
    sandbox.run(&encrypt, 5).says("suspended");
    sandbox.run(&decrypt, 5).says("suspended");
    sandbox.run(&["keys", "activate", "k"], 0);
    sandbox.run(&decrypt, 0);
    sandbox.run(&["keys", "destroy", "k", "--yes"], 2).says("active");
    for dry_run in [&["--dry-run"][..], &[]] {
        sandbox.run(&[&["keys", "archive", "k"], dry_run].concat(), 2).says("active");
    }
    sandbox.run(&["keys", "deactivate", "k", "--dry-run"], 0);
    sandbox.run(&encrypt, 0);
    sandbox.run(&["keys", "deactivate", "k"], 0);
    sandbox.run(&encrypt, 5).says("deactivated");
    sandbox.run(&decrypt, 0);
    sandbox.run(&["keys", "archive", "k"], 0);
    assert_eq!(sandbox.run(&["keys", "describe", "k", "--json"], 0).json()["archived"], true);
    sandbox.run(&["keys", "activate", "k"], 2).says("deactivated");
    sandbox.run(&["keys", "report-compromise", "k"], 0);
    sandbox.run(&decrypt, 0);
    sandbox.run(&["keys", "destroy", "k", "--yes"], 0);
    sandbox.run(&decrypt, 5).says("destroyed");
    sandbox.run(&["keys", "describe", "nobody"], 5).says("nobody");
}

#[test]
fn the_passphrase_of_the_keystore_changes_and_its_keys_stay() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.write("in", b"x");
    sandbox.run(&["encrypt", "-k", "local:main", "in"], 0);
    let mut passwd = sandbox.envctl(&["keystore", "passwd"]);
    Ran::of(passwd.env("ENVCTL_NEW_PASSPHRASE", "another").output().unwrap(), 0);
    let decrypt = ["decrypt", "-k", "local:main", "in.envelope", "-o", "out"];
    sandbox.run(&decrypt, 4);
    assert_eq!(sandbox.files(), ["in", "in.envelope"]);
    let mut command = sandbox.envctl(&decrypt);
    Ran::of(command.env("ENVCTL_KEYSTORE_PASSPHRASE", "another").output().unwrap(), 0);
}

#[test]
fn a_keystore_that_others_can_read_is_refused() {
    let sandbox = Sandbox::new();
    let keystore = sandbox.keystore(&["main"]);
    fs::set_permissions(keystore.path(), std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    sandbox.run(&["keys", "list"], 3).says("chmod 600");
}

#[test]
fn the_configuration_names_keys_aliases_and_profiles() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main", "backup"]);
    sandbox.configure(
        "keys = [\"m\"]\n[aliases]\nm = \"local:main\"\n[profiles.backup]\nkeys = [\"local:backup\"]\n",
    );
    sandbox.write("in", b"x");
    let recipient = |sandbox: &Sandbox| {
        let json = sandbox.run(&["inspect", "in.envelope", "--json"], 0).json();
        json["recipients"][0]["key"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
    };
    sandbox.run(&["encrypt", "in"], 0);
    assert_eq!(recipient(&sandbox), "main");
    sandbox.run(&["decrypt", "in.envelope", "-o", "out"], 0);
    sandbox.run(&["encrypt", "-f", "in", "--profile", "backup"], 0);
    assert_eq!(recipient(&sandbox), "backup");
    let mut command = sandbox.envctl(&["encrypt", "-f", "in", "-k", "m"]);
    Ran::of(command.env("ENVCTL_KEYS", "local:backup").output().unwrap(), 0);
    assert_eq!(recipient(&sandbox), "main", "a flag goes before the environment");
    sandbox.run(&["encrypt", "in", "--profile", "nobody"], 2).says("profiles there: backup");
    sandbox.configure("kyes = []\n");
    sandbox.run(&["encrypt", "in"], 2).says("kyes");
    sandbox.run(&["encrypt", "in", "--config", "nowhere.toml"], 3).says("nowhere.toml");
}

#[test]
fn completions_and_pages_are_written() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(sandbox.run(&["completions", shell], 0).text().contains("envctl"), "{shell}");
    }
    assert!(sandbox.run(&["man"], 0).text().contains(".TH envctl 1"));
    sandbox.run(&["man", "--dir", "."], 0);
    assert!(sandbox.files().contains(&"envctl-encrypt.1".to_owned()), "{:?}", sandbox.files());
}

#[test]
fn no_command_takes_a_passphrase_as_an_argument() {
    let sandbox = Sandbox::new();
    sandbox.write("in", b"x");
    sandbox.run(&["encrypt", "in", "--passphrase", PASSPHRASE], 2);
    sandbox.run(&["encrypt", "in", "-k", &format!("passphrase:{}", "hunter2")], 2).says("never an argument");
    assert_eq!(sandbox.files(), ["in"]);
}

#[test]
fn a_key_whose_use_should_have_ended_is_due_and_wraps_on() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.run(&["keys", "create", "old", "--not-after", "2020-01-31"], 0);
    let list = sandbox.run(&["keys", "list"], 0).text();
    assert!(list.contains("/old  active, 1 version, due since 2020-01-31T23:59:59Z\n"), "{list}");
    let list = sandbox.run(&["keys", "list", "--json"], 0).json();
    assert_eq!((&list[0]["due"], &list[1]["due"]), (&false.into(), &true.into()), "{list}");
    let would = sandbox.run(&["keys", "not-after", "main", "2999-12-31T12:00:00Z", "--dry-run"], 0).text();
    assert_eq!(would, "would say \"to be used until 2999-12-31T12:00:00Z\" of main\n");
    assert!(!sandbox.run(&["keys", "describe", "main"], 0).text().contains("until"));
    sandbox.run(&["keys", "not-after", "main", "2999-12-31T12:00:00Z"], 0);
    let told = sandbox.run(&["keys", "describe", "main"], 0).text();
    assert!(told.contains("until 2999-12-31T12:00:00Z"), "{told}");
    sandbox.run(&["keys", "not-after", "main", "31.12.2999"], 2).says("a date is a day");
    sandbox.run(&["keys", "not-after", "main", "2999-12-31", "--version", "7"], 5).says("no version");
    sandbox.run(&["keys", "not-after", "main", "never"], 0);
    assert!(!sandbox.run(&["keys", "describe", "main"], 0).text().contains("until"));
    // It is told and refuses nothing; the version of a rotation has no end.
    sandbox.write("in", b"x");
    sandbox.run(&["encrypt", "-k", "local:old", "in"], 0);
    sandbox.run(&["keys", "rotate", "old"], 0);
    assert!(!sandbox.run(&["keys", "list"], 0).text().contains("due"));
}

#[test]
fn a_bare_name_is_a_key_of_the_keystore_wherever_a_key_is_named() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.write("in", b"secret");
    sandbox.run(&["encrypt", "-k", "main", "in"], 0);
    sandbox.run(&["decrypt", "-k", "main", "in.envelope", "-o", "out"], 0);
    assert_eq!(sandbox.read("out"), b"secret");
    sandbox.run(&["encrypt", "-f", "-k", "nain", "in"], 2).says("neither a key URI nor an alias");
    // An alias of the configuration goes first.
    sandbox.configure("[aliases]\nmain = \"passphrase:\"");
    sandbox.run(&["decrypt", "-f", "-k", "main", "in.envelope", "-o", "out"], 4).says("no configured key");
}

#[test]
fn what_a_keystore_has_no_place_for_is_refused_and_not_dropped() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    for option in
        [["--description", "x"], ["--tag", "a=b"], ["--algorithm", "RSA"], ["--option", "multi-region=true"]]
    {
        let create = ["keys", "create", "new", option[0], option[1]];
        sandbox.run(&create, 2).says("local: ");
        sandbox.run(&[create.as_slice(), &["--dry-run"]].concat(), 2).says("local: ");
    }
    sandbox.run(&["keys", "create", "new", "--tag", "a"], 2).says("a tag is NAME=VALUE");
    sandbox.run(&["keys", "describe", "new"], 5).says("has no key");
    for refused in [
        &["keys", "restore", "main"] as &[&str],
        &["keys", "rotations", "main"],
        &["keys", "auto-rotate", "main"],
        &["keys", "alias", "other", "main"],
    ] {
        sandbox.run(refused, 2).says("this key store cannot");
    }
}
