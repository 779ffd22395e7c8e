//! [`Desk`]: the writer of a log, which many threads share, and what waits to be written.

use std::{
    collections::VecDeque,
    mem,
    sync::{Mutex, MutexGuard, PoisonError, TryLockError},
};

use crate::{
    AppendError, Entry,
    disk::Disk,
    log::{Appended, Reply},
    writer::{Group, Writer},
};

/// Whoever writes takes all that waits, so that it shares a flush.
pub(crate) struct Desk<D> {
    writer: Mutex<Writer<D>>,
    waiting: Mutex<VecDeque<Waiting>>,
}

type Waiting = (Vec<Entry>, Reply<Appended>);

impl<D: Disk> Desk<D> {
    pub(crate) fn new(writer: Writer<D>) -> Self {
        Self { writer: Mutex::new(writer), waiting: Mutex::default() }
    }

    /// Leaves entries to whoever [writes](Self::write) next.
    pub(crate) fn put(&self, entries: Vec<Entry>, reply: Reply<Appended>) {
        self.waiting().push_back((entries, reply));
    }

    /// Writes what waits, unless somebody does. Whoever writes looks once more when he has left the writer, so that
    /// nothing stays that was put down while others found it taken.
    pub(crate) fn write(&self) {
        loop {
            match self.writer.try_lock() {
                Ok(mut writer) => self.write_with(&mut writer),
                Err(TryLockError::WouldBlock) => return,
                // It panicked, and nothing is written any more: who waits is told that the log is closed.
                Err(TryLockError::Poisoned(_)) => return drop(mem::take(&mut *self.waiting())),
            }
            if self.waiting().is_empty() {
                return;
            }
        }
    }

    /// Does something else with the writer, after what was put down before. `None` if it panicked once.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Writer<D>) -> T) -> Option<T> {
        let mut writer = self.writer.lock().ok()?;
        self.write_with(&mut writer);
        let done = work(&mut writer);
        drop(writer);
        if !self.waiting().is_empty() {
            self.write();
        }
        Some(done)
    }

    #[cfg(test)]
    pub(crate) fn into_writer(self) -> Writer<D> {
        self.writer.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_with(&self, writer: &mut Writer<D>) {
        loop {
            let group = self.next_group();
            if group.is_empty() {
                return;
            }
            append(writer, group);
        }
    }

    fn next_group(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting();
        let mut count = 0;
        let fits = |(entries, _): &&Waiting| {
            let begins_below = count < GROUP;
            count += entries.len();
            begins_below
        };
        let groups = waiting.iter().take_while(fits).count();
        waiting.drain(..groups).collect()
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn append<D: Disk>(writer: &mut Writer<D>, group: Vec<Waiting>) {
    let groups: Vec<Group<'_>> = group.iter().map(|(entries, _)| entries.as_slice()).collect();
    match writer.append(&groups) {
        Ok(appended) => {
            for ((_, reply), appended) in group.into_iter().zip(appended) {
                answer(reply, appended.map_err(Into::into));
            }
        }
        Err(error) => {
            let error = AppendError::from(error);
            for (_, reply) in group {
                answer(reply, Err(error.clone()));
            }
        }
    }
}

/// Tells who waits, and the log of the program where nobody does and something went wrong.
fn answer(reply: Reply<Appended>, appended: Result<Appended, AppendError>) {
    if let Err(Err(error)) = reply.send(appended) {
        tracing::error!(%error, "an operation was not recorded in the audit log");
    }
}

/// Entries that are written together at most, and then some of the last one who asked.
const GROUP: usize = 1024;
