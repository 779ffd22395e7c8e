//! Envelopes in memory: for tests, and the shortest example of a [`Source`].

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use envelope_sdk::{Header, Kind};

use crate::{Item, Listing, Reencryption, Source, SourceError, Stored};

/// Attached envelopes by name.
///
/// ```
/// use std::sync::Arc;
/// use envelope_rotation::{Control, Goal, Job, Key, Memory};
/// # use envelope_sdk::{EncryptionContext, Envelope, Keyring};
/// # use envelope_testkit::MemoryProvider;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (old, new) = (MemoryProvider::key("old"), MemoryProvider::key("new"));
/// # let provider = Arc::new(MemoryProvider::new().with_key(&old).with_key(&new));
/// # let envelope = Envelope::new(Keyring::new().both(provider.clone(), old.clone()));
/// let source = Arc::new(Memory::new());
/// source.put("invoice", envelope.encrypt(b"42", &EncryptionContext::new()).await?);
///
/// let goal = Goal::only(vec![Key::new(provider.clone(), new)]).open_with(vec![Key::new(provider, old)]);
/// let report = Job::new(source, goal).run(&Control::new(), |_| {}).await?;
/// assert_eq!(report.totals.rewrapped, 1);
/// # Ok(()) }
/// ```
#[derive(Debug, Default)]
pub struct Memory {
    envelopes: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Memory {
    /// Without envelopes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an envelope, or replaces it.
    pub fn put(&self, name: impl Into<Vec<u8>>, envelope: Vec<u8>) {
        self.lock().insert(name.into(), envelope);
    }

    /// Takes an envelope away.
    pub fn remove(&self, name: impl AsRef<[u8]>) {
        self.lock().remove(name.as_ref());
    }

    /// The bytes of one.
    #[must_use]
    pub fn envelope(&self, name: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        self.lock().get(name.as_ref()).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Vec<u8>>> {
        self.envelopes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the envelope if its header is `old` still.
    fn swap(
        &self,
        item: &Item,
        old: &Header,
        new: impl FnOnce(&[u8]) -> Vec<u8>,
    ) -> Result<u64, SourceError> {
        let mut envelopes = self.lock();
        let there = envelopes.get_mut(item.name()).ok_or(SourceError::Conflict)?;
        let payload = there.strip_prefix(old.to_bytes().as_slice()).ok_or(SourceError::Conflict)?;
        *there = new(payload);
        Ok(there.len() as u64)
    }
}

#[async_trait]
impl Source for Memory {
    fn list(&self) -> Listing {
        let names: Vec<_> = self.lock().keys().cloned().collect();
        Box::pin(futures_util::stream::iter(names.into_iter().map(|name| Ok(Item::named(name)))))
    }

    async fn read(&self, item: &Item) -> Result<Stored, SourceError> {
        let envelopes = self.lock();
        let bytes = envelopes.get(item.name()).ok_or(SourceError::Gone)?;
        let (header, len) = Header::parse(bytes)?;
        if header.kind() != Kind::Attached {
            return Err(SourceError::Unsupported("in memory there are attached envelopes only"));
        }
        let payload = bytes[len..].first_chunk().copied();
        Ok(Stored { header, payload, is_armored: false, modified: None, tag: None })
    }

    async fn commit(&self, item: &Item, old: &Stored, new: &Header) -> Result<u64, SourceError> {
        self.swap(item, &old.header, |payload| [new.to_bytes().as_slice(), payload].concat())
    }

    async fn reencrypt(&self, item: &Item, old: &Stored, keys: Reencryption) -> Result<u64, SourceError> {
        let from = self.envelope(item.name()).ok_or(SourceError::Conflict)?;
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
