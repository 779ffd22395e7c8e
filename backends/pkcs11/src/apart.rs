//! A thread for what blocks.

use std::thread;

use envelope_files::under_way::UnderWay;
use envelope_sdk::{ProviderError, ProviderErrorKind};
use futures_channel::oneshot;

use crate::error::{ModuleError, NAME};

/// Runs `job` on a thread of its own: a module may take seconds to load, and whoever is
/// asked for a secret may take longer. If the future is dropped, the job still ends, and the process
/// waits for it ([`UnderWay`]).
pub(crate) async fn apart<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, ProviderError> + Send + 'static,
) -> Result<T, ProviderError> {
    let (answer, waiting) = oneshot::channel();
    let work = move || {
        let call = UnderWay::begin();
        let outcome = job();
        drop(call);
        // Nobody waits any more when the future was dropped.
        let _ = answer.send(outcome);
    };
    thread::Builder::new().name("envelope-pkcs11".into()).spawn(work).map_err(ModuleError::from)?;
    waiting.await.unwrap_or_else(|_| {
        let message = "the thread that opens the token has ended: try again";
        Err(ProviderError::without_key(ProviderErrorKind::Other, NAME, message))
    })
}
