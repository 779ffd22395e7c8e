//! The header: preamble, body, MAC.

use std::collections::BTreeMap;

use super::stored::{read_stored, write_stored};
use crate::{
    KeyUri, WrappedDek,
    context::MAX_ENTRIES,
    provider::is_algorithm_name,
    wire::{FormatError, Reader, put_str16},
};

/// Bytes of the preamble, which tells how long the header is.
pub const PREAMBLE_LEN: usize = 16;
/// Bytes of the MAC at the end of a header.
pub const MAC_LEN: usize = 32;
/// Most bytes of a header's body: 64 KiB.
pub const MAX_BODY_LEN: usize = 64 * 1024;
/// Most recipients of an envelope.
pub const MAX_RECIPIENTS: usize = 16;

/// A header as it was read: well-formed, and **not yet authenticated**. What it
/// says may come from an attacker until [`Envelope::unlock`] verified its MAC
/// with the DEK.
///
/// [`Envelope::unlock`]: crate::Envelope::unlock
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    draft: HeaderDraft,
    /// Preamble and body, exactly as read or written: what the MAC covers.
    authenticated: Vec<u8>,
    mac: [u8; MAC_LEN],
}

impl Header {
    /// Reads the header at the beginning of `bytes` and returns it with its
    /// length. What follows it is not looked at.
    ///
    /// # Errors
    ///
    /// [`FormatError`] that says what is wrong. Limits are checked before
    /// anything is allocated.
    pub fn parse(bytes: &[u8]) -> Result<(Self, usize), FormatError> {
        let (preamble, rest) = bytes.split_first_chunk().ok_or_else(|| Preamble::cut_off(bytes))?;
        let preamble = Preamble::parse(preamble)?;
        let mut reader = Reader::new(rest);
        let body = reader.bytes(preamble.body_len, "header")?;
        let mac = reader.array("header MAC")?;
        let draft = HeaderDraft::parse(preamble.kind, body)?;
        let header_len = preamble.header_len();
        let authenticated = &bytes[..header_len - MAC_LEN];
        // One encoding for everything: whatever the checks above let through
        // must also be what a writer would have written.
        let rewritten = draft.encode()?;
        if rewritten != authenticated {
            return Err(FormatError::NotCanonical { what: "header" });
        }
        Ok((Self { draft, authenticated: rewritten, mac }, header_len))
    }

    /// Reads a header that must be all of `bytes`: a detached header or a data
    /// key.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse), and [`FormatError::TrailingData`].
    pub fn parse_exact(bytes: &[u8]) -> Result<Self, FormatError> {
        let (header, len) = Self::parse(bytes)?;
        if len == bytes.len() { Ok(header) } else { Err(FormatError::TrailingData { what: "the header" }) }
    }

    pub(crate) fn new(draft: HeaderDraft, authenticated: Vec<u8>, mac: [u8; MAC_LEN]) -> Self {
        Self { draft, authenticated, mac }
    }

    /// The bytes of the header, its MAC included.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len());
        bytes.extend_from_slice(&self.authenticated);
        bytes.extend_from_slice(&self.mac);
        bytes
    }

    /// Bytes of the header, its MAC included.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a header is never empty")]
    pub fn len(&self) -> usize {
        self.authenticated.len() + MAC_LEN
    }

    /// The suite: which algorithms protect header and payload.
    #[must_use]
    pub fn suite(&self) -> Suite {
        Suite::V1
    }

    /// What the header belongs to.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.draft.kind
    }

    /// 16 random bytes that stay the same when the envelope is rewrapped.
    #[must_use]
    pub fn envelope_id(&self) -> &[u8; 16] {
        &self.draft.envelope_id
    }

    /// How often the envelope was rewrapped.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.draft.generation
    }

    /// The context entries that are stored, in order of their names.
    #[must_use]
    pub fn stored_context(&self) -> &BTreeMap<String, String> {
        &self.draft.stored
    }

    /// The names of the context entries that are withheld, in order.
    #[must_use]
    pub fn withheld(&self) -> &[String] {
        &self.draft.withheld
    }

    /// The recipients: any one of them opens.
    #[must_use]
    pub fn recipients(&self) -> &[WrappedDek] {
        &self.draft.recipients
    }

    /// Zero bytes behind the last recipient, room for a rewrap in place.
    #[must_use]
    pub fn padding(&self) -> usize {
        self.draft.padding
    }

    pub(crate) fn authenticated(&self) -> &[u8] {
        &self.authenticated
    }

    pub(crate) fn mac(&self) -> &[u8; MAC_LEN] {
        &self.mac
    }

    pub(crate) fn draft(&self) -> &HeaderDraft {
        &self.draft
    }
}

/// The first 16 bytes of a header: enough to know how many to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preamble {
    kind: Kind,
    body_len: usize,
}

