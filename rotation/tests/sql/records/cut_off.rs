//! A job that is killed anywhere leaves rows that open, and the next one ends it.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use envelope_rotation::{
    Control,
    records::{RecordEvent, Retirement},
};

use super::{People, run};
use crate::{database::connect, dropped_after};

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_each_batch_and_run_again_it_comes_to_its_end() {
    let Some(people) = People::new("each_batch", 200).await else { return };
    let mut runs = 0;
    loop {
        runs += 1;
        let (kill, mut killed) = tokio::sync::mpsc::unbounded_channel();
        let control = Control::new();
        let store = people.store_with("&keys-made=made");
        let job = people.job_over(store).from(vec![people.old]).going_on().batch(20).run(&control, |event| {
            if let RecordEvent::Moved { .. } = event {
                kill.send(()).unwrap();
            }
        });
        let ended = tokio::select! {
            report = job => Some(report.unwrap()),
            _ = killed.recv() => None,
        };
        let rows = people.check(200).await;
        // One new data key, whoever began it, and no header without records.
        assert!(people.headers().await <= 2, "{rows:?}");
        if let Some(report) = ended {
            assert_eq!(report.emptied, [(people.old, Retirement::Retired)]);
            assert_eq!(rows.into_values().collect::<Vec<_>>(), [200]);
            break;
        }
    }
    assert!(runs >= 8, "{runs}");
    assert_eq!(people.headers().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_at_any_await_it_leaves_rows_that_open() {
    let Some(people) = People::new("any_await", 6).await else { return };
    let mut polls = 0;
    let mut ends = 0;
    let mut old = people.old;
    // Each end begins anew, from the data key that the rows came to.
    while ends < 3 {
        let control = Control::new();
        let goal = envelope_rotation::Goal::only(people.keys.keys("b")).open_with(people.keys.keys("a"));
        let store = people.store_with("&keys-made=made");
        let job = envelope_rotation::records::RecordJob::new(store, goal, super::template());
        let job = job.from(vec![old]).going_on().batch(2);
        let ended = dropped_after(polls, job.run(&control, |_| {})).await;
        let rows = people.check(6).await;
        if let Some(report) = ended {
            let report = report.unwrap();
            assert_eq!((report.left, report.failed), (0, 0));
            assert_eq!(rows.len(), 1);
            old = *rows.first_key_value().unwrap().0;
            ends += 1;
            continue;
        }
        polls += 1;
    }
    assert!(polls > 10, "{polls}");
    assert_eq!(people.headers().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_somebody_put_there_is_taken_by_nobody_who_was_not_told_to() {
    let Some(people) = People::new("planted", 5).await else { return };
    let planted = people.keys.envelope("b").create_data_key(&super::tenant_context("acme")).await.unwrap();
    let id = envelope_layers::DataKeyId::of(planted.header());
    let insert = "INSERT INTO data_keys VALUES ($1, $2, now())";
    people.database.rows(insert, &[&id.as_bytes().as_slice(), &planted.header().to_bytes()]).await;
    let report = run(people.job_over(people.store_with("&keys-made=made")).from(vec![people.old])).await;
    assert_eq!((report.moved, report.new.contains(&id)), (5, false), "{report}");
    people.check(5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_connections_lose_and_count_no_row() {
    let Some(people) = People::new("lost", 3_000).await else { return };
    let store = people.store_with(&format!("&application_name={}", people.database.schema));
    let (done, batches, killed) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let kill = async {
        let killer = connect(&people.database.address).await;
        let mut last = 0;
        while !done.load(Ordering::SeqCst) {
            let now = batches.load(Ordering::SeqCst) / 4;
            if now > last {
                last = now;
                let terminate = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1";
                let count: i64 =
                    killer.query_one(terminate, &[&people.database.schema]).await.unwrap().get(0);
                killed.fetch_add(u64::try_from(count).unwrap(), Ordering::SeqCst);
            }
            tokio::task::yield_now().await;
        }
    };
    let work = async {
        let control = Control::new();
        let job = people.job_over(store).from(vec![people.old]).batch(50).run(&control, |event| {
            if let RecordEvent::Moved { .. } = event {
                batches.fetch_add(1, Ordering::SeqCst);
            }
        });
        let report = tokio::time::timeout(Duration::from_secs(120), job).await.unwrap().unwrap();
        done.store(true, Ordering::SeqCst);
        report
    };
    let (report, ()) = tokio::join!(work, kill);
    assert!(killed.load(Ordering::SeqCst) >= 5, "{killed:?}");
    assert_eq!((report.moved, report.left, report.failed), (3_000, 0, 0), "{report}");
    people.check(3_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_it_stops_behind_a_batch_and_says_so() {
    let Some(people) = People::new("cancelled", 200).await else { return };
    let control = Control::new();
    let job = people.job().batch(20).run(&control, |event| {
        if let RecordEvent::Moved { .. } = event {
            control.cancel();
        }
    });
    let report = job.await.unwrap();
    assert!(report.cancelled);
    assert_eq!((report.moved, report.emptied.len()), (20, 0));
    people.check(200).await;
    assert_eq!(run(people.job()).await.moved, 180);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_row_that_stays_is_looked_at_once_in_a_pass() {
    let Some(people) = People::new("once", 100).await else { return };
    // Nothing of it opens but the first row, so that all others stay where they are.
    people
        .database
        .run("UPDATE people SET email = set_byte(email, 30, get_byte(email, 30) # 1) WHERE id > 0")
        .await;
    let report = run(people.job().batch(7)).await;
    assert_eq!((report.moved, report.failed, report.left), (1, 99, 99), "{report}");
}
