//! [`failure`]: an error of this provider, at whatever depth it is made.

use envelope_sdk::{KeyUri, ProviderError, ProviderErrorKind};

/// An error of this provider, about `key` if it is about one.
pub(crate) fn failure<'k>(
    kind: ProviderErrorKind,
    key: impl Into<Option<&'k KeyUri>>,
    message: impl Into<String>,
) -> ProviderError {
    let error = ProviderError::without_key(kind, NAME, message);
    match key.into() {
        Some(key) => error.about(key),
        None => error,
    }
}

pub(crate) const NAME: &str = "vault";
pub(crate) const NO_RUNTIME: &str =
    "servers are asked within a tokio runtime with time and I/O, and there is none";
