//! A job over records on its way.

use std::{collections::HashSet, sync::Arc, time::Duration};

use envelope_layers::{DataKeyId, StoreError};
use envelope_sdk::{DataKey, Header};
use tokio::task::spawn_blocking;

use super::{Ready, RecordEvent, RecordReport, RecordsError, Retired, Retirement, Row, keys::Keys, reseal};
use crate::{Control, shard::hash};

pub(super) struct Run<'j, F> {
    ready: &'j Ready,
    keys: Keys,
    control: &'j Control,
    on_event: F,
    report: RecordReport,
    /// Of the data key whose rows are moved now.
    pass: Pass,
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

/// An old data key and the new one that its rows move to.
#[derive(Clone)]
struct Moving {
    from: DataKeyId,
    old: Arc<DataKey>,
    to: DataKeyId,
    new: Arc<DataKey>,
}

impl<'j, F: FnMut(RecordEvent<'_>)> Run<'j, F> {
    /// With the data keys that are to be emptied.
    pub(super) fn new(
        ready: &'j Ready,
        (from, keys): (Vec<DataKeyId>, Keys),
        control: &'j Control,
        on_event: F,
    ) -> (Self, Vec<DataKeyId>) {
        let (report, pass, told) = (RecordReport::default(), Pass::default(), HashSet::new());
        (Self { ready, keys, control, on_event, report, pass, told }, from)
    }

    /// Moves all rows from under these data keys.
    pub(super) async fn all(&mut self, from: Vec<DataKeyId>) -> Result<(), RecordsError> {
        if self.ready.job.goes_on {
            self.keys.find_left().await?;
        }
        for old in from {
            if !self.control.may_go_on().await {
                break;
            }
            match self.empty(old).await {
                // As one that was destroyed before: the end of one tenant's must not keep those of others where they are.
                Err(RecordsError::Destroyed { id }) if id == old && self.ready.job.from.is_empty() => {}
                ended => ended?,
            }
            // Rows that failed in the last pass over them.
            self.report.failed += std::mem::take(&mut self.pass).failed;
        }
        Ok(())
    }

    /// What was done, however it `ended`.
    pub(super) fn report(
        mut self,
        took: Duration,
        ended: Result<(), RecordsError>,
    ) -> Result<RecordReport, RecordsError> {
        self.report.failed += self.pass.failed;
        self.report.took = took;
        self.report.cancelled = self.control.is_cancelled();
        self.report.finished = ended.is_ok() && !self.report.cancelled;
        self.report.calls = self.ready.key_stores.calls();
        match ended {
            Ok(()) => Ok(self.report),
            Err(why) if self.report.is_nothing() => Err(why),
            Err(why) => Err(RecordsError::Stopped { why: Box::new(why), report: Box::new(self.report) }),
        }
    }

    /// Moves all rows from under one data key.
    async fn empty(&mut self, id: DataKeyId) -> Result<(), RecordsError> {
        let store = &self.ready.job.store;
        let Some(header) = self.keys.old_header(id) else {
            // A job before retired it, or it is lost with its records.
            return match store.count(&id).await.map_err(RecordsError::Store)? {
                0 => Ok(()),
                records => Err(RecordsError::NoHeader { id, records }),
            };
        };
        let mut moving = None;
        for pass in 0..PASSES {
            self.pass = Pass::default();
            if !self.go_over(id, &header, &mut moving).await? {
                return Ok(());
            }
            let mut left = store.count(&id).await.map_err(RecordsError::Store)?;
            if left == 0 {
                left = self.retire(id).await?;
                if left == 0 {
                    return Ok(());
                }
                // Written between the count and the end of the key: there is more to do.
                self.pass.conflicts += left;
            }
            if self.pass.moved == 0 && self.pass.conflicts == 0 || pass + 1 == PASSES {
                // Under a data key that the rows of others share, these stay.
                self.report.left += store.count_narrowed(&id).await.map_err(RecordsError::Store)?;
                break;
            }
            // Whoever writes these rows is done soon.
            tokio::time::sleep(FIRST_WAIT * (1 << pass.min(MAX_DOUBLINGS))).await;
        }
        Ok(())
    }

    /// Goes once over the rows under one data key. False when the job was cancelled before the end.
    async fn go_over(
        &mut self,
        id: DataKeyId,
        header: &Header,
        moving: &mut Option<Moving>,
    ) -> Result<bool, RecordsError> {
        let (job, columns) = (&self.ready.job, &self.ready.columns);
        let mut after = None;
        loop {
            if !self.control.may_go_on().await {
                return Ok(false);
            }
            let page = job.store.page(&id, columns, after.as_ref(), job.limit).await;
            let rows = page.map_err(RecordsError::Store)?;
            let Some(last) = rows.last() else { return Ok(true) };
            after = Some(last.key.clone());
            // Whoever goes on to write behind it would keep this pass from ever coming to its end: that is for the next one.
            let is_end = job.limit.is_end(&rows);
            let moving = match moving {
                Some(moving) => moving.clone(),
                None => moving.insert(self.begin(id, header, &rows).await?).clone(),
            };
            self.batch(moving, rows).await?;
            if is_end {
                return Ok(self.control.may_go_on().await);
            }
        }
    }

    /// Opens the old data key and finds or makes the new one.
    async fn begin(
        &mut self,
        from: DataKeyId,
        header: &Header,
        rows: &[Row],
    ) -> Result<Moving, RecordsError> {
        let old = Arc::new(self.keys.open_old(from, header).await?);
        self.check_that_rows_open(from, &old, rows)?;
        let (to, new, made) = self.keys.new_for(header).await?;
        if !self.report.new.contains(&to) {
            self.report.new.push(to);
            (self.on_event)(RecordEvent::NewDataKey { id: to, made });
        }
        Ok(Moving { from, old, to, new })
    }

    /// Before anything was written: if no row at all opens, the template is wrong.
    fn check_that_rows_open(&self, id: DataKeyId, old: &DataKey, rows: &[Row]) -> Result<(), RecordsError> {
        if self.report.moved > 0 {
            return Ok(());
        }
        match reseal::first_failure_of_all(old, &self.ready.job.template, &self.ready.columns, rows) {
            Some(first) => Err(RecordsError::NothingOpens { id, rows: rows.len(), first: Box::new(first) }),
            None => Ok(()),
        }
    }

    async fn batch(&mut self, moving: Moving, rows: Vec<Row>) -> Result<(), RecordsError> {
        let Moving { from, old, to, new } = moving;
        let (template, columns) = (Arc::clone(&self.ready.job.template), self.ready.columns.clone());
        let sealing = spawn_blocking(move || reseal::reseal(&old, &new, &template, &columns, rows));
        let sealed = sealing.await.map_err(|error| RecordsError::Store(StoreError::from(error)))?;
        for failure in &sealed.failures {
            if self.told.insert(hash(failure.key.0.as_bytes())) {
                (self.on_event)(RecordEvent::Failed(failure));
            }
        }
        self.pass.failed += sealed.failures.len() as u64;
        if sealed.swaps.is_empty() {
            return Ok(());
        }
        let swapped = self.ready.job.store.swap(&from, &to, &sealed.swaps).await;
        let swapped = swapped.map_err(RecordsError::Store)?;
        if swapped.is_empty() {
            self.check_that_both_are_there(from, to).await?;
        }
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
        self.pass.moved += moved;
        self.pass.conflicts += conflicts;
        self.report.moved += moved;
        self.report.conflicts += conflicts;
        let calls = self.ready.key_stores.total();
        (self.on_event)(RecordEvent::Moved { rows: moved, conflicts, calls });
        Ok(())
    }

    /// Where no row of a batch moved: the store refuses that where one of the data keys came to its end meanwhile, which is no
    /// conflict that passes.
    async fn check_that_both_are_there(&self, from: DataKeyId, to: DataKeyId) -> Result<(), RecordsError> {
        let store = &self.ready.job.store;
        for id in [from, to] {
            match store.data_key(&id).await.map_err(RecordsError::Store)? {
                Some(stored) if stored.header.is_empty() => return Err(RecordsError::Destroyed { id }),
                None if id == to => {
                    let records = store.count(&id).await.map_err(RecordsError::Store)?;
                    return Err(RecordsError::NoHeader { id, records });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns how many rows are under it again, if somebody was faster: then it is not settled.
    async fn retire(&mut self, id: DataKeyId) -> Result<u64, RecordsError> {
        let store = &self.ready.job.store;
        let retired = if self.ready.job.retires {
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
        // Somebody replaced or removed what had failed in this pass.
        self.pass = Pass::default();
        self.report.emptied.push((id, retired));
        (self.on_event)(RecordEvent::Emptied { id, retired });
        Ok(0)
    }
}

/// Over the rows that others write meanwhile.
const PASSES: u32 = 20;
const FIRST_WAIT: Duration = Duration::from_millis(1);
const MAX_DOUBLINGS: u32 = 9;
