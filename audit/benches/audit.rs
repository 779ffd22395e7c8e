//! What a log costs: records verified in a second of one core beside the raw SHA-256 of the same bytes, and appends in a
//! second. `cargo bench -p envelope-audit`; the logs are in `/dev/shm` where there is one, else below `TMPDIR`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    missing_docs,
    reason = "a program that measures"
)]

use std::{
    fs,
    hint::black_box,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use envelope_audit::{Entry, KeyFile, Log, LogOptions, Outcome, Verifier};
use envelope_sdk::{Envelope, KeyUri, Keyring};
use envelope_testkit::MemoryProvider;
use futures_executor::block_on;
use rustix::time::{ClockId, clock_gettime};
use sha2::{Digest, Sha256};

fn main() {
    let folder =
        if Path::new("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
    let folder = tempfile::tempdir_in(folder).unwrap();
    let key = MemoryProvider::key("audit");
    let keys =
        Envelope::new(Keyring::new().both(Arc::new(MemoryProvider::new().with_key(&key)), key.clone()));
    println!("in {}", folder.path().display());
    verify(&folder.path().join("verified"), &keys, &key);
    append(&folder.path().join("appended"), &keys, &key);
}

fn verify(path: &Path, keys: &Envelope, key: &KeyUri) {
    let options = LogOptions::new("payroll").show_value("tenant").segment_bytes(u64::MAX);
    let log = block_on(Log::create(path, keys, options)).unwrap();
    for batch in 0..RECORDS / BATCH {
        let entries = (0..BATCH).map(|number| entry(key, batch * BATCH + number)).collect();
        block_on(log.append_all(entries)).unwrap();
    }
    drop(log);
    let bytes = fs::read(path).unwrap();
    let hashed = best(|| {
        black_box(Sha256::digest(&bytes));
    });
    let each = bytes.len() as f64 / (RECORDS + 1) as f64;
    println!(
        "SHA-256 of the file: {:.0} MB/s, as {:.0} records/s of {each:.0} bytes",
        bytes.len() as f64 / hashed / 1e6,
        (RECORDS + 1) as f64 / hashed
    );
    let file = KeyFile::of(path).unwrap();
    let public_key = *file.public_key();
    let secret = Verifier::with_key(block_on(file.open(keys)).unwrap());
    for (name, verifier) in
        [("with the secret", secret), ("without it", Verifier::with_public_key(&file, public_key))]
    {
        let took = best(|| assert_eq!(verifier.verify(path).unwrap().records, RECORDS + 1));
        println!(
            "verify {name}: {:.0} records/s, {:.2} times SHA-256",
            (RECORDS + 1) as f64 / took,
            took / hashed
        );
    }
}

fn append(path: &Path, keys: &Envelope, key: &KeyUri) {
    drop(block_on(Log::create(path, keys, LogOptions::new("payroll"))).unwrap());
    append_by(path, keys, key, ("a thread of the log writes", LogOptions::new("payroll")));
    let on_callers = LogOptions::new("payroll").write_on_callers_threads();
    append_by(path, keys, key, ("whoever appends writes", on_callers));
    let key = block_on(KeyFile::of(path).unwrap().open(keys)).unwrap();
    assert_eq!(Verifier::with_key(key).verify(path).unwrap().records, 4 * APPENDS + 1);
}

fn append_by(path: &Path, keys: &Envelope, key: &KeyUri, (who, options): (&str, LogOptions)) {
    let log = block_on(Log::open(path, keys, options)).unwrap();
    for threads in [1, 16] {
        let began = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    (0..APPENDS / threads)
                        .for_each(|number| assert!(log.append_blocking(entry(key, number)).is_ok()));
                });
            }
        });
        println!(
            "append, {threads} threads that wait for each, {who}: {:.0} records/s",
            rate(APPENDS, began.elapsed())
        );
    }
}

/// As an unwrap in a service has it.
fn entry(key: &KeyUri, number: u64) -> Entry {
    let mut entry = Entry::new("unwrap_dek", Outcome::Ok);
    entry.provider = Some("memory".into());
    entry.key = Some(key.as_str().into());
    entry.key_version = Some("1".into());
    entry.envelope = Some([0xab; 16]);
    entry.generation = Some(3);
    entry.request = Some(format!("7f3a-{number}"));
    entry.context.insert("tenant".into(), "acme".into());
    entry
}

/// Seconds of this thread's processor time that the fastest of some runs takes: other programs do not count.
fn best(run: impl Fn()) -> f64 {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let took = (0..RUNS).map(|_| {
        let began = now();
        run();
        now() - began
    });
    took.fold(f64::INFINITY, f64::min)
}

fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

const RECORDS: u64 = 100_000;
const BATCH: u64 = 1000;
const APPENDS: u64 = 16_000;
const RUNS: u32 = 7;
