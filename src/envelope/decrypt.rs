//! Decrypting: the DEK of a header, then what it opens.

use std::ops::Range;

use super::{Envelope, expect_kind, full_context};
use crate::{
    DecryptError, EncryptionContext, Header, OpenedHeader,
    crypto::cobblestone::{self, PREFIX_LEN},
    format::Kind,
    stream::{self, RangedReader, ReadAt, StreamError},
};

impl Envelope {
    /// Decrypts what [`encrypt`](Self::encrypt) returned. Every entry of
    /// `context` must hold, and it must supply each withheld value.
    ///
    /// # Errors
    ///
    /// [`DecryptError`]; no plaintext leaves unless all of it is authentic.
    pub async fn decrypt(
        &self,
        envelope: &[u8],
        context: &EncryptionContext,
    ) -> Result<Vec<u8>, DecryptError> {
        let (header, len) = Header::parse(envelope)?;
        expect_kind(&header, Kind::Attached)?;
        open_payload(&self.unlock(header, context).await?, &envelope[len..])
    }

    /// Decrypts what [`encrypt_detached`](Self::encrypt_detached) returned.
    ///
    /// # Errors
    ///
    /// As [`decrypt`](Self::decrypt).
    pub async fn decrypt_detached(
        &self,
        header: &[u8],
        payload: &[u8],
        context: &EncryptionContext,
    ) -> Result<Vec<u8>, DecryptError> {
        let header = Header::parse_exact(header)?;
        expect_kind(&header, Kind::Detached)?;
        open_payload(&self.unlock(header, context).await?, payload)
    }

    /// Unwraps the DEK of `header` with a configured key and verifies the
    /// header's MAC. A key that gives a DEK under which the MAC is wrong counts
    /// as one that does not open: the next configured recipient is tried. What
    /// it returns is all that [`stream`](crate::stream) needs, without a runtime.
    ///
    /// # Errors
    ///
    /// [`DecryptError`]. No provider is called for a recipient that is not
    /// configured, nor when an entry of `context` contradicts the header.
    pub async fn unlock(
        &self,
        header: Header,
        context: &EncryptionContext,
    ) -> Result<OpenedHeader, DecryptError> {
        let context = full_context(&header, context)?;
        self.keyring.unlock(header, context).await
    }

    /// Decrypts the bytes of `range`, counted from 0, of an attached envelope
    /// that can be read at an offset; the rest is not read. For several ranges,
    /// or a detached payload, keep a [`RangedReader`].
    ///
    /// # Errors
    ///
    /// [`StreamError`]; no plaintext leaves unless
    /// all of the range and the end of the payload are authentic.
    pub async fn decrypt_range(
        &self,
        envelope: &(impl ReadAt + Sync + ?Sized),
        range: Range<u64>,
        context: &EncryptionContext,
    ) -> Result<Vec<u8>, StreamError> {
        let header = stream::read_header_at(envelope)?;
        expect_kind(&header, Kind::Attached)?;
        let payload_at = header.len() as u64;
        let opened = self.unlock(header, context).await?;
        RangedReader::new(&opened, envelope, payload_at)?.decrypt_range(range)
    }
}

pub(super) fn open_payload(opened: &OpenedHeader, payload: &[u8]) -> Result<Vec<u8>, DecryptError> {
    let (prefix, chunks) = payload.split_first_chunk::<PREFIX_LEN>().ok_or(DecryptError::NotAuthentic)?;
    Ok(cobblestone::open_chunks(&opened.payload(prefix)?, chunks)?)
}
