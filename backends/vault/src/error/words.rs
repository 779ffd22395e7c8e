//! Our own words for what Vault says, as its source has it (`builtin/logical/transit`,
//! `sdk/helper/keysutil/policy.go`, `vault/request_handling.go`).

use envelope_sdk::ProviderErrorKind::{
    self, Invalid, NotFound, State, Unauthentic, Unavailable, Unsupported,
};

/// What is known of an error.
pub(super) fn known(text: &str) -> Option<(ProviderErrorKind, &'static str)> {
    let (_, kind, words) = KNOWN.iter().find(|(said, ..)| text.contains(said))?;
    Some((*kind, words))
}

/// What an error contains, what it means, and what to do.
const KNOWN: &[(&str, ProviderErrorKind, &str)] = &[
    ("Vault is sealed", Unavailable, "the server is sealed: unseal it"),
    // OpenBao has keys of their own for namespaces.
    ("Namespace is sealed", Unavailable, "the namespace is sealed: unseal it"),
    ("encryption key not found", NotFound, NOT_FOUND),
    ("policy not found", NotFound, NOT_FOUND),
    // Of a key that somebody deletes between the look at it and its change.
    ("key not found", NotFound, NOT_FOUND),
    ("no existing key named", NotFound, NOT_FOUND),
    ("could not delete key; not found", NotFound, NOT_FOUND),
    ("deletion is not allowed", State, "the deletion of the key is not allowed: set deletion_allowed first"),
    // OpenBao says it of each use, also in a batch.
    ("refusing to use soft-deleted key", State, SOFT_DELETED),
    // A key that is not there is never made by wrapping under it.
    ("unknown key type", NotFound, NOT_FOUND),
    (
        "no handler for route",
        NotFound,
        "no Transit engine is mounted there: correct the mount of the key, or the namespace",
    ),
    (
        "unsupported path",
        NotFound,
        "what is mounted there is no Transit engine: correct the mount of the key",
    ),
    ("disallowed by policy (too old)", State, TOO_OLD),
    (
        "version is too new",
        NotFound,
        "the key has no such version: it was restored from an older backup, or is another one",
    ),
    ("no such key version", NotFound, "the key has no such version"),
    ("message authentication failed", Unauthentic, UNAUTHENTIC),
    ("invalid ciphertext", Unauthentic, UNAUTHENTIC),
    (
        "missing 'context' for key derivation",
        Unauthentic,
        "the key is derived, and did not wrap this: it is another key than it was",
    ),
    ("provided for non-AEAD cipher suite", Unsupported, NO_CIPHER),
    ("not supported for key type", Unsupported, NO_CIPHER),
    (
        "active cluster node not found",
        Unavailable,
        "the server is a standby, and no node is active: try again later",
    ),
    ("replication DR secondary mode", Unavailable, STANDBY),
    ("batch input", Invalid, INVALID),
];

pub(super) const UNAUTHENTIC: &str =
    "the context is another one, or the wrapped DEK was changed or made by another key";
pub(super) const NOT_FOUND: &str =
    "there is no such key in this mount and namespace: create it, or correct its name";
pub(super) const INVALID: &str =
    "the server takes the request for one that cannot be: see the kind of the key";
pub(super) const FEWER: &str = "the server wants fewer requests: a quota of it is used up";
pub(super) const BEHIND: &str =
    "the server is a performance standby that is behind, and said so at each attempt: try again later";
pub(super) const STANDBY: &str = "the server is of a cluster that stands by: correct its address";
pub(super) const TROUBLE: &str = "the server is in trouble, and said so at each attempt";
pub(crate) const SOFT_DELETED: &str = "the key is soft-deleted, and does nothing until it is restored: `bao write -f \
                                       MOUNT/keys/KEY/soft-delete-restore`";
const TOO_OLD: &str = "the version that wrapped is below min_decryption_version of the key, and opens nothing: lower that, unless \
                       the version was trimmed";
const NO_CIPHER: &str = "the key is of a type that wraps nothing here: use aes256-gcm96 or chacha20-poly1305";
