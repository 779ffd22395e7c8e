//! Envelopes in object stores: S3, Google Cloud Storage, Azure Blob Storage.

mod condition;
mod error;
mod front;
mod left;
mod listing;
mod reencrypt;
mod remote;
mod replace;
mod store;
mod url;

use std::{
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use envelope_sdk::{Header, Kind};
use object_store::path::Path;
use tokio::sync::{Semaphore, SemaphorePermit};

use self::{left::Left, store::Store, url::Url};
use crate::{Item, Listing, Reencryption, Source, SourceError, Stored, source::mac_of};

pub use error::{ObjectsError, Passed};

/// Objects by URL: `s3://BUCKET/KEY`, `gs://BUCKET/KEY`, `az://CONTAINER/KEY`.
///
/// A URL stands for the object of that key, and for every envelope below it as in a folder: `s3://b/x` is `x` and all of
/// `x/…`, and not `xy`; `s3://b` is the whole bucket. A key is written as it is: nothing in it is decoded.
///
/// Endpoint, region and credentials come from the environment, under the names that crate [`object_store`] has:
/// `AWS_ACCESS_KEY_ID`, `AWS_REGION`, `AWS_ENDPOINT`, …; `GOOGLE_SERVICE_ACCOUNT`, `GOOGLE_APPLICATION_CREDENTIALS`, …;
/// `AZURE_STORAGE_ACCOUNT_NAME`, `AZURE_STORAGE_ACCOUNT_KEY`, …; and from what the machine is: roles of AWS, the metadata server
/// of Google, managed identities of Azure. Plain http is spoken to this machine only.
///
/// - **Attached envelopes** are copied through this process with the new header, conditional on the tag that was read:
///   room that was left in a header is of no use in an object. Up to 8 MiB go by one `PUT`, more in parts.
/// - **Detached headers** are one small `PUT`; their payload, `NAME.sealed` beside `NAME.envelope`, stays where it is. For large
///   objects whose keys change often they are what to choose. They cannot be [reencrypted](Source::reencrypt): header and
///   payload are two objects, which no store replaces at once, and readers between the two would find neither open.
/// - Content type, user metadata, storage class and the like stay. An object with tags is refused: a `PUT`
///   would drop them. ACLs and locks are those that the store gives to a new object.
/// - To reencrypt an attached envelope of more than 8 MiB, the new one is written to a temporary object,
///   `.envelope-rotation/…` below the URL, read back and checked, and only then put in its place. Google's store takes
///   no condition for an upload in parts, so there a large envelope is always written to such an object first, and then copied
///   on condition. It holds an envelope, never plaintext.
///
/// Bodies that are moved at the same time take 64 MiB of memory together, or what one of them needs. An object may have
/// 10,000 parts of 64 MiB.
///
/// # What object stores cannot do
///
/// - A bucket that keeps versions keeps the old headers: expire them, or the old key still opens the old version.
/// - A job that is killed (not one that is cancelled) may leave an upload in parts that was not completed; it is no object,
///   and costs until a lifecycle rule aborts it (`AbortIncompleteMultipartUpload`; Azure drops it after a week).
/// - A store that ignores `If-Match` on writes loses updates: test one that only looks like S3 before you trust it.
/// - Keys with control characters, empty parts (a slash at the beginning is behind one, and one at the end before one), `.` or `..`
///   between slashes are told as errors, one by one, and the rest is done. Empty objects are passed over.
/// - The `ETag` of S3 may be the MD5 of the bytes: the same bytes written again make an old tag right again. Then nothing is
///   lost, since what is replaced is what was read; before each `PUT` the header is read again and compared, too.
pub struct Objects {
    roots: Arc<[Root]>,
    cleans: bool,
    /// Temporary objects of jobs that were killed, as the listing found them.
    left: Arc<RwLock<Left>>,
    /// MiB of bodies.
    memory: Semaphore,
}

/// A URL, and the store that it is in.
#[derive(Clone)]
struct Root {
    store: Arc<Store>,
    key: String,
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.roots.iter().map(|root| format!("{}{}", root.store.name(), root.key)))
            .finish()
    }
}

impl Objects {
    /// Whether the text is the URL of an object or a bucket.
    #[must_use]
    pub fn is_url(text: &str) -> bool {
        Url::parse(text).is_some()
    }

    /// The objects of these URLs. No store is asked yet.
    ///
    /// # Errors
    ///
    /// [`ObjectsError`]: no URL of an object store, or settings in the environment that do not fit together.
    pub fn open<U: AsRef<str>>(urls: &[U]) -> Result<Self, ObjectsError> {
        Self::open_with(urls, &[])
    }

