//! What the server is handed to ask. Nothing here wraps, unwraps or changes a key.

/// What there is to know of keys.
pub trait KeyMetadata: Send + Sync {}
