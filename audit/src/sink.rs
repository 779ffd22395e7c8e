//! Where records go beside the file: standard output, syslog, `tracing`. None of them is the log: what they lose is in the
//! file.

use std::{
    io::{self, Write},
    os::unix::net::UnixDatagram,
    path::Path,
    process,
    sync::Mutex,
};

use envelope_sdk::printable;

use crate::{Outcome, Record};

/// Is told of each record of this process once it is on disk, in the order of the log. It runs on the thread that writes:
/// what it takes, all who wait take. It cannot fail an operation.
pub trait Sink: Send + Sync {
    /// A record, and its line without LF.
    fn tell(&self, record: &Record, line: &str);
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
    fn tell(&self, _: &Record, line: &str) {
        let Ok(mut writer) = self.0.lock() else { return };
        lost(writeln!(writer, "{line}").and_then(|()| writer.flush()));
    }
}

/// Messages of RFC 5424 to the local syslog, facility 13 (log audit): the record's line, as its text.
pub struct Syslog {
    socket: UnixDatagram,
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
        // A full socket must not stop the log.
        datagrams.set_nonblocking(true)?;
        let app: String = app.chars().filter(char::is_ascii_graphic).take(48).collect();
        let app = if app.is_empty() { "-".into() } else { app };
        Ok(Self { socket: datagrams, app })
    }
}

impl Sink for Syslog {
    fn tell(&self, record: &Record, line: &str) {
        let severity = match record.entry.outcome {
            Outcome::Ok | Outcome::Begun | Outcome::NotOffered => INFORMATIONAL,
            Outcome::Failed | Outcome::Denied | Outcome::Dropped => WARNING,
        };
        let priority = LOG_AUDIT * 8 + severity;
        let (time, app, process) = (record.time_text(), &self.app, process::id());
        // Version 1, no host name (the daemon knows it), no structured data.
        let message = format!("<{priority}>1 {time} - {app} {process} {} - {line}", record.entry.operation);
        lost(self.socket.send(message.as_bytes()).map(drop));
    }
}

/// Events of `tracing` at level `INFO`, target `envelope_audit`: for OTLP, with `tracing-opentelemetry` or another subscriber.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spans;

impl Sink for Spans {
    fn tell(&self, record: &Record, _: &str) {
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
    }
}

fn lost(told: io::Result<()>) {
    if let Err(error) = told {
        tracing::warn!(%error, "a record of the audit log did not reach a sink");
    }
}

const LOG_AUDIT: u32 = 13;
const INFORMATIONAL: u32 = 6;
const WARNING: u32 = 4;
