//! Keys of Transit: made, described, changed, rotated, trimmed, deleted.
//!
//! [`key_admin`] is what every key store has; [`new_key`], [`changes`], [`rotation`], [`deletion`] and
//! [`keys`] are how Transit does it, and [`key`] is what it tells.

mod changes;
mod deletion;
mod key;
mod key_admin;
mod keys;
mod new_key;
mod rotation;

use envelope_sdk::key_uri::vault::TransitKeyName;

pub use key::TransitKey;

/// The path of a key, or of what is done to it.
fn path(name: TransitKeyName<'_>, what: &str) -> String {
    format!("{}/keys/{}{what}", name.mount, name.key)
}

const CONFIG: &str = "/config";
const ROTATE: &str = "/rotate";
const TRIM: &str = "/trim";

/// Of a server that says it did what the key does not show.
const NOT_DONE: &str =
    "the server answered, and the key does not show the change: describe it, and see who else changes it";
