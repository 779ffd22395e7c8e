//! Honest runs: killed, without power, without room. No false alarm, and nothing lost that was acknowledged.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::channel,
    },
    thread,
    time::{Duration, Instant},
};

use futures_channel::oneshot;
use futures_executor::block_on;

use super::memory_disk::{MemoryDisk, Platter, Random, Reader, Trouble};
use crate::{
    Entry, LogKey, LogOptions, Outcome, Verified, Verifier, VerifyError,
    config::Writers,
    desk::Desk,
    log::{Order, work},
    writer::Writer,
};

#[test]
fn a_log_that_was_killed_lost_power_or_had_no_room_verifies_and_has_all_that_was_acknowledged() {
    let runs = number("AUDIT_RUNS").unwrap_or(500);
    let seed = number("AUDIT_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("AUDIT_SEED={seed} AUDIT_RUNS={runs}");
    let mut kills = 0;
    for run in 0..runs {
        kills += Honest::new(seed.wrapping_mul(1_000_003).wrapping_add(run)).run();
    }
    println!("{kills} kills and failures in {runs} runs, no false alarm");
    assert!(kills >= runs, "{kills}");
}

#[test]
fn a_process_killed_at_each_of_its_steps_loses_nothing_that_was_acknowledged() {
    // Records, a segment that is full, a checkpoint, a prune: what it was told of, until it is killed.
    let live = |honest: &mut Honest, trouble: Option<(u64, Trouble)>| {
        let mut writer = honest.writer(trouble);
        let mut told = |told: Result<u64, crate::LogError>| match told {
            Ok(seq) => honest.acknowledged = honest.acknowledged.max(seq),
            Err(error) => assert!(matches!(error, crate::LogError::Io { .. }), "{error}"),
        };
        let last = |done: Vec<Result<crate::Appended, crate::LogError>>| done[1].as_ref().unwrap().last;
        for _ in 0..3 {
            told(writer.append(&[&[entry(1)], &[entry(2), entry(3)]]).map(last));
        }
        told(writer.checkpoint().map(|anchor| anchor.seq() + 1));
        told(writer.prune(6).map(|_| 0));
        told(writer.append(&[&[entry(4)], &[entry(5)]]).map(last));
        told(writer.flush_head().map(|()| 0));
        writer.disk.dead
    };
    let mut steps = 0;
    loop {
        // What of a write arrives is another part of it each time.
        let mut killed = false;
        for seed in 0..8 {
            let mut honest = Honest::new(seed * 1000 + steps);
            honest.segment_bytes = 900;
            killed = live(&mut honest, Some((steps, Trouble::Kill)));
            honest.platter.lock().unwrap().lose_process();
            honest.check(steps, seed);
            live(&mut honest, None);
            honest.check(steps, seed);
        }
        if !killed {
            break;
        }
        steps += 1;
    }
    assert!(steps > 30, "only {steps} steps");
}

#[test]
fn each_prefix_of_a_write_that_was_not_acknowledged_is_no_damage_and_is_mended() {
    let mut honest = Honest::new(15);
    honest.segment_bytes = 1 << 20;
    let current = || honest.platter.lock().unwrap().bytes("current").unwrap().clone();
    let head = honest.platter.lock().unwrap().bytes("head").unwrap().clone();
    let before = current();
    honest.writer(None).append(&[&[entry(1)], &[entry(2)]]).unwrap();
    let after = current();
    for length in before.len()..=after.len() {
        {
            let mut platter = honest.platter.lock().unwrap();
            *platter.bytes("head").unwrap() = head.clone();
            *platter.bytes("current").unwrap() = after[..length].to_vec();
        }
        let whole = after[..length].iter().filter(|&&byte| byte == b'\n').count() as u64;
        let end = after[..length].iter().rposition(|&byte| byte == b'\n').unwrap() + 1;
        let verified = honest.verify().unwrap();
        assert_eq!((verified.last, verified.remains), (whole, (length - end) as u64), "{length} bytes");
        honest.writer(None).append(&[&[entry(3)]]).unwrap();
        let mended = honest.verify().unwrap();
        let recovered = u64::from(length > end);
        assert_eq!((mended.last, mended.recovered), (whole + recovered + 1, recovered), "{length} bytes");
    }
}

#[test]
fn a_group_costs_one_flush() {
    let mut honest = Honest::new(7);
    honest.segment_bytes = 1 << 20;
    let mut writer = honest.writer(None);
    writer.open().unwrap();
    let before = writer.disk.syncs;
    let entries = vec![entry(1); 100];
    let groups: Vec<&[Entry]> = entries.chunks(1).collect();
    writer.append(&groups).unwrap();
    assert_eq!(writer.disk.syncs - before, 1);
}

#[test]
fn the_head_is_flushed_within_a_second_also_when_there_is_no_pause() {
    for writers in [Writers::Thread, Writers::Callers] {
        let mut honest = Honest::new(13);
        honest.segment_bytes = 1 << 20;
        let mut writer = honest.writer(None);
        writer.open().unwrap();
        let (before, mut appends) = (writer.disk.syncs, 0);
        let (orders, received) = channel();
        let (begin, desk) = (Instant::now(), Desk::new(writer));
        thread::scope(|scope| {
            let desk = &desk;
            scope.spawn(move || work(received, desk, writers));
            while begin.elapsed() < Duration::from_millis(1500) {
                let (reply, answer) = oneshot::channel();
                desk.put(vec![entry(1)], reply, None);
                match writers {
                    Writers::Thread => orders.send(Order::Write).unwrap(),
                    Writers::Callers => assert!(!desk.write()),
                }
                block_on(answer).unwrap().unwrap();
                appends += 1;
                thread::sleep(Duration::from_millis(10));
            }
            drop(orders);
        });
        let syncs = desk.into_writer().disk.syncs - before;
        // Once then, and once at the end.
        assert!(syncs >= appends + 2, "{syncs} of {appends} by {writers:?}");
    }
}

#[test]
fn who_writes_is_not_held_up_by_what_others_record_meanwhile() {
    let mut honest = Honest::new(16);
    honest.segment_bytes = 1 << 20;
    let desk = Arc::new(OnceLock::<Desk<MemoryDisk>>::new());
    let (busy, puts) = (Arc::clone(&desk), AtomicU64::new(0));
    let options = honest.options().clock(move || {
        // Whenever something is written, something else comes.
        if let Some(desk) = busy.get() {
            assert!(puts.fetch_add(1, Ordering::Relaxed) < 10_000, "it does not end");
            desk.put(vec![entry(2)], oneshot::channel().0, None);
        }
        45_000
    });
    let disk = MemoryDisk::new(&honest.platter, 16);
    assert!(desk.set(Desk::new(Writer::new(disk, Arc::clone(&honest.key), options))).is_ok());
    let desk = desk.get().unwrap();
    let (reply, answer) = oneshot::channel();
    desk.put(vec![entry(1)], reply, None);
    assert!(desk.write(), "something is left");
    block_on(answer).unwrap().unwrap();
    desk.with(Writer::checkpoint).unwrap().unwrap();
    assert!(!desk.is_empty());
}

#[test]
fn a_checkpoint_of_a_log_that_many_write_without_a_pause_is_made() {
    for writers in [Writers::Thread, Writers::Callers] {
        let mut honest = Honest::new(18);
        honest.segment_bytes = 1 << 20;
        let (orders, received) = channel();
        let (desk, is_over) = (Desk::new(honest.writer(None)), AtomicBool::new(false));
        thread::scope(|scope| {
            let (desk, is_over) = (&desk, &is_over);
            scope.spawn(move || work(received, desk, writers));
            for _ in 0..8 {
                let orders = orders.clone();
                scope.spawn(move || {
                    let begin = Instant::now();
                    while !is_over.load(Ordering::Relaxed) {
                        assert!(begin.elapsed() < Duration::from_secs(60), "no checkpoint by {writers:?}");
                        let (reply, answer) = oneshot::channel();
                        desk.put(vec![entry(1)], reply, None);
                        if writers == Writers::Thread || desk.write() {
                            orders.send(Order::Write).unwrap();
                        }
                        block_on(answer).unwrap().unwrap();
                    }
                });
            }
            let (reply, answer) = oneshot::channel();
            orders.send(Order::Checkpoint(reply)).unwrap();
            let made = block_on(answer);
            is_over.store(true, Ordering::Relaxed);
            made.unwrap().unwrap();
            drop(orders);
        });
        assert!(desk.is_empty());
    }
}

#[test]
fn who_waits_while_the_writer_panics_is_told_that_the_log_is_closed() {
    let honest = Honest::new(17);
    let desk = Arc::new(OnceLock::<Desk<MemoryDisk>>::new());
    let others = Arc::new(Mutex::new(Vec::new()));
    let (busy, answers) = (Arc::clone(&desk), Arc::clone(&others));
    let options = honest.options().clock(move || {
        // Another thread finds the writer taken.
        let (reply, answer) = oneshot::channel();
        busy.get().unwrap().put(vec![entry(2)], reply, None);
        answers.lock().unwrap().push(answer);
        panic!("the clock")
    });
    let disk = MemoryDisk::new(&honest.platter, 17);
    assert!(desk.set(Desk::new(Writer::new(disk, Arc::clone(&honest.key), options))).is_ok());
    let desk = desk.get().unwrap();
    let (reply, mut own) = oneshot::channel();
    desk.put(vec![entry(1)], reply, None);
    assert!(catch_unwind(AssertUnwindSafe(|| desk.write())).is_err());
    assert!(own.try_recv().is_err());
    let mut others = others.lock().unwrap();
    assert_eq!(others.len(), 1);
    assert!(others[0].try_recv().is_err(), "it waits for ever");
    // And who comes later.
    let (reply, mut later) = oneshot::channel();
    desk.put(vec![entry(3)], reply, None);
    assert!(!desk.write());
    assert!(later.try_recv().is_err());
    assert!(desk.with(Writer::checkpoint).is_none());
}

#[test]
fn an_entry_that_cannot_be_recorded_does_not_take_the_others_of_its_group_with_it() {
    let honest = Honest::new(8);
    let mut writer = honest.writer(None);
    let mut bad = entry(1);
    bad.key = Some("k".repeat(3000));
    let long = entry(2).with_detail("long", "x".repeat(70_000));
    let (one, two) = ([entry(1)], [entry(2), bad]);
    let (three, four) = ([long], [entry(3)]);
    let appended = writer.append(&[&one, &two, &three, &four]).unwrap();
    let seqs: Vec<_> = appended.iter().map(|appended| appended.as_ref().ok().map(|done| done.last)).collect();
    assert_eq!(seqs, [Some(2), None, None, Some(3)]);
    assert_eq!(honest.verify().unwrap().last, 3);
}

#[test]
fn a_full_disk_refuses_what_does_not_fit_and_goes_on_when_there_is_room() {
    for step in 0..4 {
        let honest = Honest::new(9 + step);
        let mut writer = honest.writer(None);
        writer.append(&[&[entry(1)]]).unwrap();
        writer.disk.trouble = Some((step, Trouble::Fail));
        let refused = writer.append(&[&[entry(2)], &[entry(3)]]);
        let known =
            if let Ok(appended) = refused { appended.last().unwrap().as_ref().unwrap().last } else { 2 };
        let verified = honest.verify().unwrap();
        assert!(verified.last >= known, "step {step}");
        writer.disk.trouble = None;
        writer.append(&[&[entry(4)]]).unwrap();
        assert!(honest.verify().unwrap().last > known);
    }
}

#[test]
fn two_writers_whose_processes_take_turns_make_one_chain() {
    let honest = Honest::new(10);
    let (mut one, mut other) = (honest.writer(None), honest.writer(None));
    for _ in 0..20 {
        one.append(&[&[entry(1)]]).unwrap();
        other.append(&[&[entry(2)], &[entry(3)]]).unwrap();
    }
    assert_eq!(honest.verify().unwrap().behind_head, 0);
    one.prune(20).unwrap();
    other.append(&[&[entry(2)]]).unwrap();
    honest.verify().unwrap();
}

#[test]
fn a_clock_that_is_set_back_is_recorded_and_no_damage() {
    let honest = Honest::new(11);
    let mut writer = honest.writer(None);
    for time in [50_000, 40_000, 60_000, 59_999] {
        honest.now.store(time, Ordering::Relaxed);
        writer.append(&[&[entry(1)]]).unwrap();
    }
    assert_eq!(honest.verify().unwrap().clock_set_back, 2);
}

#[test]
fn a_segment_that_was_begun_in_vain_behind_an_old_head_is_begun_anew() {
    let mut honest = Honest::new(12);
    honest.segment_bytes = 1;
    let old = honest.platter.lock().unwrap().bytes("head").unwrap().clone();
    honest.writer(None).append(&[&[entry(1)]]).unwrap();
    {
        let mut platter = honest.platter.lock().unwrap();
        *platter.bytes("head").unwrap() = old;
        *platter.bytes("current").unwrap() = b"{\"actor".to_vec();
    }
    assert_eq!(honest.verify().unwrap().last, 2);
    for step in 0..12 {
        let _ = honest.writer(Some((step, Trouble::Kill))).open();
        honest.platter.lock().unwrap().lose_process();
        assert!(honest.verify().unwrap().last >= 2, "killed at step {step}");
    }
    honest.writer(None).append(&[&[entry(2)]]).unwrap();
    honest.verify().unwrap();
}

#[test]
fn a_log_that_goes_on_while_its_beginning_is_looked_for_verifies() {
    use crate::segments::{Segments, Snapshot};
    use std::{io, path::PathBuf};

    struct Busy<'a>(Reader<'a>, &'a Honest, u8);
    impl Segments for Busy<'_> {
        type Reader = io::Cursor<Vec<u8>>;
        fn path(&self, segment: Option<u64>) -> PathBuf {
            self.0.path(segment)
        }
        fn snapshot(&mut self) -> io::Result<Snapshot<Self::Reader>> {
            self.2 += 1;
            if self.2 > 1 {
                self.1.writer(None).append(&[&[entry(1)]]).unwrap();
            }
            self.0.snapshot()
        }
        fn closed(&mut self, number: u64) -> io::Result<Self::Reader> {
            self.0.closed(number)
        }
    }
    let mut honest = Honest::new(14);
    honest.segment_bytes = 1;
    let mut writer = honest.writer(None);
    let appended = writer.append(&[&[entry(1)]]).unwrap();
    writer.prune(appended[0].as_ref().unwrap().last).unwrap();
    let key = LogKey::from_secrets([7; 16], &[9; 64]).unwrap();
    let mut busy = Busy(Reader(&honest.platter), &honest, 0);
    let verified = Verifier::with_key(key).verify_segments(&mut busy, Path::new("log.head")).unwrap();
    assert_eq!(verified.segments, 1);
}

