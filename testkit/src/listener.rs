//! Hears all that the process logs, by `log` and `tracing`, at every level and on every thread.
//!
//! A logger and a subscriber can be installed once in a process and stay. So
//! they are installed at first use and hear while somebody listens.

use std::{
    fmt::{Debug, Write as _},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

/// While it lives, everything logged is kept. Those who listen at the same time
/// hear each other's process, not each other's secrets.
pub struct Listening(());

impl Listening {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// Why that cannot be: another logger or subscriber is installed.
    pub fn start() -> Result<Self, String> {
        static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
        INSTALLED.get_or_init(install).clone()?;
        heard().listeners += 1;
        Ok(Self(()))
    }

    /// What was logged since somebody began to listen.
    #[must_use]
    pub fn heard(&self) -> Vec<u8> {
        heard().text.clone().into_bytes()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut heard = heard();
        heard.listeners -= 1;
        if heard.listeners == 0 {
            heard.text = String::new();
        }
    }
}

struct Heard {
    listeners: usize,
    text: String,
}

fn heard() -> MutexGuard<'static, Heard> {
    static HEARD: Mutex<Heard> = Mutex::new(Heard { listeners: 0, text: String::new() });
    HEARD.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hear(text: impl FnOnce() -> String) {
    // Made before the lock is taken: what is printed may log by itself.
    let text = text();
    let mut heard = heard();
    if heard.listeners > 0 {
        heard.text.push_str(&text);
        heard.text.push('\n');
    }
}

fn install() -> Result<(), String> {
    log::set_boxed_logger(Box::new(Ear)).map_err(|_| "another logger of `log` is installed".to_owned())?;
    log::set_max_level(log::LevelFilter::Trace);
    tracing::subscriber::set_global_default(Ear)
        .map_err(|_| "another subscriber of `tracing` is installed".to_owned())
}

struct Ear;

impl log::Log for Ear {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        heard().listeners > 0
    }

    fn log(&self, record: &log::Record<'_>) {
        hear(|| format!("{}: {}", record.target(), record.args()));
    }

    fn flush(&self) {}
}

impl tracing::Subscriber for Ear {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        heard().listeners > 0
    }

    fn register_callsite(&self, _: &'static tracing::Metadata<'static>) -> tracing::subscriber::Interest {
        tracing::subscriber::Interest::sometimes()
    }

    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        hear_fields(|fields| span.record(fields));
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        hear_fields(|fields| values.record(fields));
    }

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        hear_fields(|fields| event.record(fields));
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

fn hear_fields(record: impl FnOnce(&mut Fields)) {
    hear(|| {
        let mut fields = Fields(String::new());
        record(&mut fields);
        fields.0
    });
}

struct Fields(String);

impl tracing::field::Visit for Fields {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn Debug) {
        let _ = write!(self.0, "{field}={value:?} ");
    }

    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        let _ = write!(self.0, "{field}={value} ");
    }
}
