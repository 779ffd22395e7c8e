//! Items that are named one by one: exactly these, and an outcome for each.

use std::{
    collections::{BTreeSet, HashMap},
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::Path,
    sync::Arc,
};

use async_trait::async_trait;
use envelope_rotation::{Files, Item, Listing, Reencryption, Source, SourceError, Stored, Unlock};
use envelope_sdk::Header;
use futures_util::{StreamExt, stream};

use super::{not_reached, outcome::Outcome, sources};
use crate::failure::{Failure, Result};

/// Has `run` do each of `items`, once. The outcomes are in the order of `items`, those of one that is named twice too.
pub(super) fn run(
    items: &[OsString],
    mut run: impl FnMut(Arc<dyn Source>) -> Result<Vec<Outcome>>,
) -> Result<Vec<Outcome>> {
    // By the name that the source knows, and which of `items` they are.
    let (mut files, mut objects) = (Names::default(), Names::default());
    for (at, word) in items.iter().enumerate() {
        match word.to_str().filter(|word| sources::is_url(word)) {
            Some(url) if sources::is_table_url(url) => {
                return Err(Failure::usage("a row of a table is no item: run the whole table, in shards"));
            }
            Some(url) => objects.add(url.as_bytes(), at),
            None => files.add(sources::path_of(Path::new(word))?.as_os_str().as_bytes(), at),
        }
    }
    // Before anything is done: a word that names no store must not lose the outcomes of the files.
    let stores = if objects.order.is_empty() {
        None
    } else {
        let folders: BTreeSet<&str> = objects.order.iter().filter_map(|name| folder(name)).collect();
        Some(sources::objects(&folders.into_iter().collect::<Vec<_>>(), true)?)
    };
    let mut outcomes: Vec<Option<Outcome>> = items.iter().map(|_| None).collect();
    let mut take = |names: &Names, done: Vec<Outcome>| {
        for outcome in done {
            for at in names.places.get(outcome.0.as_bytes()).into_iter().flatten() {
                outcomes[*at] = Some(outcome.clone_as(items[*at].clone()));
            }
        }
    };
    if !files.order.is_empty() {
        let done =
            run(Arc::new(Exactly { source: Arc::new(Files::new(Vec::new())), names: files.order.clone() }))?;
        take(&files, done);
    }
    if let Some(source) = stores {
        let done = run(Arc::new(Exactly { source, names: objects.order.clone() }))?;
        take(&objects, done);
    }
    outcomes.into_iter().map(|outcome| outcome.ok_or_else(not_reached)).collect()
}

#[derive(Default)]
struct Names {
    order: Vec<Vec<u8>>,
    places: HashMap<Vec<u8>, Vec<usize>>,
}

impl Names {
    fn add(&mut self, name: &[u8], at: usize) {
        let places = self.places.entry(name.to_vec()).or_default();
        if places.is_empty() {
            self.order.push(name.to_vec());
        }
        places.push(at);
    }
}

/// The URL of the folder that an object is in: temporary objects are made there.
fn folder(url: &[u8]) -> Option<&str> {
    let url = std::str::from_utf8(url).ok()?;
    let key_at = url.find("://")? + 3;
    let cut = url.rfind('/').filter(|cut| *cut >= key_at);
    Some(cut.map_or(url, |cut| &url[..cut]))
}

/// A source that lists what it was told to.
struct Exactly {
    source: Arc<dyn Source>,
    names: Vec<Vec<u8>>,
}

#[async_trait]
impl Source for Exactly {
    fn list(&self) -> Listing {
        stream::iter(self.names.clone().into_iter().map(|name| Ok(Item::named(name)))).boxed()
    }

    async fn read(&self, item: &Item) -> std::result::Result<Stored, SourceError> {
        self.source.read(item).await
    }

    async fn commit(&self, item: &Item, old: &Stored, new: &Header) -> std::result::Result<u64, SourceError> {
        self.source.commit(item, old, new).await
    }

    async fn reencrypt(
        &self,
        item: &Item,
        old: &Stored,
        keys: Reencryption,
    ) -> std::result::Result<u64, SourceError> {
        self.source.reencrypt(item, old, keys).await
    }

    fn blocks(&self) -> bool {
        self.source.blocks()
    }

    async fn check_free(&self, item: &Item) -> std::result::Result<(), SourceError> {
        self.source.check_free(item).await
    }

    async fn repair(&self, item: &Item, unlock: Unlock) -> std::result::Result<bool, SourceError> {
        self.source.repair(item, unlock).await
    }

    async fn tidy(&self, item: &Item, stored: &Stored) -> std::result::Result<(), SourceError> {
        self.source.tidy(item, stored).await
    }
}

impl Outcome {
    /// The same for another name of the item.
    fn clone_as(&self, item: impl AsRef<OsStr>) -> Self {
        let mut outcome = self.clone();
        outcome.0 = item.as_ref().to_owned();
        outcome
    }
}
