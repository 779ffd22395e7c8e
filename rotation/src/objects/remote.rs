//! Bytes of a store for what reads and writes without `async`, on a thread that may wait.

use std::{
    io::{self, Write},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use envelope_sdk::stream::ReadAt;
use object_store::path::Path;
use tokio::{runtime::Handle, sync::mpsc};

use super::{
    Alive,
    replace::PIECE,
    store::{Store, not_written},
};
use crate::SourceError;

/// An object that is read as long as it has its tag.
pub(super) struct Remote {
    store: Arc<Store>,
    key: Path,
    tag: String,
    size: u64,
    /// What was read last, and where.
    window: Mutex<(u64, Bytes)>,
    runtime: Handle,
    /// False when nobody waits for it any more.
    alive: Arc<AtomicBool>,
    failed: Mutex<Option<SourceError>>,
}

impl Remote {
    /// To be called on the runtime.
    pub(super) fn new(store: &Arc<Store>, key: &Path, tag: &str, size: u64, alive: &Alive) -> Self {
        Self {
            store: Arc::clone(store),
            key: key.clone(),
            tag: tag.to_owned(),
            size,
            window: Mutex::new((0, Bytes::new())),
            runtime: Handle::current(),
            alive: Arc::clone(&alive.0),
            failed: Mutex::default(),
        }
    }

    /// What failed, which readers cannot hand on unchanged, or else what they say.
    pub(super) fn error(&self, said: SourceError) -> SourceError {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or(said)
    }
}

impl ReadAt for Remote {
    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        if out.is_empty() || offset >= self.size {
            return Ok(0);
        }
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let is_there = offset >= window.0 && offset < window.0 + window.1.len() as u64;
        if !is_there {
            if !self.alive.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let end = self.size.min(offset + PIECE);
            let got = self.runtime.block_on(self.store.get(&self.key, offset..end, Some(&self.tag)));
            let got = match got.map_err(not_written) {
                Ok(got) if !got.bytes.is_empty() => got,
                Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) => {
                    *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    return Err(io::Error::other("the store does not give the object"));
                }
            };
            *window = (offset, got.bytes);
        }
        let there = &window.1[usize::try_from(offset - window.0).map_err(io::Error::other)?..];
        let len = there.len().min(out.len());
        out[..len].copy_from_slice(&there[..len]);
        Ok(len)
    }
}

/// Hands what is written to the runtime, in pieces.
pub(super) struct Pieces {
    send: mpsc::Sender<Bytes>,
    piece: Vec<u8>,
}

impl Pieces {
    pub(super) fn new(send: mpsc::Sender<Bytes>) -> Self {
        Self { send, piece: Vec::new() }
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() as u64 >= PIECE / 4 {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = std::mem::take(&mut self.piece);
        if piece.is_empty() {
            return Ok(());
        }
        self.send.blocking_send(piece.into()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
