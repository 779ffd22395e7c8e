//! [`Verifier`]: whether a log is what was written.

use std::{
    fmt, io,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use envelope_sdk::printable;

use crate::{
    Anchor, Damage, Fault, KeyFile, LogKey, NotARecord, Record,
    checkpoint::Beginning,
    follow::{Follower, PIECE, next_line, remains},
    head::Head,
    record::{Line, RECOVERED},
    segments::{OnDisk, Segments, beside},
};

/// Verifies logs: with the secret each record, without it up to the last signature and against itself.
#[derive(Clone)]
pub struct Verifier {
    log: [u8; 16],
    public_key: [u8; 32],
    key: Option<Arc<LogKey>>,
    anchors: Vec<Anchor>,
}

/// What a log that is as it was written has.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// How many records are kept.
    pub records: u64,
    /// The `seq` of the first one: 1 unless the log was pruned.
    pub first: u64,
    /// The `seq` of the last one.
    pub last: u64,
    /// How many segments there are.
    pub segments: u64,
    /// The last `seq` that a signature of a checkpoint, or an anchor, covers.
    pub signed: Option<u64>,
    /// Records behind the head: written by a process that died before it could say so.
    pub behind_head: u64,
    /// Bytes at the end that a crash left of a write that was never acknowledged.
    pub remains: u64,
    /// How often the clock was set back.
    pub clock_set_back: u64,
    /// How often a writer cut off what a crash had left.
    pub recovered: u64,
}

/// Why a log does not verify.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// It is not what was written.
    #[error("{0}")]
    Damaged(#[from] Damage),
    /// It cannot be read.
    #[error("cannot read {}: {source}", printable::path(path))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What was read cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[source] io::Error),
}

impl Verifier {
    /// With the secret of the log: each record, and the head.
    #[must_use]
    pub fn with_key(key: LogKey) -> Self {
        let (log, public_key) = (*key.log_id(), key.public_key());
        Self { log, public_key, key: Some(Arc::new(key)), anchors: Vec::new() }
    }

    /// Without the secret: the chain, up to the last checkpoint signed by `public_key`, which must come by another
    /// way than the folder of the log. What stands after it only agrees with itself.
    #[must_use]
    pub fn with_public_key(file: &KeyFile, public_key: [u8; 32]) -> Self {
        Self::of(*file.log_id(), public_key)
    }

    pub(crate) fn of(log: [u8; 16], public_key: [u8; 32]) -> Self {
        Self { log, public_key, key: None, anchors: Vec::new() }
    }

    /// Demands that the log is the one that this anchor was made of.
    #[must_use]
    pub fn anchor(mut self, anchor: Anchor) -> Self {
        self.anchors.push(anchor);
        self
    }

    /// Verifies the log at `path`, which others may be writing meanwhile: what is there when this begins.
    ///
    /// # Errors
    ///
    /// [`VerifyError::Damaged`] with the first bad line.
    pub fn verify(&self, path: &Path) -> Result<Verified, VerifyError> {
        self.verify_segments(&mut OnDisk::new(path), &beside(path, "head"))
    }

    pub(crate) fn verify_segments<S: Segments>(
        &self,
        segments: &mut S,
        head_path: &Path,
    ) -> Result<Verified, VerifyError> {
        Run::new(self, segments, head_path)?.run()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("has_secret", &self.key.is_some()).finish_non_exhaustive()
    }
}

/// One verification.
struct Run<'a, S: Segments> {
    verifier: &'a Verifier,
    segments: &'a mut S,
    head: Head,
    head_path: &'a Path,
    closed: Vec<u64>,
    current: Option<S::Reader>,
    /// What was read of the current one already.
    begun: Vec<u8>,
    /// Where the log begins, if it does not with record 1.
    beginning: Option<Beginning>,
    is_pruned: bool,
    found: Verified,
}

impl<'a, S: Segments> Run<'a, S> {
    fn new(verifier: &'a Verifier, segments: &'a mut S, head_path: &'a Path) -> Result<Self, VerifyError> {
        let snapshot = segments.snapshot();
        let snapshot = snapshot.map_err(|source| VerifyError::Io { path: segments.path(None), source })?;
        let at_head = |fault| Damage { file: head_path.to_owned(), line: 1, fault };
        let bytes = snapshot.head.ok_or_else(|| at_head(Fault::Missing))?;
        let head = Head::parse(&bytes, verifier.key.as_deref()).map_err(|what| at_head(Fault::Head(what)))?;
        if head.log != verifier.log {
            return Err(at_head(Fault::Head("it is of another log")).into());
        }
        let found = Verified {
            records: 0,
            first: head.first,
            last: 0,
            segments: 0,
            signed: None,
            behind_head: 0,
            remains: 0,
            clock_set_back: 0,
            recovered: 0,
        };
        let (closed, current) = (snapshot.closed, snapshot.current);
        Ok(Self {
            verifier,
            segments,
            head,
            head_path,
            closed,
            current,
            begun: Vec::new(),
            beginning: None,
            is_pruned: false,
            found,
        })
    }

