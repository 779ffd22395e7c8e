//! Whatever is done to a log is found, and located.

use std::fs;

use envelope_audit::{Anchor, Entry, Fault, Filter, LogError, Outcome, Record, VerifyError, read};
use futures_executor::block_on;

use crate::common::{Place, beside, entry, found, lines, numbered, options};

#[test]
fn a_log_that_nobody_touched_verifies_with_the_secret_and_without() {
    let place = Place::filled(2);
    let verified = place.verify().unwrap();
    assert_eq!((verified.first, verified.segments, verified.behind_head, verified.remains), (1, 3, 0, 0));
    assert_eq!(verified.records, verified.last);
    assert_eq!(place.public_verifier().verify(&place.path()).unwrap(), verified);
}

#[test]
fn each_flipped_byte_is_found_in_its_line() {
    let place = Place::filled(1);
    let (secret, public) = (place.verifier(), place.public_verifier());
    for path in [numbered(&place.path(), 1), place.path()] {
        let whole = fs::read(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let count = whole.iter().filter(|&&byte| byte == b'\n').count() as u64;
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1 << (at % 8);
            fs::write(&path, &changed).unwrap();
            let line = whole[..at].iter().filter(|&&byte| byte == b'\n').count() as u64 + 1;
            let (file, at_line, fault) =
                found(secret.verify(&place.path())).unwrap_or_else(|| panic!("byte {at}"));
            let class = class_of_change(&whole, &changed, at, path == place.path());
            assert_eq!((file.as_str(), at_line, fault.class()), (name, line, class), "byte {at}");
            // Only the secret tells a MAC that was changed.
            let text = std::str::from_utf8(&whole).unwrap();
            let begin = text[..at].rfind('\n').map_or(0, |end| end + 1);
            let mac = begin + text[begin..].find(",\"mac\":\"").unwrap() + 8;
            match found(public.verify(&place.path())) {
                Some((file, at_line, _)) if file == name => assert!((line..=line + 1).contains(&at_line)),
                // The last of a file is found by the first of the next.
                Some((_, at_line, _)) => assert_eq!((at_line, line), (1, count), "byte {at}"),
                None => assert!((mac..mac + 64).contains(&at), "byte {at}"),
            }
        }
        fs::write(&path, &whole).unwrap();
    }
    place.verify().unwrap();
}

/// What the page says of a changed byte, for whoever has the secret.
fn class_of_change(whole: &[u8], changed: &[u8], at: usize, is_current: bool) -> &'static str {
    let begin = whole[..at].iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let line = |bytes: &[u8]| bytes[begin..].split(|&byte| byte == b'\n').next().unwrap().to_vec();
    let ends = begin + line(changed).len() < changed.len();
    if !ends && is_current {
        return "cut";
    }
    let was = Record::parse(&line(whole)).unwrap();
    match Record::parse(&line(changed)) {
        Ok(_) if !ends => "not a record",
        Ok(is) if is.seq > was.seq => "gap",
        Ok(is) if is.seq < was.seq => "repeated",
        Ok(is) if is.prev != was.prev => "chain",
        Ok(_) => "mac",
        Err(_) => "not a record",
    }
}

#[test]
fn each_record_that_is_removed_doubled_or_moved_is_found_in_its_place() {
    let place = Place::filled(1);
    for path in [numbered(&place.path(), 1), place.path()] {
        let whole = lines(&path);
        let name = path.file_name().unwrap().to_str().unwrap();
        let put = |lines: &[Vec<u8>]| fs::write(&path, lines.concat()).unwrap();
        let is_last = |index: usize| index + 1 == whole.len();
        for verifier in [place.verifier(), place.public_verifier()] {
            let check = |index: usize, what: &str| {
                let (file, line, fault) = found(verifier.verify(&place.path())).expect(what);
                assert_eq!((file.as_str(), line), (name, index as u64 + 1), "{what}: {fault}");
                fault
            };
            for index in 0..whole.len() {
                let mut removed = whole.clone();
                removed.remove(index);
                put(&removed);
                match check(index, "removed") {
                    Fault::Gap { .. } => assert!(!is_last(index)),
                    Fault::Cut { from, to } => assert!(is_last(index) && from == to),
                    Fault::Segment { .. } => assert!(is_last(index) && path != place.path()),
                    fault => panic!("{fault}"),
                }
                let mut doubled = whole.clone();
                doubled.insert(index, whole[index].clone());
                put(&doubled);
                let fault = check(index + 1, "doubled");
                assert!(matches!(fault, Fault::Repeated { .. }), "{fault}");
                if !is_last(index) {
                    let mut moved = whole.clone();
                    moved.swap(index, index + 1);
                    put(&moved);
                    let fault = check(index, "moved");
                    assert!(matches!(fault, Fault::Gap { .. }), "{fault}");
                }
            }
            put(&whole);
        }
    }
}

