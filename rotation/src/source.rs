//! Where envelopes are: [`Source`], which others implement.

use std::{error::Error, fmt, sync::Arc, time::SystemTime};

use async_trait::async_trait;
use envelope_sdk::{
    DecryptError, FormatError, Header, OpenedHeader, crypto::cobblestone::PREFIX_LEN, printable,
};
use futures_util::{future::BoxFuture, stream::BoxStream};

use crate::Reencryption;

/// A place that holds envelopes: a tree of files, a bucket, a column of a table.
///
/// A [`Job`](crate::Job) lists it, reads the header of each item, and commits a new header **if the
/// item still is what was read**: a compare-and-swap. Nothing is locked while key stores are asked. Whoever
/// comes second is told [`SourceError::Conflict`], and the job reads the item again.
///
/// # How to write one
///
/// A source outside this repository implements four methods; [`Memory`](crate::Memory) is the shortest
/// example. What each comes to:
///
/// | | list | read | commit | reencrypt |
/// |---|---|---|---|---|
/// | files | walk the tree | the first bytes | lock, compare the header with the bytes that were read, write in place behind a journal or replace | write a new file, check it, replace |
/// | object, attached | list by pages | ranged `GET`; keep its `ETag` or generation in [`Stored::tag`] | copy with the new header (multi-part where large), conditional on the tag | to a temporary object where large; check it; copy, conditional on the tag |
/// | object, detached | list by pages, header objects only | `GET` of the header object; its tag | `PUT` of the header object, conditional on the tag; the body never moves | refused: header and body are two objects, and readers find the body by a fixed name |
/// | SQL column | keyset pagination over the key column | `SELECT` of the column | `UPDATE … SET column = new WHERE key = … AND column = old`; no row changed means conflict | the same |
///
/// Promises of a source:
///
/// - `commit` and `reencrypt` write whole or not at all, and only if the header that is there is, byte for byte,
///   that of `old`; generation and MAC are part of it. A tag that the store checks for itself is as good.
/// - Plaintext is never written anywhere.
/// - A future that is dropped half-way, and a process that is killed, leave an item that opens with the
///   old keys or the new ones. What is left over besides goes with [`repair`](Source::repair) or
///   [`tidy`](Source::tidy).
/// - `list` keeps no more in memory than a bounded part of the names.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// The items, in any order, as they are found. One that cannot be listed is an error in its place.
    fn list(&self) -> Listing;

    /// Reads the header of an item.
    ///
    /// # Errors
    ///
    /// [`SourceError`]; [`NotAnEnvelope`](SourceError::NotAnEnvelope) for what is something else;
    /// [`Busy`](SourceError::Busy) for what another process has half written now: whoever asks comes back to it.
    async fn read(&self, item: &Item) -> Result<Stored, SourceError>;

    /// Puts `new` in the place of the header that was read, and returns how many bytes were written.
    ///
    /// # Errors
    ///
    /// [`SourceError`]; the item is as it was then. [`Conflict`](SourceError::Conflict): it is not
    /// what was read any more.
    async fn commit(&self, item: &Item, old: &Stored, new: &Header) -> Result<u64, SourceError>;

    /// Puts header and payload of a new DEK in the place of the old ones, and returns how many bytes were
    /// written. [`Reencryption`] moves and checks the bytes: the new envelope is opened to its end, and has the
    /// plaintext of the old one, before anything is replaced.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit).
    async fn reencrypt(&self, item: &Item, old: &Stored, keys: Reencryption) -> Result<u64, SourceError>;

    /// Whether the methods block the thread that polls them, if they are let to, as those of [`Files`](crate::Files) do: a job gives
    /// the items under way threads of their own then. Not, by default, and never for a source that waits for a network.
    fn blocks(&self) -> bool {
        false
    }

    /// Whether nobody works on the item now. It is asked once an item was [busy](SourceError::Busy), before key stores are
    /// asked for it again; a source that knows no locks need not answer. It is, by default.
    ///
    /// # Errors
    ///
    /// [`SourceError`]; [`Busy`](SourceError::Busy) while another process works on it.
    async fn check_free(&self, item: &Item) -> Result<(), SourceError> {
        let _ = item;
        Ok(())
    }

    /// Finishes, or takes back, what was cut off while it was written, for an item whose header does not open.
    /// `unlock` opens a header with the keys of the job. True when something was done: the item is read again
    /// then. Nothing, by default.
    ///
    /// # Errors
    ///
    /// [`SourceError`].
    async fn repair(&self, item: &Item, unlock: Unlock) -> Result<bool, SourceError> {
        let _ = (item, unlock);
        Ok(false)
    }

    /// Removes what a job that was killed left beside an item that is whole. Nothing, by default.
    ///
    /// # Errors
    ///
    /// [`SourceError`]. [`CutOff`](SourceError::CutOff): the item only looks whole, and is to be
    /// [repaired](Self::repair).
    async fn tidy(&self, item: &Item, stored: &Stored) -> Result<(), SourceError> {
        let _ = (item, stored);
        Ok(())
    }
}