    fn run(mut self) -> Result<Verified, VerifyError> {
        for anchor in &self.verifier.anchors {
            if anchor.log != self.verifier.log || anchor.public_key != self.verifier.public_key {
                return Err(self.damage(None, 1, Fault::Anchor { seq: anchor.seq }));
            }
        }
        let files = self.files()?;
        let key = self.verifier.key.clone();
        let mut follower = Follower::new(self.verifier.log, self.verifier.public_key, key.as_deref());
        if let Some(beginning) = self.beginning {
            follower = follower.starting(beginning);
        }
        let mut line = 0;
        let mut last_file = None;
        for (index, &file) in files.iter().enumerate() {
            if index > 0 {
                if !follower.ended {
                    let fault = Fault::Segment { seq: follower.seq + 1 };
                    return Err(self.damage(last_file, line + 1, fault));
                }
                follower.next_segment();
            }
            line = self.verify_file(&mut follower, file)?;
            last_file = file;
            self.found.segments += 1;
        }
        self.end(&follower, last_file, line)
    }

    /// The segments that are to be read, in order; the current one has no number.
    fn files(&mut self) -> Result<Vec<Option<u64>>, VerifyError> {
        if self.head.first > 1 {
            self.find_beginning()?;
        }
        let begin = self.beginning.map_or(1, |beginning| beginning.segment);
        self.closed.retain(|&number| number >= begin);
        let mut expected = begin;
        for &number in &self.closed {
            if number != expected {
                return Err(self.damage(Some(expected), 1, Fault::Missing));
            }
            expected += 1;
        }
        if self.head.segment > expected {
            return Err(self.damage(Some(expected), 1, Fault::Missing));
        }
        let mut files: Vec<_> = self.closed.iter().copied().map(Some).collect();
        match &self.current {
            Some(_) => files.push(None),
            // Closed, and the next one not made yet.
            None if self.head.segment < expected => {}
            None => return Err(self.damage(None, 1, Fault::Missing)),
        }
        Ok(files)
    }

    /// Finds the segment whose first record is the first that the head names.
    fn find_beginning(&mut self) -> Result<(), VerifyError> {
        let first = self.head.first;
        let mut oldest = None;
        for number in self.closed.clone() {
            let mut reader = BufReader::new(self.open_closed(number)?);
            let line = self.line(&mut reader, Some(number))?;
            let record = parse(&line).map_err(|fault| self.damage(Some(number), 1, fault))?;
            oldest = oldest.or(Some(number));
            if record.seq >= first {
                if record.seq > first {
                    break;
                }
                self.beginning = Some(Beginning { first, segment: number, hash: record.prev });
                return Ok(());
            }
        }
        // All that is kept is in the current one.
        let number = self.head.segment;
        if let Some(current) = self.current.take() {
            let mut reader = BufReader::new(current);
            let line = self.line(&mut reader, None)?;
            let is_first = parse(&line).ok().filter(|record| record.seq == first);
            if let Some(record) = is_first {
                self.beginning = Some(Beginning { first, segment: number, hash: record.prev });
                // Not opened anew: it may have been closed since, and the next one have its name.
                self.begun = [line.as_slice(), reader.buffer()].concat();
                self.current = Some(reader.into_inner());
                return Ok(());
            }
        }
        let missing = oldest.unwrap_or(number).saturating_sub(1).max(1);
        Err(self.damage(Some(missing), 1, Fault::Missing))
    }

