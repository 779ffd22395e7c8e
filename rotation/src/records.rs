//! Records of a table, moved from one data key to another: [`RecordJob`].
//!
//! A data key ([`DataKey`]) seals many records, whose rows name it by its id. To move them:
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
mod report;
mod reseal;
mod store;
mod template;

use std::{collections::HashSet, sync::Arc, time::Duration};

use envelope_layers::{DataKeyId, StoreError};
use envelope_sdk::DataKey;
use tokio::{task::spawn_blocking, time::Instant};

use crate::{Control, Goal};
use keys::Keys;

pub use error::{RecordFailure, RecordsError, WhyNot};
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
        }
    }

    /// The old data keys. Without any, all that the store's records are under, but for the [new one](Self::to), which must
    /// be named then.
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

    /// Runs the job to its end. `on_event` is told what is done, when it is done. Dropping the future stops the job: each
    /// row is under its old data key or the new one.
    ///
    /// # Errors
    ///
    /// [`RecordsError`]. Rows that fail do not end the job.
    pub async fn run(
        self,
        control: &Control,
        on_event: impl FnMut(RecordEvent<'_>),
    ) -> Result<RecordReport, RecordsError> {
        let begun = Instant::now();
        if self.goal.keeps_others || self.goal.to.is_empty() {
            return Err(RecordsError::Job(
                "a new data key is wrapped for the keys that the goal names, and no others",
            ));
        }
        let columns: Vec<_> = self.template.columns().into_iter().map(ToOwned::to_owned).collect();
        self.store.check(&columns).await.map_err(RecordsError::Store)?;
        let from = self.old_data_keys().await?;
        let mut keys = Keys::find(Arc::clone(&self.store), &self.goal, &from, self.to).await?;
        if self.goes_on {
            keys.find_left().await?;
        }
        let report = RecordReport::default();
        let mut run = Run { job: &self, columns, keys, control, on_event, report, told: HashSet::new() };
        for old in from {
            if !control.may_go_on().await {
                break;
            }
            run.empty(old).await?;
        }
        let mut report = run.report;
        report.took = begun.elapsed();
        report.cancelled = control.is_cancelled();
        Ok(report)
    }

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

/// A job on its way.
struct Run<'j, F> {
    job: &'j RecordJob,
    columns: Vec<String>,
    keys: Keys,
    control: &'j Control,
    on_event: F,
    report: RecordReport,
    /// Hashes of the rows whose failure was told.
    told: HashSet<u64>,
}

/// What became of the rows under one data key, in one pass over them.
#[derive(Default)]
struct Pass {
    moved: u64,
    conflicts: u64,
    failed: u64,
}

