//! Services, and a table that answers when a test lets it.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_trait::async_trait;
use envelope_layers::{DataKeyId, DataKeyLimits, DataKeyStore, DataKeys, MemoryDataKeyStore, StoreError};
use envelope_sdk::{EncryptionContext, Envelope, Keyring};
use envelope_testkit::MemoryProvider;
use tokio::sync::Semaphore;

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Headers in memory. `put` and `find` return `Pending` a few times, then wait for the gate, which is open at first.
#[derive(Debug)]
pub(crate) struct Table {
    headers: Mutex<Vec<(DataKeyId, Vec<u8>)>>,
    yields: usize,
    gate: Semaphore,
    fails: AtomicBool,
    pub(crate) finds: AtomicUsize,
}

impl Default for Table {
    fn default() -> Self {
        Self::that_yields(0)
    }
}

impl Table {
    pub(crate) fn that_yields(yields: usize) -> Self {
        Self {
            headers: Mutex::default(),
            yields,
            gate: Semaphore::new(OPEN),
            fails: AtomicBool::new(false),
            finds: AtomicUsize::new(0),
        }
    }

    pub(crate) fn close(&self) {
        self.gate.forget_permits(OPEN);
    }

    pub(crate) fn open(&self) {
        self.gate.add_permits(OPEN);
    }

    pub(crate) fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::SeqCst);
    }

    pub(crate) fn headers(&self) -> Vec<Vec<u8>> {
        self.headers.lock().unwrap().iter().map(|(_, header)| header.clone()).collect()
    }

    /// Writes what stands at an id, whatever it is.
    pub(crate) fn write(&self, id: DataKeyId, header: &[u8]) {
        let mut headers = self.headers.lock().unwrap();
        headers.retain(|(known, _)| *known != id);
        headers.push((id, header.to_vec()));
    }

    async fn answer(&self) -> Result<(), StoreError> {
        for _ in 0..self.yields {
            yield_once().await;
        }
        let _permit = self.gate.acquire().await;
        if self.fails.load(Ordering::SeqCst) { Err("the table is locked".into()) } else { Ok(()) }
    }
}

#[async_trait]
impl DataKeyStore for Table {
    async fn put(&self, id: &DataKeyId, header: &[u8]) -> Result<(), StoreError> {
        self.answer().await?;
        self.write(*id, header);
        Ok(())
    }

    async fn find(&self, id: &DataKeyId) -> Result<Option<Vec<u8>>, StoreError> {
        self.finds.fetch_add(1, Ordering::SeqCst);
        self.answer().await?;
        let headers = self.headers.lock().unwrap();
        Ok(headers.iter().find(|(known, _)| known == id).map(|(_, header)| header.clone()))
    }
}

/// A key in memory, `memory:one`.
pub(crate) fn provider() -> Arc<MemoryProvider> {
    Arc::new(MemoryProvider::new().with_key(&MemoryProvider::key("one")))
}

pub(crate) fn data_keys(
    provider: &Arc<MemoryProvider>,
    store: impl DataKeyStore + 'static,
    limits: DataKeyLimits,
) -> DataKeys {
    let keyring = Keyring::new().both(provider.clone(), MemoryProvider::key("one"));
    DataKeys::new(Envelope::new(keyring), store, limits)
}

/// With a store of its own.
pub(crate) fn service(provider: &Arc<MemoryProvider>, limits: DataKeyLimits) -> DataKeys {
    data_keys(provider, MemoryDataKeyStore::new(), limits)
}

pub(crate) fn tenant(name: &str) -> EncryptionContext {
    EncryptionContext::new().with("tenant", name)
}

pub(crate) fn row(number: u64) -> EncryptionContext {
    EncryptionContext::new().with("row", number.to_string())
}

/// Polls once.
pub(crate) fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls `future` at most `polls` times and drops it.
pub(crate) async fn dropped_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Poll::Ready(output) = poll_fn(|task| Poll::Ready(future.as_mut().poll(task))).await {
            return Some(output);
        }
    }
    None
}

async fn yield_once() {
    let mut yielded = false;
    poll_fn(|task| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        task.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

const OPEN: usize = 1 << 20;
