//! Running, again, two at once, paused, cancelled, limited, in shards.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use envelope_rotation::{
    Control, Goal, Item, ItemError, Job, Key, Listing, Memory, Outcome, Reencryption, RotationError, Shard,
    Source, SourceError, Stored,
};
use envelope_sdk::{
    Dek, EncryptionContext, FullContext, Header, KeyProvider, KeyUri, ProviderError, WrappedDek,
};
use envelope_testkit::MemoryProvider;
use tokio::{sync::Barrier, time::Instant};

use crate::{Keys, a_to_b, generations, name, run, uri};

/// Its listing panics when it is polled after its end, as a stream may.
struct ListsOnce(Arc<Memory>);

#[async_trait]
impl Source for ListsOnce {
    fn list(&self) -> Listing {
        Box::pin(futures_util::stream::unfold(self.0.list(), |mut items| async move {
            let item = futures_util::StreamExt::next(&mut items).await?;
            Some((item, items))
        }))
    }
    async fn read(&self, item: &Item) -> Result<Stored, SourceError> {
        self.0.read(item).await
    }
    async fn commit(&self, item: &Item, old: &Stored, new: &Header) -> Result<u64, SourceError> {
        self.0.commit(item, old, new).await
    }
    async fn reencrypt(&self, item: &Item, old: &Stored, keys: Reencryption) -> Result<u64, SourceError> {
        self.0.reencrypt(item, old, keys).await
    }
}

