//! The runtime that key stores are waited for on: one for the process, and another one after a fork, which takes no threads
//! along.

use std::{
    cell::Cell,
    process,
    sync::{Mutex, MutexGuard, PoisonError},
};

use envelope_files::unfinished::{self, Stopped};
use pyo3::prelude::*;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::failure::{Failure, Result};

/// The runtime of this process, which is started when it is first needed.
pub(crate) fn runtime() -> Result<&'static Runtime> {
    // What is called from here may call this package in turn: it would wait for itself.
    if Handle::try_current().is_ok() {
        return Err(Failure::usage(
            "a function that envelope_sdk calls, for a secret or for each item of a job, cannot wait for envelope_sdk",
        ));
    }
    let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = *current {
        return Ok(runtime);
    }
    let started = Builder::new_multi_thread().enable_all().thread_name("envelope-sdk").build();
    // It lives as long as the process: what waits on it has no end that is known here.
    let runtime: &'static Runtime = Box::leak(Box::new(started.map_err(|error| {
        Failure::other(format!("cannot start the threads that wait for key stores: {error}"))
    })?));
    *current = Some(runtime);
    Ok(runtime)
}

/// Called by the thread that forks, before it does: no other may hold the lock then, which would not be there in the child to give
/// it back. Nor that of the names of files.
#[pyfunction]
pub(crate) fn before_fork() {
    HELD.set(Some((CURRENT.lock().unwrap_or_else(PoisonError::into_inner), unfinished::hold())));
}

/// Called after that, in the parent and in the child. The threads of the runtime are in the parent alone.
#[pyfunction]
pub(crate) fn after_fork(is_child: bool) {
    if let Some((mut current, _names)) = HELD.take()
        && is_child
    {
        *current = None;
    }
}

/// The process that something was made in. Connections and threads of key stores do not come through a fork.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Home(u32);

impl Home {
    /// This process.
    pub(crate) fn here() -> Self {
        Self(process::id())
    }

    /// Refuses another process.
    pub(crate) fn check(self) -> Result<()> {
        if self.0 == process::id() {
            return Ok(());
        }
        Err(Failure::usage(
            "key stores were opened before this process was forked, and their connections are the parent's",
        )
        .hint("make Providers and Envelope after the fork, in each process"))
    }
}

type Current = Option<&'static Runtime>;

static CURRENT: Mutex<Current> = Mutex::new(None);

thread_local! {
    /// The locks, while this thread forks.
    static HELD: Cell<Option<(MutexGuard<'static, Current>, Stopped)>> = const { Cell::new(None) };
}
