//! Encrypting and decrypting files and pipes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

mod common;

use std::{
    fs,
    io::{Read, Write},
    os::unix::{
        fs::{PermissionsExt, symlink},
        process::ExitStatusExt,
    },
    process::Stdio,
};

use common::{PASSPHRASE, Ran, Sandbox, bytes, mode};

#[test]
fn with_nothing_configured_a_passphrase_encrypts_and_gives_the_file_back() {
    let sandbox = Sandbox::new();
    let plaintext = bytes(100_000);
    sandbox.write("letter.txt", &plaintext);
    sandbox.run(&["encrypt", "letter.txt"], 0).says("encrypted for passphrase:");
    fs::remove_file(sandbox.file("letter.txt")).unwrap();
    sandbox.run(&["decrypt", "letter.txt.envelope"], 0);
    assert_eq!(sandbox.read("letter.txt"), plaintext);
    assert_eq!(sandbox.files(), ["letter.txt", "letter.txt.envelope"]);
}

#[test]
fn every_length_around_a_chunk_comes_back_through_files_and_armor() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    for len in [0, 1, 16_383, 16_384, 16_385, 64 * 16_384, 64 * 16_384 + 1] {
        let plaintext = bytes(len);
        sandbox.write("in", &plaintext);
        for armor in [&[][..], &["--armor"]] {
            let args = ["encrypt", "-f", "-k", "local:main", "in", "-o", "sealed"];
            sandbox.run(&[&args, armor].concat(), 0);
            sandbox.run(&["decrypt", "-f", "-k", "local:main", "sealed", "-o", "out"], 0);
            assert_eq!(sandbox.read("out"), plaintext, "{len} bytes, {armor:?}");
        }
    }
}

#[test]
fn pipes_go_through_standard_input_and_output() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    let plaintext = bytes(40_000);
    let through = |args: &[&str], input: &[u8]| {
        let mut child = sandbox
            .envctl(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let ran = Ran::of(child.wait_with_output().unwrap(), 0);
        writer.join().unwrap().unwrap();
        ran.stdout
    };
    let sealed = through(&["encrypt", "-k", "local:main"], &plaintext);
    assert_eq!(through(&["decrypt", "-k", "local:main"], &sealed), plaintext);
    let armored = through(&["encrypt", "-a", "-k", "local:main"], &plaintext);
    assert!(armored.starts_with(b"-----BEGIN ENVELOPE-----\n"));
    assert_eq!(through(&["decrypt", "-k", "local:main", "-"], &armored), plaintext);
}

#[test]
fn plaintext_and_keystore_are_for_the_owner_alone() {
    let sandbox = Sandbox::new();
    let keystore = sandbox.keystore(&["main"]);
    assert_eq!(mode(keystore.path()), 0o600);
    sandbox.write("in", b"x");
    sandbox.run(&["encrypt", "-k", "local:main", "in"], 0);
    sandbox.run(&["decrypt", "-k", "local:main", "in.envelope", "-o", "out"], 0);
    assert_eq!(mode(&sandbox.file("out")), 0o600);
}

#[test]
fn an_existing_output_is_kept_unless_forced() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.write("in", b"new");
    sandbox.write("in.envelope", b"old");
    sandbox.run(&["encrypt", "-k", "local:main", "in"], 3).says("is there already").says("--force");
    assert_eq!(sandbox.read("in.envelope"), b"old");
    sandbox.run(&["encrypt", "-k", "local:main", "in", "--force"], 0);
    sandbox.run(&["decrypt", "-k", "local:main", "in.envelope"], 3).says("is there already");
    assert_eq!(sandbox.read("in"), b"new");
}

#[test]
fn a_file_is_never_input_and_output_at_once() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.write("in", b"precious");
    symlink("in", sandbox.file("link")).unwrap();
    for output in ["in", "./in", "link"] {
        sandbox
            .run(&["encrypt", "-f", "-k", "local:main", "in", "-o", output], 2)
            .says("is input and output at once");
        assert_eq!(sandbox.read("in"), b"precious");
    }
}

#[test]
fn the_input_is_removed_only_on_request_and_only_after_success() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.write("in", b"x");
    sandbox.run(&["encrypt", "--rm", "-k", "local:main", "in", "-o", "-"], 2).says("--rm needs");
    sandbox.run(&["encrypt", "--rm", "-k", "local:nobody", "in"], 5);
    assert_eq!(sandbox.files(), ["in"]);
    sandbox.run(&["encrypt", "--rm", "-k", "local:main", "in"], 0);
    assert_eq!(sandbox.files(), ["in.envelope"]);
}

