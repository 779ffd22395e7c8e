//! [`Log`]: the log as a program has it.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

use envelope_files::{Access, Existing, NewFile};
use envelope_sdk::Envelope;
use futures_channel::oneshot;
use futures_executor::block_on;

use crate::{
    Anchor, AppendError, Entry, KeyFile, LogError, LogKey, LogOptions, NotARecord, Unwritable,
    basis::{Basis, Saying},
    config::Writers,
    desk::Desk,
    disk::Disk,
    folder::Folder,
    record::{MAX_LINE, OWN},
    segments::{beside, closed_numbers, closed_path, open, read_range},
    tell::Teller,
    writer::{Flushing, Writer},
};

/// An audit log that is written. Clones write to the same one; threads and processes may write to one log at once.
///
/// One thread writes for all of a process: what comes while it flushes is written and flushed together next (group commit). An
/// entry is acknowledged once it is on disk.
///
/// ```
/// # use envelope_audit::{Entry, Log, LogOptions, Outcome};
/// # use envelope_sdk::{Envelope, Keyring};
/// # use envelope_testkit::MemoryProvider;
/// # use std::sync::Arc;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let key = MemoryProvider::key("audit");
/// # let provider = Arc::new(MemoryProvider::new().with_key(&key));
/// # let envelope = Envelope::new(Keyring::new().both(provider, key));
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("audit.log");
/// let options = LogOptions::new("payroll");
/// let log = Log::create(&path, &envelope, options).await?;
/// let mut entry = Entry::new("decrypt", Outcome::Ok);
/// entry.key = Some("local:main".into());
/// log.append(entry).await?;
/// let anchor = log.checkpoint().await?;
/// println!("{anchor}");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Log {
    orders: Option<Sender<Order>>,
    shared: Arc<Shared>,
}

/// What was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// The `seq` of the first record.
    pub first: u64,
    /// The `seq` of the last record.
    pub last: u64,
}

/// What was pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pruned {
    /// How many segments were removed.
    pub segments: u64,
    /// The `seq` of the first record that is kept.
    pub first: u64,
}

impl Log {
    /// Begins a log at `path`, with a new secret under the keys of `envelope` that encrypt. Its files are those of
    /// `docs/spec/audit-v1.md`; the folder must be one that nobody else can write.
    ///
    /// # Errors
    ///
    /// [`LogError::Exists`] when there is one; [`LogError`] when it cannot be made. What is left of a creation that was
    /// interrupted is replaced.
    pub async fn create(path: &Path, envelope: &Envelope, options: LogOptions) -> Result<Self, LogError> {
        check_free(path)?;
        let (key, file) = LogKey::create(envelope).await?;
        let (lines, head) = Writer::<Folder>::first_record(&key, &options)?;
        let mut folder = Folder::unchecked(path)?;
        folder.make_lock().map_err(|error| LogError::io("create", &beside(path, "lock"), error))?;
        // Of two who create it one does: what the other has written by now is not written over.
        folder.lock().map_err(|error| LogError::io("lock", &beside(path, "lock"), error))?;
        check_free(path)?;
        // The key comes last: a log without it was never in use.
        write_new(path, &lines)?;
        write_new(&beside(path, "head"), &head)?;
        file.write(path)?;
        drop(folder);
        Self::start(path, key, options)
    }