    /// Verifies a file, and returns how many lines it has.
    fn verify_file(&mut self, follower: &mut Follower<'_>, file: Option<u64>) -> Result<u64, VerifyError> {
        let reader = match file {
            Some(number) => self.open_closed(number)?,
            None => match self.current.take() {
                Some(current) => current,
                None => return Err(self.damage(None, 1, Fault::Missing)),
            },
        };
        let begun = if file.is_none() { std::mem::take(&mut self.begun) } else { Vec::new() };
        let mut reader = BufReader::with_capacity(PIECE, io::Cursor::new(begun).chain(reader));
        let (mut lines, mut offset) = (0, 0);
        let mut line = Vec::with_capacity(1024);
        loop {
            let read = next_line(&mut reader, &mut line);
            read.map_err(|source| VerifyError::Io { path: self.segments.path(file), source })?;
            if line.is_empty() {
                return Ok(lines);
            }
            let followed = match line.strip_suffix(b"\n") {
                Some(text) => follower.follow(text),
                None => Err(Fault::NotARecord(NotARecord("its line does not end"))),
            };
            match followed {
                Ok(record) => {
                    (lines, offset) = (lines + 1, offset + line.len() as u64);
                    self.take(follower, &record, file, lines, offset)?;
                }
                Err(fault) => {
                    if file.is_none() {
                        if follower.seq >= self.head.seq {
                            if let Some(bytes) = self.remains(&line, &mut reader)? {
                                self.found.remains = bytes;
                                return Ok(lines);
                            }
                        } else if !line.ends_with(b"\n") {
                            return Err(self.damage(None, lines + 1, self.cut(follower)));
                        }
                    }
                    return Err(self.damage(file, lines + 1, fault));
                }
            }
        }
    }

    fn remains(&self, line: &[u8], reader: &mut impl BufRead) -> Result<Option<u64>, VerifyError> {
        let remains = remains(line, reader);
        let remains = remains.map_err(|source| VerifyError::Io { path: self.segments.path(None), source })?;
        Ok(remains.map(|remains| remains.bytes))
    }

    /// A record that follows.
    fn take(
        &mut self,
        follower: &Follower<'_>,
        record: &Line<'_>,
        file: Option<u64>,
        line: u64,
        offset: u64,
    ) -> Result<(), VerifyError> {
        let head = &self.head;
        let seq = record.seq();
        if seq == head.seq {
            let place = (follower.hash, follower.segment, offset);
            if place != (head.hash, head.segment, head.length) {
                let fault = Fault::Head("it names another hash or place for its last record");
                return Err(self.damage(file, line, fault));
            }
        }
        self.found.behind_head += u64::from(seq > head.seq);
        self.found.records += 1;
        self.found.clock_set_back += u64::from(record.clock_set_back());
        self.found.recovered += u64::from(record.operation() == RECOVERED);
        self.is_pruned |= self.beginning.is_some() && follower.pruned == self.beginning;
        let verifier = self.verifier;
        for anchor in verifier.anchors.iter().filter(|anchor| anchor.seq == seq) {
            if anchor.hash != follower.hash {
                return Err(self.damage(file, line, Fault::Anchor { seq }));
            }
            self.found.signed = self.found.signed.max(Some(seq));
        }
        Ok(())
    }

    fn end(
        mut self,
        follower: &Follower<'_>,
        last_file: Option<u64>,
        lines: u64,
    ) -> Result<Verified, VerifyError> {
        let last = follower.seq;
        if last < self.head.seq {
            return Err(self.damage(last_file, lines + 1, self.cut(follower)));
        }
        if let Some(beginning) = self.beginning.filter(|_| !self.is_pruned) {
            let fault = Fault::Beginning { first: beginning.first };
            return Err(self.damage(Some(beginning.segment), 1, fault));
        }
        if let Some(anchor) = self.verifier.anchors.iter().find(|anchor| anchor.seq > last) {
            return Err(self.damage(last_file, lines + 1, Fault::Anchor { seq: anchor.seq }));
        }
        self.found.last = last;
        self.found.signed = self.found.signed.max(follower.signed);
        Ok(self.found)
    }

    fn cut(&self, follower: &Follower<'_>) -> Fault {
        Fault::Cut { from: follower.seq + 1, to: self.head.seq }
    }

    fn open_closed(&mut self, number: u64) -> Result<S::Reader, VerifyError> {
        let opened = self.segments.closed(number);
        opened.map_err(|source| VerifyError::Io { path: self.segments.path(Some(number)), source })
    }

    fn line(&self, reader: &mut impl BufRead, file: Option<u64>) -> Result<Vec<u8>, VerifyError> {
        let mut line = Vec::new();
        let read = next_line(reader, &mut line);
        read.map_err(|source| VerifyError::Io { path: self.segments.path(file), source })?;
        Ok(line)
    }

    fn damage(&self, file: Option<u64>, line: u64, fault: Fault) -> VerifyError {
        let file = match &fault {
            Fault::Head(_) if self.found.records == 0 => self.head_path.to_owned(),
            _ => self.segments.path(file),
        };
        Damage { file, line, fault }.into()
    }
}

fn parse(line: &[u8]) -> Result<Record, Fault> {
    let line = line.strip_suffix(b"\n").ok_or(NotARecord("its line does not end"))?;
    Ok(Record::parse(line)?)
}
