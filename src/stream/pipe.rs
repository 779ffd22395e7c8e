//! Pipe to pipe: one thread reads, several work, the calling one writes.
//!
//! Each worker has a lane: a channel in and a channel out. Block `i` goes
//! through lane `i mod n`, and the writer takes from the lanes in the same
//! turn, so that the order of the blocks needs no bookkeeping. Two blocks go
//! round in each lane: one is worked on while the other is read or written.
//!
//! The thread that reads is waited for only when the input has ended: a source
//! that is silent would hold back the error of a block that came before. What
//! holds the others back is the calling thread alone, which stops them.

use std::{
    any::Any,
    io::{Read, Write},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use super::{
    Parallel, PayloadSealer, StreamError,
    arriving::Arriving,
    block::{Block, new_block, open_block, plaintext_slots, read_plaintext, room, seal_block},
    blocking,
};
use crate::{
    DecryptError, OpenedHeader,
    crypto::cobblestone::{Numbers, PREFIX_LEN, SEALED_CHUNK_LEN},
    whole_io::{read_full, write_all},
};

impl Parallel<'_> {
    /// As [`seal`](super::seal), on several threads: encrypts all of `plaintext`
    /// and writes the payload. Returns the number of plaintext bytes.
    ///
    /// # Errors
    ///
    /// As `seal`, and at once: a thread of its own reads `plaintext`, and is not
    /// waited for. After an error it may still be in a call of `read`; when that
    /// returns, it drops `plaintext` and ends.
    pub fn seal_pipe(
        &self,
        sealer: PayloadSealer,
        mut plaintext: impl Read + Send + 'static,
        payload: &mut impl Write,
    ) -> Result<u64, StreamError> {
        if self.thread_count() == 1 {
            return blocking::seal(sealer, &mut Counted { inner: plaintext, done: self }, payload);
        }
        let (sealer, mut numbers) = sealer.into_parts();
        write_all(payload, sealer.prefix()).map_err(StreamError::Write)?;
        let read = move |mut block: Block| {
            let len = read_plaintext(&mut plaintext, &mut block)?;
            // A full block is never the last: an empty one may follow it.
            let is_last = len < room(&block);
            let numbers = numbers.take(block.len() / SEALED_CHUNK_LEN);
            Ok(Work { block, place: numbers, read: len, len, is_last, not_authentic: false })
        };
        let seal = |work: &mut Work<Numbers>| {
            work.len = seal_block(&sealer, &mut work.place, &mut work.block, work.read, work.is_last)?;
            Ok(())
        };
        let mut total = 0;
        self.through_lanes(read, seal, |work| {
            write_all(payload, &work.block[..work.len]).map_err(StreamError::Write)?;
            total += work.read as u64;
            self.done(work.read);
            Ok(())
        })?;
        payload.flush().map_err(StreamError::Write)?;
        Ok(total)
    }

    /// As [`open`](super::open), on several threads: decrypts the payload of
    /// `opened` and writes the plaintext. Each chunk is written only after
    /// it was authenticated, and in order. Returns the number of bytes.
    ///
    /// # Errors
    ///
    /// As `open`: what was written until then is authentic but incomplete. At
    /// once, as soon as the bytes that are wrong have arrived, though the source
    /// be silent after them: a thread of its own reads `payload`, as in
    /// [`seal_pipe`](Self::seal_pipe). A source that is silent before its end,
    /// with nothing wrong, is waited for: give it a time-out of its own.
    pub fn open_pipe(
        &self,
        opened: &OpenedHeader,
        mut payload: impl Read + Send + 'static,
        plaintext: &mut impl Write,
    ) -> Result<u64, StreamError> {
        if self.thread_count() == 1 {
            return blocking::open(opened, &mut payload, &mut Counted { inner: plaintext, done: self });
        }
        let mut prefix = [0; PREFIX_LEN];
        if read_full(&mut payload, &mut prefix).map_err(StreamError::Read)? < PREFIX_LEN {
            return Err(DecryptError::NotAuthentic.into());
        }
        let opener = opened.payload(&prefix).map_err(DecryptError::from)?;
        let (mut payload, mut next) = (Arriving::new(payload), 0);
        let read = move |mut block: Block| {
            let (len, is_last) = payload.read_chunks(&mut block)?;
            let first: u64 = next;
            next += (len / SEALED_CHUNK_LEN) as u64;
            Ok(Work { block, place: first, read: len, len, is_last, not_authentic: false })
        };
        let open = |work: &mut Work<u64>| {
            let (len, opened) = open_block(&opener, work.place, &mut work.block[..work.read], work.is_last);
            (work.len, work.not_authentic) = (len, opened.is_err());
            Ok(())
        };
        let mut total = 0;
        self.through_lanes(read, open, |work| {
            for chunk in plaintext_slots(&work.block, work.len) {
                write_all(plaintext, &chunk).map_err(StreamError::Write)?;
            }
            total += work.len as u64;
            self.done(work.len);
            if work.not_authentic { Err(DecryptError::NotAuthentic.into()) } else { Ok(()) }
        })?;
        plaintext.flush().map_err(StreamError::Write)?;
        Ok(total)
    }

    /// Takes blocks from `read`, until one is the last, through `work` to
    /// `write`, in order. The first error, in that order, ends it.
    fn through_lanes<P: Send + 'static>(
        &self,
        read: impl FnMut(Block) -> Result<Work<P>, StreamError> + Send + 'static,
        work: impl Fn(&mut Work<P>) -> Result<(), StreamError> + Sync,
        mut write: impl FnMut(&Work<P>) -> Result<(), StreamError>,
    ) -> Result<(), StreamError> {
        let count = self.thread_count();
        let block_chunks = Self::block_chunks(count * BLOCKS_IN_LANE);
        thread::scope(|scope| {
            let (mut ins, mut lanes) = (Vec::new(), Lanes { outs: Vec::new(), stops: Vec::new() });
            for _ in 0..count {
                let (free, refill) = sync_channel(BLOCKS_IN_LANE);
                let (to_work, from_read) = sync_channel(BLOCKS_IN_LANE);
                let (to_write, from_work) = sync_channel(BLOCKS_IN_LANE);
                for _ in 0..BLOCKS_IN_LANE {
                    // There is room for both, so this does not wait.
                    let _ = free.send(new_block(block_chunks));
                }
                lanes.stops.push(to_work.clone());
                lanes.outs.push(WriteEnd { from_work, free });
                ins.push(ReadEnd { refill, to_work });
                let work = &work;
                thread::Builder::new()
                    .spawn_scoped(scope, move || run_lane(&from_read, &to_write, work))
                    .map_err(StreamError::Thread)?;
            }
            let reader = thread::Builder::new().spawn(move || feed_lanes(&ins, read));
            let reader = reader.map_err(StreamError::Thread)?;
            for lane in lanes.outs.iter().cycle() {
                // A worker that panicked: the scope tells.
                let Ok(done) = lane.from_work.recv() else { break };
                let done = match done {
                    Ok(done) => done,
                    Err(Failure::Error(error)) => return Err(error),
                    Err(Failure::Panic(panic)) => resume_unwind(panic),
                    Err(Failure::Stopped) => break,
                };
                write(&done)?;
                if done.is_last {
                    // It has sent its last block, and drops the input now.
                    return reader.join().map_err(|panic| resume_unwind(panic));
                }
                let _ = lane.free.send(done.block);
            }
            Ok(())
        })
    }
}

