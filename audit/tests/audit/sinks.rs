//! Where records go beside the file.

use std::{
    io,
    os::unix::net::UnixDatagram,
    sync::{Arc, Mutex},
};

use envelope_audit::{Entry, Lines, Outcome, Syslog};

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
fn a_sink_that_fails_stops_nothing() {
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
    drop(log);
    place.verify().unwrap();
}
