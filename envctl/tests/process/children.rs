//! Secrets stay in the process: nobody of the same user can attach to it, and what it
//! starts inherits nothing of them.

use std::{
    fs,
    io::{Read, Write},
    os::unix::{fs::MetadataExt, process::CommandExt},
    process::Stdio,
};

use super::{
    STRANGER,
    common::{PASSPHRASE, Sandbox, bytes},
    give_away, is_root,
};

#[test]
fn the_environment_of_a_running_process_holds_no_secret() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.envctl(&["encrypt", "-", "-o", "-"]);
    command.env("ENVCTL_KEYSTORE_PASSPHRASE", "canary-1").env("ENVCTL_NEW_PASSPHRASE", "canary-2");
    command.env("ENVCTL_PKCS11_PIN", "canary-3").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&bytes(1 << 20)).unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 16]).unwrap();
    let environment = fs::read(format!("/proc/{}/environ", child.id())).unwrap_or_default();
    let environment = String::from_utf8_lossy(&environment);
    for secret in [PASSPHRASE, "canary-1", "canary-2", "canary-3"] {
        assert!(!environment.contains(secret), "{environment}");
    }
    let name = fs::read_to_string(format!("/proc/{}/comm", child.id())).unwrap();
    assert_eq!(name, "envctl\n");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_run_that_may_hold_a_secret_is_not_dumpable() {
    if !is_root("a_run_that_may_hold_a_secret_is_not_dumpable") {
        return;
    }
    // None of these reads a passphrase before it waits for its input, and the last never does: it has
    // one all the same, out of the environment.
    for arguments in [&["decrypt", "-", "-o", "out"][..], &["encrypt", "-o", "out"], &["inspect"]] {
        let sandbox = Sandbox::new();
        give_away(&sandbox);
        let mut command = sandbox.envctl(arguments);
        let mut child = command.uid(STRANGER).gid(STRANGER).stdin(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.as_mut().unwrap();
        if arguments == ["inspect"] {
            // Less than a header, so that it waits for more.
            stdin.write_all(b"E").unwrap();
            std::thread::sleep(std::time::Duration::from_millis(500));
            assert!(child.try_wait().unwrap().is_none());
        } else {
            // More than a pipe holds: it reads by now.
            let _ = stdin.write_all(&bytes(1 << 20));
        }
        if child.try_wait().unwrap().is_none() {
            let owner = fs::metadata(format!("/proc/{}/environ", child.id())).unwrap().uid();
            assert_eq!(owner, 0, "{arguments:?}: the kernel gives what is not dumpable to root");
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn what_was_handed_over_to_another_process_is_not_taken() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("precious", b"ENVCTL_PASSPHRASE\0words\0");
    for place in ["1:3", "x:3", "3", ":", ""] {
        let script = "exec \"$ENVCTL\" encrypt in -o out 3<>precious";
        sandbox.write("in", b"x");
        let mut command = super::shell(&sandbox, script);
        let output = command.env("ENVCTL_HANDED_OVER", place).process_group(0).output().unwrap();
        assert!(!output.status.success(), "{place}: no passphrase was given");
    }
    let script = "export ENVCTL_HANDED_OVER=$$:3; exec \"$ENVCTL\" encrypt in -o out 3<>precious";
    assert!(!super::shell(&sandbox, script).output().unwrap().status.success());
    assert_eq!(fs::read(file).unwrap(), b"ENVCTL_PASSPHRASE\0words\0");
}

/// A program of AWS's configuration that gives credentials.
#[cfg(feature = "all")]
#[test]
fn a_program_that_gives_credentials_inherits_no_secret_and_no_descriptor() {
    let sandbox = Sandbox::new();
    sandbox.write("in", b"x");
    sandbox.write("lines", b"canary-4\n");
    sandbox.write(
        "credentials",
        b"#!/bin/sh\nenv > environment\nls -l /proc/self/fd > descriptors\n\
          echo '{\"Version\":1,\"AccessKeyId\":\"AKIDEXAMPLE\",\"SecretAccessKey\":\"x\"}'\n",
    );
    sandbox.write_at_home(".aws/config", "[default]\ncredential_process = /bin/sh ./credentials\n");
    let script = "exec \"$ENVCTL\" --passphrase-fd 3 encrypt in -o out \
                  -k arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab 3<lines 4<in";
    let mut command = super::shell(&sandbox, script);
    command.env("ENVCTL_PASSPHRASE", PASSPHRASE).env("ENVCTL_PKCS11_PIN", "canary-3");
    command.env("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:9").env("AWS_MAX_ATTEMPTS", "1");
    command.env("AWS_EC2_METADATA_DISABLED", "true");
    super::common::Ran::of(command.output().unwrap(), 6);
    let environment = String::from_utf8(sandbox.read("environment")).unwrap();
    assert!(environment.contains("AWS_ENDPOINT_URL_KMS"), "{environment}");
    for secret in [PASSPHRASE, "canary"] {
        assert!(!environment.contains(secret), "{environment}");
    }
    let descriptors = String::from_utf8(sandbox.read("descriptors")).unwrap();
    for name in ["lines", "/in", "memfd", "socket", "work/."] {
        assert!(!descriptors.contains(name), "{name} in {descriptors}");
    }
}

/// One environment may serve several builds, and several programs of ours.
#[test]
fn a_secret_of_a_key_store_that_this_build_lacks_leaves_the_environment_too() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.envctl(&["encrypt", "-k", "passphrase:", "-", "-o", "out2"]);
    let mut child = command
        .env("ENVCTL_TOMORROW_TOKEN", "canary-4711")
        .env("ENVCTL_PASSPHRASE", "pw")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    // It reads by now, and has started itself anew.
    let _ = child.stdin.as_mut().unwrap().write_all(&vec![0; 1 << 20]);
    let environment = fs::read(format!("/proc/{}/environ", child.id())).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!environment.windows(11).any(|part| part == b"canary-4711"));
}
