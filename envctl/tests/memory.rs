//! Constant memory, and none of it in a core dump.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

mod common;

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::MetadataExt,
    process::{Child, Command, Stdio},
};

use common::{PASSPHRASE, Sandbox};

/// Peak resident memory of a process that is still running, in KiB.
fn peak_kib(child: &Child) -> u64 {
    status(child, "VmHWM:").split_whitespace().next().unwrap().parse().unwrap()
}

fn status(child: &Child, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    status.lines().find_map(|line| line.strip_prefix(field)).unwrap().trim().to_owned()
}

#[test]
fn a_long_pipe_is_encrypted_and_decrypted_in_32_mib() {
    let sandbox = Sandbox::new();
    // With the smallest Argon2id parameters, which take 19 MiB for a moment:
    // the recommended ones take 64 MiB, which is theirs and not the stream's.
    sandbox.keystore(&["main"]);
    let spawn = |verb: &str| {
        let mut command = sandbox.envctl(&[verb, "-k", "local:main", "-", "-o", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    };
    let (mut encrypt, mut decrypt) = (spawn("encrypt"), spawn("decrypt"));
    let mut plaintext = encrypt.stdin.take().unwrap();
    let mut sealed = encrypt.stdout.take().unwrap();
    let mut to_decrypt = decrypt.stdin.take().unwrap();
    let mut out = decrypt.stdout.take().unwrap();
    let piped = std::thread::spawn(move || std::io::copy(&mut sealed, &mut to_decrypt).unwrap());
    let counted = std::thread::spawn(move || {
        let mut block = vec![0; 1 << 16];
        let mut total = 0;
        loop {
            match out.read(&mut block).unwrap() {
                0 => return total,
                read => total += read,
            }
        }
    });
    let block = vec![7; 1 << 20];
    for _ in 0..BLOCKS {
        plaintext.write_all(&block).unwrap();
    }
    // Nearly all of it went through both: the rest is in pipes and buffers.
    let peaks = [peak_kib(&encrypt), peak_kib(&decrypt)];
    drop(plaintext);
    assert!(encrypt.wait().unwrap().success());
    piped.join().unwrap();
    assert!(decrypt.wait().unwrap().success());
    assert_eq!(counted.join().unwrap(), BLOCKS * block.len());
    println!("peak resident memory: encrypt {} KiB, decrypt {} KiB", peaks[0], peaks[1]);
    assert!(peaks.iter().all(|peak| *peak <= 32 * 1024), "{peaks:?} KiB");
}

#[test]
fn the_process_dumps_no_core_and_cannot_be_attached_to() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.envctl(&["encrypt", "-", "-o", "-"]);
    if rustix::process::geteuid().is_root() {
        // Root owns its files in /proc anyway, so somebody else has to run it.
        let envctl = command;
        command = Command::new("setpriv");
        command.args(["--reuid=65534", "--clear-groups"]).arg(envctl.get_program()).args(envctl.get_args());
        command.env("HOME", "/nonexistent").env("ENVCTL_PASSPHRASE", PASSPHRASE);
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // The first block comes out after the passphrase was used.
    let mut start = [0; 16];
    child.stdin.as_mut().unwrap().write_all(&[0; 1 << 20]).unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut start).unwrap();
    let limits = fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
    // The kernel gives the files of an undumpable process to root.
    assert_eq!(fs::metadata(format!("/proc/{}/environ", child.id())).unwrap().uid(), 0);
    drop(stdout);
    drop(child.stdin.take());
    child.wait().unwrap();
}

/// MiB that go through: enough that anything kept would show.
const BLOCKS: usize = 512;
