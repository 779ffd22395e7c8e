//! What a rewrap in place writes down before it touches a header.

use std::ffi::{OsStr, OsString};

use envelope_sdk::{
    Header, Kind, OpenedHeader,
    crypto::{DefaultEngine, Engine},
    format::{MAC_LEN, MAX_BODY_LEN, PREAMBLE_LEN},
    stream::{self, RangedReader, ReadAt},
};

/// Both headers of a rewrap in place, the old and the new one.
///
/// ```text
/// 89 45 4e 4a 0d 0a 1a ‖ version 02 ‖ length of a header u32 ‖ old header ‖ new header ‖ checksum 32
/// a header: length of its front u32 ‖ front ‖ MAC 32
/// ```
///
/// Numbers are in big-endian order; the checksum is HMAC-SHA-256, under a key that is no secret, of all before. Version 1 had whole
/// headers. A reader takes its own version alone: what is between two writes of one build is finished by that build.
///
/// Between front and MAC are zeros, the padding, which are left out: a header that is padded to 4 KiB has some 300 other bytes.
///
/// It is a hint and no more. The headers are authentic if they open; the checksum,
/// whose key is no secret, only tells a journal from another file of that name and
/// from half a one.
///
/// A journal can be believed for nothing but a header that was *cut off*: one of
/// which each byte is that of the old header, that of the new one, or zero (a sector that
/// was lost), and which is neither of the two. Beside any whole header it is dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    old: Header,
    new: Header,
}

impl Journal {
    /// Bytes of the longest journal.
    pub const MAX_LEN: usize = MAGIC.len() + 4 + 2 * (4 + MAX_HEADER_LEN) + CHECKSUM_LEN;

    /// The journal of a rewrap from `old` to `new`: attached headers of one envelope
    /// and one length, of which `new` is the next generation. `None` otherwise.
    #[must_use]
    pub fn new(old: Header, new: Header) -> Option<Self> {
        fit(&old, &new).then_some(Self { old, new })
    }

    /// Reads a journal. `None` when the bytes are anything else, such as half a one.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (body, checksum) = bytes.split_last_chunk::<CHECKSUM_LEN>()?;
        let (len, headers) = body.strip_prefix(&MAGIC)?.split_first_chunk::<4>()?;
        let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
        if len > MAX_HEADER_LEN || *checksum != digest(CHECKSUM, body) {
            return None;
        }
        let (old, rest) = split_header(headers, len)?;
        let (new, rest) = split_header(rest, len)?;
        if !rest.is_empty() {
            return None;
        }
        Self::new(Header::parse_exact(&old).ok()?, Header::parse_exact(&new).ok()?)
    }

    /// True when `start` begins as a journal does, whole or not, of whatever version.
    pub(crate) fn is_begun(start: &[u8]) -> bool {
        start.starts_with(MAGIC_OF_ALL)
    }

    /// True when `bytes` are a journal of another version, which another build has left.
    pub(crate) fn is_of_other_version(bytes: &[u8]) -> bool {
        Self::is_begun(bytes) && bytes.len() > MAGIC.len() && !bytes.starts_with(&MAGIC)
    }

    /// The bytes of the journal.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        bytes(&self.old, &self.new)
    }

    /// The bytes of the journal of a rewrap from `old` to `new`, which are not copied for it. `None` as of
    /// [`new`](Self::new).
    pub(crate) fn encode(old: &Header, new: &Header) -> Option<Vec<u8>> {
        fit(old, new).then(|| bytes(old, new))
    }

    /// The header that was there before.
    #[must_use]
    pub fn old(&self) -> &Header {
        &self.old
    }

    /// The header that was being written.
    #[must_use]
    pub fn new_header(&self) -> &Header {
        &self.new
    }

    /// True when it is of the envelope of `header`. The journal of another one may be all that
    /// is left of the header there, and is kept for that.
    #[must_use]
    pub fn is_of(&self, header: &Header) -> bool {
        self.new.envelope_id() == header.envelope_id()
    }

    /// True when `front` is the old header half written over by the new one, and
    /// neither of them.
    #[must_use]
    pub fn is_torn(&self, front: &[u8]) -> bool {
        let (old, new) = (self.old.to_bytes(), self.new.to_bytes());
        front.len() == new.len()
            && front != old
            && front != new
            && front
                .iter()
                .zip(&old)
                .zip(&new)
                .all(|((byte, old), new)| byte == old || byte == new || *byte == 0)
    }

    /// True when the front of `file` [is torn](Self::is_torn).
    #[must_use]
    pub fn is_torn_in(&self, file: &(impl ReadAt + ?Sized)) -> bool {
        let mut front = vec![0; self.new.len()];
        read_exact_at(file, &mut front).is_some() && self.is_torn(&front)
    }

    /// Opens the envelope in `file` by the header that was being written, or else by
    /// the one before it, if the header that is there was cut off. `unlock` opens a header with the
    /// keys of the caller. (The old one counts as well: the rewrap was never reported as done,
    /// so that the old key may be all that there is.)
    ///
    /// `None` unless one of the two opens, the other is authentic under its DEK,
    /// the one in `file` is not, and the payload in `file` commits to that DEK.
    pub fn open<E>(
        &self,
        file: &(impl ReadAt + ?Sized),
        unlock: impl Fn(Header) -> Result<OpenedHeader, E>,
    ) -> Option<OpenedHeader> {
        if !self.is_torn_in(file) {
            return None;
        }
        let both = [(&self.new, &self.old), (&self.old, &self.new)];
        let (opened, other) = both
            .into_iter()
            .find_map(|(header, other)| unlock(header.clone()).ok().map(|opened| (opened, other)))?;
        if !opened.authenticates(other) {
            return None;
        }
        if stream::read_header_at(file).is_ok_and(|there| opened.authenticates(&there)) {
            return None;
        }
        RangedReader::new(&opened, file, self.new.len() as u64).ok()?;
        Some(opened)
    }

    /// What the journal of the file `name` is called: `NAME.rewrap-journal`. Where
    /// that is too long for a file system, the beginning of the name and a digest
    /// of all of it stand for it.
    #[must_use]
    pub fn name_of(name: &OsStr) -> OsString {
        if name.len() + SUFFIX.len() <= MAX_NAME_LEN {
            let mut journal = name.to_owned();
            journal.push(SUFFIX);
            return journal;
        }
        let digest = digest(LONG_NAME, name.as_encoded_bytes());
        let hex: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let room = MAX_NAME_LEN - SUFFIX.len() - hex.len() - 1;
        let text = name.to_string_lossy();
        let mut end = room.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        format!("{}.{hex}{SUFFIX}", &text[..end]).into()
    }
}

