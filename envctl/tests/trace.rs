//! `--trace`: each call of a key store on standard error, and their sum.

use serde_json::Value;

use crate::common::Sandbox;

#[test]
fn each_call_of_a_key_store_is_told_with_its_key_version_outcome_and_time() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.write("in", b"data");
    let context = ["-c", "tenant=value-4711", "--withhold", "tenant"];
    let ran = sandbox.run(&[&["--trace", "encrypt", "-k", "local:main", "in"], &context[..]].concat(), 0);
    ran.says("trace: ")
        .says("/main version 1, attempt 1: ok, ")
        .says("trace: 1 call of key stores, 0 failed, ");
    assert!(!ran.stderr.contains("4711"), "{}", ran.stderr);
    let ran = sandbox.run(
        &["decrypt", "in.envelope", "-k", "local:main", "-o", "-", "-c", "tenant=value-4711", "--trace"],
        0,
    );
    ran.says("trace: ").says("/main version 1, attempt 1: ok, ");
    assert!(ran.stdout == b"data" && !ran.stderr.contains("4711"), "{}", ran.stderr);
    let ran =
        sandbox.run(&["decrypt", "in.envelope", "-k", "local:main", "-o", "-", "-c", "tenant=value-4711"], 0);
    assert!(!ran.stderr.contains("trace"), "{}", ran.stderr);
}

#[test]
fn what_fails_is_told_by_its_kind_and_counted_before_the_error() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.write("in", b"data");
    let ran = sandbox.run(&["--trace", "encrypt", "-k", "local:missing", "in"], 5);
    let lines: Vec<_> = ran.stderr.lines().collect();
    assert!(lines[0].starts_with("trace: wrap_dek local:missing, attempt 1: not_found, "), "{lines:?}");
    assert!(lines[1].starts_with("trace: 1 call of key stores, 1 failed, "), "{lines:?}");
    assert!(lines[2].contains("error"), "{lines:?}");
}

#[test]
fn with_json_each_call_is_an_object_of_one_line() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    let ran = sandbox.run(&["--json", "--trace", "keys", "rotate", "main"], 0);
    let lines: Vec<Value> = ran.stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let [rotate, total] = lines.as_slice() else { panic!("{}", ran.stderr) };
    let ms = rotate["trace"]["ms"].as_f64().unwrap();
    assert!(ms > 0.0, "{rotate}");
    let told = |name: &str| rotate["trace"][name].clone();
    assert_eq!(
        [told("operation"), told("provider"), told("key"), told("attempt"), told("outcome"), told("wraps")],
        ["rotate_key".into(), "local".into(), "local:main".into(), 1.into(), "ok".into(), Value::Null]
    );
    assert_eq!(total["trace_total"]["calls"], 1);
    assert_eq!(total["trace_total"]["failed"], 0);
}

#[test]
fn a_command_that_uses_no_key_has_nothing_to_tell() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run(&["--trace", "completions", "bash"], 0);
    assert!(ran.stderr.is_empty(), "{}", ran.stderr);
}
