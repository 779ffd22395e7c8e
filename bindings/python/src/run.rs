//! Waiting for key stores: detached from the interpreter, and with an eye on signals.

use std::{pin::pin, time::Duration};

use pyo3::prelude::*;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::{failure::Failure, runtime::runtime};

/// Waits for `work`. A signal whose handler raises, such as Ctrl-C, drops it.
pub(crate) fn wait<T, E>(py: Python<'_>, work: impl Future<Output = Result<T, E>> + Send) -> PyResult<T>
where
    T: Send,
    E: Into<Failure> + Send,
{
    Ok(py.detach(|| wait_detached(work))?)
}

/// As [`wait`], for who is detached already.
pub(crate) fn wait_detached<T, E: Into<Failure>>(
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    runtime()?.block_on(async {
        let mut work = pin!(work);
        let mut look = interval_at(Instant::now() + LOOK, LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done.map_err(Into::into),
                _ = look.tick() => check_signals()?,
            }
        }
    })
}

/// Runs the handlers of signals that came, if this is the main thread.
pub(crate) fn check_signals() -> Result<(), Failure> {
    Python::attach(|py| Ok(py.check_signals()?))
}

/// How long a person waits for Ctrl-C, at most, and hardly notices.
pub(crate) const LOOK: Duration = Duration::from_millis(100);
