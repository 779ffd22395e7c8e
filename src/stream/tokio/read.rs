//! From an `AsyncRead`, as a stream of bytes or as another `AsyncRead`.

use std::sync::Arc;

use ::tokio::io::{AsyncRead, AsyncReadExt};
use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio_util::io::StreamReader;
use zeroize::Zeroizing;

use super::{
    super::StreamError,
    work::{Open, Seal, Work, run},
};
use crate::{
    OpenedHeader,
    crypto::{DefaultEngine, cobblestone::Sealer},
};

/// Encrypts all of `plaintext`: salt, commitment and chunks come out in pieces
/// of about 1 MiB. The stream ends after the first error.
///
/// ```
/// # use envelope_sdk::{EncryptionContext, Envelope, PayloadKind, stream::{StreamError, tokio::seal_stream}};
/// # async fn upload(piece: bytes::Bytes) {}
/// # async fn example(envelope: Envelope, file: tokio::fs::File) -> Result<(), Box<dyn std::error::Error>> {
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
    sealer: Sealer<DefaultEngine>,
    plaintext: impl AsyncRead + Send,
) -> impl Stream<Item = Result<Bytes, StreamError>> + Send {
    pieces(Seal::new(sealer), plaintext)
}

/// Decrypts the payload of `opened` that `payload` stands at. Every piece is
/// authentic; the stream ends with an error unless the payload is complete.
pub fn open_stream(
    opened: impl Into<Arc<OpenedHeader>>,
    payload: impl AsyncRead + Send,
) -> impl Stream<Item = Result<Bytes, StreamError>> + Send {
    pieces(Open::Begin(opened.into()), payload)
}

/// As [`seal_stream`], to be read. An error that is not of the input has the kind
/// [`InvalidData`](std::io::ErrorKind::InvalidData) and a [`StreamError`] inside.
pub fn seal_reader(
    sealer: Sealer<DefaultEngine>,
    plaintext: impl AsyncRead + Send + 'static,
) -> impl AsyncRead + Send + Unpin {
    StreamReader::new(Box::pin(seal_stream(sealer, plaintext)))
}

/// As [`open_stream`], to be read. It ends without an error only if the payload
/// is complete; errors are as in [`seal_reader`].
pub fn open_reader(
    opened: impl Into<Arc<OpenedHeader>>,
    payload: impl AsyncRead + Send + 'static,
) -> impl AsyncRead + Send + Unpin {
    StreamReader::new(Box::pin(open_stream(opened, payload)))
}

struct State<W, R> {
    work: W,
    reader: std::pin::Pin<Box<R>>,
    block: Zeroizing<Vec<u8>>,
    failed: Option<StreamError>,
    ended: bool,
}

fn pieces<W: Work, R: AsyncRead + Send>(
    work: W,
    reader: R,
) -> impl Stream<Item = Result<Bytes, StreamError>> + Send {
    let reader = Box::pin(reader);
    let state = State { work, reader, block: Vec::new().into(), failed: None, ended: false };
    stream::try_unfold(state, |mut state| async {
        loop {
            if let Some(error) = state.failed {
                return Err(error);
            }
            if state.ended {
                return Ok(None);
            }
            let wanted = state.work.wanted();
            if state.block.len() < wanted {
                // Not grown but made anew: a buffer that moves leaves plaintext behind.
                state.block = Zeroizing::new(vec![0; wanted]);
            }
            let mut filled = 0;
            while filled < wanted {
                match state.reader.read(&mut state.block[filled..wanted]).await {
                    Ok(0) => break,
                    Ok(read) => filled += read,
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(StreamError::Read(error)),
                }
            }
            let done = run(state.work, state.block, filled, filled < wanted).await?;
            // What opened before the error is authentic, and comes first.
            let failed = done.result.err();
            let ended = done.is_last;
            state = State { work: done.work, reader: state.reader, block: done.block, failed, ended };
            if !done.out.is_empty() {
                return Ok(Some((Bytes::from(done.out), state)));
            }
        }
    })
}
