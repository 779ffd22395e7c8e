//! What is answered: a status and a JSON document, refusals in Google's form.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::http_server::Answer;

/// An answer before it is sent, so that a test can alter it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Reply {
    /// The status of HTTP.
    pub status: u16,
    /// The document.
    pub body: Value,
}

/// The codes of `google.rpc.Code` that Cloud KMS answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Code {
    /// Wrong whatever the state of the service.
    InvalidArgument,
    /// Wrong in the present state, such as a disabled version.
    FailedPrecondition,
    /// No valid credentials.
    Unauthenticated,
    /// Valid credentials without the permission.
    PermissionDenied,
    /// What was named does not exist.
    NotFound,
    /// What is to be made exists.
    AlreadyExists,
    /// Over the quota.
    ResourceExhausted,
    /// An error of the service.
    Internal,
    /// Not offered.
    Unimplemented,
    /// For the time being.
    Unavailable,
    /// It took too long.
    DeadlineExceeded,
}

impl Code {
    /// The status of HTTP and the name of the code.
    #[must_use]
    pub fn parts(self) -> (u16, &'static str) {
        match self {
            Self::InvalidArgument => (400, "INVALID_ARGUMENT"),
            Self::FailedPrecondition => (400, "FAILED_PRECONDITION"),
            Self::Unauthenticated => (401, "UNAUTHENTICATED"),
            Self::PermissionDenied => (403, "PERMISSION_DENIED"),
            Self::NotFound => (404, "NOT_FOUND"),
            Self::AlreadyExists => (409, "ALREADY_EXISTS"),
            Self::ResourceExhausted => (429, "RESOURCE_EXHAUSTED"),
            Self::Internal => (500, "INTERNAL"),
            Self::Unimplemented => (501, "UNIMPLEMENTED"),
            Self::Unavailable => (503, "UNAVAILABLE"),
            Self::DeadlineExceeded => (504, "DEADLINE_EXCEEDED"),
        }
    }
}

impl Reply {
    /// A success with this document.
    #[must_use]
    pub fn ok(body: Value) -> Self {
        Self { status: 200, body }
    }

    /// A refusal without details.
    #[must_use]
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        Refusal::new(code, message).into()
    }

    /// Adds a detail of the type `google.rpc.NAME` to a refusal.
    #[must_use]
    pub fn detail(mut self, name: &str, fields: Value) -> Self {
        let Some(error) = self.body.get_mut("error").and_then(Value::as_object_mut) else { return self };
        let details = error.entry("details").or_insert_with(|| json!([]));
        if let Some(details) = details.as_array_mut() {
            details.push(detail(name, fields));
        }
        self
    }

    /// Adds when to try again.
    #[must_use]
    pub fn retry_after(self, pause: Duration) -> Self {
        let text = super::time::duration_text(pause);
        self.detail("RetryInfo", json!({ "retryDelay": text }))
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self::json(reply.status, reply.body.to_string())
    }
}

/// Why a request is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    code: Code,
    message: String,
    details: Vec<Value>,
}

impl Refusal {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: Vec::new() }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn detail(mut self, name: &str, fields: Value) -> Self {
        self.details.push(detail(name, fields));
        self
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        let (status, name) = refusal.code.parts();
        let mut error = json!({ "code": status, "message": refusal.message, "status": name });
        if !refusal.details.is_empty() {
            error["details"] = Value::Array(refusal.details);
        }
        Self { status, body: json!({ "error": error }) }
    }
}

fn detail(name: &str, fields: Value) -> Value {
    let mut all = Map::new();
    all.insert("@type".to_owned(), json!(format!("type.googleapis.com/google.rpc.{name}")));
    if let Value::Object(fields) = fields {
        all.extend(fields);
    }
    Value::Object(all)
}
