//! To an `AsyncWrite`.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use ::tokio::io::AsyncWrite;
use zeroize::{Zeroize, Zeroizing};

use super::{
    super::StreamError,
    work::{Done, Open, Seal, Work, run},
};
use crate::{
    OpenedHeader,
    crypto::{DefaultEngine, cobblestone::Sealer},
};

/// Encrypts what is written to it and writes the payload on.
///
/// `shutdown` writes the end, without which it is no payload, and shuts the
/// inner writer down. `flush` writes whole blocks of 1 MiB only: what is less
/// stays here until more comes or it is shut down.
pub struct SealWriter<W>(BlockWriter<Seal, W>);

/// Decrypts the payload that is written to it and writes the plaintext on, each
/// block after it was authenticated.
///
/// Only a `shutdown` that succeeds says that the payload was complete: with it,
/// and not before, the plaintext may be believed to be whole.
pub struct OpenWriter<W>(BlockWriter<Open, W>);

impl<W: AsyncWrite + Unpin> SealWriter<W> {
    /// Writes the payload to `inner`, behind the header that the caller wrote.
    pub fn new(sealer: Sealer<DefaultEngine>, inner: W) -> Self {
        Self(BlockWriter::new(Seal::new(sealer), inner))
    }

    /// The inner writer.
    pub fn into_inner(self) -> W {
        self.0.inner
    }
}

impl<W: AsyncWrite + Unpin> OpenWriter<W> {
    /// Writes the plaintext of the payload of `opened` to `inner`.
    pub fn new(opened: impl Into<Arc<OpenedHeader>>, inner: W) -> Self {
        Self(BlockWriter::new(Open::Begin(opened.into()), inner))
    }

    /// The inner writer.
    pub fn into_inner(self) -> W {
        self.0.inner
    }
}

macro_rules! write_through {
    ($writer:ident) => {
        impl<W: AsyncWrite + Unpin> AsyncWrite for $writer<W> {
            fn poll_write(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.0.poll_write(context, bytes)
            }

            fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.0.poll_flush(context)
            }

            fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.0.poll_shutdown(context)
            }
        }
    };
}

write_through!(SealWriter);
write_through!(OpenWriter);

struct BlockWriter<T, W> {
    inner: W,
    state: State<T>,
}

enum State<T> {
    /// Takes bytes until the block is full.
    Filling(T, Zeroizing<Vec<u8>>),
    /// Waits for the block.
    Working(Pin<Box<dyn Future<Output = Result<Done<T>, StreamError>> + Send>>),
    /// Writes what became of it, from that byte on.
    Writing(Done<T>, usize),
    /// The end was written.
    Finished,
    /// An error was returned.
    Failed,
}

impl<T: Work, W: AsyncWrite + Unpin> BlockWriter<T, W> {
    fn new(work: T, inner: W) -> Self {
        Self { inner, state: State::Filling(work, Vec::new().into()) }
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_idle(context))?;
            let State::Filling(work, block) = &mut self.state else {
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::BrokenPipe,
                    "written to after its end",
                )));
            };
            let wanted = work.wanted();
            if block.len() < wanted || bytes.is_empty() {
                let room = wanted - block.len();
                block.reserve_exact(room);
                let len = bytes.len().min(room);
                block.extend_from_slice(&bytes[..len]);
                return Poll::Ready(Ok(len));
            }
            self.begin(false);
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_idle(context))?;
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_idle(context))?;
            match &self.state {
                State::Filling(work, block) => {
                    let is_last = block.len() < work.wanted();
                    self.begin(is_last);
                }
                _ => return Pin::new(&mut self.inner).poll_shutdown(context),
            }
        }
    }

    /// Begins to work on the block that is being filled.
    fn begin(&mut self, is_last: bool) {
        self.state = match std::mem::replace(&mut self.state, State::Failed) {
            State::Filling(work, block) => {
                let len = block.len();
                State::Working(Box::pin(run(work, block, len, is_last)))
            }
            other => other,
        };
    }

    /// Until it is filling again, or finished.
    fn poll_idle(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match &mut self.state {
                State::Filling(..) | State::Finished => return Poll::Ready(Ok(())),
                State::Failed => {
                    let error = io::Error::new(io::ErrorKind::BrokenPipe, "it failed before");
                    return Poll::Ready(Err(error));
                }
                State::Working(working) => {
                    let done = ready!(working.as_mut().poll(context));
                    match done {
                        Ok(done) => self.state = State::Writing(done, 0),
                        Err(error) => return self.fail(error.into()),
                    }
                }
                State::Writing(done, written) if *written < done.out.len() => {
                    match ready!(Pin::new(&mut self.inner).poll_write(context, &done.out[*written..])) {
                        Ok(0) => return self.fail(io::ErrorKind::WriteZero.into()),
                        Ok(more) => *written += more,
                        Err(error) => return self.fail(error),
                    }
                }
                State::Writing(done, _) => {
                    // Plaintext, when decrypting.
                    done.out.zeroize();
                    match std::mem::replace(&mut self.state, State::Failed) {
                        State::Writing(Done { result: Err(error), .. }, _) => {
                            return Poll::Ready(Err(error.into()));
                        }
                        State::Writing(done, _) if done.is_last => self.state = State::Finished,
                        State::Writing(mut done, _) => {
                            done.block.clear();
                            self.state = State::Filling(done.work, done.block);
                        }
                        other => self.state = other,
                    }
                }
            }
        }
    }

    fn fail(&mut self, error: io::Error) -> Poll<io::Result<()>> {
        self.state = State::Failed;
        Poll::Ready(Err(error))
    }
}