#[test]
fn the_tail_cut_at_each_byte_is_found_and_nothing_is_written_to_such_a_log() {
    let place = Place::filled(1);
    let path = place.path();
    let whole = fs::read(&path).unwrap();
    let last = place.verify().unwrap().last;
    for length in (0..whole.len()).rev() {
        fs::write(&path, &whole[..length]).unwrap();
        let line = whole[..length].iter().filter(|&&byte| byte == b'\n').count() as u64 + 1;
        let (file, at, fault) = found(place.verify()).unwrap_or_else(|| panic!("{length} bytes are left"));
        assert_eq!((file.as_str(), at), ("log", line));
        assert!(matches!(fault, Fault::Cut { to, .. } if to == last), "{fault}");
        if length % 97 == 0 || whole[length - 1] == b'\n' {
            let refused = place.open(options()).unwrap_err();
            assert!(matches!(refused, LogError::Damaged(_)), "{refused}");
            assert_eq!(fs::read(&path).unwrap(), &whole[..length], "nothing was changed");
        }
    }
    fs::write(&path, &whole).unwrap();
    place.open(options()).unwrap();
}

#[test]
fn a_file_that_is_gone_is_found() {
    let place = Place::filled(2);
    for (ending, expected) in
        [("00000001", "log.00000001"), ("00000002", "log.00000002"), ("head", "log.head"), ("", "log")]
    {
        let path = if ending.is_empty() { place.path() } else { beside(&place.path(), ending) };
        let kept = place.folder.path().join("kept");
        fs::rename(&path, &kept).unwrap();
        let (file, line, fault) = found(place.verify()).expect(expected);
        assert_eq!((file.as_str(), line, fault), (expected, 1, Fault::Missing));
        if ["head", ""].contains(&ending) {
            let refused = place.open(options()).unwrap_err();
            assert!(
                matches!(&refused, LogError::Damaged(damage) if damage.fault == Fault::Missing),
                "{refused}"
            );
        }
        assert!(!path.exists(), "nothing was made in its place");
        fs::rename(&kept, &path).unwrap();
    }
    fs::rename(beside(&place.path(), "key"), place.folder.path().join("kept")).unwrap();
    assert!(matches!(place.open(options()), Err(LogError::NoLog { .. })));
}

#[test]
fn a_file_of_another_log_is_found() {
    let (place, other) = (Place::filled(1), Place::filled(1));
    for ending in ["00000001", "head", ""] {
        let name =
            |place: &Place| if ending.is_empty() { place.path() } else { beside(&place.path(), ending) };
        let kept = fs::read(name(&place)).unwrap();
        fs::copy(name(&other), name(&place)).unwrap();
        for (verifier, head) in
            [(place.verifier(), "its MAC is wrong"), (place.public_verifier(), "it is of another log")]
        {
            let (file, line, fault) = found(verifier.verify(&place.path())).expect(ending);
            let (expected, first) = match ending {
                "head" => (Fault::Head(head), "log.head"),
                "" => (Fault::Chain { seq: lines(&numbered(&place.path(), 1)).len() as u64 + 1 }, "log"),
                _ => (Fault::Chain { seq: 1 }, "log.00000001"),
            };
            assert_eq!((file.as_str(), line, fault), (first, 1, expected), "{ending}");
        }
        fs::write(name(&place), kept).unwrap();
    }
    place.verify().unwrap();
}

