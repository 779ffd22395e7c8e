//! Why a store cannot be opened.

use std::{error::Error, fmt};

use envelope_sdk::printable;

use super::store::Told;

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

/// What a listing passed over, since its key is none that can be asked for: the source of a
/// [`SourceError::Store`](crate::SourceError::Store).
pub struct Passed {
    pub(super) name: String,
    pub(super) told: Told,
}

impl Passed {
    /// Its name, as it is: [`list_after`](super::Objects::list_after) goes on behind it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Error for Passed {}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.told, f)
    }
}

impl fmt::Debug for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.told, f)
    }
}
