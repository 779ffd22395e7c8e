//! What is around the work of envctl: secrets that are read, files that are
//! trusted, signals, children, threads and standard streams.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "helpers of tests are tests too")]

#[path = "../common/mod.rs"]
mod common;

mod children;
mod mcp;
#[cfg(feature = "listen")]
mod network;
mod secrets;
mod signals;
mod sources;
mod streams;
mod threads;
mod trust;
mod usage;

use std::process::{Command, Stdio};

use common::Sandbox;

/// A shell's script in the working folder, in which `envctl` is envctl, without any
/// secret in the environment.
fn shell(sandbox: &Sandbox, script: &str) -> Command {
    let mut command = sandbox.envctl(&[]);
    let envctl = command.get_program().to_owned();
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!("envctl() {{ \"$ENVCTL\" \"$@\"; }}; {script}")]).env_clear();
    for (name, value) in command.env_remove("ENVCTL_PASSPHRASE").get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    shell.env("ENVCTL", envctl).current_dir(sandbox.file(".")).stdin(Stdio::null());
    shell
}

fn run_shell(sandbox: &Sandbox, script: &str, code: i32) -> common::Ran {
    common::Ran::of(shell(sandbox, script).output().unwrap(), code)
}

/// A user who has no other process, and so none of whose limits others use up.
const STRANGER: u32 = 54_321;

/// Only root can become another user.
fn is_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: {test}: only root can run envctl as another user");
    }
    root
}

/// Gives the sandbox to the stranger.
fn give_away(sandbox: &Sandbox) {
    let top = sandbox.file("..");
    let given = Command::new("chown").args(["-R", &STRANGER.to_string()]).arg(top).status().unwrap();
    assert!(given.success());
}
