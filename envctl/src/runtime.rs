//! Where asynchronous calls are waited for: the one place that knows a runtime.

#[cfg(feature = "tokio")]
mod with_tokio {
    use std::{
        io,
        sync::{Mutex, OnceLock, PoisonError},
        thread,
    };

    use tokio::runtime::{Builder, Runtime};

    use crate::error::{CliError, Result};

    /// Starts the runtime, which the SDKs of clouds need. Where there are too few
    /// threads to be had, that is an error here: later, tokio would panic.
    pub(crate) fn start() -> Result<()> {
        // Connections live as long as the process. One thread drives them.
        let runtime = check_threads()
            .and_then(|()| Builder::new_multi_thread().worker_threads(1).enable_all().build())
            .map_err(|error| {
                CliError::other(format!("cannot start a thread: {error}"))
                    .hint("see how many processes and threads you may have with `ulimit -u`")
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

    static RUNTIME: OnceLock<Runtime> = OnceLock::new();

    /// The runtime's, one that looks names of hosts up, one for an alias of a key, and
    /// one to spare.
    const THREADS: usize = 4;
}

#[cfg(not(feature = "tokio"))]
pub(crate) use futures_executor::block_on;
#[cfg(feature = "tokio")]
pub(crate) use with_tokio::{block_on, start};
