//! What is answered: a status, header fields and a JSON document, refusals in
//! Azure's form.

use std::time::Duration;

use serde_json::{Value, json};

use crate::http_server::Answer;

/// An answer before it is sent, so that a test can alter it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Reply {
    /// The status of HTTP.
    pub status: u16,
    /// Header fields beside those of every answer.
    pub headers: Vec<(String, String)>,
    /// The document; `null` for none.
    pub body: Value,
}

impl Reply {
    /// A success with this document, or without one when it is `null`.
    #[must_use]
    pub fn ok(body: Value) -> Self {
        let status = if body.is_null() { 204 } else { 200 };
        Self { status, headers: Vec::new(), body }
    }

    /// A refusal.
    #[must_use]
    pub fn error(status: u16, code: &str, message: impl Into<String>) -> Self {
        let body = json!({ "error": { "code": code, "message": message.into() } });
        Self { status, headers: Vec::new(), body }
    }

    /// Adds the inner error to a refusal.
    #[must_use]
    pub fn inner(mut self, code: &str) -> Self {
        self.body["error"]["innererror"] = json!({ "code": code });
        self
    }

    /// Adds a header field.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Adds when to try again, in whole seconds.
    #[must_use]
    pub fn retry_after(self, pause: Duration) -> Self {
        self.header("retry-after", pause.as_secs().to_string())
    }

    /// Too many calls.
    #[must_use]
    pub fn throttled(pause: Duration) -> Self {
        let message = "Request was not processed because too many requests were received. Reason: \
                       VaultRequestTypeLimitReached";
        Self::error(429, "Throttled", message).retry_after(pause)
    }

    /// Wrong whatever the state of the vault.
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::error(400, "BadParameter", message)
    }

    /// A state, or a setting, that forbids it.
    pub(super) fn forbidden(inner: &str, message: impl Into<String>) -> Self {
        Self::error(403, "Forbidden", message).inner(inner)
    }

    /// What this server does not do is refused rather than passed over.
    pub(super) fn not_offered(what: &str) -> Self {
        Self::error(501, "NotImplemented", format!("This server does not offer {what}."))
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        let answer = match reply.body {
            Value::Null => Self::new(reply.status),
            body => Self::json(reply.status, body.to_string()),
        };
        reply.headers.into_iter().fold(answer, |answer, (name, value)| answer.header(name, value))
    }
}