/// Whether there can be a journal of a rewrap from `old` to `new`.
fn fit(old: &Header, new: &Header) -> bool {
    old.kind() == Kind::Attached
        && new.kind() == Kind::Attached
        && old.len() == new.len()
        && old.envelope_id() == new.envelope_id()
        && old.generation().checked_add(1) == Some(new.generation())
}

fn bytes(old: &Header, new: &Header) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1024);
    bytes.extend(MAGIC);
    push_len(&mut bytes, new.len());
    for header in [old, new] {
        let header = header.to_bytes();
        let (authenticated, mac) = header.split_at(header.len().saturating_sub(MAC_LEN));
        let front = authenticated.len() - authenticated.iter().rev().take_while(|byte| **byte == 0).count();
        push_len(&mut bytes, front);
        bytes.extend(&authenticated[..front]);
        bytes.extend(mac);
    }
    let checksum = digest(CHECKSUM, &bytes);
    bytes.extend(checksum);
    bytes
}

fn push_len(bytes: &mut Vec<u8>, len: usize) {
    // A header has at most 64 KiB and 48 bytes.
    bytes.extend(u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
}

/// The header of `len` bytes at the front of `bytes`, and what follows it.
fn split_header(bytes: &[u8], len: usize) -> Option<(Vec<u8>, &[u8])> {
    let (front, rest) = bytes.split_first_chunk::<4>()?;
    let front = usize::try_from(u32::from_be_bytes(*front)).ok()?;
    if front > len.checked_sub(MAC_LEN)? {
        return None;
    }
    let (front, rest) = rest.split_at_checked(front)?;
    let (mac, rest) = rest.split_first_chunk::<MAC_LEN>()?;
    // One header has one form.
    if front.last() == Some(&0) {
        return None;
    }
    let mut header = Vec::with_capacity(len);
    header.extend(front);
    header.resize(len - MAC_LEN, 0);
    header.extend(mac);
    Some((header, rest))
}

fn read_exact_at(file: &(impl ReadAt + ?Sized), out: &mut [u8]) -> Option<()> {
    let mut filled = 0;
    while filled < out.len() {
        match file.read_at(&mut out[filled..], filled as u64) {
            Ok(0) => return None,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    Some(())
}

/// HMAC-SHA-256 as a plain hash: the keys are public.
fn digest(key: &[u8; 32], bytes: &[u8]) -> [u8; CHECKSUM_LEN] {
    DefaultEngine::hmac_sha256(key, &[bytes])
}

/// As the magic of an envelope, and as little to be mistaken for text.
const MAGIC_OF_ALL: &[u8] = b"\x89ENJ\r\n\x1a";
/// With the version: a change of the form raises it.
const MAGIC: [u8; 8] = *b"\x89ENJ\r\n\x1a\x02";
const CHECKSUM: &[u8; 32] = b"envelope-files journal checksum\0";
const LONG_NAME: &[u8; 32] = b"envelope-files journal long name";
const CHECKSUM_LEN: usize = 32;
const MAX_HEADER_LEN: usize = PREAMBLE_LEN + MAX_BODY_LEN + MAC_LEN;
const SUFFIX: &str = ".rewrap-journal";
/// Of nearly every file system (`NAME_MAX`).
const MAX_NAME_LEN: usize = 255;
