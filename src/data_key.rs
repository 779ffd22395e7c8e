//! One DEK, many records.

use crate::{
    DecryptError, EncryptError, EncryptionContext, Header, OpenedHeader,
    crypto::{DefaultEngine, xaes::XaesKey},
    schedule,
};

/// Most bytes of a record's plaintext: 16 MiB. Larger data is an envelope.
pub const RECORD_MAX_LEN: usize = 16 * 1024 * 1024;

/// What a record adds to its plaintext: a 24-byte nonce and a 16-byte tag.
pub const RECORD_OVERHEAD: usize = crate::crypto::xaes::OVERHEAD;

/// A DEK for many small values: database columns, messages, tokens.
///
/// One call to the KMS serves all records; each costs 40 bytes. Store
/// [`header`](Self::header) beside them: whoever has it and a key opens them,
/// and [`Envelope::rewrap`](crate::Envelope::rewrap) of it moves all of them to
/// another KEK. Values are withheld from it only where its keys bind the context.
/// Random 24-byte nonces allow 2⁸⁰ records.
///
/// ```
/// # use envelope_sdk::{Envelope, EncryptionContext};
/// # async fn example(envelope: Envelope) -> Result<(), Box<dyn std::error::Error>> {
/// let data_key = envelope.create_data_key(&EncryptionContext::new().with("table", "users")).await?;
/// let row = EncryptionContext::new().with("row", "17");
///
/// let record = data_key.seal(b"jane@example.org", &row)?;
/// assert_eq!(data_key.open(&record, &row)?, b"jane@example.org");
/// # Ok(()) }
/// ```
pub struct DataKey {
    header: Header,
    key: XaesKey<DefaultEngine>,
    /// The binding of kind 2, before the context of a record.
    binding: Vec<u8>,
}

impl DataKey {
    pub(crate) fn new(opened: &OpenedHeader) -> Self {
        let header = opened.header().clone();
        let binding = schedule::binding(header.kind(), header.envelope_id(), opened.context());
        Self { header, key: XaesKey::new(opened.content_key()), binding }
    }

    /// The header: store it, it opens the records. Not secret.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Encrypts one record: [`RECORD_OVERHEAD`] bytes longer than `plaintext`.
    /// `context` says which record it is (its row, its column) and is bound,
    /// not stored: the reader must give the same. Entries `with` and `withhold`
    /// mean the same here.
    ///
    /// # Errors
    ///
    /// [`EncryptError`] when `plaintext` is longer than [`RECORD_MAX_LEN`], the
    /// context passes a limit or the system gives no randomness.
    pub fn seal(&self, plaintext: &[u8], context: &EncryptionContext) -> Result<Vec<u8>, EncryptError> {
        if plaintext.len() > RECORD_MAX_LEN {
            return Err(EncryptError::RecordTooLarge);
        }
        Ok(self.key.seal(plaintext, &self.aad(context)?)?)
    }

    /// Decrypts one record.
    ///
    /// # Errors
    ///
    /// [`DecryptError::NotAuthentic`] when the record was changed or belongs to
    /// another data key or context.
    pub fn open(&self, record: &[u8], context: &EncryptionContext) -> Result<Vec<u8>, DecryptError> {
        if record.len() > RECORD_MAX_LEN + RECORD_OVERHEAD {
            return Err(DecryptError::NotAuthentic);
        }
        let aad = self.aad(context).map_err(|_| DecryptError::NotAuthentic)?;
        Ok(self.key.open(record, &aad)?)
    }

    fn aad(&self, context: &EncryptionContext) -> Result<Vec<u8>, crate::ContextError> {
        let record = context.full()?;
        let mut aad = Vec::with_capacity(self.binding.len() + record.as_bytes().len());
        aad.extend_from_slice(&self.binding);
        aad.extend_from_slice(record.as_bytes());
        Ok(aad)
    }
}
