//! Calls that the end of the process must not cut off: those of a PKCS#11 module, which is
//! code of others in this process. Cut off while it writes, a token in software loses keys; and
//! a module that is called while the process runs its exit handlers crashes it.
//!
//! Who makes such calls holds an [`UnderWay`] meanwhile. Who ends the process calls [`end`] first.

use std::{
    cell::Cell,
    marker::PhantomData,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Keeps [`end`] waiting until it is dropped, on the thread that made it. There may be several on one thread.
#[must_use = "what is under way ends when this is dropped"]
pub struct UnderWay(PhantomData<*const ()>);

impl UnderWay {
    /// Begins a call. Once the process [ends](end), this waits for that.
    pub fn begin() -> Self {
        let depth = DEPTH.get();
        if depth == 0 {
            enter();
        }
        DEPTH.set(depth + 1);
        Self(PhantomData)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let depth = DEPTH.get() - 1;
        DEPTH.set(depth);
        if depth == 0 {
            leave();
        }
    }
}

/// Runs what the end of the process need not wait for, in the middle of a call that it would
/// wait for: asking a person.
pub fn aside<T>(work: impl FnOnce() -> T) -> T {
    let _back = Back::step_aside(DEPTH.replace(0));
    work()
}

struct Back(usize);

impl Back {
    fn step_aside(depth: usize) -> Self {
        if depth > 0 {
            leave();
        }
        Self(depth)
    }
}

impl Drop for Back {
    fn drop(&mut self) {
        if self.0 > 0 {
            enter();
        }
        DEPTH.set(self.0);
    }
}

/// Lets no call begin any more, and waits for those that are under way: until there is none, or
/// `wait_on` says no. It is asked now and then, and told how long it has been.
///
/// What would begin one waits for ever, so call this only when the process is to end. It waits
/// for a lock: call it from a thread, never within a signal handler.
pub fn end(mut wait_on: impl FnMut(Duration) -> bool) {
    let begun = Instant::now();
    let mut calls = lock();
    calls.ending = true;
    while calls.count > 0 && wait_on(begun.elapsed()) {
        let waited = ENDED.wait_timeout(calls, NOW_AND_THEN);
        (calls, _) = waited.unwrap_or_else(PoisonError::into_inner);
    }
}

fn enter() {
    let mut calls = lock();
    while calls.ending {
        calls = ENDED.wait(calls).unwrap_or_else(PoisonError::into_inner);
    }
    calls.count += 1;
}

fn leave() {
    lock().count -= 1;
    ENDED.notify_all();
}

fn lock() -> MutexGuard<'static, Calls> {
    // Each change of it is one step.
    CALLS.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Calls {
    /// Of threads that have one.
    count: usize,
    ending: bool,
}

static CALLS: Mutex<Calls> = Mutex::new(Calls { count: 0, ending: false });
static ENDED: Condvar = Condvar::new();
const NOW_AND_THEN: Duration = Duration::from_millis(20);

thread_local! {
    /// How many this thread has.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc::{TryRecvError, channel},
        thread,
    };

    use super::*;

    /// The only test of this process that begins calls: after it none begins any more.
    #[test]
    fn the_end_waits_for_calls_but_not_for_what_is_aside_and_none_begins_after_it() {
        let (step, done) = channel();
        let (go, may_go) = channel::<()>();
        let calls = thread::spawn(move || {
            let call = UnderWay::begin();
            let within = UnderWay::begin();
            aside(|| {
                step.send("aside").unwrap();
                may_go.recv().unwrap();
            });
            step.send("back").unwrap();
            may_go.recv().unwrap();
            drop(within);
            drop(call);
            step.send("ended").unwrap();
            drop(UnderWay::begin());
            step.send("begun").unwrap();
        });
        assert_eq!(done.recv(), Ok("aside"));
        assert_eq!(lock().count, 0);
        go.send(()).unwrap();
        assert_eq!(done.recv(), Ok("back"));
        assert_eq!(lock().count, 1);
        let mut asked = Vec::new();
        end(|waited| {
            asked.push(waited);
            false
        });
        assert_eq!(asked.len(), 1, "it was under way");
        go.send(()).unwrap();
        end(|_| true);
        assert_eq!(done.recv(), Ok("ended"));
        assert!(!calls.is_finished());
        assert_eq!(done.try_recv(), Err(TryRecvError::Empty), "none begins");
    }
}
