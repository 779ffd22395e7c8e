//! [`DataKeysError`].

use std::{error::Error, sync::Arc, time::Duration};

use envelope_sdk::{DecryptError, EncryptError};

use super::DataKeyId;

/// Why [`DataKeys`](crate::DataKeys) did not seal or open a record. Clones share the error below: all who waited for
/// one data key are told the same.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DataKeysError {
    /// No data key was made: its keys refused, or the context cannot be bound.
    #[error("no data key was made: {0}")]
    Make(#[source] Arc<EncryptError>),
    /// A data key was found, and its keys or its context do not open it.
    #[error("data key {id} does not open: {source}")]
    Unlock {
        /// Which.
        id: DataKeyId,
        /// Why.
        source: Arc<DecryptError>,
    },
    /// The store failed.
    #[error("the store of data keys failed for {id}: {source}")]
    Store {
        /// For which data key.
        id: DataKeyId,
        /// What it said.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The store has no such data key: the record was written by something that keeps its data keys elsewhere, or the
    /// header is lost.
    #[error("there is no data key {0}: look where the record was written for its header")]
    Unknown(DataKeyId),
    /// The store gave the header of another data key.
    #[error("the store gave a header for data key {asked} that is of {found}: its table was changed")]
    WrongHeader {
        /// What it was asked for.
        asked: DataKeyId,
        /// What it gave.
        found: DataKeyId,
    },
    /// The data key has sealed all it may, is too old, or was invalidated: ask for the current one again.
    #[error("data key {0} seals nothing more: ask for the current one again")]
    Spent(DataKeyId),
    /// By the time that a data key was made and stored, it was too old to seal anything. Its header is in the store.
    #[error(
        "data key {id} took {took:.1?} to make, and may be used for {age:.1?} from the beginning of that: allow a longer age, or \
         see why its key store or its table are so slow"
    )]
    Late {
        /// Which.
        id: DataKeyId,
        /// How long its key stores and the store of headers took.
        took: Duration,
        /// How long a data key seals.
        age: Duration,
    },
    /// One record is longer than all that a data key may seal.
    #[error(
        "the record has {bytes} bytes, and a data key may seal {limit}: raise the limit, or make it an envelope"
    )]
    OverLimit {
        /// Bytes of the record.
        bytes: u64,
        /// Bytes that a data key may seal.
        limit: u64,
    },
    /// The record was not sealed.
    #[error("the record was not sealed: {0}")]
    Seal(#[source] Arc<EncryptError>),
    /// The record does not open under its data key and context.
    #[error("the record does not open under data key {id}: {source}")]
    Open {
        /// Which data key.
        id: DataKeyId,
        /// Why.
        source: Arc<DecryptError>,
    },
    /// A key provider or the store panicked.
    #[error("making or opening a data key panicked")]
    Panicked,
}
