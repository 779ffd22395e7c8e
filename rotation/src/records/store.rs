//! Where records and the headers of their data keys are: [`RecordStore`], which others implement.

use std::{fmt, time::SystemTime};

use async_trait::async_trait;
use envelope_layers::{DataKeyId, StoreError};
use envelope_sdk::printable;

/// A table of records, each with the [id](DataKeyId) of its data key beside it, and the table of the data keys' headers
/// ([`DataKeyStore`](envelope_layers::DataKeyStore)).
///
/// `SqlRecords` is one (feature `sql`). Nothing that is read or written here is plaintext.
#[async_trait]
pub trait RecordStore: Send + Sync + 'static {
    /// Whether rows have these columns, and everything else that can be known before the first write.
    ///
    /// # Errors
    ///
    /// Whatever is wrong: then nothing is done.
    async fn check(&self, columns: &[String]) -> Result<(), StoreError>;

    /// The data keys that records here refer to, each once. Of a store that is narrowed to some of its rows, those of
    /// these rows.
    ///
    /// # Errors
    ///
    /// Whatever went wrong.
    async fn in_use(&self) -> Result<Vec<DataKeyId>, StoreError>;

    /// Rows under the data key `of`, in the order of their keys, from the first one behind `after`: as many as are asked
    /// for, or fewer if they have more than `bytes` bytes together, but one at least while there is one. Each with the
    /// values of `columns`, which [`check`](Self::check) has seen.
    ///
    /// # Errors
    ///
    /// Whatever went wrong.
    async fn page(
        &self,
        of: &DataKeyId,
        columns: &[String],
        after: Option<&RecordKey>,
        limit: PageLimit,
    ) -> Result<Vec<Row>, StoreError>;

    /// Moves rows from the data key `from` to `to`: for each of `rows` that still has the records `old` and is under
    /// `from`, writes `new` and `to`, both or neither. Returns the keys of those that it did, or that a lost answer
    /// hid: they hold exactly `new` now. When this returns, what it did lasts.
    ///
    /// None moves once `from` was [destroyed](Self::destroy), which a job that has it open cannot know otherwise, nor to a
    /// data key that has no header or was destroyed: nobody would open them. The store makes sure of it at the same moment.
    /// What it had begun when the data key was destroyed may be done still.
    ///
    /// # Errors
    ///
    /// Whatever went wrong; some rows may be moved.
    async fn swap(
        &self,
        from: &DataKeyId,
        to: &DataKeyId,
        rows: &[Swap],
    ) -> Result<Vec<RecordKey>, StoreError>;

    /// How many rows are under the data key `of`, whether or not the store is narrowed.
    ///
    /// # Errors
    ///
    /// Whatever went wrong.
    async fn count(&self, of: &DataKeyId) -> Result<u64, StoreError>;

    /// As [`count`](Self::count), but of a store that is narrowed to some of its rows, only these: what a job is to move. For a
    /// store that is never narrowed there is nothing to write.
    ///
    /// # Errors
    ///
    /// Whatever went wrong.
    async fn count_narrowed(&self, of: &DataKeyId) -> Result<u64, StoreError> {
        self.count(of).await
    }

    /// The header of a data key, if there is one.
    ///
    /// # Errors
    ///
    /// Whatever went wrong.
    async fn data_key(&self, id: &DataKeyId) -> Result<Option<StoredDataKey>, StoreError>;

    /// Headers in the order of their ids, from the first one behind `after`: a page of them, empty at the end.
    ///
    /// # Errors
    ///
    /// Whatever went wrong.
    async fn data_keys(&self, after: Option<&DataKeyId>) -> Result<Vec<StoredDataKey>, StoreError>;

    /// Keeps a new header. When this returns, whoever opens records finds it.
    ///
    /// # Errors
    ///
    /// Whatever went wrong: then nothing is sealed under it.
    async fn insert(&self, id: &DataKeyId, header: &[u8]) -> Result<(), StoreError>;

    /// Removes a header that no record refers to, **if the store itself makes sure of that** at the same moment: whoever
    /// writes a record under it a moment later must be refused. A foreign key does so.
    ///
    /// # Errors
    ///
    /// Whatever went wrong.
    async fn retire(&self, id: &DataKeyId) -> Result<Retired, StoreError>;

    /// Ends a data key for good, whatever refers to it: nothing is left of its header, so that no record under it opens any more. Its
    /// id stays, with an empty header, and no row is changed: readers tell what was destroyed from what is lost. False if there is no such
    /// header. When this returns, it lasts.
    ///
    /// # Errors
    ///
    /// Whatever went wrong; that this store does not do it, unless it is overridden.
    async fn destroy(&self, id: &DataKeyId) -> Result<bool, StoreError> {
        let _ = id;
        Err("this store destroys no data keys".into())
    }
}

/// The most that a page of rows has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimit {
    /// Rows.
    pub rows: u32,
    /// Bytes of their records.
    pub bytes: u64,
}

impl PageLimit {
    /// Whether nothing was behind these rows when a [page](RecordStore::page) of this limit had them.
    #[must_use]
    pub fn is_end(&self, rows: &[Row]) -> bool {
        let records = rows.iter().flat_map(|row| &row.records).filter_map(|(_, record)| record.as_ref());
        let bytes: u64 = records.map(|record| record.len() as u64).sum();
        (rows.len() as u64) < u64::from(self.rows) && bytes < self.bytes
    }
}

/// What says which row is meant, as its store writes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordKey(pub String);

impl fmt::Display for RecordKey {
    /// The key, safe to print.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable::text(&self.0))
    }
}

/// A row with its records.
#[derive(Debug, Clone)]
pub struct Row {
    /// Which row.
    pub key: RecordKey,
    /// The values of the columns that were asked for, in their order; `None` where there is none.
    pub columns: Vec<Option<String>>,
    /// Each column that is sealed under the data key, and its record; `None` where there is none.
    pub records: Vec<(String, Option<Vec<u8>>)>,
}

/// A row's records as they are, and as they shall be, in the order of [`Row::records`].
#[derive(Debug, Clone)]
pub struct Swap {
    /// Which row.
    pub key: RecordKey,
    /// What is there if nobody wrote it meanwhile.
    pub old: Vec<Option<Vec<u8>>>,
    /// What shall be there.
    pub new: Vec<Option<Vec<u8>>>,
}

/// A header of a data key as it is stored.
#[derive(Debug, Clone)]
pub struct StoredDataKey {
    /// Its id, as the store has it.
    pub id: DataKeyId,
    /// The header.
    pub header: Vec<u8>,
    /// When it was made, where the store tells.
    pub made: Option<SystemTime>,
}

/// What became of a header that was to be retired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retired {
    /// It is gone.
    Removed,
    /// Something refers to it, in this table or another.
    InUse,
    /// Nothing refers to it here, and the store cannot make sure that nothing will. It stays, and does no harm.
    Unguarded,
}
