//! A job: the items of a source, brought to a goal.

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::StreamExt;
use tokio::{sync::watch, task::JoinSet, time::Instant};

use crate::{
    Checkpoint, Control, Goal, Item, ItemError, ItemReport, KeyStores, Outcome, Plan, Report, RotationError,
    Shard, Source, SourceError, Totals, items::Items, outcomes, target::Target, threads, work::Worker,
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
    key_stores: Option<KeyStores>,
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
            key_stores: None,
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

    /// Most calls in a second to each key store, at least 1: each has a quota of its own. Where the key stores are
    /// [given](Self::key_stores), they know theirs.
    #[must_use]
    pub fn calls_per_second(mut self, calls: u32) -> Self {
        self.calls_per_second = Some(calls);
        self
    }

    /// The key stores below the providers of the goal, where something stands over them that may refuse or writes down. Nothing
    /// is put over those providers then.
    #[must_use]
    pub fn key_stores(mut self, key_stores: KeyStores) -> Self {
        self.key_stores = Some(key_stores);
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
        let (key_stores, goal) = match self.key_stores {
            Some(key_stores) => (key_stores, self.goal),
            None => {
                let new = KeyStores::new();
                let key_stores = self.calls_per_second.map_or(new.clone(), |rate| new.calls_per_second(rate));
                let goal = key_stores.over_goal(&self.goal);
                (key_stores, goal)
            }
        };
        // A key store may take long to answer, or never do.
        let found = tokio::select! {
            biased;
            () = control.stopped() => None,
            found = Target::find(goal, &key_stores) => Some(found?),
        };
        let Some(target) = found else {
            let (totals, calls, took) = (Totals::default(), key_stores.calls(), begun.elapsed());
            return Ok(Report { totals, calls, took, cancelled: true, finished: false });
        };
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
        let (outcomes, done) = outcomes::queue();
        // It may need a thread, which those that work would take. Each of them asks it once more when it has come to its end,
        // which a stream need not bear.
        let listing = self.source.list().fuse().boxed();
        let items = Items::of(listing, self.shard, self.source.blocks());
        let (alive, gone) = watch::channel(());
        threads::spawn(&mut tasks, self.concurrency, self.source.blocks(), || {
            let (worker, control, mut gone) = (Arc::clone(&worker), control.clone(), gone.clone());
            let (items, outcomes, work_control) = (items.clone(), outcomes.clone(), control.clone());
            let work =
                outcomes.telling(async move |outcomes| work_off(items, worker, work_control, outcomes).await);
            async move {
                // A thread cannot be stopped from outside.
                tokio::select! {
                    biased;
                    () = control.stopped() => {}
                    _ = gone.changed() => {}
                    () = work => {}
                }
            }
        });
        drop((outcomes, items, gone));
        let (mut totals, mut all_listed) = (Totals::default(), true);
        let mut tell = |mut report: ItemReport| {
            totals.add(&report);
            // What could not be listed has no name, and may be any number of items.
            all_listed &= !report.item.name().is_empty();
            report.calls = key_stores.total();
            on_item(report);
        };
        let mut stopped = pin!(control.stopped());
        let is_stopped = loop {
            tokio::select! {
                biased;
                () = &mut stopped => break true,
                told = done.receive() => match told {
                    Some(reports) => reports.into_iter().for_each(&mut tell),
                    None => break false,
                },
            }
        };
        done.take().into_iter().for_each(tell);
        drop(alive);
        let mut why = None;
        // A call to the system that hangs is not waited for.
        while !is_stopped && let Some(ended) = tasks.join_next().await {
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
        let finished = !cancelled && why.is_none() && all_listed;
        let report = Report { totals, calls: key_stores.calls(), took: begun.elapsed(), cancelled, finished };
        match why {
            None => Ok(report),
            Some(why) => Err(RotationError::Stopped { why: Box::new(why), report: Box::new(report) }),
        }
    }
}

async fn work_off(items: Items, worker: Arc<Worker>, control: Control, outcomes: &outcomes::Sender) {
    let mut turn = Turn::begin();
    while control.may_go_on().await {
        let listed = tokio::select! {
            biased;
            listed = items.next() => listed,
            () = control.cancelled() => break,
        };
        let Some(listed) = listed else { break };
        // Paused or cancelled while it waited for one.
        if !control.may_go_on().await {
            break;
        }
        let report = match listed {
            Ok(item) => worker.work(item).await,
            Err(error) => unlisted(error),
        };
        outcomes.send(report).await;
        // Where nothing is ever waited for, whoever may cancel would not get to it.
        if turn.is_over() {
            tokio::task::yield_now().await;
            turn = Turn::begin();
        }
    }
}

/// What a worker does before it lets others go before: one item, or, on a thread of its own, as many as take little time.
struct Turn {
    begun: std::time::Instant,
    items: u32,
}

impl Turn {
    const ITEMS: u32 = 16;
    const TIME: Duration = Duration::from_millis(5);

    fn begin() -> Self {
        Self { begun: std::time::Instant::now(), items: 0 }
    }

    /// Whether it is over, after one more item.
    fn is_over(&mut self) -> bool {
        self.items += 1;
        !threads::may_block() || self.items >= Self::ITEMS || self.begun.elapsed() >= Self::TIME
    }
}

fn unlisted(error: SourceError) -> ItemReport {
    let outcome = Outcome::Failed(ItemError::Source(error));
    ItemReport { outcome, ..ItemReport::of(Item::named(Vec::new())) }
}
