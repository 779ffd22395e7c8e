//! [`Apart`]: work that may block for ever, on a thread that nobody waits for.

use std::{
    fmt,
    future::poll_fn,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Poll, Waker},
    thread,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};

use super::Panicked;

/// Does one piece of work that may block for ever, such as reading a pipe that nobody writes to, for all who
/// want what comes of it.
///
/// The work has a thread of its own, and none of a runtime: a runtime waits at its end for each of its threads, and
/// this one may never end. It goes on when nobody waits any more, and whoever comes then waits for it: there is
/// one such thread for each `Apart`, however many calls were given up. The process does not wait for it.
///
/// The next call after its end begins anew, as with a [`Crowd`](super::Crowd), and what nobody waited for is
/// dropped. Work whose answer is to stay looks for it first and keeps it before it ends.
pub struct Apart<T>(Mutex<Known<T>>);

/// What is under way. It is held by the thread and by who waits, and gone with them.
struct Known<T> {
    letter: Weak<Mutex<Letter<T>>>,
    waiting: Option<WeakShared<Work<T>>>,
}

type Work<T> = BoxFuture<'static, Result<T, Panicked>>;

/// Why there is nothing that came of the work.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum NotDone {
    /// The operating system gave no thread. The work was not begun.
    #[error("no thread is to be had")]
    NoThread(#[source] Arc<io::Error>),
    /// It panicked.
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

impl<T: Clone + Send + Sync + 'static> Apart<T> {
    /// Waits for the work that is under way, or begins it.
    ///
    /// # Errors
    ///
    /// [`NotDone`].
    pub async fn join(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, NotDone> {
        let waiting = self.begin(work, |run| thread::Builder::new().name(NAME.into()).spawn(run).map(drop));
        Ok(waiting.map_err(|error| NotDone::NoThread(Arc::new(error)))?.await?)
    }

    fn begin(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
        spawn: impl FnOnce(Box<dyn FnOnce() + Send>) -> io::Result<()>,
    ) -> io::Result<Shared<Work<T>>> {
        let mut known = lock(&self.0);
        let under_way = known.letter.upgrade().filter(|letter| !lock(letter).is_written);
        let letter = match under_way {
            Some(letter) => {
                if let Some(waiting) = known.waiting.as_ref().and_then(WeakShared::upgrade) {
                    return Ok(waiting);
                }
                letter
            }
            None => {
                let letter = Arc::default();
                let written = Arc::clone(&letter);
                spawn(Box::new(move || write(&written, work)))?;
                letter
            }
        };
        known.letter = Arc::downgrade(&letter);
        let waiting = poll_fn(move |task| lock(&letter).read(task.waker())).boxed().shared();
        known.waiting = waiting.downgrade();
        Ok(waiting)
    }
}

/// Does the work, and leaves what came of it.
fn write<T>(letter: &Mutex<Letter<T>>, work: impl FnOnce() -> T) {
    let outcome = catch_unwind(AssertUnwindSafe(work)).map_err(|_| Panicked);
    let mut letter = lock(letter);
    letter.outcome = Some(outcome);
    letter.is_written = true;
    let reader = letter.reader.take();
    drop(letter);
    if let Some(reader) = reader {
        reader.wake();
    }
}

/// What the thread leaves, and who is to hear of it.
struct Letter<T> {
    outcome: Option<Result<T, Panicked>>,
    is_written: bool,
    reader: Option<Waker>,
}

impl<T> Letter<T> {
    /// Once, by the one future that all who wait share.
    fn read(&mut self, reader: &Waker) -> Poll<Result<T, Panicked>> {
        match self.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                self.reader = Some(reader.clone());
                Poll::Pending
            }
        }
    }
}

impl<T> Default for Letter<T> {
    fn default() -> Self {
        Self { outcome: None, is_written: false, reader: None }
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change of it is one step.
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Default for Apart<T> {
    fn default() -> Self {
        Self(Mutex::new(Known { letter: Weak::new(), waiting: None }))
    }
}

impl<T> fmt::Debug for Apart<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Apart(..)")
    }
}

/// At most 15 bytes, as Linux has it.
const NAME: &str = "envelope-apart";

#[cfg(test)]
mod tests {
    use std::{
        pin::{Pin, pin},
        sync::mpsc::{Sender, channel},
        task::Context,
    };

    use futures_executor::block_on;

    use super::*;

    #[test]
    fn work_that_was_given_up_goes_on_and_whoever_comes_then_waits_for_it() {
        let apart = Apart::default();
        let (go_on, may_go_on) = channel();
        assert!(poll_once(&mut pin!(apart.join(move || may_go_on.recv().unwrap()))).is_pending());
        let mut second = Box::pin(apart.join(|| panic!("begun twice")));
        let mut third = Box::pin(apart.join(|| panic!("begun thrice")));
        assert!(poll_once(&mut second).is_pending() && poll_once(&mut third).is_pending());
        drop(second);
        go_on.send(7).unwrap();
        assert_eq!(block_on(third).unwrap(), 7);
        assert_eq!(block_on(apart.join(|| 8)).unwrap(), 8);
    }

    /// It may be old by then.
    #[test]
    fn what_nobody_waited_for_is_dropped_and_the_next_call_begins_anew() {
        struct Told(Sender<()>);
        impl Drop for Told {
            fn drop(&mut self) {
                self.0.send(()).unwrap();
            }
        }
        let apart = Apart::default();
        let (go_on, may_go_on) = channel::<()>();
        let (gone, is_gone) = channel();
        let told = Arc::new(Told(gone));
        let work = move || {
            may_go_on.recv().unwrap();
            Some(told)
        };
        assert!(poll_once(&mut pin!(apart.join(work))).is_pending());
        go_on.send(()).unwrap();
        is_gone.recv().unwrap();
        assert!(block_on(apart.join(|| None)).unwrap().is_none());
    }

    #[test]
    fn a_panic_is_told_and_is_not_for_ever() {
        let apart = Apart::<u8>::default();
        let told = block_on(apart.join(|| panic!("of the work")));
        assert!(matches!(told, Err(NotDone::Panicked(Panicked))), "{told:?}");
        assert_eq!(block_on(apart.join(|| 7)).unwrap(), 7);
    }

    #[test]
    fn where_no_thread_is_to_be_had_there_is_an_error_and_the_next_call_begins_anew() {
        let apart = Apart::<u8>::default();
        let refused = apart.begin(|| 1, |_| Err(io::ErrorKind::WouldBlock.into())).map(drop);
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(block_on(apart.join(|| 7)).unwrap(), 7);
    }

    fn poll_once<F: Future>(future: &mut Pin<impl std::ops::DerefMut<Target = F>>) -> Poll<F::Output> {
        future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }
}
