//! What a job takes its items from.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{FutureExt, StreamExt};
use tokio::sync::Mutex as AsyncMutex;

use crate::{Item, Listing, Shard, SourceError};

/// The items of a shard, for whoever takes the next one.
#[derive(Clone)]
pub(crate) struct Items {
    /// What was listed and not taken. The other lock is handed from one who waits for it to the next, each of whom must be woken.
    ready: Arc<Mutex<VecDeque<Result<Item, SourceError>>>>,
    listing: Arc<AsyncMutex<Listing>>,
    shard: Shard,
    looks_ahead: bool,
}

impl Items {
    /// `looks_ahead`: whether to take what is listed by now along with what is asked for. Not of a listing that asks a server: a page
    /// that is begun and that nobody waits for is too late when somebody does.
    pub(crate) fn of(listing: Listing, shard: Shard, looks_ahead: bool) -> Self {
        Self { ready: Arc::default(), listing: Arc::new(AsyncMutex::new(listing)), shard, looks_ahead }
    }

    /// The next one, once there is one.
    pub(crate) async fn next(&self) -> Option<Result<Item, SourceError>> {
        if let Some(listed) = self.take() {
            return Some(listed);
        }
        let mut listing = self.listing.lock().await;
        // Whoever had it before has listed more.
        if let Some(listed) = self.take() {
            return Some(listed);
        }
        let first = loop {
            let listed = listing.next().await?;
            if self.is_of_shard(&listed) {
                break listed;
            }
        };
        let mut ready = VecDeque::new();
        while self.looks_ahead
            && ready.len() < READY
            && let Some(Some(listed)) = listing.next().now_or_never()
        {
            if self.is_of_shard(&listed) {
                ready.push_back(listed);
            }
        }
        *self.lock() = ready;
        Some(first)
    }

    fn take(&self) -> Option<Result<Item, SourceError>> {
        self.lock().pop_front()
    }

    /// What cannot be listed is of no shard, so each tells it.
    fn is_of_shard(&self, listed: &Result<Item, SourceError>) -> bool {
        listed.as_ref().map_or(true, |item| self.shard.has(item))
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Result<Item, SourceError>>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Items that are listed before somebody takes them, at most.
const READY: usize = 64;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures_util::stream;

    use super::*;

    fn name(items: &Items) -> Option<String> {
        items.next().now_or_never().unwrap().map(|item| item.unwrap().to_string())
    }

    #[test]
    fn a_page_of_a_server_is_not_asked_for_before_somebody_waits_for_it() {
        for looks_ahead in [false, true] {
            let is_asked = Arc::new(AtomicBool::new(false));
            let asked = Arc::clone(&is_asked);
            let page = async move {
                asked.store(true, Ordering::Relaxed);
                Ok(Item::found("second"))
            };
            let listing = stream::iter([Ok(Item::found("first"))]).chain(stream::once(page)).fuse().boxed();
            let items = Items::of(listing, Shard::ALL, looks_ahead);
            assert_eq!(name(&items).as_deref(), Some("first"));
            assert_eq!(is_asked.load(Ordering::Relaxed), looks_ahead);
            assert_eq!(name(&items).as_deref(), Some("second"));
            assert_eq!(name(&items), None);
        }
    }
}
