//! Work that blocks, Argon2id and writes to disk, kept off the thread that polls
//! a future.
//!
//! It gets a thread of its own and not one of a runtime's pool: this crate
//! depends on no runtime, and a pool that can get no thread panics or waits for
//! a busy one, while this does the work where it is. Callers that take memory or
//! wait do so [in turn](InTurn), so there is one such thread for each provider or
//! keystore, and those beside that only read a file.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use envelope_sdk::crowd::{Apart, NotDone};
use futures_channel::oneshot;

/// The work panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the thread that did it panicked")]
pub(crate) struct Panicked;

/// Does `work` on another thread, or on this one where none is to be had.
///
/// A caller that is dropped does not stop the work; what it returns is dropped
/// then. A panic of the work ends neither thread.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Panicked> {
    run_on(|thread| thread::Builder::new().name("envelope-local".into()).spawn(thread).map(drop), work).await
}

async fn run_on<T: Send + 'static>(
    spawn: impl FnOnce(Box<dyn FnOnce() + Send>) -> io::Result<()>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Panicked> {
    let (sender, receiver) = oneshot::channel();
    // A thread that does not start takes what it was given with it.
    let work = Arc::new(Mutex::new(Some(work)));
    let of_thread = Arc::clone(&work);
    let spawned = spawn(Box::new(move || {
        if let Some(work) = take(&of_thread) {
            // Nobody waits any more where this fails.
            let _ = sender.send(caught(work));
        }
    }));
    match spawned {
        Ok(()) => receiver.await.map_err(|_| Panicked)?,
        Err(_) => caught(take(&work).ok_or(Panicked)?),
    }
}

/// Does one piece of work after the other, each as [`run`] does.
///
/// A turn is nobody's before it is taken: with a lock that is handed on, a call that waits for it and is no longer
/// polled would keep it from all behind.
#[derive(Default)]
pub(crate) struct InTurn(Apart<()>);

impl InTurn {
    /// Does `work` when nothing else is under way, also nothing that nobody waits for any more; unless what comes of it
    /// is `known` by then.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        known: impl Fn() -> Option<T>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Panicked> {
        let (work, done) = (Arc::new(Mutex::new(Some(work))), Arc::new(Mutex::new(None)));
        loop {
            if let Some(known) = known() {
                return Ok(known);
            }
            let (of_thread, told) = (Arc::clone(&work), Arc::clone(&done));
            let turn = self.0.join(move || {
                if let Some(work) = take(&of_thread) {
                    let outcome = caught(work);
                    *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
                }
            });
            match (turn.await, take(&done)) {
                (_, Some(outcome)) => return outcome,
                // It was another's turn.
                (Ok(()), None) => {}
                (Err(NotDone::NoThread(_)), None) => return caught(take(&work).ok_or(Panicked)?),
                (Err(_), None) => return Err(Panicked),
            }
        }
    }
}

/// What `work` returns, or that it panicked. It must leave behind nothing half-done that others see.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Panicked)
}

fn take<W>(work: &Mutex<Option<W>>) -> Option<W> {
    work.lock().unwrap_or_else(PoisonError::into_inner).take()
}

#[cfg(test)]
mod tests {
    use futures_executor::block_on;

    use super::*;

    #[test]
    fn work_is_done_on_another_thread() {
        let here = thread::current().id();
        assert_ne!(block_on(run(|| thread::current().id())), Ok(here));
    }

    #[test]
    fn where_no_thread_is_to_be_had_the_work_is_done_on_this_one() {
        let here = thread::current().id();
        let none = |thread| {
            drop(thread);
            Err(io::Error::from(io::ErrorKind::WouldBlock))
        };
        assert_eq!(block_on(run_on(none, || thread::current().id())), Ok(here));
    }

    #[test]
    fn a_panic_of_the_work_is_an_error_of_the_call() {
        assert_eq!(block_on(run(|| -> () { panic!("on purpose") })), Err(Panicked));
        let none = |_| Err(io::Error::from(io::ErrorKind::WouldBlock));
        assert_eq!(block_on(run_on(none, || -> () { panic!("on purpose") })), Err(Panicked));
    }

    #[test]
    fn work_that_nobody_waits_for_any_more_is_done_to_its_end() {
        let (started, did_start) = std::sync::mpsc::channel();
        let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
        let (ended, did_end) = std::sync::mpsc::channel();
        let mut call = Box::pin(run(move || {
            started.send(()).unwrap();
            may_go_on.recv().unwrap();
            ended.send(()).unwrap();
        }));
        let polled = call.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        assert!(polled.is_pending());
        did_start.recv().unwrap();
        drop(call);
        go_on.send(()).unwrap();
        did_end.recv().unwrap();
    }

    #[test]
    fn whoever_waits_a_turn_and_is_not_polled_any_more_holds_up_no_other() {
        let turns = InTurn::default();
        let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
        let mut first = Box::pin(turns.run(|| None, move || may_go_on.recv().unwrap()));
        let mut second = Box::pin(turns.run(|| None, || 2));
        let mut third = Box::pin(turns.run(|| None, || 3));
        let mut idle = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(first.as_mut().poll(&mut idle).is_pending());
        assert!(second.as_mut().poll(&mut idle).is_pending());
        assert!(third.as_mut().poll(&mut idle).is_pending());
        go_on.send(()).unwrap();
        assert_eq!(block_on(third), Ok(3));
        assert_eq!(block_on(second), Ok(2));
        assert_eq!(block_on(first), Ok(()));
    }

    #[test]
    fn a_turn_whose_work_panics_is_over() {
        let turns = InTurn::default();
        assert_eq!(block_on(turns.run(|| None, || -> () { panic!("on purpose") })), Err(Panicked));
        assert_eq!(block_on(turns.run(|| None, || 7)), Ok(7));
        assert_eq!(block_on(turns.run(|| Some(8), || 7)), Ok(8), "it is known");
    }
}
