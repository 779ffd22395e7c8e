//! The hash chain.

use sha2::{Digest, Sha256};

/// A SHA-256.
pub(crate) type Hash = [u8; 32];

/// A line around its member `mac`: before it and after it, which is the body. `None` when there is none.
pub(crate) fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    // In a string a quotation mark has a backslash before it, so this is the member.
    let text = std::str::from_utf8(line).ok()?;
    let begin = text.find(MAC_MEMBER)?;
    let end = begin + MAC_MEMBER.len() + MAC_DIGITS + 1;
    Some((&line[..begin], line.get(end..)?))
}

/// The hash of a record's body.
pub(crate) fn hash(before: &[u8], after: &[u8]) -> Hash {
    Sha256::new().chain_update(RECORD).chain_update(before).chain_update(after).finalize().into()
}

/// What the first record of a log has in the place of the hash of the record before.
pub(crate) fn beginning(log: &[u8; 16], public_key: &[u8; 32]) -> Hash {
    Sha256::new()
        .chain_update(b"envelope-audit-v1 log\0")
        .chain_update(log)
        .chain_update(public_key)
        .finalize()
        .into()
}

/// What hashes and MACs of records begin with.
pub(crate) const RECORD: &[u8] = b"envelope-audit-v1 record\0";
/// The member up to its value. Never the first member.
pub(crate) const MAC_MEMBER: &str = ",\"mac\":\"";
const MAC_DIGITS: usize = 64;
