//! Records of a table, moved from one data key to another: [`RecordJob`].
//!
//! A data key ([`envelope_sdk::DataKey`]) seals many records, whose rows name it by its id. To move them:
//!
//! 1. A new data key is made for the same context, wrapped by the keys of the goal, opened again with each of them, and put
//!    into the table of headers. Readers find it from then on.
//! 2. Rows under the old data key are read by pages. Each record is opened, sealed anew, opened once more and compared. A
//!    batch is written by compare-and-swap: records and id of the data key change together, in rows where nobody changed
//!    them meanwhile. Others are done again.
//! 3. When a count finds no row under the old data key, its header is removed, if the store refuses whoever would still write
//!    under it.
//!
//! There is no journal: which rows are to do is what the table says. A job that was killed is run again.

mod error;
mod keys;
mod plan;
mod report;
mod reseal;
mod run;
mod store;
mod template;

use std::sync::Arc;

use envelope_layers::DataKeyId;
use tokio::time::Instant;

use crate::{Control, Goal, KeyStores};
use keys::Keys;
use run::Run;

pub use error::{RecordFailure, RecordsError, WhyNot};
pub use plan::{PlannedDataKey, RecordPlan};
pub use report::{RecordEvent, RecordReport, Retirement};
pub use store::{PageLimit, RecordKey, RecordStore, Retired, Row, StoredDataKey, Swap};
pub use template::{ContextTemplate, TemplateError};

/// Moves the records of a [`RecordStore`] from old data keys to new ones: one new data key for each context that the old
/// ones have.
///
/// It may be killed at any moment, and two may run at once: each row is moved once between them. Readers that look the data
/// key up by the id in the row open every row meanwhile; one that read a row before it was moved, and finds no header any
/// more, reads the row again. Writers shall seal under a new data key by the time that the job ends:
/// [`DataKeys`](envelope_layers::DataKeys) does once its data key is too old, or was invalidated.
///
/// A killed job leaves a new data key behind, in use or not yet. Give the next one [that](Self::to), or it makes another. It
/// [finds it by itself](Self::going_on) if it is told that nobody else can have made one.
pub struct RecordJob {
    store: Arc<dyn RecordStore>,
    goal: Goal,
    template: Arc<ContextTemplate>,
    from: Vec<DataKeyId>,
    to: Option<DataKeyId>,
    limit: PageLimit,
    retires: bool,
    goes_on: bool,
    key_stores: Option<KeyStores>,
}

impl RecordJob {
    /// A job over records with this context. Of the goal, the keys [that shall wrap](Goal::only), those
    /// [to open with](Goal::open_with) and the [context](Goal::with_context) count: that of data keys, with the values that
    /// their headers withhold.
    #[must_use]
    pub fn new(store: Arc<dyn RecordStore>, goal: Goal, template: ContextTemplate) -> Self {
        let limit = PageLimit { rows: BATCH_ROWS, bytes: BATCH_BYTES };
        Self {
            store,
            goal,
            template: Arc::new(template),
            from: Vec::new(),
            to: None,
            limit,
            retires: true,
            goes_on: false,
            key_stores: None,
        }
    }

    /// The old data keys. Without any, all that the store's records are under, but for the [new one](Self::to), which must
    /// be named then, and those that were [destroyed](RecordStore::destroy): nobody opens what is under them.
    #[must_use]
    pub fn from(mut self, old: Vec<DataKeyId>) -> Self {
        self.from = old;
        self
    }

    /// Moves to this data key, which is there already, and makes none. It must have the context of the old ones.
    #[must_use]
    pub fn to(mut self, new: DataKeyId) -> Self {
        self.to = Some(new);
        self
    }

    /// Rows of a batch, at least 1; 500 if not said. A batch has 8 MiB of records at most, unless one row is larger.
    #[must_use]
    pub fn batch(mut self, rows: u32) -> Self {
        self.limit.rows = rows.max(1);
        self
    }

    /// Goes on with the data key that a killed job left, where the store tells when headers were
    /// [made](StoredDataKey::made): the newest of the same context that is wrapped as the goal wants it and was made after
    /// all of the old ones. **Whoever may write headers and wrap for the keys of the goal, but not unwrap, can put one there whose DEK
    /// they know, and read what is sealed under it**: only for tables where nobody may.
    #[must_use]
    pub fn going_on(mut self) -> Self {
        self.goes_on = true;
        self
    }

    /// Keeps the headers of old data keys that have no records any more.
    #[must_use]
    pub fn keeping_old_data_keys(mut self) -> Self {
        self.retires = false;
        self
    }

