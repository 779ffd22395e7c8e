//! What the libraries below say by `tracing` and nobody else tells: an audit log that is not written although the work goes
//! on, a server that can accept nobody. On standard error.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use envelope_sdk::printable;
use serde_json::json;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
};

use crate::report;

/// From now on, for the whole process.
pub(crate) fn begin(as_json: bool) {
    // Somebody else who listens already is no reason to stop.
    let _ = tracing::subscriber::set_global_default(Warnings { as_json, told: Mutex::default() });
}

struct Warnings {
    as_json: bool,
    /// What was told, and when: a log that is full fails for each of a million files.
    told: Mutex<BTreeMap<String, Instant>>,
}

impl Warnings {
    fn is_new(&self, text: &str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        told.retain(|_, at| now.saturating_duration_since(*at) < AGAIN_AFTER);
        told.len() < MOST && told.insert(text.to_owned(), now).is_none()
    }
}

impl Subscriber for Warnings {
    /// What retries, breakers and keyrings do shows in the command's own result.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let library = metadata.target().split("::").next().unwrap_or_default();
        metadata.is_event() && *metadata.level() <= Level::WARN && TOLD.contains(&library)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::WARN)
    }

    fn event(&self, event: &Event<'_>) {
        let mut said = Said::default();
        event.record(&mut said);
        let text = said.text();
        if self.is_new(&text) {
            let Said { message, fields } = said;
            // Standard error that is closed or full is no reason to stop.
            let _ = report::status(
                self.as_json,
                &json!({ "warning": { "message": message, "details": fields } }),
                &text,
            );
        }
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// An event, in text that a terminal may show.
#[derive(Default)]
struct Said {
    message: String,
    fields: BTreeMap<&'static str, String>,
}

impl Said {
    fn text(&self) -> String {
        let mut text = format!("warning: {}", self.message);
        for (name, value) in &self.fields {
            let words = if WHY.contains(name) { format!(": {value}") } else { format!(", {name} {value}") };
            text.push_str(&words);
        }
        text
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let value = printable::text(&format!("{value:?}"));
        match field.name() {
            "message" => self.message = value,
            name => drop(self.fields.insert(name, value)),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// The libraries whose warnings are told.
const TOLD: [&str; 4] = ["envctl", "envelope_audit", "envelope_mcp", "envelope_providers"];
/// The fields that need no name.
const WHY: [&str; 3] = ["error", "failure", "why"];
/// The same is not told again before.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Different ones within that time.
const MOST: usize = 32;