#[test]
fn an_older_copy_of_the_log_alone_is_found_and_of_log_and_head_by_an_anchor_or_who_wrote() {
    let place = Place::filled(0);
    let (path, head) = (place.path(), beside(&place.path(), "head"));
    let old = [fs::read(&path).unwrap(), fs::read(&head).unwrap()];
    let log = place.open(options()).unwrap();
    log.append_blocking(entry(100)).unwrap();
    let anchor = block_on(log.checkpoint()).unwrap();
    let anchor = Anchor::parse(&anchor.to_string()).unwrap();
    place.verifier().anchor(anchor.clone()).verify(&path).unwrap();
    place.public_verifier().anchor(anchor.clone()).verify(&path).unwrap();

    fs::write(&path, &old[0]).unwrap();
    assert!(matches!(found(place.verify()), Some((_, _, Fault::Cut { .. }))));
    fs::write(&head, &old[1]).unwrap();
    // Nothing in the folder can tell.
    place.verify().unwrap();
    for verifier in [place.verifier(), place.public_verifier()] {
        let (_, _, fault) = found(verifier.anchor(anchor.clone()).verify(&path)).unwrap();
        assert!(matches!(fault, Fault::Anchor { .. }), "{fault}");
    }
    // Nor can a process that begins, but one that wrote what is gone.
    let refused = log.append_blocking(entry(101)).unwrap_err();
    assert!(matches!(refused.reason(), LogError::Older { .. }), "{refused}");
    drop(log);
    place.open(options()).unwrap();
}

#[test]
fn an_anchor_of_another_log_or_of_another_past_is_refused() {
    let place = Place::filled(0);
    let other = Place::filled(0);
    let anchor = block_on(other.open(options()).unwrap().checkpoint()).unwrap();
    let (_, _, fault) = found(place.verifier().anchor(anchor).verify(&place.path())).unwrap();
    assert!(matches!(fault, Fault::Anchor { .. }), "{fault}");
    // The same log with two futures.
    let saved = [fs::read(place.path()).unwrap(), fs::read(beside(&place.path(), "head")).unwrap()];
    let log = place.open(options()).unwrap();
    log.append_blocking(entry(1000)).unwrap();
    let anchor = block_on(log.checkpoint()).unwrap();
    drop(log);
    fs::write(place.path(), &saved[0]).unwrap();
    fs::write(beside(&place.path(), "head"), &saved[1]).unwrap();
    let log = place.open(options()).unwrap();
    for number in 0..3 {
        log.append_blocking(entry(2000 + number)).unwrap();
    }
    drop(log);
    place.verify().unwrap();
    let (_, _, fault) = found(place.verifier().anchor(anchor.clone()).verify(&place.path())).unwrap();
    assert_eq!(fault, Fault::Anchor { seq: anchor.seq() });
}

#[test]
fn what_a_crash_left_is_no_damage_and_is_cut_off_by_the_next_writer_who_says_so() {
    let place = Place::filled(0);
    let before = place.verify().unwrap();
    let mut bytes = fs::read(place.path()).unwrap();
    bytes.extend_from_slice(b"{\"actor\":\"te");
    fs::write(place.path(), &bytes).unwrap();
    let verified = place.verify().unwrap();
    assert_eq!((verified.last, verified.remains), (before.last, 12));
    drop(place.open(options()).unwrap());
    let verified = place.verify().unwrap();
    assert_eq!((verified.last, verified.remains, verified.recovered), (before.last + 1, 0, 1));
    // A line that was written on purpose is damage.
    let mut bytes = fs::read(place.path()).unwrap();
    bytes.extend_from_slice(b"{\"actor\":\"te\"}\n");
    fs::write(place.path(), &bytes).unwrap();
    assert!(matches!(found(place.verify()), Some((_, _, Fault::NotARecord(_)))));
    assert!(matches!(place.open(options()), Err(LogError::Damaged(_))));
}

