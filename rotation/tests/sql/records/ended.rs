//! What a job would do, and what it says when it is ended before its end.

use std::sync::atomic::{AtomicU64, Ordering};

use envelope_rotation::{
    Control, SqlError,
    records::{RecordEvent, RecordsError},
};

use super::{People, TABLE, run, try_run};
use crate::database::environment;

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_counts_rows_and_calls_by_data_key_and_writes_and_opens_nothing() {
    let Some(people) = People::new("plan", 30).await else { return };
    let other = people.add("initech", 30..75).await;
    let (wraps, unwraps) = (people.keys.0.wraps(), people.keys.0.unwraps());
    let job = || people.job_over(people.store()).from(vec![people.old, other, [7; 16].into()]);
    let plan = job().plan(&Control::new()).await.unwrap();
    assert_eq!((plan.rows, plan.new, plan.cancelled), (75, 2, false), "{plan}");
    let of = |id| plan.data_keys.iter().find(|of| of.id == id).unwrap();
    assert_eq!((of(people.old).rows, of(other).rows), (30, 45));
    assert_eq!(of(other).opens.as_ref(), Some(&crate::uri('a')));
    let gone = of([7; 16].into());
    assert_eq!((gone.rows, gone.has_header, gone.opens.as_ref()), (0, false, None));
    // Each old one is opened; each new one is wrapped and opened.
    assert_eq!(plan.calls["memory"], 2 + 2 * 2);
    assert!(plan.to_string().contains(&format!("{other}: 45 rows")), "{plan}");
    assert_eq!((people.keys.0.wraps(), people.keys.0.unwraps()), (wraps, unwraps), "no key was used");
    assert_eq!(people.check(75).await.len(), 2);
    assert_eq!(people.headers().await, 2);
    // It is what the job takes then.
    let report = run(job()).await;
    assert_eq!((report.moved, report.new.len() as u64), (plan.rows, plan.new));
    assert!(report.finished && !report.cancelled);
    assert_eq!(report.calls["memory"], plan.calls["memory"]);
    // A key that the job does not have.
    let unknown = envelope_rotation::Goal::only(people.keys.keys("c"));
    let unknown = envelope_rotation::records::RecordJob::new(people.store(), unknown, super::template());
    let plan = unknown.from(report.new).plan(&Control::new()).await.unwrap();
    assert!(plan.to_string().contains("no key of the job opens it"), "{plan}");
    assert!(plan.calls.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_cancelled_ends_after_the_batch_and_says_what_it_did() {
    let Some(people) = People::new("cancelled", 100).await else { return };
    let control = Control::new();
    let job = people.job().batch(20).run(&control, |event| {
        if let RecordEvent::Moved { .. } = event {
            control.cancel();
        }
    });
    let report = job.await.unwrap();
    assert_eq!((report.moved, report.cancelled, report.finished), (20, true, false), "{report}");
    let rows = people.check(100).await;
    assert_eq!((rows[&people.old], rows[&report.new[0]]), (80, 20));
    assert!(report.to_string().starts_with("cancelled after 20 rows"), "{report}");
    // The next one is given the new data key.
    let report = run(people.job().to(report.new[0])).await;
    assert_eq!((report.moved, report.finished), (80, true));
    // Before anything was begun.
    let report = people.job().run(&control, |_| {}).await.unwrap();
    assert_eq!((report.moved, report.new.len(), report.cancelled), (0, 0, true));
    assert!(people.job().plan(&control).await.unwrap().cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_stopped_does_not_wait_for_the_database() {
    let Some(people) = People::new("stopped", 40).await else { return };
    // The second batch takes longer than anybody waits.
    people
        .database
        .run(
            "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS \
                 'BEGIN PERFORM pg_sleep(600); RETURN new; END'; \
             CREATE TRIGGER wait BEFORE UPDATE ON people FOR EACH ROW WHEN (old.id = 20) EXECUTE FUNCTION wait()",
        )
        .await;
    let control = Control::new();
    let store = people.store_with("&statement_timeout=900");
    let job = people.job_over(store).from(vec![people.old]).batch(20).run(&control, |event| {
        if let RecordEvent::Moved { .. } = event {
            control.stop();
        }
    });
    let report = job.await.unwrap();
    assert_eq!((report.moved, report.cancelled, report.finished), (20, true, false), "{report}");
    assert_eq!(people.check(40).await[&people.old], 20);
    people.database.run("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE relation = 'people'::regclass AND pid <> pg_backend_pid()").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_the_middle_has_the_report_of_what_was_done() {
    let Some(people) = People::new("middle", 60).await else { return };
    people
        .database
        .run(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
                 'BEGIN RAISE EXCEPTION ''no more''; END'; \
             CREATE TRIGGER refuse BEFORE UPDATE ON people FOR EACH ROW WHEN (old.id = 45) EXECUTE FUNCTION refuse()",
        )
        .await;
    let error = try_run(people.job().batch(20)).await.unwrap_err();
    let report = error.report().unwrap();
    assert_eq!((report.moved, report.finished, report.cancelled), (40, false, false), "{report}");
    assert_eq!(people.check(60).await[&report.new[0]], 40);
    assert!(report.to_string().starts_with("not finished, after 40 rows"), "{report}");
    let RecordsError::Stopped { why, .. } = error else { panic!("{error}") };
    let RecordsError::Store(why) = *why else { panic!("{why}") };
    assert!(matches!(why.downcast_ref(), Some(SqlError::Server { code, .. }) if code == "P0001"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_takes_as_long_as_the_url_says() {
    let Some(people) = People::new("slow", 10).await else { return };
    people
        .database
        .run(
            "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS \
                 'BEGIN PERFORM pg_sleep(600); RETURN new; END'; \
             CREATE TRIGGER wait BEFORE UPDATE ON people FOR EACH STATEMENT EXECUTE FUNCTION wait()",
        )
        .await;
    let store = people.store_with("&statement_timeout=1");
    let error = try_run(people.job_over(store).from(vec![people.old])).await.unwrap_err();
    let RecordsError::Stopped { why, .. } = error else { panic!("{error}") };
    let RecordsError::Store(why) = *why else { panic!("{why}") };
    assert!(matches!(why.downcast_ref(), Some(SqlError::TimedOut { seconds: 1 })), "{why}");
    assert!(why.to_string().contains("statement_timeout="), "{why}");
    assert_eq!(people.check(10).await[&people.old], 10);
    for wrong in ["0", "-1", "2000001", "60s", ""] {
        let url = people.database.url(&format!("{TABLE}&statement_timeout={wrong}"));
        let error = envelope_rotation::SqlRecords::from_url_and(&url, &environment).unwrap_err();
        assert!(matches!(&error, SqlError::Url(what) if what.contains("statement_timeout")), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_to_key_stores_are_told_as_they_are_made() {
    let Some(people) = People::new("calls", 40).await else { return };
    let last = AtomicU64::new(0);
    let control = Control::new();
    let job = people.job().batch(10).run(&control, |event| {
        if let RecordEvent::Moved { calls, .. } = event {
            last.store(calls, Ordering::SeqCst);
        }
    });
    let report = job.await.unwrap();
    assert_eq!(report.calls["memory"], last.load(Ordering::SeqCst));
    assert_eq!(report.calls["memory"], 3, "the old one opened, the new one wrapped and opened");
}
