//! Envelopes in memory, as a source of a job: attached ones, detached headers and headers of data keys.

use std::{
    ops::Deref,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use envelope_rotation::{Item, Listing, Reencryption, Source, SourceError, Stored};
use envelope_sdk::{Header, Kind};
use futures_util::{StreamExt, stream};

/// Envelopes, named by their index.
pub(crate) struct Bytes<D> {
    given: Vec<D>,
    changed: Mutex<Vec<Option<Vec<u8>>>>,
}

/// The index that a name is.
pub(super) fn index(name: &str) -> Option<usize> {
    name.parse().ok()
}

impl<D: Deref<Target = [u8]>> Bytes<D> {
    pub(crate) fn new(given: Vec<D>) -> Self {
        let changed = Mutex::new(given.iter().map(|_| None).collect());
        Self { given, changed }
    }

    /// The new bytes, where they changed.
    pub(super) fn changed(&self) -> Vec<Option<Vec<u8>>> {
        std::mem::take(&mut *self.lock())
    }

    /// The first one, as it is now.
    pub(crate) fn one(&self) -> Option<Vec<u8>> {
        let changed = self.lock().first_mut().and_then(Option::take);
        changed.or_else(|| self.given.first().map(|given| given.to_vec()))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<Vec<u8>>>> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(
        &self,
        item: &Item,
        work: impl FnOnce(&[u8], &mut Option<Vec<u8>>) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let at = std::str::from_utf8(item.name()).ok().and_then(index).ok_or(SourceError::Gone)?;
        let given = self.given.get(at).ok_or(SourceError::Gone)?;
        let mut changed = self.lock();
        let changed = changed.get_mut(at).ok_or(SourceError::Gone)?;
        let mut new = None;
        let done = work(changed.as_deref().unwrap_or(given), &mut new)?;
        if new.is_some() {
            *changed = new;
        }
        Ok(done)
    }

    /// Puts what `new` makes of the bytes behind the header in the place of all, if the header is `old` still.
    fn swap(
        &self,
        item: &Item,
        old: &Header,
        new: impl FnOnce(&[u8]) -> Vec<u8>,
    ) -> Result<u64, SourceError> {
        self.with(item, |bytes, changed| {
            let rest = bytes.strip_prefix(old.to_bytes().as_slice()).ok_or(SourceError::Conflict)?;
            let made = new(rest);
            let len = made.len() as u64;
            *changed = Some(made);
            Ok(len)
        })
    }
}

#[async_trait]
impl<D: Deref<Target = [u8]> + Send + Sync + 'static> Source for Bytes<D> {
    fn list(&self) -> Listing {
        stream::iter((0..self.given.len()).map(|at| Ok(Item::named(at.to_string())))).boxed()
    }

    async fn read(&self, item: &Item) -> Result<Stored, SourceError> {
        self.with(item, |bytes, _| {
            let (header, len) = Header::parse(bytes)?;
            let payload =
                (header.kind() == Kind::Attached).then(|| bytes[len..].first_chunk().copied()).flatten();
            Ok(Stored { header, payload, is_armored: false, modified: None, tag: None })
        })
    }

    async fn commit(&self, item: &Item, old: &Stored, new: &Header) -> Result<u64, SourceError> {
        self.swap(item, &old.header, |rest| [new.to_bytes().as_slice(), rest].concat())
    }

    async fn reencrypt(&self, item: &Item, old: &Stored, keys: Reencryption) -> Result<u64, SourceError> {
        if old.header.kind() != Kind::Attached {
            return Err(SourceError::Unsupported(
                "a header alone cannot be reencrypted: what it opens is elsewhere",
            ));
        }
        let from = self.with(item, |bytes, _| Ok(bytes.to_vec()))?;
        // Otherwise the payload of somebody else would be taken for a damaged one.
        if !from.starts_with(&old.header.to_bytes()) {
            return Err(SourceError::Conflict);
        }
        let mut new = keys.header().to_bytes();
        let payload_at = new.len() as u64;
        let sealed = keys.seal(&from, old.header.len() as u64, &mut new)?;
        sealed.check(&new, payload_at)?;
        self.swap(item, &old.header, |_| new)
    }
}
