//! What a person at a terminal sees: a pseudo-terminal stands for it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

mod common;

use std::{
    fs::File,
    io::{Read, Write},
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    process::{Child, Command, Stdio},
};

use common::Sandbox;
use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};

/// A terminal and a program in it.
struct Terminal {
    master: File,
    seen: String,
}

impl Terminal {
    fn open() -> (Self, OwnedFd) {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave =
            rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        (Self { master: master.into(), seen: String::new() }, slave)
    }

    /// Starts envctl with this terminal as its controlling one, from a shell that waits
    /// for a line when it is stopped, and then lets it go on.
    fn start(sandbox: &Sandbox, args: &[&str], capture_stdout: bool) -> (Self, Child) {
        let (terminal, slave) = Self::open();
        let mut command = Command::new("setsid");
        let script = "set -m; \"$@\"; code=$?; [ $code = 147 ] && echo stopped && read -r line && fg && code=$?; exit $code";
        command.args(["-c", "-w", "bash", "-c", script, "bash", env!("CARGO_BIN_EXE_envctl")]).args(args);
        command
            .current_dir(sandbox.file("."))
            .env("HOME", sandbox.file("../home"))
            .env_remove("ENVCTL_PASSPHRASE");
        command.stdin(slave.try_clone().unwrap()).stderr(slave.try_clone().unwrap());
        if capture_stdout {
            command.stdout(Stdio::piped())
        } else {
            command.stdout(slave)
        };
        (terminal, command.spawn().unwrap())
    }

    /// Reads until `text` was seen; the end of the terminal is a failure.
    fn wait_for(&mut self, text: &str) {
        let mut block = [0; 1024];
        while !self.seen.contains(text) {
            match self.master.read(&mut block) {
                Ok(read) if read > 0 => self.seen.push_str(&String::from_utf8_lossy(&block[..read])),
                _ => panic!("{text:?} was never seen in {:?}", self.seen),
            }
        }
    }

    fn has_echo(&self) -> bool {
        let attributes = rustix::termios::tcgetattr(&self.master).unwrap();
        attributes.local_modes.contains(rustix::termios::LocalModes::ECHO)
    }

    fn type_line(&mut self, text: &str) {
        self.seen.clear();
        writeln!(self.master, "{text}").unwrap();
    }
}

#[test]
fn a_passphrase_is_asked_for_twice_without_echo_and_once_to_decrypt() {
    let sandbox = Sandbox::new();
    sandbox.write("in", b"x");
    let (mut terminal, mut child) = Terminal::start(&sandbox, &["encrypt", "in"], false);
    terminal.wait_for("Passphrase: ");
    terminal.type_line("open sesame");
    terminal.wait_for("Again, to be sure: ");
    assert!(!terminal.seen.contains("sesame"), "{:?}", terminal.seen);
    terminal.type_line("open sesame");
    terminal.wait_for("encrypted for passphrase:");
    assert!(!terminal.seen.contains("sesame"), "{:?}", terminal.seen);
    assert_eq!(child.wait().unwrap().code(), Some(0));

    let (mut terminal, mut child) =
        Terminal::start(&sandbox, &["decrypt", "in.envelope", "-o", "out"], false);
    terminal.wait_for("Passphrase: ");
    terminal.type_line("open sesame");
    terminal.wait_for("decrypted, 1 bytes");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(sandbox.read("out"), b"x");
}

#[test]
fn two_different_passphrases_encrypt_nothing() {
    let sandbox = Sandbox::new();
    sandbox.write("in", b"x");
    let (mut terminal, mut child) = Terminal::start(&sandbox, &["encrypt", "in"], false);
    terminal.wait_for("Passphrase: ");
    terminal.type_line("one");
    terminal.wait_for("Again, to be sure: ");
    terminal.type_line("two");
    terminal.wait_for("differ: nothing was done");
    assert_eq!(child.wait().unwrap().code(), Some(2));
    assert_eq!(sandbox.files(), ["in"]);
}

