//! Segments, and what is pruned.

use std::{fs, sync::Arc, time::Duration};

use envelope_audit::{Fault, Filter, LogError, VerifyError, read};
use futures_executor::block_on;

use crate::common::{Place, beside, entry, found, lines, numbered, options};

#[test]
fn segments_are_closed_by_size_and_by_age_and_make_one_chain() {
    let place = Place::new();
    let now = Arc::new(std::sync::atomic::AtomicU64::new(1000));
    let clock = Arc::clone(&now);
    let aged = options()
        .segment_age(Duration::from_secs(60))
        .clock(move || clock.load(std::sync::atomic::Ordering::Relaxed));
    let log = place.create(aged.clone());
    log.append_blocking(entry(1)).unwrap();
    now.store(60_999, std::sync::atomic::Ordering::Relaxed);
    log.append_blocking(entry(2)).unwrap();
    assert!(!numbered(&place.path(), 1).exists());
    drop(log);
    // Also when another process goes on.
    now.store(61_000, std::sync::atomic::Ordering::Relaxed);
    let log = place.open(aged).unwrap();
    log.append_blocking(entry(3)).unwrap();
    assert!(numbered(&place.path(), 1).exists());
    drop(log);
    let log = place.open(options().segment_bytes(1)).unwrap();
    log.append_blocking(entry(4)).unwrap();
    log.append_blocking(entry(5)).unwrap();
    assert!(numbered(&place.path(), 3).exists());
    assert_eq!(place.verify().unwrap().segments, 4);
}

