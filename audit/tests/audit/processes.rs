//! Threads and processes that write to one log, and that are killed.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use envelope_audit::{Filter, Log, LogError, VerifyError, read};
use envelope_local::{Argon2Params, Passphrase, PassphraseProvider};
use envelope_sdk::{Envelope, KeyUri, Keyring};
use futures_executor::block_on;
use tempfile::TempDir;

use crate::common::{Place, beside, entry, options};

#[test]
fn sixteen_threads_of_two_processes_make_one_chain_without_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    drop(block_on(Log::create(&path, &keys(), options())).unwrap());
    let children = [false, true].map(|callers| child(&path, "200", "20000", callers));
    let options = options().segment_bytes(20_000).write_on_callers_threads();
    let log = block_on(Log::open(&path, &keys(), options)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| (0..100).for_each(|number| assert!(log.append_blocking(entry(number)).is_ok())));
        }
    });
    for mut child in children {
        let mut said = String::new();
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(said.lines().filter_map(wrote).count(), 16 * 200);
    }
    drop(log);
    let verified = verify(&folder);
    let mut counted = 0;
    read::<VerifyError>(&path, &Filter::new(), |record, _| {
        counted += u64::from(!record.is_of_the_log());
        Ok(())
    })
    .unwrap();
    assert_eq!(counted, 16 * (100 + 2 * 200));
    assert!(verified.segments > 1 && verified.behind_head == 0);
}

#[test]
fn who_cannot_open_the_files_of_the_log_does_not_keep_the_lock() {
    let place = Place::new();
    let log = place.create(options());
    let head = beside(&place.path(), "head");
    let kept = fs::read(&head).unwrap();
    fs::remove_file(&head).unwrap();
    fs::create_dir(&head).unwrap();
    let error = log.append_blocking(entry(1)).unwrap_err();
    let LogError::Io { verb: "lock", .. } = error.reason() else { panic!("{error:?}") };
    // The log is open still, and others may lock it.
    let lock = fs::File::open(beside(&place.path(), "lock")).unwrap();
    assert!(lock.try_lock().is_ok(), "somebody holds the lock");
    drop(lock);
    fs::remove_dir(&head).unwrap();
    fs::write(&head, kept).unwrap();
    log.append_blocking(entry(2)).unwrap();
    drop(log);
    assert_eq!(place.verify().unwrap().last, 2);
}

#[test]
fn what_a_process_was_told_of_is_there_after_sigkill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    drop(block_on(Log::create(&path, &keys(), options())).unwrap());
    for round in 1..=6 {
        let mut child = child(&path, "1000000", "4000", round % 2 == 0);
        let mut acknowledged = 0;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Somewhere in the middle, another place in each round.
        for _ in 0..round * 37 {
            let number = lines.by_ref().find_map(|line| wrote(&line.unwrap()));
            acknowledged = acknowledged.max(number.unwrap());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines.map_while(Result::ok) {
            acknowledged = acknowledged.max(wrote(&line).unwrap_or(0));
        }
        let verified = verify(&folder);
        assert!(verified.last >= acknowledged, "{} of {acknowledged}", verified.last);
    }
}

#[test]
fn a_file_that_may_not_grow_refuses_and_stays_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    drop(block_on(Log::create(&path, &keys(), options())).unwrap());
    // Blocks of 512 bytes; without the signal, writing fails as on a full disk.
    let script =
        format!("trap '' XFSZ; ulimit -f 40; exec {} {CHILD}", std::env::current_exe().unwrap().display());
    let mut command = Command::new("sh");
    command.args(["-c", &script]);
    let mut child = start(&mut command, &path, "200", "100000000", false);
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    let wrote: Vec<u64> = said.lines().filter_map(wrote).collect();
    assert!(!wrote.is_empty() && said.contains("refused: cannot write"), "{said}");
    let verified = verify(&folder);
    assert!(verified.last >= *wrote.iter().max().unwrap() && verified.remains == 0);
    let log = block_on(Log::open(&path, &keys(), options())).unwrap();
    log.append_blocking(entry(1)).unwrap();
}

