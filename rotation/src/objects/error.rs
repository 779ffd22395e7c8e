//! Why a store cannot be opened.

use envelope_sdk::printable;

/// Why [`Objects`](super::Objects) cannot be opened. No store was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectsError {
    /// It names no object store.
    #[error(
        "{} is no URL of an object store: s3://BUCKET/KEY, gs://BUCKET/KEY or az://CONTAINER/KEY",
        printable::text(text)
    )]
    NotAUrl {
        /// What was given.
        text: String,
    },
    /// The endpoint is of plain http, and not on this machine: credentials and names would go in the clear.
    #[error(
        "{}: plain http is spoken to this machine only, not to {}",
        printable::text(url),
        printable::text(endpoint)
    )]
    PlainHttp {
        /// The bucket.
        url: String,
        /// The endpoint in the environment or in the settings.
        endpoint: String,
    },
    /// Settings, or variables of the environment, are missing or wrong.
    #[error("{}: {}", printable::text(url), printable::cut(reason, 600))]
    Settings {
        /// The bucket.
        url: String,
        /// What the client of the store said.
        reason: String,
    },
}
