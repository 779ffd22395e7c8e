//! Sealed chunks as they arrive.

use std::io::Read;

use super::StreamError;
use crate::{crypto::cobblestone::SEALED_CHUNK_LEN, whole_io::read_some};

/// Reads whole chunks as soon as they are there, so that none waits unopened
/// while the source is silent.
pub(super) struct Arriving<R> {
    reader: R,
    /// The front of a chunk whose end has not arrived.
    rest: Vec<u8>,
}

impl<R: Read> Arriving<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, rest: Vec::with_capacity(SEALED_CHUNK_LEN) }
    }

    /// Fills the front of `block`, which has room for a chunk or more. Returns
    /// how many bytes it has now, and whether they are the last. They are whole
    /// chunks, except at the end.
    pub(super) fn read_chunks(&mut self, block: &mut [u8]) -> Result<(usize, bool), StreamError> {
        let mut filled = self.rest.len();
        block[..filled].copy_from_slice(&self.rest);
        self.rest.clear();
        loop {
            match read_some(&mut self.reader, &mut block[filled..]).map_err(StreamError::Read)? {
                0 => return Ok((filled, true)),
                read => filled += read,
            }
            let whole = filled - filled % SEALED_CHUNK_LEN;
            if whole > 0 {
                self.rest.extend_from_slice(&block[whole..filled]);
                return Ok((whole, false));
            }
        }
    }
}