#[test]
fn binary_output_to_a_terminal_is_refused_unless_asked_for() {
    let sandbox = Sandbox::new();
    sandbox.write("in", b"x");
    sandbox.write("passphrase", b"p");
    let encrypt = ["encrypt", "--passphrase-file", "passphrase"];
    let (mut terminal, mut child) = Terminal::start(&sandbox, &encrypt, false);
    terminal.wait_for("binary data to your terminal");
    assert_eq!(child.wait().unwrap().code(), Some(2));

    let forced = [&encrypt[..], &["in", "-o", "-"]].concat();
    let (mut terminal, mut child) = Terminal::start(&sandbox, &forced, false);
    terminal.wait_for("ENV");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let armored = [&encrypt[..], &["in", "-a", "-o", "-"]].concat();
    let (mut terminal, mut child) = Terminal::start(&sandbox, &armored, false);
    terminal.wait_for("-----END ENVELOPE-----");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_signal_at_the_prompt_gives_the_echo_back() {
    for (typed, code) in [(b"\x03", 130), (b"\x1c", 131)] {
        let sandbox = Sandbox::new();
        sandbox.write("in", b"x");
        let (mut terminal, mut child) = Terminal::start(&sandbox, &["encrypt", "in"], false);
        terminal.wait_for("Passphrase: ");
        assert!(!terminal.has_echo(), "no echo while a passphrase is typed");
        terminal.master.write_all(typed).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code));
        assert!(terminal.has_echo(), "echo again after the signal");
        assert_eq!(sandbox.files(), ["in"]);
    }
}

#[test]
fn stopped_at_the_prompt_it_gives_the_echo_back_and_asks_again_when_it_goes_on() {
    let sandbox = Sandbox::new();
    sandbox.write("in", b"x");
    let (mut terminal, mut child) = Terminal::start(&sandbox, &["encrypt", "in"], false);
    terminal.wait_for("Passphrase: ");
    terminal.master.write_all(b"\x1a").unwrap();
    terminal.wait_for("stopped");
    assert!(terminal.has_echo(), "echo while it is stopped");
    terminal.type_line("go on");
    terminal.wait_for("Passphrase: ");
    assert!(!terminal.has_echo(), "no echo again");
    terminal.type_line("open sesame");
    terminal.wait_for("Again, to be sure: ");
    terminal.type_line("open sesame");
    terminal.wait_for("encrypted for passphrase:");
    assert!(!terminal.seen.contains("sesame"), "{:?}", terminal.seen);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(terminal.has_echo());
}

#[test]
fn a_name_that_drives_a_terminal_is_shown_and_not_obeyed_at_the_prompt() {
    let sandbox = Sandbox::new();
    let keystore = "k\x1b[2J\nPassphrase";
    let (mut terminal, mut child) =
        Terminal::start(&sandbox, &["keystore", "init", "--keystore", keystore], false);
    terminal.wait_for("Passphrase for the new keystore k\\u{1b}[2J\\u{a}Passphrase: ");
    terminal.master.write_all(b"\x03").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn long_work_shows_a_bar_and_an_interrupt_leaves_its_line() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    let (mut terminal, slave) = Terminal::open();
    let mut command = sandbox.envctl(&["encrypt", "-k", "local:main", "-o", "/dev/null"]);
    command.stdin(Stdio::piped()).stderr(slave).env("TERM", "xterm");
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut stdin = child.stdin.take().unwrap();
    // As long as it takes until something is shown, but not for ever.
    let feeder = std::thread::spawn(move || {
        let (block, begun) = (vec![7; 1 << 16], std::time::Instant::now());
        while begun.elapsed().as_secs() < 60 && stdin.write_all(&block).is_ok() {}
    });
    terminal.wait_for("so far");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(15));
    feeder.join().unwrap();
    terminal.seen.clear();
    terminal.wait_for("\n");
}

#[test]
fn without_a_terminal_or_with_json_there_is_no_bar() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    let (mut terminal, slave) = Terminal::open();
    let mut command = sandbox.envctl(&["--json", "encrypt", "-k", "local:main", "-o", "/dev/null"]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(slave.try_clone().unwrap())
        .env("TERM", "xterm");
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut stdin = child.stdin.take().unwrap();
    let block = vec![7; 1 << 20];
    let begun = std::time::Instant::now();
    // Longer than a bar would wait for.
    while begun.elapsed() < std::time::Duration::from_millis(1500) {
        stdin.write_all(&block).unwrap();
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
    rustix::io::write(&slave, b"the end").unwrap();
    terminal.wait_for("the end");
    assert_eq!(terminal.seen, "the end");
}