impl<F: FnMut(RecordEvent<'_>)> Run<'_, F> {
    /// Moves all rows from under one data key.
    async fn empty(&mut self, id: DataKeyId) -> Result<(), RecordsError> {
        let store = &self.job.store;
        let Some(header) = self.keys.old_header(id) else {
            // A job before retired it, or it is lost with its records.
            return match store.count(&id).await.map_err(RecordsError::Store)? {
                0 => Ok(()),
                records => Err(RecordsError::NoHeader { id, records }),
            };
        };
        let mut moving: Option<(Arc<DataKey>, Arc<DataKey>, DataKeyId)> = None;
        for pass in 0..PASSES {
            let mut done = Pass::default();
            let mut after = None;
            loop {
                if !self.control.may_go_on().await {
                    self.report.failed += done.failed;
                    return Ok(());
                }
                let page = store.page(&id, &self.columns, after.as_ref(), self.job.limit).await;
                let rows = page.map_err(RecordsError::Store)?;
                let Some(last) = rows.last() else { break };
                after = Some(last.key.clone());
                let (old, new, new_id) = match &moving {
                    Some((old, new, new_id)) => (Arc::clone(old), Arc::clone(new), *new_id),
                    None => {
                        let old = Arc::new(self.keys.open_old(id, &header).await?);
                        self.check_that_rows_open(id, &old, &rows)?;
                        let (new_id, new, made) = self.keys.new_for(&header).await?;
                        if !self.report.new.contains(&new_id) {
                            self.report.new.push(new_id);
                            (self.on_event)(RecordEvent::NewDataKey { id: new_id, made });
                        }
                        moving = Some((Arc::clone(&old), Arc::clone(&new), new_id));
                        (old, new, new_id)
                    }
                };
                self.batch(id, old, new_id, new, rows, &mut done).await?;
            }
            let mut left = store.count(&id).await.map_err(RecordsError::Store)?;
            if left == 0 {
                left = self.retire(id).await?;
                if left == 0 {
                    return Ok(());
                }
                // Written between the count and the end of the key: there is more to do.
                done.conflicts += left;
            }
            if done.moved == 0 && done.conflicts == 0 || pass + 1 == PASSES {
                // Somebody may have replaced what failed before.
                self.report.failed += done.failed;
                self.report.left += left;
                break;
            }
            // Whoever writes these rows is done soon.
            tokio::time::sleep(FIRST_WAIT * (1 << pass.min(MAX_DOUBLINGS))).await;
        }
        Ok(())
    }

    /// Before anything was written: if no row at all opens, the template is wrong.
    fn check_that_rows_open(&self, id: DataKeyId, old: &DataKey, rows: &[Row]) -> Result<(), RecordsError> {
        if self.report.moved > 0 {
            return Ok(());
        }
        match reseal::first_failure_of_all(old, &self.job.template, &self.columns, rows) {
            Some(first) => Err(RecordsError::NothingOpens { id, rows: rows.len(), first: Box::new(first) }),
            None => Ok(()),
        }
    }

    async fn batch(
        &mut self,
        from: DataKeyId,
        old: Arc<DataKey>,
        to: DataKeyId,
        new: Arc<DataKey>,
        rows: Vec<Row>,
        done: &mut Pass,
    ) -> Result<(), RecordsError> {
        let (template, columns) = (Arc::clone(&self.job.template), self.columns.clone());
        let sealing = spawn_blocking(move || reseal::reseal(&old, &new, &template, &columns, rows));
        let sealed = sealing.await.map_err(|error| RecordsError::Store(StoreError::from(error)))?;
        for failure in &sealed.failures {
            if self.told.insert(crate::shard::hash(failure.key.0.as_bytes())) {
                (self.on_event)(RecordEvent::Failed(failure));
            }
        }
        done.failed += sealed.failures.len() as u64;
        if sealed.swaps.is_empty() {
            return Ok(());
        }
        let swapped = self.job.store.swap(&from, &to, &sealed.swaps).await.map_err(RecordsError::Store)?;
        let swapped: HashSet<_> = swapped.iter().collect();
        let (mut moved, mut conflicts) = (0, 0);
        for swap in &sealed.swaps {
            if swapped.contains(&swap.key) {
                moved += 1;
                self.report.bytes += swap.new.iter().flatten().map(|record| record.len() as u64).sum::<u64>();
            } else {
                conflicts += 1;
            }
        }
        done.moved += moved;
        done.conflicts += conflicts;
        self.report.moved += moved;
        self.report.conflicts += conflicts;
        (self.on_event)(RecordEvent::Moved { rows: moved, conflicts });
        Ok(())
    }

    /// Returns how many rows are under it again, if somebody was faster: then it is not settled.
    async fn retire(&mut self, id: DataKeyId) -> Result<u64, RecordsError> {
        let store = &self.job.store;
        let retired = if self.job.retires {
            match store.retire(&id).await.map_err(RecordsError::Store)? {
                Retired::Removed => Retirement::Retired,
                Retired::InUse => match store.count(&id).await.map_err(RecordsError::Store)? {
                    0 => Retirement::InUseElsewhere,
                    rows => return Ok(rows),
                },
                Retired::Unguarded => Retirement::Unguarded,
            }
        } else {
            Retirement::Kept
        };
        self.report.emptied.push((id, retired));
        (self.on_event)(RecordEvent::Emptied { id, retired });
        Ok(0)
    }
}

const BATCH_ROWS: u32 = 500;
/// Bytes of records in a batch: they are in memory three times, old, opened and new.
const BATCH_BYTES: u64 = 8 * 1024 * 1024;
/// Over the rows that others write meanwhile.
const PASSES: u32 = 20;
const FIRST_WAIT: Duration = Duration::from_millis(1);
const MAX_DOUBLINGS: u32 = 9;
