//! A new DEK for an attached envelope.

use std::io::Write;

use bytes::Bytes;
use envelope_sdk::format::armor;
use object_store::Attributes;
use tokio::{
    sync::mpsc,
    task::{JoinError, spawn_blocking},
};

use super::{
    Alive,
    left::Temporary,
    remote::{Pieces, Remote},
    replace::{self, PIECE, Place, SMALL, Upload, check_tags, dearmored, pieces, whole},
    store::{Got, Store, not_written},
};
use crate::{Reencryption, SourceError, Stored, reencryption::Sealed};

/// Bytes that it takes for an object of `size` bytes.
pub(super) fn memory(size: u64, store: &Store) -> u64 {
    if size <= SMALL { 3 * size } else { 2 * PIECE + replace::memory(size, store) }
}

/// Replaces an envelope by one under a new DEK, when that was found to hold the same.
pub(super) async fn reencrypt(
    place: &Place<'_>,
    front: Got,
    old: &Stored,
    keys: Reencryption,
) -> Result<u64, SourceError> {
    check_tags(&front)?;
    if front.size > SMALL && !old.is_armored {
        return large(place, front, old, keys).await;
    }
    let (from, attributes) = if old.is_armored {
        dearmored(place, front).await?
    } else {
        let got = place.store.get(place.key, 0..front.size, Some(place.tag)).await.map_err(not_written)?;
        (got.bytes.into(), front.attributes)
    };
    if !from.starts_with(&old.header.to_bytes()) {
        return Err(SourceError::Conflict);
    }
    let payload_at = old.header.len() as u64;
    let new = blocking(move || {
        let mut new = keys.header().to_bytes();
        let new_payload_at = new.len() as u64;
        keys.seal(&from, payload_at, &mut new)?.check(&new, new_payload_at)?;
        Ok(new)
    })
    .await?;
    let new = if old.is_armored { armor::encode(&new).into_bytes() } else { new };
    place.write(new.len() as u64, attributes, whole(new)).await
}

/// By a temporary object.
async fn large(place: &Place<'_>, front: Got, old: &Stored, keys: Reencryption) -> Result<u64, SourceError> {
    let temporary = Temporary::new(place.store, place.temporary.clone());
    let replaced = by_temporary(place, front, old, keys).await;
    temporary.remove().await;
    replaced
}

async fn by_temporary(
    place: &Place<'_>,
    front: Got,
    old: &Stored,
    keys: Reencryption,
) -> Result<u64, SourceError> {
    let alive = Alive::new();
    let old_bytes = old.header.to_bytes();
    let begin =
        place.store.get(place.key, 0..old_bytes.len() as u64, Some(place.tag)).await.map_err(not_written)?;
    if begin.bytes != old_bytes {
        return Err(SourceError::Conflict);
    }
    let header_len = keys.header().len() as u64;
    let attributes = front.attributes.clone();
    let (sealed, tag) = seal(place, &front, attributes, old_bytes.len() as u64, keys, &alive).await?;
    let size = place.store.get(&place.temporary, 0..1, Some(&tag)).await.map_err(not_written)?.size;

    let written = Remote::new(place.store, &place.temporary, &tag, size, &alive);
    blocking(move || sealed.check(&written, header_len).map(drop).map_err(|error| written.error(error)))
        .await?;

    if place.store.completes_on_condition() {
        let body = pieces(place.store, &place.temporary, &tag, 0..size);
        return place.write(size, front.attributes, body).await;
    }
    let copied = place.store.copy(&place.temporary, &tag, place.key, place.tag).await.map_err(not_written);
    place.unless_there(copied, size).await
}

/// Writes header and payload to the temporary object, and returns its tag.
async fn seal(
    place: &Place<'_>,
    front: &Got,
    attributes: Attributes,
    payload_at: u64,
    keys: Reencryption,
    alive: &Alive,
) -> Result<(Sealed, String), SourceError> {
    let from = Remote::new(place.store, place.key, place.tag, front.size, alive);
    let mut upload =
        Upload::begin(place.store, &place.temporary, attributes, front.size + LONGEST_GROWTH).await?;
    let (send, receive) = mpsc::channel::<Bytes>(1);
    let sealing = blocking(move || {
        let mut to = Pieces::new(send);
        to.write_all(&keys.header().to_bytes()).map_err(SourceError::store)?;
        let sealed = keys.seal(&from, payload_at, &mut to).map_err(|error| from.error(error))?;
        to.flush().map_err(SourceError::store)?;
        Ok(sealed)
    });
    // Where uploading fails, sealing fails for want of a reader: the first error is the reason.
    let uploading = async {
        let mut receive = receive;
        while let Some(bytes) = receive.recv().await {
            upload.push(bytes).await?;
        }
        Ok::<_, SourceError>(())
    };
    let (sealed, uploaded) = futures_util::future::join(sealing, uploading).await;
    uploaded?;
    let sealed = sealed?;
    Ok((sealed, upload.finish().await?))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    spawn_blocking(work).await.unwrap_or_else(|error: JoinError| Err(SourceError::store(error)))
}

/// Another header is longer by this at most.
const LONGEST_GROWTH: u64 = 128 * 1024;
