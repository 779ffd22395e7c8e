//! [`Task`]: work that an `async` function of Python awaits.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use pyo3::{IntoPyObjectExt, prelude::*};
use tokio::task::AbortHandle;

use crate::{failure::Failure, runtime::runtime};

/// Work under way. When it ends, it calls what it was given with its result and None, or with None and an exception, from a
/// thread of its own. If it is cancelled, it does not.
#[pyclass(frozen, module = "envelope_sdk._envelope_sdk")]
pub(crate) struct Task(AbortHandle);

#[pymethods]
impl Task {
    /// Drops the work.
    fn cancel(&self) {
        self.0.abort();
    }
}

impl Task {
    /// Begins `work`.
    pub(crate) fn begin<T, E>(
        work: impl Future<Output = Result<T, E>> + Send + 'static,
        done: Py<PyAny>,
    ) -> PyResult<Self>
    where
        T: for<'py> IntoPyObject<'py> + Send + 'static,
        E: Into<Failure> + Send + 'static,
    {
        let task = runtime()?.spawn(async move {
            let result = match AssertUnwindSafe(work).catch_unwind().await {
                Ok(result) => result.map_err(Into::into),
                // Whoever awaits it must not wait for ever.
                Err(_) => Err(Failure::other("the work broke down, which is a bug")),
            };
            // None where the interpreter ends: nobody waits any more.
            let _ = Python::try_attach(|py| {
                let called = match result.and_then(|made| Ok(made.into_py_any(py)?)) {
                    Ok(made) => done.call1(py, (made, py.None())),
                    Err(failure) => done.call1(py, (py.None(), PyErr::from(failure).into_value(py))),
                };
                if let Err(error) = called {
                    error.write_unraisable(py, Some(done.bind(py)));
                }
            });
        });
        Ok(Self(task.abort_handle()))
    }
}
