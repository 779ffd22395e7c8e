//! Others read, write and move meanwhile.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use envelope_rotation::records::{RecordsError, Retirement};
use envelope_sdk::DataKey;

use super::{People, row_context, run, seal, tenant_context, try_run};
use crate::database::connect;

#[tokio::test(flavor = "multi_thread")]
async fn two_jobs_at_once_move_each_row_once() {
    let Some(people) = People::new("two", 2_000).await else { return };
    let job = || run(people.job().batch(50));
    let (one, other) = tokio::join!(job(), job());
    assert_eq!(one.moved + other.moved, 2_000, "{one} {other}");
    assert_eq!((one.left, other.left, one.failed, other.failed), (0, 0, 0, 0));
    let rows = people.check(2_000).await;
    assert!(!rows.contains_key(&people.old));
    let count = "SELECT count(*) FROM data_keys WHERE id = decode($1, 'hex')";
    let old: i64 = people.database.rows(count, &[&people.old.to_string()]).await[0].get(0);
    assert_eq!(old, 0, "it is retired, by one of them");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_opens_every_row_at_every_moment() {
    let Some(people) = People::new("reader", 1_000).await else { return };
    let done = AtomicBool::new(false);
    let read = async {
        let mut reads = 0;
        while !done.load(Ordering::SeqCst) {
            people.check(1_000).await;
            reads += 1;
        }
        reads
    };
    let work = async {
        let report = run(people.job().batch(10)).await;
        done.store(true, Ordering::SeqCst);
        report
    };
    let (report, reads) = tokio::join!(work, read);
    assert_eq!(report.moved, 1_000);
    assert!(reads > 2, "{reads}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_write_meanwhile_is_kept() {
    let Some(people) = People::new("writer", 300).await else { return };
    let header: Vec<u8> = people.database.rows("SELECT header FROM data_keys", &[]).await[0].get(0);
    let old = people.keys.envelope("a").open_data_key(&header, &tenant_context("acme")).await.unwrap();
    let table = format!("{}.people", people.database.schema);
    let writer = connect(&people.database.address).await;
    let write = async |rounds: std::ops::Range<i32>| {
        let (mut written, mut refused) = (0, 0);
        for round in rounds {
            for id in (0..300).step_by(7) {
                // A service that does not know of the job: it writes under the old data key.
                let record = seal(&old, id, "email", &format!("round {round} of {id}"));
                let phone = (id % 3 != 0).then(|| seal(&old, id, "phone", &super::text(id, "phone")));
                let update =
                    format!("UPDATE {table} SET email = $2, phone = $3, data_key = $4 WHERE id = $1");
                let old_id = people.old;
                let done =
                    writer.execute(&update, &[&id, &record, &phone, &old_id.as_bytes().as_slice()]).await;
                match done {
                    Ok(_) => written += 1,
                    // It is retired: the foreign key refuses the record that nobody could open.
                    Err(error) => {
                        assert_eq!(error.code().unwrap().code(), "23503", "{error}");
                        refused += 1;
                    }
                }
            }
        }
        (written, refused)
    };
    assert_eq!(write(0..1).await, (43, 0));
    let (report, (written, refused)) = tokio::join!(run(people.job().batch(7)), write(1..5));
    assert_eq!(written + refused, 4 * 43);
    assert_eq!(report.failed, 0, "{report}");
    // A writer whose transaction is not over yet may hold the key at the very moment.
    let ends = [Retirement::Retired, Retirement::InUseElsewhere];
    assert!(report.emptied.iter().all(|(id, end)| *id == people.old && ends.contains(end)), "{report}");
    run(people.job()).await;
    let rows = "SELECT p.id, p.email, k.header FROM people p JOIN data_keys k ON k.id = p.data_key";
    let rows = people.database.rows(rows, &[]).await;
    assert_eq!(rows.len(), 300);
    let mut changed = 0;
    for row in rows {
        let (id, header): (i32, Vec<u8>) = (row.get(0), row.get(2));
        let data_key: DataKey =
            people.keys.envelope("b").open_data_key(&header, &tenant_context("acme")).await.unwrap();
        let opened = data_key.open(row.get(1), &row_context(id, "email")).unwrap();
        let opened = String::from_utf8(opened).unwrap();
        let is_changed = opened.starts_with("round ");
        assert!(is_changed || opened == super::text(id, "email"), "{opened}");
        assert!(!is_changed || opened.ends_with(&format!(" of {id}")), "{opened}");
        changed += usize::from(is_changed);
    }
    assert!(changed > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_key_that_something_refers_to_is_not_retired() {
    let Some(people) = People::new("referred", 10).await else { return };
    people
        .database
        .run(
            "CREATE TABLE others (id int PRIMARY KEY, data_key bytea REFERENCES data_keys (id)); \
             INSERT INTO others SELECT 1, id FROM data_keys",
        )
        .await;
    let report = run(people.job()).await;
    assert_eq!(report.emptied, [(people.old, Retirement::InUseElsewhere)]);
    assert_eq!(people.headers().await, 2);
    people.database.run("DELETE FROM others").await;
    let report = run(people.job()).await;
    assert_eq!((report.moved, report.emptied.len()), (0, 1), "{report}");
    assert_eq!(people.headers().await, 1);
    people.check(10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_others_add_without_a_pause_do_not_keep_a_job_from_its_end() {
    let Some(people) = People::new("endless", 10).await else { return };
    // With each batch that is moved another row is behind all others, which has no record yet.
    let old = people.old;
    people
        .database
        .run(&format!(
            "CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS \
                 'BEGIN INSERT INTO people (id, data_key) SELECT max(id) + 1, decode(''{old}'', ''hex'') FROM people; \
                 RETURN NULL; END'; \
             CREATE TRIGGER more AFTER UPDATE ON people FOR EACH STATEMENT EXECUTE FUNCTION more()"
        ))
        .await;
    let report = tokio::time::timeout(Duration::from_secs(60), run(people.job())).await.unwrap();
    // It passes over the table twenty times.
    assert_eq!((report.moved, report.left, report.finished), (10 + 19, 1, true), "{report}");
}

/// Ends a data key in the statement that moves a row, so before the batch that comes next.
const ENDS_OLD: &str = "CREATE FUNCTION finish() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS \
        'BEGIN UPDATE data_keys SET header = '''' WHERE id = old.data_key; RETURN NULL; END'; \
    CREATE TRIGGER finish AFTER UPDATE ON people FOR EACH ROW WHEN (old.id = 5) EXECUTE FUNCTION finish()";

#[tokio::test(flavor = "multi_thread")]
async fn no_row_moves_from_under_a_data_key_once_it_is_destroyed_though_the_job_has_it_open() {
    let Some(people) = People::new("ended_meanwhile", 100).await else { return };
    people.database.run(ENDS_OLD).await;
    let error = try_run(people.job().batch(10)).await.unwrap_err();
    let report = error.report().unwrap();
    assert_eq!((report.moved, report.finished), (10, false), "{report}");
    let RecordsError::Stopped { why, .. } = &error else { panic!("{error}") };
    assert!(matches!(**why, RecordsError::Destroyed { id } if id == people.old), "{why}");
    let left = "SELECT count(*) FROM people JOIN data_keys k ON k.id = data_key WHERE k.header = ''";
    assert_eq!(people.database.count(left).await, 90);
    // Named, it is an error before anything is written.
    let error = try_run(people.job()).await.unwrap_err();
    assert!(matches!(error, RecordsError::Destroyed { id } if id == people.old), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_key_that_is_destroyed_meanwhile_keeps_the_rows_of_no_other_where_they_are() {
    let Some(people) = People::new("ended_one", 30).await else { return };
    people.add("acme", 30..60).await;
    let new = people.add("acme", 60..61).await;
    people.database.run(ENDS_OLD).await;
    let report = run(people.job_over(people.store()).to(new).batch(10)).await;
    assert_eq!((report.moved, report.failed, report.finished), (10 + 30, 0, true), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_row_moves_to_a_data_key_that_is_destroyed_or_gone() {
    let Some(people) = People::new("no_place", 30).await else { return };
    people.database.run("ALTER TABLE people DROP CONSTRAINT people_data_key_fkey").await;
    for (name, end) in
        [("emptied", "UPDATE data_keys SET header = ''''"), ("removed", "DELETE FROM data_keys")]
    {
        people
            .database
            .run(&format!(
                "CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS \
                     'BEGIN {end} WHERE id = new.data_key; RETURN NULL; END'; \
                 CREATE TRIGGER finish AFTER UPDATE ON people FOR EACH ROW WHEN (old.id % 10 = 5) \
                     EXECUTE FUNCTION {name}()"
            ))
            .await;
        let error = try_run(people.job().batch(10)).await.unwrap_err();
        let RecordsError::Stopped { why, report } = &error else { panic!("{error}") };
        assert_eq!(report.moved, 10, "{report}");
        match (name, &**why) {
            ("emptied", RecordsError::Destroyed { id }) => assert_eq!(*id, report.new[0]),
            ("removed", RecordsError::NoHeader { id, records: 10 }) => assert_eq!(*id, report.new[0]),
            _ => panic!("{name}: {why}"),
        }
        people.database.run("DROP TRIGGER finish ON people").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_a_transaction_holds_for_long_does_not_end_the_job() {
    let Some(people) = People::new("held", 30).await else { return };
    let other = connect(&people.database.address).await;
    let schema = &people.database.schema;
    let hold = format!("BEGIN; SELECT id FROM {schema}.people WHERE id = 5 FOR UPDATE");
    other.batch_execute(&hold).await.unwrap();
    let released = async {
        // A statement waits 5 seconds for a lock.
        tokio::time::sleep(Duration::from_secs(7)).await;
        other.batch_execute("COMMIT").await.unwrap();
    };
    let (report, ()) = tokio::join!(run(people.job().batch(10)), released);
    assert_eq!((report.moved, report.failed, report.left), (30, 0, 0), "{report}");
    assert!(report.conflicts >= 10, "{report}");
    people.check(30).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_foreign_key_that_guards_it_a_header_stays() {
    let Some(people) = People::new("unguarded", 10).await else { return };
    people.database.run("ALTER TABLE people DROP CONSTRAINT people_data_key_fkey").await;
    let report = run(people.job()).await;
    assert_eq!(report.emptied, [(people.old, Retirement::Unguarded)]);
    // One that deletes rows is no guard.
    people
        .database
        .run(
            "ALTER TABLE people ADD FOREIGN KEY (data_key) REFERENCES data_keys; \
             CREATE TABLE others (data_key bytea REFERENCES data_keys ON DELETE CASCADE)",
        )
        .await;
    assert_eq!(run(people.job()).await.emptied, [(people.old, Retirement::Unguarded)]);
    people.database.run("DROP TABLE others").await;
    assert_eq!(run(people.job().keeping_old_data_keys()).await.emptied, [(people.old, Retirement::Kept)]);
    assert_eq!(people.headers().await, 2);
    assert_eq!(run(people.job()).await.emptied, [(people.old, Retirement::Retired)]);
    people.check(10).await;
}