#[test]
fn passphrases_come_from_files_descriptors_and_the_environment() {
    let sandbox = Sandbox::new();
    sandbox.write("in", b"x");
    sandbox.write("passphrase", b"from a file\r\nsecond line");
    sandbox.run(&["encrypt", "in", "--passphrase-file", "passphrase"], 0);
    let opened = |command: &mut std::process::Command, code| {
        Ran::of(command.output().unwrap(), code);
        fs::remove_file(sandbox.file("out")).is_ok()
    };
    let decrypt = ["decrypt", "in.envelope", "-o", "out"];
    assert!(opened(sandbox.envctl(&decrypt).env("ENVCTL_PASSPHRASE", "from a file"), 0));
    assert!(!opened(sandbox.envctl(&decrypt).env("ENVCTL_PASSPHRASE", "second line"), 4));
    let descriptor = [&decrypt[..], &["--passphrase-fd", "0"]].concat();
    let file = fs::File::open(sandbox.file("passphrase")).unwrap();
    assert!(opened(sandbox.envctl(&descriptor).stdin(file), 0), "a descriptor goes before the environment");
    sandbox
        .run(&["decrypt", "in.envelope", "-o", "out", "--passphrase-fd", "77"], 3)
        .says("--passphrase-fd 3 3<");
    let shell = format!(
        "{} decrypt in.envelope -o out --passphrase-file <(cat passphrase)",
        env!("CARGO_BIN_EXE_envctl")
    );
    let mut bash = std::process::Command::new("bash");
    assert!(opened(bash.args(["-c", &shell]).current_dir(sandbox.file(".")).env("HOME", "/nonexistent"), 0));
}

#[test]
fn without_a_terminal_a_missing_passphrase_is_a_clear_error() {
    let sandbox = Sandbox::new();
    sandbox.write("in", b"x");
    let mut command = std::process::Command::new("setsid");
    command.args(["-w", env!("CARGO_BIN_EXE_envctl"), "encrypt", "in"]).current_dir(sandbox.file("."));
    command.env_remove("ENVCTL_PASSPHRASE").stdin(Stdio::null());
    Ran::of(command.output().unwrap(), 2).says("a passphrase is needed").says("--passphrase-file");
    assert_eq!(sandbox.files(), ["in"]);
    let mut empty = sandbox.envctl(&["encrypt", "in"]);
    Ran::of(empty.env("ENVCTL_PASSPHRASE", "").output().unwrap(), 2).says("empty");
}

#[test]
fn a_stream_that_is_read_only_in_part_does_not_hang_or_complain() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.write("in", &bytes(4 << 20));
    let mut child = sandbox
        .envctl(&["encrypt", "-k", "local:main", "in", "-o", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut start = [0; 8];
    child.stdout.take().unwrap().read_exact(&mut start).unwrap();
    assert_eq!(start, *b"\x89ENV\r\n\x1a\n");
    let ran = Ran::of(child.wait_with_output().unwrap(), 3);
    ran.says("writing failed");
}

#[test]
fn folders_devices_and_missing_files_are_told_apart() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    fs::create_dir(sandbox.file("folder")).unwrap();
    sandbox.write("in", b"x");
    sandbox.run(&["encrypt", "-k", "local:main", "folder"], 3).says("tar -c");
    sandbox.run(&["encrypt", "-k", "local:main", "nothing"], 3).says("nothing: No such file");
    sandbox.run(&["encrypt", "-f", "-k", "local:main", "in", "-o", "folder"], 3).says("folder");
    sandbox.run(&["encrypt", "-k", "local:main", "in", "-o", "no/where"], 3).says("cannot write into no");
    sandbox.run(&["encrypt", "-k", "local:main", "in", "-o", "/dev/null"], 0);
    sandbox.run(&["decrypt", "-k", "local:main", "in"], 2).says("does not end with .envelope");
    assert_eq!(sandbox.files(), ["folder", "in"]);
}

#[test]
fn a_full_disk_is_an_error_and_leaves_nothing_behind() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main", "b", "c", "d"]);
    sandbox.write("in", &bytes(300_000));
    sandbox.run(&["encrypt", "-k", "local:main", "in", "-o", "/dev/full"], 3).says("No space left");
    // A file size limit fails a write half-way, as a full disk does.
    let limited = |arguments: &str| {
        let shell = format!("trap '' XFSZ; ulimit -f 100; exec {} {arguments}", env!("CARGO_BIN_EXE_envctl"));
        let mut bash = std::process::Command::new("bash");
        bash.args(["-c", &shell]).current_dir(sandbox.file("."));
        bash.env("HOME", sandbox.file("../home")).env("ENVCTL_PASSPHRASE", PASSPHRASE);
        bash.output().unwrap()
    };
    Ran::of(limited("encrypt -k local:main in"), 3).says("File too large");
    assert_eq!(sandbox.files(), ["in"]);
    // So long a header that the one of a rewrap for four keys does not fit in place.
    let long = format!("long={}", "x".repeat(3_600));
    sandbox.run(&["encrypt", "-k", "local:main", "-c", &long, "in"], 0);
    let sealed = sandbox.read("in.envelope");
    Ran::of(limited("decrypt -k local:main in.envelope -o out"), 3).says("File too large");
    Ran::of(limited("rewrap -k local:main -k local:b -k local:c -k local:d in.envelope"), 3)
        .says("File too large");
    assert_eq!(sandbox.read("in.envelope"), sealed);
    assert_eq!(sandbox.files(), ["in", "in.envelope"]);
}

