//! A policy of a file: whom it is believed from, and what its changes do.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use envelope_policy::{Actor, Guard, Operation, PolicyFile, Why};

const DENIES: &str = "version = 1\n[[rule]]\nname = 'none'\neffect = 'deny'\n";

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn guard(file: &PolicyFile) -> Guard {
    Guard::of_file(file, Actor::parse("cli:alice").unwrap())
}

fn why(guard: &Guard) -> Why {
    guard.check(&guard.request(Operation::List)).unwrap_err().why
}

#[test]
fn a_change_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.toml");
    write(&path, "version = 1\n");
    let file = PolicyFile::open(&path).unwrap();
    let guard = guard(&file);
    let before = file.current().unwrap().id();
    guard.check(&guard.request(Operation::List)).unwrap();
    write(&path, DENIES);
    let after = file.look().unwrap().id();
    assert_ne!(before, after);
    let denied = guard.check(&guard.request(Operation::List)).unwrap_err();
    assert_eq!((denied.policy, denied.rule.as_deref(), denied.why), (Some(after), Some("none"), Why::Denies));
}

#[test]
fn a_file_that_is_not_right_or_gone_denies_everything_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.toml");
    write(&path, "version = 1\n");
    let file = PolicyFile::open(&path).unwrap();
    let guard = guard(&file);
    let broken = |what: &str| {
        file.look().unwrap_err();
        let Why::NoPolicy(said) = why(&guard) else { panic!("{:?}", why(&guard)) };
        assert!(said.contains(what), "{said}");
    };
    write(&path, "version = 1\nrule = 5");
    broken("invalid type");
    fs::remove_file(&path).unwrap();
    broken("cannot read");
    write(&path, "version = 1\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    broken("chmod 600");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o620)).unwrap();
    broken("chmod go-w");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    broken("not a regular file");
    fs::remove_dir(&path).unwrap();
    write(&path, "version = 1\n");
    file.look().unwrap();
    guard.check(&guard.request(Operation::List)).unwrap();
}

#[test]
fn a_program_does_not_begin_without_its_policy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.toml");
    assert!(PolicyFile::open(&path).unwrap_err().to_string().starts_with("policy: cannot read"));
    write(&path, "version = 3");
    let error = PolicyFile::open(&path).unwrap_err().to_string();
    assert!(error.ends_with("version 3 is not known here: 1 is"), "{error}");
}

#[test]
fn a_broken_policy_is_told_by_name_to_whoever_is_denied() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.toml");
    write(&path, "version = 1\n");
    let file = PolicyFile::open(&path).unwrap();
    let guard = guard(&file);
    write(&path, "versions = 1\n");
    file.look().unwrap_err();
    let error = guard.check_for("test", &guard.request(Operation::List)).unwrap_err();
    let said = error.to_string();
    assert!(
        said.starts_with("test: the policy cannot be used, so that everything is denied: policy "),
        "{said}"
    );
    assert!(said.contains("policy.toml"), "{said}");
}