/// Runs of a log whose programs mean well.
struct Honest {
    platter: Arc<Mutex<Platter>>,
    key: Arc<LogKey>,
    now: Arc<AtomicU64>,
    random: Random,
    segment_bytes: u64,
    acknowledged: u64,
    pruned: u64,
}

impl Honest {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let key = Arc::new(LogKey::from_secrets([7; 16], &[9; 64]).unwrap());
        let now = Arc::new(AtomicU64::new(45_000));
        let segment_bytes = [900, 2000, 1 << 20][random.below(3) as usize];
        let platter = Arc::default();
        let honest = Self { platter, key, now, random, segment_bytes, acknowledged: 1, pruned: 0 };
        let (lines, head) = Writer::<MemoryDisk>::first_record(&honest.key, &honest.options()).unwrap();
        let mut platter = honest.platter.lock().unwrap();
        platter.put("current", &lines);
        platter.put("head", &head);
        drop(platter);
        honest
    }

    fn options(&self) -> LogOptions {
        let now = Arc::clone(&self.now);
        LogOptions::new("test").segment_bytes(self.segment_bytes).clock(move || now.load(Ordering::Relaxed))
    }

    fn writer(&self, trouble: Option<(u64, Trouble)>) -> Writer<MemoryDisk> {
        let mut disk = MemoryDisk::new(&self.platter, self.segment_bytes);
        disk.trouble = trouble;
        Writer::new(disk, Arc::clone(&self.key), self.options())
    }

    fn verify(&self) -> Result<Verified, VerifyError> {
        let key = LogKey::from_secrets([7; 16], &[9; 64]).unwrap();
        Verifier::with_key(key).verify_segments(&mut Reader(&self.platter), Path::new("log.head"))
    }

    /// Several lives, each of one or two processes that end somewhere. Returns how many ended badly.
    fn run(&mut self) -> u64 {
        let mut bad = 0;
        for life in 0..2 + self.random.below(4) {
            let troubled = |random: &mut Random| {
                let trouble = if random.below(4) == 0 { Trouble::Fail } else { Trouble::Kill };
                Some((random.below(30), trouble))
            };
            let trouble = troubled(&mut self.random);
            let mut writers = [self.writer(trouble), self.writer(None)];
            for writer in &mut writers {
                writer.disk.random.0 ^= self.random.next();
            }
            let seed = self.random.0;
            for _ in 0..12 {
                self.now.fetch_add(self.random.below(2000), Ordering::Relaxed);
                if self.random.below(20) == 0 {
                    self.now.fetch_sub(1500, Ordering::Relaxed);
                }
                let index = usize::from(self.random.below(4) == 0);
                self.step(&mut writers[index], seed);
                if writers[index].disk.dead {
                    bad += 1;
                    self.platter.lock().unwrap().lose_process();
                    self.check(life, seed);
                    break;
                }
            }
            bad += u64::from(writers[0].disk.trouble.is_none());
            if self.random.below(2) == 0 {
                self.platter.lock().unwrap().lose_power(&mut self.random);
                self.check(life, seed);
            } else if self.random.below(2) == 0 {
                // The other process goes on.
                for _ in 0..3 {
                    self.step(&mut writers[1], seed);
                }
                self.check(life, seed);
            }
        }
        let mut last = self.writer(None);
        last.append(&[&[entry(1)]]).unwrap_or_else(|error| panic!("the log cannot be opened again: {error}"));
        self.acknowledged = self.verify().unwrap().last;
        bad
    }

    fn step(&mut self, writer: &mut Writer<MemoryDisk>, seed: u64) {
        let what = self.random.below(12);
        let refused = |error: &crate::LogError| {
            assert!(matches!(error, crate::LogError::Io { .. }), "seed {seed}: a false alarm: {error}");
        };
        match what {
            0 => match writer.checkpoint() {
                Ok(anchor) => self.acknowledged = self.acknowledged.max(anchor.seq() + 1),
                Err(error) => refused(&error),
            },
            1 => {
                let up_to = self.random.below(self.acknowledged);
                match writer.prune(up_to) {
                    Ok(pruned) => self.pruned = self.pruned.max(pruned.first),
                    Err(error) => refused(&error),
                }
            }
            2 => {
                if let Err(error) = writer.flush_head() {
                    refused(&error);
                }
            }
            _ => {
                let entries: Vec<_> = (0..=self.random.below(5)).map(entry).collect();
                let groups: Vec<&[Entry]> = entries.chunks(1 + self.random.below(3) as usize).collect();
                match writer.append(&groups) {
                    Ok(appended) => {
                        let last = appended.last().unwrap().as_ref().unwrap().last;
                        self.acknowledged = self.acknowledged.max(last);
                    }
                    Err(error) => refused(&error),
                }
            }
        }
    }

    fn check(&self, life: u64, seed: u64) {
        match self.verify() {
            Ok(verified) => {
                let (last, acknowledged) = (verified.last, self.acknowledged);
                assert!(last >= acknowledged, "life {life}, seed {seed}: {last} of {acknowledged} records");
                assert!(verified.first >= self.pruned);
            }
            Err(error) => panic!("life {life}, seed {seed}: a false alarm: {error}"),
        }
    }
}

fn entry(number: u64) -> Entry {
    let mut entry = Entry::new("unwrap_dek", Outcome::Ok);
    entry.key = Some(format!("memory:key-{number}"));
    entry
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