#[tokio::test]
async fn a_listing_is_not_asked_again_when_it_came_to_its_end() {
    let keys = Keys::new();
    let source = ListsOnce(keys.source(3, "a").await);
    let report = run(Job::new(Arc::new(source), a_to_b(&keys)).concurrency(16)).await;
    assert_eq!((report.totals.rewrapped, report.finished), (3, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_envelope_is_rewrapped_once_and_a_second_job_asks_no_key_store_for_items() {
    let keys = Keys::new();
    let source = keys.source(300, "a").await;
    let mut told = Vec::new();
    let job = Job::new(source.clone(), a_to_b(&keys));
    let before = keys.0.calls();
    let report = job.run(&Control::new(), |item| told.push(name(&item.item))).await.unwrap();
    assert_eq!((report.totals.items, report.totals.rewrapped), (300, 300));
    assert_eq!(
        report.totals.bytes,
        (0..300).map(|n: i32| source.envelope(n.to_string()).unwrap().len() as u64).sum::<u64>()
    );
    // Unwrap, wrap, unwrap the new wrap; and once to learn the version.
    assert_eq!(report.calls["memory"], 3 * 300 + 1);
    assert_eq!((keys.0.calls() - before) as u64, report.calls["memory"]);
    told.sort();
    let mut names: Vec<_> = (0..300).map(|number| number.to_string()).collect();
    names.sort();
    assert_eq!(told, names);
    keys.check(&source, 300, "b").await;

    let again = run(Job::new(source.clone(), a_to_b(&keys))).await;
    assert_eq!((again.totals.in_target_state, again.totals.rewrapped), (300, 0));
    assert_eq!(again.calls["memory"], 1, "only to learn the version");
    assert_eq!(generations(&source, 300), vec![1; 300]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_jobs_at_once_rewrap_each_envelope_once_between_them() {
    let keys = Keys::new();
    let source = keys.source(400, "a").await;
    let job = || run(Job::new(source.clone(), a_to_b(&keys)).concurrency(8));
    let (first, second) = tokio::join!(job(), job());
    assert_eq!((first.totals.items, second.totals.items), (400, 400));
    assert_eq!(first.totals.failed + second.totals.failed, 0);
    assert_eq!(first.totals.rewrapped + second.totals.rewrapped, 400);
    assert_eq!(generations(&source, 400), vec![1; 400]);
    keys.check(&source, 400, "b").await;
}

/// A source in which somebody else is faster each time, until `left` is 0.
struct Contended {
    inner: Arc<Memory>,
    left: AtomicUsize,
    keys: Keys,
}

#[async_trait]
impl Source for Contended {
    fn list(&self) -> Listing {
        self.inner.list()
    }

    async fn read(&self, item: &Item) -> Result<Stored, SourceError> {
        self.inner.read(item).await
    }

    async fn commit(&self, item: &Item, old: &Stored, new: &Header) -> Result<u64, SourceError> {
        let one_less = |left: usize| left.checked_sub(1);
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok() {
            let there = self.inner.envelope(item.name()).unwrap();
            let other = self.keys.envelope("a").rewrap(&there, &EncryptionContext::new()).await.unwrap();
            self.inner.put(item.name(), other);
        }
        self.inner.commit(item, old, new).await
    }

    async fn reencrypt(&self, item: &Item, old: &Stored, keys: Reencryption) -> Result<u64, SourceError> {
        self.inner.reencrypt(item, old, keys).await
    }
}

async fn contended(times: usize) -> (Arc<Contended>, envelope_rotation::Report, Vec<String>) {
    let keys = Keys::new();
    let (inner, goal) = (keys.source(1, "a").await, a_to_b(&keys));
    let source = Arc::new(Contended { inner, left: times.into(), keys });
    let mut failed = Vec::new();
    let control = Control::new();
    let job = Job::new(source.clone(), goal).run(&control, |item| {
        if let Outcome::Failed(error) = &item.outcome {
            assert!(matches!(error, ItemError::Contended { tries: 20 }), "{error:?}");
            failed.push(error.to_string());
        }
    });
    let report = job.await.unwrap();
    (source, report, failed)
}

#[tokio::test(start_paused = true)]
async fn an_item_that_others_changed_is_read_again_and_no_change_is_lost() {
    let (source, report, failed) = contended(3).await;
    assert_eq!((report.totals.rewrapped, report.totals.conflicts), (1, 3));
    assert_eq!(failed, [""; 0]);
    assert_eq!(generations(&source.inner, 1), [4], "three of others and one of the job");
    source.keys.check(&source.inner, 1, "b").await;
}

#[tokio::test(start_paused = true)]
async fn an_item_that_others_never_leave_alone_fails_and_says_so() {
    let (source, report, failed) = contended(usize::MAX).await;
    assert_eq!((report.totals.failed, report.totals.rewrapped), (1, 0));
    assert_eq!(failed, ["others kept changing it: tried 20 times"]);
    source.keys.check(&source.inner, 1, "a").await;
}

#[tokio::test]
async fn one_item_that_fails_stays_as_it_was_and_does_not_stop_the_others() {
    let keys = Keys::new();
    let source = keys.source(20, "a").await;
    let foreign = keys.envelope("c").encrypt(b"foreign", &EncryptionContext::new()).await.unwrap();
    source.put("7", foreign.clone());
    source.put("x", b"no envelope".to_vec());
    let mut failed = Vec::new();
    let control = Control::new();
    let job = Job::new(source.clone(), a_to_b(&keys)).run(&control, |item| {
        if let Outcome::Failed(error) = &item.outcome {
            failed.push((name(&item.item), error.to_string()));
        }
    });
    let report = job.await.unwrap();
    failed.sort();
    assert_eq!((report.totals.rewrapped, report.totals.failed), (19, 2));
    assert!(failed[0].0 == "7" && failed[0].1.starts_with("no configured key opens this"), "{failed:?}");
    assert!(failed[1].0 == "x" && failed[1].1.contains("not an envelope"), "{failed:?}");
    assert_eq!(source.envelope("7"), Some(foreign));
}

#[tokio::test]
async fn a_key_that_does_not_wrap_ends_the_job_before_it_touches_anything() {
    let keys = Keys::new();
    let source = keys.source(3, "a").await;
    let absent = Key::new(keys.provider(), MemoryProvider::key("absent"));
    let goal = Goal::only(vec![absent]).open_with(keys.keys("a"));
    let error = Job::new(source.clone(), goal).run(&Control::new(), |_| panic!("an item")).await.unwrap_err();
    assert!(
        matches!(&error, RotationError::Key { key, .. } if *key == MemoryProvider::key("absent")),
        "{error}"
    );
    assert_eq!(generations(&source, 3), [0; 3]);
}

#[tokio::test]
async fn a_cancelled_job_ends_early_and_reports_what_it_did() {
    let keys = Keys::new();
    let source = keys.source(200, "a").await;
    let control = Control::new();
    let job = Job::new(source.clone(), a_to_b(&keys)).concurrency(1);
    let report = job
        .run(&control, |_| {
            control.cancel();
            control.resume();
        })
        .await
        .unwrap();
    assert!(report.cancelled);
    let done = generations(&source, 200).iter().sum::<u32>();
    assert_eq!(report.totals.rewrapped, u64::from(done));
    assert!((1..200).contains(&done), "{done}");
}

/// A key store that never answers.
struct Silent;

#[async_trait]
impl KeyProvider for Silent {
    fn name(&self) -> &'static str {
        "silent"
    }
    async fn wrap_dek(&self, _: &KeyUri, _: &Dek, _: &FullContext) -> Result<WrappedDek, ProviderError> {
        std::future::pending().await
    }
    async fn unwrap_dek(&self, _: &WrappedDek, _: &FullContext) -> Result<Dek, ProviderError> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_stopped_while_it_waits_for_its_first_answer_ends() {
    let keys = Keys::new();
    let source = keys.source(3, "a").await;
    let goal = Goal::only(vec![Key::new(Arc::new(Silent), uri('b'))]).open_with(keys.keys("a"));
    let control = Control::new();
    let stop = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        control.stop();
    };
    let run = Job::new(source.clone(), goal).run(&control, |_| panic!("an item"));
    let ((), ended) = tokio::join!(stop, tokio::time::timeout(Duration::from_secs(60), run));
    let report = ended.expect("it waits on").unwrap();
    assert!(report.cancelled && !report.finished, "{report}");
    assert_eq!((report.totals.items, generations(&source, 3)), (0, vec![0; 3]));
}

#[tokio::test(start_paused = true)]
async fn a_paused_job_begins_nothing_until_it_is_resumed() {
    let keys = Keys::new();
    let source = keys.source(50, "a").await;
    let control = Control::new();
    control.pause();
    let job = Job::new(source.clone(), a_to_b(&keys));
    let job = tokio::spawn({
        let control = control.clone();
        async move { job.run(&control, |_| {}).await.unwrap() }
    });
    // Paused time passes only when nothing else can go on.
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(generations(&source, 50), [0; 50]);
    control.resume();
    assert_eq!(job.await.unwrap().totals.rewrapped, 50);
}

#[tokio::test(start_paused = true)]
async fn calls_to_key_stores_come_no_faster_than_permitted_and_hardly_slower() {
    let keys = Keys::new();
    let source = keys.source(1000, "a").await;
    let begun = Instant::now();
    let report = run(Job::new(source, a_to_b(&keys)).concurrency(64).calls_per_second(500)).await;
    assert_eq!(report.calls["memory"], 3001);
    let took = begun.elapsed().as_secs_f64();
    assert!((6.0..6.0 / 0.95).contains(&took), "3000 calls in {took} s");
}

#[tokio::test]
async fn shards_do_each_item_once_between_them() {
    let keys = Keys::new();
    let source = keys.source(90, "a").await;
    for index in 1..=3 {
        let shard = Shard::new(index, 3).unwrap();
        let report = run(Job::new(source.clone(), a_to_b(&keys)).shard(shard)).await;
        assert_eq!(report.totals.items, report.totals.rewrapped);
        assert!((15..45).contains(&report.totals.items), "{}", report.totals.items);
    }
    assert_eq!(generations(&source, 90), [1; 90]);
}

/// Items that go to work at the same time.
struct Meeting {
    inner: Arc<Memory>,
    barrier: Barrier,
}

#[async_trait]
impl Source for Meeting {
    fn list(&self) -> Listing {
        self.inner.list()
    }

    async fn read(&self, item: &Item) -> Result<Stored, SourceError> {
        self.barrier.wait().await;
        self.inner.read(item).await
    }

    async fn commit(&self, item: &Item, old: &Stored, new: &Header) -> Result<u64, SourceError> {
        self.inner.commit(item, old, new).await
    }

    async fn reencrypt(&self, item: &Item, old: &Stored, keys: Reencryption) -> Result<u64, SourceError> {
        self.inner.reencrypt(item, old, keys).await
    }
}

#[tokio::test]
async fn as_many_items_are_under_way_at_once_as_the_concurrency_says() {
    let keys = Keys::new();
    let inner = keys.source(24, "a").await;
    let source = Arc::new(Meeting { inner, barrier: Barrier::new(12) });
    // With fewer at once nobody would ever come through the barrier.
    let report = run(Job::new(source, a_to_b(&keys)).concurrency(12)).await;
    assert_eq!(report.totals.rewrapped, 24);
}

#[tokio::test]
async fn a_plan_counts_what_a_job_would_do_and_writes_nothing() {
    let keys = Keys::new();
    let source = keys.source(10, "a").await;
    source.put("both", keys.envelope("ab").encrypt(b"both", &EncryptionContext::new()).await.unwrap());
    source.put("done", keys.envelope("b").encrypt(b"done", &EncryptionContext::new()).await.unwrap());
    let calls = keys.0.calls();
    let plan = Job::new(source.clone(), a_to_b(&keys)).plan(&Control::new(), |_| {}).await.unwrap();
    assert_eq!(keys.0.calls() - calls, 1, "only to learn the version");
    assert_eq!((plan.items, plan.to_change, plan.in_target_state, plan.failed), (12, 11, 1, 0));
    assert_eq!(plan.reasons["missing-recipient"], 10);
    assert_eq!(plan.reasons["extra-recipient"], 11);
    assert_eq!(plan.calls["memory"], 3 * 11);
    let opens = |letter| plan.usage.keys[uri(letter).as_str()][MemoryProvider::VERSION];
    assert_eq!((opens('a').envelopes, opens('a').alone), (11, 10));
    assert_eq!((opens('b').envelopes, opens('b').alone), (2, 1));
    assert_eq!(generations(&source, 10), [0; 10]);
    let calls = keys.0.calls();
    let report = run(Job::new(source, a_to_b(&keys))).await;
    assert_eq!(report.totals.rewrapped, plan.to_change);
    assert_eq!((keys.0.calls() - calls) as u64, plan.calls["memory"] + 1);
}
