//! The header of an object.

use envelope_sdk::{
    FormatError, Header, Kind,
    crypto::cobblestone::PREFIX_LEN,
    format::{
        PREAMBLE_LEN, Preamble,
        armor::{self, ArmorReader},
    },
    stream::{self, StreamError},
};
use object_store::path::Path;

use super::store::{FRONT, Got, Store, failed, not_written};
use crate::{SourceError, Stored};

/// Reads header and beginning of the payload, mostly by one request.
pub(super) async fn read(store: &Store, key: &Path) -> Result<Stored, SourceError> {
    let got = match store.get(key, 0..FRONT, None).await {
        Ok(got) => got,
        // Of an object without bytes there is no range.
        Err(error)
            if error.to_string().contains("416") && store.size(key).await.is_ok_and(|size| size == 0) =>
        {
            return Err(SourceError::NotAnEnvelope);
        }
        Err(error) => return Err(failed(error)),
    };
    let tag = got.tag.clone();
    // Google says of a generation that was replaced that it is not there, which is not to say that nothing is.
    let longer = |len: u64| store.get(key, 0..len, tag.as_deref());
    let (got, mut stored) = if armor::is_armored(&got.bytes) {
        let got = if got.size > FRONT { longer(ARMORED_FRONT).await.map_err(not_written)? } else { got };
        let stored = of_armored(&got.bytes)?;
        (got, stored)
    } else {
        let got = match header_len(&got) {
            Some(len) if len > got.bytes.len() as u64 && got.size > FRONT => {
                longer(len).await.map_err(not_written)?
            }
            _ => got,
        };
        let stored = of_binary(&got.bytes)?;
        (got, stored)
    };
    // Where it cannot be read, a rewrap does without.
    if stored.header.kind() == Kind::Detached && !stored.header.withheld().is_empty() {
        stored.payload = read_prefix(store, key).await;
    }
    stored.modified = Some(got.modified);
    stored.tag = got.tag;
    Ok(stored)
}

/// The key of the payload of a detached header: as [`payload_path`](crate::payload_path) has it for files.
fn payload_key(key: &str) -> String {
    format!("{}.sealed", key.strip_suffix(".envelope").unwrap_or(key))
}

async fn read_prefix(store: &Store, key: &Path) -> Option<[u8; PREFIX_LEN]> {
    let payload = Path::parse(payload_key(key.as_ref())).ok()?;
    let got = store.get(&payload, 0..PREFIX_LEN as u64, None).await.ok()?;
    got.bytes.first_chunk().copied()
}

/// Bytes of the header and of the beginning of the payload, if it looks like a header.
fn header_len(got: &Got) -> Option<u64> {
    let preamble = Preamble::parse(got.bytes.first_chunk::<PREAMBLE_LEN>()?).ok()?;
    Some((preamble.header_len() + PREFIX_LEN) as u64)
}

fn of_binary(front: &[u8]) -> Result<Stored, SourceError> {
    let (header, len) = Header::parse(front).map_err(|error| match error {
        FormatError::NotAnEnvelope => SourceError::NotAnEnvelope,
        error => error.into(),
    })?;
    let payload = if header.kind() == Kind::Attached { front[len..].first_chunk().copied() } else { None };
    Ok(Stored { header, payload, is_armored: false, modified: None, tag: None })
}

fn of_armored(front: &[u8]) -> Result<Stored, SourceError> {
    let mut reader = ArmorReader::new(front);
    let header = stream::read_header(&mut reader).map_err(|error| match error {
        StreamError::Decrypt(envelope_sdk::DecryptError::Format(error)) => error.into(),
        StreamError::Decrypt(error) => error.into(),
        error => SourceError::store(error),
    })?;
    let mut prefix = [0; PREFIX_LEN];
    let is_attached = header.kind() == Kind::Attached;
    let payload =
        (is_attached && std::io::Read::read_exact(&mut reader, &mut prefix).is_ok()).then_some(prefix);
    Ok(Stored { header, payload, is_armored: true, modified: None, tag: None })
}

/// Armor of the longest header and of the beginning of the payload, with room to spare.
const ARMORED_FRONT: u64 = 128 * 1024;
