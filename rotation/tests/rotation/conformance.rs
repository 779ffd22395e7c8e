//! The suite of sources, over those of this crate; and that it finds what is wrong.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use envelope_rotation::{
    Files, Item, Listing, Memory, Reencryption, Source, SourceError, Stored, payload_path,
    testing::{Place, check},
};
use envelope_sdk::{Header, PayloadKind};
use tempfile::TempDir;

use crate::Keys;

struct InMemory(Arc<Memory>);

#[async_trait]
impl Place for InMemory {
    fn source(&self) -> Arc<dyn Source> {
        self.0.clone()
    }
    async fn put(&self, name: &str, header: &[u8], payload: &[u8]) {
        self.0.put(name, [header, payload].concat());
    }
    async fn put_other(&self, name: &str) {
        self.0.put(name, b"something else".to_vec());
    }
    async fn remove(&self, name: &str) {
        self.0.remove(name);
    }
    async fn bytes(&self, name: &str) -> Option<(Vec<u8>, Vec<u8>)> {
        self.0.envelope(name).map(|bytes| (bytes, Vec::new()))
    }
}

/// A folder of envelopes.
struct InFiles(TempDir, PayloadKind);

impl InFiles {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name).with_extension("envelope")
    }

    fn is_detached(&self) -> bool {
        self.1 == PayloadKind::Detached
    }
}

#[async_trait]
impl Place for InFiles {
    fn source(&self) -> Arc<dyn Source> {
        Arc::new(Files::new(vec![self.0.path().into()]).removing_left_files())
    }
    fn item(&self, name: &str) -> Item {
        Item::found(self.path(name).to_str().unwrap())
    }
    fn payload(&self) -> PayloadKind {
        self.1
    }
    async fn put(&self, name: &str, header: &[u8], payload: &[u8]) {
        if self.is_detached() {
            fs::write(payload_path(&self.path(name)), payload).unwrap();
            fs::write(self.path(name), header).unwrap();
        } else {
            fs::write(self.path(name), [header, payload].concat()).unwrap();
        }
    }
    async fn put_other(&self, name: &str) {
        fs::write(self.path(name), b"something else").unwrap();
    }
    async fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
        let _ = fs::remove_file(payload_path(&self.path(name)));
    }
    async fn bytes(&self, name: &str) -> Option<(Vec<u8>, Vec<u8>)> {
        let payload =
            if self.is_detached() { fs::read(payload_path(&self.path(name))).ok()? } else { Vec::new() };
        Some((fs::read(self.path(name)).ok()?, payload))
    }
    async fn left_over(&self) -> Vec<String> {
        let names = fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let is_own = |name: &String| {
            [".envelope", ".sealed"].iter().any(|end| Path::new(name).to_str().unwrap().ends_with(end))
        };
        names.map(|name| name.to_str().unwrap().to_owned()).filter(|name| !is_own(name)).collect()
    }
}

async fn conforms(place: &dyn Place) {
    let keys = Keys::new();
    let [old, new] = ["a", "b"].map(|letter| keys.keys(letter).pop().unwrap());
    check(place, old, new).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_source_in_memory_conforms() {
    conforms(&InMemory(Arc::default())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_attached_envelopes_conform() {
    conforms(&InFiles(tempfile::tempdir().unwrap(), PayloadKind::Attached)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_detached_envelopes_conform() {
    conforms(&InFiles(tempfile::tempdir().unwrap(), PayloadKind::Detached)).await;
}

/// What a careless source compares before it writes over what is there by now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Compares {
    Nothing,
    GenerationAlone,
}

struct Careless(Arc<Memory>, Compares);

#[async_trait]
impl Source for Careless {
    fn list(&self) -> Listing {
        self.0.list()
    }
    async fn read(&self, item: &Item) -> Result<Stored, SourceError> {
        self.0.read(item).await
    }
    async fn commit(&self, item: &Item, old: &Stored, new: &Header) -> Result<u64, SourceError> {
        let there = self.0.read(item).await?;
        let is_another = there.header.generation() != old.header.generation();
        if self.1 == Compares::GenerationAlone && is_another {
            return Err(SourceError::Conflict);
        }
        self.0.commit(item, &Stored { header: there.header, ..old.clone() }, new).await
    }
    async fn reencrypt(&self, item: &Item, old: &Stored, keys: Reencryption) -> Result<u64, SourceError> {
        self.0.reencrypt(item, old, keys).await
    }
}

struct CarelessPlace(InMemory, Compares);

#[async_trait]
impl Place for CarelessPlace {
    fn source(&self) -> Arc<dyn Source> {
        Arc::new(Careless(self.0.0.clone(), self.1))
    }
    async fn put(&self, name: &str, header: &[u8], payload: &[u8]) {
        self.0.put(name, header, payload).await;
    }
    async fn put_other(&self, name: &str) {
        self.0.put_other(name).await;
    }
    async fn remove(&self, name: &str) {
        self.0.remove(name).await;
    }
    async fn bytes(&self, name: &str) -> Option<(Vec<u8>, Vec<u8>)> {
        self.0.bytes(name).await
    }
}

#[tokio::test]
async fn a_source_that_does_not_compare_is_found_out() {
    let keys = Keys::new();
    let [old, new] = ["a", "b"].map(|letter| keys.keys(letter).pop().unwrap());
    // An envelope that was encrypted anew has the generation of the one before.
    for compares in [Compares::Nothing, Compares::GenerationAlone] {
        let place = CarelessPlace(InMemory(Arc::default()), compares);
        let failure = check(&place, old.clone(), new.clone()).await.unwrap_err();
        assert_eq!(failure.name, "a commit over a header that was changed is a conflict and changes nothing");
    }
}
