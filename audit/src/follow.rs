//! [`Follower`]: whether a line is the next record. The writer and the verifier ask here, and nowhere else.

use std::io::{self, BufRead, Read};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    Fault,
    chain::{self, Hash},
    checkpoint::{Beginning, checkpoint},
    key::LogKey,
    record::{BEGIN, CHECKPOINT, Line, MAX_LINE, NotARecord, PRUNE, SEGMENT, SEGMENT_END},
    sign, text,
};

/// Where in a log the next line has to stand.
pub(crate) struct Follower<'a> {
    pub(crate) key: Option<&'a LogKey>,
    pub(crate) log: [u8; 16],
    pub(crate) public_key: [u8; 32],
    /// Of the last record.
    pub(crate) seq: u64,
    pub(crate) hash: Hash,
    pub(crate) time: Option<u64>,
    /// The number of the segment.
    pub(crate) segment: u64,
    /// Whether the segment has a record.
    pub(crate) begun: bool,
    /// Whether the segment has its last record.
    pub(crate) ended: bool,
    /// The last position that a signature covers.
    pub(crate) signed: Option<u64>,
    /// The last beginning that a prune record names.
    pub(crate) pruned: Option<Beginning>,
}

impl<'a> Follower<'a> {
    /// Before the first record of a log.
    pub(crate) fn new(log: [u8; 16], public_key: [u8; 32], key: Option<&'a LogKey>) -> Self {
        let hash = chain::beginning(&log, &public_key);
        Self {
            key,
            log,
            public_key,
            seq: 0,
            hash,
            time: None,
            segment: 1,
            begun: false,
            ended: false,
            signed: None,
            pruned: None,
        }
    }

    /// Before the first record of another segment, with what is claimed of the record before it.
    pub(crate) fn starting(mut self, beginning: Beginning) -> Self {
        (self.seq, self.hash, self.segment) = (beginning.first - 1, beginning.hash, beginning.segment);
        self
    }

    /// Goes on in the next segment.
    pub(crate) fn next_segment(&mut self) {
        (self.segment, self.begun, self.ended) = (self.segment + 1, false, false);
    }

    /// Takes a line, without its LF, if it is the next record. Otherwise it stays where it was.
    pub(crate) fn follow<'l>(&mut self, line: &'l [u8]) -> Result<Line<'l>, Fault> {
        let record = Line::parse(line)?;
        let (seq, expected) = (record.seq(), self.seq + 1);
        if seq > expected {
            return Err(Fault::Gap { expected, found: seq });
        }
        if seq < expected {
            return Err(Fault::Repeated { expected, found: seq });
        }
        if *record.prev() != self.hash {
            return Err(Fault::Chain { seq });
        }
        let (before, after) = chain::split(line).ok_or(Fault::NotARecord(NotARecord("mac")))?;
        let hash = chain::hash(before, after);
        if self.key.is_some_and(|key| !bool::from(key.mac(&hash).ct_eq(record.mac()))) {
            return Err(Fault::Mac { seq });
        }
        let set_back = self.time.is_some_and(|time| record.time() < time);
        // Of the first record that is kept, the time before is not known.
        if record.clock_set_back() != set_back && self.time.is_some() {
            return Err(Fault::Clock { seq });
        }
        self.check_place(&record)?;
        match record.operation() {
            CHECKPOINT => self.signed = Some(self.check_checkpoint(&record)?),
            PRUNE => self.pruned = Some(self.check_prune(&record)?),
            SEGMENT_END => self.ended = true,
            _ => {}
        }
        (self.seq, self.hash, self.time, self.begun) = (seq, hash, Some(record.time()), true);
        Ok(record)
    }

    /// Segments begin and end with records that say so, and with nothing else.
    fn check_place(&self, record: &Line<'_>) -> Result<(), Fault> {
        let is = |name: &str, value: &str| record.detail(name) == Some(value);
        let first = if record.seq() == 1 { BEGIN } else { SEGMENT };
        let fits = match record.operation() {
            operation @ (BEGIN | SEGMENT) => {
                let named = is("log", &text::hex(&self.log)) && is("segment", &self.segment.to_string());
                let key = operation == SEGMENT || is("public_key", &text::hex(&self.public_key));
                !self.begun && operation == first && named && key
            }
            SEGMENT_END => self.begun && !self.ended && is("next", &(self.segment + 1).to_string()),
            _ => self.begun && !self.ended,
        };
        if fits { Ok(()) } else { Err(Fault::Segment { seq: record.seq() }) }
    }

    fn check_checkpoint(&self, record: &Line<'_>) -> Result<u64, Fault> {
        let message = checkpoint(&self.log, self.seq, &self.hash);
        self.check_signature(record, &message).map(|()| self.seq)
    }

    fn check_prune(&self, record: &Line<'_>) -> Result<Beginning, Fault> {
        let number = |name| record.detail(name).and_then(number);
        let hash = record.detail("hash").and_then(text::unhex);
        let (Some(first), Some(segment), Some(hash)) = (number("first"), number("segment"), hash) else {
            return Err(Fault::Segment { seq: record.seq() });
        };
        let beginning = Beginning { first, segment, hash };
        let message = beginning.message(&self.log, record.seq(), &self.hash);
        self.check_signature(record, &message).map(|()| beginning)
    }

    fn check_signature(&self, record: &Line<'_>, message: &[u8]) -> Result<(), Fault> {
        let signature = record.detail("signature").and_then(text::unhex);
        let signed =
            signature.is_some_and(|signature| sign::is_signed(&self.public_key, message, &signature));
        if signed { Ok(()) } else { Err(Fault::Signature { seq: record.seq() }) }
    }
}

/// Reads the next line with its LF, or as much of it as a record may have. Empty at the end.
pub(crate) fn next_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<()> {
    line.clear();
    reader.take(MAX_LINE as u64).read_until(b'\n', line).map(drop)
}

/// What a write left behind the head that was never acknowledged.
pub(crate) struct Remains {
    pub(crate) bytes: u64,
    pub(crate) sha256: Hash,
}

/// Whether `line`, which is no record, and all that `reader` has behind it are [`Remains`]: the line does not end, or has
/// a byte 00, which no record has and a file system fills with. `None`: somebody wrote it.
///
/// Who can write the folder decides how much that is, so none of it is kept.
pub(crate) fn remains(line: &[u8], reader: &mut impl BufRead) -> io::Result<Option<Remains>> {
    let mut hasher = Sha256::new_with_prefix(line);
    let mut bytes = line.len() as u64;
    let (mut ends, mut has_zero) = (line.ends_with(b"\n"), line.contains(&0));
    loop {
        if ends && !has_zero {
            return Ok(None);
        }
        let piece = match reader.fill_buf() {
            Ok([]) => return Ok(Some(Remains { bytes, sha256: hasher.finalize().into() })),
            Ok(piece) => piece,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if !ends && !has_zero {
            let end = piece.iter().position(|&byte| byte == b'\n');
            has_zero = piece[..end.unwrap_or(piece.len())].contains(&0);
            ends = end.is_some();
        }
        hasher.update(piece);
        let length = piece.len();
        bytes += length as u64;
        reader.consume(length);
    }
}

/// What is read at once.
pub(crate) const PIECE: usize = 256 * 1024;

fn number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number >= 1 && number.to_string() == text).then_some(number)
}
