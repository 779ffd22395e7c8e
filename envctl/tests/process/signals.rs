//! A signal that ends envctl leaves nothing behind, and one that is ignored is ignored.

use std::{
    io::Write,
    os::unix::process::ExitStatusExt,
    process::{Child, ChildStdin, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{
    common::{Sandbox, bytes},
    run_shell, shell,
};

/// Encrypts what it is fed, and has its output under way. Its input ends when the
/// second is dropped.
fn under_way(sandbox: &Sandbox, script: &str) -> (Child, ChildStdin) {
    let mut child = shell(sandbox, script).stdin(Stdio::piped()).spawn().unwrap();
    // More than the pipe and the first block hold: when this returns, blocks are written.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&bytes(4 << 20)).unwrap();
    (child, stdin)
}

const ENCRYPT: &str = "exec \"$ENVCTL\" --passphrase-file pw encrypt -o out";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("pw", b"words\n");
    sandbox
}

#[test]
fn every_signal_that_ends_the_process_leaves_nothing_and_is_what_it_dies_of() {
    let sandbox = sandbox();
    let named = [
        Signal::HUP,
        Signal::INT,
        Signal::QUIT,
        Signal::TRAP,
        Signal::ABORT,
        Signal::USR1,
        Signal::USR2,
        Signal::ALARM,
        Signal::TERM,
        Signal::XCPU,
        Signal::VTALARM,
        Signal::PROF,
        Signal::SYS,
    ];
    for signal in named {
        let (mut child, _stdin) = under_way(&sandbox, ENCRYPT);
        kill_process(Pid::from_child(&child), signal).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(signal.as_raw()), "{signal:?}: {status}");
        assert_eq!(sandbox.files(), ["pw"], "{signal:?}");
    }
    // Those that end it with the code that a shell gives the others.
    for signal in [Signal::IO, Signal::STKFLT, Signal::POWER] {
        let (mut child, _stdin) = under_way(&sandbox, ENCRYPT);
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(128 + signal.as_raw()), "{signal:?}");
        assert_eq!(sandbox.files(), ["pw"], "{signal:?}");
    }
    for number in ["RTMIN+1", "RTMAX"] {
        let (mut child, _stdin) = under_way(&sandbox, ENCRYPT);
        run_shell(&sandbox, &format!("kill -s {number} {}", child.id()), 0);
        assert!(child.wait().unwrap().code().is_some_and(|code| code > 128 + 34), "{number}");
        assert_eq!(sandbox.files(), ["pw"], "{number}");
    }
}

#[test]
fn a_shell_sees_130_143_and_129() {
    let sandbox = sandbox();
    let script = ENCRYPT.replace("exec ", "") + "; exit $?";
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let (mut shell, _stdin) = under_way(&sandbox, &script);
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", shell.id())).unwrap();
        let envctl = Pid::from_raw(children.trim().parse().unwrap()).unwrap();
        kill_process(envctl, signal).unwrap();
        assert_eq!(shell.wait().unwrap().code(), Some(code));
        assert_eq!(sandbox.files(), ["pw"]);
    }
}

#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    for signal in [Signal::HUP, Signal::INT, Signal::QUIT, Signal::USR1] {
        let sandbox = sandbox();
        let (mut child, stdin) = under_way(&sandbox, &format!("trap '' {}; {ENCRYPT}", signal.as_raw()));
        kill_process(Pid::from_child(&child), signal).unwrap();
        drop(stdin);
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal:?}");
        assert_eq!(sandbox.files(), ["out", "pw"], "{signal:?}");
    }
}

#[test]
fn a_limit_of_the_size_of_files_is_an_error_that_leaves_nothing() {
    let sandbox = sandbox();
    sandbox.write("in", &bytes(1 << 20));
    let ran = run_shell(&sandbox, "ulimit -f 100; envctl --passphrase-file pw encrypt in -o out", 3);
    ran.says("File too large");
    assert_eq!(sandbox.files(), ["in", "pw"]);
    // Written from the front to the end too.
    let ran = run_shell(&sandbox, "ulimit -f 100; cat in | envctl --passphrase-file pw encrypt -o out", 3);
    ran.says("File too large");
    assert_eq!(sandbox.files(), ["in", "pw"]);
}

#[test]
fn stopped_and_continued_it_goes_on() {
    let sandbox = sandbox();
    let (mut child, stdin) = under_way(&sandbox, ENCRYPT);
    let pid = Pid::from_child(&child);
    for signal in [Signal::STOP, Signal::CONT, Signal::CONT] {
        kill_process(pid, signal).unwrap();
    }
    drop(stdin);
    let begun = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert_eq!(sandbox.files(), ["out", "pw"]);
}
