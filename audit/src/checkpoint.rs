//! Signatures over a position of the log, and [`Anchor`]: one that is kept elsewhere.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    chain::Hash,
    key::LogKey,
    sign,
    text::{self, MAX_INTEGER},
};

/// A signed position of a log, to be kept where who can write the log cannot: printed, mailed, in an object store with
/// retention. Only an anchor shows that log and head were both replaced by older copies.
///
/// Its text ([`Display`](fmt::Display), [`parse`](Self::parse)) is one line of JSON. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    pub(crate) log: [u8; 16],
    pub(crate) public_key: [u8; 32],
    pub(crate) seq: u64,
    pub(crate) hash: Hash,
    pub(crate) signature: [u8; sign::LEN],
}

/// Why a text is no anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnchorError {
    /// It is not in its one form.
    #[error("this is not the line of a checkpoint")]
    Form,
    /// Its signature is not that of the key that it names.
    #[error("the signature of the checkpoint is wrong")]
    Signature,
}

impl Anchor {
    pub(crate) fn new(key: &LogKey, seq: u64, hash: Hash) -> Self {
        let signature = key.sign(&checkpoint(key.log_id(), seq, &hash));
        Self { log: *key.log_id(), public_key: key.public_key(), seq, hash, signature }
    }

    /// Reads the line of an anchor, and checks its signature with the key that it names. Whether that is the key of the
    /// log, [`Verifier::anchor`](crate::Verifier::anchor) asks.
    ///
    /// # Errors
    ///
    /// [`AnchorError`].
    pub fn parse(line: &str) -> Result<Self, AnchorError> {
        let line = line.trim_end();
        let text: Text = serde_json::from_str(line).map_err(|_| AnchorError::Form)?;
        if text.v != 1 || !(1..=MAX_INTEGER).contains(&text.seq) || text::json(&text) != line.as_bytes() {
            return Err(AnchorError::Form);
        }
        let anchor = Self {
            log: text::unhex(&text.log).ok_or(AnchorError::Form)?,
            public_key: text::unhex(&text.public_key).ok_or(AnchorError::Form)?,
            seq: text.seq,
            hash: text::unhex(&text.hash).ok_or(AnchorError::Form)?,
            signature: text::unhex(&text.signature).ok_or(AnchorError::Form)?,
        };
        let message = checkpoint(&anchor.log, anchor.seq, &anchor.hash);
        let signed = sign::is_signed(&anchor.public_key, &message, &anchor.signature);
        signed.then_some(anchor).ok_or(AnchorError::Signature)
    }

    /// The position: the `seq` of the last record that it covers.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The id of the log.
    #[must_use]
    pub fn log_id(&self) -> &[u8; 16] {
        &self.log
    }

    /// The key that signed.
    #[must_use]
    pub fn public_key(&self) -> &[u8; 32] {
        &self.public_key
    }
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = text::json(&Text {
            hash: text::hex(&self.hash),
            log: text::hex(&self.log),
            public_key: text::hex(&self.public_key),
            seq: self.seq,
            signature: text::hex(&self.signature),
            v: 1,
        });
        f.write_str(&String::from_utf8_lossy(&json))
    }
}

/// What a checkpoint signs.
pub(crate) fn checkpoint(log: &[u8; 16], seq: u64, hash: &Hash) -> Vec<u8> {
    [b"envelope-audit-v1 checkpoint\0", log.as_slice(), &seq.to_be_bytes(), hash].concat()
}

/// Where a log begins once it was pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Beginning {
    pub(crate) first: u64,
    pub(crate) segment: u64,
    pub(crate) hash: Hash,
}

impl Beginning {
    /// What a prune record at this position signs.
    pub(crate) fn message(&self, log: &[u8; 16], seq: u64, prev: &Hash) -> Vec<u8> {
        let Self { first, segment, hash } = self;
        let (first, segment, seq) = (first.to_be_bytes(), segment.to_be_bytes(), seq.to_be_bytes());
        [b"envelope-audit-v1 prune\0", log.as_slice(), &first, &segment, hash, &seq, prev].concat()
    }
}

/// In ascending order.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    hash: String,
    log: String,
    public_key: String,
    seq: u64,
    signature: String,
    v: u8,
}