#[test]
fn no_permission_is_an_error_and_leaves_nothing_behind() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    let path = sandbox.write("in", b"x");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&path).is_ok() {
        println!("skipped: no_permission_is_an_error: root may read everything");
        return;
    }
    sandbox.run(&["encrypt", "-k", "local:main", "in"], 3).says("Permission denied");
    assert_eq!(sandbox.files(), ["in"]);
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    let mut child =
        sandbox.envctl(&["encrypt", "-k", "local:main", "-o", "out"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // More than the pipe and the first block hold: when this returns, the
    // temporary file is there.
    stdin.write_all(&bytes(4 << 20)).unwrap();
    assert_eq!(sandbox.files().len(), 1, "{:?}", sandbox.files());
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(2));
    assert_eq!(sandbox.files(), [""; 0]);
}

#[test]
fn an_input_that_says_no_length_is_read_to_its_end() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    // A regular file of 0 bytes, which has some when it is read.
    sandbox.run(&["encrypt", "-k", "local:main", "/proc/version", "-o", "sealed"], 0);
    sandbox.run(&["decrypt", "-k", "local:main", "sealed", "-o", "out"], 0);
    assert_eq!(sandbox.read("out"), fs::read("/proc/version").unwrap());
}

#[test]
fn an_input_that_changes_its_length_meanwhile_is_refused_and_nothing_is_left() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    let len = 256 << 20;
    for (to, said) in [(len + 1, "now has more"), (len / 4, "now has fewer")] {
        // It may be done before its input is changed; then it is tried again.
        let mut tries = (0..50).map(|_| encrypt_while_changed(&sandbox, len, to));
        let refused = tries.find(|output| !output.status.success()).unwrap();
        Ran::of(refused, 3).says(said).says("snapshot");
        let _ = fs::remove_file(sandbox.file("out"));
        assert_eq!(sandbox.files(), ["in"]);
    }
}

/// Encrypts a file of `len` bytes whose length is set to another one as soon as
/// envctl has asked for it.
fn encrypt_while_changed(sandbox: &Sandbox, len: u64, to: u64) -> std::process::Output {
    let input = fs::File::create(sandbox.file("in")).unwrap();
    input.set_len(len).unwrap();
    let mut command = sandbox.envctl(&["encrypt", "-f", "-k", "local:main", "in", "-o", "out"]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    // It takes the room for its output after it has asked for the length.
    let begun = || {
        sandbox.files().iter().any(|name| {
            name.starts_with(".envctl-")
                && fs::metadata(sandbox.file(name)).is_ok_and(|metadata| metadata.len() > len)
        })
    };
    while !begun() && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    input.set_len(to).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_small_file_system_that_is_full_leaves_nothing_behind() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.write("in", &bytes(3 << 20));
    sandbox.run(&["encrypt", "-k", "local:main", "in"], 0);
    let small = sandbox.file("small");
    fs::create_dir(&small).unwrap();
    let mount = |args: &[&str]| {
        std::process::Command::new(args[0]).args(&args[1..]).arg(&small).stderr(Stdio::null()).status()
    };
    if !mount(&["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs"]).is_ok_and(|status| status.success()) {
        println!("skipped: a_small_file_system_that_is_full: a tmpfs cannot be mounted here");
        return;
    }
    let encrypt = sandbox.envctl(&["encrypt", "-k", "local:main", "in", "-o", "small/out"]).output();
    let decrypt = sandbox.envctl(&["decrypt", "-k", "local:main", "in.envelope", "-o", "small/out"]).output();
    let left = fs::read_dir(&small).unwrap().count();
    // On another file system than the input, with room for it.
    sandbox.write("little", b"little");
    let other = sandbox.envctl(&["encrypt", "-k", "local:main", "little", "-o", "small/out"]).output();
    mount(&["umount"]).unwrap();
    Ran::of(encrypt.unwrap(), 3).says("No space left");
    Ran::of(decrypt.unwrap(), 3).says("No space left");
    assert_eq!(left, 0);
    Ran::of(other.unwrap(), 0);
}

#[test]
fn not_a_byte_of_a_truncated_file_goes_down_a_pipe() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.write("in", &bytes(300_000));
    sandbox.run(&["encrypt", "-k", "local:main", "in"], 0);
    let sealed = sandbox.read("in.envelope");
    sandbox.write("in.envelope", &sealed[..sealed.len() - 20_000]);
    let ran = sandbox.run(&["decrypt", "-k", "local:main", "in.envelope", "-o", "-"], 4);
    assert_eq!(ran.stdout, b"");
}
