//! Which threads items are worked on: those of the runtime, or some that may block.
//!
//! A source whose store answers at once, such as files, has nothing to wait for but system calls. To hand each of them to another
//! thread and back costs more than the call. So a job gives such a source threads of its own.

use std::{cell::Cell, future::Future};

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::{JoinSet, spawn_blocking},
};

use crate::SourceError;

/// Spawns `workers` futures: on the runtime, or, if what they do `blocks`, on threads that may.
pub(crate) fn spawn<F>(tasks: &mut JoinSet<()>, workers: usize, blocks: bool, worker: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = Handle::current();
    // A runtime of one thread drives its clock itself, and waits for threads that may block before it lets time pass in a test.
    if !blocks || runtime.runtime_flavor() == RuntimeFlavor::CurrentThread {
        for _ in 0..workers {
            tasks.spawn(worker());
        }
        return;
    }
    let threads = workers.min(THREADS);
    for thread in 0..threads {
        let share = workers / threads + usize::from(thread < workers % threads);
        let workers: Vec<_> = (0..share).map(|_| worker()).collect();
        let runtime = runtime.clone();
        tasks.spawn_blocking(move || {
            let _may_block = MayBlock::begin();
            runtime.block_on(futures_util::future::join_all(workers));
        });
    }
}

/// Runs what blocks: here, if this thread may, or on one that may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    if may_block() { work() } else { elsewhere(work).await }
}

/// Whether this thread may block.
pub(crate) fn may_block() -> bool {
    MAY_BLOCK.get()
}

/// Runs what blocks on another thread.
pub(crate) async fn elsewhere<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(SourceError::store(error)),
    }
}

/// Until it is dropped, also by a panic, this thread may block.
struct MayBlock;

impl MayBlock {
    fn begin() -> Self {
        MAY_BLOCK.set(true);
        Self
    }
}

impl Drop for MayBlock {
    fn drop(&mut self) {
        MAY_BLOCK.set(false);
    }
}

thread_local! {
    static MAY_BLOCK: Cell<bool> = const { Cell::new(false) };
}

/// Threads of one job at most. Items beyond them share a thread, and so wait for each other's system calls, not for key stores.
const THREADS: usize = 32;
