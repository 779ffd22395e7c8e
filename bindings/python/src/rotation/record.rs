//! What a job did, for the audit log. Calls of key stores are recorded by themselves; this says for which envelope they were.

use std::sync::{Arc, Mutex, PoisonError};

use envelope_audit::{AppendError, Entry, LazyLog, Outcome as Recorded};
use envelope_rotation::{ItemReport, Outcome};
use futures_util::StreamExt;
use tokio::{runtime::Handle, sync::mpsc, task::JoinHandle};

use crate::{
    failure::{Failure, Result},
    kind::Kind,
    run::wait_detached,
};

/// Records items as they come, many at once, since each waits for the disk. Clones are of the same job.
#[derive(Clone)]
pub(crate) struct Recorder {
    log: LazyLog,
    operation: &'static str,
    begun: Arc<Mutex<Option<Begun>>>,
}

type Begun = (mpsc::UnboundedSender<Entry>, JoinHandle<std::result::Result<(), AppendError>>);

impl Recorder {
    pub(crate) fn new(log: LazyLog, reencrypts: bool) -> Self {
        let operation = if reencrypts { "reencrypt" } else { "rewrap" };
        Self { log, operation, begun: Arc::default() }
    }

    /// Hands an item over, from within the runtime: what was changed, or could not be. Of the others no key was asked.
    pub(crate) fn add(&self, item: &ItemReport) {
        let outcome = match item.outcome {
            Outcome::Rewrapped | Outcome::Reencrypted => Recorded::Ok,
            Outcome::Failed(_) => Recorded::Failed,
            _ => return,
        };
        let Some(header) = item.header() else { return };
        let mut entry = Entry::about(self.operation, header).with_detail("job", "rotate");
        entry.outcome = outcome;
        if outcome == Recorded::Ok {
            // The header is the one of before; the keys of now stand in the records of the wraps.
            (entry.key, entry.key_version) = (None, None);
            entry.generation = item.generation.or(entry.generation);
            let _ = entry.detail.remove("recipients");
        } else {
            entry.error = Some("other".into());
        }
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let (send, _) = begun.get_or_insert_with(|| {
            let (send, mut entries) = mpsc::unbounded_channel();
            let log = self.log.clone();
            let entries = futures_util::stream::poll_fn(move |context| entries.poll_recv(context));
            let record = async move {
                let recorded = entries.map(|entry| log.record(entry)).buffer_unordered(TOGETHER);
                recorded.fold(Ok(()), async |all, one| std::result::Result::and(all, one)).await
            };
            (send, Handle::current().spawn(record))
        });
        // Its other end waits for the last one.
        let _ = send.send(entry);
    }

    /// Waits until everything is on disk.
    pub(super) fn finish(self) -> Result<()> {
        wait_detached(self.finished())
    }

    /// The same from within the runtime.
    pub(crate) async fn finished(self) -> Result<()> {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((send, recorded)) = begun else { return Ok(()) };
        drop(send);
        match recorded.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure::new(
                Kind::InputOutput,
                format!("not everything that was done is recorded: {error}"),
            )),
            Err(error) => Err(Failure::other(error)),
        }
    }
}

const TOGETHER: usize = 256;
