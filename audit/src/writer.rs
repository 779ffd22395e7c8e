//! [`Writer`]: what is done under the lock.

mod settle;

use std::{io, sync::Arc, time::Instant};

use subtle::ConstantTimeEq;

use crate::{
    Anchor, Damage, Entry, Fault, LogError, LogOptions, Outcome, Record,
    chain::Hash,
    checkpoint::Beginning,
    disk::Disk,
    head::{HEAD_LEN, Head},
    key::LogKey,
    log::{Appended, Pruned},
    record::{self, BEGIN, CHECKPOINT, MAX_LINE, PRUNE, Position, SEGMENT, SEGMENT_END},
    tell::{ENDS_AFTER, Mark, Teller, Told},
    text,
};

/// The writer of a log. One thread has it.
pub(crate) struct Writer<D> {
    pub(crate) disk: D,
    key: Arc<LogKey>,
    options: LogOptions,
    state: Option<State>,
    /// The last record that this process knows to be there.
    known: u64,
    /// Where to cut before anything else, after a write that failed: segment and length.
    cut_to: Option<(u64, u64)>,
    head_is_flushed: bool,
    lines: Vec<u8>,
    pub(crate) tellers: Vec<Teller>,
}

/// A flush that waits for sinks.
pub(crate) struct Flushing {
    marks: Vec<Mark>,
    deadline: Instant,
}

/// Where the log ends.
#[derive(Clone)]
struct State {
    first: u64,
    seq: u64,
    hash: Hash,
    time: Option<u64>,
    segment: u64,
    length: u64,
    /// When the segment was begun, if that matters.
    begun_at: Option<u64>,
    head: [u8; HEAD_LEN],
}

/// What is appended together is there together, or refused together.
pub(crate) type Group<'a> = &'a [Entry];

impl<D: Disk> Writer<D> {
    pub(crate) fn new(disk: D, key: Arc<LogKey>, options: LogOptions) -> Self {
        Self {
            disk,
            key,
            options,
            state: None,
            known: 0,
            cut_to: None,
            head_is_flushed: true,
            lines: Vec::new(),
            tellers: Vec::new(),
        }
    }

    /// The first record of a new log, and its head.
    pub(crate) fn first_record(key: &LogKey, options: &LogOptions) -> Result<(Vec<u8>, Vec<u8>), LogError> {
        let prev = crate::chain::beginning(key.log_id(), &key.public_key());
        let at = Position { seq: 1, prev, time: (options.clock)(), clock_set_back: false };
        let mut lines = Vec::new();
        let entry = named(BEGIN, key, 1).with_detail("public_key", text::hex(&key.public_key()));
        let hash = record::seal(&mut lines, &entry, &options.actor, at, key)?;
        let length = lines.len() as u64;
        let head = Head { log: *key.log_id(), first: 1, seq: 1, hash, segment: 1, length };
        Ok((lines, head.to_bytes(key).to_vec()))
    }

    /// Finds the end of the log, and mends what a crash left open.
    pub(crate) fn open(&mut self) -> Result<(), LogError> {
        self.locked(|writer| writer.settle().map(drop))
    }

    /// Appends the groups with one flush. A group with an entry that cannot be recorded is left out, and the others are
    /// written; an error of the whole is that of the disk or of the log, and nothing of them is acknowledged.
    pub(crate) fn append(
        &mut self,
        groups: &[Group<'_>],
    ) -> Result<Vec<Result<Appended, LogError>>, LogError> {
        self.locked(|writer| {
            let state = writer.settle()?;
            if writer.is_full(&state) {
                writer.rotate()?;
            }
            let now = Instant::now();
            let lost: Vec<_> = writer.tellers.iter_mut().filter_map(|teller| teller.lost(now)).collect();
            if lost.is_empty() {
                return writer.put(groups);
            }
            let mut put = writer.put(&[groups, &[lost.as_slice()]].concat());
            writer.tellers.iter_mut().for_each(|teller| teller.said(put.is_ok()));
            if let Ok(put) = &mut put {
                put.pop();
            }
            put
        })
    }

    /// The last of it: sinks are told what they still take, and the head is brought to disk.
    pub(crate) fn close(&mut self) -> Result<(), LogError> {
        let deadline = Instant::now() + ENDS_AFTER;
        let lost: Vec<_> = self.tellers.iter_mut().filter_map(|teller| teller.end(deadline)).collect();
        self.tellers.clear();
        if !lost.is_empty() {
            self.append(&[&lost])?;
        }
        self.flush_head()
    }

    /// For a process that may end without closing the log: how far sinks are, which are [waited for](Self::may_flush) then.
    pub(crate) fn begin_flush(&self) -> Flushing {
        let now = Instant::now();
        let marks = self.tellers.iter().map(|teller| teller.mark(now)).collect();
        Flushing { marks, deadline: now + ENDS_AFTER }
    }

    /// Whether nothing is to be waited for any more. It does not wait.
    pub(crate) fn may_flush(&self, flushing: &mut Flushing) -> bool {
        let now = Instant::now();
        let mut marked = self.tellers.iter().zip(&mut flushing.marks);
        now >= flushing.deadline || marked.all(|(teller, mark)| teller.is_past(mark, now))
    }

    /// Records what sinks lost, and brings the head to disk.
    pub(crate) fn flush(&mut self) -> Result<(), LogError> {
        let now = Instant::now();
        let lost: Vec<_> = self.tellers.iter_mut().filter_map(|teller| teller.lost_by_now(now)).collect();
        if !lost.is_empty() {
            let put = self.append(&[&lost]);
            self.tellers.iter_mut().for_each(|teller| teller.said(put.is_ok()));
            put?;
        }
        self.flush_head()
    }

    /// Signs where the log ends.
    pub(crate) fn checkpoint(&mut self) -> Result<Anchor, LogError> {
        self.locked(|writer| {
            let anchor = writer.put_checkpoint()?;
            writer.flush_head()?;
            Ok(anchor)
        })
    }

    /// Removes the closed segments that have no record after `up_to`.
    pub(crate) fn prune(&mut self, up_to: u64) -> Result<Pruned, LogError> {
        self.locked(|writer| writer.prune_behind(up_to))
    }

    /// Brings the head to disk.
    pub(crate) fn flush_head(&mut self) -> Result<(), LogError> {
        if !self.head_is_flushed {
            self.disk.sync_head().map_err(|error| self.cannot_head("flush", error))?;
            self.head_is_flushed = true;
        }
        Ok(())
    }

    pub(crate) fn head_is_flushed(&self) -> bool {
        self.head_is_flushed
    }

    fn locked<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, LogError>) -> Result<T, LogError> {
        self.disk.lock().map_err(|error| self.cannot("lock", None, error))?;
        let done = work(self);
        if done.is_err() {
            self.give_up();
        }
        self.disk.unlock();
        done
    }

