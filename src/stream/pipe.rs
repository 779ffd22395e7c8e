//! Pipe to pipe: one thread reads, several work, the calling one writes.
//!
//! Each worker has a lane: a channel in and a channel out. Block `i` goes
//! through lane `i mod n`, and the writer takes from the lanes in the same
//! turn, so that the order of the blocks needs no bookkeeping. Two blocks go
//! round in each lane: one is worked on while the other is read or written.

use std::{
    io::{Read, Write},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use super::{
    Parallel, StreamError,
    block::{Block, new_block, open_block, plaintext_slots, plaintext_slots_mut, seal_block},
    blocking, read_full, read_full_vectored,
};
use crate::{
    DecryptError, OpenedHeader,
    crypto::{
        DefaultEngine,
        cobblestone::{CHUNK_LEN, PREFIX_LEN, SEALED_CHUNK_LEN, Sealer},
    },
};

impl Parallel<'_> {
    /// As [`seal`](super::seal), on several threads: encrypts all of `plaintext`
    /// and writes the payload. Returns the number of plaintext bytes.
    ///
    /// # Errors
    ///
    /// As `seal`.
    pub fn seal_pipe(
        &self,
        sealer: Sealer<DefaultEngine>,
        mut plaintext: impl Read + Send,
        payload: &mut impl Write,
    ) -> Result<u64, StreamError> {
        if self.thread_count() == 1 {
            return blocking::seal(sealer, &mut Counted { inner: plaintext, done: self }, payload);
        }
        payload.write_all(sealer.prefix()).map_err(StreamError::Write)?;
        let read = |block: &mut Block| {
            let room = block.len() / SEALED_CHUNK_LEN * CHUNK_LEN;
            let len = read_full_vectored(&mut plaintext, &mut plaintext_slots_mut(block, room))?;
            // A full block is never the last: an empty one may follow it.
            Ok((len, len < room))
        };
        let seal = |work: &mut Work| {
            work.len = seal_block(&sealer, work.first, &mut work.block, work.len, work.is_last)?;
            Ok(())
        };
        let mut total = 0;
        self.through_lanes(read, seal, |work| {
            payload.write_all(&work.block[..work.len]).map_err(StreamError::Write)?;
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
    /// As `open`: what was written until then is authentic but incomplete.
    pub fn open_pipe(
        &self,
        opened: &OpenedHeader,
        mut payload: impl Read + Send,
        plaintext: &mut impl Write,
    ) -> Result<u64, StreamError> {
        if self.thread_count() == 1 {
            return blocking::open(opened, &mut payload, &mut Counted { inner: plaintext, done: self });
        }
        let mut prefix = [0; PREFIX_LEN];
        if read_full(&mut payload, &mut prefix)? < PREFIX_LEN {
            return Err(DecryptError::NotAuthentic.into());
        }
        let opener = opened.payload(&prefix).map_err(DecryptError::from)?;
        let read = |block: &mut Block| {
            let len = read_full(&mut payload, block)?;
            Ok((len, len < block.len()))
        };
        let open = |work: &mut Work| {
            let (len, opened) = open_block(&opener, work.first, &mut work.block[..work.len], work.is_last);
            (work.len, work.not_authentic) = (len, opened.is_err());
            Ok(())
        };
        let mut total = 0;
        self.through_lanes(read, open, |work| {
            for chunk in plaintext_slots(&work.block, work.len) {
                plaintext.write_all(&chunk).map_err(StreamError::Write)?;
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
    fn through_lanes(
        &self,
        mut read: impl FnMut(&mut Block) -> Result<(usize, bool), StreamError> + Send,
        work: impl Fn(&mut Work) -> Result<(), StreamError> + Sync,
        mut write: impl FnMut(&Work) -> Result<(), StreamError>,
    ) -> Result<(), StreamError> {
        let count = self.thread_count();
        let block_chunks = Self::block_chunks(count * BLOCKS_IN_LANE);
        thread::scope(|scope| {
            let (mut ins, mut outs) = (Vec::new(), Vec::new());
            for _ in 0..count {
                let (free, refill) = sync_channel(BLOCKS_IN_LANE);
                let (to_work, from_read) = sync_channel(BLOCKS_IN_LANE);
                let (to_write, from_work) = sync_channel(BLOCKS_IN_LANE);
                for _ in 0..BLOCKS_IN_LANE {
                    // There is room for both, so this does not wait.
                    let _ = free.send(new_block(block_chunks));
                }
                ins.push(ReadEnd { refill, to_work });
                outs.push(WriteEnd { from_work, free });
                let work = &work;
                spawn(scope, move || run_lane(&from_read, &to_write, work))?;
            }
            let read = &mut read;
            spawn(scope, move || feed_lanes(&ins, block_chunks, read))?;
            for lane in outs.iter().cycle() {
                // A lane that ends without a last block has panicked; the scope tells.
                let Ok(done) = lane.from_work.recv() else { return Ok(()) };
                let done = done?;
                write(&done)?;
                if done.is_last {
                    return Ok(());
                }
                let _ = lane.free.send(done.block);
            }
            Ok(())
        })
    }
}

fn spawn<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    run: impl FnOnce() + Send + 'scope,
) -> Result<(), StreamError> {
    thread::Builder::new().spawn_scoped(scope, run).map(drop).map_err(StreamError::Thread)
}

/// A block on its way.
struct Work {
    /// Number of its first chunk.
    first: u64,
    block: Block,
    /// Bytes that were read.
    read: usize,
    /// Bytes in it at this stage.
    len: usize,
    is_last: bool,
    /// What stands behind the first `len` bytes did not open.
    not_authentic: bool,
}

struct ReadEnd {
    refill: Receiver<Block>,
    to_work: SyncSender<Result<Work, StreamError>>,
}

struct WriteEnd {
    from_work: Receiver<Result<Work, StreamError>>,
    free: SyncSender<Block>,
}

/// Reads until the input ends or fails, or the other end of a lane is gone.
fn feed_lanes(
    lanes: &[ReadEnd],
    block_chunks: usize,
    read: &mut impl FnMut(&mut Block) -> Result<(usize, bool), StreamError>,
) {
    let firsts = (0..).step_by(block_chunks);
    for (first, lane) in firsts.zip(lanes.iter().cycle()) {
        let Ok(mut block) = lane.refill.recv() else { return };
        let next = read(&mut block).map(|(len, is_last)| Work {
            first,
            block,
            read: len,
            len,
            is_last,
            not_authentic: false,
        });
        let ends = next.as_ref().map_or(true, |work| work.is_last);
        if lane.to_work.send(next).is_err() || ends {
            return;
        }
    }
}

/// Works on what comes until nothing comes any more.
fn run_lane(
    from_read: &Receiver<Result<Work, StreamError>>,
    to_write: &SyncSender<Result<Work, StreamError>>,
    work: &(impl Fn(&mut Work) -> Result<(), StreamError> + Sync),
) {
    for next in from_read {
        let done = next.and_then(|mut next| work(&mut next).map(|()| next));
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
