//! Where asynchronous calls are waited for: the one place that knows a runtime.

/// Runs a future to its end. With a cloud provider linked in, on tokio, which
/// the cloud's SDK needs; without one, on the calling thread alone.
#[cfg(feature = "tokio")]
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    use std::sync::LazyLock;
    use tokio::runtime::{Builder, Runtime};

    // Connections live as long as the process. One thread drives them.
    static RUNTIME: LazyLock<std::io::Result<Runtime>> =
        LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).enable_all().build());
    match &*RUNTIME {
        Ok(runtime) => runtime.block_on(future),
        // No thread to be had: what needs no SDK still works.
        Err(_) => futures_executor::block_on(future),
    }
}

#[cfg(not(feature = "tokio"))]
pub(crate) use futures_executor::block_on;