/// Who can write the folder decides how much it is: none of it is kept in memory. `MemoryDisk` of the unit tests sees that
/// nothing long is read at once.
#[test]
fn much_behind_the_head_is_told_from_damage_by_verifier_reader_and_writer_alike() {
    let count = |place: &Place| {
        let mut records = 0;
        read::<VerifyError>(&place.path(), &Filter::new(), |_, _| {
            records += 1;
            Ok(())
        })
        .map(|()| records)
    };
    let long = vec![b'x'; 1 << 20];
    type Leave<'a> = &'a dyn Fn(&Place);
    let sparse = |place: &Place| {
        let file = fs::OpenOptions::new().write(true).open(place.path()).unwrap();
        file.set_len(fs::metadata(place.path()).unwrap().len() + HOLE).unwrap();
    };
    let append = |bytes: Vec<u8>| {
        move |place: &Place| {
            use std::io::Write;
            fs::OpenOptions::new().append(true).open(place.path()).unwrap().write_all(&bytes).unwrap();
        }
    };
    let zero_in_its_line = [&long[..], b"\0\n", &long[..], b"\n"].concat();
    let remains: [(Leave<'_>, u64); 3] = [
        (&sparse, HOLE),
        (&append(long.clone()), long.len() as u64),
        (&append(zero_in_its_line.clone()), zero_in_its_line.len() as u64),
    ];
    for (leave, length) in remains {
        let place = Place::filled(0);
        let before = place.verify().unwrap();
        leave(&place);
        let verified = place.verify().unwrap();
        assert_eq!((verified.last, verified.remains), (before.last, length));
        assert_eq!(count(&place).unwrap(), before.last);
        drop(place.open(options()).unwrap());
        let verified = place.verify().unwrap();
        assert_eq!((verified.last, verified.remains, verified.recovered), (before.last + 1, 0, 1));
    }
    // A line that ends was written by somebody, also when its end is far away and a byte 00 is behind it.
    let place = Place::filled(0);
    let next = lines(&place.path()).len() as u64 + 1;
    append([&long[..], b"\n\0"].concat())(&place);
    let (file, line, fault) = found(place.verify()).unwrap();
    assert_eq!((file.as_str(), line, fault.class()), ("log", next, "not a record"));
    let Err(VerifyError::Damaged(read)) = count(&place) else { panic!("it was read") };
    assert_eq!((read.line, read.fault.class()), (next, "not a record"));
    let Err(LogError::Damaged(refused)) = place.open(options()) else { panic!("it was opened") };
    assert_eq!((refused.line, refused.fault.class()), (next, "not a record"));
}

#[test]
fn a_key_file_of_another_byte_opens_nothing() {
    let place = Place::filled(0);
    let path = beside(&place.path(), "key");
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&path, &changed).unwrap();
        let refused = place.open(options()).unwrap_err();
        assert!(matches!(refused, LogError::KeyFile { .. } | LogError::Key(_)), "byte {at}: {refused}");
    }
    fs::write(&path, &whole).unwrap();
    place.open(options()).unwrap();
}

#[test]
fn a_log_is_not_begun_where_one_is_and_is_where_a_creation_was_interrupted() {
    let place = Place::filled(0);
    let again = || block_on(envelope_audit::Log::create(&place.path(), &place.keys, options()));
    assert!(matches!(again(), Err(LogError::Exists { .. })));
    let key = beside(&place.path(), "key");
    fs::remove_file(&key).unwrap();
    // Records are there: somebody removed the key.
    assert!(matches!(again(), Err(LogError::Exists { .. })));
    fs::write(place.path(), lines(&place.path())[0].clone()).unwrap();
    again().unwrap().append_blocking(entry(1)).unwrap();
    place.verify().unwrap();
}

#[test]
fn a_log_is_not_begun_beside_segments_of_another() {
    let place = Place::filled(1);
    for file in [place.path(), beside(&place.path(), "head"), beside(&place.path(), "key")] {
        fs::remove_file(file).unwrap();
    }
    let made = block_on(envelope_audit::Log::create(&place.path(), &place.keys, options()));
    assert!(matches!(made, Err(LogError::Exists { .. })));
}