/// A block on its way.
struct Work<P> {
    block: Block,
    /// The numbers of its chunks.
    place: P,
    /// Bytes that were read.
    read: usize,
    /// Bytes in it at this stage.
    len: usize,
    is_last: bool,
    /// What stands behind the first `len` bytes did not open.
    not_authentic: bool,
}

/// What a lane carries.
type Passed<P> = Result<Work<P>, Failure>;

enum Failure {
    Error(StreamError),
    /// The input panicked when it was read.
    Panic(Box<dyn Any + Send>),
    /// The calling thread has ended.
    Stopped,
}

struct ReadEnd<P> {
    refill: Receiver<Block>,
    to_work: SyncSender<Passed<P>>,
}

struct WriteEnd<P> {
    from_work: Receiver<Passed<P>>,
    free: SyncSender<Block>,
}

/// The ends of the calling thread. Dropped, also by a panic, they stop the
/// workers, which the thread that reads cannot do while it waits for its input.
struct Lanes<P> {
    outs: Vec<WriteEnd<P>>,
    stops: Vec<SyncSender<Passed<P>>>,
}

impl<P> Drop for Lanes<P> {
    fn drop(&mut self) {
        // First what workers write to: each of them ends with the next block.
        self.outs.clear();
        for stop in &self.stops {
            // A lane without room for this has such a block.
            let _ = stop.try_send(Err(Failure::Stopped));
        }
    }
}

/// Reads until the input ends or fails, or the other end of a lane is gone.
fn feed_lanes<P>(lanes: &[ReadEnd<P>], mut read: impl FnMut(Block) -> Result<Work<P>, StreamError>) {
    for lane in lanes.iter().cycle() {
        let Ok(block) = lane.refill.recv() else { return };
        let next = match catch_unwind(AssertUnwindSafe(|| read(block))) {
            Ok(next) => next.map_err(Failure::Error),
            Err(panic) => Err(Failure::Panic(panic)),
        };
        let ends = next.as_ref().map_or(true, |work| work.is_last);
        if lane.to_work.send(next).is_err() || ends {
            return;
        }
    }
}

/// Works on what comes until nothing comes any more.
fn run_lane<P>(
    from_read: &Receiver<Passed<P>>,
    to_write: &SyncSender<Passed<P>>,
    work: &(impl Fn(&mut Work<P>) -> Result<(), StreamError> + Sync),
) {
    for next in from_read {
        let done = next.and_then(|mut next| match work(&mut next) {
            Ok(()) => Ok(next),
            Err(error) => Err(Failure::Error(error)),
        });
        if to_write.send(done).is_err() {
            return;
        }
    }
}

/// Reports the plaintext that is read or written.
struct Counted<'a, R> {
    inner: R,
    done: &'a Parallel<'a>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(out)?;
        self.done.done(read);
        Ok(read)
    }
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.done.done(written);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

const BLOCKS_IN_LANE: usize = 2;