    /// As [`open`](Self::open), with settings that take precedence over the environment: `("aws_endpoint", "https://…")`,
    /// by the names of crate [`object_store`]. Those of another store are passed over.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with<U: AsRef<str>>(urls: &[U], settings: &[(&str, &str)]) -> Result<Self, ObjectsError> {
        let mut roots: Vec<Root> = Vec::new();
        for text in urls {
            let url = Url::parse(text.as_ref())
                .ok_or_else(|| ObjectsError::NotAUrl { text: text.as_ref().to_owned() })?;
            let known = roots.iter().find(|root| root.store.name() == url.store_name());
            let store = match known {
                Some(root) => Arc::clone(&root.store),
                None => Arc::new(Store::open(&url, settings)?),
            };
            roots.push(Root { store, key: url.key });
        }
        Ok(Self {
            roots: roots.into(),
            cleans: false,
            left: Arc::default(),
            memory: Semaphore::new(MEMORY_MIB as usize),
        })
    }

    /// Removes the temporary objects that a job left which was killed. Those of another job that runs now are left
    /// alone: theirs is an object that still is as it was.
    #[must_use]
    pub fn removing_left_objects(mut self) -> Self {
        self.cleans = true;
        self
    }

    /// The objects behind the one of this name, such as `s3://bucket/2026/a.envelope`, whether or not it is there still: the rest of a
    /// [listing](Source::list) that was cut off. S3 and Google begin there; of Azure's store all names are listed, and those before
    /// are passed over. Objects of another store are all listed.
    #[must_use]
    pub fn list_after(&self, name: &str) -> Listing {
        self.listed(Some(name.to_owned()))
    }

    fn listed(&self, behind: Option<String>) -> Listing {
        let cleaned = self.cleans.then(|| Arc::clone(&self.left));
        listing::list(Arc::clone(&self.roots), behind, cleaned)
    }

    /// The store and the key of an item.
    fn find(&self, item: &Item) -> Result<(&Root, Path), SourceError> {
        let name = std::str::from_utf8(item.name()).map_err(|_| SourceError::Gone)?;
        let in_store =
            self.roots.iter().filter_map(|root| Some((root, name.strip_prefix(root.store.name())?)));
        // The nearest: its temporary objects are where they are looked for.
        let (root, key) = in_store
            .filter(|(root, key)| root.has(key))
            .max_by_key(|(root, _)| root.key.len())
            .ok_or(SourceError::Gone)?;
        Ok((root, store::path_of(key)?))
    }

    /// Waits for room for a body.
    async fn room(&self, bytes: u64) -> Result<SemaphorePermit<'_>, SourceError> {
        let mib = u32::try_from(bytes.div_ceil(MIB)).unwrap_or(u32::MAX).clamp(1, MEMORY_MIB);
        self.memory.acquire_many(mib).await.map_err(SourceError::store)
    }

    /// Removes temporary objects for `key` that were made from another header than `mac`.
    async fn remove_left(&self, root: &Root, key: &Path, mac: &[u8; 32]) {
        let dead = {
            let mut left = self.left.write().unwrap_or_else(PoisonError::into_inner);
            left.take_dead(&root.store, key, mac)
        };
        for temporary in dead {
            // What cannot be removed now is found by the next job.
            let _ = root.store.delete(&temporary).await;
        }
    }
}

impl Root {
    fn has(&self, key: &str) -> bool {
        let Some(below) = key.strip_prefix(self.key.as_str()) else { return false };
        self.key.is_empty() || self.key.ends_with('/') || below.is_empty() || below.starts_with('/')
    }

    /// What the keys of temporary objects begin with: those of a job on one object are beside it.
    fn temporary_folder(&self, key: &Path) -> String {
        let root = self.key.trim_end_matches('/');
        let folder =
            if key.as_ref() == root { root.rsplit_once('/').map_or("", |(folder, _)| folder) } else { root };
        left::folder_in(folder)
    }
}

#[async_trait]
impl Source for Objects {
    fn list(&self) -> Listing {
        self.listed(None)
    }

    async fn read(&self, item: &Item) -> Result<Stored, SourceError> {
        let (root, key) = self.find(item)?;
        front::read(&root.store, &key).await
    }

    async fn commit(&self, item: &Item, old: &Stored, new: &Header) -> Result<u64, SourceError> {
        let (root, key) = self.find(item)?;
        let tag = tag_of(old)?;
        let front = root.store.front(&key, tag).await.map_err(store::not_written)?;
        let _room = self.room(replace::memory(front.size, &root.store)).await?;
        let place = replace::Place {
            store: &root.store,
            key: &key,
            tag,
            new,
            temporary: left::name(&root.temporary_folder(&key), &key, &old.mac()),
        };
        let written = replace::header(&place, front, old).await?;
        self.remove_left(root, &key, &mac_of(new)).await;
        Ok(written)
    }

    async fn reencrypt(&self, item: &Item, old: &Stored, keys: Reencryption) -> Result<u64, SourceError> {
        if old.header.kind() != Kind::Attached {
            return Err(SourceError::Unsupported(
                "a detached header and its payload are two objects, which no store replaces at once: to reencrypt it, \
                 encrypt it anew under another name",
            ));
        }
        let (root, key) = self.find(item)?;
        let tag = tag_of(old)?;
        let front = root.store.front(&key, tag).await.map_err(store::not_written)?;
        let _room = self.room(reencrypt::memory(front.size, &root.store)).await?;
        let new = keys.header().clone();
        let place = replace::Place {
            store: &root.store,
            key: &key,
            tag,
            new: &new,
            temporary: left::name(&root.temporary_folder(&key), &key, &old.mac()),
        };
        let written = reencrypt::reencrypt(&place, front, old, keys).await?;
        self.remove_left(root, &key, &mac_of(&new)).await;
        Ok(written)
    }

    async fn tidy(&self, item: &Item, stored: &Stored) -> Result<(), SourceError> {
        let (root, key) = self.find(item)?;
        self.remove_left(root, &key, &stored.mac()).await;
        Ok(())
    }
}

fn tag_of(stored: &Stored) -> Result<&str, SourceError> {
    stored
        .tag
        .as_deref()
        .ok_or(SourceError::Unsupported("the store tells no tag to compare before it is written"))
}

/// Cancels what another thread does for a future when that is dropped.
struct Alive(Arc<AtomicBool>);

impl Alive {
    fn new() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

const MIB: u64 = 1024 * 1024;
/// Of all bodies that are under way.
const MEMORY_MIB: u32 = 64;
