//! The envelope format, version 1: strict parse and canonical write.
//!
//! No cryptography and no I/O here: bytes in, a [`Header`] out, and back. The
//! specification is `docs/spec/envelope-v1.md`.
//!
//! Everything has one encoding. A header is parsed with limits checked before
//! anything is allocated, then encoded again and compared.

pub mod armor;
mod header;
mod reader;

pub(crate) use header::HeaderDraft;
pub use header::{Header, Kind, MAC_LEN, MAX_BODY_LEN, MAX_RECIPIENTS, PREAMBLE_LEN, Preamble, Suite};
pub(crate) use reader::Reader;

/// Bytes that are not an envelope of version 1, and why. Nothing was decrypted
/// and no key provider was called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The first eight bytes are not the magic of an envelope.
    #[error("not an envelope: the first eight bytes are not its magic")]
    NotAnEnvelope,
    /// A version other than 1.
    #[error("envelope version {0} is not known; this reader knows version 1")]
    UnknownVersion(u8),
    /// A suite other than 1.
    #[error("suite {0:#06x} is not known; this reader knows 0x0001")]
    UnknownSuite(u16),
    /// Flags other than 0, 1 or 2.
    #[error("flags {0:#04x} are not known; this reader knows 0x00, 0x01 and 0x02")]
    UnknownFlags(u8),
    /// The bytes end too early.
    #[error("truncated: the {what} is cut off")]
    Truncated {
        /// What is cut off.
        what: &'static str,
    },
    /// A length or count passes its limit.
    #[error("the {what} passes its limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit, in bytes or entries.
        limit: usize,
    },
    /// There is another, canonical encoding of the same thing.
    #[error("the {what} is not in its canonical encoding")]
    NotCanonical {
        /// What is not canonical.
        what: &'static str,
    },
    /// Text is not UTF-8.
    #[error("the {what} is not UTF-8")]
    NotUtf8 {
        /// What is not UTF-8.
        what: &'static str,
    },
    /// A number of recipients outside 1 to 16.
    #[error("an envelope has 1 to 16 recipients, not {0}")]
    RecipientCount(usize),
    /// Two recipients name the same key and version, or two are passphrases.
    #[error("two recipients are the same key and version, or both passphrases")]
    RepeatedRecipient,
    /// A threshold other than 1.
    #[error("threshold {0} is not known; in version 1 any one recipient opens")]
    UnknownThreshold(u8),
    /// The padding after the last recipient is not all zero.
    #[error("the padding of the header is not all zero")]
    NonZeroPadding,
    /// A recipient's key URI, wrap algorithm or wrapped DEK is malformed.
    #[error("the {what} of a recipient is malformed")]
    Recipient {
        /// Which field.
        what: &'static str,
    },
    /// Bytes follow where the envelope must end.
    #[error("{what} is followed by more bytes")]
    TrailingData {
        /// What should have been the end.
        what: &'static str,
    },
    /// The text form is not RFC 7468 PEM with the label `ENVELOPE`.
    #[error("armor: {0}")]
    Armor(&'static str),
}
