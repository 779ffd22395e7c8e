//! A job: the items of a source, brought to a goal.

use std::{pin::pin, sync::Arc};

use futures_util::{FutureExt, StreamExt};
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinSet,
    time::Instant,
};

use crate::{
    Checkpoint, Control, Goal, Item, ItemError, ItemReport, Outcome, Plan, Report, RotationError, Shard,
    Source, SourceError, Totals,
    metered::{KeyStores, Meter},
    target::Target,
    work::Worker,
};

/// Brings the items of a [`Source`] to a [`Goal`].
///
/// Memory is the same for a thousand items and for a million: names wait in a short queue, outcomes are handed on
/// as they come. It needs a runtime of tokio with time; on one with several threads, items are done in parallel.
///
/// One item that fails stays as it is and does not stop the others.
pub struct Job {
    source: Arc<dyn Source>,
    goal: Goal,
    concurrency: usize,
    calls_per_second: Option<u32>,
    shard: Shard,
    checkpoint: Option<Checkpoint>,
}

impl Job {
    /// Items that are under way at once, unless [said otherwise](Self::concurrency).
    pub const CONCURRENCY: usize = 16;

    /// A job of all items.
    #[must_use]
    pub fn new(source: Arc<dyn Source>, goal: Goal) -> Self {
        Self {
            source,
            goal,
            concurrency: Self::CONCURRENCY,
            calls_per_second: None,
            shard: Shard::ALL,
            checkpoint: None,
        }
    }

    /// Items that are under way at once; at least 1.
    #[must_use]
    pub fn concurrency(mut self, items: usize) -> Self {
        self.concurrency = items.max(1);
        self
    }

    /// Most calls in a second to each key store, at least 1: each has a quota of its own.
    #[must_use]
    pub fn calls_per_second(mut self, calls: u32) -> Self {
        self.calls_per_second = Some(calls);
        self
    }

    /// Only the items of this part.
    #[must_use]
    pub fn shard(mut self, shard: Shard) -> Self {
        self.shard = shard;
        self
    }

    /// Writes down what is done, and passes over what the job before did.
    #[must_use]
    pub fn checkpoint(mut self, checkpoint: Checkpoint) -> Self {
        self.checkpoint = Some(checkpoint);
        self
    }

    /// Runs the job to its end. `on_item` is told of each item as it is done, on the task that waits here.
    /// Dropping the future stops the job: each item is done or as it was.
    ///
    /// # Errors
    ///
    /// [`RotationError`], which [has the report](RotationError::report) of what was done, if the job had begun. What failed with
    /// single items is in their reports.
    pub async fn run(
        self,
        control: &Control,
        on_item: impl FnMut(ItemReport),
    ) -> Result<Report, RotationError> {
        self.go(control, false, on_item).await
    }

