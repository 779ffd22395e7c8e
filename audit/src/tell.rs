//! [`Teller`]: a sink on a thread of its own. Whoever reads standard output slowly, or not at all, holds up no operation.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{Entry, Outcome, Record, Sink, record::SINK_LOST};

/// A sink, and what waits for it.
pub(crate) struct Teller {
    name: &'static str,
    queue: Option<Sender<Arc<Told>>>,
    /// Records that were put into it.
    queued: AtomicU64,
    shared: Arc<Shared>,
    /// Disconnected once the thread has ended.
    ended: Receiver<()>,
    said_at: Instant,
    /// Lost records that a record is being written of.
    saying: u64,
}

/// A record, and its line without LF.
pub(crate) struct Told {
    record: Record,
    line: String,
}

#[derive(Default)]
struct Shared {
    /// Bytes of lines that wait.
    waiting: AtomicUsize,
    waiting_records: AtomicU64,
    /// Records that did not reach the sink, and of which no record says so yet.
    lost: AtomicU64,
    /// The log is closed, and what waits was counted as lost.
    given_up: AtomicBool,
    /// Records that the sink has taken, or lost.
    taken: AtomicU64,
}

/// A place in the queue of a sink, for who waits until the sink has come there.
#[derive(Debug)]
pub(crate) struct Mark {
    place: u64,
    /// How far the sink was when somebody looked, and since when.
    taken: u64,
    since: Instant,
}

impl Told {
    pub(crate) fn new(line: &str) -> Option<Arc<Self>> {
        Some(Arc::new(Self { record: Record::parse(line.as_bytes()).ok()?, line: line.to_owned() }))
    }
}

impl Teller {
    pub(crate) fn start(sink: Arc<dyn Sink>) -> std::io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let (queue, told) = channel();
        let (alive, ended) = channel::<()>();
        let (name, its) = (sink.name(), Arc::clone(&shared));
        thread::Builder::new().name("envelope-audit-sink".into()).spawn(move || {
            its.work(&*sink, &told);
            drop(alive);
        })?;
        Ok(Self {
            name,
            queue: Some(queue),
            queued: AtomicU64::new(0),
            shared,
            ended,
            said_at: Instant::now(),
            saying: 0,
        })
    }

    /// Puts a record in the queue, or counts it as lost where too much waits already.
    pub(crate) fn tell(&self, told: &Arc<Told>) {
        let length = told.line.len();
        let sent = self.shared.waiting.load(Ordering::Acquire) + length <= MOST_WAITING
            && self.queue.as_ref().is_some_and(|queue| {
                self.shared.waiting.fetch_add(length, Ordering::AcqRel);
                self.shared.waiting_records.fetch_add(1, Ordering::AcqRel);
                self.queued.fetch_add(1, Ordering::AcqRel);
                queue.send(Arc::clone(told)).is_ok()
            });
        if !sent {
            self.shared.lose(self.name, "too many wait for it");
        }
    }

    /// The record of what was lost since the last one, at most once in a minute: a sink that loses everything loses
    /// these too. [`said`](Self::said) has to follow.
    pub(crate) fn lost(&mut self, now: Instant) -> Option<Entry> {
        if now.duration_since(self.said_at) < SAYS_AGAIN_AFTER {
            return None;
        }
        let entry = self.entry()?;
        self.said_at = now;
        Some(entry)
    }

    fn entry(&mut self) -> Option<Entry> {
        self.saying = self.shared.lost.swap(0, Ordering::AcqRel);
        (self.saying > 0).then(|| {
            Entry::new(SINK_LOST, Outcome::Failed)
                .with_detail("records", self.saying.to_string())
                .with_detail("sink", self.name)
        })
    }

    /// Whether the record of what was lost is on disk: if not, the next one says it.
    pub(crate) fn said(&mut self, is_on_disk: bool) {
        let saying = std::mem::take(&mut self.saying);
        if !is_on_disk {
            self.shared.lost.fetch_add(saying, Ordering::AcqRel);
        }
    }

    /// Behind all that the sink was told so far.
    pub(crate) fn mark(&self, now: Instant) -> Mark {
        let taken = self.shared.taken.load(Ordering::Acquire);
        Mark { place: self.queued.load(Ordering::Acquire), taken, since: now }
    }

    /// Whether the sink has come to the mark, or takes nothing any more.
    pub(crate) fn is_past(&self, mark: &mut Mark, now: Instant) -> bool {
        let taken = self.shared.taken.load(Ordering::Acquire);
        if taken != mark.taken {
            (mark.taken, mark.since) = (taken, now);
        }
        taken >= mark.place || now.duration_since(mark.since) >= STUCK_AFTER
    }

    /// As [`lost`](Self::lost), whenever the last one was.
    pub(crate) fn lost_by_now(&mut self, now: Instant) -> Option<Entry> {
        let entry = self.entry()?;
        self.said_at = now;
        Some(entry)
    }

    /// Takes no more, and waits for the sink as long as it takes something, but not after `deadline`. Returns the record of
    /// what was lost.
    pub(crate) fn end(&mut self, deadline: Instant) -> Option<Entry> {
        self.queue = None;
        loop {
            let before = self.shared.waiting_records.load(Ordering::Acquire);
            let left = deadline.saturating_duration_since(Instant::now());
            if self.ended.recv_timeout(left.min(STUCK_AFTER)) == Err(RecvTimeoutError::Disconnected) {
                break;
            }
            let waiting = self.shared.waiting_records.load(Ordering::Acquire);
            if waiting == before || left.is_zero() {
                self.shared.given_up.store(true, Ordering::Release);
                self.shared.lost.fetch_add(waiting, Ordering::AcqRel);
                break;
            }
        }
        self.entry()
    }
}

