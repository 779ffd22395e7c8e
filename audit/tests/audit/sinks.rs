//! Where records go beside the file.

use std::{
    io::{self, Read},
    os::unix::net::UnixDatagram,
    sync::{Arc, Mutex, mpsc},
    task::{Context, Waker},
};

use envelope_audit::{Entry, Filter, Lines, Outcome, Record, Sink, Syslog, VerifyError, read};

use crate::common::{Place, entry, lines, options};

#[test]
fn a_writer_is_told_of_each_record_as_it_stands_in_the_log() {
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (place, told) = (Place::new(), Shared::default());
    let log = place.create(options().tell(Arc::new(Lines::to(told.clone()))));
    log.append_blocking(entry(1)).unwrap();
    log.append_blocking(entry(2)).unwrap();
    drop(log);
    assert_eq!(*told.0.lock().unwrap(), lines(&place.path())[1..].concat());
}

#[test]
fn syslog_is_told_in_the_form_of_rfc_5424_with_the_severity_of_the_outcome() {
    let place = Place::new();
    let socket = place.folder.path().join("dev-log");
    let daemon = UnixDatagram::bind(&socket).unwrap();
    let log = place.create(options().tell(Arc::new(Syslog::at(&socket, "pay roll\n").unwrap())));
    log.append_blocking(entry(1)).unwrap();
    log.append_blocking(Entry::new("decrypt", Outcome::Denied)).unwrap();
    drop(log);
    let written = lines(&place.path());
    for (index, (priority, operation)) in [(110, "unwrap_dek"), (108, "decrypt")].into_iter().enumerate() {
        let mut buffer = [0; 4096];
        let length = daemon.recv(&mut buffer).unwrap();
        let message = std::str::from_utf8(&buffer[..length]).unwrap();
        let mut fields = message.splitn(8, ' ');
        assert_eq!(fields.next(), Some(format!("<{priority}>1").as_str()));
        assert!(fields.next().unwrap().ends_with('Z'));
        let process = std::process::id().to_string();
        let rest: Vec<_> = fields.collect();
        let line = std::str::from_utf8(&written[index + 1]).unwrap().trim_end();
        assert_eq!(rest, ["-", "payroll", &process, operation, "-", line]);
    }
}

#[test]
fn a_sink_that_fails_stops_nothing_and_what_it_lost_is_counted_in_the_log() {
    struct Broken;
    impl io::Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let place = Place::new();
    let log = place.create(options().tell(Arc::new(Lines::to(Broken))));
    log.append_blocking(entry(1)).unwrap();
    log.append_blocking(entry(2)).unwrap();
    drop(log);
    assert_eq!(lost(&place), [("lines".to_owned(), 2)]);
    place.verify().unwrap();
}

#[test]
fn a_pipe_that_nobody_reads_holds_up_no_operation_and_the_log_says_what_did_not_go_through() {
    let (mut reader, writer) = io::pipe().unwrap();
    let place = Place::new();
    let log = place.create(options().tell(Arc::new(Lines::to(writer))));
    // More than pipe and queue take.
    let count = 120;
    for number in 0..count {
        log.append_blocking(entry(number).with_detail("long", "x".repeat(50_000))).unwrap();
    }
    drop(log);
    place.verify().unwrap();
    let [(sink, lost)] = lost(&place).try_into().unwrap();
    let mut told = Vec::new();
    reader.read_to_end(&mut told).unwrap();
    let written = lines(&place.path())[1..].concat();
    assert!(written.starts_with(&told), "what goes through is in order and whole");
    let through = told.iter().filter(|&&byte| byte == b'\n').count() as u64;
    // One was on its way when the log ended: it counts as lost, and came when the pipe was read.
    assert_eq!((sink.as_str(), lost + through), ("lines", count + 1));
}

/// Waits to be let, or else fails.
struct Let(Mutex<mpsc::Receiver<bool>>, Arc<Mutex<Vec<u64>>>);

impl Sink for Let {
    fn name(&self) -> &'static str {
        "let"
    }

    fn tell(&self, record: &Record, _: &str) -> io::Result<()> {
        if self.0.lock().unwrap().recv().unwrap_or(false) {
            self.1.lock().unwrap().push(record.seq);
            Ok(())
        } else {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }
}