/// As after a process that was killed when it had closed the segment: the head names the last record of that.
#[test]
fn a_log_that_was_left_between_two_segments_is_read_to_its_end() {
    let place = Place::filled(1);
    fs::remove_file(place.path()).unwrap();
    let read_all = || {
        let mut records = 0;
        let all = read::<VerifyError>(&place.path(), &Filter::new(), |_, _| {
            records += 1;
            Ok(())
        });
        all.map(|()| records)
    };
    assert!(matches!(read_all(), Err(VerifyError::Io { .. })), "a segment is gone");
    let head = fs::read_to_string(beside(&place.path(), "head")).unwrap();
    fs::write(beside(&place.path(), "head"), head.replace(r#""segment":2"#, r#""segment":1"#)).unwrap();
    assert_eq!(read_all().unwrap(), lines(&numbered(&place.path(), 1)).len());
}

#[test]
fn what_is_pruned_is_gone_and_the_rest_verifies_with_the_secret_and_without() {
    let place = Place::filled(4);
    let first_of_3: u64 = first_seq(&numbered(&place.path(), 3));
    let log = place.open(options()).unwrap();
    let nothing = block_on(log.prune(1)).unwrap();
    assert_eq!((nothing.segments, nothing.first), (0, 1));
    let pruned = block_on(log.prune(first_of_3 + 1)).unwrap();
    assert_eq!((pruned.segments, pruned.first), (2, first_of_3));
    let again = block_on(log.prune(first_of_3 + 1)).unwrap();
    assert_eq!((again.segments, again.first), (0, first_of_3));
    log.append_blocking(entry(1)).unwrap();
    drop(log);
    assert!(!numbered(&place.path(), 2).exists());
    for verifier in [place.verifier(), place.public_verifier()] {
        let verified = verifier.verify(&place.path()).unwrap();
        assert_eq!((verified.first, verified.segments), (first_of_3, 3));
        assert_eq!(verified.records, verified.last - first_of_3 + 1);
    }
    // All that is closed.
    let log = place.open(options()).unwrap();
    let last = place.verify().unwrap().last;
    assert_eq!(block_on(log.prune(last)).unwrap().segments, 2);
    drop(log);
    assert_eq!(place.verify().unwrap().segments, 1);
    place.public_verifier().verify(&place.path()).unwrap();
}

#[test]
fn nothing_is_pruned_by_what_a_changed_record_says() {
    let place = Place::filled(4);
    let (last, changed) = (place.verify().unwrap().last, numbered(&place.path(), 3));
    let first = first_seq(&changed);
    let whole = fs::read_to_string(&changed).unwrap();
    fs::write(&changed, whole.replacen(&format!("\"seq\":{first},"), "\"seq\":1,", 1)).unwrap();
    let log = place.open(options()).unwrap();
    let refused = block_on(log.prune(last)).unwrap_err();
    let LogError::Damaged(damage) = refused.reason() else { panic!("{refused}") };
    assert_eq!((&damage.file, damage.line, &damage.fault), (&changed, 1, &Fault::Mac { seq: 1 }));
    drop(log);
    assert!((1..=4).all(|number| numbered(&place.path(), number).exists()));
    fs::write(&changed, whole).unwrap();
    place.verify().unwrap();
}

#[test]
fn segments_that_are_removed_without_a_record_are_missed() {
    let place = Place::filled(4);
    let second = first_seq(&numbered(&place.path(), 2));
    let log = place.open(options()).unwrap();
    block_on(log.prune(second)).unwrap();
    drop(log);
    fs::remove_file(numbered(&place.path(), 2)).unwrap();
    for verifier in [place.verifier(), place.public_verifier()] {
        let (file, line, fault) = found(verifier.verify(&place.path())).unwrap();
        assert_eq!((file.as_str(), line, fault), ("log.00000002", 1, Fault::Missing));
    }
}

#[test]
fn a_name_with_the_greatest_of_numbers_is_no_segment() {
    let place = Place::filled(3);
    let second = first_seq(&numbered(&place.path(), 2));
    let log = place.open(options()).unwrap();
    block_on(log.prune(second)).unwrap();
    drop(log);
    fs::rename(numbered(&place.path(), 2), numbered(&place.path(), u64::MAX)).unwrap();
    fs::remove_file(numbered(&place.path(), 3)).unwrap();
    for verifier in [place.verifier(), place.public_verifier()] {
        let (_, line, fault) = found(verifier.verify(&place.path())).unwrap();
        assert_eq!((line, fault), (1, Fault::Missing));
    }
}

#[test]
fn segments_that_a_prune_left_are_no_damage_and_go_with_the_next() {
    let place = Place::filled(3);
    let old = fs::read(numbered(&place.path(), 1)).unwrap();
    let second = first_seq(&numbered(&place.path(), 2));
    let log = place.open(options()).unwrap();
    block_on(log.prune(second)).unwrap();
    fs::write(numbered(&place.path(), 1), old).unwrap();
    place.verify().unwrap();
    assert_eq!(block_on(log.prune(second)).unwrap().segments, 1);
    drop(log);
    assert!(!numbered(&place.path(), 1).exists());
}

#[test]
fn a_secret_that_moves_to_another_key_writes_the_same_log() {
    let place = Place::filled(1);
    let other = Place::new();
    let file = envelope_audit::KeyFile::of(&place.path()).unwrap();
    let keyring = envelope_sdk::Keyring::new()
        .encrypt(other.provider.clone(), other.key.clone())
        .decrypt(place.provider.clone(), place.key.clone());
    let moved = block_on(file.rewrap(&envelope_sdk::Envelope::new(keyring))).unwrap();
    moved.replace(&place.path()).unwrap();
    assert!(matches!(place.open(options()), Err(LogError::Key(_))));
    let log = block_on(envelope_audit::Log::open(&place.path(), &other.keys, options())).unwrap();
    log.append_blocking(entry(1)).unwrap();
    let key = block_on(moved.open(&other.keys)).unwrap();
    envelope_audit::Verifier::with_key(key).verify(&place.path()).unwrap();
    assert!(beside(&place.path(), "key").exists());
}

fn first_seq(path: &std::path::Path) -> u64 {
    let mut first = None;
    let copy = path.with_file_name("copy-of-a-segment");
    fs::copy(path, &copy).unwrap();
    read::<VerifyError>(&copy, &Filter::new(), |record, _| {
        first.get_or_insert(record.seq);
        Ok(())
    })
    .unwrap();
    fs::remove_file(copy).unwrap();
    first.unwrap()
}