impl Shared {
    fn work(&self, sink: &dyn Sink, queue: &Receiver<Arc<Told>>) {
        while let Ok(told) = queue.recv() {
            if self.given_up.load(Ordering::Acquire) {
                return;
            }
            // One that panics has lost this record alone: without its thread, nobody would count the others.
            match catch_unwind(AssertUnwindSafe(|| sink.tell(&told.record, &told.line))) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.lose(sink.name(), error),
                Err(_) => self.lose(sink.name(), "it panicked"),
            }
            self.waiting.fetch_sub(told.line.len(), Ordering::AcqRel);
            self.waiting_records.fetch_sub(1, Ordering::AcqRel);
            self.taken.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn lose(&self, sink: &str, why: impl std::fmt::Display) {
        // Once, until it is recorded: not for each.
        if self.lost.fetch_add(1, Ordering::AcqRel) == 0 {
            tracing::warn!(sink, %why, "records of the audit log do not reach a sink");
        }
    }
}

/// Bytes of lines that wait for a sink at most: some thousand records.
pub(crate) const MOST_WAITING: usize = 4 << 20;
/// How long the end of a log waits for its sinks at most,
pub(crate) const ENDS_AFTER: Duration = Duration::from_secs(10);
/// and for one that takes nothing.
const STUCK_AFTER: Duration = Duration::from_secs(1);
const SAYS_AGAIN_AFTER: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::{io, thread};

    use super::*;
    use crate::{LogOptions, tests::memory_disk::MemoryDisk, writer::Writer};

    struct Broken;

    impl Sink for Broken {
        fn name(&self) -> &'static str {
            "broken"
        }

        fn tell(&self, _: &Record, _: &str) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    #[test]
    fn who_waits_for_a_sink_waits_as_long_as_it_takes_something() {
        let (teller, begun) = (Teller::start(Arc::new(Broken)).unwrap(), Instant::now());
        teller.queued.store(3, Ordering::Release);
        let mut mark = teller.mark(begun);
        assert!(!teller.is_past(&mut mark, begun + STUCK_AFTER / 2));
        teller.shared.taken.store(1, Ordering::Release);
        assert!(!teller.is_past(&mut mark, begun + STUCK_AFTER), "it has taken one");
        assert!(!teller.is_past(&mut mark, begun + STUCK_AFTER + STUCK_AFTER / 2));
        assert!(teller.is_past(&mut mark, begun + 2 * STUCK_AFTER), "it takes nothing any more");
        let mut mark = teller.mark(begun);
        teller.queued.store(9, Ordering::Release);
        teller.shared.taken.store(3, Ordering::Release);
        assert!(teller.is_past(&mut mark, begun), "what came behind the mark is not waited for");
    }

    #[test]
    fn what_was_lost_is_said_once_in_a_minute_and_again_if_it_was_not_written() {
        let key = crate::LogKey::from_secrets([7; 16], &[9; 64]).unwrap();
        let (line, _) = Writer::<MemoryDisk>::first_record(&key, &LogOptions::new("test")).unwrap();
        let told = Told::new(std::str::from_utf8(&line).unwrap().trim_end()).unwrap();
        let mut teller = Teller::start(Arc::new(Broken)).unwrap();
        for _ in 0..3 {
            teller.tell(&told);
        }
        while teller.shared.waiting_records.load(Ordering::Acquire) > 0 {
            thread::yield_now();
        }
        let (begun, minute) = (teller.said_at, SAYS_AGAIN_AFTER);
        let records = |entry: Option<Entry>| entry.map(|entry| entry.detail["records"].clone());
        assert_eq!(records(teller.lost(begun + minute / 2)), None);
        assert_eq!(records(teller.lost(begun + minute)).as_deref(), Some("3"));
        teller.said(false);
        assert_eq!(records(teller.lost(begun + minute * 2)).as_deref(), Some("3"));
        teller.said(true);
        assert_eq!(records(teller.lost(begun + minute * 3)), None);
        teller.tell(&told);
        assert_eq!(records(teller.end(Instant::now() + ENDS_AFTER)).as_deref(), Some("1"));
    }
}