    /// Opens the log at `path` with the keys of `envelope`. None is begun: that there is none is an error.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    pub async fn open(path: &Path, envelope: &Envelope, options: LogOptions) -> Result<Self, LogError> {
        let key = KeyFile::of(path)?.open(envelope).await?;
        Self::open_with(path, key, options)
    }

    /// The same with its key.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    pub fn open_with(path: &Path, key: LogKey, options: LogOptions) -> Result<Self, LogError> {
        Self::start(path, key, options)
    }

    fn start(path: &Path, key: LogKey, options: LogOptions) -> Result<Self, LogError> {
        let (unwritable, writers) = (options.unwritable, options.writers);
        let (shown, request) = (options.shown.clone(), options.request.clone());
        let (basis, sinks) = (options.basis.clone(), options.sinks.clone());
        let key = Arc::new(key);
        let mut writer = Writer::new(Folder::open(path)?, Arc::clone(&key), options);
        let tellers: io::Result<_> = sinks.into_iter().map(Teller::start).collect();
        writer.tellers = tellers.map_err(|error| LogError::io("start the sinks of", path, error))?;
        writer.open()?;
        let (orders, received) = channel();
        let desk = Arc::new(Desk::new(writer));
        let its = Arc::clone(&desk);
        let thread = Builder::new()
            .name("envelope-audit".into())
            .spawn(move || work(received, &its, writers))
            .map_err(|error| LogError::io("start the writer of", path, error))?;
        let basis = Arc::new(Mutex::new(Basis::of(path, basis)));
        let shared = Shared {
            path: path.to_owned(),
            key,
            unwritable,
            shown,
            request,
            basis,
            desk,
            writers,
            thread: Some(thread).into(),
        };
        Ok(Self { orders: Some(orders), shared: Arc::new(shared) })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Its key, which signs [documents](LogKey::sign_document) too.
    #[must_use]
    pub fn key(&self) -> &LogKey {
        &self.shared.key
    }

    /// What becomes of operations that cannot be recorded.
    #[must_use]
    pub fn if_unwritable(&self) -> Unwritable {
        self.shared.unwritable
    }

    /// Records an entry. It is handed to the writer at once, also if the future is dropped; when the future ends it is on disk.
    ///
    /// # Errors
    ///
    /// [`AppendError`]: it was not acknowledged, and the operation must fail.
    pub fn append(&self, entry: Entry) -> impl Future<Output = Result<Appended, AppendError>> + Send + use<> {
        self.append_all(vec![entry])
    }

    /// Records all of `entries` together, or none.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    pub fn append_all(
        &self,
        entries: Vec<Entry>,
    ) -> impl Future<Output = Result<Appended, AppendError>> + Send + use<> {
        let answer = self.put(entries);
        wait(self.write(), answer)
    }

    /// As [`append_all`](Self::append_all), for who does more before he waits. Where [who records
    /// writes](LogOptions::write_on_callers_threads), nothing is written before the future is polled, or another record is, so that they
    /// share a flush; within a second also if neither happens. Otherwise the thread of the log has it at once.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    pub fn append_later(
        &self,
        entries: Vec<Entry>,
    ) -> impl Future<Output = Result<Appended, AppendError>> + Send + use<> {
        let answer = self.put(entries);
        let is_left = self.shared.writers == Writers::Callers;
        let sent = is_left || self.write();
        let log = self.clone();
        async move { wait(sent && (!is_left || log.write()), answer).await }
    }

    /// Leaves entries to whoever writes next.
    fn put(&self, mut entries: Vec<Entry>) -> oneshot::Receiver<Result<Appended, AppendError>> {
        for entry in &mut entries {
            entry.context.retain(|name, _| self.shared.shown.contains(name));
            if entry.request.is_none() {
                entry.request.clone_from(&self.shared.request);
            }
        }
        let (reply, answer) = oneshot::channel();
        // What stands in the log by such a word, a reader takes for the log's own.
        if entries.iter().any(|entry| entry.operation.starts_with(OWN)) {
            let error = NotARecord("operations that begin with log- are the log's own");
            let _ = reply.send(Err(AppendError::from(LogError::Entry(error))));
        } else {
            // What comes later stands behind it: nobody else puts anything down meanwhile.
            let mut basis = self.shared.basis();
            let (unsaid, before) = basis.unsaid().unzip();
            entries.splice(0..0, unsaid.into_iter().flatten());
            let saying = before.map(|before| Saying::new(&self.shared.basis, before));
            self.shared.desk.put(entries, reply, saying);
        }
        answer
    }

    /// As [`LogOptions::works_under`], from now on: of a policy that was changed while the program runs, `policy-changed`
    /// stands before the next record.
    pub fn works_under(&self, name: &str, digest: &str) {
        self.shared.basis().set(name, digest);
    }

    /// Brings everything to disk, the head too: for the end of a process that does not drop its log. Waits until
    /// [sinks](crate::Sink) have taken what was recorded before, as long as they take something each second, up to 10 seconds; what is
    /// to be recorded meanwhile does not wait. What a sink that takes nothing has not taken by then stays in its queue, and is
    /// not counted as lost.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    pub fn flush(&self) -> impl Future<Output = Result<(), AppendError>> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        wait(self.send(Order::Flush(reply)), answer)
    }

    /// As [`append`](Self::append), for threads without an executor.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    pub fn append_blocking(&self, entry: Entry) -> Result<Appended, AppendError> {
        block_on(self.append(entry))
    }

    /// Signs where the log ends, in the log and as an [`Anchor`] to be kept elsewhere.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    pub fn checkpoint(&self) -> impl Future<Output = Result<Anchor, AppendError>> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        wait(self.send(Order::Checkpoint(reply)), answer)
    }

    /// Removes the closed segments that have no record after `up_to`, behind a signed record that says so.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    pub fn prune(&self, up_to: u64) -> impl Future<Output = Result<Pruned, AppendError>> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        wait(self.send(Order::Prune(up_to, reply)), answer)
    }

    /// Has written what was put on the desk. Whether somebody will.
    fn write(&self) -> bool {
        match self.shared.writers {
            Writers::Thread => self.send(Order::Write),
            // The thread goes on with what others record: nobody is held up by that as long as it lasts.
            Writers::Callers => !self.shared.desk.write() || self.send(Order::Write),
        }
    }

    /// Whether the thread has it now.
    fn send(&self, order: Order) -> bool {
        self.orders.as_ref().is_some_and(|orders| orders.send(order).is_ok())
    }
}

