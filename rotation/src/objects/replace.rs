//! Putting an envelope in the place of the one that was read.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use bytes::Bytes;
use envelope_sdk::{Header, format::armor};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use object_store::{Attributes, MultipartUpload, PutPayload, path::Path};
use tokio::runtime::Handle;

use super::{
    MIB, front,
    left::Temporary,
    store::{Got, Store, not_written},
};
use crate::{SourceError, Stored};

/// What is replaced, and by which header.
pub(super) struct Place<'a> {
    pub(super) store: &'a Arc<Store>,
    pub(super) key: &'a Path,
    /// Of what was read.
    pub(super) tag: &'a str,
    pub(super) new: &'a Header,
    /// A name for what cannot be written into its place at once.
    pub(super) temporary: Path,
}

/// Bytes that it takes to replace an object of `size` bytes by its copy.
pub(super) fn memory(size: u64, store: &Store) -> u64 {
    if size <= SMALL { 2 * size } else { 2 * part_len(size, store) }
}

/// Replaces the header; what follows it is copied.
pub(super) async fn header(place: &Place<'_>, front: Got, old: &Stored) -> Result<u64, SourceError> {
    check_tags(&front)?;
    if old.is_armored {
        let (binary, attributes) = dearmored(place, front).await?;
        let rest = binary.strip_prefix(old.header.to_bytes().as_slice()).ok_or(SourceError::Conflict)?;
        let text = armor::encode(&[place.new.to_bytes().as_slice(), rest].concat());
        return place.write(text.len() as u64, attributes, whole(text)).await;
    }
    let (old_bytes, new_bytes) = (old.header.to_bytes(), place.new.to_bytes());
    let old_len = old_bytes.len();
    let (front_bytes, size) = if front.bytes.len() < old_len && front.size > front.bytes.len() as u64 {
        let longer =
            place.store.get(place.key, 0..old_len as u64, Some(place.tag)).await.map_err(not_written)?;
        (longer.bytes, longer.size)
    } else {
        (front.bytes, front.size)
    };
    // The tag says so already. That of S3 may be an MD5.
    if !front_bytes.starts_with(&old_bytes) {
        return Err(SourceError::Conflict);
    }
    let total = size - old_len as u64 + new_bytes.len() as u64;
    let begin = [Ok(Bytes::from(new_bytes)), Ok(front_bytes.slice(old_len..))];
    let rest = pieces(place.store, place.key, place.tag, front_bytes.len() as u64..size);
    place.write(total, front.attributes, stream::iter(begin).chain(rest)).await
}

/// Refuses what would lose its tags.
pub(super) fn check_tags(front: &Got) -> Result<(), SourceError> {
    if front.has_tags {
        return Err(SourceError::Unsupported(
            "it has tags, which would be lost: remove them, and set them again afterwards",
        ));
    }
    Ok(())
}

/// The bytes that an armored object stands for.
pub(super) async fn dearmored(place: &Place<'_>, front: Got) -> Result<(Vec<u8>, Attributes), SourceError> {
    if front.size > SMALL {
        return Err(SourceError::Unsupported("an armored object of more than 8 MiB stays as it is"));
    }
    let got = place.store.get(place.key, 0..front.size, Some(place.tag)).await.map_err(not_written)?;
    let text = std::str::from_utf8(&got.bytes).map_err(SourceError::store)?;
    Ok((armor::decode(text)?, front.attributes))
}

/// The bytes of an object as long as it has the tag, piece by piece.
pub(super) fn pieces<'a>(
    store: &'a Store,
    key: &'a Path,
    tag: &'a str,
    range: Range<u64>,
) -> impl Stream<Item = Result<Bytes, SourceError>> + 'a {
    stream::try_unfold(range, move |range| async move {
        if range.is_empty() {
            return Ok(None);
        }
        let end = range.end.min(range.start + PIECE);
        let got = store.get(key, range.start..end, Some(tag)).await.map_err(not_written)?;
        if got.bytes.len() as u64 != end - range.start {
            return Err(SourceError::Conflict);
        }
        Ok(Some((got.bytes, end..range.end)))
    })
}

/// One piece.
pub(super) fn whole(bytes: impl Into<Bytes>) -> impl Stream<Item = Result<Bytes, SourceError>> {
    stream::iter([Ok(bytes.into())])
}

