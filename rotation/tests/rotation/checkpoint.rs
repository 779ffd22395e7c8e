//! A job goes on where another one ended.

use std::{fs, path::PathBuf};

use envelope_rotation::{Checkpoint, Control, Goal, Job, Report, RotationError};
use tempfile::TempDir;

use crate::{Keys, a_to_b, generations};

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("checkpoint.jsonl")
    }

    fn open(&self) -> Checkpoint {
        Checkpoint::open(&self.path()).unwrap()
    }
}

/// Runs until `items` were told of.
async fn run_for(job: Job, items: usize) -> Report {
    let (control, mut told) = (Control::new(), 0);
    let report = job.concurrency(1).run(&control, |_| {
        told += 1;
        if told == items {
            control.cancel();
        }
    });
    report.await.unwrap()
}

#[tokio::test]
async fn a_reencryption_that_is_resumed_does_each_item_once() {
    let (keys, folder) = (Keys::new(), Folder::new());
    let source = keys.source(200, "a").await;
    let job = || Job::new(source.clone(), a_to_b(&keys).reencrypting()).checkpoint(folder.open());
    let first = run_for(job(), 20).await;
    assert!(first.cancelled && first.totals.reencrypted < 200, "{first}");
    let second = run_for(job(), usize::MAX).await;
    assert_eq!(second.totals.done_before, first.totals.reencrypted);
    assert_eq!(second.totals.reencrypted, 200 - first.totals.reencrypted);
    assert_eq!(second.totals.items, 200);
    let third = run_for(job(), usize::MAX).await;
    assert_eq!((third.totals.done_before, third.calls["memory"]), (200, 1));
    keys.check(&source, 200, "b").await;
}

#[tokio::test]
async fn a_line_without_its_commit_is_not_believed() {
    let (keys, folder) = (Keys::new(), Folder::new());
    let source = keys.source(1, "a").await;
    let before = source.envelope("0").unwrap();
    let job = || Job::new(source.clone(), a_to_b(&keys).reencrypting()).checkpoint(folder.open());
    run_for(job(), usize::MAX).await;
    // As if it had been killed between the line and the commit.
    source.put("0", before);
    let again = run_for(job(), usize::MAX).await;
    assert_eq!((again.totals.reencrypted, again.totals.done_before), (1, 0));
    keys.check(&source, 1, "b").await;
}

#[tokio::test]
async fn half_a_line_at_the_end_is_cut_off_and_the_job_goes_on() {
    let (keys, folder) = (Keys::new(), Folder::new());
    let source = keys.source(5, "a").await;
    let job = || Job::new(source.clone(), a_to_b(&keys).reencrypting()).checkpoint(folder.open());
    run_for(job(), usize::MAX).await;
    let whole = fs::read(folder.path()).unwrap();
    let lines = whole.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(lines, 6);
    // Each length of the file: whatever is lost of it is done again, and nothing else.
    for cut in 0..whole.len() {
        fs::write(folder.path(), &whole[..cut]).unwrap();
        let checkpoint = folder.open();
        let left = whole[..cut].iter().filter(|byte| **byte == b'\n').count().saturating_sub(1);
        assert_eq!(checkpoint.resumed(), left, "cut at {cut}");
    }
    fs::write(folder.path(), &whole[..whole.len() - 5]).unwrap();
    let report = run_for(job(), usize::MAX).await;
    assert_eq!((report.totals.done_before, report.totals.reencrypted), (4, 1));
    assert!(fs::read_to_string(folder.path()).unwrap().lines().all(|line| line.ends_with('}')));
}

#[tokio::test]
async fn the_checkpoint_of_another_job_is_refused() {
    let (keys, folder) = (Keys::new(), Folder::new());
    let source = keys.source(2, "a").await;
    run_for(Job::new(source.clone(), a_to_b(&keys)).checkpoint(folder.open()), usize::MAX).await;
    let other = Goal::only(keys.keys("c")).open_with(keys.keys("b"));
    let job = Job::new(source.clone(), other).checkpoint(folder.open());
    let error = job.run(&Control::new(), |_| panic!("an item")).await.unwrap_err();
    assert!(matches!(&error, RotationError::OtherJob { path } if *path == folder.path()), "{error}");
    assert_eq!(generations(&source, 2), [1, 1]);
}

#[test]
fn what_is_no_checkpoint_is_refused_and_left_as_it_is() {
    let folder = Folder::new();
    for text in [
        "hello",
        "hello\n",
        "{}\n",
        "{\"envelope_rotation\":2,\"job\":\"0\"}\n",
        "{\"envelope_rotation\":1,\"job\":\"0\"}\nx\n",
    ] {
        fs::write(folder.path(), text).unwrap();
        let error = Checkpoint::open(&folder.path()).unwrap_err();
        assert!(matches!(error, RotationError::NotACheckpoint { .. }), "{text:?}: {error}");
        assert_eq!(fs::read_to_string(folder.path()).unwrap(), text);
    }
}

#[test]
fn two_jobs_do_not_write_one_checkpoint() {
    let folder = Folder::new();
    let _first = folder.open();
    let error = Checkpoint::open(&folder.path()).unwrap_err();
    assert!(matches!(error, RotationError::CheckpointBusy { .. }), "{error}");
}
