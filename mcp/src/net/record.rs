//! [`Recorder`]: where it is written down who came and who was refused.

use async_trait::async_trait;

/// Writes down what happens, such as an audit log.
#[async_trait]
pub trait Recorder: Send + Sync + 'static {
    /// Records `event`; done when it is on disk.
    ///
    /// # Errors
    ///
    /// [`NotRecorded`]: whom it is about is not served.
    async fn record(&self, event: Event) -> Result<(), NotRecorded>;
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The [name](super::Client::name) of the client, where one is known.
    pub client: Option<Box<str>>,
    /// What: `mcp-connect`, `mcp-request`, `mcp-reload`, `mcp-start` or `mcp-stop`.
    pub operation: &'static str,
    /// What came of it.
    pub outcome: EventOutcome,
    /// The [reason](super::Refusal::name), where it was not `Ok`.
    pub reason: Option<&'static str>,
    /// What else there is to say: `address`, `fingerprint`, … Printable, and at most 512 bytes each.
    pub details: Vec<(&'static str, String)>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventOutcome {
    /// It was done.
    Ok,
    /// It failed, or a limit was reached.
    Failed,
    /// It was refused.
    Denied,
}

impl Event {
    pub(crate) fn new(operation: &'static str, outcome: EventOutcome) -> Self {
        Self { client: None, operation, outcome, reason: None, details: Vec::new() }
    }

    pub(crate) fn detail(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.details.push((name, value.into()));
        self
    }

    /// The value of a detail.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.details.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

/// Something could not be recorded.
#[derive(Debug, Clone, thiserror::Error)]
#[error("it cannot be recorded: {0}")]
pub struct NotRecorded(
    /// Why not.
    pub String,
);
