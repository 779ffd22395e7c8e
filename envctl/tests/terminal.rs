//! What a person at a terminal sees: a pseudo-terminal stands for it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says so"
)]

use std::{
    fs::File,
    io::{Read, Write},
    os::{
        fd::OwnedFd,
        unix::{fs::MetadataExt, process::ExitStatusExt},
    },
    process::{Child, Command, Stdio},
    time::Instant,
};

use crate::common::Sandbox;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{FlockOperation, Mode, OFlags, flock},
    io::Errno,
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
        let terminal = Self { master: master.into(), seen: String::new() };
        let slave = terminal.device().into();
        (terminal, slave)
    }

    /// Starts envctl with this terminal as its controlling one, from a shell that waits
    /// for a line when it is stopped, and then lets it go on.
    fn start(sandbox: &Sandbox, args: &[&str], capture_stdout: bool) -> (Self, Child) {
        let script = "set -m; \"$@\"; code=$?; [ $code = 147 ] && echo stopped && read -r line && fg && code=$?; exit $code";
        Self::start_script(sandbox, script, args, capture_stdout)
    }

    /// `$1` of the script is envctl.
    fn start_script(sandbox: &Sandbox, script: &str, args: &[&str], capture_stdout: bool) -> (Self, Child) {
        let (terminal, slave) = Self::open();
        (terminal, Self::start_script_at(sandbox, slave, script, args, capture_stdout))
    }

    /// Encrypts the file `in` at the other end of a terminal.
    fn start_at(sandbox: &Sandbox, slave: &OwnedFd) -> Child {
        let script = "set -m; \"$@\"; exit $?";
        Self::start_script_at(sandbox, slave.try_clone().unwrap(), script, &["encrypt", "in"], false)
    }

    fn start_script_at(
        sandbox: &Sandbox,
        slave: OwnedFd,
        script: &str,
        args: &[&str],
        capture_stdout: bool,
    ) -> Child {
        let mut command = Command::new("setsid");
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
        command.spawn().unwrap()
    }

    /// Reads until `text` was seen; the end of the terminal is a failure.
    fn wait_for(&mut self, text: &str) {
        while !self.seen.contains(text) {
            assert!(self.read(), "{text:?} was never seen in {:?}", self.seen);
        }
    }

    /// The other end, opened anew: with a lock of its own.
    fn device(&self) -> File {
        let name = ptsname(&self.master, Vec::new()).unwrap();
        rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap().into()
    }

    /// Reads until a process waits for the lock of the terminal, and fails if
    /// `forbidden` is seen before.
    fn wait_until_waited_for(&mut self, forbidden: &str) {
        let inode = self.device().metadata().unwrap().ino();
        let waits = |line: &str| line.contains("-> FLOCK") && line.contains(&format!(":{inode} "));
        let begun = Instant::now();
        while !std::fs::read_to_string("/proc/locks").unwrap().lines().any(waits) {
            assert!(begun.elapsed().as_secs() < 60, "nobody waits for the terminal");
            let mut readable = [PollFd::new(&self.master, PollFlags::IN)];
            let a_moment = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
            if poll(&mut readable, Some(&a_moment)).unwrap() > 0 {
                self.read();
            }
            assert!(!self.seen.contains(forbidden), "{:?}", self.seen);
        }
    }

    fn read(&mut self) -> bool {
        let mut block = [0; 1024];
        let read = self.master.read(&mut block).unwrap_or(0);
        self.seen.push_str(&String::from_utf8_lossy(&block[..read]));
        read > 0
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

/// With `noflsh` the terminal keeps it at a signal that is typed, as it does at others.
#[test]
fn what_was_typed_at_a_prompt_that_is_cut_off_is_thrown_away() {
    for (signal, code) in [(b'\x1c', 131), (b'\x1a', 147)] {
        let sandbox = Sandbox::new();
        sandbox.write("in", b"x");
        let script = "stty noflsh; set -m; \"$@\"; echo code $?; read -r line; echo \"read: $line\"; kill -9 %1; exit 0";
        let (mut terminal, mut child) = Terminal::start_script(&sandbox, script, &["encrypt", "in"], false);
        terminal.wait_for("Passphrase: ");
        terminal.master.write_all(&[b"half", &[signal][..]].concat()).unwrap();
        terminal.wait_for(&format!("code {code}"));
        terminal.type_line("next");
        terminal.wait_for("read: ");
        terminal.wait_for("read: next");
        child.wait().unwrap();
    }
}

#[test]
fn of_two_that_ask_at_one_terminal_one_waits_and_no_passphrase_is_shown() {
    let sandbox = Sandbox::new();
    sandbox.write("in", b"x");
    sandbox.write("passphrase", b"open sesame");
    sandbox.run(&["encrypt", "--passphrase-file", "passphrase", "in", "-o", "old"], 0);
    // The second starts when the first has asked.
    let script =
        "mkfifo go; \"$1\" decrypt old -o - | { read -r line <go; \"$1\" encrypt -o new; }; echo the end";
    let (mut terminal, mut child) = Terminal::start_script(&sandbox, script, &[], false);
    terminal.wait_for("Passphrase: ");
    sandbox.write("go", b"on\n");
    terminal.wait_until_waited_for("Passphrase: Passphrase: ");
    assert!(!terminal.has_echo());
    let mut shown = String::new();
    for (typed, then) in
        [("open sesame", "Passphrase: "), ("two sesames", "Again, to be sure: "), ("two sesames", "the end")]
    {
        terminal.type_line(typed);
        terminal.wait_for(then);
        shown.push_str(&terminal.seen);
        assert_eq!(terminal.has_echo(), then == "the end", "{shown:?}");
    }
    assert!(shown.contains("encrypted for passphrase:") && !shown.contains("sesame"), "{shown:?}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    sandbox.write("passphrase", b"two sesames");
    sandbox.run(&["decrypt", "--passphrase-file", "passphrase", "new", "-o", "out"], 0);
    assert_eq!(sandbox.read("out"), b"x");
}

#[test]
fn stopped_at_the_prompt_it_lets_others_ask_and_takes_its_turn_again() {
    let sandbox = Sandbox::new();
    sandbox.write("in", b"x");
    let (mut terminal, mut child) = Terminal::start(&sandbox, &["encrypt", "in"], false);
    terminal.wait_for("Passphrase: ");
    let device = terminal.device();
    assert_eq!(flock(&device, FlockOperation::NonBlockingLockExclusive), Err(Errno::WOULDBLOCK));
    terminal.master.write_all(b"\x1a").unwrap();
    terminal.wait_for("stopped");
    flock(&device, FlockOperation::NonBlockingLockExclusive).unwrap();
    terminal.type_line("go on");
    terminal.wait_until_waited_for("Passphrase: ");
    flock(&device, FlockOperation::Unlock).unwrap();
    terminal.wait_for("Passphrase: ");
    assert!(!terminal.has_echo(), "no echo again");
    terminal.master.write_all(b"\x03").unwrap();
    child.wait().unwrap();
    assert!(terminal.has_echo());
}

/// Ctrl-C ends the wait for another program; and one that other users could start is not waited for.
#[test]
fn nobody_can_hold_the_terminal_for_ever() {
    let sandbox = Sandbox::new();
    sandbox.write("in", b"x");
    let (mut terminal, slave) = Terminal::open();
    let device = terminal.device();
    flock(&device, FlockOperation::NonBlockingLockExclusive).unwrap();
    let mut child = Terminal::start_at(&sandbox, &slave);
    terminal.wait_until_waited_for("Passphrase: ");
    terminal.master.write_all(b"\x03").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(terminal.has_echo());

    rustix::fs::fchmod(&slave, Mode::from_raw_mode(0o622)).unwrap();
    let mut child = Terminal::start_at(&sandbox, &slave);
    terminal.wait_for("another program holds the lock of the terminal, which other users may open");
    assert_eq!(child.wait().unwrap().code(), Some(3));
    flock(&device, FlockOperation::Unlock).unwrap();
    let mut child = Terminal::start_at(&sandbox, &slave);
    terminal.wait_for("Passphrase: ");
    terminal.master.write_all(b"\x03").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
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
        let (block, begun) = (vec![7; 1 << 16], Instant::now());
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
    let begun = Instant::now();
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

#[test]
fn the_secrets_of_one_call_are_asked_for_one_after_the_other() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.write("in", b"x");
    for order in [["local:main", "passphrase:"], ["passphrase:", "local:main"]] {
        let args = ["encrypt", "-f", "in", "-k", order[0], "-k", order[1]];
        let (mut terminal, mut child) = Terminal::start(&sandbox, &args, false);
        // Which of them comes first is nobody's promise.
        let (mut of_keystore, mut of_file) = (false, false);
        while !(of_keystore && of_file) {
            while !(terminal.seen.contains("Passphrase: ") || terminal.seen.contains("keystore.json: ")) {
                assert!(terminal.read(), "{:?}", terminal.seen);
            }
            let both = terminal.seen.contains("Passphrase: ") && terminal.seen.contains("keystore.json: ");
            assert!(!both, "two prompts at once: {:?}", terminal.seen);
            if terminal.seen.contains("keystore.json: ") {
                terminal.type_line(crate::common::PASSPHRASE);
                of_keystore = true;
            } else {
                terminal.type_line("open sesame");
                terminal.wait_for("Again, to be sure: ");
                terminal.type_line("open sesame");
                of_file = true;
            }
        }
        terminal.wait_for("encrypted for");
        assert!(child.wait().unwrap().success());
        assert!(terminal.has_echo());
    }
}

#[test]
fn a_key_that_fails_while_somebody_is_asked_ends_the_call_and_gives_the_echo_back() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.write("in", b"x");
    sandbox.write("pw", crate::common::PASSPHRASE.as_bytes());
    let args = ["encrypt", "in", "-k", "local:nope", "-k", "passphrase:", "--keystore-passphrase-file", "pw"];
    let (mut terminal, mut child) = Terminal::start(&sandbox, &args, false);
    terminal.wait_for("has no key");
    assert_eq!(child.wait().unwrap().code(), Some(5));
    assert!(terminal.has_echo(), "{:?}", terminal.seen);
}

/// A sandbox with a token, whose PIN is given to nobody, and a key of it.
#[cfg(feature = "all")]
fn with_token() -> Option<(Sandbox, String)> {
    let token = crate::tokens::Kind::SoftHsm.token()?;
    let sandbox = Sandbox::new();
    sandbox.configure(&format!("[pkcs11]\nmodule = {:?}\ntoken = {:?}\n", token.module(), token.label));
    sandbox.write("in", b"x");
    sandbox.write("pin", format!("{}\n", crate::tokens::PIN).as_bytes());
    let mut create =
        sandbox.envctl(&["--pkcs11-pin-file", "pin", "keys", "create", "--provider", "pkcs11", "db"]);
    create.env("SOFTHSM2_CONF", std::env::var_os("SOFTHSM2_CONF").unwrap());
    crate::common::Ran::of(create.output().unwrap(), 0);
    Some((sandbox, format!("pkcs11:token={};object=db", token.label.replace(' ', "%20"))))
}

#[cfg(feature = "all")]
#[test]
fn a_key_that_fails_while_a_pin_is_asked_for_ends_the_call() {
    let Some((sandbox, key)) = with_token() else { return };
    sandbox.keystore(&["main"]);
    sandbox.write("pw", crate::common::PASSPHRASE.as_bytes());
    let args = ["encrypt", "in", "-k", "local:nope", "-k", &key, "--keystore-passphrase-file", "pw"];
    let (mut terminal, mut child) = Terminal::start(&sandbox, &args, false);
    terminal.wait_for("has no key");
    assert_eq!(child.wait().unwrap().code(), Some(5));
    assert!(terminal.has_echo(), "{:?}", terminal.seen);
}

/// Nothing is under way then but the question.
#[cfg(feature = "all")]
#[test]
fn an_interrupt_at_the_prompt_for_a_pin_waits_for_no_call_of_the_token() {
    let Some((sandbox, key)) = with_token() else { return };
    let args = ["encrypt", "in", "-k", &key, "-k", &format!("{key}%20")];
    let (mut terminal, mut child) = Terminal::start(&sandbox, &args, false);
    terminal.wait_for("PIN of the token");
    terminal.master.write_all(b"\x03").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    while terminal.read() {}
    assert!(!terminal.seen.contains("waiting for the token"), "{:?}", terminal.seen);
}

/// Header and payload are two files, and the second is opened once the first one is.
#[test]
fn a_pair_that_is_reencrypted_while_a_passphrase_is_typed_opens() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.write("in", b"x");
    sandbox.run(&["encrypt", "--detached", "-k", "local:main", "in"], 0);
    let decrypt = ["decrypt", "-k", "local:main", "in.envelope", "-o", "out"];
    let (mut terminal, mut child) = Terminal::start(&sandbox, &decrypt, false);
    terminal.wait_for("Passphrase of the keystore");
    sandbox.run(&["rotate", "in.envelope", "--to", "local:main", "--reencrypt"], 0);
    terminal.type_line(crate::common::PASSPHRASE);
    terminal.wait_for("decrypted, 1 bytes");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(sandbox.read("out"), b"x");
}
