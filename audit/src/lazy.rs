//! [`LazyLog`]: a log that is opened for its first record.

use std::{
    error::Error,
    fmt,
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
};

use envelope_sdk::Envelope;
use tokio::sync::OnceCell;

use crate::{AppendError, Entry, KeyFile, Log, LogError, LogOptions, Unwritable, scope};

/// A [`Log`] that is opened when something is to be recorded, and not before: whoever asks no key is asked for no secret, and a
/// program starts while the key store of its log is away. Clones are one and the same. A `Log` that is open becomes one by
/// `into`.
#[derive(Clone)]
pub struct LazyLog(Arc<Inner>);

struct Inner {
    path: PathBuf,
    unwritable: Unwritable,
    log: OnceCell<Log>,
    open: Open,
}

type Open = Box<dyn Fn() -> Opening + Send + Sync>;
type Opening = Pin<Box<dyn Future<Output = Result<Log, LogError>> + Send>>;

impl LazyLog {
    /// The log at `path`, whose secret `keys` opens: an envelope with some of the keys that its
    /// [`KeyFile`] names. An opening that failed is tried again for the next record.
    pub fn new<K>(path: impl Into<PathBuf>, options: LogOptions, keys: K) -> Self
    where
        K: Fn(&KeyFile) -> Result<Envelope, Box<dyn Error + Send + Sync>> + Send + Sync + 'static,
    {
        let (path, unwritable, keys) = (path.into(), options.unwritable, Arc::new(keys));
        let at = path.clone();
        let open = move || -> Opening {
            let (path, options, keys) = (at.clone(), options.clone(), Arc::clone(&keys));
            Box::pin(async move {
                let file = KeyFile::of(&path)?;
                let envelope = keys(&file).map_err(LogError::Key)?;
                let key = file.open(&envelope).await?;
                Log::open_with(&path, key, options)
            })
        };
        Self(Arc::new(Inner { path, unwritable, log: OnceCell::new(), open: Box::new(open) }))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// What becomes of operations that cannot be recorded.
    #[must_use]
    pub fn if_unwritable(&self) -> Unwritable {
        self.0.unwritable
    }

    /// The log, opened by now.
    ///
    /// # Errors
    ///
    /// Why it cannot be opened.
    pub async fn get(&self) -> Result<&Log, AppendError> {
        self.0.log.get_or_try_init(|| (self.0.open)()).await.map_err(AppendError::from)
    }

    /// The log, if it was opened.
    #[must_use]
    pub fn opened(&self) -> Option<&Log> {
        self.0.log.get()
    }

    /// The log to record a call in that is about to be made. `None` if there is none to be had, and calls are to be made all the
    /// same ([`Unwritable::BestEffort`]).
    pub(crate) async fn before(&self) -> Result<Option<Log>, AppendError> {
        self.forgiven(self.get().await.map(|log| Some(log.clone())))
    }

    /// Records what is no call of a key provider, with who acts, for which request and on which envelope, as it is said
    /// around it. When the future ends it is on disk.
    ///
    /// # Errors
    ///
    /// [`AppendError`]: the operation must fail. Never with [`Unwritable::BestEffort`].
    pub async fn record(&self, mut entry: Entry) -> Result<(), AppendError> {
        scope::fill(&mut entry);
        let recorded = match self.get().await {
            Ok(log) => log.append(entry).await.map(drop),
            Err(error) => Err(error),
        };
        self.forgiven(recorded)
    }

    fn forgiven<T: Default>(&self, done: Result<T, AppendError>) -> Result<T, AppendError> {
        match done {
            Err(error) if self.0.unwritable == Unwritable::BestEffort => {
                tracing::error!(%error, "an operation was not recorded in the audit log");
                Ok(T::default())
            }
            done => done,
        }
    }
}

impl From<Log> for LazyLog {
    fn from(log: Log) -> Self {
        let (path, unwritable) = (log.path().to_owned(), log.if_unwritable());
        let open: Open = Box::new(|| Box::pin(async { Err(LogError::Closed) }));
        Self(Arc::new(Inner { path, unwritable, log: OnceCell::new_with(Some(log)), open }))
    }
}

impl fmt::Debug for LazyLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LazyLog").field("path", &self.0.path).finish_non_exhaustive()
    }
}
