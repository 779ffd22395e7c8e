//! Constant memory, and none of it in a core dump.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on says so"
)]

mod common;

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::MetadataExt,
    process::{Child, Command, Stdio},
};

use common::{PASSPHRASE, Sandbox};

/// A number of KiB that the kernel tells of a process, `None` when it has ended.
fn status_kib(child: &Child, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(value.split_whitespace().next().unwrap().parse().unwrap())
}

/// What a process holds beyond its program's own file, of which an unoptimised build has many pages: now, and at its
/// peak. `None` when it has ended.
fn held_kib(child: &Child) -> Option<(u64, u64)> {
    let file = status_kib(child, "RssFile:")?;
    Some((status_kib(child, "RssAnon:")?, status_kib(child, "VmHWM:")?.saturating_sub(file)))
}

/// The smallest Argon2id takes 19 MiB for a moment before the stream begins (the recommended one 64).
fn assert_little(what: &str, while_streaming: u64, peak: u64) {
    eprintln!("memory of {what}: {while_streaming} KiB while it streams, {peak} at its peak");
    assert!(while_streaming <= 16 * 1024, "{what}: {while_streaming} KiB");
    assert!(peak <= (16 + 19) * 1024, "{what}: {peak} KiB");
}

#[test]
fn a_long_pipe_is_encrypted_and_decrypted_in_16_mib_beyond_the_program() {
    let sandbox = Sandbox::new();
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
    let (encrypting, decrypting) = (held_kib(&encrypt).unwrap(), held_kib(&decrypt).unwrap());
    drop(plaintext);
    assert!(encrypt.wait().unwrap().success());
    piped.join().unwrap();
    assert!(decrypt.wait().unwrap().success());
    assert_little("encrypt from pipe to pipe", encrypting.0, encrypting.1);
    assert_little("decrypt from pipe to pipe", decrypting.0, decrypting.1);
    assert_eq!(counted.join().unwrap(), BLOCKS * block.len());
}

#[test]
fn a_long_file_is_encrypted_and_decrypted_in_16_mib_beyond_the_program() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    let len = (BLOCKS << 20) as u64;
    fs::File::create(sandbox.file("long")).unwrap().set_len(len).unwrap();
    // What the kernel says, again and again: the last quarter of it is of the stream, for the passphrase takes a moment, a
    // longer one where others compute, and the stream most of the time.
    let watch = |what: &str, args: &[&str]| {
        let mut child = sandbox.envctl(args).spawn().unwrap();
        let (mut seen, mut peak) = (Vec::new(), 0);
        while child.try_wait().unwrap().is_none() {
            if let Some((held, most)) = held_kib(&child) {
                seen.push(held);
                peak = peak.max(most);
            }
        }
        assert!(child.wait().unwrap().success());
        assert!(seen.len() > 10, "{what} was hardly seen at work");
        let streaming = seen[seen.len() * 3 / 4..].iter().max().unwrap();
        assert_little(what, *streaming, peak);
    };
    watch("encrypt from file to file", &["encrypt", "-k", "local:main", "long"]);
    let decrypt = ["decrypt", "-k", "local:main", "long.envelope", "-o", "back"];
    watch("decrypt from file to file", &decrypt);
    assert_eq!(fs::metadata(sandbox.file("back")).unwrap().len(), len);
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
