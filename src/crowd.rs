//! [`Crowd`]: one piece of work for all who want what comes of it; [`Apart`]: the same of work that blocks.

mod apart;

use std::{
    fmt,
    panic::AssertUnwindSafe,
    sync::{Mutex, MutexGuard, PoisonError},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};

pub use apart::{Apart, NotDone};

/// Does one piece of work for a crowd of calls: a question to a key store, an opening, a reading.
///
/// Whoever waits drives the work. So a call that is no longer polled holds up no other, as it would
/// with a lock that is held while something is waited for; and when all who wait are
/// gone, so is the work. (Connections and timers of a runtime are driven by that runtime alone: work that
/// has some ends only if the runtime of the call that began it goes on running.)
///
/// A panic of the work is told to all who wait. What begins it, and what is done when it is dropped, must not
/// panic.
///
/// The next call after its end begins anew. Work whose answer is to stay looks for
/// it first and keeps it before it ends: then it is done once, whoever comes when.
pub struct Crowd<T>(Mutex<Option<WeakShared<Work<T>>>>);

type Work<T> = BoxFuture<'static, Result<T, Panicked>>;

/// The work panicked, which is told to all who waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the work panicked")]
pub struct Panicked;

impl<T: Clone + Send + Sync + 'static> Crowd<T> {
    /// Waits for the work that is under way, or begins it.
    ///
    /// # Errors
    ///
    /// [`Panicked`].
    pub async fn join<W>(&self, begin: impl FnOnce() -> W) -> Result<T, Panicked>
    where
        W: Future<Output = T> + Send + 'static,
    {
        self.work(begin).await
    }

    /// Waits for work that begins after this call: what is under way now may have looked
    /// at something before it changed.
    ///
    /// # Errors
    ///
    /// [`Panicked`].
    pub async fn join_next<W>(&self, begin: impl FnOnce() -> W) -> Result<T, Panicked>
    where
        W: Future<Output = T> + Send + 'static,
    {
        let before = Self::under_way(&self.lock());
        if let Some(before) = before {
            // Told to those who wait for it.
            let _ = before.await;
        }
        self.join(begin).await
    }

    fn work<W>(&self, begin: impl FnOnce() -> W) -> Shared<Work<T>>
    where
        W: Future<Output = T> + Send + 'static,
    {
        let mut known = self.lock();
        if let Some(work) = Self::under_way(&known) {
            return work;
        }
        let work = AssertUnwindSafe(begin()).catch_unwind().map(|done| done.map_err(|_| Panicked));
        let work = work.boxed().shared();
        *known = work.downgrade();
        work
    }

    fn under_way(known: &Option<WeakShared<Work<T>>>) -> Option<Shared<Work<T>>> {
        known.as_ref().and_then(WeakShared::upgrade).filter(|work| work.peek().is_none())
    }

    fn lock(&self) -> MutexGuard<'_, Option<WeakShared<Work<T>>>> {
        // Each change of it is one assignment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Crowd<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> fmt::Debug for Crowd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Crowd(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, poll_fn, ready},
        pin::pin,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::{Context, Poll, Waker},
    };

    use futures_executor::block_on;
    use futures_util::future::join_all;

    use super::*;

    #[test]
    fn a_crowd_has_the_work_done_once_and_the_next_one_anew() {
        let (crowd, begun, arrived) = (Crowd::default(), AtomicUsize::new(0), Arc::default());
        let begin = || {
            let (number, arrived) = (begun.fetch_add(1, Ordering::SeqCst), Arc::clone(&arrived));
            async move {
                all(&arrived, 64).await;
                number
            }
        };
        let one = async || {
            arrived.fetch_add(1, Ordering::SeqCst);
            crowd.join(begin).await
        };
        let answers = block_on(join_all((0..64).map(|_| one())));
        assert!(answers.iter().all(|answer| *answer == Ok(0)), "{answers:?}");
        assert_eq!(block_on(one()), Ok(1));
    }

    #[test]
    fn the_next_work_begins_after_the_call_and_is_one_for_all_who_called() {
        let (crowd, gate, begun) = (Crowd::default(), Arc::default(), AtomicUsize::new(0));
        let begin = || {
            let (number, gate) = (begun.fetch_add(1, Ordering::SeqCst), Arc::clone(&gate));
            async move {
                all(&gate, number + 1).await;
                number
            }
        };
        let mut first = pin!(crowd.join(begin));
        assert!(poll_once(first.as_mut()).is_pending());
        let mut next = pin!(join_all((0..8).map(|_| crowd.join_next(begin))));
        assert!(poll_once(next.as_mut()).is_pending());
        gate.store(1, Ordering::SeqCst);
        assert!(poll_once(next.as_mut()).is_pending());
        gate.store(2, Ordering::SeqCst);
        assert_eq!(block_on(next), [Ok(1); 8]);
        assert_eq!(block_on(first), Ok(0));
    }

    #[test]
    fn work_that_nobody_waits_for_is_gone() {
        let crowd = Crowd::<u8>::default();
        assert!(poll_once(crowd.join(pending)).is_pending());
        assert_eq!(block_on(crowd.join(|| ready(7))), Ok(7));
    }

    #[test]
    fn a_panic_is_told_to_all_and_is_not_for_ever() {
        let crowd = Crowd::<u8>::default();
        let arrived = Arc::default();
        let work = || {
            let arrived = Arc::clone(&arrived);
            async move {
                all(&arrived, 2).await;
                panic!("of the work")
            }
        };
        let one = async || {
            arrived.fetch_add(1, Ordering::SeqCst);
            crowd.join(work).await
        };
        let told = block_on(join_all([one(), one()]));
        assert_eq!(told, [Err(Panicked), Err(Panicked)]);
        assert_eq!(block_on(crowd.join(|| ready(7))), Ok(7));
    }

    /// Waits until so many have arrived.
    async fn all(arrived: &AtomicUsize, count: usize) {
        poll_fn(|task| {
            task.waker().wake_by_ref();
            if arrived.load(Ordering::SeqCst) >= count { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn poll_once<T>(future: impl Future<Output = T>) -> Poll<T> {
        pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }
}
