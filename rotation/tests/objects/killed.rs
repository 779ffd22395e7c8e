//! A job that ends at any of its requests.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use envelope_rotation::{Control, Goal, Job};
use envelope_testkit::http_server::{Answer, HttpServer, forward};
use tokio::sync::Notify;

use crate::{Bucket, Keys, LARGE, MIB, on_each_store, plaintext, run};

on_each_store!(
    a_rewrap_that_is_killed_at_any_request_leaves_an_envelope_and_the_next_job_leaves_nothing_else,
    a_reencryption_that_is_killed_at_any_request_leaves_an_envelope_and_the_next_job_leaves_nothing_else,
    what_a_killed_job_left_for_an_envelope_that_changed_since_is_removed_and_nothing_else,
    a_job_that_is_dropped_removes_its_temporary_object,
);

async fn a_rewrap_that_is_killed_at_any_request_leaves_an_envelope_and_the_next_job_leaves_nothing_else(
    bucket: Bucket,
) {
    at_each_request(bucket, Keys::a_to_b).await;
}

async fn a_reencryption_that_is_killed_at_any_request_leaves_an_envelope_and_the_next_job_leaves_nothing_else(
    bucket: Bucket,
) {
    at_each_request(bucket, |keys| keys.a_to_b().reencrypting()).await;
}

async fn at_each_request(bucket: Bucket, goal: impl Fn(&Keys) -> Goal) {
    let keys = Keys::new();
    let expected = plaintext(LARGE - MIB / 2);
    let sealed = keys.seal(&expected, "a").await;
    for last in 1.. {
        bucket.put("x", sealed.clone()).await;
        let is_over = killed_after(last, &bucket, "", goal(&keys)).await;
        let there = keys.open(&bucket.get("x").await).await;
        assert!(there.is_some_and(|(_, plaintext)| plaintext == expected), "after {last} requests");
        // What was done needs nothing but tidying; what was not is done again.
        run(bucket.objects(&[""]).removing_left_objects(), keys.a_to_b()).await;
        assert!(
            keys.open(&bucket.get("x").await).await == Some(('b', expected.clone())),
            "after {last} requests"
        );
        assert_eq!(bucket.keys().await, ["x"], "after {last} requests");
        if is_over {
            assert!(last > 8, "it takes more requests than {last}");
            break;
        }
    }
}

/// Runs a job over what is below `key` whose requests reach the server up to the one of this number, of which no answer comes
/// back. Returns whether it needs no more.
async fn killed_after(last: usize, bucket: &Bucket, key: &str, goal: Goal) -> bool {
    let (count, killed) = (AtomicUsize::new(0), Arc::new(Notify::new()));
    let (address, now) = (bucket.address.clone(), Arc::clone(&killed));
    let server = HttpServer::answering(move |request| {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        // Of what is dropped, nothing that would clean up reaches the server either.
        if number > last {
            return Answer::hang_up();
        }
        let answer = forward(&address, request);
        if number == last {
            now.notify_one();
            return Answer::never();
        }
        answer
    });
    let source = bucket.objects_at(&server.url(), &[key]).removing_left_objects();
    let control = Control::new();
    tokio::select! {
        report = Job::new(Arc::new(source), goal).run(&control, |_| {}) => {
            report.unwrap();
            true
        }
        () = killed.notified() => false,
    }
}

async fn what_a_killed_job_left_for_an_envelope_that_changed_since_is_removed_and_nothing_else(
    bucket: Bucket,
) {
    let keys = Keys::new();
    bucket.put("x/1", keys.seal(b"1", "a").await).await;
    let hash = "0f5e4e1c2ad0f7b5a3a1b0a5b0ffd5ab";
    // Of no object, of no form of ours, and somebody's notes.
    let others = [
        format!("x/.envelope-rotation/{hash}-{hash}-{hash}"),
        "x/.envelope-rotation/notes.txt".to_owned(),
        format!("x/other/{hash}-{hash}-{hash}"),
    ];
    for other in &others {
        bucket.put(other, b"theirs".to_vec()).await;
    }
    // One that is cut off before its temporary object goes.
    bucket.put("x/large", keys.seal(&plaintext(LARGE), "a").await).await;
    let left = temporary_left(&bucket, &keys).await;
    assert_eq!(left, 1);
    // Somebody else does it meanwhile, and cleans nothing.
    run(bucket.objects(&["x"]), keys.a_to_b()).await;
    let report = run(bucket.objects(&["x"]).removing_left_objects(), keys.a_to_b()).await;
    assert_eq!(report.totals.in_target_state, 2);
    let mut expected = vec!["x/1".to_owned(), "x/large".to_owned()];
    expected.extend(others);
    expected.sort();
    assert_eq!(bucket.keys().await, expected);
}

/// Kills a reencryption of `x/large` when its temporary object is there.
async fn temporary_left(bucket: &Bucket, keys: &Keys) -> usize {
    let before = bucket.keys().await.len();
    for last in 1.. {
        let goal = Goal::only(keys.keys("c")).open_with(keys.keys("a")).reencrypting();
        let is_over = killed_after(last, bucket, "x/large", goal).await;
        let left = bucket.keys().await.len() - before;
        if left > 0 {
            return left;
        }
        assert!(!is_over, "it was there at no moment");
    }
    0
}

async fn a_job_that_is_dropped_removes_its_temporary_object(bucket: Bucket) {
    let keys = Keys::new();
    bucket.put("x", keys.seal(&plaintext(LARGE), "a").await).await;
    let (address, stopped) = (bucket.address.clone(), Arc::new(Notify::new()));
    let deleted = Arc::new(Notify::new());
    let (stop, is_deleted) = (Arc::clone(&stopped), Arc::clone(&deleted));
    let server = HttpServer::answering(move |request| {
        let is_read_back = request.method == "GET"
            && request.decoded_path().is_some_and(|path| path.contains("/.envelope-rotation/"));
        if is_read_back {
            stop.notify_one();
            return Answer::never();
        }
        let answer = forward(&address, request);
        // Azure and S3 remove several at once, by a POST.
        let is_removal = request.method == "DELETE"
            || request.text().contains("DELETE")
            || request.target.contains("?delete");
        if is_removal {
            is_deleted.notify_one();
        }
        answer
    });
    let source = bucket.objects_at(&server.url(), &["x"]);
    let control = Control::new();
    tokio::select! {
        report = Job::new(Arc::new(source), keys.a_to_b().reencrypting()).run(&control, |_| {}) => {
            panic!("it ended: {report:?}")
        }
        () = stopped.notified() => {}
    }
    tokio::time::timeout(Duration::from_secs(60), deleted.notified()).await.unwrap();
    assert_eq!(bucket.keys().await, ["x"]);
    assert_eq!(keys.open(&bucket.get("x").await).await.unwrap().0, 'a');
}
