//! Where the headers of data keys are kept: [`DataKeyStore`].

use std::{
    collections::HashMap,
    error::Error,
    fmt,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use envelope_sdk::{Header, format::FormatError};

/// Names a data key: the 16 random bytes of its header that stay the same when it is rewrapped
/// ([`Header::envelope_id`]). It stands beside each record; it is not secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DataKeyId([u8; 16]);

impl DataKeyId {
    /// The id in a header.
    #[must_use]
    pub fn of(header: &Header) -> Self {
        Self(*header.envelope_id())
    }

    /// Its bytes, for a column.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl From<[u8; 16]> for DataKeyId {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for DataKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Keeps the headers of data keys for as long as there are records under them: whoever loses a header has lost its
/// records. Headers are not secret.
///
/// A table does it. In SQL:
///
/// ```sql
/// CREATE TABLE data_keys (
///     id     BINARY(16) PRIMARY KEY,   -- DataKeyId::as_bytes
///     header BLOB NOT NULL             -- 200 bytes to 65 KiB, as many recipients as it has
/// );
/// CREATE TABLE customers (
///     id          BIGINT PRIMARY KEY,
///     email       BLOB NOT NULL,       -- SealedRecord::bytes
///     data_key_id BINARY(16) NOT NULL REFERENCES data_keys (id)
/// );
/// ```
///
/// `put` is an `INSERT` that is committed when it returns, and not part of the transaction that writes the records:
/// other transactions seal under the same data key. `find` is a `SELECT … WHERE id = ?`. A rewrap
/// ([`Envelope::rewrap`](envelope_sdk::Envelope::rewrap)) of `header` in place moves all records of that data key to
/// another KEK; they stay as they are.
#[async_trait]
pub trait DataKeyStore: Send + Sync {
    /// Keeps a new header. When this returns, [`find`](Self::find) finds it from every process that opens records.
    /// It is called before the data key seals anything. A header that no record refers to may be left over when the
    /// caller is gone by then.
    ///
    /// # Errors
    ///
    /// Whatever went wrong: then nothing is sealed under it.
    async fn put(&self, id: &DataKeyId, header: &[u8]) -> Result<(), StoreError>;

    /// The header of that id, as it was last written, or `None` if there is none.
    ///
    /// # Errors
    ///
    /// Whatever went wrong.
    async fn find(&self, id: &DataKeyId) -> Result<Option<Vec<u8>>, StoreError>;
}

/// What went wrong in a [`DataKeyStore`], in its own words.
pub type StoreError = Box<dyn Error + Send + Sync>;

/// Headers in memory, gone with the process and with them every record: for tests and examples.
#[derive(Debug, Default)]
pub struct MemoryDataKeyStore(Mutex<HashMap<DataKeyId, Vec<u8>>>);

impl MemoryDataKeyStore {
    /// A store without headers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[async_trait]
impl DataKeyStore for MemoryDataKeyStore {
    async fn put(&self, id: &DataKeyId, header: &[u8]) -> Result<(), StoreError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(*id, header.to_vec());
        Ok(())
    }

    async fn find(&self, id: &DataKeyId) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned())
    }
}

#[async_trait]
impl<S: DataKeyStore + ?Sized> DataKeyStore for std::sync::Arc<S> {
    async fn put(&self, id: &DataKeyId, header: &[u8]) -> Result<(), StoreError> {
        (**self).put(id, header).await
    }

    async fn find(&self, id: &DataKeyId) -> Result<Option<Vec<u8>>, StoreError> {
        (**self).find(id).await
    }
}

/// The id in the bytes of a header.
pub(crate) fn id_in(header: &[u8]) -> Result<DataKeyId, FormatError> {
    Header::parse_exact(header).map(|header| DataKeyId::of(&header))
}
