//! [`DataKeys`]: records under data keys that are changed in time, at one call to the key store for each.

mod error;
mod held;
mod limits;
mod meter;
mod stats;
mod store;

use std::{fmt, panic::AssertUnwindSafe, sync::Arc};

use envelope_sdk::{
    EncryptError, EncryptionContext, Envelope, Header, KeyState, KeyUri, KeyUse, RECORD_MAX_LEN,
};
use futures_util::FutureExt;
use tokio::time::Instant;

use crate::{
    KeyStateListener,
    counter::add,
    flights::{Flight, shared},
};
use held::{ContextKey, Found, Held, HeldKey, Outcome, Wanted, context_key, may_be};
use meter::Meter;
use stats::Counters;

pub use error::DataKeysError;
pub use limits::DataKeyLimits;
pub use stats::DataKeysStats;
pub use store::{DataKeyId, DataKeyStore, MemoryDataKeyStore, StoreError};

/// Seals and opens the records of a service: a [`DataKey`](envelope_sdk::DataKey) for each context (a tenant, a table),
/// and a new one when it has done its part ([`DataKeyLimits`]).
///
/// A data key costs one call to each key that encrypts, when it is made, and one to open it in another process. A
/// million records of a tenant within the limits are one call. Beside each record stands the [id](DataKeyId) of its
/// data key, and the headers are in a table of their own ([`DataKeyStore`]).
///
/// Calls at the same time for one context make one data key, and share it; when the caller that began is dropped,
/// another that waits goes on. Failures are told to those who waited and are not kept.
///
/// As with a [cache](crate::Cache), a data key in memory opens and seals whatever was done to its KEK elsewhere, until
/// it is too old. What this process hears of ([`KeyStateListener`]) ends it at once. Values of the context can be
/// withheld only where every key binds the context.
///
/// Clones are the same.
///
/// ```
/// # use std::time::Duration;
/// # use envelope_sdk::{EncryptionContext, Envelope};
/// use envelope_layers::{DataKeyLimits, DataKeyStore, DataKeys};
///
/// # async fn example(envelope: Envelope, table: impl DataKeyStore + 'static) -> Result<(), Box<dyn std::error::Error>> {
/// let day = Duration::from_secs(24 * 60 * 60);
/// let data_keys = DataKeys::new(envelope, table, DataKeyLimits::new(day, 1_000_000));
///
/// let tenant = EncryptionContext::new().with("tenant", "acme");
/// let row = EncryptionContext::new().with("customer", "17").with("column", "email");
/// let sealed = data_keys.seal(&tenant, b"jane@example.org", &row).await?;
/// // INSERT INTO customers (id, email, data_key_id) VALUES (17, sealed.bytes, sealed.data_key)
/// let opened = data_keys.open(&tenant, &sealed.data_key, &sealed.bytes, &row).await?;
/// assert_eq!(opened, b"jane@example.org");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct DataKeys(Arc<Inner>);

struct Inner {
    envelope: Envelope,
    store: Box<dyn DataKeyStore>,
    limits: DataKeyLimits,
    held: Arc<Held>,
    counters: Counters,
}

/// A record, and the data key that opens it: what a service stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedRecord {
    /// Which data key.
    pub data_key: DataKeyId,
    /// The record, [`RECORD_OVERHEAD`](envelope_sdk::RECORD_OVERHEAD) bytes longer than its plaintext.
    pub bytes: Vec<u8>,
}

impl DataKeys {
    /// Makes and opens data keys with the keys of `envelope`, and keeps their headers in `store`.
    #[must_use]
    pub fn new(envelope: Envelope, store: impl DataKeyStore + 'static, limits: DataKeyLimits) -> Self {
        let held = Arc::new(Held::new(limits, Instant::now()));
        Self(Arc::new(Inner {
            envelope,
            store: Box::new(store),
            limits,
            held,
            counters: Counters::default(),
        }))
    }

    /// Seals one record under the current data key of `context`. `record` says which record it is, and must be given
    /// again to open it: [`DataKey::seal`](envelope_sdk::DataKey::seal).
    ///
    /// # Errors
    ///
    /// [`DataKeysError`]: of making a data key if there is none, of sealing, and
    /// [`OverLimit`](DataKeysError::OverLimit).
    pub async fn seal(
        &self,
        context: &EncryptionContext,
        plaintext: &[u8],
        record: &EncryptionContext,
    ) -> Result<SealedRecord, DataKeysError> {
        self.0.check_len(plaintext)?;
        let mut spent = None;
        loop {
            let current = self.current_but(context, spent).await?;
            match current.seal(plaintext, record) {
                // Another one took the last of it. A data key that is new seals at least one record, or is told to be late.
                Err(DataKeysError::Spent(id)) => spent = Some(id),
                sealed => return sealed,
            }
        }
    }

