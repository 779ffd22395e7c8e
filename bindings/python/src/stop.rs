//! [`Stop`]: ends work on files from outside.

use std::{
    io::{self, IoSlice, IoSliceMut},
    sync::{Arc, mpsc},
    thread,
};

use envelope_sdk::stream::{FileIdentity, ReadAt, WriteAt};
use pyo3::prelude::*;
use tokio::sync::watch;

use crate::{
    failure::{Failure, Result},
    run::{LOOK, check_signals, wait_detached},
};

/// Whether work shall end. Clones are of one work.
#[derive(Clone)]
pub(crate) struct Stop(Arc<watch::Sender<bool>>);

impl Stop {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Ends the work: it fails at its next read or write, or at once while it waits for a key store.
    pub(crate) fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Waits for a key store, on whichever thread the work is.
    pub(crate) fn wait<T, E: Into<Failure>>(
        &self,
        work: impl Future<Output = std::result::Result<T, E>>,
    ) -> Result<T> {
        let mut told = self.0.subscribe();
        wait_detached(async {
            tokio::select! {
                biased;
                done = work => done.map_err(Into::into),
                _ = told.wait_for(|stopped| *stopped) => Err(Failure::other(STOPPED)),
            }
        })
    }

    /// `inner`, of its own, until the work shall end.
    pub(crate) fn reader<R: io::Read>(&self, inner: R) -> impl io::Read + use<R> {
        StoppableReader { stop: self.clone(), inner }
    }

    pub(crate) fn check(&self) -> io::Result<()> {
        if *self.0.borrow() { Err(io::Error::other(STOPPED)) } else { Ok(()) }
    }

    /// `inner`, which is read and written until the work shall end.
    pub(crate) fn over<'i, T>(&self, inner: &'i T) -> Stoppable<'i, T> {
        Stoppable { stop: self.clone(), inner }
    }
}

/// Ends the work when nobody waits for it any more.
pub(crate) struct StopOnDrop(pub(crate) Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Does `work` on a thread of its own, so that this one can look for signals. One whose handler raises ends the work, which
/// is waited for.
pub(crate) fn interruptible<T: Send>(
    py: Python<'_>,
    work: impl FnOnce(&Stop) -> Result<T> + Send,
) -> PyResult<T> {
    let stop = Stop::new();
    let done = py.detach(|| {
        thread::scope(|scope| {
            let (send, ended) = mpsc::channel::<()>();
            let own = stop.clone();
            let work = thread::Builder::new().name("envelope-sdk".into()).spawn_scoped(scope, move || {
                let _ended = send;
                work(&own)
            });
            let work = work.map_err(|error| Failure::other(format!("cannot start a thread: {error}")))?;
            let mut signal = Ok(());
            while ended.recv_timeout(LOOK) == Err(mpsc::RecvTimeoutError::Timeout) {
                if signal.is_ok()
                    && let Err(error) = check_signals()
                {
                    stop.stop();
                    signal = Err(error);
                }
            }
            let done = work.join().unwrap_or_else(|_| Err(Failure::other("the work on the file broke down")));
            signal.and(done)
        })
    });
    Ok(done?)
}

/// A file that fails once its work shall end.
pub(crate) struct Stoppable<'i, T> {
    stop: Stop,
    inner: &'i T,
}

impl<T: ReadAt> ReadAt for Stoppable<'_, T> {
    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        self.stop.check()?;
        self.inner.read_at(out, offset)
    }

    fn read_vectored_at(&self, out: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<usize> {
        self.stop.check()?;
        self.inner.read_vectored_at(out, offset)
    }

    fn identity(&self) -> io::Result<Option<FileIdentity>> {
        self.inner.identity()
    }
}

impl<T: WriteAt> WriteAt for Stoppable<'_, T> {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.stop.check()?;
        self.inner.write_at(bytes, offset)
    }

    fn write_vectored_at(&self, bytes: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.stop.check()?;
        self.inner.write_vectored_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn identity(&self) -> io::Result<Option<FileIdentity>> {
        self.inner.identity()
    }
}

struct StoppableReader<R> {
    stop: Stop,
    inner: R,
}

impl<R: io::Read> io::Read for StoppableReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.stop.check()?;
        self.inner.read(out)
    }
}

impl<T> io::Write for Stoppable<'_, T>
where
    for<'t> &'t T: io::Write,
{
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stop.check()?;
        io::Write::write(&mut &*self.inner, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::Write::flush(&mut &*self.inner)
    }
}

const STOPPED: &str = "it was told to end";
