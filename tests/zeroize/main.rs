//! Nothing secret stays in memory: a process works with keys, passphrases and
//! plaintexts, drops them all, and is searched for each of them.
//!
//! [`child`] is what the searched process does; it tells the secrets that it
//! used, masked. [`derive`] makes every key that follows from them. [`memory`]
//! reads the other process's memory from outside, so that the search neither
//! overwrites what it looks for nor finds itself. Each process also leaves
//! three secrets behind on purpose: if one of them is not found, neither would
//! be a residue.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]
#![allow(clippy::print_stdout, reason = "the searched process speaks through it")]

mod child;
mod derive;
mod memory;

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use envelope_sdk::EncryptionContext;

use memory::{Finding, Needles};

macro_rules! nothing_stays_after {
    ($($test:ident: $operations:literal,)*) => {$(
        #[test]
        fn $test() {
            nothing_stays_after($operations);
        }
    )*};
}

nothing_stays_after! {
    nothing_stays_after_encrypt: "encrypt",
    nothing_stays_after_decrypt: "decrypt",
    nothing_stays_after_detached: "detached",
    nothing_stays_after_streams: "streams",
    nothing_stays_after_records: "records",
    nothing_stays_after_rewrap: "rewrap",
    nothing_stays_after_reencrypt: "reencrypt",
    nothing_stays_after_a_wrong_context: "wrong context",
    nothing_stays_after_tampered_envelopes: "tampered",
    nothing_stays_after_errors_of_a_provider: "provider error",
    nothing_stays_after_cancelled_futures: "cancelled",
    nothing_stays_after_futures_dropped_at_each_await: "dropped at each await",
    nothing_stays_after_a_keystore: "keystore",
    nothing_stays_after_a_wrong_passphrase_of_a_keystore: "keystore, wrong passphrase",
    nothing_stays_after_a_passphrase: "passphrase",
    nothing_stays_after_a_wrong_passphrase: "passphrase, wrong",
}

#[cfg(feature = "tokio")]
nothing_stays_after! {
    nothing_stays_after_an_asynchronous_writer_that_fails: "asynchronous writer, failing",
    nothing_stays_after_an_asynchronous_writer_that_is_dropped: "asynchronous writer, dropped",
    nothing_stays_after_an_asynchronous_reader: "asynchronous reader",
    nothing_stays_after_an_asynchronous_reader_of_ranges: "asynchronous reader of ranges",
}

/// Not a test of its own: what the searched processes run.
#[test]
fn searched() {
    if let Ok(operations) = env::var(OPERATIONS) {
        child::run(&operations);
    }
}

fn nothing_stays_after(operations: &str) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["searched", "--exact", "--nocapture", "--quiet"])
        .env(OPERATIONS, operations)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = Vec::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    loop {
        let line = lines.next().expect("the process came to the end of its operations").unwrap();
        match line.strip_prefix(child::LINE).map(|line| line.trim_start().rsplit_once(' ')) {
            None => {}
            Some(None) => break,
            Some(Some((word, hex))) => told.push((word.to_owned(), bytes_of(hex))),
        }
    }
    let mut needles = Needles::new();
    derive::add_all(&mut needles, &told);
    let (findings, searched) = needles.search(child.id());
    drop(child.stdin.take());
    let _ = child.wait();
    println!("{operations}: searched {searched} bytes for {} secrets", needles.len());
    for control in ["control: forgotten", "control: freed", "control: stack"] {
        assert!(
            findings.iter().any(|finding| finding.secret == control),
            "{control} was not found, so this search finds nothing"
        );
    }
    let residues: Vec<_> =
        findings.into_iter().filter(|finding| !finding.secret.starts_with("control: ")).collect();
    assert!(residues.is_empty(), "after {operations}, left in memory:\n{}", list(&residues));
}

fn list(residues: &[Finding]) -> String {
    let line = |residue: &Finding| {
        format!("  {} ({}) at {:x} in {}\n", residue.secret, residue.form, residue.address, residue.mapping)
    };
    residues.iter().take(40).map(line).collect::<String>() + &format!("  {} in all", residues.len())
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digit =
        |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap();
    let (pairs, _) = hex.as_bytes().as_chunks::<2>();
    pairs.iter().map(|[high, low]| digit(*high) << 4 | digit(*low)).collect()
}

/// The context of everything that is encrypted.
fn context() -> EncryptionContext {
    EncryptionContext::new().with("tenant", "42").withhold("patient", "7")
}

/// How often each process does its operations.
const ROUNDS: usize = 1000;
/// Bytes of the last chunk of a plaintext.
const LAST_LEN: usize = 1000;
/// What secrets are combined with while they are told.
const MASK: [u8; 32] = *b"\xA5\x17\xE2\x4B\x99\x83\x0D\xF1\x6E\xC8\x3A\x75\xD4\x21\xBF\x08\
\x92\xDB\x47\xAE\x10\x8F\xF3\x65\x1C\xB7\x2E\xD9\x84\x53\xEA\x79";
/// Says in the environment which operations a process does.
const OPERATIONS: &str = "ENVELOPE_ZEROIZE_OPERATIONS";