impl Preamble {
    /// Reads a preamble.
    ///
    /// # Errors
    ///
    /// [`FormatError`] when magic, version, suite or flags are not known or the
    /// body is longer than [`MAX_BODY_LEN`].
    pub fn parse(bytes: &[u8; PREAMBLE_LEN]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        if reader.array("magic")? != MAGIC {
            return Err(FormatError::NotAnEnvelope);
        }
        match reader.u8("version")? {
            VERSION => {}
            version => return Err(FormatError::UnknownVersion(version)),
        }
        match reader.u16("suite")? {
            suite if suite == Suite::V1.id() => {}
            suite => return Err(FormatError::UnknownSuite(suite)),
        }
        let kind = Kind::from_flags(reader.u8("flags")?)?;
        let body_len = usize::try_from(reader.u32("body length")?).unwrap_or(usize::MAX);
        if body_len > MAX_BODY_LEN {
            return Err(FormatError::TooLarge { what: "header body", limit: MAX_BODY_LEN });
        }
        Ok(Self { kind, body_len })
    }

    /// What is wrong with bytes too few for a preamble: an envelope was cut off,
    /// or they are something else.
    pub(crate) fn cut_off(bytes: &[u8]) -> FormatError {
        let len = bytes.len().min(MAGIC.len());
        if bytes[..len] == MAGIC[..len] {
            FormatError::Truncated { what: "preamble" }
        } else {
            FormatError::NotAnEnvelope
        }
    }

    /// What the header belongs to.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Bytes of the whole header, this preamble and the MAC included.
    #[must_use]
    pub fn header_len(&self) -> usize {
        PREAMBLE_LEN + self.body_len + MAC_LEN
    }
}

/// What a header belongs to: the flags byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The payload follows the header (flags 0).
    Attached,
    /// The payload is elsewhere (flags 1).
    Detached,
    /// There is no payload: records are sealed under the DEK (flags 2).
    DataKey,
}

impl Kind {
    fn from_flags(flags: u8) -> Result<Self, FormatError> {
        match flags {
            0 => Ok(Self::Attached),
            1 => Ok(Self::Detached),
            2 => Ok(Self::DataKey),
            other => Err(FormatError::UnknownFlags(other)),
        }
    }

    fn flags(self) -> u8 {
        match self {
            Self::Attached => 0,
            Self::Detached => 1,
            Self::DataKey => 2,
        }
    }

    /// `attached`, `detached` or `data-key`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Attached => "attached",
            Self::Detached => "detached",
            Self::DataKey => "data-key",
        }
    }
}

/// The algorithms of an envelope. There is one suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Suite {
    /// 0x0001: HKDF-SHA-256 and HMAC-SHA-256 for the header, Cobblestone-256
    /// for payloads, XAES-256-GCM for records.
    V1,
}

impl Suite {
    /// The identifier in the preamble.
    #[must_use]
    pub const fn id(self) -> u16 {
        match self {
            Self::V1 => 1,
        }
    }
}

/// The fields of a header before its MAC: what a writer fills in. Context
/// entries were checked by [`EncryptionContext::full`](crate::EncryptionContext::full).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeaderDraft {
    /// What the header belongs to.
    pub(crate) kind: Kind,
    /// 16 random bytes.
    pub(crate) envelope_id: [u8; 16],
    /// 0 when made, 1 more at each rewrap.
    pub(crate) generation: u32,
    /// Context entries that are stored.
    pub(crate) stored: BTreeMap<String, String>,
    /// Names of context entries that are withheld, ascending.
    pub(crate) withheld: Vec<String>,
    /// 1 to 16 recipients.
    pub(crate) recipients: Vec<WrappedDek>,
    /// Zero bytes behind the last recipient.
    pub(crate) padding: usize,
}

impl HeaderDraft {
    fn parse(kind: Kind, body: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(body);
        let envelope_id = reader.array("envelope id")?;
        let generation = reader.u32("generation")?;
        let stored = read_stored(&mut reader)?;
        let withheld = read_withheld(&mut reader, &stored)?;
        match reader.u8("threshold")? {
            THRESHOLD => {}
            threshold => return Err(FormatError::UnknownThreshold(threshold)),
        }
        let count = usize::from(reader.u8("recipient count")?);
        if !(1..=MAX_RECIPIENTS).contains(&count) {
            return Err(FormatError::RecipientCount(count));
        }
        let recipients = (0..count).map(|_| read_recipient(&mut reader)).collect::<Result<Vec<_>, _>>()?;
        refuse_repeated(&recipients)?;
        if reader.rest().iter().any(|byte| *byte != 0) {
            return Err(FormatError::NonZeroPadding);
        }
        let padding = reader.remaining();
        Ok(Self { kind, envelope_id, generation, stored, withheld, recipients, padding })
    }