    /// After a failure: nothing of what was not acknowledged stays, if the disk lets it.
    fn give_up(&mut self) {
        if let Some(State { segment, length, .. }) = self.state.take() {
            let longer = self.disk.length().ok().flatten().is_some_and(|there| there > length);
            if longer && self.disk.cut(length).is_err() {
                self.cut_to = Some((segment, length));
            }
        }
    }

    fn state(&self) -> Result<State, LogError> {
        self.state.clone().ok_or(LogError::Closed)
    }

    fn is_full(&self, state: &State) -> bool {
        let now = (self.options.clock)();
        let old = match (self.options.segment_age, state.begun_at) {
            (Some(age), Some(begun)) => now.saturating_sub(begun) >= age,
            _ => false,
        };
        old || state.length >= self.options.segment_bytes
    }

    /// Seals, writes, flushes, and then moves the head.
    fn put(&mut self, groups: &[Group<'_>]) -> Result<Vec<Result<Appended, LogError>>, LogError> {
        let mut state = self.state()?;
        let begin = state.length;
        let mut lines = std::mem::take(&mut self.lines);
        lines.clear();
        let sealed = groups.iter().map(|group| self.seal(&mut lines, &mut state, group)).collect();
        if !lines.is_empty() {
            let written = self.disk.write(begin, &lines).and_then(|()| self.disk.sync());
            if let Err(error) = written {
                self.lines = lines;
                return Err(self.cannot("write", None, error));
            }
            state.length = begin + lines.len() as u64;
            self.stand(state)?;
            self.tell(&lines);
        }
        self.lines = lines;
        Ok(sealed)
    }

    fn seal(&self, lines: &mut Vec<u8>, state: &mut State, group: Group<'_>) -> Result<Appended, LogError> {
        let (begin, before) = (lines.len(), (state.seq, state.hash, state.time, state.begun_at));
        let first = state.seq + 1;
        for entry in group {
            let time = (self.options.clock)();
            let clock_set_back = state.time.is_some_and(|before| time < before);
            let at = Position { seq: state.seq + 1, prev: state.hash, time, clock_set_back };
            match record::seal(lines, entry, &self.options.actor, at, &self.key) {
                Ok(hash) => (state.seq, state.hash, state.time) = (at.seq, hash, Some(time)),
                Err(error) => {
                    lines.truncate(begin);
                    (state.seq, state.hash, state.time, state.begun_at) = before;
                    return Err(error.into());
                }
            }
        }
        Ok(Appended { first, last: state.seq })
    }

    /// The log ends here now: says so in the head.
    fn stand(&mut self, mut state: State) -> Result<(), LogError> {
        let State { first, seq, hash, segment, length, .. } = state;
        let head = Head { log: *self.key.log_id(), first, seq, hash, segment, length };
        state.head = head.to_bytes(&self.key);
        let bytes = state.head;
        // What is on disk stays there, whether or not the head can say so.
        self.state = Some(state);
        self.head_is_flushed = false;
        self.disk.write_head(&bytes).map_err(|error| self.cannot_head("write", error))?;
        self.known = seq;
        Ok(())
    }

    fn tell(&self, lines: &[u8]) {
        if self.tellers.is_empty() {
            return;
        }
        let lines = lines.split(|&byte| byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
        for told in lines.filter_map(Told::new) {
            self.tellers.iter().for_each(|teller| teller.tell(&told));
        }
    }

    fn put_own(&mut self, entry: Entry) -> Result<(), LogError> {
        for put in self.put(&[&[entry]])? {
            put?;
        }
        Ok(())
    }

    /// Closes the segment and begins the next one.
    fn rotate(&mut self) -> Result<(), LogError> {
        let next = self.state()?.segment + 1;
        self.put_own(Entry::new(SEGMENT_END, Outcome::Ok).with_detail("next", next.to_string()))?;
        self.move_on()
    }

    /// The steps after the last record of a segment.
    fn move_on(&mut self) -> Result<(), LogError> {
        self.flush_head()?;
        let segment = self.state()?.segment;
        self.disk.close_segment(segment).map_err(|error| self.cannot("close", None, error))?;
        self.begin_segment()
    }

    /// The first record of the segment after the one that was closed.
    fn begin_segment(&mut self) -> Result<(), LogError> {
        if self.disk.length().map_err(|error| self.cannot("read", None, error))?.is_none() {
            self.disk.open_segment().map_err(|error| self.cannot("create", None, error))?;
        }
        // Also when another process made it, and died before the name was on disk.
        self.disk.sync_names().map_err(|error| self.cannot("flush the folder of", None, error))?;
        let mut state = self.state()?;
        (state.segment, state.length) = (state.segment + 1, 0);
        state.begun_at = Some((self.options.clock)());
        let segment = state.segment;
        self.state = Some(state);
        self.put_own(named(SEGMENT, &self.key, segment))
    }

    fn put_checkpoint(&mut self) -> Result<Anchor, LogError> {
        let state = self.settle()?;
        let anchor = Anchor::new(&self.key, state.seq, state.hash);
        let signature = text::hex(&anchor.signature);
        self.put_own(Entry::new(CHECKPOINT, Outcome::Ok).with_detail("signature", signature))?;
        Ok(anchor)
    }

    fn prune_behind(&mut self, up_to: u64) -> Result<Pruned, LogError> {
        let state = self.settle()?;
        let closed = self.disk.closed().map_err(|error| self.cannot("list", None, error))?;
        let mut beginning = None;
        for segment in
            closed.iter().copied().filter(|&number| number < state.segment).map(|number| number + 1)
        {
            let name = (segment < state.segment).then_some(segment);
            let first = self.first_of(name)?;
            if first.seq > up_to.saturating_add(1) {
                break;
            }
            beginning = Some(Beginning { first: first.seq, segment, hash: first.prev });
        }
        let Some(beginning) = beginning.filter(|beginning| beginning.first >= state.first) else {
            return Ok(Pruned { segments: 0, first: state.first });
        };
        if beginning.first > state.first {
            self.put_checkpoint()?;
            let State { seq, hash, .. } = self.state()?;
            let signature = self.key.sign(&beginning.message(self.key.log_id(), seq + 1, &hash));
            let entry = Entry::new(PRUNE, Outcome::Ok)
                .with_detail("first", beginning.first.to_string())
                .with_detail("hash", text::hex(&beginning.hash))
                .with_detail("segment", beginning.segment.to_string())
                .with_detail("signature", text::hex(&signature));
            self.put_own(entry)?;
            let mut state = self.state()?;
            state.first = beginning.first;
            self.stand(state)?;
            self.flush_head()?;
        }
        let mut segments = 0;
        for number in closed.into_iter().filter(|&number| number < beginning.segment) {
            self.disk.remove(number).map_err(|error| self.cannot("remove", Some(number), error))?;
            segments += 1;
        }
        Ok(Pruned { segments, first: beginning.first })
    }

    /// The first record of a segment.
    fn first_of(&mut self, segment: Option<u64>) -> Result<Record, LogError> {
        let bytes = self.disk.read(segment, 0, MAX_LINE);
        let bytes = bytes.map_err(|error| self.cannot("read", segment, error))?;
        let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let record = Record::parse(line).map_err(|error| self.damage(segment, 1, error.into()))?;
        // It decides what is removed, and is signed to be the beginning.
        let hash = crate::chain::split(line).map(|(before, after)| crate::chain::hash(before, after));
        if hash.is_some_and(|hash| bool::from(self.key.mac(&hash).ct_eq(&record.mac))) {
            Ok(record)
        } else {
            Err(self.damage(segment, 1, Fault::Mac { seq: record.seq }))
        }
    }

    fn damage(&self, segment: Option<u64>, line: u64, fault: Fault) -> LogError {
        LogError::Damaged(Damage { file: self.disk.path(segment), line, fault })
    }

    fn cannot(&self, verb: &'static str, segment: Option<u64>, source: io::Error) -> LogError {
        LogError::Io { verb, path: self.disk.path(segment), source }
    }

    fn cannot_head(&self, verb: &'static str, source: io::Error) -> LogError {
        LogError::Io { verb, path: self.disk.head_path(), source }
    }
}

/// A record that a segment begins with.
fn named(operation: &'static str, key: &LogKey, segment: u64) -> Entry {
    Entry::new(operation, Outcome::Ok)
        .with_detail("log", text::hex(key.log_id()))
        .with_detail("segment", segment.to_string())
}
