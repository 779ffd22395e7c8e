//! Where records go beside the file: standard output, syslog, `tracing`. None of them is the log: what they lose is in the
//! file.

use std::{
    io::{self, Write},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process,
    sync::{Mutex, PoisonError},
};

use envelope_sdk::printable;

use crate::{Outcome, Record};

/// Is told of each record of this process once it is on disk, in the order of the log.
///
/// Each sink has a thread of its own, and up to 4 MiB of lines wait for it: one that is slow, blocks or fails holds up no
/// operation. What does not reach it is lost to it alone. How many those were is recorded by `log-sink-lost` with the
/// details `sink` and `records`, at most once in a minute and when the log ends. The end waits for a sink as long as
/// it takes something each second, ten seconds at most; the record that a sink was taking then counts as lost and may reach it.
pub trait Sink: Send + Sync {
    /// What records of lost ones call it, such as `syslog`.
    fn name(&self) -> &'static str;

    /// Takes a record, and its line without LF.
    ///
    /// # Errors
    ///
    /// What the system said: the record counts as lost.
    fn tell(&self, record: &Record, line: &str) -> io::Result<()>;
}

/// Lines of JSON to a writer, such as standard output.
pub struct Lines<W>(Mutex<W>);

impl<W: Write + Send> Lines<W> {
    /// To this writer.
    #[must_use]
    pub fn to(writer: W) -> Self {
        Self(Mutex::new(writer))
    }
}

impl Lines<io::Stdout> {
    /// To standard output.
    #[must_use]
    pub fn to_stdout() -> Self {
        Self::to(io::stdout())
    }
}

impl<W: Write + Send> Sink for Lines<W> {
    fn name(&self) -> &'static str {
        "lines"
    }

    fn tell(&self, _: &Record, line: &str) -> io::Result<()> {
        let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(writer, "{line}")?;
        writer.flush()
    }
}

/// Messages of RFC 5424 to the local syslog, facility 13 (log audit): the record's line, as its text.
pub struct Syslog {
    datagrams: UnixDatagram,
    socket: PathBuf,
    app: String,
}

impl Syslog {
    /// To the daemon at `/dev/log`, as program `app`.
    ///
    /// # Errors
    ///
    /// When nobody listens there.
    pub fn local(app: &str) -> io::Result<Self> {
        Self::at(Path::new("/dev/log"), app)
    }

    /// To the daemon at this socket. Of `app`, printable ASCII is kept: at most 48 characters of it.
    ///
    /// # Errors
    ///
    /// When nobody listens there.
    pub fn at(socket: &Path, app: &str) -> io::Result<Self> {
        let datagrams = UnixDatagram::unbound()?;
        datagrams.connect(socket)?;
        let app: String = app.chars().filter(char::is_ascii_graphic).take(48).collect();
        let app = if app.is_empty() { "-".into() } else { app };
        Ok(Self { datagrams, socket: socket.to_owned(), app })
    }
}

impl Sink for Syslog {
    fn name(&self) -> &'static str {
        "syslog"
    }

    fn tell(&self, record: &Record, line: &str) -> io::Result<()> {
        let severity = match record.entry.outcome {
            Outcome::Ok | Outcome::Begun | Outcome::NotOffered => INFORMATIONAL,
            Outcome::Failed | Outcome::Denied | Outcome::Dropped => WARNING,
        };
        let priority = LOG_AUDIT * 8 + severity;
        let (time, app, process) = (record.time_text(), &self.app, process::id());
        // Version 1, no host name (the daemon knows it), no structured data.
        let message = format!("<{priority}>1 {time} - {app} {process} {} - {line}", record.entry.operation);
        self.datagrams.send(message.as_bytes()).or_else(|_| {
            // The daemon was begun anew, and has a new socket.
            self.datagrams.connect(&self.socket)?;
            self.datagrams.send(message.as_bytes())
        })?;
        Ok(())
    }
}

/// Events of `tracing` at level `INFO`, target `envelope_audit`: for OTLP logs, with `opentelemetry-appender-tracing` as the
/// subscriber's layer. (`tracing-opentelemetry` keeps events of spans only, and these are in none.)
///
/// The subscriber is the one that is set for the whole program: the events come from a thread of the log.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spans;

impl Sink for Spans {
    fn name(&self) -> &'static str {
        "spans"
    }

    fn tell(&self, record: &Record, _: &str) -> io::Result<()> {
        let entry = &record.entry;
        let text = |value: &Option<String>| value.as_deref().map(printable::text);
        tracing::event!(
            target: "envelope_audit",
            tracing::Level::INFO,
            audit.seq = record.seq,
            audit.time = record.time_text(),
            audit.actor = text(&entry.actor),
            audit.operation = %entry.operation,
            audit.outcome = entry.outcome.name(),
            envelope.provider = entry.provider,
            envelope.key.uri = entry.key,
            envelope.key.version = text(&entry.key_version),
            envelope.id = entry.envelope.map(|id| crate::text::hex(&id)),
            error.type = entry.error.as_deref(),
            audit.rule = text(&entry.rule),
            audit.request = text(&entry.request),
            "audit"
        );
        Ok(())
    }
}

const LOG_AUDIT: u32 = 13;
const INFORMATIONAL: u32 = 6;
const WARNING: u32 = 4;
