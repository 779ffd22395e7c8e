//! [`LogOptions`]: how a log is written.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::SystemTime,
};

use crate::{Sink, text};

/// How a log is written. The defaults are meant to stay.
#[derive(Clone)]
#[must_use]
pub struct LogOptions {
    pub(crate) actor: String,
    pub(crate) shown: BTreeSet<String>,
    pub(crate) segment_bytes: u64,
    pub(crate) segment_age: Option<u64>,
    pub(crate) unwritable: Unwritable,
    pub(crate) sinks: Vec<Arc<dyn Sink>>,
    pub(crate) clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    pub(crate) request: Option<String>,
    pub(crate) basis: BTreeMap<String, String>,
    pub(crate) writers: Writers,
}

/// Who writes to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writers {
    /// A thread of the log.
    Thread,
    /// Whoever appends.
    Callers,
}

/// What becomes of an operation that cannot be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Unwritable {
    /// It fails.
    #[default]
    Refuse,
    /// It is done, with a `tracing` event of level `ERROR`. Then whoever can fill a disk can act without being recorded.
    BestEffort,
}

impl LogOptions {
    /// For operations of `actor`: the name of the service, `user:NAME`. Segments of 64 MiB, whatever their age; no value of
    /// the context is recorded; what cannot be recorded is refused.
    pub fn new(actor: impl Into<String>) -> Self {
        Self {
            actor: actor.into(),
            shown: BTreeSet::new(),
            segment_bytes: 64 << 20,
            segment_age: None,
            unwritable: Unwritable::Refuse,
            sinks: Vec::new(),
            clock: Arc::new(|| text::milliseconds(SystemTime::now())),
            request: None,
            basis: BTreeMap::new(),
            writers: Writers::Thread,
        }
    }

    /// Records the entry `name` of encryption contexts, with its value.
    pub fn show_value(mut self, name: impl Into<String>) -> Self {
        self.shown.insert(name.into());
        self
    }

    /// Closes a segment before the records that come once it has so many bytes: it may have more, by what is written
    /// together. At least one record is in each, so that 0 and other small numbers make a segment for each group.
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// Closes a segment with the first record that comes after so long.
    pub fn segment_age(mut self, age: std::time::Duration) -> Self {
        self.segment_age = Some(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// What becomes of operations that cannot be recorded.
    pub fn if_unwritable(mut self, unwritable: Unwritable) -> Self {
        self.unwritable = unwritable;
        self
    }

    /// Tells `sink` of each record once it is on disk.
    pub fn tell(mut self, sink: Arc<dyn Sink>) -> Self {
        self.sinks.push(sink);
        self
    }

    /// The request that everything of this log belongs to, unless [`in_request`](crate::in_request) says another: for a process
    /// that is one request. 1 to 128 bytes.
    pub fn request(mut self, id: impl Into<String>) -> Self {
        self.request = Some(id.into());
        self
    }

    /// Says what the program works under: `configuration` or `policy`, with its digest in hexadecimal. The log has it before
    /// the first record of this process, unless it stands there already: as `config`, or as `config-changed` and
    /// `policy-changed` where the last one was another.
    pub fn works_under(mut self, name: &str, digest: impl Into<String>) -> Self {
        self.basis.insert(name.into(), digest.into());
        self
    }

    /// For a program whose threads may wait for a disk: [`append`](crate::Log::append) writes where it is called, unless another
    /// thread is writing already, which then writes this too. That spares two changes of threads for each record. Without this a
    /// thread of the log writes, and no executor is held up.
    pub fn write_on_callers_threads(mut self) -> Self {
        self.writers = Writers::Callers;
        self
    }

    /// Another clock, in milliseconds since 1970. For tests.
    pub fn clock(mut self, clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }
}

impl fmt::Debug for LogOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { actor, shown, segment_bytes, segment_age, unwritable, .. } = self;
        f.debug_struct("LogOptions")
            .field("actor", actor)
            .field("shown", shown)
            .field("segment_bytes", segment_bytes)
            .field("segment_age", segment_age)
            .field("unwritable", unwritable)
            .finish_non_exhaustive()
    }
}