    /// The current data key of `context`, for many records at once. It is made if there is none.
    ///
    /// # Errors
    ///
    /// [`DataKeysError`] of making it.
    pub async fn current(&self, context: &EncryptionContext) -> Result<CurrentDataKey, DataKeysError> {
        self.current_but(context, None).await
    }

    /// Opens a record that was sealed under the data key `id`. `context` is that of the data key, or as much of it as
    /// the caller demands, and all that was withheld; `record` is that of the record.
    ///
    /// # Errors
    ///
    /// [`DataKeysError`]: of finding and opening the data key, and [`Open`](DataKeysError::Open).
    pub async fn open(
        &self,
        context: &EncryptionContext,
        id: &DataKeyId,
        bytes: &[u8],
        record: &EncryptionContext,
    ) -> Result<Vec<u8>, DataKeysError> {
        let held = self.0.stored(context, *id).await?;
        let opened = held.data_key.open(bytes, record);
        let opened = opened.map_err(|error| DataKeysError::Open { id: *id, source: Arc::new(error) })?;
        add(&self.0.counters.opened_records, 1);
        Ok(opened)
    }

    /// Drops every data key that `key` wrapped, among others, from memory: records open when the key store was asked
    /// again, and new ones are sealed under new data keys. What is being made now seals nothing.
    ///
    /// `key` is compared with the key URIs of headers. An alias that is not [resolved](KeyUri::is_resolved) drops all
    /// data keys under keys that it may stand for: for AWS those of its account and region, and else those of its scheme.
    pub fn invalidate(&self, key: &KeyUri) {
        self.0.held.drop_those(|wrapped| may_be(key, wrapped));
    }

    /// Drops all data keys from memory.
    pub fn clear(&self) {
        self.0.held.drop_those(|_| true);
    }

    /// Drops the data keys that are too old or have nothing left, and tells how many there were. That is done by the
    /// way, too, when one is made or opened after more than half of the time that they are held open.
    #[allow(clippy::must_use_candidate, reason = "the number is by the way")]
    pub fn purge_expired(&self) -> usize {
        self.0.held.purge_expired(Instant::now())
    }

    /// What was done so far.
    #[must_use]
    pub fn stats(&self) -> DataKeysStats {
        self.0.counters.stats(self.0.held.sizes())
    }

    async fn current_but(
        &self,
        context: &EncryptionContext,
        spent: Option<DataKeyId>,
    ) -> Result<CurrentDataKey, DataKeysError> {
        let wanted = Wanted::New(self.0.context_key(context)?);
        let inner = &self.0;
        let found = inner.held.find(&wanted, spent, Instant::now(), |landing| {
            let (inner, context) = (Arc::clone(inner), context.clone());
            fly(async move { inner.make(&context).await }, |outcome| landing.land(outcome))
        });
        Ok(CurrentDataKey { held: inner.wait_for(found).await?, of: self.clone() })
    }
}

impl KeyStateListener for DataKeys {
    /// Drops the data keys under a key that is compromised, or that opens nothing in its state. Those under a
    /// deactivated key seal nothing more, and still open their records.
    fn report(&self, key: &KeyUri, state: KeyState) {
        if crate::key_states::ends_use(state) {
            self.invalidate(key);
        } else if !state.permits(KeyUse::Wrap) {
            self.0.held.end_sealing(|wrapped| may_be(key, wrapped));
        }
    }
}

impl fmt::Debug for DataKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKeys").field("limits", &self.0.limits).field("stats", &self.stats()).finish()
    }
}

/// The data key that seals the records of a context now. It counts with all who hold it, and seals nothing more once
/// its limits are reached or it was invalidated.
#[derive(Clone)]
pub struct CurrentDataKey {
    held: Arc<HeldKey>,
    of: DataKeys,
}

impl CurrentDataKey {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &DataKeyId {
        &self.held.id
    }

    /// Its header, which is in the store already.
    #[must_use]
    pub fn header(&self) -> &Header {
        self.held.data_key.header()
    }

