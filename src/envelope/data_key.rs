//! Making and opening data keys.

use zeroize::Zeroize;

use super::{Envelope, encrypt::NewHeader, expect_kind};
use crate::{
    DataKey, DecryptError, EncryptError, EncryptionContext, Header, MissingKey, OpenedHeader, WrapPolicy,
    format::Kind,
};

impl Envelope {
    /// Makes a data key: one DEK for many small records.
    ///
    /// Values can be withheld only where every key that encrypts
    /// [binds the context](crate::ContextBinding::Provider). An envelope has a commitment that
    /// tells a wrong value; of a data key, only the wrap can.
    ///
    /// # Errors
    ///
    /// [`EncryptError`]; [`ContextNotBound`](EncryptError::ContextNotBound) when a value is withheld
    /// and a key binds no context.
    pub async fn create_data_key(&self, context: &EncryptionContext) -> Result<DataKey, EncryptError> {
        Ok(self.data_key_under(WrapPolicy::All, context).await?.0)
    }

    /// Opens a data key from its header.
    ///
    /// # Errors
    ///
    /// [`DecryptError`]; [`ContextNotVerified`](DecryptError::ContextNotVerified) when values are
    /// withheld and the key that opened binds no context. Its records show whether they are right:
    /// [`open_data_key_of`](Self::open_data_key_of).
    pub async fn open_data_key(
        &self,
        header: &[u8],
        context: &EncryptionContext,
    ) -> Result<DataKey, DecryptError> {
        let opened = self.unlock_data_key(header, context).await?;
        if !opened.context_is_verified() {
            return Err(DecryptError::ContextNotVerified);
        }
        Ok(DataKey::new(&opened))
    }

    /// As [`open_data_key`](Self::open_data_key), with one of its records and that record's own
    /// context at hand. They show that withheld values are right also where the key that opens
    /// binds no context.
    ///
    /// # Errors
    ///
    /// [`DecryptError`]; [`NotAuthentic`](DecryptError::NotAuthentic) also when the record does not
    /// open.
    pub async fn open_data_key_of(
        &self,
        record: &[u8],
        record_context: &EncryptionContext,
        header: &[u8],
        context: &EncryptionContext,
    ) -> Result<DataKey, DecryptError> {
        let data_key = DataKey::new(&self.unlock_data_key(header, context).await?);
        data_key.open(record, record_context)?.zeroize();
        Ok(data_key)
    }

    pub(super) async fn data_key_under(
        &self,
        policy: WrapPolicy,
        context: &EncryptionContext,
    ) -> Result<(DataKey, Vec<MissingKey>), EncryptError> {
        let NewHeader { opened, missing, .. } = self.new_header(policy, Kind::DataKey, context).await?;
        if !opened.header().withheld().is_empty() {
            self.keyring.check_context_will_be_bound(opened.header().recipients(), &missing)?;
        }
        self.keyring.hear_missing(&missing);
        Ok((DataKey::new(&opened), missing))
    }

    async fn unlock_data_key(
        &self,
        header: &[u8],
        context: &EncryptionContext,
    ) -> Result<OpenedHeader, DecryptError> {
        let header = Header::parse_exact(header)?;
        expect_kind(&header, Kind::DataKey)?;
        self.unlock(header, context).await
    }
}
