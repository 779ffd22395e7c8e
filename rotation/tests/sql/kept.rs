//! What holds whoever else writes, and wherever a job is cut off.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use envelope_rotation::{
    Control, Goal, Item, Job, Listing, Outcome, Reencryption, Source, SourceError, Sql, Stored,
};
use envelope_sdk::Header;
use futures_util::StreamExt;

use crate::{Database, Keys, database::connect, dropped_after, run};

const COLUMN: &str = "table=t&key=id&column=envelope";

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_changed_since_it_was_read_is_a_conflict_and_is_kept() {
    let Some(database) = Database::new("conflict").await else { return };
    let keys = Keys::new();
    database.envelopes(&keys, "id int PRIMARY KEY", "i", 1).await;
    let source = database.source(COLUMN);
    let item = source.list().next().await.unwrap().unwrap();
    let stored = source.read(&item).await.unwrap();
    let changed = keys.seal("a", "0").await;
    database.rows("UPDATE t SET envelope = $1", &[&changed]).await;
    let error = source.commit(&item, &stored, &stored.header).await.unwrap_err();
    assert!(matches!(error, SourceError::Conflict), "{error}");
    let there: Vec<u8> = database.rows("SELECT envelope FROM t", &[]).await[0].get(0);
    assert_eq!(there, changed);
    database.run("DELETE FROM t").await;
    assert!(matches!(source.commit(&item, &stored, &stored.header).await, Err(SourceError::Conflict)));
    assert!(matches!(source.read(&item).await, Err(SourceError::Gone)));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_others_add_without_a_pause_do_not_keep_a_job_from_its_end() {
    let Some(database) = Database::new("endless").await else { return };
    let keys = Keys::new();
    database.envelopes(&keys, "id int PRIMARY KEY", "i", 5).await;
    // For each row that is done another one is behind all others.
    database
        .run(
            "CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS \
                 'BEGIN INSERT INTO t SELECT max(id) + 1, old.envelope FROM t; RETURN NULL; END'; \
             CREATE TRIGGER more AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION more()",
        )
        .await;
    // One after the other: two would make the same id.
    let job = Job::new(Arc::new(database.source(COLUMN)), keys.a_to_b()).concurrency(1);
    let (report, failed) = tokio::time::timeout(Duration::from_secs(60), run(job)).await.unwrap();
    assert_eq!((report.totals.rewrapped, report.finished), (5, true), "{failed:?}");
    assert_eq!(database.count("SELECT count(*) FROM t").await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_rows_may_take_longer_than_other_statements() {
    let Some(database) = Database::new("slow_page").await else { return };
    let keys = Keys::new();
    database.envelopes(&keys, "id int PRIMARY KEY", "i", 3).await;
    let source = database.source(&format!("{COLUMN}&statement_timeout=1"));
    source.check().await.unwrap();
    // It waits for longer than that, and not as long as for a lock at most.
    let other = connect(&database.address).await;
    let hold = format!("BEGIN; LOCK TABLE {}.t IN ACCESS EXCLUSIVE MODE", database.schema);
    other.batch_execute(&hold).await.unwrap();
    let released = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        other.batch_execute("COMMIT").await.unwrap();
    };
    let (listed, ()) = tokio::join!(source.list().collect::<Vec<_>>(), released);
    assert_eq!(listed.iter().filter(|item| item.is_ok()).count(), 3, "{listed:?}");
}

/// Rows change between reading and writing, once each.
struct Racing {
    source: Sql,
    keys: Keys,
    client: tokio_postgres::Client,
    table: String,
    raced: std::sync::Mutex<std::collections::HashSet<Item>>,
}

impl Racing {
    async fn race(&self, item: &Item) {
        if self.raced.lock().unwrap().insert(item.clone()) {
            let cell = self.keys.seal("a", &item.to_string()).await;
            let statement = format!("UPDATE {} SET envelope = $1 WHERE id = $2::text::int", self.table);
            self.client.execute(&statement, &[&cell, &item.to_string()]).await.unwrap();
        }
    }
}

#[async_trait]
impl Source for Racing {
    fn list(&self) -> Listing {
        self.source.list()
    }

    async fn read(&self, item: &Item) -> Result<Stored, SourceError> {
        self.source.read(item).await
    }

    async fn commit(&self, item: &Item, old: &Stored, new: &Header) -> Result<u64, SourceError> {
        self.race(item).await;
        self.source.commit(item, old, new).await
    }

    async fn reencrypt(&self, item: &Item, old: &Stored, keys: Reencryption) -> Result<u64, SourceError> {
        self.race(item).await;
        self.source.reencrypt(item, old, keys).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_change_meanwhile_are_done_again() {
    for reencrypts in [false, true] {
        let Some(database) = Database::new(&format!("racing_{reencrypts}")).await else { return };
        let keys = Keys::new();
        database.envelopes(&keys, "id int PRIMARY KEY", "i", 50).await;
        let source = Racing {
            source: database.source(COLUMN),
            keys: keys.clone(),
            client: connect(&database.address).await,
            table: format!("{}.t", database.schema),
            raced: std::sync::Mutex::default(),
        };
        let goal = keys.a_to_b();
        let goal = if reencrypts { goal.reencrypting() } else { goal };
        let (report, failed) = run(Job::new(Arc::new(source), goal)).await;
        assert!(failed.is_empty(), "{failed:?}");
        assert_eq!(report.totals.conflicts, 50);
        assert_eq!(report.totals.rewrapped + report.totals.reencrypted, 50);
        database.check(&keys, 50, "b").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_jobs_at_once_do_each_row_once() {
    let Some(database) = Database::new("two_jobs").await else { return };
    let keys = Keys::new();
    database.envelopes(&keys, "id int PRIMARY KEY", "i", 2_000).await;
    let job = || run(Job::new(Arc::new(database.source(COLUMN)), keys.a_to_b()));
    let ((one, failed), (other, also)) = tokio::join!(job(), job());
    assert!(failed.is_empty() && also.is_empty(), "{failed:?} {also:?}");
    assert_eq!(one.totals.rewrapped + other.totals.rewrapped, 2_000);
    database.check(&keys, 2_000, "b").await;
    assert_eq!(generations(&database).await, [1; 2_000], "no row was written twice");
}

async fn generations(database: &Database) -> Vec<u32> {
    let rows = database.rows("SELECT envelope FROM t", &[]).await;
    rows.iter().map(|row| Header::parse(row.get(0)).unwrap().0.generation()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_connections_are_replaced_and_nothing_is_done_twice() {
    let Some(database) = Database::new("terminated").await else { return };
    let keys = Keys::new();
    database.envelopes(&keys, "id int PRIMARY KEY", "i", 2_000).await;
    let source = Arc::new(database.source(&format!("{COLUMN}&application_name={}", database.schema)));
    let (done, killed) = (AtomicBool::new(false), AtomicU64::new(0));
    let items = AtomicU64::new(0);
    let kill = async {
        let killer = connect(&database.address).await;
        let mut last = 0;
        while !done.load(Ordering::SeqCst) {
            // Once for each hundred rows that were done.
            let now = items.load(Ordering::SeqCst) / 100;
            if now > last {
                last = now;
                let terminate = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1";
                let count: i64 = killer.query_one(terminate, &[&database.schema]).await.unwrap().get(0);
                killed.fetch_add(u64::try_from(count).unwrap(), Ordering::SeqCst);
            }
            tokio::task::yield_now().await;
        }
    };
    let work = async {
        let mut failed = Vec::new();
        let control = Control::new();
        let job = Job::new(source, keys.a_to_b()).run(&control, |item| {
            items.fetch_add(1, Ordering::SeqCst);
            if let Outcome::Failed(error) = item.outcome {
                failed.push(error.to_string());
            }
        });
        let report = job.await.unwrap();
        done.store(true, Ordering::SeqCst);
        (report, failed)
    };
    let ((report, failed), ()) = tokio::join!(work, kill);
    assert!(failed.is_empty(), "{failed:?}");
    assert!(killed.load(Ordering::SeqCst) >= 10, "{killed:?}");
    assert_eq!(report.totals.rewrapped, 2_000);
    database.check(&keys, 2_000, "b").await;
    assert_eq!(generations(&database).await, [1; 2_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_dropped_at_any_await_leaves_rows_that_open_and_the_next_one_ends_it() {
    for reencrypts in [false, true] {
        let Some(database) = Database::new(&format!("dropped_{reencrypts}")).await else { return };
        let keys = Keys::new();
        database.envelopes(&keys, "id int PRIMARY KEY", "i", 3).await;
        let to = |letter: &str| {
            let goal = Goal::only(keys.keys(letter)).open_with(keys.keys("ab"));
            if reencrypts { goal.reencrypting() } else { goal }
        };
        let mut polls = 0;
        let mut letter = "b";
        loop {
            // A source and its connections die with the job.
            let source = database.source(COLUMN);
            let job = async {
                let items: Vec<_> = source.list().map(Result::unwrap).collect().await;
                let source = Arc::new(source);
                for item in items {
                    let stored = source.read(&item).await.unwrap();
                    let listed = Arc::new(One { source: source.clone(), item });
                    // What the job does with one item, on this task.
                    drop(stored);
                    run(Job::new(listed, to(letter)).concurrency(1)).await;
                }
            };
            let ended = dropped_after(polls, job).await;
            for row in database.rows("SELECT envelope, number FROM t", &[]).await {
                let (cell, number): (Vec<u8>, i32) = (row.get(0), row.get(1));
                let opens = keys.opens("ab", &cell, &number.to_string()).await;
                assert!(opens, "row {number} after {polls} polls");
            }
            if ended.is_some() {
                database.check(&keys, 3, letter).await;
                break;
            }
            polls += 1;
            letter = if letter == "b" { "a" } else { "b" };
        }
        assert!(polls > 4, "{polls}");
    }
}

/// One item of a source.
struct One {
    source: Arc<Sql>,
    item: Item,
}

#[async_trait]
impl Source for One {
    fn list(&self) -> Listing {
        Box::pin(futures_util::stream::iter([Ok(self.item.clone())]))
    }

    async fn read(&self, item: &Item) -> Result<Stored, SourceError> {
        self.source.read(item).await
    }

    async fn commit(&self, item: &Item, old: &Stored, new: &Header) -> Result<u64, SourceError> {
        self.source.commit(item, old, new).await
    }

    async fn reencrypt(&self, item: &Item, old: &Stored, keys: Reencryption) -> Result<u64, SourceError> {
        self.source.reencrypt(item, old, keys).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_dropped_at_any_await_is_done_or_not() {
    let Some(database) = Database::new("dropped_write").await else { return };
    let keys = Keys::new();
    database.envelopes(&keys, "id int PRIMARY KEY", "i", 1).await;
    for polls in 0.. {
        let source = database.source(COLUMN);
        let item = Item::found("0");
        let old = source.read(&item).await.unwrap();
        let new = keys.envelope("a").rewrap_header(old.header.clone(), &Default::default()).await.unwrap();
        let ended = dropped_after(polls, source.commit(&item, &old, &new)).await;
        // Whoever comes after it waits for it.
        let there = source.read(&item).await.unwrap().header;
        assert!(there == old.header || there == new, "after {polls} polls");
        database.check(&keys, 1, "a").await;
        if let Some(written) = ended {
            written.unwrap();
            assert_eq!(there, new);
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_a_transaction_holds_is_busy_and_never_waited_for_for_ever() {
    let Some(mut database) = Database::new("held").await else { return };
    let keys = Keys::new();
    database.envelopes(&keys, "id int PRIMARY KEY", "i", 1).await;
    let source = database.source(COLUMN);
    let item = Item::found("0");
    let stored = source.read(&item).await.unwrap();
    let holding = database.client.transaction().await.unwrap();
    holding.execute("UPDATE t SET number = number", &[]).await.unwrap();
    let error = source.commit(&item, &stored, &stored.header).await.unwrap_err();
    assert!(matches!(error, SourceError::Busy), "{error}");
    holding.rollback().await.unwrap();
    source.commit(&item, &stored, &stored.header).await.unwrap();
}
