//! Where the log ends: asked again each time that the lock is taken, and answered from memory when nobody else wrote.

use std::io::{BufReader, Read};

use subtle::ConstantTimeEq;

use super::{State, Writer};
use crate::{
    Entry, Fault, LogError, NotARecord, Outcome, Record, chain,
    disk::{Disk, Pieces},
    follow::{Follower, PIECE, next_line},
    head::{HEAD_LEN, Head},
    record::{MAX_LINE, RECOVERED, SEGMENT_END},
    text,
};

impl<D: Disk> Writer<D> {
    /// The end of the log. What another process wrote is read; what a crash left open is finished; anything else that is not
    /// as it was written is an error.
    pub(super) fn settle(&mut self) -> Result<State, LogError> {
        let bytes = self.disk.head().map_err(|error| self.cannot_head("read", error))?;
        let length = self.disk.length().map_err(|error| self.cannot("read", None, error))?;
        if let (Some(state), Some(bytes)) = (&self.state, &bytes)
            && state.head == bytes.as_slice()
            && length == Some(state.length)
        {
            return Ok(state.clone());
        }
        self.state = None;
        // Whoever wrote it may have died before it was on disk.
        self.head_is_flushed = false;
        let (head, bytes) = self.read_head(bytes)?;
        let closed = self.disk.closed().map_err(|error| self.cannot("list", None, error))?;
        let is_closed = closed.contains(&head.segment);
        self.cut_what_failed(&head, is_closed)?;
        let name = is_closed.then_some(head.segment);
        if name.is_none() && length.is_none() {
            return Err(self.damage(None, 1, Fault::Missing));
        }
        let last = self.last_record(&head, name)?;
        let key = std::sync::Arc::clone(&self.key);
        let mut follower = Follower::new(head.log, key.public_key(), Some(&key));
        (follower.seq, follower.hash, follower.time) = (head.seq, head.hash, Some(last.time));
        (follower.segment, follower.begun) = (head.segment, true);
        follower.ended = last.entry.operation == SEGMENT_END;
        self.walk(&mut follower, &head, bytes, is_closed)
    }

    /// Goes on from the head to the end.
    fn walk(
        &mut self,
        follower: &mut Follower<'_>,
        head: &Head,
        bytes: [u8; HEAD_LEN],
        mut is_closed: bool,
    ) -> Result<State, LogError> {
        let mut offset = head.length;
        let mut remains = None;
        let mut length;
        let mut closed_at = None;
        loop {
            let name = is_closed.then_some(follower.segment);
            length = self.follow_file(follower, name, offset, &mut remains)?;
            if !is_closed {
                break;
            }
            if !follower.ended {
                let line = self.line_at(name, length)?;
                return Err(self.damage(name, line, Fault::Segment { seq: follower.seq + 1 }));
            }
            let closed = self.disk.closed().map_err(|error| self.cannot("list", None, error))?;
            is_closed = closed.contains(&(follower.segment + 1));
            let there = self.disk.length().map_err(|error| self.cannot("read", None, error))?;
            if !is_closed && there.is_none_or(|there| there == 0) {
                break;
            }
            closed_at = Some((follower.segment, length));
            follower.next_segment();
            offset = 0;
        }
        let begun_at = self.begun_at(follower, is_closed)?;
        let Follower { seq, hash, time, .. } = *follower;
        // Of a segment without a record there is nothing that a head could name: the log ends in the one before.
        let ended = (follower.segment, length);
        let (segment, length) = if follower.begun { ended } else { closed_at.unwrap_or(ended) };
        if seq < self.known {
            return Err(LogError::Older { path: self.disk.path(None), known: self.known, found: seq });
        }
        let state = State { first: head.first, seq, hash, time, segment, length, begun_at, head: bytes };
        if seq == head.seq {
            self.state = Some(state);
            self.known = seq;
        } else {
            // They may be in the memory of the system alone.
            if !is_closed && !self.is_between(follower)? {
                self.disk.sync().map_err(|error| self.cannot("flush", None, error))?;
            }
            self.stand(state)?;
        }
        self.finish(follower, remains)
    }

    /// Goes on with what a crash left open.
    fn finish(&mut self, follower: &Follower<'_>, remains: Option<Entry>) -> Result<State, LogError> {
        if !follower.begun || follower.ended && self.is_between(follower)? {
            self.begin_segment()?;
        } else if follower.ended {
            self.move_on()?;
        }
        if let Some(remains) = remains {
            self.put_own(remains)?;
        }
        self.state()
    }

    /// Whether the segment of the last record is closed already.
    fn is_between(&mut self, follower: &Follower<'_>) -> Result<bool, LogError> {
        let closed = self.disk.closed().map_err(|error| self.cannot("list", None, error))?;
        Ok(closed.contains(&follower.segment))
    }

