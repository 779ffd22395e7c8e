//! [`Desk`]: the writer of a log, which many threads share, and what waits to be written.

use std::{
    collections::VecDeque,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    AppendError, Entry,
    basis::Saying,
    disk::Disk,
    log::{Appended, Reply},
    writer::{Group, Writer},
};

/// Whoever writes takes all that waits, so that it shares a flush.
pub(crate) struct Desk<D> {
    writer: Mutex<Writer<D>>,
    waiting: Mutex<VecDeque<Waiting>>,
}

/// What was put down, and what of it says what the log works under.
type Waiting = (Vec<Entry>, Reply<Appended>, Option<Saying>);

impl<D: Disk> Desk<D> {
    pub(crate) fn new(writer: Writer<D>) -> Self {
        Self { writer: Mutex::new(writer), waiting: Mutex::default() }
    }

    /// Leaves entries to whoever [writes](Self::write) next.
    pub(crate) fn put(&self, entries: Vec<Entry>, reply: Reply<Appended>, saying: Option<Saying>) {
        self.waiting().push_back((entries, reply, saying));
    }

    /// Writes what waits, unless somebody does. Whoever writes looks once more when he has left the writer, so that
    /// nothing stays that was put down while others found it taken; but not for ever, since others may record without end. True:
    /// something is left, and somebody else has to write it.
    pub(crate) fn write(&self) -> bool {
        let _closes = Closes(self);
        for _ in 0..TURNS {
            // Taken, or of no use any more.
            let Ok(mut writer) = self.writer.try_lock() else { return false };
            self.write_with(&mut writer);
            drop(writer);
            if self.is_empty() {
                return false;
            }
        }
        true
    }

    /// Does something else with the writer, after what was put down before. `None` if it panicked once. What was put down
    /// meanwhile may be [left](Self::is_empty).
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Writer<D>) -> T) -> Option<T> {
        let _closes = Closes(self);
        let mut writer = self.writer.lock().ok()?;
        self.write_with(&mut writer);
        Some(work(&mut writer))
    }

    /// Whether nothing waits to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting().is_empty()
    }

    /// For a thread that is to be asked to write: what was put down before nobody could ask it any more is not left there.
    pub(crate) fn closes(&self) -> Closes<'_, D> {
        Closes(self)
    }

    #[cfg(test)]
    pub(crate) fn into_writer(self) -> Writer<D> {
        self.writer.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what was put down before, and not what comes meanwhile.
    fn write_with(&self, writer: &mut Writer<D>) {
        let mut left = self.waiting().len();
        loop {
            let group = self.next_group(left);
            if group.is_empty() {
                return;
            }
            left -= group.len();
            append(writer, group);
        }
    }

    /// Of the first so many who wait.
    fn next_group(&self, left: usize) -> Vec<Waiting> {
        let mut waiting = self.waiting();
        let mut count = 0;
        let fits = |(entries, ..): &&Waiting| {
            let begins_below = count < GROUP;
            count += entries.len();
            begins_below
        };
        let groups = waiting.iter().take(left).take_while(fits).count();
        waiting.drain(..groups).collect()
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When it is dropped, all who wait are told that the log is closed if the writer has panicked: nobody writes any more.
pub(crate) struct Closes<'d, D: Disk>(&'d Desk<D>);

impl<D: Disk> Drop for Closes<'_, D> {
    fn drop(&mut self) {
        if self.0.writer.is_poisoned() {
            // Dropped once others can put something down again: what is told may lead to that.
            let left = mem::take(&mut *self.0.waiting());
            drop(left);
        }
    }
}

fn append<D: Disk>(writer: &mut Writer<D>, group: Vec<Waiting>) {
    let groups: Vec<Group<'_>> = group.iter().map(|(entries, ..)| entries.as_slice()).collect();
    match writer.append(&groups) {
        Ok(appended) => {
            for ((_, reply, saying), appended) in group.into_iter().zip(appended) {
                answer(reply, saying, appended.map_err(Into::into));
            }
        }
        Err(error) => {
            let error = AppendError::from(error);
            for (_, reply, saying) in group {
                answer(reply, saying, Err(error.clone()));
            }
        }
    }
}

/// Tells who waits, and the log of the program where nobody does and something went wrong.
fn answer(reply: Reply<Appended>, saying: Option<Saying>, appended: Result<Appended, AppendError>) {
    // First: whoever hears of it may record the next at once.
    match &appended {
        Ok(_) => saying.into_iter().for_each(Saying::end),
        Err(_) => drop(saying),
    }
    if let Err(Err(error)) = reply.send(appended) {
        tracing::error!(%error, "an operation was not recorded in the audit log");
    }
}

/// Entries that are written together at most, and then some of the last one who asked.
const GROUP: usize = 1024;
/// How often somebody writes who found something to write, at most.
const TURNS: usize = 4;