    /// Says what [`run`](Self::run) would do, and writes nothing. Key stores are asked once for each key of the
    /// goal, and not for items.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub async fn plan(
        self,
        control: &Control,
        mut on_item: impl FnMut(ItemReport),
    ) -> Result<Plan, RotationError> {
        let mut plan = Plan::default();
        let report = self.go(control, true, |item| {
            if let Some(header) = &item.header {
                plan.usage.add(header);
            }
            for (key_store, calls) in &item.planned {
                *plan.calls.entry(key_store).or_default() += calls;
            }
            let mut names: Vec<_> = item.reasons.iter().map(crate::Reason::name).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                *plan.reasons.entry(name).or_default() += 1;
            }
            on_item(item);
        });
        let totals = report.await?.totals;
        plan.items = totals.items;
        plan.to_change = totals.would_change;
        plan.in_target_state = totals.in_target_state + totals.done_before;
        plan.passed_over = totals.passed_over;
        plan.failed = totals.failed;
        Ok(plan)
    }

    async fn go(
        self,
        control: &Control,
        dry: bool,
        mut on_item: impl FnMut(ItemReport),
    ) -> Result<Report, RotationError> {
        let begun = Instant::now();
        let meter = Arc::new(Meter::default());
        let mut key_stores = KeyStores::new(&meter, self.calls_per_second);
        let target = Target::find(&self.goal, &mut key_stores).await?;
        // What is kept for other headers is wiped in time also while the job is paused.
        let mut purging = JoinSet::new();
        purging.spawn(key_stores.kept().purge_as_it_expires());
        let mut checkpoint = self.checkpoint;
        if let Some(checkpoint) = checkpoint.as_mut().filter(|_| !dry) {
            checkpoint.begin(&target.describe())?;
        }
        let worker =
            Arc::new(Worker { source: Arc::clone(&self.source), target: Arc::new(target), checkpoint, dry });
        // Dropped, it stops whatever is under way.
        let mut tasks = JoinSet::new();
        let (items, queue) = mpsc::channel(QUEUE);
        let (outcomes, mut done) = mpsc::channel(QUEUE);
        tasks.spawn(list(self.source, self.shard, control.clone(), items, outcomes.clone()));
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..self.concurrency {
            let (queue, worker) = (Arc::clone(&queue), Arc::clone(&worker));
            tasks.spawn(work_off(queue, worker, control.clone(), outcomes.clone()));
        }
        drop(outcomes);
        let mut totals = Totals::default();
        let mut stopped = pin!(control.stopped().fuse());
        loop {
            let told = tokio::select! {
                biased;
                () = &mut stopped => {
                    tasks.abort_all();
                    continue;
                }
                told = done.recv() => told,
            };
            let Some(mut report) = told else { break };
            totals.add(&report);
            report.calls = meter.total();
            on_item(report);
        }
        let mut why = None;
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended
                && error.is_panic()
            {
                why.get_or_insert(RotationError::Worker(error.to_string()));
            }
        }
        if let Some(checkpoint) = worker.checkpoint.as_ref().filter(|_| !dry) {
            why = why.or(checkpoint.flush().err());
        }
        let cancelled = control.is_cancelled();
        let finished = !cancelled && why.is_none();
        let report = Report { totals, calls: meter.calls(), took: begun.elapsed(), cancelled, finished };
        match why {
            None => Ok(report),
            Some(why) => Err(RotationError::Stopped { why: Box::new(why), report: Box::new(report) }),
        }
    }
}

/// Lists the items of the shard, until nobody takes them any more.
async fn list(
    source: Arc<dyn Source>,
    shard: Shard,
    control: Control,
    items: mpsc::Sender<Item>,
    outcomes: mpsc::Sender<ItemReport>,
) {
    let listed = async {
        let mut listing = source.list();
        while let Some(listed) = listing.next().await {
            let sent = match listed {
                Ok(item) if shard.has(&item) => items.send(item).await.is_ok(),
                Ok(_) => true,
                // What cannot be listed is of no shard, so each tells it.
                Err(error) => outcomes.send(unlisted(error)).await.is_ok(),
            };
            if !sent {
                break;
            }
        }
    };
    tokio::select! {
        () = listed => {}
        () = control.cancelled() => {}
    }
}

async fn work_off(
    queue: Arc<Mutex<mpsc::Receiver<Item>>>,
    worker: Arc<Worker>,
    control: Control,
    outcomes: mpsc::Sender<ItemReport>,
) {
    while control.may_go_on().await {
        let Some(item) = queue.lock().await.recv().await else { break };
        // Paused or cancelled while it waited for one.
        if !control.may_go_on().await {
            break;
        }
        if outcomes.send(worker.work(item).await).await.is_err() {
            break;
        }
        // Where nothing is ever waited for, whoever may cancel would not get to it.
        tokio::task::yield_now().await;
    }
}

fn unlisted(error: SourceError) -> ItemReport {
    let outcome = Outcome::Failed(ItemError::Source(error));
    ItemReport { outcome, ..ItemReport::of(Item::named(Vec::new())) }
}

/// Names and outcomes that wait, at most.
const QUEUE: usize = 256;