#[test]
fn a_flush_that_waits_for_a_slow_sink_holds_up_nobody_who_records() {
    // A sink is given up after a second: on a machine that stands still so long, once more.
    for _ in 0..5 {
        let (go, may) = mpsc::channel();
        let told = Arc::<Mutex<Vec<u64>>>::default();
        let place = Place::new();
        let log = place.create(options().tell(Arc::new(Let(may.into(), Arc::clone(&told)))));
        log.append_blocking(entry(1)).unwrap();
        let mut flush = Box::pin(log.flush());
        log.append_blocking(entry(2)).unwrap();
        let is_waiting = flush.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending();
        [true, true].into_iter().for_each(|goes| go.send(goes).unwrap());
        if is_waiting {
            futures_executor::block_on(flush).unwrap();
            drop(log);
            assert_eq!(*told.lock().unwrap(), [2, 3]);
            return;
        }
    }
    panic!("what was to be recorded waited for the flush each time");
}

#[test]
fn a_flush_waits_for_what_a_sink_takes_and_records_what_it_lost() {
    let (go, may) = mpsc::channel();
    let told = Arc::<Mutex<Vec<u64>>>::default();
    let place = Place::new();
    let log = place.create(options().tell(Arc::new(Let(may.into(), Arc::clone(&told)))));
    for number in 0..3 {
        log.append_blocking(entry(number)).unwrap();
    }
    let flush = log.flush();
    [true, false, true].into_iter().for_each(|goes| go.send(goes).unwrap());
    futures_executor::block_on(flush).unwrap();
    drop(go);
    assert_eq!(*told.lock().unwrap(), [2, 4]);
    assert_eq!(lost(&place), [("let".to_owned(), 1)]);
}

#[test]
fn what_a_sink_that_panics_lost_is_counted_and_it_is_told_of_what_comes_after() {
    struct Panics(Arc<Mutex<Vec<u64>>>);
    impl Sink for Panics {
        fn name(&self) -> &'static str {
            "panics"
        }
        fn tell(&self, record: &Record, _: &str) -> io::Result<()> {
            assert_ne!(record.seq, 2, "this one is too much");
            self.0.lock().unwrap().push(record.seq);
            Ok(())
        }
    }
    let (place, told) = (Place::new(), Arc::<Mutex<Vec<u64>>>::default());
    let log = place.create(options().tell(Arc::new(Panics(Arc::clone(&told)))));
    for number in 0..3 {
        log.append_blocking(entry(number)).unwrap();
    }
    drop(log);
    assert_eq!(*told.lock().unwrap(), [3, 4]);
    assert_eq!(lost(&place), [("panics".to_owned(), 1)]);
    place.verify().unwrap();
}

#[test]
fn syslog_is_found_again_when_its_daemon_was_begun_anew() {
    let place = Place::new();
    let socket = place.folder.path().join("dev-log");
    let first = UnixDatagram::bind(&socket).unwrap();
    let syslog = Syslog::at(&socket, "payroll").unwrap();
    drop(first);
    std::fs::remove_file(&socket).unwrap();
    let second = UnixDatagram::bind(&socket).unwrap();
    let log = place.create(options().tell(Arc::new(syslog)));
    log.append_blocking(entry(1)).unwrap();
    drop(log);
    let mut buffer = [0; 4096];
    let length = second.recv(&mut buffer).unwrap();
    let line = lines(&place.path())[1].clone();
    assert!(buffer[..length].ends_with(line.strip_suffix(b"\n").unwrap()));
    assert_eq!(lost(&place), []);
}

/// Of each record of lost ones, the sink and how many.
fn lost(place: &Place) -> Vec<(String, u64)> {
    let mut lost = Vec::new();
    read::<VerifyError>(&place.path(), &Filter::new(), |record, _| {
        if record.entry.operation == "log-sink-lost" {
            let detail = &record.entry.detail;
            lost.push((detail["sink"].clone(), detail["records"].parse().unwrap()));
        }
        Ok(())
    })
    .unwrap();
    lost
}
