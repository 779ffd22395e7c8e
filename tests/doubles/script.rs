//! What a double does at each of its calls.

use std::{
    any::Any,
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
    sync::{
        Arc, Mutex, Once,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use proptest::prelude::*;

/// One call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// As much as was asked for.
    Whole,
    /// At most so many bytes.
    Short(usize),
    /// Later; a blocking one gives its turn to another thread.
    Stall,
    Interrupted,
    Fail,
    /// All, and so many bytes reported beyond.
    Lie(usize),
    /// No bytes, although there are some.
    Nothing,
    Panic,
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => Just(Step::Whole),
        8 => (1_usize..40_000).prop_map(Step::Short),
        2 => Just(Step::Stall),
        2 => Just(Step::Interrupted),
        1 => Just(Step::Fail),
        1 => (1_usize..100_000).prop_map(Step::Lie),
        1 => Just(Step::Nothing),
        1 => Just(Step::Panic),
    ];
    prop::collection::vec(step, 0..16)
}

/// The steps of a double, which several threads may take. Afterwards it does
/// all that is asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    steps: Arc<Mutex<VecDeque<Step>>>,
    misled: Arc<AtomicBool>,
}

impl Script {
    pub(crate) fn new(steps: Vec<Step>) -> Self {
        Self { steps: Arc::new(Mutex::new(steps.into())), misled: Arc::default() }
    }

    pub(crate) fn add(&self, steps: Vec<Step>) {
        self.steps.lock().unwrap().extend(steps);
    }

    pub(crate) fn next(&self) -> Step {
        let step = self.steps.lock().unwrap().pop_front().unwrap_or(Step::Whole);
        if matches!(step, Step::Fail | Step::Lie(_) | Step::Nothing | Step::Panic) {
            self.misled.store(true, Ordering::SeqCst);
        }
        step
    }

    /// True when a call failed, lied or panicked.
    pub(crate) fn has_misled(&self) -> bool {
        self.misled.load(Ordering::SeqCst)
    }

    /// How many bytes of `room` to do, and how many to report.
    pub(crate) fn turn(&self, room: usize) -> io::Result<(usize, usize)> {
        match self.next() {
            Step::Whole => Ok((room, room)),
            Step::Short(most) => Ok((room.min(most), room.min(most))),
            Step::Stall => {
                thread::yield_now();
                Ok((room, room))
            }
            Step::Interrupted => Err(io::ErrorKind::Interrupted.into()),
            Step::Fail => Err(io::ErrorKind::TimedOut.into()),
            Step::Lie(more) => Ok((room, room + more)),
            Step::Nothing => Ok((0, 0)),
            Step::Panic => scripted_panic(),
        }
    }
}

/// A panic that the tests do not print.
pub(crate) fn scripted_panic() -> ! {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let hook = take_hook();
        set_hook(Box::new(move |info| {
            if !is_scripted(info.payload()) {
                hook(info);
            }
        }));
    });
    std::panic::panic_any(SCRIPTED)
}

/// What `run` returned, or `None` when it ended with the panic of a script.
pub(crate) fn unless_panicked<T>(run: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(done) => Some(done),
        Err(panic) if is_scripted(&*panic) => None,
        Err(other) => std::panic::resume_unwind(other),
    }
}

fn is_scripted(panic: &(dyn Any + Send)) -> bool {
    panic.downcast_ref::<&str>() == Some(&SCRIPTED)
}

const SCRIPTED: &str = "as the script says";