impl Place<'_> {
    /// Writes `total` bytes, which begin with the new header.
    pub(super) async fn write(
        &self,
        total: u64,
        attributes: Attributes,
        body: impl Stream<Item = Result<Bytes, SourceError>>,
    ) -> Result<u64, SourceError> {
        let written = if total <= SMALL {
            let payload: Vec<Bytes> = body.try_collect().await?;
            let payload = PutPayload::from_iter(payload);
            self.store.put(self.key, payload, self.tag, attributes).await.map_err(not_written)
        } else if self.store.completes_on_condition() {
            self.in_parts(total, attributes, body).await
        } else {
            self.by_copy(total, attributes, body).await
        };
        self.unless_there(written, total).await
    }

    /// The answer to a write may be lost, and the write tried again: then the new envelope is what is in its way.
    pub(super) async fn unless_there(
        &self,
        written: Result<(), SourceError>,
        total: u64,
    ) -> Result<u64, SourceError> {
        match written {
            Err(SourceError::Conflict) => match front::read(self.store, self.key).await {
                Ok(there) if there.header == *self.new => Ok(total),
                _ => Err(SourceError::Conflict),
            },
            written => written.map(|()| total),
        }
    }

    async fn in_parts(
        &self,
        total: u64,
        attributes: Attributes,
        body: impl Stream<Item = Result<Bytes, SourceError>>,
    ) -> Result<(), SourceError> {
        let mut upload = Upload::begin(self.store, self.key, attributes, total).await?;
        let uploaded = async {
            upload.take(body).await?;
            let inner = upload.rest().await?;
            self.store.complete(inner, self.tag).await.map_err(not_written)
        };
        match uploaded.await {
            Ok(()) => {
                upload.is_done();
                Ok(())
            }
            Err(error) => {
                upload.abort().await;
                Err(error)
            }
        }
    }

    async fn by_copy(
        &self,
        total: u64,
        attributes: Attributes,
        body: impl Stream<Item = Result<Bytes, SourceError>>,
    ) -> Result<(), SourceError> {
        let temporary = Temporary::new(self.store, self.temporary.clone());
        let copied = async {
            let mut upload = Upload::begin(self.store, &self.temporary, attributes, total).await?;
            upload.take(body).await?;
            let tag = upload.finish().await?;
            self.store.copy(&self.temporary, &tag, self.key, self.tag).await.map_err(not_written)
        };
        let copied = copied.await;
        temporary.remove().await;
        copied
    }
}

/// An upload in parts of the same length. It is aborted when it goes before it was completed.
pub(super) struct Upload {
    store: Arc<Store>,
    key: Path,
    inner: Option<Box<dyn MultipartUpload>>,
    part_len: usize,
    waiting: VecDeque<Bytes>,
    waiting_len: usize,
}

impl Upload {
    /// For an object that will have about `total` bytes.
    pub(super) async fn begin(
        store: &Arc<Store>,
        key: &Path,
        attributes: Attributes,
        total: u64,
    ) -> Result<Self, SourceError> {
        let part_len = part_len(total, store);
        if part_len > LONGEST_PART {
            return Err(SourceError::Unsupported(
                "it is larger than 10,000 parts of 64 MiB (of Azure, 50,000)",
            ));
        }
        let inner = Some(store.upload(key, attributes).await.map_err(not_written)?);
        Ok(Self {
            store: Arc::clone(store),
            key: key.clone(),
            inner,
            part_len: usize::try_from(part_len).unwrap_or(usize::MAX),
            waiting: VecDeque::new(),
            waiting_len: 0,
        })
    }

    pub(super) async fn take(
        &mut self,
        body: impl Stream<Item = Result<Bytes, SourceError>>,
    ) -> Result<(), SourceError> {
        let mut body = std::pin::pin!(body);
        while let Some(bytes) = body.next().await {
            self.push(bytes?).await?;
        }
        Ok(())
    }

    pub(super) async fn push(&mut self, bytes: Bytes) -> Result<(), SourceError> {
        self.waiting_len += bytes.len();
        self.waiting.push_back(bytes);
        while self.waiting_len >= self.part_len {
            self.send(self.part_len).await?;
        }
        Ok(())
    }

    /// Completes it under a name of its own, and returns its tag.
    pub(super) async fn finish(mut self) -> Result<String, SourceError> {
        let completed = match self.rest().await {
            Ok(inner) => inner.complete().await.map(drop).map_err(not_written),
            Err(error) => Err(error),
        };
        if let Err(error) = completed {
            self.abort().await;
            return Err(error);
        }
        self.is_done();
        let tag = self.store.get(&self.key, 0..1, None).await.map_err(not_written)?.tag;
        tag.ok_or(SourceError::Unsupported("the store tells no tag of what it was sent"))
    }

    /// Sends the last part.
    async fn rest(&mut self) -> Result<&mut dyn MultipartUpload, SourceError> {
        if self.waiting_len > 0 {
            self.send(self.waiting_len).await?;
        }
        Ok(self.inner()?.as_mut())
    }

    async fn send(&mut self, len: usize) -> Result<(), SourceError> {
        let (mut part, mut missing) = (Vec::new(), len);
        while missing > 0
            && let Some(mut bytes) = self.waiting.pop_front()
        {
            if bytes.len() > missing {
                self.waiting.push_front(bytes.split_off(missing));
            }
            missing -= bytes.len();
            part.push(bytes);
        }
        self.waiting_len -= len;
        let sent = self.inner()?.put_part(PutPayload::from_iter(part));
        sent.await.map_err(not_written)
    }

    fn inner(&mut self) -> Result<&mut Box<dyn MultipartUpload>, SourceError> {
        self.inner.as_mut().ok_or(SourceError::Conflict)
    }

    fn is_done(&mut self) {
        self.inner = None;
    }

    async fn abort(&mut self) {
        if let Some(mut inner) = self.inner.take() {
            // What stays is no object, and goes by the rules of the bucket.
            let _ = inner.abort().await;
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let (Some(mut inner), Ok(runtime)) = (self.inner.take(), Handle::try_current()) {
            runtime.spawn(async move { inner.abort().await });
        }
    }
}

/// Bytes of each part but the last.
fn part_len(total: u64, store: &Store) -> u64 {
    SMALL.max(total.div_ceil(store.most_parts()).next_multiple_of(MIB))
}

/// Most bytes that are written by one request.
pub(super) const SMALL: u64 = 8 * MIB;
/// Bytes that are read by one request.
pub(super) const PIECE: u64 = 4 * MIB;
const LONGEST_PART: u64 = 64 * MIB;
