//! The suite of sources over buckets.

use std::sync::Arc;

use async_trait::async_trait;
use envelope_rotation::{
    Item, Source,
    testing::{Place, check},
};
use envelope_sdk::PayloadKind;
use object_store::{ObjectStoreExt as _, path::Path};

use crate::{Bucket, Keys, on_each_store};

on_each_store!(objects_of_attached_envelopes_conform);

/// A bucket of envelopes, of detached headers with their payloads beside them.
struct InBucket {
    bucket: Bucket,
    payload: PayloadKind,
}

impl InBucket {
    async fn conforms(self) {
        let keys = Keys::new();
        let [old, new] = ["a", "b"].map(|letter| keys.keys(letter).pop().unwrap());
        check(&self, old, new).await.unwrap();
    }

    fn is_detached(&self) -> bool {
        self.payload == PayloadKind::Detached
    }

    async fn there(&self, key: &str) -> Option<Vec<u8>> {
        match self.bucket.store.get(&Path::from(key)).await {
            Ok(object) => Some(object.bytes().await.unwrap().into()),
            Err(object_store::Error::NotFound { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    }
}

fn of_header(name: &str) -> String {
    format!("{name}.envelope")
}

fn of_payload(name: &str) -> String {
    format!("{name}.sealed")
}

#[async_trait]
impl Place for InBucket {
    fn source(&self) -> Arc<dyn Source> {
        Arc::new(self.bucket.objects(&[""]).removing_left_objects())
    }
    fn item(&self, name: &str) -> Item {
        Item::found(self.bucket.url(&of_header(name)))
    }
    fn payload(&self) -> PayloadKind {
        self.payload
    }
    fn reencrypts(&self) -> bool {
        !self.is_detached()
    }
    async fn put(&self, name: &str, header: &[u8], payload: &[u8]) {
        if self.is_detached() {
            self.bucket.put(&of_payload(name), payload.to_vec()).await;
            self.bucket.put(&of_header(name), header.to_vec()).await;
        } else {
            self.bucket.put(&of_header(name), [header, payload].concat()).await;
        }
    }
    async fn put_other(&self, name: &str) {
        self.bucket.put(&of_header(name), b"something else".to_vec()).await;
    }
    async fn remove(&self, name: &str) {
        self.bucket.delete(&of_header(name)).await;
        if self.there(&of_payload(name)).await.is_some() {
            self.bucket.delete(&of_payload(name)).await;
        }
    }
    async fn bytes(&self, name: &str) -> Option<(Vec<u8>, Vec<u8>)> {
        let payload = if self.is_detached() { self.there(&of_payload(name)).await? } else { Vec::new() };
        Some((self.there(&of_header(name)).await?, payload))
    }
    async fn left_over(&self) -> Vec<String> {
        let is_own = |key: &String| key.ends_with(".envelope") || key.ends_with(".sealed");
        self.bucket.keys().await.into_iter().filter(|key| !is_own(key)).collect()
    }
}

async fn objects_of_attached_envelopes_conform(bucket: Bucket) {
    InBucket { bucket, payload: PayloadKind::Attached }.conforms().await;
}

/// What a store has to do is the same for these.
#[tokio::test(flavor = "multi_thread")]
async fn objects_of_detached_headers_conform() {
    let Some(bucket) = Bucket::google().await else { return };
    InBucket { bucket, payload: PayloadKind::Detached }.conforms().await;
}