    /// The key stores below the providers of the goal, as [`Job::key_stores`](crate::Job::key_stores) has them. Without it, what a
    /// job has over key stores stands over those providers.
    #[must_use]
    pub fn key_stores(mut self, key_stores: KeyStores) -> Self {
        self.key_stores = Some(key_stores);
        self
    }

    /// Runs the job to its end. `on_event` is told what is done, when it is done. A job that is cancelled ends after the batch that
    /// is under way; one that is stopped, or whose future is dropped, at once: each row is under its old data key or the
    /// new one, and of those of the last batch the report does not know.
    ///
    /// # Errors
    ///
    /// [`RecordsError`]. Rows that fail do not end the job. Once something was done, the error
    /// [has the report](RecordsError::report) of it.
    pub async fn run(
        self,
        control: &Control,
        on_event: impl FnMut(RecordEvent<'_>),
    ) -> Result<RecordReport, RecordsError> {
        let begun = Instant::now();
        let job = self.ready()?;
        let prepared = until_stopped(control, job.prepare()).await;
        let Some(prepared) = prepared.transpose()? else {
            return Ok(RecordReport { took: begun.elapsed(), cancelled: true, ..RecordReport::default() });
        };
        let (mut run, from) = Run::new(&job, prepared, control, on_event);
        let ended = until_stopped(control, run.all(from)).await.unwrap_or(Ok(()));
        run.report(begun.elapsed(), ended)
    }

    /// Says what [`run`](Self::run) would do, and writes nothing. Rows are counted and headers are read; key stores are asked
    /// what aliases mean, and for no use of a key, so that a wrong template does not show: `run` tells it before it writes.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub async fn plan(self, control: &Control) -> Result<RecordPlan, RecordsError> {
        let job = self.ready()?;
        let plan = until_stopped(control, plan::of(&job, control)).await;
        plan.unwrap_or_else(|| Ok(RecordPlan { cancelled: true, ..RecordPlan::default() }))
    }

    /// With what a job has over key stores.
    fn ready(mut self) -> Result<Ready, RecordsError> {
        if self.goal.keeps_others || self.goal.to.is_empty() {
            return Err(RecordsError::Job(
                "a new data key is wrapped for the keys that the goal names, and no others",
            ));
        }
        let key_stores = match self.key_stores.take() {
            Some(key_stores) => key_stores,
            None => {
                let key_stores = KeyStores::new();
                self.goal = key_stores.over_goal(&self.goal);
                key_stores
            }
        };
        let columns = self.template.columns().into_iter().map(ToOwned::to_owned).collect();
        Ok(Ready { job: self, key_stores, columns })
    }
}

/// A job whose goal has over its key stores what a job has.
struct Ready {
    job: RecordJob,
    key_stores: KeyStores,
    columns: Vec<String>,
}

impl Ready {
    /// What can be known before anything is written.
    async fn prepare(&self) -> Result<(Vec<DataKeyId>, Keys), RecordsError> {
        let job = &self.job;
        job.store.check(&self.columns).await.map_err(RecordsError::Store)?;
        let mut from = job.old_data_keys().await?;
        let is_named = !job.from.is_empty();
        let keys = Keys::find(Arc::clone(&job.store), &job.goal, &from, job.to, is_named).await?;
        from.retain(|id| !keys.is_passed_over(*id));
        Ok((from, keys))
    }
}

impl RecordJob {
    async fn old_data_keys(&self) -> Result<Vec<DataKeyId>, RecordsError> {
        let mut from = self.from.clone();
        if from.is_empty() {
            if self.to.is_none() {
                return Err(RecordsError::Job(
                    "name the old data keys, or the new one: a job that is run again cannot tell them apart otherwise",
                ));
            }
            from = self.store.in_use().await.map_err(RecordsError::Store)?;
            from.retain(|id| Some(*id) != self.to);
        } else if self.to.is_some_and(|to| from.contains(&to)) {
            return Err(RecordsError::Job("the new data key is among the old ones"));
        }
        from.sort_unstable();
        from.dedup();
        Ok(from)
    }
}

/// `None` if the job is stopped before.
async fn until_stopped<T>(control: &Control, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = control.stopped() => None,
        done = future => Some(done),
    }
}

const BATCH_ROWS: u32 = 500;
/// Bytes of records in a batch: they are in memory three times, old, opened and new.
const BATCH_BYTES: u64 = 8 * 1024 * 1024;
