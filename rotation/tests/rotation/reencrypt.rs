//! A new DEK, and making sure of it before the old one goes.

use std::sync::Arc;

use async_trait::async_trait;
use envelope_rotation::{
    Control, Goal, Item, ItemError, Job, Listing, Memory, Outcome, Reencryption, Source, SourceError, Stored,
};
use envelope_sdk::{Envelope, Header};

use crate::{Keys, a_to_b, run};

#[tokio::test]
async fn reencrypting_makes_a_new_envelope_of_the_same_plaintext() {
    let keys = Keys::new();
    let source = keys.source(10, "a").await;
    let id = |source: &Memory| *Envelope::inspect(&source.envelope("3").unwrap()).unwrap().envelope_id();
    let before = id(&source);
    let report = run(Job::new(source.clone(), a_to_b(&keys).reencrypting())).await;
    assert_eq!(report.totals.reencrypted, 10);
    assert_ne!(id(&source), before);
    keys.check(&source, 10, "b").await;
}

#[tokio::test]
async fn each_new_wrap_is_unwrapped_before_the_old_envelope_goes() {
    let keys = Keys::new();
    let source = keys.source(1, "a").await;
    let report =
        run(Job::new(source, Goal::only(keys.keys("bc")).open_with(keys.keys("a")).reencrypting())).await;
    // Two at the beginning; unwrap, two wraps, each unwrapped.
    assert_eq!(report.calls["memory"], 2 + 1 + 2 + 2);
}

/// What writes the new payload of this source changes a bit of it.
struct Flipping(Arc<Memory>);

#[async_trait]
impl Source for Flipping {
    fn list(&self) -> Listing {
        self.0.list()
    }

    async fn read(&self, item: &Item) -> Result<Stored, SourceError> {
        self.0.read(item).await
    }

    async fn commit(&self, item: &Item, old: &Stored, new: &Header) -> Result<u64, SourceError> {
        self.0.commit(item, old, new).await
    }

    async fn reencrypt(&self, item: &Item, old: &Stored, keys: Reencryption) -> Result<u64, SourceError> {
        let from = self.0.envelope(item.name()).unwrap();
        let mut new = Vec::new();
        let sealed = keys.seal(&from, old.header.len() as u64, &mut new)?;
        let last = new.len() - 1;
        new[last] ^= 1;
        sealed.check(&new, 0)?;
        panic!("it was taken for right");
    }
}

#[tokio::test]
async fn a_new_payload_that_does_not_open_keeps_the_old_envelope() {
    let keys = Keys::new();
    let source = keys.source(1, "a").await;
    let mut failed = 0;
    let job = Job::new(Arc::new(Flipping(source.clone())), a_to_b(&keys).reencrypting());
    job.run(&Control::new(), |item| {
        let Outcome::Failed(ItemError::Source(SourceError::NotVerified)) = item.outcome else {
            panic!("{item:?}")
        };
        failed += 1;
    })
    .await
    .unwrap();
    assert_eq!(failed, 1);
    keys.check(&source, 1, "a").await;
}

#[tokio::test]
async fn a_changed_payload_is_not_reencrypted() {
    let keys = Keys::new();
    let source = keys.source(1, "a").await;
    let mut sealed = source.envelope("0").unwrap();
    *sealed.last_mut().unwrap() ^= 1;
    source.put("0", sealed.clone());
    let mut failed = 0;
    let control = Control::new();
    let job = Job::new(source.clone(), a_to_b(&keys).reencrypting()).run(&control, |item| {
        let Outcome::Failed(ItemError::Source(SourceError::Open(_))) = item.outcome else {
            panic!("{item:?}")
        };
        failed += 1;
    });
    job.await.unwrap();
    assert_eq!(failed, 1);
    assert_eq!(source.envelope("0"), Some(sealed));
}
