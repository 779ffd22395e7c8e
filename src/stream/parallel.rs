//! How many threads, and who hears of the progress.

use std::{
    num::NonZeroUsize,
    panic::resume_unwind,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use super::StreamError;

/// Encrypts and decrypts one stream on several threads.
///
/// The bytes are those of [`seal`](super::seal) and [`open`](super::open):
/// which threads made them shows nowhere. Memory is bounded by 16 MiB, whatever
/// the length and the number of threads.
///
/// Three pairs of methods, for what the input and the output can do:
///
/// | | |
/// |---|---|
/// | [`seal_pipe`](Self::seal_pipe), [`open_pipe`](Self::open_pipe) | read and written from the front to the end |
/// | [`seal_file`](Self::seal_file), [`open_file`](Self::open_file) | read and written at any offset: the fastest |
/// | [`seal_slice`](Self::seal_slice), [`open_slice`](Self::open_slice) | in memory |
///
/// ```
/// # use envelope_sdk::{Envelope, EncryptionContext, PayloadKind, stream::{self, Parallel, StreamError}};
/// # use std::io::Write;
/// # async fn example(envelope: Envelope, input: std::fs::File, mut output: std::fs::File)
/// # -> Result<(), Box<dyn std::error::Error>> {
/// let started = envelope.start(PayloadKind::Attached, &EncryptionContext::new()).await?;
/// output.write_all(&started.header)?;
/// let at = started.header.len() as u64;
/// # #[cfg(unix)]
/// Parallel::new().seal_file(started.payload, &input, &output, at)?;
/// # Ok(()) }
/// ```
#[derive(Clone, Copy)]
pub struct Parallel<'a> {
    threads: NonZeroUsize,
    progress: &'a (dyn Fn(u64) + Sync),
}

impl Default for Parallel<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Parallel<'a> {
    /// As many threads as the process may use cores, at most [`MAX_THREADS`].
    #[must_use]
    pub fn new() -> Self {
        let threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self { threads: threads.min(MAX_THREADS), progress: &|_| {} }
    }

    /// This many threads, at most [`MAX_THREADS`]. One means the calling thread
    /// alone: nothing is started then.
    #[must_use]
    pub fn threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = threads.min(MAX_THREADS);
        self
    }

    /// Calls `progress` with the number of plaintext bytes that were done since
    /// the last call, from any of the threads. It should return soon. If it
    /// panics, the stream is given up and the panic goes on in the caller.
    #[must_use]
    pub fn on_progress(mut self, progress: &'a (dyn Fn(u64) + Sync)) -> Self {
        self.progress = progress;
        self
    }

    pub(super) fn thread_count(&self) -> usize {
        self.threads.get()
    }

    pub(super) fn done(&self, plaintext_bytes: usize) {
        (self.progress)(plaintext_bytes as u64);
    }

    /// Works off what `next` gives, at most `items` of it, with a worker on each
    /// thread. After an error or a panic nothing more is begun; the first one is
    /// passed on.
    pub(super) fn work_off<T, W: FnMut(T) -> Result<(), StreamError>>(
        &self,
        items: u64,
        next: impl Fn() -> Option<T> + Sync,
        new_worker: impl Fn() -> W + Sync,
    ) -> Result<(), StreamError> {
        let stopped = AtomicBool::new(false);
        let first_error = Mutex::new(None);
        let fail = |error| {
            stopped.store(true, Ordering::Relaxed);
            first_error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        };
        let run = || {
            let _stop = StopOnPanic(&stopped);
            let mut work = new_worker();
            while !stopped.load(Ordering::Relaxed)
                && let Some(item) = next()
            {
                if let Err(error) = work(item) {
                    fail(error);
                }
            }
        };
        thread::scope(|scope| {
            let mut others = Vec::new();
            for _ in 1..items.min(self.thread_count() as u64) {
                match thread::Builder::new().spawn_scoped(scope, run) {
                    Ok(other) => others.push(other),
                    Err(error) => fail(StreamError::Thread(error)),
                }
            }
            run();
            for other in others {
                // With the words of the panic, which the end of the scope would replace.
                other.join().unwrap_or_else(|panic| resume_unwind(panic));
            }
        });
        first_error.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    /// Chunks of a block when `blocks` of them are in memory: as large as 8 MiB
    /// in all permit, 1 MiB at most.
    pub(super) fn block_chunks(blocks: usize) -> usize {
        (BLOCKS_CHUNKS / blocks).clamp(1, MAX_BLOCK_CHUNKS)
    }
}

/// Stops the other threads when this one unwinds: they would go on to the end
/// of a work that nobody gets.
struct StopOnPanic<'a>(&'a AtomicBool);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// Most threads of one stream: 128. With two blocks each in a pipe, blocks of
/// two chunks then make 8 MiB.
pub const MAX_THREADS: NonZeroUsize = NonZeroUsize::new(128).unwrap();

/// Chunks of a block: 1 MiB. Larger ones are not faster.
pub(super) const MAX_BLOCK_CHUNKS: usize = 64;

/// Chunks of all blocks: 8 MiB.
const BLOCKS_CHUNKS: usize = 512;
