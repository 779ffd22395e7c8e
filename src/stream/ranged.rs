//! Any part of a payload, without the rest.

use std::{
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
};

use zeroize::Zeroizing;

use super::{
    ReadAt, StreamError,
    at::read_full_at,
    at_most,
    file::read_payload,
    layout::{Payload, check_range, chunk_of},
};
use crate::{
    DecryptError, OpenedHeader,
    crypto::{
        TAG_LEN,
        cobblestone::{CHUNK_LEN, SEALED_CHUNK_LEN},
    },
};

/// Decrypts any range of a payload: reads and authenticates the 16 KiB chunks
/// that hold it, and no others.
///
/// Made by opening the last chunk, so that the length is authentic: a truncated
/// payload is refused here, not when somebody happens to read its end. It
/// is also a [`Read`] and [`Seek`], which keep one chunk of plaintext in memory.
///
/// ```
/// # use envelope_sdk::{Envelope, EncryptionContext, stream::{self, RangedReader}};
/// # async fn example(envelope: Envelope) -> Result<(), Box<dyn std::error::Error>> {
/// let mut file = std::fs::File::open("archive.envelope")?;
/// let header = stream::read_header(&mut file)?;
/// let payload_at = header.len() as u64;
/// let opened = envelope.unlock(header, &EncryptionContext::new()).await?;
/// # #[cfg(unix)] {
/// let archive = RangedReader::new(&opened, file, payload_at)?;
/// let index = archive.decrypt_range(archive.len() - 4096..archive.len())?;
/// # let _ = index; }
/// # Ok(()) }
/// ```
pub struct RangedReader<S> {
    payload: Payload,
    source: S,
    size: u64,
    position: u64,
    chunk: Option<(u64, Zeroizing<Vec<u8>>)>,
}

impl<S: ReadAt> RangedReader<S> {
    /// The payload of `opened`, which stands in `source` from offset
    /// `payload_at` to the end: behind the header, or at 0 when it is detached.
    ///
    /// # Errors
    ///
    /// [`StreamError`] when `source` cannot be read; with
    /// [`DecryptError::NotAuthentic`] inside when commitment or last chunk do
    /// not fit.
    pub fn new(opened: &OpenedHeader, source: S, payload_at: u64) -> Result<Self, StreamError> {
        let size = source.size().map_err(StreamError::Read)?;
        let payload = read_payload(opened, &source, payload_at, size)?;
        Ok(Self { payload, source, size, position: 0, chunk: None })
    }

    /// Bytes of the plaintext.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.payload.layout.plaintext_len
    }

    /// True when the plaintext has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Decrypts the bytes of `range`, counted from 0. Memory: as many bytes, and
    /// one chunk.
    ///
    /// # Errors
    ///
    /// [`StreamError::Range`] when the range does not lie within the plaintext;
    /// otherwise as [`new`](Self::new). No plaintext leaves unless all of it is
    /// authentic.
    pub fn decrypt_range(&self, range: Range<u64>) -> Result<Vec<u8>, StreamError> {
        let len = check_range(&range, self.len())?;
        let mut out = Zeroizing::new(Vec::with_capacity(len));
        let mut chunk = Zeroizing::new(vec![0; SEALED_CHUNK_LEN]);
        let mut position = range.start;
        while position < range.end {
            let (index, start) = chunk_of(position);
            let wanted = at_most(range.end - position, CHUNK_LEN);
            let plaintext = self.chunk(index, &mut chunk)?;
            let end = plaintext.len().min(start + wanted);
            out.extend_from_slice(&plaintext[start..end]);
            position += (end - start) as u64;
        }
        Ok(std::mem::take(&mut *out))
    }

    /// The plaintext of chunk `index`, in `buffer` unless it is the last.
    fn chunk<'a>(&'a self, index: u64, buffer: &'a mut [u8]) -> Result<&'a [u8], StreamError> {
        if index == self.payload.layout.full_chunks() {
            return Ok(&self.payload.last_chunk);
        }
        let at = self.payload.layout.chunk_at(index);
        if read_full_at(&self.source, buffer, at).map_err(StreamError::Read)? < buffer.len() {
            return Err(StreamError::InputChanged { expected: self.size, now: "fewer" });
        }
        self.payload.opener.open_chunk(index, buffer).map_err(DecryptError::from)?;
        Ok(&buffer[..buffer.len() - TAG_LEN])
    }
}

impl<S: ReadAt> Read for RangedReader<S> {
    /// Never crosses a chunk in one call. An error that is not of the source
    /// has the kind [`InvalidData`](io::ErrorKind::InvalidData) and a
    /// [`StreamError`] inside.
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.len() || out.is_empty() {
            return Ok(0);
        }
        let (index, start) = chunk_of(self.position);
        let held = match self.chunk.take() {
            Some((held, chunk)) if held == index => chunk,
            other => {
                let mut chunk =
                    other.map_or_else(|| Zeroizing::new(vec![0; SEALED_CHUNK_LEN]), |(_, chunk)| chunk);
                let len = self.chunk(index, &mut chunk)?.len();
                if index == self.payload.layout.full_chunks() {
                    chunk[..len].copy_from_slice(&self.payload.last_chunk);
                }
                chunk
            }
        };
        let rest = at_most(self.len() - self.position, CHUNK_LEN);
        let end = CHUNK_LEN.min(start + rest).min(start.saturating_add(out.len()));
        let bytes = &held[start..end];
        out[..bytes.len()].copy_from_slice(bytes);
        self.position += bytes.len() as u64;
        let read = bytes.len();
        self.chunk = Some((index, held));
        Ok(read)
    }
}

impl<S: ReadAt> Seek for RangedReader<S> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = seek_to(to, self.position, self.len())?;
        Ok(self.position)
    }
}

/// Where `to` leads. Beyond the end is allowed, before the beginning is not.
pub(super) fn seek_to(to: SeekFrom, position: u64, len: u64) -> io::Result<u64> {
    let target = match to {
        SeekFrom::Start(target) => Some(target),
        SeekFrom::Current(by) => position.checked_add_signed(by),
        SeekFrom::End(by) => len.checked_add_signed(by),
    };
    target.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "seek before the beginning"))
}