#[test]
fn clones_of_a_log_end_with_the_last_of_them() {
    let place = Place::new();
    let log = place.create(options());
    let clone = log.clone();
    drop(log);
    clone.append_blocking(entry(1)).unwrap();
    drop(clone);
    assert_eq!(place.verify().unwrap().last, 2);
}

#[test]
fn a_writer_that_panicked_writes_no_more_and_nobody_waits_for_it() {
    let place = Place::new();
    drop(place.create(options()));
    for callers in [false, true] {
        let panics = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&panics);
        let mut options = options().clock(move || {
            assert!(!asked.load(Ordering::Relaxed), "the clock");
            1_700_000_000_000
        });
        if callers {
            options = options.write_on_callers_threads();
        }
        let log = place.open(options).unwrap();
        log.append_blocking(entry(1)).unwrap();
        panics.store(true, Ordering::Relaxed);
        // On the thread of the caller it is the caller's panic.
        let appended = catch_unwind(AssertUnwindSafe(|| log.append_blocking(entry(2))));
        assert_eq!(appended.is_err(), callers);
        panics.store(false, Ordering::Relaxed);
        let error = log.append_blocking(entry(3)).unwrap_err();
        assert!(matches!(error.reason(), LogError::Closed), "{error:?}");
        assert!(matches!(block_on(log.checkpoint()).unwrap_err().reason(), LogError::Closed));
    }
    assert_eq!(place.verify().unwrap().last, 3);
}

/// Not a test: what the processes of the others do.
#[test]
fn as_a_child() {
    let Ok(path) = std::env::var("AUDIT_TEST_LOG") else { return };
    let number = |name: &str| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let mut options = options().segment_bytes(number("AUDIT_TEST_SEGMENT"));
    if number("AUDIT_TEST_CALLERS") == 1 {
        options = options.write_on_callers_threads();
    }
    let log = block_on(Log::open(Path::new(&path), &keys(), options)).unwrap();
    let count = number("AUDIT_TEST_COUNT");
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for number in 0..count {
                    match log.append_blocking(entry(number)) {
                        Ok(appended) => println!("wrote {}", appended.last),
                        Err(error) => return println!("refused: {error}"),
                    }
                }
            });
        }
    });
}

fn child(path: &Path, count: &str, segment: &str, callers: bool) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(CHILD.split(' '));
    start(&mut command, path, count, segment, callers)
}

/// `callers`: who records writes, too.
fn start(command: &mut Command, path: &Path, count: &str, segment: &str, callers: bool) -> Child {
    command
        .env("AUDIT_TEST_LOG", path)
        .env("AUDIT_TEST_COUNT", count)
        .env("AUDIT_TEST_SEGMENT", segment)
        .env("AUDIT_TEST_CALLERS", u8::from(callers).to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Keys that every process can have.
fn keys() -> Envelope {
    let params = Argon2Params { m_cost: 19456, t_cost: 1, p_cost: 1 };
    let passphrase = Passphrase::new("correct horse".into()).unwrap();
    let provider = Arc::new(PassphraseProvider::with_params(passphrase, params).unwrap());
    Envelope::new(Keyring::new().both(provider, KeyUri::passphrase()))
}

fn verify(folder: &TempDir) -> envelope_audit::Verified {
    let path = folder.path().join("log");
    let key = block_on(envelope_audit::KeyFile::of(&path).unwrap().open(&keys())).unwrap();
    envelope_audit::Verifier::with_key(key).verify(&path).unwrap()
}

/// The record that a line tells of. The first may stand behind what the test runner says.
fn wrote(line: &str) -> Option<u64> {
    line.split_once("wrote ")?.1.parse().ok()
}

const CHILD: &str = "--exact processes::as_a_child --nocapture --test-threads 1";