    /// Preamble and body: all but the MAC.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, FormatError> {
        if !(1..=MAX_RECIPIENTS).contains(&self.recipients.len()) {
            return Err(FormatError::RecipientCount(self.recipients.len()));
        }
        refuse_repeated(&self.recipients)?;
        let mut out = Vec::with_capacity(512);
        out.extend(MAGIC);
        out.push(VERSION);
        out.extend(Suite::V1.id().to_be_bytes());
        out.push(self.kind.flags());
        out.extend([0; 4]);
        out.extend(self.envelope_id);
        out.extend(self.generation.to_be_bytes());
        write_stored(&mut out, &self.stored);
        out.extend(u16_of(self.withheld.len(), "withheld names")?);
        for name in &self.withheld {
            put_str16(&mut out, name);
        }
        out.push(THRESHOLD);
        out.push(u8_of(self.recipients.len(), "recipients")?);
        for recipient in &self.recipients {
            write_recipient(&mut out, recipient)?;
        }
        let body_len = out.len() - PREAMBLE_LEN + self.padding;
        if body_len > MAX_BODY_LEN {
            return Err(FormatError::TooLarge { what: "header body", limit: MAX_BODY_LEN });
        }
        let body_len32 = u32::try_from(body_len)
            .map_err(|_| FormatError::TooLarge { what: "header body", limit: MAX_BODY_LEN })?;
        out[PREAMBLE_LEN - 4..PREAMBLE_LEN].copy_from_slice(&body_len32.to_be_bytes());
        out.resize(PREAMBLE_LEN + body_len, 0);
        Ok(out)
    }
}

fn read_withheld(
    reader: &mut Reader<'_>,
    stored: &BTreeMap<String, String>,
) -> Result<Vec<String>, FormatError> {
    let what = "withheld names";
    let count = usize::from(reader.u16(what)?);
    if count + stored.len() > MAX_ENTRIES {
        return Err(FormatError::TooLarge { what: "context", limit: MAX_ENTRIES });
    }
    let mut withheld: Vec<String> = Vec::new();
    for _ in 0..count {
        let name = reader.str16(what)?;
        let ascends = withheld.last().is_none_or(|last| last.as_str() < name);
        if name.is_empty() || !ascends || stored.contains_key(name) {
            return Err(FormatError::NotCanonical { what });
        }
        withheld.push(name.to_owned());
    }
    Ok(withheld)
}

fn read_recipient(reader: &mut Reader<'_>) -> Result<WrappedDek, FormatError> {
    let uri = reader.str16("key URI")?;
    let key_uri = KeyUri::parse_canonical(uri).ok_or(FormatError::Recipient { what: "key URI" })?;
    let version = reader.str16("key version")?;
    if version.len() > WrappedDek::MAX_VERSION_LEN {
        return Err(FormatError::TooLarge { what: "key version", limit: WrappedDek::MAX_VERSION_LEN });
    }
    let algorithm_len = usize::from(reader.u8("wrap algorithm")?);
    let algorithm = std::str::from_utf8(reader.bytes(algorithm_len, "wrap algorithm")?)
        .ok()
        .filter(|name| is_algorithm_name(name))
        .ok_or(FormatError::Recipient { what: "wrap algorithm" })?;
    let ciphertext = reader.bytes16("wrapped DEK")?;
    if ciphertext.len() > WrappedDek::MAX_CIPHERTEXT_LEN {
        return Err(FormatError::TooLarge { what: "wrapped DEK", limit: WrappedDek::MAX_CIPHERTEXT_LEN });
    }
    WrappedDek::new(key_uri, version, algorithm, ciphertext.to_vec())
        .map_err(|_| FormatError::Recipient { what: "wrapped DEK" })
}

fn write_recipient(out: &mut Vec<u8>, recipient: &WrappedDek) -> Result<(), FormatError> {
    put_str16(out, recipient.key_uri().as_str());
    put_str16(out, recipient.key_version());
    out.push(u8_of(recipient.wrap_algorithm().len(), "wrap algorithm")?);
    out.extend_from_slice(recipient.wrap_algorithm().as_bytes());
    out.extend(u16_of(recipient.ciphertext().len(), "wrapped DEK")?);
    out.extend_from_slice(recipient.ciphertext());
    Ok(())
}

/// No key twice in the same version, and at most one passphrase.
fn refuse_repeated(recipients: &[WrappedDek]) -> Result<(), FormatError> {
    for (position, recipient) in recipients.iter().enumerate() {
        for earlier in &recipients[..position] {
            let passphrases =
                recipient.key_uri().scheme() == "passphrase" && earlier.key_uri().scheme() == "passphrase";
            let same_key =
                recipient.key_uri() == earlier.key_uri() && recipient.key_version() == earlier.key_version();
            if passphrases || same_key {
                return Err(FormatError::RepeatedRecipient);
            }
        }
    }
    Ok(())
}

fn u8_of(len: usize, what: &'static str) -> Result<u8, FormatError> {
    u8::try_from(len).map_err(|_| FormatError::TooLarge { what, limit: 255 })
}

fn u16_of(len: usize, what: &'static str) -> Result<[u8; 2], FormatError> {
    u16::try_from(len).map(u16::to_be_bytes).map_err(|_| FormatError::TooLarge { what, limit: 65535 })
}

/// `\x89ENV\r\n\x1a\n`: as with PNG, damage by a text-mode copy shows here.
const MAGIC: [u8; 8] = [0x89, b'E', b'N', b'V', b'\r', b'\n', 0x1A, b'\n'];
const VERSION: u8 = 1;
const THRESHOLD: u8 = 1;

#[cfg(test)]
mod tests;
