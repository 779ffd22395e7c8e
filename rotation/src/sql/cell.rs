//! The front of a cell: the header of an envelope, in bytes or in text.

use std::io::Read;

use envelope_sdk::{
    DecryptError, FormatError, Header, Kind,
    crypto::cobblestone::PREFIX_LEN,
    format::{
        MAC_LEN, MAX_BODY_LEN, PREAMBLE_LEN, Preamble,
        armor::{self, ArmorReader},
    },
    stream::{self, StreamError},
};

use crate::SourceError;

/// Header, and first bytes of the payload where they follow it.
type Front = (Header, Option<[u8; PREFIX_LEN]>);

/// How much of the front of a cell is read first, in bytes or characters.
pub(super) const FIRST: usize = 8 * 1024;
/// What the longest header comes to in text, and the first bytes of a payload.
pub(super) const LONGEST: usize = (PREAMBLE_LEN + MAX_BODY_LEN + MAC_LEN + PREFIX_LEN + 4096) * 3 / 2;

/// Reads the front of a cell of `len` bytes. `None`: `front` is too short to tell.
pub(super) fn read_bytes(front: &[u8], len: usize) -> Result<Option<Front>, SourceError> {
    if front.len() < len
        && let Some(preamble) = front.first_chunk::<PREAMBLE_LEN>().map(Preamble::parse)
        && preamble?.header_len() + PREFIX_LEN > front.len()
    {
        return Ok(None);
    }
    let (header, header_len) = Header::parse(front)?;
    if header.kind() == Kind::Attached {
        let payload = front[header_len..].first_chunk().copied();
        return Ok(Some((header, payload)));
    }
    if len > header_len {
        return Err(FormatError::TrailingData { what: "the header" }.into());
    }
    Ok(Some((header, None)))
}

/// Reads the front of a cell of text, of which `front` is all if `is_all`. `None`: `front` is too short to tell.
pub(super) fn read_text(front: &str, is_all: bool) -> Result<Option<Front>, SourceError> {
    if !armor::is_armored(front.as_bytes()) {
        return Err(FormatError::NotAnEnvelope.into());
    }
    let mut reader = ArmorReader::new(front.as_bytes());
    let read = stream::read_header(&mut reader).and_then(|header| {
        let mut prefix = Vec::with_capacity(PREFIX_LEN);
        if header.kind() == Kind::Attached {
            reader.take(PREFIX_LEN as u64).read_to_end(&mut prefix).map_err(StreamError::Read)?;
        }
        Ok((header, prefix.first_chunk().copied()))
    });
    match read {
        Ok(front) => Ok(Some(front)),
        // It ends in the middle of a line.
        Err(_) if !is_all => Ok(None),
        Err(StreamError::Decrypt(DecryptError::Format(error))) => Err(error.into()),
        Err(error) => Err(SourceError::store(error)),
    }
}