/// The items of a source, as they are found.
pub type Listing = BoxStream<'static, Result<Item, SourceError>>;

/// Opens a header with the keys of a job.
pub type Unlock = Arc<dyn Fn(Header) -> BoxFuture<'static, Result<OpenedHeader, DecryptError>> + Send + Sync>;

/// The name of an envelope in its source, such as a path: bytes, UTF-8 or not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Item {
    name: Box<[u8]>,
    must_be_envelope: bool,
}

impl Item {
    /// An item that was found by looking: it may turn out to be no envelope, and is passed over then.
    #[must_use]
    pub fn found(name: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into().into(), must_be_envelope: false }
    }

    /// An item that somebody named: that it is no envelope is an error.
    #[must_use]
    pub fn named(name: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into().into(), must_be_envelope: true }
    }

    /// The bytes of the name. [`Shard`](crate::Shard) and checkpoint go by them.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Whether it is an error that it is no envelope.
    #[must_use]
    pub fn must_be_envelope(&self) -> bool {
        self.must_be_envelope
    }
}

impl fmt::Display for Item {
    /// The name, safe to print.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable::text(&String::from_utf8_lossy(&self.name)))
    }
}

/// What was read of an item. Its header is not authenticated yet.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The header.
    pub header: Header,
    /// The first bytes of the payload, salt and commitment, where they are at hand: they show that withheld
    /// context values are right.
    pub payload: Option<[u8; PREFIX_LEN]>,
    /// True when header and payload are text: then headers are not padded.
    pub is_armored: bool,
    /// When the item was last written.
    pub modified: Option<SystemTime>,
    /// What a store compares by itself before it writes: an `ETag` or a generation.
    pub tag: Option<String>,
}

impl Stored {
    /// The MAC at the end of the header. No two headers of an item have the same: it changes with each rewrap.
    #[must_use]
    pub fn mac(&self) -> [u8; 32] {
        mac_of(&self.header)
    }
}

/// The MAC at the end of a header.
pub(crate) fn mac_of(header: &Header) -> [u8; 32] {
    header.to_bytes().last_chunk().copied().unwrap_or_default()
}

/// What failed with an item. It is as it was, unless the text says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// It is something else.
    #[error("it is not an envelope")]
    NotAnEnvelope,
    /// It is not there any more.
    #[error("it is not there")]
    Gone,
    /// A process that was killed left it half-way between an old and a new envelope. A job [repairs](Source::repair)
    /// it; a plan says so.
    #[error("writing it was interrupted: a job with a key from before, or one that it was for, finishes it")]
    CutOff,
    /// It begins as an envelope does, and is damaged.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// It is not what was read any more: somebody else was faster. The job reads it again.
    #[error("it was changed or replaced meanwhile")]
    Conflict,
    /// Another process works on it now. The job tries again, a little later.
    #[error("another process is working on it")]
    Busy,
    /// It cannot be done with this source or kind of envelope.
    #[error("{0}")]
    Unsupported(&'static str),
    /// Old or new payload did not open.
    #[error(transparent)]
    Open(#[from] DecryptError),
    /// The new envelope does not hold what the old one does. The old one was kept.
    #[error("the new envelope does not give the old plaintext back: nothing was changed")]
    NotVerified,
    /// The store refused something; its error is the source.
    #[error("{0}")]
    Store(#[source] Box<dyn Error + Send + Sync>),
}

impl SourceError {
    /// An error of the store.
    pub fn store(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Store(error.into())
    }
}
