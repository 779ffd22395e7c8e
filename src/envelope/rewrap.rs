//! Other keys for what is there: a new header, or a new DEK too.

use zeroize::Zeroizing;

use super::{Envelope, decrypt::open_payload, expect_kind, full_context};
use crate::{
    DecryptError, EncryptError, EncryptionContext, FormatError, Header, OpenedHeader, RewrapError,
    crypto::cobblestone::PREFIX_LEN,
    format::{HeaderDraft, Kind},
    rewrap::{self, Rewrapped},
    schedule,
};

impl Envelope {
    /// Wraps the DEK of `header` anew, with the keys that encrypt now, and
    /// returns the new header. The payload or records stay as they are, byte
    /// for byte. The new recipients replace the old ones.
    ///
    /// Each new wrap is unwrapped and compared before this returns, so that the
    /// old header can be dropped. Rewrapping does not revoke whoever already
    /// saw the DEK; [`reencrypt`](Self::reencrypt) does.
    ///
    /// Where one provider has the old key and all new ones and
    /// [rewraps by itself](crate::KeyProvider::rewrap_dek), that takes two calls
    /// one after the other: the new wrap, and unwrapping it. Otherwise three.
    ///
    /// # Errors
    ///
    /// [`RewrapError`]; the old header still holds then.
    /// [`ContextNotVerified`](RewrapError::ContextNotVerified) where values are withheld and the
    /// payload must show that they are right:
    /// [`rewrap_header_of`](Self::rewrap_header_of).
    /// [`ContextNotBound`](EncryptError::ContextNotBound) for a data key with withheld values that
    /// would go from a key that binds the context to one that does not.
    pub async fn rewrap_header(
        &self,
        header: Header,
        context: &EncryptionContext,
    ) -> Result<Header, RewrapError> {
        self.rewrap_before(header, None, context).await
    }

    /// As [`rewrap_header`](Self::rewrap_header), with the first bytes of the payload at hand,
    /// attached or not: salt and commitment. They show that withheld values are right also where
    /// the key that opens binds no context.
    ///
    /// # Errors
    ///
    /// [`RewrapError`]; the old header still holds then.
    pub async fn rewrap_header_of(
        &self,
        payload: &[u8; PREFIX_LEN],
        header: Header,
        context: &EncryptionContext,
    ) -> Result<Header, RewrapError> {
        self.rewrap_before(header, Some(payload), context).await
    }

    /// As [`rewrap_header`](Self::rewrap_header), for an envelope, detached
    /// header or data key in memory. What follows the header is copied as it is.
    ///
    /// # Errors
    ///
    /// [`RewrapError`]; the old envelope still holds then.
    pub async fn rewrap(&self, envelope: &[u8], context: &EncryptionContext) -> Result<Vec<u8>, RewrapError> {
        let (header, len) = Header::parse(envelope).map_err(DecryptError::from)?;
        let payload = &envelope[len..];
        if header.kind() != Kind::Attached && !payload.is_empty() {
            return Err(DecryptError::from(FormatError::TrailingData { what: "the header" }).into());
        }
        let mut rewrapped = self.rewrap_before(header, payload.first_chunk(), context).await?.to_bytes();
        rewrapped.extend_from_slice(payload);
        Ok(rewrapped)
    }

    /// Decrypts an attached envelope and encrypts it anew: new DEK, new
    /// envelope id, generation 0, the same context entries stored and withheld.
    ///
    /// # Errors
    ///
    /// [`RewrapError`]; the old envelope still holds then.
    pub async fn reencrypt(
        &self,
        envelope: &[u8],
        context: &EncryptionContext,
    ) -> Result<Vec<u8>, RewrapError> {
        let (header, len) = Header::parse(envelope).map_err(DecryptError::from)?;
        expect_kind(&header, Kind::Attached)?;
        let opened = self.unlock(header, context).await?;
        let plaintext = Zeroizing::new(open_payload(&opened, &envelope[len..])?);
        Ok(self.encrypt(&plaintext, &same_context(&opened)).await?)
    }

    async fn rewrap_before(
        &self,
        header: Header,
        payload: Option<&[u8; PREFIX_LEN]>,
        context: &EncryptionContext,
    ) -> Result<Header, RewrapError> {
        let context = full_context(&header, context)?;
        let Rewrapped { opened, recipients, generation } =
            rewrap::rewrap(&self.keyring, header, context, payload).await?;
        let old = opened.header().draft();
        let mut draft = HeaderDraft { generation, recipients, padding: 0, ..old.clone() };
        self.pad(&mut draft, opened.header().len())?;
        let (dek, context) = opened.into_parts();
        let new = schedule::seal_header(draft, dek, context).map_err(EncryptError::from)?;
        Ok(new.into_header())
    }
}

/// The context of an opened header, as a new header shall hold it.
fn same_context(opened: &OpenedHeader) -> EncryptionContext {
    let withheld = opened.header().withheld();
    opened.context().entries().fold(EncryptionContext::new(), |context, (name, value)| {
        if withheld.iter().any(|key| key == name) {
            context.withhold(name, value)
        } else {
            context.with(name, value)
        }
    })
}
