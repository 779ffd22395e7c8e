//! Where asynchronous calls are waited for: the one place that knows a runtime.

use std::{
    fs::File,
    io,
    sync::{Mutex, OnceLock, PoisonError},
    thread,
};

use tokio::runtime::{Builder, Runtime};

use crate::error::{CliError, Result};

/// Starts the runtime, which the SDKs of clouds need. Where there are too few
/// threads or descriptors to be had, that is an error here: later, tokio would panic.
pub(crate) fn start() -> Result<()> {
    // Connections live as long as the process. One thread drives them.
    check_threads().map_err(|error| {
        CliError::other(format!("cannot start a thread: {error}"))
            .hint("see how many processes and threads you may have with `ulimit -u`")
    })?;
    let runtime = check_descriptors()
        .and_then(|()| Builder::new_multi_thread().worker_threads(1).enable_all().build())
        .map_err(|error| {
            CliError::other(format!("cannot open what envctl works with: {error}"))
                .hint("see how many descriptors and threads you may have with `ulimit -n` and `ulimit -u`")
        })?;
    let _ = RUNTIME.set(runtime);
    Ok(())
}

/// Runs a future to its end.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    match RUNTIME.get() {
        Some(runtime) => runtime.block_on(future),
        // What needs no SDK works without.
        None => futures_executor::block_on(future),
    }
}

/// Starts a few threads, all at once, and ends them again.
fn check_threads() -> io::Result<()> {
    let gate = Mutex::new(());
    let wait = || drop(gate.lock().unwrap_or_else(PoisonError::into_inner));
    thread::scope(|scope| {
        let _closed = gate.lock().unwrap_or_else(PoisonError::into_inner);
        (0..THREADS).try_for_each(|_| thread::Builder::new().spawn_scoped(scope, wait).map(drop))
    })
}

/// Opens as many descriptors as the runtime will, and closes them again.
fn check_descriptors() -> io::Result<()> {
    (0..DESCRIPTORS).map(|_| File::open("/")).collect::<io::Result<Vec<_>>>().map(drop)
}

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// The runtime's, one that looks names of hosts up, one for an alias of a key, and
/// one to spare.
const THREADS: usize = 4;

/// What waits for the network, what wakes it, a pair for signals and a copy of each, and
/// one to spare.
const DESCRIPTORS: usize = 8;