    /// Seals one record. It is counted first, also if it cannot be sealed then.
    ///
    /// # Errors
    ///
    /// [`DataKeysError::Spent`] when what is left is not enough: ask for the [current](DataKeys::current) data key
    /// again. [`OverLimit`](DataKeysError::OverLimit) and [`Seal`](DataKeysError::Seal).
    pub fn seal(&self, plaintext: &[u8], record: &EncryptionContext) -> Result<SealedRecord, DataKeysError> {
        let (inner, HeldKey { id, data_key, meter }) = (&self.of.0, &*self.held);
        let len = inner.check_len(plaintext)?;
        if !meter.reserve(len, Instant::now()) {
            return Err(DataKeysError::Spent(*id));
        }
        let sealed = data_key.seal(plaintext, record);
        let bytes = sealed.map_err(|error| DataKeysError::Seal(Arc::new(error)))?;
        add(&inner.counters.sealed, 1);
        add(&inner.counters.sealed_bytes, len);
        Ok(SealedRecord { data_key: *id, bytes })
    }
}

impl fmt::Debug for CurrentDataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CurrentDataKey({})", self.held.id)
    }
}

impl Inner {
    async fn stored(
        self: &Arc<Self>,
        context: &EncryptionContext,
        id: DataKeyId,
    ) -> Result<Arc<HeldKey>, DataKeysError> {
        let wanted = Wanted::Stored(id, self.context_key(context)?);
        let found = self.held.find(&wanted, None, Instant::now(), |landing| {
            let (inner, context) = (Arc::clone(self), context.clone());
            fly(async move { inner.unlock(id, &context).await }, |outcome| landing.land(outcome))
        });
        self.wait_for(found).await
    }

    async fn wait_for(&self, found: Found) -> Outcome {
        match found {
            Found::Here(held) => Ok(held),
            Found::Flying(flight) => flight.await,
        }
    }

    async fn make(&self, context: &EncryptionContext) -> Outcome {
        add(&self.counters.key_calls, self.envelope.keyring().encrypting().count() as u64);
        // The age counts from before its keys were asked: what they were told meanwhile may hold no longer.
        let since = Instant::now();
        let made = self.envelope.create_data_key(context).await;
        let data_key = made.map_err(|error| DataKeysError::Make(Arc::new(error)))?;
        let id = DataKeyId::of(data_key.header());
        // First: a record whose data key nobody finds is lost.
        let kept = self.store.put(&id, &data_key.header().to_bytes()).await;
        kept.map_err(|error| DataKeysError::Store { id, source: Arc::from(error) })?;
        add(&self.counters.made, 1);
        let meter = Meter::new(&self.limits, since);
        if !meter.is_open(Instant::now()) {
            return Err(DataKeysError::Late { id, took: since.elapsed(), age: self.limits.age });
        }
        Ok(Arc::new(HeldKey { id, data_key, meter }))
    }

    async fn unlock(&self, id: DataKeyId, context: &EncryptionContext) -> Outcome {
        let found = self.store.find(&id).await;
        let found = found.map_err(|error| DataKeysError::Store { id, source: Arc::from(error) })?;
        let header = found.ok_or(DataKeysError::Unknown(id))?;
        let wrong = |error| DataKeysError::Unlock { id, source: Arc::new(error) };
        let found = store::id_in(&header).map_err(|error| wrong(error.into()))?;
        if found != id {
            return Err(DataKeysError::WrongHeader { asked: id, found });
        }
        add(&self.counters.key_calls, 1);
        let data_key = self.envelope.open_data_key(&header, context).await.map_err(wrong)?;
        add(&self.counters.opened, 1);
        let meter = Meter::new(&self.limits, Instant::now());
        // What another process made seals there, and is counted there.
        meter.end();
        Ok(Arc::new(HeldKey { id, data_key, meter }))
    }

    fn context_key(&self, context: &EncryptionContext) -> Result<ContextKey, DataKeysError> {
        context_key(context).map_err(|error| DataKeysError::Make(Arc::new(error.into())))
    }

    fn check_len(&self, plaintext: &[u8]) -> Result<u64, DataKeysError> {
        if plaintext.len() > RECORD_MAX_LEN {
            return Err(DataKeysError::Seal(Arc::new(EncryptError::RecordTooLarge)));
        }
        let (bytes, limit) = (plaintext.len() as u64, self.limits.bytes);
        if bytes > limit { Err(DataKeysError::OverLimit { bytes, limit }) } else { Ok(bytes) }
    }
}

/// A call that all who want what comes of it share. It lands before it is told.
fn fly(
    call: impl Future<Output = Outcome> + Send + 'static,
    land: impl FnOnce(Outcome) -> Outcome + Send + 'static,
) -> Flight<Outcome> {
    shared(async move {
        let outcome = AssertUnwindSafe(call).catch_unwind().await;
        land(outcome.unwrap_or(Err(DataKeysError::Panicked)))
    })
}
