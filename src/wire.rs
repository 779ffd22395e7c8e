//! Numbers and text as the format writes them: big-endian, text behind a
//! length of two bytes. What the bytes mean is said in `format` and `context`.

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

/// A cursor over bytes that never reads past their end.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn bytes(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], FormatError> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(FormatError::Truncated { what })?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], FormatError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(FormatError::Truncated { what })?;
        self.rest = rest;
        Ok(*bytes)
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, FormatError> {
        self.array(what).map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, FormatError> {
        self.array(what).map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, FormatError> {
        self.array(what).map(u32::from_be_bytes)
    }

    /// Bytes behind a two-byte length.
    pub(crate) fn bytes16(&mut self, what: &'static str) -> Result<&'a [u8], FormatError> {
        let len = self.u16(what)?;
        self.bytes(len.into(), what)
    }

    /// UTF-8 text behind a two-byte length.
    pub(crate) fn str16(&mut self, what: &'static str) -> Result<&'a str, FormatError> {
        std::str::from_utf8(self.bytes16(what)?).map_err(|_| FormatError::NotUtf8 { what })
    }
}

/// Appends a length of two bytes and the text. Lengths were checked before.
pub(crate) fn put_str16(out: &mut Vec<u8>, text: &str) {
    out.extend(u16_len(text.len()));
    out.extend_from_slice(text.as_bytes());
}

/// A count or a length in two bytes.
#[expect(clippy::cast_possible_truncation, reason = "limits far below 65536 were checked")]
pub(crate) fn u16_len(len: usize) -> [u8; 2] {
    debug_assert!(len <= usize::from(u16::MAX));
    (len as u16).to_be_bytes()
}
