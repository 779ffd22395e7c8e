//! Every job ends with a report, and what is counted is bounded.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use envelope_files::LockedFile;
use envelope_rotation::{
    Control, Files, HtmlReport, Item, Job, Listing, Memory, Reencryption, RotationError, Source, SourceError,
    Stored, Usage,
};
use envelope_sdk::{EncryptionContext, Envelope, Header, Keyring};
use envelope_testkit::MemoryProvider;
use futures_util::StreamExt;

use crate::{Keys, a_to_b, generations, name, run};

/// A source that does something else before an item is committed.
struct Odd {
    inner: Arc<Memory>,
    at: &'static str,
    how: How,
    commits: AtomicUsize,
}

enum How {
    Panics,
    Hangs,
    IsBusy,
    ListsHalf,
}

impl Odd {
    fn new(inner: &Arc<Memory>, at: &'static str, how: How) -> Arc<Self> {
        Arc::new(Self { inner: inner.clone(), at, how, commits: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl Source for Odd {
    fn list(&self) -> Listing {
        let cut = matches!(self.how, How::ListsHalf).then(|| Err(SourceError::store("no more pages")));
        Box::pin(self.inner.list().chain(futures_util::stream::iter(cut)))
    }
    async fn read(&self, item: &Item) -> Result<Stored, SourceError> {
        self.inner.read(item).await
    }
    async fn commit(&self, item: &Item, old: &Stored, new: &Header) -> Result<u64, SourceError> {
        if name(item) == self.at {
            self.commits.fetch_add(1, Ordering::SeqCst);
            match self.how {
                How::Panics => panic!("a bug of the source"),
                How::Hangs => std::future::pending().await,
                How::IsBusy => return Err(SourceError::Busy),
                How::ListsHalf => {}
            }
        }
        self.inner.commit(item, old, new).await
    }
    async fn reencrypt(&self, item: &Item, old: &Stored, keys: Reencryption) -> Result<u64, SourceError> {
        self.inner.reencrypt(item, old, keys).await
    }
    async fn check_free(&self, item: &Item) -> Result<(), SourceError> {
        let is_busy = matches!(self.how, How::IsBusy) && name(item) == self.at;
        if is_busy { Err(SourceError::Busy) } else { Ok(()) }
    }
}

#[tokio::test(start_paused = true)]
async fn an_item_that_stays_locked_costs_one_round_of_calls() {
    let keys = Keys::new();
    let inner = keys.source(3, "a").await;
    let source = Odd::new(&inner, "1", How::IsBusy);
    let report = run(Job::new(source.clone(), a_to_b(&keys))).await;
    assert_eq!((report.totals.rewrapped, report.totals.failed, report.totals.conflicts), (2, 1, 20));
    assert_eq!(source.commits.load(Ordering::SeqCst), 1);
    assert_eq!(report.calls["memory"], 1 + 3 * 3, "not one more for the item that was locked");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_stays_locked_costs_one_round_of_calls() {
    let keys = Keys::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("locked.envelope");
    let sealed = keys.envelope("a").encrypt(b"x", &EncryptionContext::new()).await.unwrap();
    std::fs::write(&path, &sealed).unwrap();
    let locked = LockedFile::open(&path).unwrap();
    let source = Arc::new(Files::new(vec![folder.path().into()]));
    for goal in [a_to_b(&keys), a_to_b(&keys).reencrypting()] {
        let report = run(Job::new(source.clone(), goal)).await;
        assert_eq!((report.totals.failed, report.calls["memory"]), (1, 1 + 3));
    }
    drop(locked);
    assert_eq!(std::fs::read(&path).unwrap(), sealed);
    assert_eq!(run(Job::new(source, a_to_b(&keys))).await.totals.rewrapped, 1);
}

#[tokio::test]
async fn a_job_whose_worker_broke_down_still_reports_what_was_done() {
    let keys = Keys::new();
    let inner = keys.source(40, "a").await;
    let job = Job::new(Odd::new(&inner, "7", How::Panics), a_to_b(&keys));
    let error = job.run(&Control::new(), |_| {}).await.unwrap_err();
    let RotationError::Stopped { why, report } = &error else { panic!("{error}") };
    assert!(matches!(**why, RotationError::Worker(_)), "{why}");
    assert_eq!((report.totals.rewrapped, report.finished), (39, false));
    assert_eq!(error.report(), Some(&**report));
    assert!(report.to_string().starts_with("not finished, after 39 items"), "{report}");
}

#[tokio::test]
async fn a_job_whose_items_could_not_all_be_listed_is_not_finished() {
    let keys = Keys::new();
    let inner = keys.source(3, "a").await;
    let report = run(Job::new(Odd::new(&inner, "", How::ListsHalf), a_to_b(&keys))).await;
    assert_eq!((report.totals.rewrapped, report.totals.failed, report.finished), (3, 1, false));
}

#[tokio::test]
async fn a_job_that_is_stopped_does_not_wait_for_what_hangs_and_reports_the_rest() {
    let keys = Keys::new();
    let inner = keys.source(20, "a").await;
    let control = Control::new();
    let mut told = 0;
    let job = Job::new(Odd::new(&inner, "3", How::Hangs), a_to_b(&keys));
    let report = job.run(&control, |_| {
        told += 1;
        if told == 19 {
            control.cancel();
            control.stop();
        }
    });
    let report = report.await.unwrap();
    assert!(report.cancelled && !report.finished);
    assert_eq!(report.totals.rewrapped, 19);
    let mut expected = [1; 20];
    expected[3] = 0;
    assert_eq!(generations(&inner, 20), expected);
}

#[tokio::test]
async fn headers_that_name_very_many_keys_are_counted_in_bounded_memory() {
    let many = Usage::MOST + 50;
    let uris: Vec<_> = (0..many).map(|number| MemoryProvider::key(&number.to_string())).collect();
    let provider = Arc::new(uris.iter().fold(MemoryProvider::new(), MemoryProvider::with_key));
    let mut usage = Usage::default();
    for key in &uris {
        let envelope = Envelope::new(Keyring::new().encrypt(provider.clone(), key.clone()));
        let sealed = envelope.encrypt(b"", &EncryptionContext::new()).await.unwrap();
        let header = Envelope::inspect(&sealed).unwrap();
        usage.add(&header);
        usage.add(&header);
    }
    assert_eq!(usage.keys.len(), Usage::MOST);
    assert!(usage.keys.values().all(|versions| versions["1"].envelopes == 2));
    assert_eq!((usage.others.envelopes, usage.others.alone), (100, 100));
    assert!(usage.to_string().contains("other key versions, beyond 10000: opens 100, 100 of them alone\n"));
}

#[tokio::test]
async fn the_page_shows_outcomes_key_versions_and_failures() {
    let keys = Keys::new();
    let source = keys.source(10, "a").await;
    source.put("<b>broken</b>", b"no envelope".to_vec());
    let mut page = HtmlReport::new();
    let report = Job::new(source, a_to_b(&keys)).run(&Control::new(), |item| page.add(&item)).await.unwrap();
    let page = page.page("Rotation", &report.to_string(), None);
    for words in [
        "rewrapped: 10</text>",
        "memory:a version 1: 10</text>",
        "failed and are as they were: 1</text>",
        "<td>&lt;b&gt;broken&lt;/b&gt;</td>",
        "calls to key stores: memory 31",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(!page.contains("<b>"));
}
