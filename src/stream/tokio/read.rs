//! From an `AsyncRead`, as a stream of bytes or as another `AsyncRead`.

use std::{
    io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use ::tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt, stream};
use zeroize::Zeroizing;

use super::{
    super::{PayloadSealer, StreamError},
    work::{Open, Seal, Work, run, runtime},
};
use crate::{
    OpenedHeader,
    whole_io::{checked, failed_before},
};

/// Encrypts all of `plaintext`: salt, commitment and chunks come out in pieces
/// of about 1 MiB.
///
/// The stream is over after the first error, as streams are: the end that it
/// then reports says nothing. [`seal_reader`] fails again instead.
///
/// ```
/// # use envelope_sdk::{EncryptionContext, Envelope, PayloadKind, stream::{StreamError, tokio::seal_stream}};
/// # async fn upload(piece: bytes::Bytes) {}
/// # async fn example(envelope: Envelope, file: impl tokio::io::AsyncRead + Send) -> Result<(), Box<dyn std::error::Error>> {
/// use futures_util::TryStreamExt;
///
/// let started = envelope.start(PayloadKind::Attached, &EncryptionContext::new()).await?;
/// upload(started.header.into()).await;
/// let mut payload = std::pin::pin!(seal_stream(started.payload, file));
/// while let Some(piece) = payload.try_next().await? {
///     upload(piece).await;
/// }
/// # Ok(()) }
/// ```
pub fn seal_stream(
    sealer: PayloadSealer,
    plaintext: impl AsyncRead + Send,
) -> impl Stream<Item = Result<Bytes, StreamError>> + Send {
    handed_out(pieces(Seal::new(sealer), plaintext))
}

/// Decrypts the payload of `opened` that `payload` stands at. Every piece is
/// authentic, and comes out as soon as it has arrived; the stream ends with an
/// error unless the payload is complete.
pub fn open_stream(
    opened: impl Into<Arc<OpenedHeader>>,
    payload: impl AsyncRead + Send,
) -> impl Stream<Item = Result<Bytes, StreamError>> + Send {
    handed_out(pieces(Open::Begin(opened.into()), payload))
}

/// Pieces that are the caller's from now on.
fn handed_out(
    pieces: impl Stream<Item = Piece> + Send,
) -> impl Stream<Item = Result<Bytes, StreamError>> + Send {
    pieces.map_ok(|mut piece| Bytes::from(mem::take(&mut *piece)))
}

/// As [`seal_stream`], to be read. An error that is not of the input has the kind
/// [`InvalidData`](std::io::ErrorKind::InvalidData) and a [`StreamError`] inside.
/// After an error every further call fails, with the kind
/// [`BrokenPipe`](std::io::ErrorKind::BrokenPipe).
pub fn seal_reader(
    sealer: PayloadSealer,
    plaintext: impl AsyncRead + Send + 'static,
) -> impl AsyncRead + Send + Unpin {
    PiecesReader::new(seal_stream(sealer, plaintext))
}

/// As [`open_stream`], to be read. It ends without an error only if the payload
/// is complete; errors are as in [`seal_reader`].
pub fn open_reader(
    opened: impl Into<Arc<OpenedHeader>>,
    payload: impl AsyncRead + Send + 'static,
) -> impl AsyncRead + Send + Unpin {
    PiecesReader::new(pieces(Open::Begin(opened.into()), payload))
}

/// Wiped where it is dropped: it may be plaintext.
type Piece = Result<Zeroizing<Vec<u8>>, StreamError>;

/// Reads the pieces of a stream, and tells its end from what failed.
struct PiecesReader<S, P> {
    pieces: Pin<Box<S>>,
    piece: P,
    /// Bytes of the piece that were read.
    taken: usize,
    state: Pieces,
}

enum Pieces {
    Come,
    Ended,
    Failed,
}

impl<S: Stream<Item = Result<P, StreamError>>, P: Default> PiecesReader<S, P> {
    fn new(pieces: S) -> Self {
        Self { pieces: Box::pin(pieces), piece: P::default(), taken: 0, state: Pieces::Come }
    }
}

impl<S, P> AsyncRead for PiecesReader<S, P>
where
    S: Stream<Item = Result<P, StreamError>>,
    P: AsRef<[u8]> + Unpin,
{
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.taken == this.piece.as_ref().len() && out.remaining() > 0 {
            // Failed until the stream says otherwise: it may panic.
            match mem::replace(&mut this.state, Pieces::Failed) {
                Pieces::Come => {}
                Pieces::Ended => {
                    this.state = Pieces::Ended;
                    return Poll::Ready(Ok(()));
                }
                Pieces::Failed => return Poll::Ready(Err(failed_before())),
            }
            match this.pieces.as_mut().poll_next(context) {
                Poll::Pending => {
                    this.state = Pieces::Come;
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok(piece))) => {
                    (this.piece, this.taken, this.state) = (piece, 0, Pieces::Come);
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error.into())),
                Poll::Ready(None) => this.state = Pieces::Ended,
            }
        }
        let rest = &this.piece.as_ref()[this.taken..];
        let now = &rest[..rest.len().min(out.remaining())];
        out.put_slice(now);
        this.taken += now.len();
        Poll::Ready(Ok(()))
    }
}

struct State<W, R> {
    work: W,
    reader: Pin<Box<R>>,
    block: Zeroizing<Vec<u8>>,
    /// Bytes of the block that were read and not worked on.
    filled: usize,
    failed: Option<StreamError>,
    ended: bool,
}

impl<W: Work, R: AsyncRead + Send> State<W, R> {
    /// Reads until some of the block can be worked on, and returns how many of
    /// its bytes and whether they are the last.
    async fn read(&mut self) -> Result<(usize, bool), StreamError> {
        let wanted = self.work.wanted();
        if self.block.len() < wanted {
            // Not grown but made anew: a buffer that moves leaves plaintext behind.
            let mut block = Zeroizing::new(vec![0; wanted]);
            block[..self.filled].copy_from_slice(&self.block[..self.filled]);
            self.block = block;
        }
        loop {
            let ready = self.work.ready(self.filled);
            if ready > 0 {
                return Ok((ready, false));
            }
            let room = &mut self.block[self.filled..wanted];
            let asked = room.len();
            match self.reader.read(room).await.and_then(|read| checked(read, asked)) {
                Ok(0) => return Ok((self.filled, true)),
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(StreamError::Read(error)),
            }
        }
    }
}

fn pieces<W: Work, R: AsyncRead + Send>(work: W, reader: R) -> impl Stream<Item = Piece> + Send {
    let reader = Box::pin(reader);
    let state = State { work, reader, block: Vec::new().into(), filled: 0, failed: None, ended: false };
    stream::try_unfold(state, |mut state| async {
        loop {
            if let Some(error) = state.failed {
                return Err(error);
            }
            if state.ended {
                return Ok(None);
            }
            // Before anything is read.
            runtime()?;
            let (len, is_last) = state.read().await?;
            let mut done = run(state.work, state.block, len, is_last).await?;
            let rest = state.filled - done.len;
            done.block.copy_within(done.len..state.filled, 0);
            state = State {
                work: done.work,
                reader: state.reader,
                block: done.block,
                filled: rest,
                // What opened before the error is authentic, and comes first.
                failed: done.result.err(),
                ended: done.is_last,
            };
            if !done.out.is_empty() {
                return Ok(Some((done.out, state)));
            }
        }
    })
}