impl Drop for Log {
    /// The last one waits until what was handed over is written, and a while for [sinks](crate::Sink).
    fn drop(&mut self) {
        self.orders = None;
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

struct Shared {
    path: PathBuf,
    key: Arc<LogKey>,
    unwritable: Unwritable,
    shown: std::collections::BTreeSet<String>,
    request: Option<String>,
    basis: Arc<Mutex<Basis>>,
    desk: Arc<Desk<Folder>>,
    writers: Writers,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Shared {
    fn basis(&self) -> MutexGuard<'_, Basis> {
        self.basis.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.get_mut().ok().and_then(Option::take) {
            let _ = thread.join();
        }
    }
}

pub(crate) type Reply<T> = oneshot::Sender<Result<T, AppendError>>;

pub(crate) enum Order {
    /// What was put on the desk.
    Write,
    Checkpoint(Reply<Anchor>),
    Prune(u64, Reply<Pruned>),
    Flush(Reply<()>),
}

/// The thread of the log, until nobody can ask it any more.
pub(crate) fn work<D: Disk>(received: Receiver<Order>, desk: &Desk<D>, writers: Writers) {
    // Of what is put down nobody is asked to write once the orders are dropped, which is before this is.
    let _closes = desk.closes();
    let orders = received;
    // When the head has to be on disk, also if there is no pause until then.
    let mut due: Option<Instant> = None;
    // They wait for sinks, and nobody else does.
    let mut flushing: Vec<(Flushing, Reply<()>)> = Vec::new();
    // A writer that panicked writes no more: the log is closed.
    while let Some(is_clean) = desk.with(|writer| {
        if due.is_some_and(|due| due <= Instant::now()) {
            flush(writer);
            due = None;
        }
        let over: Vec<_> = flushing.extract_if(.., |(flushing, _)| writer.may_flush(flushing)).collect();
        for (_, reply) in over {
            let _ = reply.send(writer.flush().map_err(Into::into));
        }
        writer.head_is_flushed()
    }) {
        // Others write without a word to this thread.
        let may_wait = is_clean && writers == Writers::Thread;
        due = if may_wait { None } else { due.or_else(|| Some(Instant::now() + FLUSH_AFTER)) };
        let looks = (!flushing.is_empty()).then(|| Instant::now() + LOOKS_AFTER);
        // What came while it wrote is not waited for: who put it down found the writer taken.
        let until = if desk.is_empty() { due.into_iter().chain(looks).min() } else { Some(Instant::now()) };
        let mut order = match until {
            None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(until) => orders.recv_timeout(until.saturating_duration_since(Instant::now())),
        };
        // Each who puts something down says so, and all that waits is written at once.
        if matches!(order, Ok(Order::Write)) {
            let other = orders.try_iter().find(|order| !matches!(order, Order::Write));
            order = other.ok_or(RecvTimeoutError::Timeout);
        }
        match order {
            // It is what the next turn begins with.
            Ok(Order::Write) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Order::Checkpoint(reply)) => answer(reply, desk.with(Writer::checkpoint)),
            Ok(Order::Prune(up_to, reply)) => answer(reply, desk.with(|writer| writer.prune(up_to))),
            Ok(Order::Flush(reply)) => {
                flushing.extend(desk.with(|writer| writer.begin_flush()).map(|begun| (begun, reply)));
            }
            Err(RecvTimeoutError::Disconnected) => {
                desk.with(|writer| close(writer, flushing));
                return;
            }
        }
    }
}

/// Tells who waits; where there is nothing to tell the log is closed, which shows by itself.
fn answer<T>(reply: Reply<T>, done: Option<Result<T, LogError>>) {
    if let Some(done) = done {
        let _ = reply.send(done.map_err(Into::into));
    }
}

fn flush<D: Disk>(writer: &mut Writer<D>) {
    if let Err(error) = writer.flush_head() {
        tracing::warn!(%error, "the head of the audit log cannot be flushed");
    }
}

/// Waits for sinks itself: nobody is left to record anything.
fn close<D: Disk>(writer: &mut Writer<D>, flushing: Vec<(Flushing, Reply<()>)>) {
    let closed = writer.close().map_err(AppendError::from);
    if let Err(error) = &closed {
        tracing::warn!(%error, "the audit log cannot be closed as it should be");
    }
    for (_, reply) in flushing {
        let _ = reply.send(closed.clone());
    }
}

async fn wait<T>(sent: bool, answer: oneshot::Receiver<Result<T, AppendError>>) -> Result<T, AppendError> {
    let closed = || AppendError::from(LogError::Closed);
    if sent { answer.await.map_err(|_| closed())? } else { Err(closed()) }
}

/// A log was begun here if there is a key, or more than a first record.
fn check_free(path: &Path) -> Result<(), LogError> {
    let exists = |path: PathBuf| Err(LogError::Exists { path });
    let key = beside(path, "key");
    if key.symlink_metadata().is_ok() {
        return exists(key);
    }
    let closed = closed_numbers(path).map_err(|error| LogError::io("look beside", path, error))?;
    if let Some(&number) = closed.first() {
        return exists(closed_path(path, number));
    }
    let bytes = match open(path).and_then(|file| read_range(&file, 0, 2 * MAX_LINE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        read => read.map_err(|error| LogError::io("read", path, error))?,
    };
    let records = bytes.iter().filter(|&&byte| byte == b'\n').count();
    if records > 1 || bytes.len() > MAX_LINE { exists(path.to_owned()) } else { Ok(()) }
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), LogError> {
    use io::Write as _;
    let mut file = NewFile::create(path, Existing::Replace, Access::Private)?;
    file.write_all(bytes).map_err(|error| LogError::io("write", path, error))?;
    let _ = file.commit()?;
    Ok(())
}

const FLUSH_AFTER: Duration = Duration::from_secs(1);
/// How soon the writer looks again how far sinks are, while somebody waits for them.
const LOOKS_AFTER: Duration = Duration::from_millis(5);
