//! Any part of a payload in an object store, without the rest.

use std::{
    future::Future,
    io::{self, SeekFrom},
    mem,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use ::tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use async_trait::async_trait;
use bytes::Bytes;
use zeroize::Zeroizing;

use super::{
    super::{
        ReadAt, StreamError,
        at::read_full_at,
        layout::{Layout, Payload, check_range, chunk_of},
        ranged::seek_to,
    },
    work::runtime,
};
use crate::{
    DecryptError, OpenedHeader,
    crypto::{
        TAG_LEN,
        cobblestone::{CHUNK_LEN, PREFIX_LEN, SEALED_CHUNK_LEN},
    },
};

/// Bytes of a known length of which any range can be fetched: an object of a
/// store, a file on a server.
#[async_trait]
pub trait AsyncReadAt: Send + Sync + 'static {
    /// Bytes there are. Asked once, before anything is fetched.
    ///
    /// # Errors
    ///
    /// Whatever the source says.
    async fn size(&self) -> io::Result<u64>;

    /// Fetches the bytes of `range`, all of them, in one request.
    ///
    /// # Errors
    ///
    /// Whatever the source says, also when the range passes the end.
    async fn fetch(&self, range: Range<u64>) -> io::Result<Bytes>;
}

#[async_trait]
impl<T: AsyncReadAt> AsyncReadAt for Arc<T> {
    async fn size(&self) -> io::Result<u64> {
        (**self).size().await
    }

    async fn fetch(&self, range: Range<u64>) -> io::Result<Bytes> {
        (**self).fetch(range).await
    }
}

/// A [`ReadAt`], such as a file, whose calls go to `spawn_blocking`.
pub struct Blocking<R>(Arc<R>);

impl<R: ReadAt + Send + Sync + 'static> Blocking<R> {
    /// Reads from `source`.
    pub fn new(source: R) -> Self {
        Self(Arc::new(source))
    }
}

#[async_trait]
impl<R: ReadAt + Send + Sync + 'static> AsyncReadAt for Blocking<R> {
    async fn size(&self) -> io::Result<u64> {
        let source = Arc::clone(&self.0);
        runtime()?.spawn_blocking(move || source.size()).await?
    }

    async fn fetch(&self, range: Range<u64>) -> io::Result<Bytes> {
        let source = Arc::clone(&self.0);
        let len = usize::try_from(range.end.saturating_sub(range.start)).map_err(io::Error::other)?;
        let read = move || {
            let mut bytes = vec![0; len];
            match read_full_at(&*source, &mut bytes, range.start)? {
                read if read == len => Ok(bytes.into()),
                _ => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        };
        runtime()?.spawn_blocking(read).await?
    }
}

/// Decrypts any range of a payload: one request for the chunks that hold it.
///
/// Made by opening the last chunk, so that the length is authentic, as with
/// [`RangedReader`](crate::stream::RangedReader). As [`AsyncRead`] and
/// [`AsyncSeek`] it fetches 256 KiB at a time.
pub struct AsyncRangedReader<S> {
    shared: Arc<Shared<S>>,
    position: u64,
    /// Plaintext from that position on.
    window: (u64, Zeroizing<Vec<u8>>),
    fetching: Option<Fetching>,
}

type Fetching = Pin<Box<dyn Future<Output = Result<(u64, Zeroizing<Vec<u8>>), StreamError>> + Send>>;

struct Shared<S> {
    payload: Payload,
    source: S,
}

impl<S: AsyncReadAt> AsyncRangedReader<S> {
    /// The payload of `opened`, which stands in `source` from offset
    /// `payload_at` to the end. Two requests: its first 56 bytes and its last
    /// chunk.
    ///
    /// # Errors
    ///
    /// [`StreamError`] when `source` cannot be read; with
    /// [`DecryptError::NotAuthentic`] inside when commitment or last chunk do
    /// not fit.
    pub async fn new(opened: &OpenedHeader, source: S, payload_at: u64) -> Result<Self, StreamError> {
        runtime()?;
        let size = source.size().await.map_err(StreamError::Read)?;
        let layout = Layout::new(payload_at, size)?;
        let prefix = fetch(&source, payload_at, PREFIX_LEN).await?;
        let last = fetch(&source, layout.last_chunk_at(), layout.last_chunk_len()).await?;
        let prefix = prefix.as_ref().try_into().map_err(|_| DecryptError::NotAuthentic)?;
        let payload = Payload::open(opened, layout, prefix, Zeroizing::new(last.to_vec()))?;
        let shared = Arc::new(Shared { payload, source });
        Ok(Self { shared, position: 0, window: (0, Vec::new().into()), fetching: None })
    }