    /// Follows the records of a file from `offset` on, and returns where they end. What a write left that was never
    /// acknowledged is cut off.
    fn follow_file(
        &mut self,
        follower: &mut Follower<'_>,
        name: Option<u64>,
        offset: u64,
        remains: &mut Option<Entry>,
    ) -> Result<u64, LogError> {
        let mut reader = BufReader::with_capacity(PIECE, Pieces::new(&mut self.disk, name, offset));
        let (mut place, mut line) = (offset, Vec::new());
        let found = loop {
            if let Err(error) = next_line(&mut reader, &mut line) {
                break Err(error);
            }
            if line.is_empty() {
                return Ok(place);
            }
            // A line that does not end is no record, also when nothing but its LF is missing.
            let fault = match line.strip_suffix(b"\n").map(|text| follower.follow(text)) {
                Some(Ok(_)) => {
                    place += line.len() as u64;
                    continue;
                }
                Some(Err(fault)) => fault,
                None => Fault::NotARecord(NotARecord("its line does not end")),
            };
            let left = if name.is_none() { crate::follow::remains(&line, &mut reader) } else { Ok(None) };
            break left.map(|left| (fault, left));
        };
        let (fault, left) = found.map_err(|error| self.cannot("read", name, error))?;
        let Some(left) = left else {
            let line = self.line_at(name, place)?;
            return Err(self.damage(name, line, fault));
        };
        self.disk.cut(place).map_err(|error| self.cannot("cut", name, error))?;
        let entry = Entry::new(RECOVERED, Outcome::Ok)
            .with_detail("bytes", left.bytes.to_string())
            .with_detail("sha256", text::hex(&left.sha256));
        *remains = Some(entry);
        Ok(place)
    }

    fn read_head(&mut self, bytes: Option<Vec<u8>>) -> Result<(Head, [u8; HEAD_LEN]), LogError> {
        let fault = |writer: &Self, fault| {
            LogError::Damaged(crate::Damage { file: writer.disk.head_path(), line: 1, fault })
        };
        let bytes = bytes.ok_or_else(|| fault(self, Fault::Missing))?;
        let head = Head::parse(&bytes, Some(&self.key)).map_err(|what| fault(self, Fault::Head(what)))?;
        let bytes = bytes.try_into().map_err(|_| fault(self, Fault::Head("it has not 512 bytes")))?;
        Ok((head, bytes))
    }

    /// Cuts off what a write left that failed, unless others have written since.
    fn cut_what_failed(&mut self, head: &Head, is_closed: bool) -> Result<(), LogError> {
        let Some((segment, length)) = self.cut_to else { return Ok(()) };
        if !is_closed && head.segment == segment && head.length <= length {
            self.disk.cut(length).map_err(|error| self.cannot("cut", None, error))?;
        }
        self.cut_to = None;
        Ok(())
    }

    /// The record that the head names, if it is in its place.
    fn last_record(&mut self, head: &Head, name: Option<u64>) -> Result<Record, LogError> {
        let length = usize::try_from(head.length).unwrap_or(MAX_LINE).min(MAX_LINE);
        let bytes = self.disk.read(name, head.length - length as u64, length);
        let bytes = bytes.map_err(|error| self.cannot("read", name, error))?;
        let is_whole = bytes.len() == length;
        let line = bytes.strip_suffix(b"\n").filter(|_| is_whole).map(|lines| {
            let begin = lines.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
            &lines[begin..]
        });
        let record = line.and_then(|line| Record::parse(line).ok()).filter(|record| record.seq == head.seq);
        let is_it = record.as_ref().zip(line).is_some_and(|(record, line)| {
            let hash = chain::split(line).map(|(before, after)| chain::hash(before, after));
            hash == Some(head.hash) && bool::from(self.key.mac(&head.hash).ct_eq(&record.mac))
        });
        match record.filter(|_| is_it) {
            Some(record) => Ok(record),
            None if !is_whole => {
                let line = self.line_at(name, head.length)?;
                Err(self.damage(name, line, Fault::Cut { from: head.seq, to: head.seq }))
            }
            None => {
                let line = self.line_at(name, head.length.saturating_sub(1))?;
                Err(self.damage(name, line, Fault::Head("it names another last record")))
            }
        }
    }

    /// When the current segment was begun, if it is to be closed by age.
    fn begun_at(&mut self, follower: &Follower<'_>, is_closed: bool) -> Result<Option<u64>, LogError> {
        if self.options.segment_age.is_none() || !follower.begun || is_closed || follower.ended {
            return Ok(None);
        }
        Ok(Some(self.first_of(None)?.time))
    }

    /// The number of the line at this place of a file, for words.
    fn line_at(&mut self, name: Option<u64>, place: u64) -> Result<u64, LogError> {
        let reader = BufReader::with_capacity(PIECE, Pieces::new(&mut self.disk, name, 0).take(place));
        let ends = reader.bytes().try_fold(0, |ends, byte| byte.map(|byte| ends + u64::from(byte == b'\n')));
        Ok(ends.map_err(|error| self.cannot("read", name, error))? + 1)
    }
}