#[test]
fn of_two_who_create_one_log_one_does() {
    for _ in 0..20 {
        let place = Place::new();
        let create = || block_on(envelope_audit::Log::create(&place.path(), &place.keys, options()));
        let made = std::thread::scope(|scope| {
            [scope.spawn(create), scope.spawn(create)].map(|one| one.join().unwrap())
        });
        assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1, "{made:?}");
        drop(made);
        place.verify().unwrap();
    }
}

#[test]
fn a_word_of_the_log_itself_is_not_taken_from_a_program() {
    let place = Place::new();
    let log = place.create(options());
    let own = Entry::new("log-segment-end", Outcome::Ok);
    let refused = log.append_blocking(own.with_detail("next", "2")).unwrap_err();
    assert!(matches!(refused.reason(), LogError::Entry(_)), "{refused}");
    log.append_blocking(entry(1)).unwrap();
    drop(log);
    place.verify().unwrap();
}

#[test]
fn a_log_whose_folder_others_may_write_is_not_opened() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::filled(0);
    fs::set_permissions(place.folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(place.open(options()), Err(LogError::Trust(_))));
}

#[test]
fn a_log_of_which_others_may_write_a_file_is_not_opened() {
    use std::os::unix::fs::PermissionsExt;
    for ending in ["", ".lock", ".head", ".key"] {
        let place = Place::filled(0);
        let mut name = place.path().into_os_string();
        name.push(ending);
        fs::set_permissions(&name, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(place.open(options()), Err(LogError::Trust(_))), "{ending}");
    }
}

/// Bytes of a hole: read, and not written.
const HOLE: u64 = 64 << 20;

#[test]
fn a_change_of_the_configuration_that_could_not_be_recorded_is_said_with_what_was_before() {
    let place = Place::new();
    let log = place.create(options().works_under("configuration", "one"));
    log.append_blocking(entry(1)).unwrap();
    drop(log);
    let log = place.open(options().works_under("configuration", "two")).unwrap();
    let head = beside(&place.path(), "head");
    let kept = fs::read(&head).unwrap();
    fs::remove_file(&head).unwrap();
    log.append_blocking(entry(2)).unwrap_err();
    // What is the log's own word is refused before it says anything.
    log.append_blocking(Entry::new("log-begin", Outcome::Ok)).unwrap_err();
    fs::write(&head, kept).unwrap();
    log.append_blocking(entry(5)).unwrap();
    drop(log);
    let mut said = Vec::new();
    read::<VerifyError>(&place.path(), &Filter::new(), |record, _| {
        let detail = |name: &str| record.entry.detail.get(name).cloned().unwrap_or_default();
        if record.entry.operation.starts_with("config") {
            said.push((record.entry.operation.to_string(), detail("before"), detail("configuration")));
        }
        Ok(())
    })
    .unwrap();
    let expected = [("config", "", "one"), ("config-changed", "one", "two")];
    let expected =
        expected.map(|(operation, before, now)| (operation.to_owned(), before.to_owned(), now.to_owned()));
    assert_eq!(said, expected);
}

#[test]
fn what_a_log_works_under_is_said_later_if_nobody_waited_to_hear_that_it_was_not_recorded() {
    let place = Place::new();
    let log = place.create(options().works_under("configuration", "one"));
    let head = beside(&place.path(), "head");
    let kept = fs::read(&head).unwrap();
    fs::remove_file(&head).unwrap();
    // As a call that is dropped, or whose records are left behind when another one of them fails.
    drop(log.append(entry(1)));
    log.append_blocking(entry(2)).unwrap_err();
    fs::write(&head, kept).unwrap();
    log.append_blocking(entry(3)).unwrap();
    drop(log);
    let mut said = Vec::new();
    read::<VerifyError>(&place.path(), &Filter::new(), |record, _| {
        said.push(record.entry.operation.to_string());
        Ok(())
    })
    .unwrap();
    assert_eq!(said, ["log-begin", "config", "unwrap_dek"]);
}