    /// Bytes of the plaintext.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.shared.payload.layout.plaintext_len
    }

    /// True when the plaintext has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Decrypts the bytes of `range`, counted from 0. Memory: twice as many bytes.
    ///
    /// # Errors
    ///
    /// [`StreamError::Range`] when the range does not lie within the plaintext;
    /// otherwise as [`new`](Self::new). No plaintext leaves unless all of it is
    /// authentic.
    pub async fn decrypt_range(&self, range: Range<u64>) -> Result<Vec<u8>, StreamError> {
        let mut plaintext = decrypt(Arc::clone(&self.shared), range).await?;
        Ok(mem::take(&mut *plaintext))
    }

    /// Fetches the plaintext around the position.
    fn fetch(&self) -> Fetching {
        let start = self.position - self.position % CHUNK_LEN as u64;
        let end = self.len().min(start + WINDOW);
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { Ok((start, decrypt(shared, start..end).await?)) })
    }
}

async fn fetch(source: &impl AsyncReadAt, at: u64, len: usize) -> Result<Bytes, StreamError> {
    let bytes = source.fetch(at..at + len as u64).await.map_err(StreamError::Read)?;
    if bytes.len() == len { Ok(bytes) } else { Err(StreamError::Read(io::ErrorKind::UnexpectedEof.into())) }
}

async fn decrypt<S: AsyncReadAt>(
    shared: Arc<Shared<S>>,
    range: Range<u64>,
) -> Result<Zeroizing<Vec<u8>>, StreamError> {
    let runtime = runtime()?;
    let layout = &shared.payload.layout;
    let len = check_range(&range, layout.plaintext_len)?;
    if len == 0 {
        return Ok(Vec::new().into());
    }
    let ((first, skip), (last, _)) = (chunk_of(range.start), chunk_of(range.end - 1));
    let full_end = (last + 1).min(layout.full_chunks());
    let sealed = if first < full_end {
        let range = layout.chunk_at(first)..layout.chunk_at(full_end);
        let expected = (full_end - first) * SEALED_CHUNK_LEN as u64;
        let sealed = shared.source.fetch(range).await.map_err(StreamError::Read)?;
        if sealed.len() as u64 != expected {
            return Err(StreamError::Read(io::ErrorKind::UnexpectedEof.into()));
        }
        sealed
    } else {
        Bytes::new()
    };
    let open = move || {
        let mut out = Zeroizing::new(Vec::with_capacity(sealed.len() + CHUNK_LEN));
        for (index, chunk) in (first..).zip(sealed.chunks(SEALED_CHUNK_LEN)) {
            let start = out.len();
            out.resize(start + chunk.len() - TAG_LEN, 0);
            shared
                .payload
                .opener
                .open_chunk_to(index, chunk, &mut out[start..])
                .map_err(DecryptError::from)?;
        }
        if last == shared.payload.layout.full_chunks() {
            out.extend_from_slice(&shared.payload.last_chunk);
        }
        Ok(out[skip..skip + len].to_vec().into())
    };
    if len > LARGE {
        runtime.spawn_blocking(open).await.map_err(|error| StreamError::Thread(io::Error::other(error)))?
    } else {
        open()
    }
}

impl<S: AsyncReadAt> AsyncRead for AsyncRangedReader<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            let (from, window) = &this.window;
            let offset = this.position.checked_sub(*from).and_then(|offset| usize::try_from(offset).ok());
            if let Some(rest) = offset.and_then(|offset| window.get(offset..)).filter(|rest| !rest.is_empty())
            {
                let len = rest.len().min(out.remaining());
                out.put_slice(&rest[..len]);
                this.position += len as u64;
                return Poll::Ready(Ok(()));
            }
            if this.position >= this.len() || out.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            // Taken out: one that panics is not asked again.
            let mut fetching = this.fetching.take().unwrap_or_else(|| this.fetch());
            match fetching.as_mut().poll(context) {
                Poll::Pending => {
                    this.fetching = Some(fetching);
                    return Poll::Pending;
                }
                Poll::Ready(fetched) => {
                    this.window = fetched?;
                }
            }
        }
    }
}

impl<S: AsyncReadAt> AsyncSeek for AsyncRangedReader<S> {
    fn start_seek(mut self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        self.position = seek_to(to, self.position, self.len())?;
        self.fetching = None;
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Ok(self.position))
    }
}

/// Bytes of plaintext that are fetched at once when it is read: 16 chunks.
const WINDOW: u64 = 16 * CHUNK_LEN as u64;

/// Bytes that take longer to hand over than to decrypt.
const LARGE: usize = 64 * 1024;
