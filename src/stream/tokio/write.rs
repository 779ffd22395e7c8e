//! To an `AsyncWrite`.

use std::{
    future::{Future, poll_fn},
    io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use ::tokio::io::AsyncWrite;
use zeroize::Zeroizing;

use super::{
    super::{PayloadSealer, StreamError},
    work::{Done, Open, Seal, Work, run, runtime},
};
use crate::{
    OpenedHeader,
    whole_io::{checked, failed_before},
};

/// Encrypts what is written to it and writes the payload on.
///
/// `shutdown`, or [`finish`](Self::finish), writes the end, without which it is
/// no payload, and shuts the inner writer down. `flush` writes whole blocks of
/// 1 MiB only: what is less stays here until more comes or it is shut down, and
/// is lost when it is dropped before.
pub struct SealWriter<W>(BlockWriter<Seal, W>);

/// Decrypts the payload that is written to it and writes the plaintext on, each
/// block after it was authenticated. `flush` does so with each whole chunk.
///
/// Only a `shutdown`, or [`finish`](Self::finish), that succeeds says that the
/// payload was complete: with it, and not before, the plaintext may be believed
/// to be whole.
pub struct OpenWriter<W>(BlockWriter<Open, W>);

impl<W: AsyncWrite + Unpin> SealWriter<W> {
    /// Writes the payload to `inner`, behind the header that the caller wrote.
    pub fn new(sealer: PayloadSealer, inner: W) -> Self {
        Self(BlockWriter::new(Seal::new(sealer), inner))
    }

    /// Writes the end, shuts the inner writer down and returns it.
    ///
    /// # Errors
    ///
    /// Those of `shutdown`; what was written is no payload then.
    pub async fn finish(self) -> io::Result<W> {
        self.0.finish().await
    }
}

impl<W: AsyncWrite + Unpin> OpenWriter<W> {
    /// Writes the plaintext of the payload of `opened` to `inner`.
    pub fn new(opened: impl Into<Arc<OpenedHeader>>, inner: W) -> Self {
        Self(BlockWriter::new(Open::Begin(opened.into()), inner))
    }

    /// Checks the end, shuts the inner writer down and returns it.
    ///
    /// # Errors
    ///
    /// Those of `shutdown`; what was written is authentic then but incomplete.
    pub async fn finish(self) -> io::Result<W> {
        self.0.finish().await
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

    async fn finish(mut self) -> io::Result<W> {
        poll_fn(|context| self.poll_shutdown(context)).await?;
        Ok(self.inner)
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
            if let Err(error) = runtime() {
                self.state = State::Failed;
                return Poll::Ready(Err(error.into()));
            }
            let wanted = work.wanted();
            if block.len() < wanted || bytes.is_empty() {
                let room = wanted - block.len();
                block.reserve_exact(room);
                let len = bytes.len().min(room);
                block.extend_from_slice(&bytes[..len]);
                return Poll::Ready(Ok(len));
            }
            self.begin(wanted, false);
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_idle(context))?;
            match &self.state {
                State::Filling(work, block) if work.ready(block.len()) > 0 => {
                    let ready = work.ready(block.len());
                    self.begin(ready, false);
                }
                _ => return self.poll_inner(context, AsyncWrite::poll_flush),
            }
        }
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_idle(context))?;
            match &self.state {
                State::Filling(work, block) => {
                    let len = block.len();
                    let is_last = len < work.wanted();
                    self.begin(len, is_last);
                }
                _ => return self.poll_inner(context, AsyncWrite::poll_shutdown),
            }
        }
    }

    /// Begins to work on the front of the block that is being filled.
    fn begin(&mut self, len: usize, is_last: bool) {
        self.state = match mem::replace(&mut self.state, State::Failed) {
            State::Filling(work, block) => State::Working(Box::pin(run(work, block, len, is_last))),
            other => other,
        };
    }

    /// Until it is filling again, or finished.
    ///
    /// Whatever is called may fail or panic, and has failed until it comes back.
    fn poll_idle(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match mem::replace(&mut self.state, State::Failed) {
                State::Failed => return Poll::Ready(Err(failed_before())),
                idle @ (State::Filling(..) | State::Finished) => {
                    self.state = idle;
                    return Poll::Ready(Ok(()));
                }
                State::Working(mut working) => match working.as_mut().poll(context) {
                    Poll::Pending => {
                        self.state = State::Working(working);
                        return Poll::Pending;
                    }
                    Poll::Ready(done) => self.state = State::Writing(done?, 0),
                },
                State::Writing(done, written) if written < done.out.len() => {
                    let rest = &done.out[written..];
                    match Pin::new(&mut self.inner).poll_write(context, rest) {
                        Poll::Pending => {
                            self.state = State::Writing(done, written);
                            return Poll::Pending;
                        }
                        Poll::Ready(more) => match more.and_then(|more| checked(more, rest.len()))? {
                            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                            more => self.state = State::Writing(done, written + more),
                        },
                    }
                }
                State::Writing(mut done, _) => {
                    done.result?;
                    self.state = if done.is_last {
                        State::Finished
                    } else {
                        done.block.drain(..done.len);
                        State::Filling(done.work, done.block)
                    };
                }
            }
        }
    }

    /// Calls the inner writer when there is nothing left to write to it.
    fn poll_inner(
        &mut self,
        context: &mut Context<'_>,
        call: impl FnOnce(Pin<&mut W>, &mut Context<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        let state = mem::replace(&mut self.state, State::Failed);
        let called = call(Pin::new(&mut self.inner), context);
        if !matches!(called, Poll::Ready(Err(_))) {
            self.state = state;
        }
        called
    }
}
